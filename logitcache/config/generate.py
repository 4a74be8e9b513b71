"""Text made from the declarations: the signatures of the Python functions, and the reference tables of docs/cli.md.

``python -m logitcache.config.generate`` writes both anew; a test compares them with the declarations.
"""

from __future__ import annotations

import re
from pathlib import Path

from logitcache.config.check import CheckConfig
from logitcache.config.commands import options_of_command
from logitcache.config.data import RowsConfig
from logitcache.config.dump import AgainConfig, DumpConfig
from logitcache.config.option import Declared, options_of
from logitcache.config.report import CompareConfig
from logitcache.config.train import TrainConfig

SIGNATURES = Path(__file__).with_name("signatures.py")
# Configurations of functions, and the options that are parameters of their own there.
FUNCTIONS = {
    "RowsOptions": (RowsConfig, {"data", "unlabelled"}),
    "CheckOptions": (CheckConfig, {"data", "unlabelled"}),
    "DumpOptions": (DumpConfig, {"teacher", "data", "unlabelled"}),
    "AgainOptions": (AgainConfig, {"teacher", "data", "unlabelled"}),
    "TrainOptions": (TrainConfig, {"method", "data", "unlabelled"}),
    "CompareOptions": (CompareConfig, set[str]()),
}
TABLE = re.compile(r"(<!-- options: (?P<command>[a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def signatures() -> str:
    """The text of ``signatures.py``."""
    lines = [
        '"""Options of the Python functions, for editors and type checkers. Made by ``logitcache.config.generate``."""',
        "",
        "from __future__ import annotations",
        "",
        "from collections.abc import Mapping, Sequence",
        "from os import PathLike",
        "from typing import Any, Literal, TypedDict",
    ]
    for name, (config, parameters) in FUNCTIONS.items():
        lines += [
            "",
            "",
            f"class {name}(TypedDict, total=False):",
            f'    """Options of :class:`{config.__name__}`."""',
            "",
        ]
        lines += [
            f"    {declared.name}: {_annotation(declared)}"
            for declared in options_of(config)
            if declared.name not in parameters
        ]
    return "\n".join(lines) + "\n"


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


def table(command: str) -> str:
    """The reference table of a command's options, in Markdown."""
    rows = ["| option | default | meaning |", "|---|---|---|"]
    rows += [_row(declared) for declared in options_of_command(command)]
    return "\n".join(rows) + "\n"


def _row(declared: Declared) -> str:
    flag = f"`{declared.flag}`"
    if declared.kind is bool and declared.default is not False:
        flag += f", `--no-{declared.flag[2:]}`"
    meaning = declared.option.help
    if declared.option.choices and declared.name != "method":
        meaning += f" One of {', '.join(f'`{choice}`' for choice in declared.option.choices)}."
    return f"| {flag} | {_default(declared)} | {meaning.replace('|', chr(92) + '|')} |"


def _default(declared: Declared) -> str:
    default = declared.default
    if declared.option.required:
        return "required"
    if default is None or default is False or default == ():
        return ""
    if default is True:
        return "yes"
    if isinstance(default, tuple):
        return ", ".join(f"`{value}`" for value in default)
    return f"`{default:,}`" if isinstance(default, int) else f"`{default}`"


def with_tables(text: str) -> str:
    """A page with the table of each command it marks made anew."""
    return TABLE.sub(lambda match: f"{match[1]}{table(match['command'])}{match[3]}", text)


def main() -> None:
    SIGNATURES.write_text(signatures(), encoding="utf-8")
    page = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
    if page.is_file():
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
