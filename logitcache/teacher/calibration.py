"""The number of a codec that follows from the teacher's answers to a sample of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from logitcache.config.teacher import DumpSettings
from logitcache.data.order import subset
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Rows
from logitcache.errors import SpecError
from logitcache.models.heads import CHECKED_ROWS, has_head, head_of, remakes_logits
from logitcache.models.projection import Projected
from logitcache.payloads import Head
from logitcache.records import Array, Int64
from logitcache.targets.codec import Codec
from logitcache.targets.table import named
from logitcache.teacher.panel import OneTeacher, Panel, ask_logits

ROWS, LEAST_ROWS = 4096, 16  # that are asked, if each has one position; and at least
POSITIONS = 4096
AT_ONCE = 1 << 19  # logits that are looked at together
SEED = 0


def calibrated(
    codec: Codec,
    panel: Panel,
    rows: Rows,
    settings: DumpSettings,
    head: Head[torch.Tensor] | None = None,
) -> Codec:
    """The codec, ready to reduce. The rows are drawn from all of them, so the same rows give the
    same number. ``head`` alone makes the logits, where given. Raises SpecError without rows.
    """
    if codec.is_calibrated:
        return codec
    return codec.calibrated(answers_of_sample(panel, rows, settings, head))


def answers_of_sample(
    panel: Panel, rows: Rows, settings: DumpSettings, head: Head[torch.Tensor] | None
) -> Iterable[torch.Tensor]:
    """The logits f32[P, V] to calibrate a codec on, few positions at a time, repeatable."""
    teacher = panel.first

    def positions(drawn: Int64) -> int:
        examples = prepare(teacher.tokenizer, rows.select(drawn), settings.max_length)
        return len(teacher.kind.positions(examples, np.arange(len(examples))).index)

    drawn = drawn_rows(len(rows), positions)
    examples = prepare(teacher.tokenizer, rows.select(drawn), settings.max_length)
    sample, _ = ask_logits(panel, head, examples, settings.batch_tokens, _Sample)
    return sample


def drawn_rows(rows: int, positions: Callable[[Int64], int]) -> Int64:
    """The rows that a codec is calibrated on, of so many: some 4,096 positions, which ``positions``
    counts of the rows it is given. Raises SpecError where there are no rows.
    """
    if not rows:
        raise SpecError(expected="rows to calibrate the codec with", found="none", where="--codec")
    drawn = subset(rows, LEAST_ROWS, SEED)
    count = POSITIONS * len(drawn) // max(1, positions(drawn))
    count = max(LEAST_ROWS, min(ROWS, count))
    return subset(rows, count, SEED) if count > len(drawn) else drawn


def head_alone(panel: Panel, rows: Rows, settings: DumpSettings) -> Head[torch.Tensor] | None:
    """The last linear map of a teacher of a vocabulary, its columns those of the tokenizer's words,
    where it makes the model's own logits of what it is given; some rows tell.
    """
    teacher = panel.first
    is_vocabulary = teacher.kind.self_contained and isinstance(panel, OneTeacher)
    if not is_vocabulary or not has_head(teacher.model) or not len(rows):
        return None
    first = rows.select(np.arange(min(len(rows), CHECKED_ROWS)))
    examples = prepare(teacher.tokenizer, first, settings.max_length)
    if not remakes_logits(teacher.model, examples, teacher.padding):
        return None
    return head_of(teacher.model, teacher.width)


def fits_replay(head: Head[torch.Tensor], limit: float) -> bool:
    """Whether a teacher's logits can be replayed from at most so many bytes of a position."""
    return head.weight.shape[1] * head.weight.element_size() <= limit


def choice_note(text: str, codec: Codec) -> str:
    """Which codec was chosen for a number of bytes, and why."""
    if codec.temperatures is None:
        why = "exact"
    else:
        why = "unbiased, and of the least variance for its entries"
    return f"--codec {text} is {named(codec.to_dict())}, {codec.bytes_per_position():.1f} bytes a position: {why}"


def unigram_of(rows: Rows, width: int) -> Array:
    """How often each word stands in the rows, f32[width], sum 1; half a time more for each, so that
    none is never. Raises SpecError for rows that are no tokens.
    """
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
    """Keeps the answers; iterated, their finite logits f32[P, V], few positions at a time. Of a
    vocabulary what the head is given is kept: its logits are computed when they are read.
    """

    vectors: list[torch.Tensor | Projected] = field(default_factory=list)

    def add(self, index: Int64, vectors: torch.Tensor | Projected) -> None:
        self.vectors.append(vectors if isinstance(vectors, Projected) else vectors.clone())

    def __iter__(self) -> Iterator[torch.Tensor]:
        for batch in self.vectors:
            together = batch.projector.together if isinstance(batch, Projected) else len(batch)
            for start in range(0, len(batch), max(1, together)):
                logits = batch[start : start + together]
                for part in logits.split(max(1, AT_ONCE // logits.shape[1])):
                    yield part[part.isfinite().all(dim=1)]
