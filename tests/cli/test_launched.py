"""Commands that torchrun starts in several processes: one document, whatever their number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from logitcache_cli.main import cli
from logitcache_cli.options import Command, SharedCommand
from tests.fake_caches import make, plan

SHARED = {"dump", "train"}  # the processes divide the work of these


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def test_every_command_knows_the_processes_of_a_launcher() -> None:
    for words, command in leaves(cli):
        assert isinstance(command, Command), words
        assert isinstance(command, SharedCommand) == (words in SHARED), words


def test_the_first_of_several_processes_prints_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process printed its own; `convert` and `merge` met each other's locks."""
    make(tmp_path / "cache", plan(rows=8, shard_rows=4))
    words = ["inspect", str(tmp_path / "cache"), "--json"]
    alone = CliRunner().invoke(cli, words)
    monkeypatch.setenv("WORLD_SIZE", "2")
    outputs = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        result = CliRunner().invoke(cli, words)
        assert (result.exit_code, result.stderr) == (0, "")
        outputs.append(result.stdout)
    assert outputs == [alone.stdout, ""]
    assert json.loads(outputs[0])["rows"]


def test_a_part_that_is_named_is_made_by_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    words = ["dump", "--teacher", "t", "--data", "d", "--part", "1/2", "--json"]
    result = CliRunner().invoke(cli, words)
    assert (result.exit_code, result.output) == (0, "")


@pytest.mark.parametrize(
    ("name", "value"), [("MASTER_PORT", "x"), ("MASTER_ADDR", "no.such.host.invalid")]
)
def test_parts_that_cannot_meet_are_refused_before_they_are_made(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Each made its part and then waited for days."""
    launcher = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
    launcher |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", name: value}
    for variable, setting in launcher.items():
        monkeypatch.setenv(variable, setting)
    result = CliRunner().invoke(cli, ["dump", "--teacher", "t", "--data", "d"])
    assert result.exit_code == 2
    assert name in result.stderr
