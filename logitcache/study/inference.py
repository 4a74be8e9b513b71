"""What follows from a difference: corrections for many tests, equivalence, seeds to decide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from logitcache.study.metrics import Float
from logitcache.study.stats import COVERAGE, SIGNIFICANCE, Components, Estimate, smallest_p

POWER = 0.8
MOST_SEEDS = 1000
_CERTAIN = 1e3  # standard errors
_RANKS = 3 / np.pi  # efficiency of signed ranks beside t, of normal data (Hodges & Lehmann, 1956)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for being tested together: all that are 0.05 or less have a chance of 5 %
    of one false finding among them (Holm, 1979).
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    left = len(p_values)  # hypotheses that no smaller p has rejected
    for index in np.argsort(p_values, kind="stable"):
        largest = max(largest, float(p_values[index]) * left)
        corrected[index] = min(largest, 1.0)
        left -= 1
    return corrected


def non_inferiority(estimate: Estimate, margin: float) -> float:
    """The p of the hypothesis that a method is worse than its baseline by the margin or more: a
    small one shows that it is not (Wellek, 2010, section 2.3). Positive is better.
    """
    return estimate.p_of_at_most(-margin)


def equivalence(estimate: Estimate, margin: float) -> float:
    """The p of the hypothesis that a difference is as large as the margin, to either side: the
    larger of two one-sided tests (TOST; Schuirmann, 1987).
    """
    return max(estimate.p_of_at_most(-margin), (-estimate).p_of_at_most(-margin))


def power_of_t(effect: float | Float, freedom: float | Float, level: float) -> Float:
    """The chance that a two-sided t test rejects at ``level`` where the true mean is ``effect``
    standard errors from 0 (Cohen, 1988; the noncentral t distribution).
    """
    from scipy.stats import nct, t

    critical = t.ppf(1 - level / 2, freedom)
    above = nct.sf(critical, freedom, effect)
    below = nct.cdf(-critical, freedom, effect)
    return np.asarray(above + below, np.float64)


def has_too_few_rows(metric: str, estimate: Estimate) -> bool:
    """Whether other rows could undo a difference, however many seeds agree on it: its p of rows
    (`Estimate.p_of_rows`) is above that of an interval's end. Losses have no bound, so of theirs
    this is known of constant ones alone.
    """
    if metric == "nll" and not estimate.is_constant:
        return False
    return estimate.p_of_other_rows > (1 - COVERAGE) / 2


def seeds_to_decide(
    metric: str, estimate: Estimate, margin: float | None, tasks: int
) -> int | None:
    """How many seeds decide with a chance of 80 %, if the observed effect and variance are the true
    ones: that there is a difference, or (with a margin) that it is smaller than that. The level is
    that of the first of ``tasks`` comparisons (Holm). None where 1,000 seeds do not.
    """
    from scipy.stats import nct, t

    counts = range(2, MOST_SEEDS + 1)
    level = SIGNIFICANCE / tasks
    components = estimate.components
    freedom = np.array(list(map(components.freedom, counts)))
    effect = abs(estimate.mean)
    decides = np.zeros(len(counts), np.bool_)
    if not has_too_few_rows(metric, estimate):
        by_ranks = Components(components.of_seeds / _RANKS, components.of_rows)
        power = power_of_t(_quotient(effect, _errors(by_ranks, counts)), freedom, level)
        smallest = np.array(list(map(smallest_p, counts)))
        decides = (smallest <= level) & (power >= POWER)
    if margin is not None and effect < margin:
        p_of_rows = max(estimate.p_of_rows(-margin), (-estimate).p_of_rows(-margin))
        if p_of_rows <= level:  # else more rows are needed
            distance = _quotient(margin - effect, _errors(components, counts))
            one_sided = nct.sf(t.ppf(1 - level, freedom), freedom, distance)
            decides |= one_sided >= POWER
    return counts[decides.argmax()] if decides.any() else None


def _errors(components: Components, counts: Sequence[int]) -> Float:
    """The standard errors of means over so many seeds."""
    return np.sqrt(list(map(components.variance, counts)))


def _quotient(value: float, errors: Float) -> Float:
    """In standard errors; without any error, or hardly any, more than enough of them."""
    quotient = np.full_like(errors, _CERTAIN if value else 0.0)
    np.divide(value, errors, out=quotient, where=errors > 0)
    return np.minimum(quotient, _CERTAIN)
