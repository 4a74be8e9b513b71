"""An epoch's batches, and how a few stand for all: grouped by length, they differ in width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from logitcache.data.order import grouped_permutation, permutation
from logitcache.records import Int64


def training_batches(
    lengths: Int64, batch_size: int, seed: int, grouped: bool = False
) -> list[Int64]:
    """The places of an epoch's batches, in the order of a training: the last may be short."""
    if grouped:
        order = grouped_permutation(lengths, batch_size, seed, 0)
    else:
        order = permutation(len(lengths), seed, 0)
    starts = range(0, len(order), batch_size)
    return [order[start : start + batch_size] for start in starts]


def mean_width(lengths: Int64, batch_size: int, seed: int, grouped: bool = False) -> float:
    """Padded length of a training batch, the mean of an epoch."""
    batches = training_batches(lengths, batch_size, seed, grouped)
    widths = [lengths[batch].max() for batch in batches]
    return float(np.mean(widths))


def mean_tokens(lengths: Int64, batches: Sequence[Int64]) -> float:
    """Padded tokens of a batch, the mean of these."""
    tokens = [lengths[batch].max() * len(batch) for batch in batches]
    return float(np.mean(tokens))


def share_of_epoch(lengths: Int64, batches: Sequence[Int64], first: int, last: int) -> float:
    """Padded tokens of an epoch's batch ÷ those of the timed first..last; 1 where those are all."""
    if last > len(batches):
        return 1.0
    timed = batches[first:last]
    return mean_tokens(lengths, batches) / mean_tokens(lengths, timed)
