"""The check of :mod:`logitcache.teacher.live` for signals: the vectors of a cache are compared with
those of rows asked alone, number by number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from logitcache.cache.cache import Cache
from logitcache.cache.layout import StoredSignal
from logitcache.payloads import single
from logitcache.records import Float32, Int64, rows_of

if TYPE_CHECKING:
    from logitcache.teacher.plan import Planned

# largest relative error of a stored number
ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
SMALLEST_HALF = 2.0**-24


@dataclass
class LiveSignal:
    """How far a signal of a cache is from the teacher's now. Differences are of single numbers."""

    # cache against rows asked alone: the largest; or the one furthest beyond what is allowed
    difference: float = 0.0
    control: float = 0.0  # the largest, rows asked alone against rows beside a copy of themselves
    allowed: float = 0.0  # of the number that differs by ``difference``
    agrees: bool = True
    worst_row: int = -1


def judge_signals(cache: Cache, planned: Planned, drawn: Int64) -> dict[str, LiveSignal]:
    """The judgement of each signal of the cache, from the rows ``drawn``."""
    from logitcache.models.load import DTYPES
    from logitcache.models.probe import tolerance

    stored = cache.take(drawn, signals=tuple(cache.signals)).vectors
    alone = _live(planned, drawn, copies=1)
    doubled = _live(planned, drawn, copies=2)
    dtype = DTYPES[planned.plan.teacher["dtype"]]
    judgements = {}
    for name, signal in cache.signals.items():
        reference = alone[name]
        difference = np.abs(single(stored[name].values) - reference)
        control = float(np.abs(doubled[name] - reference).max(initial=0.0))
        allowed = tolerance(dtype, reference, control) + _rounding(signal, reference)
        agrees = bool((difference <= allowed).all())
        severity = difference
        if not agrees:
            severity = difference - allowed
        worst = np.unravel_index(int(severity.argmax()), severity.shape)
        row_of_vector = rows_of(stored[name].indptr)
        worst_row = drawn[row_of_vector[worst[0]]]
        judgements[name] = LiveSignal(
            difference=float(difference[worst]),
            control=control,
            allowed=float(allowed[worst]),
            agrees=agrees,
            worst_row=int(worst_row),
        )
    return judgements


def _live(planned: Planned, drawn: Int64, copies: int) -> dict[str, Float32]:
    """The teacher's signals now, f32[S, d] each, of each row in a batch of so many copies."""
    batches: dict[str, list[Float32]] = {signal.name: [] for signal in planned.kept}
    for row in drawn.tolist():
        examples = planned.prepare(row, row + 1)
        for teacher, _ in planned.watching.assign(examples):
            output = teacher.output(examples, np.zeros(copies, np.int64))
            for name, vectors in output.signals.items():
                first_copy = vectors[: len(vectors) // copies]
                batches[name].append(first_copy.float().cpu().numpy())
    return {name: np.concatenate(vectors) for name, vectors in batches.items()}


def _rounding(signal: StoredSignal, vectors: Float32) -> Float32:
    """How far each number may be moved by storing it: f32[S, d]."""
    size = np.abs(vectors)
    if signal.codec.dtype == "int8":
        half_step = size.max(1, keepdims=True) / 254.0
        return np.broadcast_to(half_step, vectors.shape).astype(np.float32)
    rounding = size * ROUNDING[signal.codec.dtype] + SMALLEST_HALF
    return rounding.astype(np.float32)
