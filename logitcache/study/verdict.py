"""The one sentence that a comparison ends with, and how its numbers are written."""

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


_POINTS, _NATS = Scale(100, 1, "points"), Scale(1, 3, "nats")


def scale_of(metric: str) -> Scale:
    """The scale a metric is shown in."""
    return _NATS if metric == "nll" else _POINTS


def p_text(p: float) -> str:
    """Two digits, and more where two would round a p near 0.05 onto or across it."""
    text, digits = f"{p:.2f}" if p >= SIGNIFICANCE + 0.005 else f"{p:.2g}", 2
    while float(text) == SIGNIFICANCE != p and digits < 9:
        digits += 1
        text = f"{p:.{digits}g}"
    return text


def spoken(label: str) -> str:
    """A row's label as a sentence has it: ``KD (alpha=0.9)``."""
    method, *rest = label.split(" ", 1)
    title = METHODS[method].title if method in METHODS else method
    return " ".join([title, *rest])


def verdict(rows: Sequence[Row], baseline: str, evidence: Evidence) -> str:
    """One sentence on the best challenger that can be compared: of kd if there is one, else of all methods. Before and
    behind it stands what the rows that were scored cannot tell.
    """
    compared = [row for row in rows if row.difference is not None]
    if not compared:
        return f"No verdict: {_why_not(rows, baseline)}."
    kd = [row for row in compared if row.method == "kd"]
    best = max(kd or compared, key=_gain)
    assert best.difference is not None
    return f"{evidence.before()}{_sentence(best, best.difference, evidence)}{evidence.after()}"


def _why_not(rows: Sequence[Row], baseline: str) -> str:
    others = [row for row in rows if baseline not in (row.method, row.label)]
    if len(others) == len(rows):
        return f"there is no {spoken(baseline)} result to compare with"
    if not others:
        return f"there is nothing here but {spoken(baseline)}"
    return f"no other method has a seed in common with {spoken(baseline)}, or one {spoken(baseline)} row to match"


def _gain(row: Row) -> float:
    assert row.difference is not None
    return _better(row.metric) * row.difference.mean


def _better(metric: str) -> int:
    return -1 if metric in LOWER_IS_BETTER else 1


def _sentence(row: Row, difference: Difference, evidence: Evidence) -> str:
    one, other, scale = spoken(row.label), spoken(difference.baseline), scale_of(row.metric)
    gains = [_better(row.metric) * value for value in difference.by_seed.values()]
    n, mean = len(gains), f"{scale.signed(difference.mean)} {scale.unit}"
    p = difference.test.p_value
    if p is None:
        return _of_one_seed(f"{one} - {other}", row, difference, evidence)
    found = f"{mean}, p = {p_text(p)}{_unreachable(difference)}"
    wins, losses = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    claim = "beats" if _gain(row) > 0 else "is worse than"
    if n in (wins, losses):
        seeds = "both seeds" if n == 2 else f"all {n} seeds"
        return f"{one} {claim} {other} on {seeds} ({found}){_but(difference, scale, evidence)}."
    if p <= SIGNIFICANCE:
        return f"{one} {claim} {other} over {n} seeds (better on {wins}; {found}){_but(difference, scale, evidence)}."
    return f"{one} does not differ from {other} beyond chance over {n} seeds ({found})."


def _unreachable(difference: Difference) -> str:
    """What to do where this number of seeds cannot reach significance, however they fall."""
    test = difference.test
    if test.p_min <= SIGNIFICANCE:
        return ""
    return f": {_NUMBERS[test.n]} seeds cannot reach {SIGNIFICANCE}; run {seeds_needed()} or more"


def _of_one_seed(pair: str, row: Row, difference: Difference, evidence: Evidence) -> str:
    scale, interval = scale_of(row.metric), difference.interval
    start = "One seed says nothing about training randomness"
    if interval is None:
        return f"{start}: {pair} = {scale.signed(difference.mean)} {scale.unit} on {evidence.these}."
    apart = "more than" if not _holds_zero(interval) else "no more than"
    found = f"{scale.signed(difference.mean)} {scale.unit} {scale.interval(interval)}"
    return f"{start}; over {evidence.rows} {pair} = {found}: {apart} the choice of {evidence.rows} explains."


def _but(difference: Difference, scale: Scale, evidence: Evidence) -> str:
    """Seeds may agree on a test set whose next sample would say otherwise."""
    interval = difference.interval
    if interval is None or not _holds_zero(interval):
        return ""
    return f", yet other {evidence.rows} could undo it (95 % {scale.interval(interval)})"


def _holds_zero(interval: Interval) -> bool:
    return interval.low <= 0 <= interval.high
