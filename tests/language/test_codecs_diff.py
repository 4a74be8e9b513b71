"""Two caches of sparse answers, compared token by token."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from logitcache.api import dump
from logitcache.cache.cache import Cache
from logitcache.cache.diff import difference
from logitcache.errors import FingerprintMismatch, SpecError
from tests.language.small_lms import CODECS, TASK_OF, VOCABULARY


def test_two_teachers_of_one_vocabulary_are_compared_token_by_token(
    dumps: dict[str, Any],
    lm: Callable[..., Path],
    texts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Classes are the numbers of the words; a block has few rows."""
    kind = dumps["kind"]
    report = dump(
        str(lm({"gpt2": "llama", "bert": "roberta"}[kind])), str(texts), task=TASK_OF[kind], seq_len=24, device="cpu",
        codec="float32", workspace=tmp_path, notify=lambda line: None,
    )  # fmt: skip
    one = dumps["caches"]["float32"]
    other = Cache.open(report.cache)
    whole = difference(one, other)
    assert whole.rows == len(one)
    assert whole.kl_ab["mean"] > 0
    assert all(worst["class_a"].isdecimal() for worst in whole.worst)
    monkeypatch.setattr("logitcache.cache.diff.BLOCK_VALUES", 24 * VOCABULARY[kind] * 3)
    by_blocks = difference(one, other)
    assert by_blocks.worst == whole.worst
    assert by_blocks.kl_ab == pytest.approx(whole.kl_ab)


def test_caches_that_cannot_be_compared_are_refused(dumps: dict[str, Any]) -> None:
    one = dumps["caches"]["float32"]
    for codec in CODECS:
        with pytest.raises(
            SpecError,
            match=r"expected a cache of full vectors, found the codec .* --codec float16\.",
        ):
            difference(one, dumps["caches"][codec])
    plan = one.manifest.plan
    other = copy(one)
    other.manifest = replace(
        one.manifest, plan=replace(plan, preprocessor={**plan.preprocessor, "map": "another"})
    )
    with pytest.raises(
        FingerprintMismatch, match=r"expected the tokens of .*, found others .* of one tokenizer\."
    ):
        difference(one, other)
