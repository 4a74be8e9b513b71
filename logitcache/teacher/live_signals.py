"""The judgement of :mod:`logitcache.teacher.live` for signals: vectors of a cache against those of
rows asked alone, number by number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from logitcache.cache.cache import Cache
from logitcache.cache.layout import Kept
from logitcache.payloads import single
from logitcache.records import Float32, Int64, Ragged
from logitcache.store.columns import ROW

if TYPE_CHECKING:
    from logitcache.teacher.plan import Planned

# of the size of a number, by which storing it in that type rounds it
ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
SMALLEST_HALF = 2.0**-24


@dataclass
class LiveSignal:
    """A signal of a cache beside the teacher's now. Differences are of single numbers."""

    difference: float = 0.0  # the largest, cache against rows asked alone
    control: float = 0.0  # the largest, rows asked alone against rows beside a copy of themselves
    allowed: float = 0.0  # at the number that is furthest off
    agrees: bool = True
    worst_row: int = -1


def judge_signals(cache: Cache, planned: Planned, drawn: Int64) -> dict[str, LiveSignal]:
    """Each signal of the cache, at these rows."""
    stored = cache.take(drawn, signals=tuple(cache.signals)).vectors
    singles = _asked(planned, drawn, copies=1)
    doubles = _asked(planned, drawn, copies=2)
    return {
        name: _judged(kept, planned, drawn, stored[name], singles[name], doubles[name])
        for name, kept in cache.signals.items()
    }


def _asked(planned: Planned, rows: Int64, copies: int) -> dict[str, Float32]:
    """The signals of rows that are asked one by one, each in a batch of so many copies of it: f32[S,
    d] by name.
    """
    parts: dict[str, list[Float32]] = {}
    for row in rows.tolist():
        examples = planned.prepare(row, row + 1)
        for teacher, _ in planned.watching.assign(examples):
            signals = teacher.seen(examples, np.zeros(copies, np.int64)).signals
            for name, vectors in signals.items():
                first_copy = vectors[: len(vectors) // copies]
                parts.setdefault(name, []).append(first_copy.float().cpu().numpy())
    return {name: np.concatenate(vectors) for name, vectors in parts.items()}


def _judged(
    kept: Kept, planned: Planned, drawn: Int64, stored: Ragged, singles: Float32, doubles: Float32
) -> LiveSignal:
    """A signal as stored beside that of rows asked alone, and of rows beside a copy of themselves."""
    from logitcache.models.load import DTYPES
    from logitcache.models.probe import tolerance

    difference = np.abs(single(stored.values) - singles)
    control = float(np.abs(doubles - singles).max(initial=0.0))
    dtype = DTYPES[planned.plan.teacher["dtype"]]
    allowed = tolerance(dtype, singles, control) + _rounding(kept, singles)
    excess = difference - allowed
    worst = np.unravel_index(int(excess.argmax()), excess.shape)
    place = int(worst[0])
    if kept.level != ROW:
        place = int(np.searchsorted(stored.indptr, place, "right") - 1)
    return LiveSignal(
        difference=float(difference.max()),
        control=control,
        allowed=float(allowed[worst]),
        agrees=bool((excess <= 0).all()),
        worst_row=int(drawn[place]),
    )


def _rounding(kept: Kept, vectors: Float32) -> Float32:
    """How far each number may be moved by storing it: f32[S, d]."""
    if kept.codec.dtype == "int8":
        step = np.abs(vectors).max(1, keepdims=True) / 254.0
        return np.broadcast_to(step, vectors.shape).astype(np.float32)
    return (np.abs(vectors) * ROUNDING[kept.codec.dtype] + SMALLEST_HALF).astype(np.float32)
