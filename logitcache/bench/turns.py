"""Measuring in turn: A B C, B C A, ... in one process, so that a drift of the machine's speed meets
every case alike.

A ratio is taken within each round, of the medians of two blocks that ran side by side; the median
of the rounds' ratios is the figure, and its interval holds whatever the distribution of times.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from logitcache.records import Array

Case: TypeAlias = Callable[[], object]
Blocks: TypeAlias = Sequence[Sequence[float]]  # seconds, [rounds][repeats]
Times: TypeAlias = dict[str, list[list[float]]]  # of each case
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Ratio:
    """The median of the rounds' ratios, and an interval of it at the ``confidence`` reached."""

    median: float
    low: float
    high: float
    confidence: float
    rounds: int

    def to_dict(self) -> dict[str, float]:
        return dict(vars(self))


def rotated(names: Sequence[str], rounds: int) -> Iterator[list[str]]:
    """The order of the cases in each round; each round begins with another case."""
    for turn in range(rounds):
        first = turn % len(names) if names else 0
        yield [*names[first:], *names[:first]]


def in_turn(
    cases: Mapping[str, Case],
    rounds: int,
    repeats: int,
    settle: int = 1,
    fence: Case = lambda: None,
    into: Times | None = None,
) -> Times:
    """Seconds of each case, ``{name: [rounds][repeats]}``. Each case runs once before the first
    round, and ``settle`` times uncounted before each block. ``fence`` waits for a device. Whole
    rounds are put ``into`` a dict as they end, so that they are there after an interrupt.
    """
    times: Times = {} if into is None else into
    times |= {name: [] for name in cases}
    for case in cases.values():
        case()
    for order in rotated(list(cases), rounds):
        blocks = {}
        for name in order:
            for _ in range(settle):
                cases[name]()
            blocks[name] = [timed(cases[name], fence) for _ in range(repeats)]
        for name, block in blocks.items():
            times[name].append(block)
    return times


def timed(case: Case, fence: Case = lambda: None) -> float:
    """Seconds of one call, the device included."""
    fence()
    started = time.perf_counter()
    case()
    fence()
    return time.perf_counter() - started


def ratio(over: Blocks, under: Blocks) -> Ratio:
    """The ratio of two cases that were measured in turn: of as many rounds as both have."""
    rounds = min(len(over), len(under))
    ratios = []
    for number in range(rounds):
        ratios.append(float(np.median(over[number]) / np.median(under[number])))
    return ratio_of(ratios)


def ratio_of(ratios: Sequence[float]) -> Ratio:
    """The median of the rounds' ratios between two of them: the order statistics that hold the true
    median with 95 % confidence (David and Nagaraja 2003, section 7.1), or the lowest and the
    highest where there are too few.
    """
    values: Array = np.sort(np.asarray(ratios, float))
    n = len(values)
    if not n:
        raise ValueError("expected at least one round, found none")
    dropped = 0  # rounds left out on each side
    while dropped + 1 < n / 2 and _confidence(dropped + 1, n) >= CONFIDENCE:
        dropped += 1
    return Ratio(
        median=float(np.median(values)),
        low=float(values[dropped]),
        high=float(values[n - 1 - dropped]),
        confidence=max(0.0, _confidence(dropped, n)),
        rounds=n,
    )


def _confidence(dropped: int, n: int) -> float:
    """The chance that the median is between the values left when so many are dropped on each side."""
    outside = sum(math.comb(n, below) for below in range(dropped + 1))
    return 1 - 2 * outside / (1 << n)


def spread(blocks: Blocks) -> dict[str, float]:
    """Median and quartiles of all counted repeats, in seconds."""
    seconds = np.concatenate([np.asarray(block, float) for block in blocks])
    low, middle, high = np.quantile(seconds, (0.25, 0.5, 0.75))
    return {"median": float(middle), "q1": float(low), "q3": float(high)}


def settled(value: Any) -> Case:
    """The fence of a device: waits until its work is done."""
    import torch

    if str(value).startswith("cuda"):
        return torch.cuda.synchronize
    return lambda: None
