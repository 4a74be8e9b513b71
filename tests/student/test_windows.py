"""Training from a store that is read by windows: rows come by windows, and a broken-off run goes on
as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logitcache.cache.cache import Cache
from logitcache.cache.convert import convert
from logitcache.cache.joining import join
from logitcache.config.train import TrainConfig
from logitcache.data.collate import Collator
from logitcache.data.order import grouped_permutation, windowed_permutation
from logitcache.data.tasks.classification import Classification
from logitcache.records import Examples
from logitcache.stages.train import train
from logitcache.store import zarr
from logitcache.student.methods import objective
from logitcache.student.settings import FitSettings, arguments
from logitcache.student.trainer import DistillTrainer
from logitcache.teacher.model import TeacherModel
from tests.runs import Interrupt, same, stop_at, watch

WINDOW = 5
SETTINGS = FitSettings(2.0, 0.05, 8, 1, 0.0, 0.0, 0, "fp32", "last", "accuracy", "none", False)


@pytest.fixture
def by_windows(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """The cache of 60 rows as Zarr, in windows small enough to see."""
    monkeypatch.setattr(zarr, "WINDOW", WINDOW)
    convert(cache.folder, tmp_path / "zarr", "zarr")
    return Cache.open(tmp_path / "zarr")


@pytest.mark.parametrize("grouped", [False, True])
def test_rows_come_by_windows(
    rows: Examples,
    student: Callable[..., TeacherModel],
    by_windows: Cache,
    grouped: bool,
    tmp_path: Path,
) -> None:
    seen: list[Any] = []

    class Spy(Collator):
        def __call__(self, places: Any) -> Any:
            seen.extend(places)
            return super().__call__(places)

    teacher = join([by_windows], {"train": 0})
    collator = Spy(rows, Classification(2, ("neg", "pos")), {"kd": teacher})
    args = arguments(SETTINGS, tmp_path / "run", evaluate=False)
    DistillTrainer(
        student().model, objective("kd"), collator, group_by_length=grouped, args=args
    ).train()
    lengths = rows.lengths()
    expected = [
        grouped_permutation(lengths, 8, 0, epoch, WINDOW)
        if grouped
        else windowed_permutation(60, WINDOW, 0, epoch)
        for epoch in range(2)
    ]
    assert np.array_equal(seen, np.concatenate(expected))


def test_a_joined_teacher_names_its_smallest_window(by_windows: Cache, cache: Cache) -> None:
    assert join([cache], {"train": 0}).window is None
    assert join([cache, by_windows], {"train": 0}, "mean").window == WINDOW


@pytest.mark.slow  # any order that is broken off: test_run
def test_a_broken_off_run_ends_bit_for_bit_as_an_unbroken_one(
    config: TrainConfig, finished: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zarr, "WINDOW", WINDOW)
    convert(finished["cache"], tmp_path / "zarr", "zarr")
    kd = replace(config, method="kd", cache=tmp_path / "zarr", checkpoint_steps=2, epochs=2)
    seen = watch(monkeypatch)
    whole = train(replace(kd, out=tmp_path / "whole"))
    with pytest.raises(Interrupt):
        train(replace(kd, out=tmp_path / "broken"), reporter=stop_at(12))  # within the second epoch
    broken = train(replace(kd, out=tmp_path / "broken"))
    assert same(whole, broken)
    assert seen.row_id["whole"][:60] == windowed_permutation(60, WINDOW, 0, 0).tolist()
