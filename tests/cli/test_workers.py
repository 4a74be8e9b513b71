"""A dump by several processes: the same bytes, one report, the first failure ending all."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from logitcache.cache.cache import Cache
from logitcache.processes import check_count
from logitcache.reporter import Notes, Once
from logitcache_cli import dump as module
from logitcache_cli import workers
from logitcache_cli.main import cli
from tests.commands import start
from tests.runs import tree
from tests.student import processes


@pytest.fixture
def words(singles_data: Path, checkpoint: Callable[..., Path], tmp_path: Path) -> list[str]:
    places = [
        "--teacher",
        str(checkpoint()),
        "--data",
        str(singles_data),
        "--workspace",
        str(tmp_path / "work"),
    ]
    return ["dump", *places, "--shard-rows", "9"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_workers_make_what_one_makes(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    lone = json.loads(
        CliRunner().invoke(cli, [*words, "--out", str(tmp_path / "lone"), "--json"]).stdout
    )
    found = CliRunner().invoke(
        cli, [*words, "--out", str(tmp_path / "c"), "--workers", "2", "--json"]
    )
    told = json.loads(found.stdout)
    changing = {"cache", "seconds", "rows_per_second", "tokens_per_second"}
    assert {k: v for k, v in told.items() if k not in changing} == {
        k: v for k, v in lone.items() if k not in changing
    }
    assert tree(tmp_path / "c") == tree(tmp_path / "lone")
    assert len([line for line in found.stderr.splitlines() if line.startswith("teacher: ")]) == 1


FAKE = """
import os, sys, time
part = sys.argv[sys.argv.index("--part") + 1]
print("note: the same", file=sys.stderr)
print("dump: some rows", file=sys.stderr, flush=True)
if part == "2/3" and "--fail" in sys.argv:
    print("SpecError: here: no.", file=sys.stderr, flush=True)
    sys.exit(2)
if "--fail" in sys.argv:
    time.sleep(60)
print(part, os.environ["OMP_NUM_THREADS"])
"""


def test_what_workers_say_is_brought_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SCRIPT", FAKE)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    said: list[str] = []
    reporter = Once(Notes(said.append))
    assert workers.run_parts(["dump"], 3, reporter) == [f"{i}/3 7\n" for i in (1, 2, 3)]
    assert sorted(said) == ["note: the same", *(f"part {i}: dump: some rows" for i in (1, 2, 3))]
    monkeypatch.delenv("OMP_NUM_THREADS")
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert workers.run_parts(["dump"], 2, reporter) == [f"{i}/2 {share}\n" for i in (1, 2)]


@pytest.mark.parametrize("command", ["dump", "study"])
def test_more_workers_than_the_machine_can_do_with_are_refused_with_advice_that_works(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("text,label,gpt\n" + "".join(f"text {i},{i % 2},{i % 2}\n" for i in range(40)))
    spec = {"tasks": {"rows": {"data": str(data)}}, "methods": ["base"], "seeds": list(range(100)),
            "students": {"tiny": {"student": "2x8"}}}  # fmt: skip
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))  # JSON is YAML
    words = ["study", "run", str(tmp_path / "spec.yaml"), "--out", str(tmp_path / "s")]
    if command == "dump":
        words = [
            "dump",
            "--teacher",
            "column:gpt",
            "--data",
            str(data),
            "--out",
            str(tmp_path / "c"),
        ]
    monkeypatch.setattr("logitcache.processes.together", lambda *_: pytest.fail("started"))
    monkeypatch.setattr(module, "run_parts", lambda *_: pytest.fail("started"))
    refused = CliRunner().invoke(cli, [*words, "--workers", "1000"])
    assert refused.exit_code == 2, refused.output
    assert "--workers: expected at most" in refused.stderr
    assert "found 1000." in refused.stderr
    advised = refused.stderr.partition("Give --workers ")[2].strip().rstrip(".")
    check_count(int(advised))


KILLED = """
import os, signal, sys, time
if "1/2" in sys.argv:
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(60)
"""


def test_a_worker_that_is_killed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SCRIPT", KILLED)
    notes: list[str] = []
    with click.Context(cli), pytest.raises(click.exceptions.Exit) as left:
        workers.run_parts(["dump"], 2, Notes(notes.append))
    assert left.value.exit_code == 137
    assert notes[-1].startswith("part 1 of 2 was killed (SIGKILL")


def test_a_worker_ends_when_its_parent_is_gone() -> None:
    waiting = "from logitcache_cli.workers import end_with_parent; import time; end_with_parent(); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", waiting], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.close()  # as the system does for a parent that was killed
    assert process.wait(30) == -signal.SIGTERM


def test_the_first_failure_ends_all_with_its_code_and_its_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "SCRIPT", FAKE)
    said: list[str] = []
    reporter = Once(Notes(said.append))
    started = time.monotonic()
    with click.Context(cli), pytest.raises(click.exceptions.Exit) as left:
        workers.run_parts(["dump", "--fail"], 3, reporter)
    assert left.value.exit_code == 2
    assert [line for line in said if "Error" in line] == ["SpecError: here: no."]
    assert time.monotonic() - started < 50  # nobody slept to the end


def test_a_process_of_torchrun_takes_its_part(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CliRunner().invoke(cli, [*words, "--out", str(tmp_path / "lone")]).exit_code == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        said.append(
            json.loads(
                CliRunner().invoke(cli, [*words, "--out", str(tmp_path / "c"), "--json"]).stdout
            )
        )
    assert tree(tmp_path / "c") == tree(tmp_path / "lone")
    assert [(each["complete"], each["teacher_rows"]) for each in said] == [(False, 27), (True, 33)]
    assert module.merged(said)["teacher_rows"] == 60


@pytest.mark.parametrize("part", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2"])
def test_parts_that_there_are_none_of_are_refused(
    words: list[str], tmp_path: Path, part: str
) -> None:
    found = CliRunner().invoke(cli, [*words, "--out", str(tmp_path / "c"), "--part", part])
    assert (found.exit_code, "expected I/N" in found.stderr) == (2, True)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("more", [("--part", "1/2"), ("--overwrite",)])
def test_workers_have_their_own_parts(words: list[str], more: tuple[str, ...]) -> None:
    found = CliRunner().invoke(cli, [*words, "--workers", "2", *more])
    assert (found.exit_code, f"--workers without {more[0]}" in found.stderr) == (2, True)


def test_a_teacher_that_has_to_be_trained_is_trained_by_one_of_the_parts(
    headless: Path, singles_data: Path, tmp_path: Path
) -> None:
    """Started at once: the others wait, and use it."""
    asked = [
        "dump",
        "--teacher",
        str(headless),
        "--data",
        str(singles_data),
        "--workspace",
        str(tmp_path / "work"),
    ]
    asked += ["--finetune-epochs", "1", "--shard-rows", "10", "--out", str(tmp_path / "c")]
    parts = [start([*asked, "--part", f"{part}/2"], tmp_path / f"log-{part}") for part in (1, 2)]
    for process in parts:
        process.join(100)
    logs = [(tmp_path / f"log-{part}").read_text() for part in (1, 2)]
    assert [process.exitcode for process in parts] == [0, 0], logs
    assert not Cache.open(tmp_path / "c").verify()
    assert len(list((tmp_path / "work" / "teachers").iterdir())) == 1
    assert (
        sum("this run is there already" in log or "fine-tuned before" in log for log in logs) == 1
    )


def _dump_as_rank(words: list[str], output: str) -> None:
    """``logitcache WORDS`` as one of several ranks, with its stdout in a file."""
    with open(output, "w") as stream, contextlib.redirect_stdout(stream):
        cli(words, standalone_mode=False)


@pytest.mark.slow
def test_ranks_print_one_document(words: list[str], tmp_path: Path) -> None:
    """Each printed its own, and each its notes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    ranks = []
    for rank in ("0", "1"):
        launched = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"}
        meeting = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
        args = ([*words, "--out", str(tmp_path / "c"), "--json"], str(tmp_path / f"out-{rank}"))
        ranks.append(
            processes.start(tmp_path / f"log-{rank}", _dump_as_rank, *args, **launched, **meeting)
        )
    for rank in (0, 1):
        assert processes.ended(tmp_path / f"log-{rank}", ranks[rank]) == [0]
    document = json.loads((tmp_path / "out-0").read_text())
    assert (document["complete"], document["teacher_rows"], document["rows"]) == (True, 60, 60)
    assert (tmp_path / "out-1").read_text() == (tmp_path / "log-1").read_text() == ""
    assert "teacher: " in (tmp_path / "log-0").read_text()
