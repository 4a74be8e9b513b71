"""Tiny language models as folders, and texts and conversations as files."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from logitcache.api import dump
from logitcache.cache.cache import Cache
from tests.language.small_lms import (
    CODECS,
    LIMIT,
    MASKED,
    TASK_OF,
    VOCABULARY,
    document,
    make_config,
    make_tokenizer,
)
from tests.shortly import fast


@pytest.fixture(scope="session")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``lm(kind, side="right", limit=64, filling=0, config_only=False, local=128)``: a tiny
    language model's folder.
    """
    folder = tmp_path_factory.mktemp("lms")

    @cache
    def make(
        kind: str,
        side: str = "right",
        limit: int = LIMIT,
        filling: int = 0,
        config_only: bool = False,
        local: int = 128,
    ) -> Path:
        import torch
        import transformers

        tokenizer = make_tokenizer("masked" if kind in MASKED else "causal", side, limit)
        config = make_config(kind, tokenizer, limit, filling, local)
        out = folder / f"{kind}-{side}-{limit}-{filling}-{config_only}-{local}"
        if config_only:
            config.save_pretrained(out)
            return out
        torch.manual_seed(len(kind))
        auto = (
            transformers.AutoModelForMaskedLM
            if kind in MASKED
            else transformers.AutoModelForCausalLM
        )
        auto.from_config(config).save_pretrained(out)
        tokenizer.save_pretrained(out)
        return out

    return make


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of jsonl: 40 documents to train on, 12 of dev, of 1 to 50 words."""
    folder = tmp_path_factory.mktemp("texts")
    for seed, (split, count) in enumerate({"train": 40, "dev": 12}.items()):
        draw = random.Random(seed)
        rows = [{"text": document(draw, draw.randint(1, 50))} for _ in range(count)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="session")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of messages: 30 conversations to train on, 8 of dev."""
    folder = tmp_path_factory.mktemp("chats")
    for seed, (split, count) in enumerate({"train": 30, "dev": 8}.items()):
        draw = random.Random(seed)
        rows = []
        for _ in range(count):
            roles = ["user", "assistant"] * draw.randint(1, 2)
            rows.append(
                {"messages": [{"role": role, "content": document(draw, 4)} for role in roles]}
            )
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="session", params=fast(TASK_OF, "gpt2"))
def dumps(
    request: Any, lm: Callable[..., Path], texts: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The same rows dumped with every codec."""
    kind, folder = request.param, tmp_path_factory.mktemp(request.param)
    caches = {}
    every = f"topk:k={VOCABULARY[kind]},tail=drop"
    for number, codec in enumerate(("float32", *CODECS, every, "replay", "topk:k=4,tail=unigram")):
        report = dump(
            str(lm(kind)), str(texts), task=TASK_OF[kind], seq_len=24, device="cpu", shard_rows=16, codec=codec,
            workspace=folder / str(number), notify=lambda line: None,
        )  # fmt: skip
        caches[codec] = Cache.open(report.cache)
    return {"kind": kind, "folder": folder, "caches": caches}
