"""Checkpoints of every kind of padding, and rows of mixed lengths."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from logitcache.config.data import Columns
from logitcache.data.source import Source, load
from logitcache.reporter import SILENT
from tests.models import tiny


def texts(count: int, seed: int) -> list[str]:
    """Texts of 1 to 20 words. Some end in an unknown word, some in the name of a special token;
    some are cut.
    """
    draw = random.Random(seed)
    made = [" ".join(draw.choices(tiny.WORDS, k=draw.randint(1, 20))) for _ in range(count)]
    made[1:4] = ["the film zzz", "very dull </s>", "zzz"]
    made[4] = " ".join(tiny.WORDS * 4)
    return made


@pytest.fixture(scope="session")
def kind_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tiny.Kind], Path]:
    folder = tmp_path_factory.mktemp("kinds")
    return cache(lambda kind: tiny.make(kind, folder / str(kind).replace("/", "")))


@pytest.fixture(scope="session", params=["singles", "pairs"])
def mixed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """``tiny.ROWS`` labelled rows of one text each, or of two."""
    table: dict[str, list[str]] = {"text": texts(tiny.ROWS, 0)}
    if request.param == "pairs":
        table["text_pair"] = texts(tiny.ROWS, 1)[::-1]
    rows = {**table, "label": [tiny.LABELS[i % 3] for i in range(tiny.ROWS)]}
    columns = Columns(label_names=tiny.LABELS)
    return load(
        {"train": rows}, columns, tmp_path_factory.mktemp("data"), SILENT, name=str(request.param)
    )
