"""The command bench dump, and the memory it measures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from logitcache.bench import document, dump_phases
from logitcache.bench import dump as dumping
from logitcache.bench.dump import CASES, DumpBenchConfig, bench
from logitcache.errors import SpecError
from logitcache.report.terminal import bench_text
from logitcache.reporter import SILENT
from logitcache_cli.bench import dump as command

COMMAND = ["logitcache", "bench", "dump"]


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
def test_memory_of_a_dump(dump_config: DumpBenchConfig, tmp_path: Path) -> None:
    assert dump_phases.peak_memory_of(300, tmp_path) > 1e6
    assert (tmp_path / "work300" / "caches").is_dir()


def test_memory_is_told_by_rows(
    dump_config: DumpBenchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump_phases, "peak_memory_of", lambda rows, folder: rows * 2**20)
    dump_document = bench(replace(dump_config, rounds=1, memory_rows=(3, 5)), COMMAND, SILENT)
    assert dump_document["memory"] == [
        {"rows": 3, "peak_bytes": 3 * 2**20},
        {"rows": 5, "peak_bytes": 5 * 2**20},
    ]
    assert "A dump of 5 rows holds 5.00 MiB at most" in bench_text(dump_document)


def test_the_command_writes_and_prints_what_it_measured(
    dump_config: DumpBenchConfig, tmp_path: Path
) -> None:
    words = [
        "--teacher",
        dump_config.teacher,
        "--data",
        dump_config.data,
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
    dump_document = document.read(tmp_path / "out.json")
    assert json.loads(done.stdout) == dump_document
    for name in CASES:
        assert name in bench_text(dump_document)


def test_the_command_keeps_what_was_measured_and_ends_as_interrupted(
    dump_document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dumping, "bench", lambda *given: {**dump_document, "complete": False})
    done = CliRunner().invoke(command, ["--out", str(tmp_path / "out.json")])
    assert done.exit_code == 130
    assert not document.read(tmp_path / "out.json")["complete"]
