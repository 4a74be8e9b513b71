"""What follows from differences: against values of scipy and statsmodels, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from logitcache.study.findings import Compared, Finding, judge
from logitcache.study.inference import (
    equivalence,
    holm,
    non_inferiority,
    power_of_t,
    seeds_to_decide,
)
from logitcache.study.metrics import calibration_error, row_sums
from logitcache.study.results import Predictions
from logitcache.study.stats import (
    Components,
    Estimate,
    Interval,
    components,
    multi_bootstrap,
    of_seeds,
    resample,
    signed_rank,
)

values = st.lists(st.floats(-1, 1, width=16), min_size=3, max_size=9)


def test_holm_gives_the_values_of_statsmodels() -> None:
    """`multipletests(p, method="holm")` of statsmodels 0.15.0."""
    p_values = [0.01, 0.04, 0.03, 0.005, 0.2]
    expected = [0.04, 0.09, 0.09, 0.025, 0.2]
    assert holm(p_values) == pytest.approx(expected, abs=1e-12)
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p_values: list[float]) -> None:
    corrected = holm(p_values)
    for p, q in zip(p_values, corrected, strict=True):
        assert p <= q <= min(1.0, p * len(p_values)) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()


@settings(deadline=None, max_examples=40)
@given(values, st.floats(0.01, 1))
def test_margins_are_tested_as_scipy_tests_them(differences: list[float], margin: float) -> None:
    found = of_seeds(differences)
    if found.error < 1e-6:
        return
    above = scipy_stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    below = scipy_stats.ttest_1samp(differences, margin, alternative="less").pvalue
    assert non_inferiority(found, margin) == pytest.approx(above, abs=1e-12)
    assert equivalence(found, margin) == pytest.approx(max(above, below), abs=1e-12)
    theirs = scipy_stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(theirs), abs=1e-11)


def test_power_and_equivalence_are_those_of_statsmodels() -> None:
    """`TTestPower().power(0.8, 8, 0.05)`, and `ttost_paired` of these two lists with margin 0.7."""
    assert power_of_t(0.8 * np.sqrt(8), 7, 0.05) == pytest.approx(0.4963820462438341, abs=1e-12)
    found = of_seeds([0.2, -0.1, 0.4, 0.3, -0.2])
    assert equivalence(found, 0.7) == pytest.approx(0.003717687006961742, abs=1e-12)


def test_components_of_a_table_by_hand() -> None:
    """Rows [1, 3] and [5, 11]: mean squares 36 of seeds, 16 of rows, 4 of the rest."""
    found = components(np.array([[1.0, 3.0], [5.0, 11.0]]))
    assert found.of_seeds == pytest.approx(36 / 2, abs=1e-12)
    assert found.of_rows == pytest.approx((16 - 4) / 4, abs=1e-12)
    assert found.variance(2) == pytest.approx((36 + 16 - 4) / 4, abs=1e-12)
    assert found.freedom(2) == pytest.approx((48 / 36) ** 2, abs=1e-12)


def losses(seeds: int, rows: int, of_seed: float, seed: int) -> list[Predictions]:
    generator = np.random.default_rng(seed)
    drawn = generator.normal(0, of_seed, (seeds, 1)) + generator.normal(0, 1, (seeds, rows))
    empty = np.empty((rows, 0), np.float32)
    number = np.arange(rows)
    return [Predictions(number, number * 0, empty, loss) for loss in drawn]


def test_pseudo_values_of_a_mean_are_the_values_of_its_rows() -> None:
    (loss,) = losses(1, 30, 0, 1)
    assert row_sums("nll", loss).pseudo_values() == pytest.approx(loss.nll, abs=1e-12)


@pytest.mark.parametrize("of_seed", [0.0, 0.5])
def test_the_multi_bootstrap_covers_the_truth_about_as_often_as_it_says(of_seed: float) -> None:
    """benchmarks/bench_statistics.py does so over 2,000 studies of each of 12 kinds."""
    held = 0
    for study in range(150):
        one, other = losses(6, 60, of_seed, 2 * study), losses(6, 60, of_seed, 2 * study + 1)
        resampled = resample("nll", one, other, resamples=200)
        interval = multi_bootstrap("nll", one, other, resampled).interval
        held += interval.low <= 0 <= interval.high
    assert 133 <= held <= 149


def test_the_multi_bootstrap_changes_sign_with_its_sides_and_repeats() -> None:
    one, other = losses(4, 50, 0.1, 1), losses(4, 50, 0.1, 2)
    forth = multi_bootstrap("nll", one, other, resample("nll", one, other, resamples=300))
    back = multi_bootstrap("nll", other, one, resample("nll", other, one, resamples=300))
    assert forth.mean == pytest.approx(-back.mean)
    assert forth.interval.low == pytest.approx(-back.interval.high)
    assert forth == multi_bootstrap("nll", one, other, resample("nll", one, other, resamples=300))
    same = multi_bootstrap("nll", one, one, resample("nll", one, one, resamples=300))
    assert (same.interval.low, same.interval.high, same.error) == (0, 0, 0)


def estimate(mean: float, deviation: float, seeds: int, of_rows: float = 0.0) -> Estimate:
    """Of seeds with this deviation, and the interval of Student's t."""
    found = Components(deviation**2, of_rows)
    half = found.reach(0.025, seeds)
    return Estimate(mean, found, seeds, 1_000_000, Interval(mean - half, mean + half, 1000, 0))


@pytest.mark.parametrize("of_rows", [0.0, 1e-6, 1.0])
@pytest.mark.parametrize("level", [0.4, 0.025, 1e-6])
def test_the_p_of_a_limit_is_the_level_whose_reach_it_is(of_rows: float, level: float) -> None:
    found = estimate(0.01, 0.01, 5, of_rows)
    reach = found.components.reach(level, 5)
    assert found.p_of_at_most(0.01 - reach) == pytest.approx(level, rel=1e-9)
    assert found.p_of_at_most(0.01 + reach) == pytest.approx(1 - level, rel=1e-9)
    assert (-found).p_of_at_most(-0.01 - reach) == pytest.approx(level, rel=1e-9)


def test_the_seeds_that_an_effect_needs_have_the_power_and_one_less_has_not() -> None:
    needed = seeds_to_decide("accuracy", estimate(0.01, 0.01, 5), None, 1)
    assert needed is not None
    ranks = np.sqrt(3 / np.pi)
    assert power_of_t(np.sqrt(needed) * ranks, needed - 1, 0.05) >= 0.8
    assert power_of_t(np.sqrt(needed - 1) * ranks, needed - 2, 0.05) < 0.8
    assert (
        seeds_to_decide("accuracy", estimate(0.01, 1e-6, 5), None, 1) == 6
    )  # fewer cannot reach 0.05
    assert seeds_to_decide("accuracy", estimate(0.01, 1e-6, 5), None, 7) == 9  # nor 0.05 / 7
    assert seeds_to_decide("accuracy", estimate(0.0, 0.01, 5), None, 1) is None
    assert seeds_to_decide("accuracy", estimate(0.01, 0.01, 5, of_rows=1.0), None, 1) is None
    assert seeds_to_decide("accuracy", estimate(0.0, 0.01, 5), 0.01, 1) is not None


@pytest.mark.parametrize(
    ("rows", "mean", "metric", "finding"),
    [
        (1, 1.0, "accuracy", Finding.UNDECIDED),
        (5, 1.0, "accuracy", Finding.UNDECIDED),  # true differences of 0 show so at 1 in 32
        (5, -1.0, "accuracy", Finding.UNDECIDED),
        (6, 1.0, "accuracy", Finding.HELPS),
        (200, 0.01, "accuracy", Finding.UNDECIDED),  # two rows
        (200, 0.02, "accuracy", Finding.HELPS),
        (5, -0.5, "nll", Finding.UNDECIDED),
        (0, 0.5, "accuracy", Finding.UNDECIDED),  # nothing is known of rows
    ],
)
def test_one_difference_of_all_seeds_on_few_rows_shows_nothing(
    rows: int, mean: float, metric: str, finding: Finding
) -> None:
    """Seeds that agree to the last digit, but for rounding."""
    interval = Interval(mean, mean, 1000, 0)
    same = Estimate(mean, Components(1e-34, 0.0), 8, rows, interval)
    (judged,) = judge([Compared(metric, signed_rank([mean] * 8), same)])
    assert judged.finding is finding
    assert (judged.seeds_to_decide is None) == (finding is Finding.UNDECIDED)


@pytest.mark.parametrize("mean", [-0.2, 0.0, 0.3])
@pytest.mark.parametrize("limit", [-0.5, -0.3])
def test_the_p_of_rows_is_the_chance_that_none_of_them_differs(mean: float, limit: float) -> None:
    """Rows of which a share is -1 and all others are equal have the limit as their mean."""
    same = Estimate(mean, Components(0.0, 0.0), 6, 10, Interval(mean, mean, 1000, 0))
    share = 1 - same.p_of_rows(limit) ** (1 / 10)
    assert (1 - share) * mean - share == pytest.approx(limit)
    assert same.p_of_rows(mean) == same.p_of_rows(1.0) == 1


def test_losses_that_vary_have_no_bound_of_rows() -> None:
    """A gain of 0.05 nats on 30 rows whose spread is known."""
    found = estimate(-0.05, 0.001, 8, 1e-6)
    few = Estimate(found.mean, found.components, 8, 30, found.interval)
    (loss,) = judge([Compared("nll", signed_rank([-0.05] * 8), few)])
    assert loss.finding is Finding.HELPS


def compared(differences: list[float], metric: str = "accuracy") -> Compared:
    found = of_seeds(differences) if len(differences) > 1 else None
    return Compared(metric, signed_rank(differences), found)


CLEAR = [0.03, 0.04, 0.05, 0.04, 0.03, 0.05, 0.06, 0.04]
SMALL = [0.001, -0.001, 0.002, -0.002, 0.0005, -0.0005, 0.001, -0.001]
BETTER_OR_SAME = [0.004, 0.03, -0.002, 0.02, 0.01, -0.001, 0.025, 0.0]
NOISE = [0.03, -0.03, 0.02, -0.02, 0.01, -0.01, 0.04, -0.03]


@pytest.mark.parametrize(
    ("differences", "metric", "finding"),
    [
        (CLEAR, "accuracy", Finding.HELPS),
        (CLEAR, "nll", Finding.HURTS),
        (SMALL, "accuracy", Finding.SMALL),
        (BETTER_OR_SAME, "accuracy", Finding.NOT_WORSE),
        (NOISE, "accuracy", Finding.UNDECIDED),
        (CLEAR[:1], "accuracy", Finding.UNDECIDED),
    ],
)
def test_a_finding_is_what_its_figures_show(
    differences: list[float], metric: str, finding: Finding
) -> None:
    (judged,) = judge([compared(differences, metric)], margin=0.005)
    assert judged.finding is finding
    (without_margin,) = judge([compared(differences, metric)])
    decided = finding in (Finding.HELPS, Finding.HURTS)
    assert without_margin.finding is (finding if decided else Finding.UNDECIDED)


def test_tasks_are_corrected_together_and_one_seed_counts_in_no_correction() -> None:
    alone = judge([compared(CLEAR)])[0]
    several = judge([compared(CLEAR), *[compared(NOISE)] * 6, compared(CLEAR[:1])])
    assert alone.finding is Finding.HELPS
    assert several[0].finding is Finding.UNDECIDED  # 7 x 0.0078
    assert several[0].p_value == pytest.approx(7 * 2 / 256, abs=1e-12)
    assert several[-1].p_value is None


def test_p_alone_does_not_help() -> None:
    """Seeds agree, and other rows could undo it."""
    wide = estimate(0.01, 0.001, 8, of_rows=1.0)
    (judged,) = judge([Compared("accuracy", signed_rank([0.01] * 8), wide)])
    assert judged.finding is Finding.UNDECIDED
    assert judged.seeds_to_decide is None


def test_calibration_error_by_hand() -> None:
    """Two rows of confidence 0.9, one of them right; two of 0.6, both right."""
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    logits = np.log(p).astype(np.float32)
    answered = Predictions(np.arange(4), np.array([0, 1, 0, 0]), logits)
    assert calibration_error(answered) == pytest.approx((0.8 + 0.8) / 4, abs=1e-6)
    assert calibration_error(losses(1, 3, 0, 0)[0]) is None
