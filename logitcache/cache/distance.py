"""How far two answers to the same row are apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.records import Float32

Float64 = npt.NDArray[np.float64]
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def kl(p: Float32, q: Float32) -> Float64:
    """KL(p || q) of each row in nats, computed in double precision: f64[N] of logits f[N, K]."""
    from scipy.special import log_softmax  # takes long to load

    log_p = log_softmax(p.astype(np.float64), axis=1)
    log_q = log_softmax(q.astype(np.float64), axis=1)
    divergence = (np.exp(log_p) * (log_p - log_q)).sum(axis=1)
    positive: Float64 = np.maximum(divergence, 0.0)  # rounding makes some a little negative
    return positive


class Spread:
    """Mean, quantiles and maximum of many values at or above 0 in a histogram of constant size.

    Bins are 1 % wide on a logarithmic scale from 1e-12 to 1e6; values below count as 0.
    """

    LOW = 1e-12
    HIGH = 1e6
    STEP = 1.01

    def __init__(self) -> None:
        first, last, step = np.log([self.LOW, self.HIGH, self.STEP])
        self.edges = np.exp(np.arange(first, last, step))
        self.counts = np.zeros(len(self.edges) + 1, np.int64)
        self.total = 0.0
        self.largest = 0.0

    def add(self, values: Float64) -> None:
        bins = np.searchsorted(self.edges, values, "right")
        self.counts += np.bincount(bins, minlength=len(self.counts))
        self.total += float(values.sum())
        self.largest = max(self.largest, float(values.max(initial=0.0)))

    def result(self) -> dict[str, Any]:
        """``mean``, ``p50``, ``p95``, ``p99`` (at most 1 % too low) and ``max``; 0 for no value."""
        below = np.cumsum(self.counts)
        count = int(below[-1])
        lower_edges = np.concatenate([[0.0], self.edges])
        result = {"mean": self.total / max(count, 1)}
        for name, share in QUANTILES.items():
            index = np.searchsorted(below, share * count)
            result[name] = float(lower_edges[index])
        result["max"] = self.largest
        return result
