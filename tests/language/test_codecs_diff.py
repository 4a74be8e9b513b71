"""Two caches of sparse answers, compared token by token."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from click.testing import CliRunner

from logitcache.api import dump
from logitcache.cache.cache import Cache
from logitcache.cache.diff import difference
from logitcache.config.dump import AgainConfig
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.reporter import SILENT
from logitcache.stages.again import planned_again
from logitcache.teacher.live import live
from logitcache_cli.main import cli
from tests.language.small_lms import CODECS, TASK_OF, VOCABULARY
from tests.shortly import fast

BIASED = "topk:k=4,tail=unigram"
COMPARED = (*CODECS, "replay", BIASED)


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
            match=r"expected full vectors, .* found some words .* Compare caches of one codec\.",
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


@pytest.fixture(scope="module")
def another(
    dumps: dict[str, Any], lm: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The teacher with weights of a fiftieth more."""
    folder = tmp_path_factory.mktemp("teacher")
    kind = dumps["kind"]
    auto = (
        transformers.AutoModelForCausalLM if kind == "gpt2" else transformers.AutoModelForMaskedLM
    )
    model = auto.from_pretrained(lm(kind))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.02)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(lm(kind)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("codec", fast(COMPARED, "varopt:mean=4", "replay", BIASED))
def test_a_sparse_cache_is_asked_again(
    codec: str, dumps: dict[str, Any], lm: Callable[..., Path], texts: Path, another: Path
) -> None:
    """The draws of a row are its own: the same teacher gives the same target, another does not."""
    cache, kind = dumps["caches"][codec], dumps["kind"]
    told = []
    for teacher in (lm(kind), another):
        config = AgainConfig(teacher=str(teacher), device="cpu")
        again = planned_again(config, str(texts), None, SILENT, cache.manifest.plan)
        told.append(live(cache, again, 6))
    same, other = told
    assert same.agrees
    assert same.same_bytes == (None if codec == "replay" else 6)
    assert not other.agrees
    assert other.difference > other.allowed


@pytest.mark.parametrize("codec", ["topk:k=4", "varopt:mean=4"])
def test_sparse_caches_are_compared(
    codec: str, dumps: dict[str, Any], another: Path, texts: Path, tmp_path: Path
) -> None:
    cache, kind = dumps["caches"][codec], dumps["kind"]
    assert difference(cache, cache).identical
    settings: dict[str, Any] = {"task": TASK_OF[kind], "seq_len": 24, "codec": codec}
    report = dump(
        str(another), str(texts), workspace=tmp_path, device="cpu", reporter=SILENT, **settings
    )
    apart = difference(cache, Cache.open(report.cache))
    assert not apart.identical
    assert 0 < apart.variation["mean"] < 0.5
    assert apart.worst[0]["variation"] == pytest.approx(apart.variation["max"])
    shown = CliRunner().invoke(cli, ["diff", str(cache.folder), str(report.cache)])
    assert "total variation of the stored words" in shown.stdout
