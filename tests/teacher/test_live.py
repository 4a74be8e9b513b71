"""A cache against its teacher: the same bytes under the same conditions, harmless differences told
from others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from logitcache.cache.cache import Cache
from logitcache.cache.convert import arrays_of
from logitcache.config.teacher import DumpSettings
from logitcache.data.source import Source
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.store.writer import CacheWriter
from logitcache.teacher.dump import dump_split
from logitcache.teacher.live import live
from logitcache.teacher.model import TeacherModel, load_teacher
from logitcache.teacher.panel import FoldTeachers
from logitcache.teacher.plan import Planned, planned
from tests.models.tiny import LABELS, Kind, make
from tests.shortly import fast, slow

SETTINGS = DumpSettings(max_length=48, batch_tokens=200, shard_rows=25)


@pytest.fixture
def asked(teacher: TeacherModel, train_only: Source) -> Planned:
    return planned(teacher, train_only, "train", SETTINGS)


@pytest.fixture
def cache(teacher: TeacherModel, train_only: Source, tmp_path: Path) -> Cache:
    dump_split(teacher, train_only, "train", tmp_path / "c", SETTINGS)
    return Cache.open(tmp_path / "c")


@pytest.mark.parametrize(
    ("codec", "rows"),
    fast(
        product(["float16", "float32"], [1, 7, 60, 1000]),
        ("float32", 1),
        ("float16", 7),
        ("float16", 1000),
    ),
)
def test_asked_in_its_own_batches_a_teacher_says_the_same_bytes(
    teacher: TeacherModel, train_only: Source, tmp_path: Path, rows: int, codec: str
) -> None:
    settings = replace(SETTINGS, codec=codec)
    dump_split(teacher, train_only, "train", tmp_path / "c", settings)
    found = live(Cache.open(tmp_path / "c"), planned(teacher, train_only, "train", settings), rows)
    assert (found.rows, found.same_bytes) == (min(rows, 60), min(rows, 60))
    assert (found.agrees, found.conditions) == (True, {})
    assert found.difference <= found.allowed


def test_teachers_in_folds_too(folds: FoldTeachers, train_only: Source, tmp_path: Path) -> None:
    dump_split(folds, train_only, "train", tmp_path / "c", SETTINGS)
    found = live(Cache.open(tmp_path / "c"), planned(folds, train_only, "train", SETTINGS), 20)
    assert (found.same_bytes, found.agrees) == (20, True)


def test_which_rows_is_the_seeds_to_say(
    cache: Cache, asked: Planned, rows_through: Callable[..., list[int]]
) -> None:
    assert live(cache, asked, 5, seed=1) == live(cache, asked, 5, seed=1)
    seen = rows_through(asked.panel.first)
    live(cache, asked, 1)
    assert sum(seen) < 20  # its batch, and itself alone


def changed(
    cache: Cache, folder: Path, change: Callable[[Any], None], column: str = "logits"
) -> Cache:
    """The cache with another column, under checksums of their own."""
    plan = cache.manifest.plan
    with CacheWriter(folder, plan) as writer:
        for index in writer.missing:
            arrays = arrays_of(cache.reader, index)
            change(arrays[column])
            receipt = cache.manifest.receipts[index]
            writer.write(index, arrays, receipt.sketches, receipt.conditions)
        writer.seal()
    return Cache.open(folder)


def shift(logits: Any) -> None:
    logits[:] = np.roll(logits, 1, axis=0)  # each row has its neighbour's answer


def nudge(logits: Any) -> None:
    lowest = logits.argmin(axis=1)
    logits[np.arange(len(logits)), lowest] *= np.float16(1.01)


def rounded(logits: Any) -> None:
    logits[:] = np.nextafter(logits, np.float16(-np.inf))  # the last bit


@pytest.mark.parametrize(
    ("change", "agrees"), [slow((shift, False)), (nudge, False), (rounded, True)]
)
def test_answers_of_another_row_are_noticed_and_a_last_bit_is_harmless(
    cache: Cache, asked: Planned, tmp_path: Path, change: Callable[[Any], None], agrees: bool
) -> None:
    found = live(changed(cache, tmp_path / "changed", change), asked, 60)
    assert found.agrees is agrees
    assert found.same_bytes < 60
    assert found.difference > 0


def test_other_conditions_are_named(cache: Cache, asked: Planned) -> None:
    torch.set_num_threads(2)
    try:
        found = live(cache, asked, 3)
    finally:
        torch.set_num_threads(1)
    assert (found.agrees, found.conditions) == (True, {"threads": [1, 2]})


def test_rows_without_an_answer_are_not_asked_about(cache: Cache, asked: Planned) -> None:
    cache.skipped = np.arange(60)  # type: ignore[misc]
    with pytest.raises(SpecError, match="found none"):
        live(cache, asked, 3)


def test_a_cache_made_with_padding_on_the_wrong_side_is_noticed(
    train_only: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As older copies padded an XLNet on the right: the reference is rows asked alone, and the
    control knows nothing of padding.
    """
    path = make(Kind("xlnet", "xlnet", "right"), tmp_path / "xlnet")
    teacher = load_teacher(str(path), device="cpu")
    source = replace(train_only, label_names=LABELS, num_labels=len(LABELS))
    settings = DumpSettings(max_length=32, batch_tokens=200, shard_rows=25)
    with monkeypatch.context() as patched:
        patched.setattr(
            "logitcache.teacher.plan.find_padding", lambda model, tokenizer, own, *_, **__: own
        )
        dump_split(teacher, source, "train", tmp_path / "wrong", settings)
    dump_split(teacher, source, "train", tmp_path / "right", settings)
    asked = planned(teacher, source, "train", settings)
    wrong, right = (Cache.open(tmp_path / name) for name in ("wrong", "right"))
    asked.check_same(wrong.manifest.plan, padding=False)
    with pytest.raises(FingerprintMismatch, match=r"expected preparation.padding.side = right"):
        asked.check_same(wrong.manifest.plan)
    assert not live(wrong, asked, 60).agrees
    assert live(right, asked, 60).agrees


def test_the_difference_of_a_signal_is_that_of_the_number_it_is_judged_by(
    teacher: TeacherModel, train_only: Source, tmp_path: Path
) -> None:
    signals = ("pooled:mean,dtype=int8", "hidden:-1")
    vectors = replace(SETTINGS, signals=signals)
    dump_split(teacher, train_only, "train", tmp_path / "c", vectors)
    cache = Cache.open(tmp_path / "c")
    asked = planned(teacher, train_only, "train", vectors)
    verdict = live(cache, asked, 6)
    assert verdict.agrees
    assert verdict.difference <= verdict.allowed
    for signal in verdict.signals.values():
        assert 0 < signal.difference <= signal.allowed
    moved = changed(cache, tmp_path / "moved", shift, "hidden_2_vector")
    verdict = live(moved, asked, 6)
    assert not verdict.agrees
    assert verdict.difference > verdict.allowed
