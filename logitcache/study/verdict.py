"""The sentence that a comparison ends with, and how its numbers are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from logitcache.config.methods import METHODS
from logitcache.study.evidence import Evidence
from logitcache.study.rows import Difference, Row
from logitcache.study.stats import LOWER_IS_BETTER, SIGNIFICANCE, Interval, seeds_needed

_NUMBERS = ("no", "one", "two", "three", "four", "five")


@dataclass(frozen=True)
class Scale:
    """How a metric is shown: fractions in points (of 100), log-likelihood in nats."""

    factor: float
    digits: int
    unit: str

    def plain(self, value: float) -> str:
        return f"{value * self.factor:z.{self.digits}f}"

    def signed(self, value: float) -> str:
        return f"{value * self.factor:+z.{self.digits}f}"

    def interval(self, interval: Interval) -> str:
        return f"[{self.signed(interval.low)}, {self.signed(interval.high)}]"


_POINTS = Scale(100, 1, "points")
_NATS = Scale(1, 3, "nats")


def scale_of(metric: str) -> Scale:
    """The scale a metric is shown in."""
    return _NATS if metric == "nll" else _POINTS


def p_text(p: float) -> str:
    """A p value with two digits, and more where two digits would move it to 0.05 or across it."""
    if p >= SIGNIFICANCE + 0.005:
        return f"{p:.2f}"
    texts = [f"{p:.{digits}g}" for digits in range(2, 10)]
    return next(
        (text for text in texts if float(text) != SIGNIFICANCE or p == SIGNIFICANCE), texts[-1]
    )


def spoken(label: str) -> str:
    """A row's label as a sentence has it: ``KD (alpha=0.9)``."""
    method, _, variant = label.partition(" ")
    title = METHODS[method].title if method in METHODS else method
    return f"{title} {variant}".rstrip()


def verdict(rows: Sequence[Row], baseline: str, evidence: Evidence) -> str:
    """A sentence on the best method that can be compared with the baseline: of kd if it was run,
    else of all methods. Reservations about the rows that were scored stand before and after it.
    """
    compared = [row for row in rows if row.difference is not None]
    if not compared:
        return f"No verdict: {_why_not(rows, baseline)}."
    kd = [row for row in compared if row.method == "kd"]
    best = max(kd or compared, key=_gain)
    assert best.difference is not None
    return f"{evidence.before()}{_sentence(best, best.difference, evidence)}{evidence.after()}"


def _why_not(rows: Sequence[Row], baseline: str) -> str:
    challengers = [row for row in rows if baseline not in (row.method, row.label)]
    if len(challengers) == len(rows):
        return f"there is no {spoken(baseline)} result to compare with"
    if not challengers:
        return f"there is nothing here but {spoken(baseline)}"
    return f"no other method has a seed in common with {spoken(baseline)}, or one {spoken(baseline)} row to match"


def _gain(row: Row) -> float:
    assert row.difference is not None
    return _better(row.metric) * row.difference.mean


def _better(metric: str) -> int:
    return -1 if metric in LOWER_IS_BETTER else 1


def _sentence(row: Row, difference: Difference, evidence: Evidence) -> str:
    name = spoken(row.label)
    baseline = spoken(difference.baseline)
    scale = scale_of(row.metric)
    p = difference.test.p_value
    if p is None:
        return _of_one_seed(f"{name} - {baseline}", row, difference, evidence)
    gains = [_better(row.metric) * value for value in difference.by_seed.values()]
    n = len(gains)
    wins = sum(gain > 0 for gain in gains)
    losses = sum(gain < 0 for gain in gains)
    figures = (
        f"{scale.signed(difference.mean)} {scale.unit}, p = {p_text(p)}{_unreachable(difference)}"
    )
    claim = f"{name} {'beats' if _gain(row) > 0 else 'is worse than'} {baseline}"
    reservation = _reservation(difference, scale, evidence)
    if n in (wins, losses):
        seeds = "both seeds" if n == 2 else f"all {n} seeds"
        return f"{claim} on {seeds} ({figures}){reservation}."
    if p <= SIGNIFICANCE:
        return f"{claim} over {n} seeds (better on {wins}; {figures}){reservation}."
    return f"{name} does not differ from {baseline} beyond chance over {n} seeds ({figures})."


def _unreachable(difference: Difference) -> str:
    """What to do where this number of seeds cannot reach significance, however they fall."""
    test = difference.test
    if test.p_min <= SIGNIFICANCE:
        return ""
    return f": {_NUMBERS[test.n]} seeds cannot reach {SIGNIFICANCE}; run {seeds_needed()} or more"


def _of_one_seed(pair: str, row: Row, difference: Difference, evidence: Evidence) -> str:
    scale = scale_of(row.metric)
    interval = difference.interval
    start = "One seed says nothing about training randomness"
    mean = f"{scale.signed(difference.mean)} {scale.unit}"
    if interval is None:
        return f"{start}: {pair} = {mean} on {evidence.these}."
    comparison = "no more than" if _holds_zero(interval) else "more than"
    return (
        f"{start}; over {evidence.scored} {pair} = {mean} {scale.interval(interval)}: {comparison} the choice of "
        f"{evidence.scored} explains."
    )


def _reservation(difference: Difference, scale: Scale, evidence: Evidence) -> str:
    """A reservation where seeds agree, but the interval over test rows includes 0."""
    interval = difference.interval
    if interval is None or not _holds_zero(interval):
        return ""
    return f", yet other {evidence.scored} could undo it (95 % {scale.interval(interval)})"


def _holds_zero(interval: Interval) -> bool:
    return interval.low <= 0 <= interval.high
