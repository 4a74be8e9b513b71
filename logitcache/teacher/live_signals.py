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
from logitcache.records import Float32, Int64, Ragged
from logitcache.store.columns import ROW

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
    stored = cache.take(drawn, signals=tuple(cache.signals)).vectors
    alone = _live(planned, drawn, copies=1)
    doubled = _live(planned, drawn, copies=2)
    judgements = {}
    for name, signal in cache.signals.items():
        judgements[name] = _judged(signal, planned, drawn, stored[name], alone[name], doubled[name])
    return judgements


def _live(planned: Planned, drawn: Int64, copies: int) -> dict[str, Float32]:
    """The teacher's signals now, f32[S, d] each, of each row in a batch of so many copies."""
    batches: dict[str, list[Float32]] = {kept.name: [] for kept in planned.kept}
    for row in drawn.tolist():
        examples = planned.prepare(row, row + 1)
        for teacher, _ in planned.watching.assign(examples):
            output = teacher.output(examples, np.zeros(copies, np.int64))
            for name, vectors in output.signals.items():
                first_copy = vectors[: len(vectors) // copies]
                batches[name].append(first_copy.float().cpu().numpy())
    return {name: np.concatenate(vectors) for name, vectors in batches.items()}


def _judged(
    kept: StoredSignal,
    planned: Planned,
    drawn: Int64,
    stored: Ragged,
    alone: Float32,
    doubled: Float32,
) -> LiveSignal:
    """The judgement of one signal. ``stored`` are its vectors in the cache; ``alone`` and
    ``doubled`` f32[S, d] are the teacher's now, of rows alone and beside a copy of themselves.
    """
    from logitcache.models.load import DTYPES
    from logitcache.models.probe import tolerance

    difference = np.abs(single(stored.values) - alone)
    control = float(np.abs(doubled - alone).max(initial=0.0))
    dtype = DTYPES[planned.plan.teacher["dtype"]]
    allowed = tolerance(dtype, alone, control) + _rounding(kept, alone)
    agrees = bool((difference <= allowed).all())
    severity = difference if agrees else difference - allowed
    worst = np.unravel_index(int(severity.argmax()), severity.shape)
    vector = int(worst[0])
    row = vector  # one vector a row
    if kept.level != ROW:
        row = int(np.searchsorted(stored.indptr, vector, "right")) - 1
    return LiveSignal(
        difference=float(difference[worst]),
        control=control,
        allowed=float(allowed[worst]),
        agrees=agrees,
        worst_row=int(drawn[row]),
    )


def _rounding(kept: StoredSignal, vectors: Float32) -> Float32:
    """How far each number may be moved by storing it: f32[S, d]."""
    if kept.codec.dtype == "int8":
        step = np.abs(vectors).max(1, keepdims=True) / 254.0
        return np.broadcast_to(step, vectors.shape).astype(np.float32)
    return (np.abs(vectors) * ROUNDING[kept.codec.dtype] + SMALLEST_HALF).astype(np.float32)
