"""Two tests of a difference between two methods, each for one source of chance.

`signed_rank` asks whether other *seeds* could have made the difference, on this test set.
`paired_bootstrap` asks whether other *test rows* could have, for these trained models. Neither test
covers both.

Metrics are recomputed from three sums per class (rows of the class, rows predicted as it, rows
predicted rightly), so that one matrix product scores every resample at once. The definitions are
those of `logitcache.data.tasks.classification.score`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from logitcache.config.train import LOWER_IS_BETTER as LOWER_IS_BETTER
from logitcache.study.results import Predictions

Float: TypeAlias = npt.NDArray[np.float64]

SIGNIFICANCE = 0.05
COVERAGE = 0.95
BOOTSTRAP_SEED = 0
MAX_DRAWS = 200_000_000  # rows drawn per comparison, over all resamples: some seconds of one core
MIN_RESAMPLES = 1_000  # fewer leave the ends of a 95 % interval to a handful of resamples
_DECIMALS = (
    12  # what is left beyond is the arithmetic's: 0.81 - 0.80 is not the float that 0.71 - 0.70 is
)
_CHUNK = 4_000_000  # rows drawn at once: 32 MB of counts


@dataclass(frozen=True)
class SignedRank:
    """A two-sided Wilcoxon signed-rank test over n pairs."""

    p_value: float | None  # None for fewer than two pairs
    p_min: float  # the smallest p that n pairs can reach
    n: int


@dataclass(frozen=True)
class Interval:
    """A 95 % percentile bootstrap interval."""

    low: float
    high: float
    resamples: int
    seed: int


def smallest_p(n: int) -> float:
    """The p of n differences of one sign: two of the 2^n patterns of signs are that extreme."""
    return min(1.0, 2.0 ** (1 - n))


def seeds_needed() -> int:
    """The smallest number of pairs whose two-sided signed-rank p can reach 0.05."""
    return next(n for n in count(1) if smallest_p(n) <= SIGNIFICANCE)


def signed_rank(differences: Sequence[float]) -> SignedRank:
    """Wilcoxon's signed-rank test that paired differences are symmetric about 0.

    Exact for up to 50 pairs; with ties or zeros (common: a metric over few rows takes few values)
    exact over all patterns of signs for up to 13 pairs, then by the normal approximation corrected
    for ties. Zeros keep their ranks while ranking and are then left out (Pratt, 1959), so they
    weaken the evidence instead of vanishing.
    """
    n = len(differences)
    # equal differences must be tied in rank, and no difference must be 0
    rounded = np.round(np.asarray(differences, np.float64), _DECIMALS)
    if n < 2:
        return SignedRank(None, smallest_p(n), n)
    if not rounded.any():
        return SignedRank(1.0, smallest_p(n), n)
    from scipy.stats import wilcoxon

    return SignedRank(
        float(wilcoxon(rounded, zero_method="pratt", method="auto").pvalue), smallest_p(n), n
    )


def _accuracy(gold: Float, answered: Float, right: Float) -> Float:
    return _ratio(right.sum(-1), gold.sum(-1))


def _f1_of_classes(gold: Float, answered: Float, right: Float) -> Float:
    return _ratio(2 * right, gold + answered)


def _macro_f1(gold: Float, answered: Float, right: Float) -> Float:
    has_rows = gold > 0
    f1 = _f1_of_classes(gold, answered, right) * has_rows
    return _ratio(f1.sum(-1), has_rows.sum(-1))


def _f1(gold: Float, answered: Float, right: Float) -> Float:
    return _f1_of_classes(gold, answered, right)[..., 1]


def _mcc(gold: Float, answered: Float, right: Float) -> Float:
    """Matthews correlation over K classes (Gorodkin, 2004)."""
    rows = gold.sum(-1)
    covariance = right.sum(-1) * rows - (gold * answered).sum(-1)
    spread = (rows**2 - (gold**2).sum(-1)) * (rows**2 - (answered**2).sum(-1))
    return _ratio(covariance, np.sqrt(spread))


def _ratio(above: Float, below: Float) -> Float:
    """The quotient, and 0 where the divisor is 0, as in scikit-learn."""
    return np.divide(above, below, out=np.zeros_like(above, np.float64), where=below > 0)


_OF_CLASS_SUMS: Mapping[str, Callable[[Float, Float, Float], Float]] = {
    "accuracy": _accuracy,
    "macro_f1": _macro_f1,
    "f1": _f1,
    "mcc": _mcc,
}
COMPUTABLE = frozenset(_OF_CLASS_SUMS) | {"nll"}


def statistic(metric: str, predictions: Predictions) -> Callable[[Float], Float]:
    """The metric as a function of how often each row counts: f64[C, R] to f64[C]. ``metric`` is one
    of COMPUTABLE.
    """
    if metric == "nll":
        loss = _nll(predictions)
        return lambda counts: np.asarray(counts @ loss / counts.sum(-1))
    one_hot = np.eye(predictions.logits.shape[1])
    gold = one_hot[predictions.label]
    answered = one_hot[predictions.logits.argmax(1)]
    of_row = np.concatenate([gold, answered, gold * answered], axis=1)
    return lambda counts: _OF_CLASS_SUMS[metric](*np.split(counts @ of_row, 3, axis=-1))


def _nll(predictions: Predictions) -> Float:
    """Negative log-likelihood of each row in nats, f64[R]."""
    from scipy.special import log_softmax

    if predictions.nll is not None:
        return predictions.nll.astype(np.float64)
    log_p = log_softmax(predictions.logits.astype(np.float64), axis=1)
    loss: Float = -np.take_along_axis(log_p, predictions.label[:, None], axis=1)[:, 0]
    return loss


def paired_bootstrap(
    metric: str,
    predictions: Sequence[Predictions],
    baseline: Sequence[Predictions],
    *,
    resamples: int,
    seed: int = BOOTSTRAP_SEED,
) -> Interval:
    """The interval of the mean of metric(predictions[s]) - metric(baseline[s]) over pairs s, when
    test rows are drawn anew.

    All predictions speak of the same R rows in the same order; every resample draws R rows with
    replacement and gives the same rows to all of them. A very large split gets fewer resamples than
    asked for, never below 1,000; the interval says how many it had.
    """
    rows = len(predictions[0].label)
    resamples = min(resamples, max(MIN_RESAMPLES, MAX_DRAWS // rows))
    scores = [statistic(metric, answers) for answers in predictions]
    baseline_scores = [statistic(metric, answers) for answers in baseline]
    differences = []
    for counts in _resamples(rows, resamples, np.random.default_rng(seed)):
        total = sum(score(counts) for score in scores) - sum(
            score(counts) for score in baseline_scores
        )
        differences.append(total / len(predictions))
    ends = np.quantile(np.concatenate(differences), [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    low, high = np.round(ends, _DECIMALS)
    return Interval(float(low), float(high), resamples, seed)


def _resamples(rows: int, resamples: int, generator: np.random.Generator) -> Iterator[Float]:
    """How often each row was drawn: f64[C, R] per chunk of C resamples."""
    chunk = max(1, _CHUNK // rows)
    for start in range(0, resamples, chunk):
        number = min(chunk, resamples - start)
        rows_drawn = (
            generator.integers(rows, size=(number, rows)) + rows * np.arange(number)[:, None]
        )
        counts = np.bincount(rows_drawn.ravel(), minlength=number * rows)
        yield counts.reshape(number, rows).astype(np.float64)
