"""Shards of a dump: what they say they were made under, rows that have no answer, and parts that
several make.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from logitcache.cache.cache import Cache
from logitcache.config.teacher import DumpSettings
from logitcache.data.source import Source
from logitcache.errors import (
    AlignmentError,
    FingerprintMismatch,
    IncompleteCache,
    Locked,
    SpecError,
)
from logitcache.reporter import Notes
from logitcache.store.writer import CacheWriter
from logitcache.teacher.conditions import conditions, differing
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import TeacherModel, load_teacher
from logitcache.teacher.plan import planned
from tests.runs import tree
from tests.shortly import slow

# 60 rows: 6 of 9 and one of 6
SETTINGS = DumpSettings(max_length=48, batch_tokens=200, shard_rows=9)
SKIP = replace(SETTINGS, on_nonfinite="skip")


def test_receipts_say_what_the_last_bits_depend_on(
    teacher: TeacherModel, train_only: Source, tmp_path: Path
) -> None:
    dump_split(teacher, train_only, "train", tmp_path / "c", SETTINGS)
    said = [receipt.conditions for receipt in Cache.open(tmp_path / "c").manifest.receipts]
    assert all(each == conditions(teacher) for each in said)
    assert (said[0]["device"], said[0]["threads"], said[0]["dtype"]) == ("cpu", 1, "float32")
    assert said[0]["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert {"torch", "transformers", "tokenizers", "numpy", "attention", "accelerator"} <= set(
        said[0]
    )
    torch.set_num_threads(2)
    try:
        now = conditions(teacher)
    finally:
        torch.set_num_threads(1)
    assert differing({**said[0], "batch_tokens": 100}, now) == {"threads": [1, 2]}


def test_other_labels_are_another_plan(
    teacher: TeacherModel, train_only: Source, tmp_path: Path
) -> None:
    """Labels are stored beside the answers: a dump that goes on must not mix two versions of them."""
    rows = train_only.split("train")
    dump_split(teacher, train_only, "train", tmp_path / "c", SETTINGS)
    corrected = replace(train_only, splits={"train": replace(rows, label=1 - rows.label)})
    with pytest.raises(FingerprintMismatch, match=r"data\.labels"):
        dump_split(teacher, corrected, "train", tmp_path / "c", SETTINGS)


@pytest.fixture
def odd(
    checkpoint: Callable[..., Path], source: Source
) -> Callable[[float], tuple[TeacherModel, list[int]]]:
    """A teacher that adds this to a logit of the rows with one word, and those rows."""

    def make(value: float) -> tuple[TeacherModel, list[int]]:
        teacher = load_teacher(str(checkpoint()), device="cpu")
        token = teacher.tokenizer.convert_tokens_to_ids("tedious")

        def add(module: Any, args: Any, kwargs: Any, output: Any) -> Any:
            has = (kwargs["input_ids"] == token).any(1).to(output.logits.dtype)
            output.logits = output.logits.clone()
            output.logits[:, 1] += torch.where(has > 0, torch.tensor(value), torch.tensor(0.0))
            return output

        teacher.model.register_forward_hook(add, with_kwargs=True)
        texts = source.split("train").text.to_pylist()
        return teacher, [i for i, text in enumerate(texts) if "tedious" in text.split()]

    return make


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), "NaN or infinity"),
        (float("inf"), "NaN or infinity"),
        (-7e4, "more than 65504 below"),
    ],
)
def test_rows_that_cannot_be_stored_stop_the_dump_by_name(
    odd: Callable[[float], tuple[TeacherModel, list[int]]],
    train_only: Source,
    tmp_path: Path,
    value: float,
    said: str,
) -> None:
    teacher, rows = odd(value)
    settings = replace(SETTINGS, shard_rows=60)
    advice = "--codec float32" if value == -7e4 else "--dtype float32"
    with pytest.raises(
        SpecError,
        match=rf"{said}.* in {len(rows)} rows \(row {rows[0]}, .*{advice}.*--on-nonfinite",
    ):
        dump_split(teacher, train_only, "train", tmp_path / "c", settings)
    assert not (tmp_path / "c").exists()


def test_a_gap_that_single_precision_holds_is_stored(
    odd: Callable[[float], tuple[TeacherModel, list[int]]], train_only: Source, tmp_path: Path
) -> None:
    teacher, rows = odd(-7e4)
    dump_split(teacher, train_only, "train", tmp_path / "c", replace(SETTINGS, codec="float32"))
    assert (Cache.open(tmp_path / "c").take(np.array(rows)).logits[:, 1] < -65504).all()


@pytest.mark.parametrize("value", [float("nan"), slow(float("inf")), -7e4])
def test_they_are_skipped_where_the_plan_says_so(
    odd: Callable[[float], tuple[TeacherModel, list[int]]],
    teacher: TeacherModel,
    train_only: Source,
    tmp_path: Path,
    value: float,
) -> None:
    broken, rows = odd(value)
    notes: list[str] = []
    report = dump_split(
        broken, train_only, "train", tmp_path / "c", SKIP, reporter=Notes(notes.append)
    )
    cache = Cache.open(tmp_path / "c")
    assert (report.skipped_rows, cache.skipped.tolist(), cache.verify()) == (len(rows), rows, [])
    assert any(f"{len(rows):,} rows have no answer" in note for note in notes)
    assert cache.manifest.plan.preparation["on_nonfinite"] == "skip"
    assert np.isnan(cache.stored(np.array(rows))["logits"]).all()
    with pytest.raises(AlignmentError, match=f"row {rows[0]} has no answer"):
        cache.take(np.array([rows[0]]))
    with pytest.raises(AlignmentError, match=f"row {rows[0]} has no answer"):
        cache.check(np.arange(60), cache.row_hashes())
    kept = np.setdiff1d(np.arange(60), rows)
    cache.check(kept, cache.row_hashes()[kept])
    dump_split(teacher, train_only, "train", tmp_path / "whole", SETTINGS)
    whole = Cache.open(tmp_path / "whole")
    np.testing.assert_allclose(cache.take(kept).logits, whole.take(kept).logits, atol=1e-2)
    again = dump_split(broken, train_only, "train", tmp_path / "d", SKIP, reuse=cache)
    assert (again.teacher_rows, Cache.open(tmp_path / "d").skipped.tolist()) == (0, rows)


def test_a_teacher_without_any_answer_is_still_a_cache(
    odd: Callable[[float], tuple[TeacherModel, list[int]]], train_only: Source, tmp_path: Path
) -> None:
    teacher, rows = odd(float("nan"))
    only = replace(train_only, splits={"train": train_only.split("train").select(np.array(rows))})
    report = dump_split(teacher, only, "train", tmp_path / "c", SKIP)
    assert (report.entropy, report.scores, report.skipped_rows) == (None, {}, len(rows))


def part(teacher: TeacherModel, source: Source, folder: Path, index: int, parts: int) -> Any:
    return dump_split(teacher, source, "train", folder, SETTINGS, part=(index, parts))


@pytest.mark.parametrize("order", [slow(((0, 1, 2),)), (2, 0, 1), slow(((1, 2, 0),))])
def test_parts_in_any_order_make_what_one_makes(
    teacher: TeacherModel, source: Source, tmp_path: Path, order: tuple[int, ...]
) -> None:
    lone = dump_split(teacher, source, "train", tmp_path / "lone", SETTINGS)
    reports = []
    for index in order:
        with pytest.raises((IncompleteCache, ValueError)):
            Cache.open(tmp_path / "c")
        reports.append(part(teacher, source, tmp_path / "c", index, 3))
    assert tree(tmp_path / "c") == tree(tmp_path / "lone")
    assert [report.complete for report in reports] == [False, False, True]
    assert sum(report.teacher_rows for report in reports) == 60
    # a sum of floats depends on its order
    assert reports[-1].scores == pytest.approx(lone.scores, rel=1e-12)
    assert reports[-1].dev_scores == lone.dev_scores
    # asked of by one alone
    assert [bool(report.dev_scores) for report in reports] == [False, False, True]
    assert re.match(r"[23] of 7 shards are written", reports[0].remarks[-1])


def test_more_parts_than_shards(teacher: TeacherModel, source: Source, tmp_path: Path) -> None:
    dump_split(teacher, source, "train", tmp_path / "lone", SETTINGS)
    reports = [part(teacher, source, tmp_path / "c", index, 10) for index in range(10)]
    assert sum(report.teacher_rows for report in reports) == 60
    assert tree(tmp_path / "c") == tree(tmp_path / "lone")


def test_a_part_of_a_bad_dump_takes_nothing_from_the_others(
    odd: Callable[[float], tuple[TeacherModel, list[int]]], train_only: Source, tmp_path: Path
) -> None:
    teacher, _ = odd(float("nan"))
    with pytest.raises(SpecError, match="NaN"):
        part(teacher, train_only, tmp_path / "c", 0, 3)
    assert (tmp_path / "c" / "plan.json").is_file()


def test_nobody_dumps_alone_beside_a_part(
    teacher: TeacherModel, source: Source, tmp_path: Path
) -> None:
    plan = planned(teacher, source, "train", SETTINGS).plan
    with CacheWriter(tmp_path / "c", plan, part=(0, 2)):
        with pytest.raises(Locked):
            dump_split(teacher, source, "train", tmp_path / "c", SETTINGS)
        part(teacher, source, tmp_path / "c", 1, 2)
    assert json.loads((tmp_path / "c" / "plan.json").read_text())["rows"] == 60
