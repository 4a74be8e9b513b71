"""Runs of KD, with and without unlabelled rows, and the caches they learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from logitcache.cache.cache import Cache
from logitcache.config.teacher import DumpSettings
from logitcache.config.train import TrainConfig
from logitcache.reporter import SILENT
from logitcache.stages.rows import load
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import load_teacher
from tests.runs import Seen, watch
from tests.stages.worlds import World


@pytest.fixture
def kd(config: TrainConfig, finished: dict[str, Path]) -> TrainConfig:
    return replace(config, method="kd", cache=finished["cache"], out=config.workspace.folder / "kd")


@pytest.fixture
def more(config: TrainConfig, unlabelled_data: Path) -> TrainConfig:
    """An epoch of the quick run over 60 labelled rows, with 30 unlabelled ones beside."""
    return replace(config, unlabelled=str(unlabelled_data), epochs=1.0)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return watch(monkeypatch)


@pytest.fixture
def dumped(checkpoint: Callable[..., Path]) -> Callable[..., Cache]:
    """``dumped(config, split, kind)``: a tiny teacher's answers to a split of a run's data, in the
    run's workspace.
    """

    def dump(config: TrainConfig, split: str = "train", kind: str = "bert") -> Cache:
        source = load(config, SILENT)
        folder = config.workspace.cache(source.name, split, kind)
        dump_split(
            load_teacher(str(checkpoint(kind)), device="cpu"),
            source,
            split,
            folder,
            DumpSettings(48),
        )
        return Cache.open(folder)

    return dump


@pytest.fixture
def world(
    tmp_path: Path,
    singles_data: Path,
    checkpoint: Callable[..., Path],
    finished: dict[str, Path],
    config: TrainConfig,
    write: Callable[[Path, list[Any]], Path],
) -> World:
    return World(
        tmp_path, singles_data, checkpoint(), finished["cache"], finished["base"], config, write
    )
