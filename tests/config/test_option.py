"""Options are declared once: what is declared is what is taken, refused, shown and recorded."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from logitcache.config import generate
from logitcache.config.commands import COMMANDS, options_of_command
from logitcache.config.dump import DumpConfig
from logitcache.config.labels import names_of
from logitcache.config.option import (
    Declared,
    build,
    nearest,
    nearest_or_all,
    option,
    options_of,
    validate,
)
from logitcache.config.train import TrainConfig
from logitcache.errors import SpecError
from logitcache_cli.main import cli

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Inner:
    size: int = option(3, "A size.", name="inner_size", minimum=1, maximum=9)


@dataclass(frozen=True)
class Outer:
    name: str = option(help="A name.")
    share: float = option(0.5, "A share.", above=0, below=1)
    kind: str | None = option(None, "A kind.", choices=("one", "two"))
    places: tuple[Path | str, ...] = option((), "Places.")
    words: tuple[str, ...] | None = option(None, "Words.", parse=names_of)
    inner: Inner = field(default_factory=Inner)
    internal: int = 7


def test_options_of_inner_dataclasses_count_as_its_own() -> None:
    assert [declared.name for declared in options_of(Outer)] == [
        "name",
        "share",
        "kind",
        "places",
        "words",
        "inner_size",
    ]
    made = build(
        Outer,
        {"name": "a", "inner_size": np.int64(4), "kind": "TWO", "words": "x, y", "places": "p"},
    )
    assert made == Outer("a", kind="two", places=("p",), words=("x", "y"), inner=Inner(4))
    assert {declared.name: declared.value_in(made) for declared in options_of(Outer)}[
        "inner_size"
    ] == 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "name: expected text, found nothing"),
        ({"name": "a", "sahre": 1}, "found 'sahre'. Did you mean share"),
        ({"name": "a", "share": 1}, "share: expected a number between 0 and 1, found 1"),
        (
            {"name": "a", "share": float("nan")},
            "share: expected a number between 0 and 1, found nan",
        ),
        ({"name": "a", "kind": "three"}, "kind: expected one of one, two, found 'three'"),
        (
            {"name": "a", "inner_size": 10},
            "inner_size: expected a whole number from 1 to 9, found 10",
        ),
        (
            {"name": "a", "inner_size": True},
            "inner_size: expected a whole number from 1 to 9, found True",
        ),
        ({"name": None}, "name: expected text, found None"),
    ],
)
def test_what_cannot_be_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        build(Outer, values)
    assert message in str(caught.value)


def test_a_configuration_made_by_hand_is_checked_alike() -> None:
    with pytest.raises(
        SpecError, match="--inner-size: expected a whole number from 1 to 9, found 0"
    ):
        validate(Outer("a", inner=Inner(0)))
    validate(Outer("a"))


@given(st.floats(allow_nan=True, allow_infinity=True) | st.integers())
def test_a_number_is_taken_as_its_bounds_say(value: float) -> None:
    inside = 0 < value < 1
    try:
        assert build(Outer, {"name": "a", "share": value}).share == value
        assert inside
    except SpecError:
        assert not inside


def test_the_nearest_names_come_first() -> None:
    assert nearest("lerning_rate", ["seed", "learning_rate"]) == "Did you mean learning_rate?"
    assert nearest("xyzzy", ["b", "a"]) == ""
    assert nearest_or_all("xyzzy", ["b", "a"]) == "Known are a, b."


def command_options(command: str) -> dict[str, Any]:
    context = cli.make_context("logitcache", [*command.split(), "--help"], resilient_parsing=True)
    found: Any = cli
    for word in command.split():
        found = found.get_command(context, word)
    return {param.name: param for param in found.params}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_takes_what_is_declared_and_nothing_else(command: str) -> None:
    declared = {each.name for each in options_of_command(command)}
    shown = {
        name
        for name, param in command_options(command).items()
        if not getattr(param, "hidden", False)
    }
    arguments = (
        {"as_json", "cache", "results", "out", "files"} if command != "train" else {"as_json"}
    )
    if command in ("study run", "tune"):
        arguments.add("spec")
    if command in ("study report", "study submit"):
        arguments.add("folder")
    if command == "check":
        arguments.add("data")
    if command == "reshape":
        arguments.add("kind")
    assert shown - arguments <= declared <= shown | arguments


def test_every_option_is_used_outside_its_declaration() -> None:
    """A field that nothing reads is an option without an effect."""
    package = ROOT / "logitcache"
    files = [*package.rglob("*.py"), *(ROOT / "cli").glob("*.py")]
    words: set[str] = set()
    for file in files:
        text = file.read_text("utf-8")
        if file.parent == package / "config":
            words.update(re.findall(r"\.([a-z_]+)\b", text))  # a property or a check reads it
        else:
            words.update(re.findall(r"[a-z_]+", text))
    for command in COMMANDS:
        for declared in options_of_command(command):
            assert declared.path[-1] in words, f"{command}: nothing reads {declared.name}"


def test_what_is_made_of_the_declarations_is_up_to_date() -> None:
    """``python -m logitcache.config.generate`` makes both anew."""
    assert generate.SIGNATURES.read_text("utf-8") == generate.signatures()
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert generate.with_references(page) == page
    assert {match["command"] for match in generate.REFERENCE.finditer(page)} == set(COMMANDS)


def bad_words(declared: Declared) -> list[str]:
    if declared.option.choices:
        return ["nonsense"]
    if declared.kind not in (int, float):
        return []
    low = declared.option.minimum if declared.option.above is None else declared.option.above
    return ["word", *([] if low is None else [str(int(low) - 1)])]


@pytest.mark.parametrize(("command", "config"), [("dump", DumpConfig), ("train", TrainConfig)])
def test_a_wrong_word_is_refused_with_2_by_its_flag(command: str, config: type) -> None:
    needed = {"dump": ["--teacher", "1x32"], "train": ["--method", "base"]}[command]
    for declared in options_of(config):
        for word in bad_words(declared):
            done = CliRunner().invoke(cli, [command, *needed, declared.flag, word])
            assert (done.exit_code, done.stdout) == (2, ""), done.output
            assert declared.flag in done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "train --method kd --alpha 3",
        "train --method base --temperature 2",
        "train --method nonsense",
        "train --method kd --alfa 1",
        "dump --teacher 1x32 --finetune never",
        "dump --teacher 1x32 --part 3/2",
        "trian",
    ],
)
def test_a_wrong_option_is_refused_without_loading_torch(line: str) -> None:
    code = (
        "import sys\n"
        "from logitcache_cli.main import cli\n"
        "try:\n    cli(sys.argv[1:])\n"
        "finally:\n    print('torch' in sys.modules, 'transformers' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *line.split()], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "False False\n"), done.stderr
    assert "Traceback" not in done.stderr


def test_choices_are_taken_in_any_case_and_words_suggested() -> None:
    done = CliRunner().invoke(cli, ["train", "--method", "KD", "--alfa", "1"])
    assert done.exit_code == 2
    assert "--alpha" in done.stderr
    assert "Did you mean train" in CliRunner().invoke(cli, ["trian"]).stderr
    assert CliRunner().invoke(cli, ["dump", "-h"]).exit_code == 0


def test_a_commands_own_default_is_the_only_one_that_its_help_names() -> None:
    for command, all_takes in COMMANDS.items():
        for takes in all_takes:
            for declared in takes.options():
                if declared.name in takes.defaults:
                    assert "Default:" not in declared.option.help, (command, declared.name)


@pytest.mark.parametrize("name", ["teacher", "out", "labels"])
def test_an_empty_value_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match=r"found ''|found empty"):
        build(DumpConfig, {"teacher": "4x256", "data": "rows.csv", name: ""})
