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
from logitcache.records import Array, Examples, Float32, Int64, Ragged
from logitcache.store.columns import ROW

if TYPE_CHECKING:
    from logitcache.teacher.model import TeacherModel
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
    alone, doubled = _asked(planned, drawn)
    return {
        name: _judged(kept, planned, drawn, stored[name], alone[name], doubled[name])
        for name, kept in cache.signals.items()
    }


def _asked(planned: Planned, drawn: Int64) -> tuple[dict[str, Float32], dict[str, Float32]]:
    """The signals of rows asked alone, and beside a copy of themselves: f32[S, d] each."""
    parts: list[tuple[dict[str, Array], dict[str, Array]]] = []
    for row in drawn.tolist():
        examples = planned.prepare(row, row + 1)
        for teacher, _ in planned.watching.assign(examples):
            parts.append((_seen(teacher, examples, 1), _seen(teacher, examples, 2)))
    names = parts[0][0]
    one, other = (
        {name: np.concatenate([part[number][name] for part in parts]) for name in names}
        for number in (0, 1)
    )
    return one, other


def _seen(teacher: TeacherModel, examples: Examples, times: int) -> dict[str, Float32]:
    """The signals of one row, asked in a batch of so many copies of it."""
    signals = teacher.seen(examples, np.zeros(times, np.int64)).signals
    return {
        name: vectors[: len(vectors) // times].float().cpu().numpy()
        for name, vectors in signals.items()
    }


def _judged(
    kept: Kept, planned: Planned, drawn: Int64, stored: Ragged, alone: Float32, doubled: Float32
) -> LiveSignal:
    from logitcache.models.load import DTYPES
    from logitcache.models.probe import tolerance

    off = np.abs(single(stored.values) - alone)
    control = float(np.abs(doubled - alone).max(initial=0.0))
    allowed = tolerance(DTYPES[planned.plan.teacher["dtype"]], alone, control) + _rounding(
        kept, alone
    )
    excess = off - allowed
    worst = np.unravel_index(int(excess.argmax()), excess.shape)
    row = (
        int(worst[0])
        if kept.level == ROW
        else int(np.searchsorted(stored.indptr, worst[0], "right") - 1)
    )
    return LiveSignal(
        difference=float(off.max()),
        control=control,
        allowed=float(allowed[worst]),
        agrees=bool((excess <= 0).all()),
        worst_row=int(drawn[row]),
    )


def _rounding(kept: Kept, vectors: Float32) -> Float32:
    """How far each number may be moved by storing it: f32[S, d]."""
    if kept.codec.dtype == "int8":
        step = np.abs(vectors).max(1, keepdims=True) / 254.0
        return np.broadcast_to(step, vectors.shape).astype(np.float32)
    return (np.abs(vectors) * ROUNDING[kept.codec.dtype] + SMALLEST_HALF).astype(np.float32)
