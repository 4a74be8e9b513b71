"""Tokenised rows, a student and a teacher's cache, for tests of the trainer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from logitcache.cache.cache import Cache
from logitcache.config.teacher import DumpSettings
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Source
from logitcache.records import Examples
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import TeacherModel, load_teacher


@pytest.fixture(scope="session")
def sources(
    singles_data: Path, pairs_data: Path, load_source: Callable[[Path], Source]
) -> dict[str, Source]:
    return {"singles": load_source(singles_data), "pairs": load_source(pairs_data)}


@pytest.fixture(scope="session")
def student(checkpoint: Callable[..., Path]) -> Callable[..., TeacherModel]:
    """``student(labels, dropout=0.0)``: a fresh copy of a tiny BERT with its tokenizer, other than
    any teacher here.
    """

    def make(labels: tuple[str, ...] = ("neg", "pos"), dropout: float = 0.0) -> TeacherModel:
        return load_teacher(str(checkpoint("bert", labels, dropout)), device="cpu")

    return make


@pytest.fixture(scope="session")
def rows(sources: dict[str, Source], student: Callable[..., TeacherModel]) -> Examples:
    return prepare(student().tokenizer, sources["singles"].split("train"), 48)


@pytest.fixture(scope="session")
def cache(
    sources: dict[str, Source],
    checkpoint: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Cache:
    """A RoBERTa's answers to the single texts."""
    folder = tmp_path_factory.mktemp("cache") / "c"
    teacher = load_teacher(str(checkpoint("roberta")), device="cpu")
    dump_split(teacher, sources["singles"], "train", folder, DumpSettings(48, 300, "float16", 25))
    return Cache.open(folder)
