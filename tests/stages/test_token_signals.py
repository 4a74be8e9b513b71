"""Vectors of tokens teach a student that reads texts as its teacher did, and no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from logitcache.api import dump, train
from logitcache.cache.cache import Cache
from logitcache.errors import FingerprintMismatch
from logitcache.stages.stored import check_tokens_alike
from tests.conftest import singles


def test_a_student_that_reads_other_tokens_is_refused(
    checkpoint: Callable[..., Path], write: Callable[..., Path], tmp_path: Path
) -> None:
    """Once rows of as many tokens were compared token by token, whichever tokens they were."""
    write(tmp_path / "data" / "train.jsonl", singles(24, 3))
    teacher, data = checkpoint(), str(tmp_path / "data")
    usual: dict[str, Any] = {"workspace": tmp_path / "work", "notify": lambda line: None}
    report = dump(str(teacher), data, signal="attention-input:-1", device="cpu", **usual)
    settings: dict[str, Any] = {"student": "1x16", "init": "random", "epochs": 1, **usual}
    with pytest.raises(FingerprintMismatch, match=r"gives others\. Give --tokenizer the teacher's"):
        train("minilm", data, **settings)
    result = train("minilm", data, tokenizer=str(teacher), **settings)
    assert np.isfinite(json.loads((result / "result.json").read_text())["metrics"]["train"]["nll"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(teacher)
    cache = Cache.open(report.cache)
    check_tokens_alike(tokenizer, cache)
    tokenizer.truncation_side = "left"
    with pytest.raises(FingerprintMismatch, match="gives the tokens of the teacher's"):
        check_tokens_alike(tokenizer, cache)
