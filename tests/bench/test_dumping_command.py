"""The command bench dump, and the memory it measures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from logitcache.bench import document, dump_phases
from logitcache.bench import dump as dumping
from logitcache.bench.dump import CASES, DumpBenchConfig, bench
from logitcache.config.workspace import Workspace
from logitcache.errors import SpecError
from logitcache.report.terminal import bench_text
from logitcache.reporter import SILENT
from logitcache_cli.bench import dump as command

COMMAND = ["logitcache", "bench", "dump"]


@pytest.fixture(scope="module")
def asked(
    checkpoint: Callable[..., Path], singles_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> DumpBenchConfig:
    """The tiny BERT over 60 rows, twice each case, in two shards."""
    return DumpBenchConfig(
        teacher=str(checkpoint()),
        data=str(singles_data),
        max_length=24,
        batch_tokens=256,
        shard_rows=40,
        device="cpu",
        rounds=2,
        workspace=Workspace(tmp_path_factory.mktemp("bench") / "work"),
    )


@pytest.fixture(scope="module")
def told(asked: DumpBenchConfig) -> dict[str, Any]:
    return bench(asked, COMMAND, SILENT)


def test_memory_is_the_other_process_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        dump_phases, "_DUMP", "import time; held = bytearray(b'1') * 100_000_000; time.sleep(0.5)"
    )
    assert 100e6 < dump_phases.peak_memory_of(5, tmp_path) < 200e6
    lines = (tmp_path / "rows5" / "train.jsonl").read_text().splitlines()
    assert [json.loads(line)["label"] for line in lines] == ["no", "yes", "no", "yes", "no"]
    monkeypatch.setattr(dump_phases, "_DUMP", "raise SystemExit('no room')")
    with pytest.raises(SpecError, match="no room"):
        dump_phases.peak_memory_of(5, tmp_path)


@pytest.mark.slow
def test_memory_of_a_dump(asked: DumpBenchConfig, tmp_path: Path) -> None:
    assert dump_phases.peak_memory_of(300, tmp_path) > 1e6
    assert (tmp_path / "work300" / "caches").is_dir()


def test_memory_is_told_by_rows(asked: DumpBenchConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump_phases, "peak_memory_of", lambda rows, folder: rows * 2**20)
    told = bench(replace(asked, rounds=1, memory_rows=(3, 5)), COMMAND, SILENT)
    assert told["memory"] == [
        {"rows": 3, "peak_bytes": 3 * 2**20},
        {"rows": 5, "peak_bytes": 5 * 2**20},
    ]
    assert "A dump of 5 rows holds 5.00 MiB at most" in bench_text(told)


def test_the_command_writes_and_prints_what_it_measured(
    asked: DumpBenchConfig, tmp_path: Path
) -> None:
    words = [
        "--teacher",
        asked.teacher,
        "--data",
        asked.data,
        "--rounds",
        "1",
        "--device",
        "cpu",
        "--max-length",
        "24",
    ]
    words += [
        "--labels",
        "neg, pos",
        "--workspace",
        str(tmp_path / "work"),
        "--out",
        str(tmp_path / "out.json"),
    ]
    done = CliRunner().invoke(command, [*words, "--json"])
    assert done.exit_code == 0, done.output
    told = document.read(tmp_path / "out.json")
    assert json.loads(done.stdout) == told
    for name in CASES:
        assert name in bench_text(told)


def test_the_command_keeps_what_was_measured_and_ends_as_interrupted(
    told: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dumping, "bench", lambda *given: {**told, "complete": False})
    done = CliRunner().invoke(command, ["--out", str(tmp_path / "out.json")])
    assert done.exit_code == 130
    assert not document.read(tmp_path / "out.json")["complete"]
