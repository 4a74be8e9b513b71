"""How far two answers to the same row are apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.records import Float32

Float64 = npt.NDArray[np.float64]


def kl(one: Float32, other: Float32) -> Float64:
    """KL(one || other) of each row in nats, computed in double precision: f64[N] of logits f[N, K]."""
    p, q = _log_softmax(one), _log_softmax(other)
    terms = np.exp(p) * (p - q)
    found: Float64 = np.maximum(terms.sum(axis=1), 0.0)  # rounding makes some a little negative
    return found


def _log_softmax(logits: Float32) -> Float64:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    found: Float64 = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found


class Spread:
    """Mean, quantiles and maximum of many values at or above 0, kept in a histogram: memory does not grow with them.

    Bins are 1 % wide on a logarithmic scale from 1e-12 to 1e6; what lies below counts as 0.
    """

    LOW, HIGH, STEP = 1e-12, 1e6, 1.01
    QUANTILES = (0.5, 0.95, 0.99)

    def __init__(self) -> None:
        self.edges = np.exp(np.arange(np.log(self.LOW), np.log(self.HIGH), np.log(self.STEP)))
        self.counts = np.zeros(len(self.edges) + 1, np.int64)
        self.total, self.largest = 0.0, 0.0

    def add(self, values: Float64) -> None:
        self.counts += np.bincount(np.searchsorted(self.edges, values, "right"), minlength=len(self.counts))
        self.total += float(values.sum())
        self.largest = max(self.largest, float(values.max(initial=0.0)))

    def result(self) -> dict[str, Any]:
        """``mean``, ``p50``, ``p95``, ``p99`` (each at most 1 % too low) and ``max``; zeros where nothing was added."""
        n = int(self.counts.sum())
        below = np.cumsum(self.counts)
        lower = np.concatenate([[0.0], self.edges])
        at = {f"p{q * 100:.0f}": float(lower[np.searchsorted(below, q * n)]) if n else 0.0 for q in self.QUANTILES}
        return {"mean": self.total / max(1, n), **at, "max": self.largest}
