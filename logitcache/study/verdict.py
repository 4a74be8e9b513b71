"""The sentences that comparisons end with, and how their numbers are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from logitcache.config.methods import METHODS
from logitcache.study.evidence import Evidence
from logitcache.study.findings import Compared, Finding, Judgement, judge
from logitcache.study.inference import MOST_SEEDS, has_too_few_rows
from logitcache.study.rows import Difference, Row
from logitcache.study.stats import SIGNIFICANCE, Estimate, Interval, gain, seeds_needed

SMALLEST_SHOWN = 0.001
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


def p_equals(p: float) -> str:
    """A p value in a sentence: ``p = 0.03``, or ``p < 0.001``."""
    text = p_text(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def p_text(p: float) -> str:
    """A p value with two digits, or more where rounding would move it to 0.05; ``< 0.001``."""
    if p < SMALLEST_SHOWN:
        return f"< {SMALLEST_SHOWN}"
    if p >= SIGNIFICANCE + 0.005:
        return f"{p:.2f}"
    text = ""
    for digits in range(2, 10):
        text = f"{p:.{digits}g}"
        if float(text) != SIGNIFICANCE or p == SIGNIFICANCE:
            break
    return text


def spoken(label: str) -> str:
    """A row's label as a sentence has it: ``KD (alpha=0.9)``."""
    method, _, variant = label.partition(" ")
    title = METHODS[method].title if method in METHODS else method
    return f"{title} {variant}".rstrip()


def verdict(
    rows: Sequence[Row], baseline: str, evidence: Evidence, margin: float | None = None
) -> str:
    """A sentence on the best method that can be compared with the baseline: of kd if it was run,
    else of all methods. Reservations about the rows that were scored stand before and after it.
    ``margin``, in the metric's own unit, is what counts as no difference.
    """
    best = best_row(rows)
    if best is None or best.difference is None:
        return f"No verdict: {_reason_for_none(rows, baseline)}."
    (judgement,) = judge([compared_of(best, best.difference)], margin)
    sentence = _sentence(best, best.difference, judgement, evidence)
    return f"{evidence.before()}{sentence}{evidence.after()}"


def judged_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows that a verdict chooses from: those of kd if it was run, else all that are compared."""
    compared = [row for row in rows if row.difference is not None]
    kd = [row for row in compared if row.method == "kd"]
    return kd or compared


def best_row(rows: Sequence[Row]) -> Row | None:
    """The row that a verdict is on; None where no row is compared with the baseline."""
    return max(judged_rows(rows), key=_gain, default=None)


def compared_of(row: Row, difference: Difference) -> Compared:
    """A row's difference, as it is judged."""
    return Compared(row.metric, difference.test, difference.estimate)


def _reason_for_none(rows: Sequence[Row], baseline: str) -> str:
    challengers = [row for row in rows if baseline not in (row.method, row.label)]
    if len(challengers) == len(rows):
        return f"there is no {spoken(baseline)} result to compare with"
    if not challengers:
        return (
            f"there is nothing here but {spoken(baseline)}; train another method, such as kd, too"
        )
    return f"no other method has a seed in common with {spoken(baseline)}, or one {spoken(baseline)} row to match"


def _gain(row: Row) -> float:
    assert row.difference is not None
    return gain(row.metric, row.difference.mean)


def _sentence(row: Row, difference: Difference, judgement: Judgement, evidence: Evidence) -> str:
    name = spoken(row.label)
    baseline = spoken(difference.baseline)
    scale = scale_of(row.metric)
    p = difference.test.p_value
    if p is None:
        return _sentence_of_one_seed(f"{name} - {baseline}", row, difference, evidence)
    gains = [gain(row.metric, value) for value in difference.by_seed.values()]
    n = len(gains)
    wins = sum(gain > 0 for gain in gains)
    losses = sum(gain < 0 for gain in gains)
    figures = (
        f"{scale.signed(difference.mean)} {scale.unit}, {p_equals(p)}{_unreachable(difference)}"
    )
    claim = f"{name} {_claim(_gain(row), judgement.finding)} {baseline}"
    reservation = (
        f"{_reservation(row.metric, difference, evidence)}{_margin_clause(judgement, scale)}"
    )
    if n in (wins, losses):
        seeds = "both seeds" if n == 2 else f"all {n} seeds"
        return f"{claim} on {seeds} ({figures}){reservation}."
    if p <= SIGNIFICANCE:
        return f"{claim} over {n} seeds (better on {wins}; {figures}){reservation}."
    chance = f"{name} does not differ from {baseline} beyond chance over {n} seeds ({figures})"
    return f"{chance}{_margin_clause(judgement, scale)}."


def _claim(gain: float, finding: Finding) -> str:
    """Its verb is no more than a lead where p value and interval do not agree."""
    if finding is Finding.HELPS:
        return "beats"
    if finding is Finding.HURTS:
        return "is worse than"
    return "is ahead of" if gain > 0 else "is behind"


def _margin_clause(judgement: Judgement, scale: Scale) -> str:
    """What the margin has shown."""
    margin = judgement.margin
    if margin is None:
        return ""
    if judgement.finding is Finding.SMALL and judgement.p_equivalence is not None:
        p = p_equals(judgement.p_equivalence)
        return f": no effect larger than {scale.plain(margin)} {scale.unit} ({p})"
    if judgement.finding is Finding.NOT_WORSE and judgement.p_non_inferiority is not None:
        p = p_equals(judgement.p_non_inferiority)
        return f": not worse by {scale.plain(margin)} {scale.unit} ({p})"
    return ""


def _unreachable(difference: Difference) -> str:
    """What to do where this number of seeds cannot reach significance, however they fall."""
    test = difference.test
    if test.p_min <= SIGNIFICANCE:
        return ""
    return f": {_NUMBERS[test.n]} seeds cannot reach {SIGNIFICANCE}; run {seeds_needed()} or more"


def _sentence_of_one_seed(pair: str, row: Row, difference: Difference, evidence: Evidence) -> str:
    scale = scale_of(row.metric)
    interval = difference.interval
    start = "One seed says nothing about training randomness"
    mean = f"{scale.signed(difference.mean)} {scale.unit}"
    if interval is None:
        return f"{start}: {pair} = {mean} on {evidence.these}."
    if scale.plain(difference.mean) == scale.plain(0):
        return f"{start}; over {evidence.scored} {pair} = {mean}: no difference in these digits."
    comparison = "no more than" if _holds_zero(interval) else "more than"
    return (
        f"{start}; over {evidence.scored} {pair} = {mean} {scale.interval(interval)}: {comparison} the choice of "
        f"{evidence.scored} explains."
    )


def _reservation(metric: str, difference: Difference, evidence: Evidence) -> str:
    """A reservation where seeds agree, but other seeds or rows could undo it."""
    estimate = difference.estimate
    if estimate is None:
        return ""
    if _holds_zero(estimate.interval):
        causes = f"seeds or {evidence.scored}" if estimate.has_rows else "seeds"
        interval = scale_of(metric).interval(estimate.interval)
        return f", yet other {causes} could undo it (95 % {interval})"
    if not has_too_few_rows(metric, estimate):
        return ""
    if not estimate.has_rows:
        return ", yet one that is the same for every seed tells nothing of its spread"
    return f", yet too few {evidence.scored} ({estimate.rows:,}) were scored to show it"


def task_sentence(row: Row, difference: Difference, judgement: Judgement) -> str:
    """What follows for one task: *helps*, *not worse*, *no effect larger than* the margin, or
    *undecided*, and how many seeds would decide.
    """
    scale = scale_of(row.metric)
    name = spoken(row.label)
    baseline = spoken(difference.baseline)
    figures = f"{scale.signed(difference.mean)} {scale.unit}"
    estimate = difference.estimate
    n = difference.test.n
    if estimate is None or judgement.p_value is None:
        advice = f"undecided, run {seeds_needed() - n} more seeds"
        return f"{advice}: {name} - {baseline} = {figures}, and one seed has no p value"
    p = p_equals(judgement.p_value)
    corrected = f" (Holm, {judgement.tasks} tasks)" if judgement.tasks > 1 else ""
    figures = f"{figures} {scale.interval(estimate.interval)} over {n} seeds, {p}{corrected}"
    if judgement.finding is Finding.UNDECIDED:
        advice = _more_rows(estimate, scale) or _more_seeds(judgement, n)
        return f"undecided, {advice}: {name} - {baseline} = {figures}"
    if judgement.finding is Finding.HELPS:
        return f"{name} helps: {figures}"
    if judgement.finding is Finding.HURTS:
        return f"{name} is worse than {baseline}: {figures}"
    verb = "has" if judgement.finding is Finding.SMALL else "is"
    return f"{name} {verb} {_margin_clause(judgement, scale).removeprefix(': ')}: {figures}"


def _more_rows(estimate: Estimate, scale: Scale) -> str:
    """What to do where no seed and no row shows a difference; empty where one does. The bound is
    the share that no row of R shows with a chance of 5 %.
    """
    if not estimate.is_constant or estimate.mean != 0:
        return ""
    if not estimate.has_rows or scale is _NATS:
        return "score more rows, as all differences are 0"
    rows = "1 row bounds" if estimate.rows == 1 else f"{estimate.rows:,} rows bound"
    bound = scale.plain(1 - SIGNIFICANCE ** (1 / estimate.rows))
    return f"score more rows, as equal answers to {rows} a difference by {bound} {scale.unit} only"


def _more_seeds(judgement: Judgement, seeds: int) -> str:
    needed = judgement.seeds_to_decide
    if needed is None:
        return f"score more rows, as {MOST_SEEDS:,} seeds on these would not decide"
    count = max(needed - seeds, 1)
    return f"run {count} more seed{'s' if count > 1 else ''}"


def _holds_zero(interval: Interval) -> bool:
    return interval.low <= 0 <= interval.high
