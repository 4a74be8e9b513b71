"""Rows that a dump has skipped are taught by nobody, and that is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from logitcache.cache.cache import Cache
from logitcache.config.teacher import DumpSettings
from logitcache.config.train import TrainConfig
from logitcache.data.source import Source
from logitcache.errors import SpecError
from logitcache.reporter import Notes
from logitcache.stages.train import train
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import load_teacher
from tests.runs import Seen, watch


@pytest.fixture
def dumped(
    checkpoint: Callable[..., Path],
    singles_data: Path,
    load_source: Callable[[Path], Source],
    tmp_path: Path,
) -> Callable[[str], Cache]:
    """A cache whose teacher has no answer to rows with this word."""

    def make(word: str) -> Cache:
        teacher = load_teacher(str(checkpoint()), device="cpu")
        with torch.no_grad():
            token = teacher.tokenizer.convert_tokens_to_ids(word)
            teacher.model.get_input_embeddings().weight[token] = float("nan")  # type: ignore[index, operator]
        settings = DumpSettings(48, shard_rows=25, on_nonfinite="skip")
        dump_split(teacher, load_source(singles_data), "train", tmp_path / "c", settings)
        return Cache.open(tmp_path / "c")

    return make


def test_skipped_rows_are_left_out_and_counted(
    dumped: Callable[[str], Cache], config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, notes, seen = dumped("tedious"), list[Any](), watch(monkeypatch)
    assert 0 < len(cache.skipped) < 30
    out = train(
        replace(config, method="kd", cache=cache.folder, epochs=1.0), reporter=Notes(notes.append)
    )
    assert_seen(seen, out.name, np.setdiff1d(np.arange(60), cache.skipped).tolist())
    said = f"{len(cache.skipped)} rows are left out: the cache has no answer to them"
    assert any(said in note for note in notes)


def assert_seen(seen: Seen, name: str, rows: list[int]) -> None:
    assert sorted(row for row in seen.row_id[name] if row >= 0) == rows


def test_a_cache_without_any_answer_teaches_nobody(
    dumped: Callable[[str], Cache], config: TrainConfig
) -> None:
    cache = dumped("[CLS]")
    assert len(cache.skipped) == 60
    with pytest.raises(SpecError, match="expected rows with an answer, found none"):
        train(replace(config, method="kd", cache=cache.folder))
