"""Every task with rows of its own, and a task that somebody registers from outside, for the
contract suites.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from logitcache import identity
from logitcache.config.sequences import Sequences
from logitcache.data.rows import Rows, Source
from logitcache.data.tasks.causal_lm import CausalLM
from logitcache.data.tasks.classification import Classification
from logitcache.data.tasks.embedding import SentenceEmbedding
from logitcache.data.tasks.masked_lm import MaskedLM
from logitcache.data.tasks.token_classification import TokenClassification
from logitcache.records import Examples, Int64, Positions, Ragged
from logitcache.reporter import SILENT
from tests.language.small_lms import make_tokenizer

TEXTS = [
    " ".join(f"w{(7 * row + word) % 40}" for word in range(1 + (5 * row) % 13)) for row in range(24)
]


@dataclass(frozen=True)
class BothEnds(Classification):
    """A toy: the class of a text is asked at its first token and at its last."""

    name: ClassVar[str] = "both-ends"
    level: ClassVar[str] = "logits"
    per_token: ClassVar[bool] = True
    auto_model: ClassVar[str] = "AutoModelForTokenClassification"

    @staticmethod
    def positions(rows: Examples, places: Int64) -> Positions:
        last = rows.lengths()[places] - 1
        index = np.tile(np.arange(2), len(places))
        token = np.stack([np.zeros_like(last), last], 1).reshape(-1)
        label = np.repeat(rows.label[places], 2)
        return Positions(
            2 * np.arange(len(places) + 1), index, token, label, np.ones(len(index), np.float32)
        )


@dataclass(frozen=True)
class Case:
    """A task, its tokenizer, and rows as models read them."""

    task: Classification
    tokenizer: Any
    rows: Rows


def _texts(label: Int64, **more: Any) -> Rows:
    numbers = np.arange(len(TEXTS))
    return Rows(
        pa.array(TEXTS, pa.large_string()), None, label, numbers, identity.row_hashes(TEXTS), **more
    )


def _classes(kind: type[Classification]) -> Case:
    label = np.arange(len(TEXTS)) % 4 - 1  # -1: none
    return Case(kind(3, None), make_tokenizer("masked"), _texts(label))


def _pairs() -> Case:
    """Scored pairs: both rows of one have its score."""
    names = ("0.0", "1.5", "3.25", "5.0")
    task = SentenceEmbedding(len(names), names)
    return Case(task, make_tokenizer("masked"), _texts(np.arange(len(TEXTS)) // 2 % len(names)))


def _words() -> Case:
    lengths = np.array([len(text.split()) for text in TEXTS])
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    tags = Ragged(np.arange(indptr[-1]) % 4 - 1, indptr)
    texts = ["\n".join(text.split()) for text in TEXTS]
    numbers = np.arange(len(texts))
    rows = Rows(
        pa.array(texts, pa.large_string()),
        None,
        np.zeros_like(numbers),
        numbers,
        identity.row_hashes(texts),
        tags,
    )
    return Case(TokenClassification(3, None), make_tokenizer("masked"), rows)


def _tokens(kind: type[Classification], tokenizer: Any, **how: Any) -> Case:
    label = np.zeros(len(TEXTS), np.int64)
    source = Source("texts", {"train": _texts(label)}, None, 1, task=kind.name)
    made = kind.tokenised(source, tokenizer, Sequences(seq_len=16, **how), 64, SILENT)
    return Case(kind(made.num_labels, None), tokenizer, made.split("train"))


CASES: dict[str, Callable[[], Case]] = {
    "classification": lambda: _classes(Classification),
    "both-ends": lambda: _classes(BothEnds),
    "token-classification": _words,
    "embedding": _pairs,
    "causal-lm": lambda: _tokens(CausalLM, make_tokenizer()),
    "causal-lm-documents": lambda: _tokens(CausalLM, make_tokenizer(), keep_documents=True),
    "causal-lm-unpacked": lambda: _tokens(CausalLM, make_tokenizer(side="left"), pack=False),
    "masked-lm": lambda: _tokens(MaskedLM, make_tokenizer("masked"), views=2),
    "masked-lm-documents": lambda: _tokens(
        MaskedLM, make_tokenizer("masked"), keep_documents=True, whole_words=True
    ),
}
