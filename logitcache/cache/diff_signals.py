"""How far the signals of two caches differ, vector by vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from logitcache.cache.cache import Cache
from logitcache.cache.distance import Spread
from logitcache.errors import SpecError
from logitcache.payloads import single
from logitcache.records import Int64, chosen

TOGETHER = 256  # rows whose vectors are compared at once


class SignalTotals:
    """What is added up over rows, by signal that both caches keep with one width."""

    def __init__(self, a: Cache, b: Cache, names: Sequence[str]) -> None:
        self.a, self.b = a, b
        self.spreads = {name: Spread() for name in names}
        self.differs = _widths(a) != _widths(b)

    @classmethod
    def of(cls, a: Cache, b: Cache) -> SignalTotals:
        return cls(a, b, shared(a, b))

    def add(self, rows_a: Int64, rows_b: Int64) -> None:
        """These rows of A, and the rows of B with the same texts."""
        for start in range(0, len(rows_a), TOGETHER):
            part = slice(start, start + TOGETHER)
            self._add(rows_a[part], rows_b[part])

    def _add(self, rows_a: Int64, rows_b: Int64) -> None:
        names = tuple(self.spreads)
        vectors_a = self.a.take(rows_a, signals=names).vectors
        vectors_b = self.b.take(rows_b, signals=names).vectors
        for name, spread in self.spreads.items():
            in_a, in_b = vectors_a[name], vectors_b[name]
            alike = np.flatnonzero(in_a.lengths() == in_b.lengths())
            self.differs |= len(alike) < len(rows_a)
            one = single(in_a.values[chosen(in_a.indptr, alike)[1]]).astype(np.float64)
            other = single(in_b.values[chosen(in_b.indptr, alike)[1]])
            size = np.linalg.norm(one, axis=1)
            off = np.linalg.norm(one - other, axis=1) / np.where(size > 0, size, 1.0)
            self.differs |= bool(off.any())
            spread.add(off)

    def result(self) -> dict[str, dict[str, float]]:
        return {name: spread.result() for name, spread in self.spreads.items()}


def _widths(cache: Cache) -> dict[str, int]:
    return {name: kept.codec.width for name, kept in cache.signals.items()}


def shared(a: Cache, b: Cache) -> list[str]:
    """The signals of one width that both keep."""
    widths = _widths(b)
    return [name for name, width in _widths(a).items() if widths.get(name) == width]


def check_shared(a: Cache, b: Cache) -> None:
    """Raises SpecError where two caches keep nothing that can be compared."""
    if not shared(a, b):
        raise SpecError(
            expected=f"signals of {a.where} ({', '.join(a.signals) or 'logits'})",
            found=", ".join(b.signals) or "logits alone",
            advice="Compare caches of one signal.",
            where=b.where,
        )
