"""The rows of a cache, found again by what the cache calls them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import logitcache
from logitcache.cache.cache import Cache
from logitcache.cache.inspect import Columns, row_of
from logitcache.config.dump import DumpConfig
from logitcache.config.teacher import TeacherSpec
from logitcache.config.workspace import Workspace
from logitcache.errors import SpecError
from logitcache.reporter import SILENT
from logitcache.stages.again import rows_of
from logitcache.teacher.dump_record import DumpRecord


@pytest.fixture
def cache(
    singles_data: Path,
    checkpoint: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Of a single file ``r.jsonl``, in the working folder; the plan calls it ``r``."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(singles_data / "train.jsonl", "r.jsonl")
    shutil.copytree(checkpoint(), "teacher")
    return logitcache.dump("teacher", "r.jsonl", out="c", device="cpu", reporter=SILENT).cache


def test_a_single_file_is_found_by_all_who_look_for_it(cache: Path) -> None:
    opened = Cache.open(cache)
    assert opened.manifest.plan.data["source"] == "r"
    assert row_of(opened, 1, None, Columns(), Path("none"))["text"] is not None
    assert (
        logitcache.verify_live(cache, 5, "teacher", device="cpu", reporter=SILENT).same_bytes == 5
    )
    shard = cache / "shards" / "00000.arrow"
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    assert logitcache.repair(cache, "teacher", device="cpu", reporter=SILENT).repaired == [0]
    assert opened.verify() == []


def test_rows_that_lie_nowhere_are_to_be_named(cache: Path) -> None:
    Path("r.jsonl").rename("moved.jsonl")
    with pytest.raises(SpecError, match=r"the cache calls its rows 'r', .* Name them with --data"):
        logitcache.verify_live(cache, 5, "teacher", reporter=SILENT)
    assert (
        "the cache calls its rows 'r'"
        in row_of(Cache.open(cache), 1, None, Columns(), Path("none"))["text_note"]
    )
    assert logitcache.verify_live(
        cache, 5, "teacher", "moved.jsonl", device="cpu", reporter=SILENT
    ).agrees


def test_of_several_of_that_name_the_very_rows_are_taken(cache: Path) -> None:
    record = DumpRecord.of(Cache.open(cache).manifest.plan)
    config = DumpConfig(TeacherSpec("teacher"), workspace=Workspace(Path("work")))
    lines = Path("r.jsonl").read_text().splitlines()
    Path("r").mkdir()
    Path("r/train.jsonl").write_text(
        "\n".join([*lines[:40], json.dumps({"text": "another", "label": "pos"})])
    )
    assert rows_of(record, config, SILENT).table("train").digest() == record.digest
    Path("r.jsonl").unlink()
    # and is refused by name
    assert rows_of(record, config, SILENT).table("train").digest() != record.digest
    Path("r/train.jsonl").write_text("{}\n")
    with pytest.raises(SpecError, match="expected a text column"):
        rows_of(record, config, SILENT)


@pytest.mark.parametrize(
    "name", ["../r", "/etc/passwd", ".", "..", "r\0", "x" * 5000, "org/name", "glue-sst2"]
)
def test_a_name_is_no_path(cache: Path, name: str) -> None:
    record = replace(DumpRecord.of(Cache.open(cache).manifest.plan), source=name)
    with pytest.raises(SpecError, match="the cache calls its rows"):
        rows_of(record, DumpConfig(TeacherSpec("teacher")), SILENT)
