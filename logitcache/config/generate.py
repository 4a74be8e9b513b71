"""Text made from the declarations: the signatures of the Python functions, and the reference of
options in docs/cli.md.

``python -m logitcache.config.generate`` writes both anew; a test compares them with the
declarations.
"""

from __future__ import annotations

import re
import textwrap
from functools import cache
from pathlib import Path

from logitcache.config.check import CheckConfig
from logitcache.config.commands import COMMANDS, options_of_command
from logitcache.config.data import RowsConfig
from logitcache.config.dump import AgainConfig, DumpConfig
from logitcache.config.option import Declared, options_of
from logitcache.config.report import CompareConfig
from logitcache.config.study import StudyConfig
from logitcache.config.train import TrainConfig
from logitcache.config.tune import TuneConfig

SIGNATURES = Path(__file__).with_name("signatures.py")
# Configurations of functions, and the options that are parameters of their own there.
ROWS = "RowsOptions"  # which all functions that read rows have
FUNCTIONS = {
    ROWS: (RowsConfig, {"data", "unlabelled"}),
    "CheckOptions": (CheckConfig, {"data", "unlabelled"}),
    "DumpOptions": (DumpConfig, {"teacher", "tokenizer", "data", "unlabelled"}),
    "AgainOptions": (AgainConfig, {"teacher", "data", "unlabelled"}),
    "TrainOptions": (TrainConfig, {"method", "data", "unlabelled"}),
    "CompareOptions": (CompareConfig, set[str]()),
    "StudyOptions": (StudyConfig, {"dry_run"}),
    "TuneOptions": (TuneConfig, {"seeds", "ray", "dry_run"}),
}
REFERENCE = re.compile(r"(<!-- options: (?P<command>[a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
WIDTH = 120  # characters of a line


def signatures() -> str:
    """The text of ``signatures.py``."""
    lines = [
        '"""Options of the Python functions, for editors. Made by ``logitcache.config.generate``."""',
        "",
        "# fmt: off",
        "",
        "from __future__ import annotations",
        "",
        "from collections.abc import Mapping, Sequence",
        "from os import PathLike",
        "from typing import Any, Literal, TypedDict",
    ]
    of_rows = _members(*FUNCTIONS[ROWS])
    for name, (config, parameters) in FUNCTIONS.items():
        members = _members(config, parameters)
        base = "TypedDict"
        if name != ROWS and of_rows.items() <= members.items():
            base = ROWS
            members = {option: members[option] for option in members if option not in of_rows}
        lines += ["", "", f"class {name}({base}, total=False):"]
        lines += [f'    """Options of :class:`{config.__name__}`."""', ""]
        for option, annotation in members.items():
            text = f"    {option}: {annotation}"
            lines += textwrap.wrap(text, WIDTH, subsequent_indent=" " * 8, break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def _members(config: type, parameters: set[str]) -> dict[str, str]:
    """The annotations of a function's options by name, without its ``parameters``."""
    members = {}
    for declared in options_of(config):
        if declared.name not in parameters:
            members[declared.name] = _annotation(declared)
    return members


def _annotation(declared: Declared) -> str:
    words = [_single(declared)]
    if declared.option.annotation:
        words = [declared.option.annotation]
    elif declared.several:
        words = [f"Sequence[{words[0]}]"]
    if declared.optional and words != ["Any"]:
        words.append("None")
    return " | ".join(words)


def _single(declared: Declared) -> str:
    if declared.option.choices:
        return f"Literal[{', '.join(repr(choice).replace(chr(39), chr(34)) for choice in declared.option.choices)}]"
    names = {int: "int", float: "float", bool: "bool", str: "str"}
    return names.get(declared.kind, "str | PathLike[str]")


def reference(command: str) -> str:
    """A command's options as a Markdown list; those of an earlier command by name alone."""
    items = []
    shared: dict[str, list[str]] = {}
    for declared in options_of_command(command):
        item = _item(declared)
        owner = next(name for name in COMMANDS if item in _items(name))
        if owner == command:
            items.append(item)
        else:
            shared.setdefault(owner, []).append(_flags(declared))
    for owner, flags in shared.items():
        items.append(
            _wrapped(
                f"- As for [{owner}](#logitcache-{owner.replace(' ', '-')}): {', '.join(flags)}."
            )
        )
    return "\n".join(items) + "\n"


@cache
def _items(command: str) -> frozenset[str]:
    return frozenset(map(_item, options_of_command(command)))


def _item(declared: Declared) -> str:
    default = _default(declared)
    text = declared.option.help
    if declared.option.choices and declared.name != "method":
        text += f" One of {', '.join(f'`{choice}`' for choice in declared.option.choices)}."
    return _wrapped(f"- {_flags(declared)}{default and f' ({default})'}: {text}")


def _flags(declared: Declared) -> str:
    if declared.kind is bool and declared.default is not False:
        return f"`{declared.flag}`, `--no-{declared.flag[2:]}`"
    return f"`{declared.flag}`"


def _wrapped(item: str) -> str:
    return textwrap.fill(
        item, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _default(declared: Declared) -> str:
    default = declared.default
    if declared.option.required:
        return "required"
    if default is None or default is False or default == ():
        return ""
    if default is True:
        return "default yes"
    if isinstance(default, tuple):
        return f"default {', '.join(f'`{value}`' for value in default)}"
    return f"default `{default:,}`" if isinstance(default, int) else f"default `{default}`"


def with_references(text: str) -> str:
    """A page with the options of each command it marks written anew."""
    return REFERENCE.sub(lambda match: f"{match[1]}{reference(match['command'])}{match[3]}", text)


def main() -> None:
    SIGNATURES.write_text(signatures(), encoding="utf-8")
    page = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
    if page.is_file():
        page.write_text(with_references(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
