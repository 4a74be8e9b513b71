"""A codec's number that follows from the answers to a sample of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from logitcache.config.teacher import DumpSettings
from logitcache.data.order import subset
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Rows
from logitcache.errors import SpecError
from logitcache.models.heads import CHECKED_ROWS, has_head, head_of, remakes_logits
from logitcache.records import Array, Int64
from logitcache.targets.codec import Codec
from logitcache.targets.table import named
from logitcache.teacher.panel import OneTeacher, Panel, ask_all

ROWS, LEAST_ROWS = 4096, 16  # that are asked, if each has one position; and at least
POSITIONS = 4096
SEED = 0


def calibrated(codec: Codec, panel: Panel, rows: Rows, settings: DumpSettings) -> Codec:
    """The codec, ready to reduce. Raises SpecError without rows to ask about."""
    if codec.is_calibrated:
        return codec
    teacher = panel.first

    def positions(drawn: Int64) -> int:
        examples = prepare(teacher.tokenizer, rows.select(drawn), settings.max_length)
        return len(teacher.kind.positions(examples, np.arange(len(examples))).index)

    drawn = drawn_rows(len(rows), positions)
    examples = prepare(teacher.tokenizer, rows.select(drawn), settings.max_length)
    sample, _ = ask_all(panel, examples, settings.batch_tokens, _Sample)
    return codec.calibrated(sample.vectors)


def drawn_rows(rows: int, positions: Callable[[Int64], int]) -> Int64:
    """Rows of some 4,096 positions for calibration. Raises SpecError without rows."""
    if not rows:
        raise SpecError(expected="rows to calibrate the codec with", found="none", where="--codec")
    drawn = subset(rows, LEAST_ROWS, SEED)
    wanted = POSITIONS * len(drawn) // max(1, positions(drawn))
    wanted = max(LEAST_ROWS, min(ROWS, wanted))
    return subset(rows, wanted, SEED) if wanted > len(drawn) else drawn


def fits_replay(panel: Panel, limit: float, rows: Rows, settings: DumpSettings) -> bool:
    """Whether logits can be replayed from at most ``limit`` bytes a position."""
    teacher = panel.first
    if (
        not isinstance(panel, OneTeacher)
        or not teacher.kind.per_token
        or not has_head(teacher.model)
    ):
        return False
    weight = head_of(teacher.model).weight
    if weight.shape[1] * weight.element_size() > limit or not len(rows):
        return False
    examples = prepare(
        teacher.tokenizer, rows.select(np.arange(min(len(rows), CHECKED_ROWS))), settings.max_length
    )
    return remakes_logits(teacher.model, examples, teacher.padding)


def choice_note(text: str, codec: Codec) -> str:
    """Which codec was chosen for a number of bytes, and why."""
    if codec.temperatures is None:
        why = "exact"
    else:
        why = "unbiased, and of the least variance for its entries"
    return f"--codec {text} is {named(codec.to_dict())}, {codec.bytes_per_position():.1f} bytes a position: {why}"


def unigram_of(rows: Rows, width: int) -> Array:
    """Smoothed frequency of words, f32[width], sum 1. Raises SpecError for no tokens."""
    if "input_ids" not in rows.tokens:
        raise SpecError(
            expected="the rows of a language model, whose words are counted",
            found="rows of texts",
            advice="Choose another tail.",
            where="--codec topk: tail",
        )
    counts = np.bincount(rows.tokens["input_ids"].values, minlength=width)[:width] + 0.5
    shares: Array = (counts / counts.sum()).astype(np.float32)
    return shares


@dataclass
class _Sample:
    """Keeps the finite answers."""

    vectors: list[torch.Tensor] = field(default_factory=list)

    def add(self, index: Int64, vectors: torch.Tensor) -> None:
        self.vectors.append(vectors[vectors.isfinite().all(dim=1)].clone())
