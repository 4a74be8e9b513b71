"""A student whose head is its embedding goes on from its checkpoint, where the head is not saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from logitcache.api import train
from tests.language.small_lms import make_config, make_tokenizer
from tests.runs import Interrupt, same, stop_at


def test_a_run_that_is_broken_off_ends_as_an_unbroken_one(texts: Path, tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    shape = tmp_path / "shape"
    tied = make_config("llama", tokenizer)
    tied.tie_word_embeddings = True
    tied.save_pretrained(shape)
    tokenizer.save_pretrained(shape)
    named: dict[str, Any] = {
        "task": "causal-lm",
        "student": str(shape),
        "init": "random",
        "workspace": tmp_path,
        "epochs": 1,
        "batch_size": 8,
        "seq_len": 24,
        "select": "last",
        "checkpoint_steps": 2,
    }
    whole = train("base", str(texts), out=tmp_path / "whole", **named)
    with pytest.raises(Interrupt):
        train("base", str(texts), out=tmp_path / "out", reporter=stop_at(3), **named)
    assert list((tmp_path / "out" / "checkpoints").glob("checkpoint-*"))
    assert same(train("base", str(texts), out=tmp_path / "out", **named), whole)
