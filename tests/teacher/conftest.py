"""Teachers, and rows for them to answer: shared by the tests of the inference stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from logitcache.cache.cache import Cache
from logitcache.config.teacher import DumpSettings
from logitcache.data.source import Source
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import TeacherModel, load_teacher
from logitcache.teacher.panel import FoldTeachers

Checkpoint = Callable[..., Path]
# 60 rows: 25, 25, 10
SETTINGS = DumpSettings(max_length=48, batch_tokens=200, codec="float32", shard_rows=25)


@pytest.fixture(scope="module")
def source(singles_data: Path, load_source: Callable[[Path], Source]) -> Source:
    return load_source(singles_data)


@pytest.fixture(scope="module")
def train_only(source: Source) -> Source:
    """Without a dev split to be asked about: every row the teacher sees is a row of the cache."""
    return replace(source, splits={"train": source.split("train")})


@pytest.fixture(scope="module")
def teacher(checkpoint: Checkpoint) -> TeacherModel:
    return load_teacher(str(checkpoint()), device="cpu")


@pytest.fixture(scope="module")
def old(
    teacher: TeacherModel, train_only: Source, tmp_path_factory: pytest.TempPathFactory
) -> Cache:
    """The cache of the 60 train rows, of which the first text stands there three times."""
    folder = tmp_path_factory.mktemp("old") / "c"
    dump_split(teacher, train_only, "train", folder, SETTINGS)
    return Cache.open(folder)


@pytest.fixture(scope="session")
def fold_loader(checkpoint: Checkpoint) -> Callable[[int], Callable[[], TeacherModel]]:
    """``fold_loader(k)()``: loads a teacher of the tiny one's shape whose head is another for every
    k.
    """

    def loader(fold: int) -> Callable[[], TeacherModel]:
        def load() -> TeacherModel:
            made = load_teacher(str(checkpoint()), device="cpu")
            draw = torch.Generator().manual_seed(fold)
            with torch.no_grad():
                for parameter in made.model.classifier.parameters():  # type: ignore[union-attr]
                    parameter.copy_(torch.randn(parameter.shape, generator=draw))
            return made

        return load

    return loader


@pytest.fixture(scope="module")
def folds(fold_loader: Callable[[int], Callable[[], TeacherModel]]) -> FoldTeachers:
    """Three teachers, one for each fold."""
    return FoldTeachers([fold_loader(k) for k in range(3)])


@pytest.fixture
def rows_through(monkeypatch: pytest.MonkeyPatch) -> Callable[[TeacherModel], list[int]]:
    """``rows_through(teacher)``: rows of each batch it answers from now on, a list that grows. The
    few rows that tell how it is asked in batches are no answers.
    """

    def watch(teacher: TeacherModel) -> list[int]:
        counts: list[int] = []
        whole = TeacherModel.logits

        def logits(self: TeacherModel, inputs: Any) -> torch.Tensor:
            if self.model is teacher.model:
                counts.append(len(inputs["input_ids"]))
            return whole(self, inputs)

        monkeypatch.setattr(TeacherModel, "logits", logits)
        return counts

    return watch


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``little_memory(tokens)``: from now on no teacher can be asked about more padded tokens at
    once.
    """
    whole = TeacherModel.logits

    def shrink(tokens: int, error: type[RuntimeError] | str = torch.OutOfMemoryError) -> None:
        def logits(self: TeacherModel, inputs: Any) -> torch.Tensor:
            if inputs["input_ids"].size > tokens:
                raise RuntimeError(error) if isinstance(error, str) else error("CUDA out of memory")
            return whole(self, inputs)

        monkeypatch.setattr(TeacherModel, "logits", logits)

    return shrink
