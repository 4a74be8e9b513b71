"""What follows from the differences between a method and its baseline: one finding per task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from logitcache.study.inference import (
    equivalence,
    has_too_few_rows,
    holm,
    non_inferiority,
    seeds_to_decide,
)
from logitcache.study.stats import LOWER_IS_BETTER, SIGNIFICANCE, Estimate, SignedRank, gain


class Finding(StrEnum):
    """What a comparison has shown."""

    HELPS = "helps"
    HURTS = "hurts"
    SMALL = "no effect larger than the margin"
    NOT_WORSE = "not worse"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Compared:
    """One difference: the test over its seeds, and its estimate (None for one seed)."""

    metric: str
    test: SignedRank
    estimate: Estimate | None


@dataclass(frozen=True)
class Judgement:
    """A finding and what it stands on. p values are corrected for all tasks (Holm)."""

    finding: Finding
    tasks: int  # that were tested together
    p_value: float | None  # of the signed-rank test
    p_equivalence: float | None = None  # None without a margin
    p_non_inferiority: float | None = None
    margin: float | None = None
    seeds_to_decide: int | None = None  # None where more seeds do not decide


def judge(compared: Sequence[Compared], margin: float | None = None) -> list[Judgement]:
    """A finding for each task, of one method against its baseline.

    *helps* and *hurts* need a corrected p of 0.05 or less, an interval without 0, over seeds and
    rows, and enough rows (`has_too_few_rows`). With a margin, in the metric's own unit and chosen
    before the results: *no effect larger* (TOST) and *not worse* (non-inferiority), each corrected.
    Else *undecided*, with the number of seeds that would decide.
    """
    signed = _corrected([item.test.p_value for item in compared])
    tasks = sum(item.estimate is not None for item in compared)
    same = _corrected([_p_of_margin(equivalence, item, margin) for item in compared])
    not_worse = _corrected([_p_of_margin(non_inferiority, item, margin) for item in compared])
    judged = []
    for item, p_value, p_same, p_not_worse in zip(compared, signed, same, not_worse, strict=True):
        finding = _finding(item, p_value, p_same, p_not_worse)
        seeds = None
        if item.estimate is not None:
            seeds = seeds_to_decide(item.metric, item.estimate, margin, tasks)
        judged.append(Judgement(finding, tasks, p_value, p_same, p_not_worse, margin, seeds))
    return judged


def _corrected(p_values: Sequence[float | None]) -> list[float | None]:
    """Corrected among those that there are."""
    corrected = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(corrected) for p in p_values]


def _p_of_margin(
    test: Callable[[Estimate, float], float], item: Compared, margin: float | None
) -> float | None:
    """The p of a test of the margin, for a difference that is positive where it is better."""
    if item.estimate is None or margin is None:
        return None
    return test(-item.estimate if item.metric in LOWER_IS_BETTER else item.estimate, margin)


def _finding(
    item: Compared, p_value: float | None, p_same: float | None, p_not_worse: float | None
) -> Finding:
    estimate = item.estimate
    if estimate is None:
        return Finding.UNDECIDED
    interval = estimate.interval
    others_could_undo = interval.low <= 0 <= interval.high
    others_could_undo |= has_too_few_rows(item.metric, estimate)
    if p_value is not None and p_value <= SIGNIFICANCE and not others_could_undo:
        return Finding.HELPS if gain(item.metric, estimate.mean) > 0 else Finding.HURTS
    if p_same is not None and p_same <= SIGNIFICANCE:
        return Finding.SMALL
    if p_not_worse is not None and p_not_worse <= SIGNIFICANCE:
        return Finding.NOT_WORSE
    return Finding.UNDECIDED
