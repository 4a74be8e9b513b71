"""How far the signals of two caches differ, vector by vector."""

from __future__ import annotations

import numpy as np

from logitcache.cache.cache import Cache
from logitcache.cache.distance import Float64, Spread
from logitcache.cache.signals import vectors_of
from logitcache.errors import SpecError
from logitcache.payloads import single
from logitcache.records import Array, Int64, Ragged

BLOCK_ROWS = 256  # whose vectors are compared at once


class SignalTotals:
    """Relative distances of the vectors of two caches, for each signal of one width in both."""

    def __init__(self, a: Cache, b: Cache) -> None:
        self.a = a
        self.b = b
        self.spreads = {name: Spread() for name in shared(a, b)}
        self.differs = _widths(a) != _widths(b)

    def add(self, rows_a: Int64, rows_b: Int64, view: int) -> None:
        """Compare a view of these rows of A with that of the rows of B that have the same texts."""
        for start in range(0, len(rows_a), BLOCK_ROWS):
            block_a = rows_a[start : start + BLOCK_ROWS]
            block_b = rows_b[start : start + BLOCK_ROWS]
            for name, spread in self.spreads.items():
                vectors_a = vectors_of(self.a, block_a, view, (name,))
                vectors_b = vectors_of(self.b, block_b, view, (name,))
                distances = self._distances(vectors_a[name], vectors_b[name])
                self.differs |= bool(distances.any())
                spread.add(distances)

    def _distances(self, a: Ragged, b: Ragged) -> Float64:
        """The distance of each vector of rows from its counterpart. Rows of other numbers of tokens
        have no counterparts: they count as a difference, and are left out.
        """
        is_aligned = a.lengths() == b.lengths()
        self.differs |= not is_aligned.all()
        aligned = np.flatnonzero(is_aligned)
        aligned_a = a.select(aligned)
        aligned_b = b.select(aligned)
        return relative_distances(aligned_a.values, aligned_b.values)

    def result(self) -> dict[str, dict[str, float]]:
        """Mean, quantiles and maximum of the distances, by signal."""
        return {name: spread.result() for name, spread in self.spreads.items()}


def relative_distances(a: Array, b: Array) -> Float64:
    """``|a - b| / |a|`` of each vector, ``|a - b|`` where a is 0: f64[N] of stored values [N, d]."""
    expected = single(a).astype(np.float64)
    length = np.linalg.norm(expected, axis=1)
    distance = np.linalg.norm(expected - single(b), axis=1)
    divisor = np.where(length > 0, length, 1.0)
    relative: Float64 = distance / divisor
    return relative


def _widths(cache: Cache) -> dict[str, int]:
    return {name: signal.codec.width for name, signal in cache.signals.items()}


def shared(a: Cache, b: Cache) -> list[str]:
    """The signals that both keep with one width."""
    widths_a = _widths(a)
    widths_b = _widths(b)
    return [name for name in widths_a if widths_a[name] == widths_b.get(name)]


def check_shared(a: Cache, b: Cache) -> None:
    """Raises SpecError where two caches keep nothing that can be compared."""
    if not shared(a, b):
        signals_a = ", ".join(a.signals) or "logits"
        signals_b = ", ".join(b.signals) or "logits alone"
        raise SpecError(
            expected=f"signals of {a.where} ({signals_a})",
            found=signals_b,
            advice="Compare caches of one signal.",
            where=b.where,
        )
