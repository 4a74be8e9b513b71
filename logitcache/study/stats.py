"""How sure a difference between two methods is, seen from the seeds, the rows scored, or both.

`signed_rank` asks whether other *seeds* could have made the difference, on this test set.
`Resampled.of_rows` asks whether other *test rows* could have, for these trained models. Neither
covers both; `multi_bootstrap` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from logitcache.config.train import LOWER_IS_BETTER as LOWER_IS_BETTER
from logitcache.study.metrics import Float, RowSums, row_sums
from logitcache.study.results import Predictions

SIGNIFICANCE = 0.05
COVERAGE = 0.95
BOOTSTRAP_SEED = 0
MAX_DRAWS = 200_000_000  # rows drawn per comparison, over all resamples: some seconds of one core
MIN_RESAMPLES = 1_000  # fewer leave the ends of a 95 % interval to a handful of resamples
# what is left beyond is the arithmetic's: 0.81 - 0.80 is not the float that 0.71 - 0.70 is
_DECIMALS = 12
_CHUNK = 4_000_000  # rows drawn at once: 32 MB of counts
_LEAST = -30.0  # power of ten of the smallest p
_EXACT = 50  # pairs: 2^50 patterns of signs are counted without rounding in a float


@dataclass(frozen=True)
class SignedRank:
    """A two-sided Wilcoxon signed-rank test over n pairs."""

    p_value: float | None  # None for fewer than two pairs
    p_min: float  # the smallest p that n pairs can reach
    n: int


@dataclass(frozen=True)
class Interval:
    """A 95 % bootstrap interval."""

    low: float
    high: float
    resamples: int
    seed: int


@dataclass(frozen=True)
class Components:
    """The variance of a mean difference over S seeds and R rows: ``of_seeds / S + of_rows``."""

    of_seeds: float  # of one seed's difference, over the same rows
    of_rows: float  # that more seeds do not lower; of thousands of values, so known well

    def variance(self, seeds: float) -> float:
        """Of the mean over so many seeds."""
        return self.of_seeds / seeds + self.of_rows

    def freedom(self, seeds: float) -> float:
        """Degrees of freedom of the variance's estimate from so many seeds (Hillis, 2007)."""
        of_seeds = self.of_seeds / seeds
        if not of_seeds:
            return float("inf")
        return float((seeds - 1) * (self.variance(seeds) / of_seeds) ** 2)

    def reach(self, level: float, seeds: int) -> float:
        """How far above the true mean an estimate lies with this chance at most: the seeds' part
        with Student's quantile, the rows' with the normal one (Graybill & Wang, 1980). Over the
        seeds alone it is Student's t.
        """
        from scipy.stats import norm, t

        of_seeds = float(t.isf(level, seeds - 1)) ** 2 * self.of_seeds / seeds
        of_rows = float(norm.isf(level)) ** 2 * self.of_rows
        return float(np.sqrt(of_seeds + of_rows))


@dataclass(frozen=True)
class Estimate:
    """A mean difference, with what other seeds would change, and other rows where it has ``rows``."""

    mean: float
    components: Components
    seeds: int
    rows: int  # that were drawn anew; 0 where the seeds alone were
    interval: Interval  # of `multi_bootstrap`, or of Student's t over the seeds

    @property
    def error(self) -> float:
        """The standard error."""
        return float(np.sqrt(self.components.variance(self.seeds)))

    def __neg__(self) -> Estimate:
        """The difference with its sides exchanged."""
        interval = replace(self.interval, low=-self.interval.high, high=-self.interval.low)
        return replace(self, mean=-self.mean, interval=interval)

    @property
    def has_rows(self) -> bool:
        """Whether it covers other rows."""
        return self.rows > 0

    @property
    def is_constant(self) -> bool:
        """Whether the difference is the same for every seed and every row, but for rounding."""
        return self.error < 10.0**-_DECIMALS

    def p_of_at_most(self, limit: float) -> float:
        """The one-sided p that the true mean is ``limit`` or less, at least that of the rows."""
        distance = self.mean - limit
        if distance <= 0:
            return 1.0 if self.is_constant else 1.0 - self._tail(-distance)
        tail = 0.0 if self.is_constant else self._tail(distance)
        return max(tail, self.p_of_rows(limit))

    def p_of_rows(self, limit: float) -> float:
        """The chance that R rows show this mean where the true one is ``limit`` or less, in
        fractions. Differences of rows lie between -1 and 1, so a share of all rows, at least
        (mean - limit) / (mean + 1), differs otherwise, and none of the R does (Hanley &
        Lippman-Hand, 1983: a share of 3 / R has a chance of 5 %). Without rows no chance is known,
        and constant differences show nothing.
        """
        if not self.rows:
            return 1.0 if self.is_constant else 0.0
        distance = max(self.mean - limit, 0.0)
        share = distance / max(self.mean + 1, distance) if distance else 0.0
        return float((1 - share) ** self.rows)

    @property
    def p_of_other_rows(self) -> float:
        """The p of rows (`p_of_rows`) that there is no difference, or one of the other sign."""
        return (self if self.mean > 0 else -self).p_of_rows(0.0)

    def _tail(self, distance: float) -> float:
        """The level whose reach is this distance, 0.5 or less."""
        from scipy.optimize import brentq
        from scipy.stats import t

        if not self.components.of_rows:
            return float(t.sf(distance / self.error, self.seeds - 1))

        def excess(exponent: float) -> float:
            return self.components.reach(0.5 * 10**exponent, self.seeds) - distance

        if excess(_LEAST) < 0:
            return 0.5 * 10**_LEAST
        return float(0.5 * 10 ** brentq(excess, _LEAST, 0.0, xtol=1e-13))


def gain(metric: str, value: float) -> float:
    """A score or a difference of a metric, larger where it is better."""
    return -value if metric in LOWER_IS_BETTER else value


def sample_std(values: Sequence[float]) -> float | None:
    """The standard deviation of a sample (n - 1); None for one value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def smallest_p(n: int) -> float:
    """The p of n differences of one sign: two of the 2^n patterns of signs are that extreme."""
    return min(1.0, 2.0 ** (1 - n))


def seeds_needed() -> int:
    """The smallest number of pairs whose two-sided signed-rank p can reach 0.05."""
    return next(n for n in count(1) if smallest_p(n) <= SIGNIFICANCE)


def signed_rank(differences: Sequence[float]) -> SignedRank:
    """Wilcoxon's signed-rank test that paired differences are symmetric about 0 (Wilcoxon, 1945).

    Exact over all patterns of signs for up to 50 pairs, with ties and zeros too (common: a metric
    over few rows takes few values); beyond that the normal approximation corrected for ties. Zeros
    keep their ranks while ranking and are then left out (Pratt, 1959), which weakens the evidence.
    """
    n = len(differences)
    # equal differences must be tied in rank, and no difference must be 0
    rounded = np.asarray(np.round(differences, _DECIMALS), np.float64)
    if n < 2:
        return SignedRank(None, smallest_p(n), n)
    if not rounded.any():
        return SignedRank(1.0, smallest_p(n), n)
    from scipy.stats import rankdata, wilcoxon

    if n > _EXACT:
        p = float(wilcoxon(rounded, zero_method="pratt", method="approx").pvalue)
        return SignedRank(p, smallest_p(n), n)
    doubled = np.rint(2 * rankdata(np.abs(rounded))).astype(np.int64)  # ties have halves
    doubled[rounded == 0] = 0
    positive = int(doubled[rounded > 0].sum())
    return SignedRank(_exact_p(doubled, positive), smallest_p(n), n)


def _exact_p(ranks: np.ndarray, positive: int) -> float:
    """Twice the smaller share of patterns of signs whose sum of positive ranks is as far out as
    this one; the patterns of each sum are counted rank by rank.
    """
    patterns = np.zeros(ranks.sum() + 1)
    patterns[0] = 1
    for rank in ranks:
        shifted = np.zeros_like(patterns)
        shifted[rank:] = patterns[: len(patterns) - rank]
        patterns += shifted
    tail = min(patterns[: positive + 1].sum(), patterns[positive:].sum())
    return float(min(1.0, 2 * tail / patterns.sum()))


@dataclass(frozen=True)
class Resampled:
    """Differences of S pairs on B draws of the rows: f64[B, S]."""

    values: Float
    seed: int

    def of_rows(self) -> Interval:
        """The percentile interval of the mean over these pairs, when other rows are drawn."""
        low, high = _ends(self.values.mean(axis=1))
        return Interval(low, high, len(self.values), self.seed)

    def with_seeds(self) -> Float:
        """Means over as many pairs, drawn anew for each draw of the rows: f64[B]."""
        draws, pairs = self.values.shape
        generator = np.random.default_rng([self.seed, pairs])
        weights = generator.multinomial(pairs, np.full(pairs, 1 / pairs), size=draws)
        means: Float = (self.values * weights).sum(axis=1) / pairs
        return means


def _ends(values: Float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(np.round(low, _DECIMALS)), float(np.round(high, _DECIMALS))


def resample(
    metric: str,
    predictions: Sequence[Predictions],
    baseline: Sequence[Predictions],
    *,
    resamples: int,
    seed: int = BOOTSTRAP_SEED,
) -> Resampled:
    """metric(predictions[s]) - metric(baseline[s]) of each pair s, when test rows are drawn anew.

    All predictions are of the same R rows in the same order; every resample draws R rows with
    replacement and gives the same rows to all of them. A very large split gets fewer resamples than
    asked for, never below 1,000; the interval says how many it had.
    """
    pairs = _paired_sums(metric, predictions, baseline)
    rows = len(pairs[0][0].of_row)
    resamples = min(resamples, max(MIN_RESAMPLES, MAX_DRAWS // rows))
    chunks = []
    for counts in _resamples(rows, resamples, np.random.default_rng(seed)):
        columns = [
            sums.of_counts(counts) - baseline_sums.of_counts(counts)
            for sums, baseline_sums in pairs
        ]
        chunks.append(np.stack(columns, axis=1))
    return Resampled(np.concatenate(chunks), seed)


def _paired_sums(
    metric: str, predictions: Sequence[Predictions], baseline: Sequence[Predictions]
) -> list[tuple[RowSums, RowSums]]:
    """The sums of each pair of predictions."""
    sums = [row_sums(metric, answers) for answers in predictions]
    baseline_sums = [row_sums(metric, answers) for answers in baseline]
    return list(zip(sums, baseline_sums, strict=True))


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


def components(differences: Float) -> Components:
    """What seeds and rows add to the variance of a mean of differences f64[S, R], S at least 2,
    both drawn at random and crossed.

    From the mean squares of a two-way table without repeats, as for readers and cases of a
    diagnostic study (Dorfman, Berbaum & Metz, 1992; Hillis, 2007, eq. 6). One row tells nothing of
    others: its part is 0, and `Estimate.p_of_rows` is what bounds it.
    """
    seeds, rows = differences.shape
    seed_means = differences.mean(axis=1)
    row_means = differences.mean(axis=0)
    grand_mean = differences.mean()
    if rows == 1:
        return Components(float(seed_means.var(ddof=1)), 0.0)
    residual = differences - seed_means[:, None] - row_means + grand_mean
    of_seeds = rows * ((seed_means - grand_mean) ** 2).sum() / (seeds - 1)
    of_rows = seeds * ((row_means - grand_mean) ** 2).sum() / (rows - 1)
    of_rest = (residual**2).sum() / ((seeds - 1) * (rows - 1))
    excess = max(float(of_rows - of_rest), 0.0)
    return Components(float(of_seeds) / rows, excess / (seeds * rows))


def multi_bootstrap(
    metric: str,
    predictions: Sequence[Predictions],
    baseline: Sequence[Predictions],
    resampled: Resampled,
) -> Estimate:
    """The mean difference over S >= 2 pairs, and its interval when seeds and rows are drawn anew
    (the multi-bootstrap: Sellam et al., 2022, section 4, paired over seeds and rows).

    The bare percentile interval is right for many seeds and no interaction of seeds and rows. It
    counts their interaction three times (Owen, 2007, section 4), and misses 1/S of the seeds'
    variance. So its shape is kept, and its width is that of an unbiased estimate of the variance
    (`components`, over the pseudo-values of a metric that is no mean; `Components.reach`).
    """
    from scipy.stats import norm

    pairs = _paired_sums(metric, predictions, baseline)
    scores = []
    for sums, baseline_sums in pairs:
        scores.append(
            float(sums.score(sums.of_row.sum(0)) - baseline_sums.score(baseline_sums.of_row.sum(0)))
        )
    of_rows = np.stack(
        [sums.pseudo_values() - baseline_sums.pseudo_values() for sums, baseline_sums in pairs]
    )
    of_rows += np.asarray(scores)[:, None] - of_rows.mean(axis=1, keepdims=True)
    parts = components(of_rows)
    mean = float(np.mean(scores))
    means = resampled.with_seeds()
    spread = float(means.std())
    scale = 0.0
    if spread > 0:
        half_width = parts.reach((1 - COVERAGE) / 2, len(pairs))
        normal_width = float(norm.isf((1 - COVERAGE) / 2))
        scale = half_width / (spread * normal_width)
    low, high = _ends(mean + scale * (means - means.mean()))
    interval = Interval(low, high, len(means), resampled.seed)
    return Estimate(mean, parts, len(pairs), of_rows.shape[1], interval)


def of_seeds(differences: Sequence[float]) -> Estimate:
    """The mean of S >= 2 differences and Student's interval, which covers the seeds alone: where
    each seed has rows of its own, or predictions do not give the metric.
    """
    values = np.asarray(differences, np.float64)
    parts = Components(float(values.var(ddof=1)), 0.0)
    mean = float(values.mean())
    half_width = parts.reach((1 - COVERAGE) / 2, len(values))
    low, high = np.round([mean - half_width, mean + half_width], _DECIMALS)
    return Estimate(mean, parts, len(values), 0, Interval(float(low), float(high), 0, 0))
