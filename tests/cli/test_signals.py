"""Dumps and trainings that are told to stop, or killed, from outside."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import pytest
from click.testing import CliRunner

from logitcache_cli import stop
from logitcache_cli.main import cli
from logitcache_cli.stop import Stopped, stoppable
from tests.commands import CONTEXT, start, wait_for
from tests.conftest import singles
from tests.runs import tree
from tests.shortly import slow

ROWS, SHARD = 1000, 25
AGAIN = "The same command again goes on from what it has saved.\n"


@pytest.fixture(scope="module")
def words(
    checkpoint: Callable[..., Path],
    write: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[str]:
    """A dump of forty shards."""
    folder = tmp_path_factory.mktemp("many")
    write(folder / "data" / "train.jsonl", singles(ROWS, 3))
    places = [
        "--teacher",
        str(checkpoint()),
        "--data",
        str(folder / "data"),
        "--workspace",
        str(folder / "work"),
    ]
    return ["dump", *places, "--shard-rows", str(SHARD), "--batch-tokens", "256", "--device", "cpu"]


@pytest.fixture(scope="module")
def unbroken(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("unbroken") / "c"
    assert CliRunner().invoke(cli, [*words, "--out", str(out)]).exit_code == 0
    return tree(out)


def receipts(out: Path) -> int:
    return len(list((out / "shards").glob("*.json")))


@pytest.mark.parametrize(
    ("number", "word"), [slow((signal.SIGINT, "Interrupted")), (signal.SIGTERM, "Terminated")]
)
def test_a_dump_that_is_told_to_stop_stops_and_goes_on(
    words: list[str], unbroken: dict[str, bytes], tmp_path: Path, number: int, word: str
) -> None:
    out, log = tmp_path / "c", tmp_path / "log"
    process = start([*words, "--out", str(out)], log)
    wait_for(out / "shards" / "00002.json", process)
    os.kill(process.pid, number)
    told = time.monotonic()
    process.join(60)
    assert time.monotonic() - told < 10  # 5 s, and a busy machine
    assert process.exitcode == 128 + number
    assert log.read_text().endswith(f"\n{word}. {AGAIN}")
    done = receipts(out)
    assert 3 <= done < ROWS / SHARD
    assert not list(out.rglob(".*"))  # no temporary file, no lock
    assert {name: data for name, data in tree(out).items() if name in unbroken} == tree(out)
    found = CliRunner().invoke(cli, [*words, "--out", str(out)])
    assert f"{ROWS - done * SHARD:,} of {ROWS:,} rows saw the teacher" in found.stderr
    assert tree(out) == unbroken


def killed(words: list[str], out: Path, kills: int, draw: random.Random) -> list[int]:
    """Kill the dump that often at random moments, and let it go on; by how many rows the teacher
    saw more than once, after each.
    """
    lost = []
    for _ in range(kills):
        before = receipts(out)
        process = start([*words, "--out", str(out)], out.parent / "log")
        try:
            wait_for(out / "shards" / f"{before:05d}.json", process)
            time.sleep(draw.random() * 0.01)  # about as long as a shard takes
        finally:
            process.kill()
            process.join(60)
        lost.append(receipts(out) - before)
    return lost


@pytest.mark.parametrize("kills", [3, pytest.param(25, marks=pytest.mark.slow)])
def test_a_dump_that_is_killed_loses_one_shard_at_most_and_goes_on(
    words: list[str], unbroken: dict[str, bytes], tmp_path: Path, kills: int
) -> None:
    out = tmp_path / "c"
    gained = killed(words, out, kills, random.Random(kills))
    assert all(gained)  # whatever was written and had its receipt is kept
    found = CliRunner().invoke(cli, [*words, "--out", str(out)])
    assert f"{ROWS - sum(gained) * SHARD:,} of {ROWS:,} rows saw the teacher" in found.stderr
    assert tree(out) == unbroken
    print(
        f"{kills} of {kills} kills: byte-identical; {sum(gained)} of {ROWS // SHARD} shards made before the last call"
    )


class _Slow:
    """Meets a signal while it is taken apart."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.001)


def test_a_signal_that_meets_a_destructor_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    def run() -> None:
        with stoppable(click.Context(cli)):
            met = _Slow()
            del met
            time.sleep(20)

    told = time.monotonic()
    with pytest.raises(Stopped) as stopped:
        run()
    assert time.monotonic() - told < 4  # before the grace ends, which ends the process
    assert (stopped.value.number, capfd.readouterr().err) == (signal.SIGTERM, "")


def test_a_training_that_is_told_to_stop_goes_on(singles_data: Path, tmp_path: Path) -> None:
    small = ["--student", "1x32", "--vocabulary", "150", "--max-length", "32", "--batch-size", "4"]
    out, log = tmp_path / "run", tmp_path / "log"
    words: list[Any] = [
        "train",
        "--method",
        "base",
        "--data",
        singles_data,
        "--workspace",
        tmp_path / "w",
        *small,
    ]
    process = start([*map(str, words), "--epochs", "200", "--out", str(out)], log)
    wait_for(out / "checkpoints", process)
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    assert (process.exitcode, log.read_text().splitlines()[-1]) == (
        143,
        f"Terminated. {AGAIN.strip()}",
    )


def _waiting(port: int, log: str) -> None:
    """A command that waits in a library for a process that does not come."""
    import torch

    with patch.object(stop, "GRACE", 0.3), stoppable(click.Context(click.Command("x"))):
        Path(log).touch()
        torch.distributed.TCPStore("127.0.0.1", port, 2, True, timedelta(seconds=100))


def test_a_signal_ends_a_command_that_waits_in_a_library(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = CONTEXT.Process(target=_waiting, args=(port, str(tmp_path / "here")))
    process.start()
    wait_for(tmp_path / "here", process)
    time.sleep(0.3)
    os.kill(process.pid or 0, signal.SIGTERM)
    process.join(20)
    assert process.exitcode == 128 + signal.SIGTERM


def test_a_signal_that_was_handled_ends_nothing_later() -> None:
    with patch.object(stop, "GRACE", 0.05):
        for _ in range(30):
            with pytest.raises(Stopped), stoppable(click.Context(click.Command("x"))):
                signal.raise_signal(signal.SIGTERM)
    time.sleep(0.3)


def test_a_forked_process_that_is_told_to_stop_leaves_its_parent(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    with patch.object(stop, "GRACE", 0.1), stoppable(click.Context(click.Command("x"))):
        child = context.Process(target=time.sleep, args=(20,))
        child.start()
        time.sleep(0.1)
        child.terminate()
        child.join()
        time.sleep(0.3)
