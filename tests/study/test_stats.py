"""The tests behind a verdict, against enumeration, scikit-learn and scipy."""

from __future__ import annotations

import itertools
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, rankdata

from logitcache.data.tasks.classification import score
from logitcache.study import stats
from logitcache.study.metrics import COMPUTABLE, row_sums
from logitcache.study.results import Predictions
from logitcache.study.stats import resample, seeds_needed, signed_rank, smallest_p

fakes = runpy.run_path(str(Path(__file__).parents[1] / "fake_results.py"))

# Few values, so that ties and zeros are common; tenths, so that equal differences are not equal
# floats.
tenths = st.integers(-4, 4).map(lambda i: (i + 3) * 0.1 - 0.3)


def predictions(accuracy: float, seed: int, rows: int = 200, classes: int = 4) -> Predictions:
    labels = fakes["gold"](rows, classes)
    return Predictions(np.arange(rows), labels, fakes["answers"](labels, accuracy, seed, classes))


def enumerated_p(differences: list[float]) -> float:
    """Two-sided p over all 2^n patterns of signs; zeros are ranked and then left out (Pratt)."""
    rounded = np.round(differences, 9)
    ranks = rankdata(np.abs(rounded)) * (rounded != 0)
    sums = np.array(
        [
            ranks[np.array(signs)].sum()
            for signs in itertools.product([False, True], repeat=len(ranks))
        ]
    )
    found = ranks[rounded > 0].sum()
    return min(1.0, 2 * min(np.mean(sums <= found + 1e-9), np.mean(sums >= found - 1e-9)))


@settings(deadline=None, max_examples=60)
@given(st.lists(tenths, min_size=2, max_size=8))
def test_signed_rank_is_exact_with_ties_and_zeros(differences: list[float]) -> None:
    assert signed_rank(differences).p_value == pytest.approx(enumerated_p(differences))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-1, 1, width=32).filter(bool), min_size=2, max_size=8, unique_by=abs))
def test_signed_rank_is_exact_without_ties(differences: list[float]) -> None:
    # no difference is rounded away
    scaled = [value / min(map(abs, differences)) for value in differences]
    if len({round(abs(value), 9) for value in scaled}) == len(scaled):
        assert signed_rank(scaled).p_value == pytest.approx(enumerated_p(scaled))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-9, 9), min_size=2, max_size=8))
def test_smallest_p_is_reached_if_and_only_if_all_signs_agree(differences: list[int]) -> None:
    result = signed_rank(differences)
    agree = abs(sum(np.sign(differences))) == len(differences)
    assert result.p_value is not None
    assert result.p_value >= result.p_min - 1e-12
    if result.p_min < 1:
        assert (result.p_value <= result.p_min + 1e-12) == agree


@settings(deadline=None, max_examples=25)
@given(st.lists(tenths, min_size=2, max_size=8) | st.lists(tenths, min_size=14, max_size=20))
def test_signed_rank_has_no_side_and_no_order(differences: list[float]) -> None:
    p = signed_rank(differences).p_value
    assert p is not None
    assert 0 < p <= 1
    assert signed_rank([-value for value in differences]).p_value == pytest.approx(p)
    assert signed_rank(differences[::-1]).p_value == pytest.approx(p)


def test_signed_rank_gives_the_papers_values() -> None:
    """Eight pairs, two-sided: W = 0, 1, 2, 3, 4 (Kobyzev et al. 2023 compare eight seeds)."""
    flips: list[set[int]] = [set(), {1}, {2}, {3}, {4}]
    found = [
        signed_rank([-i if i in flipped else i for i in range(1, 9)]).p_value for flipped in flips
    ]
    assert found == pytest.approx([0.0078, 0.0156, 0.0234, 0.0391, 0.0547], abs=5e-5)


def test_signed_rank_says_nothing_of_one_pair_and_one_of_no_difference() -> None:
    assert signed_rank([0.3]).p_value is None
    assert signed_rank([]).p_value is None
    assert signed_rank([0.0, 0.0, 0.0]).p_value == 1.0
    assert signed_rank([0.81 - 0.80, 0.71 - 0.70]).p_value == 0.5


def test_smallest_p_and_the_seeds_it_takes() -> None:
    assert [smallest_p(n) for n in (0, 1, 2, 5, 6)] == [1.0, 1.0, 0.5, 0.0625, 0.03125]
    assert seeds_needed() == 6


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 1000), st.integers(2, 5), st.integers(3, 30))
def test_statistics_of_resamples_are_the_tasks_own_metrics(
    seed: int, classes: int, rows: int
) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=rows)
    logits = generator.normal(size=(rows, classes)).astype(np.float32)
    drawn = generator.integers(rows, size=(2, rows))
    counts = np.stack([np.bincount(each, minlength=rows) for each in drawn]).astype(float)
    whole = Predictions(np.arange(rows), labels, logits)
    expected = [score(logits[each], labels[each]) for each in drawn if len(set(labels[each])) > 1]
    if len(expected) < len(drawn):
        return  # scikit-learn warns of a resample of one class
    for metric in expected[0]:
        assert metric in COMPUTABLE
        assert row_sums(metric, whole).of_counts(counts) == pytest.approx(
            [each[metric] for each in expected], abs=1e-6
        )


@pytest.mark.parametrize("metric", sorted(COMPUTABLE))
def test_bootstrap_of_identical_predictions_is_zero(metric: str) -> None:
    same = [predictions(0.6, seed) for seed in range(3)]
    counts = np.random.default_rng(0).integers(1, 9, (40, 3))
    same = [replace(answers, entities=np.sort(counts)[:, ::-1]) for answers in same]
    interval = resample(metric, same, same, resamples=200).of_rows()
    assert (interval.low, interval.high) == (0, 0)  # not 1e-17: a verdict asks whether it holds 0


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "mcc", "nll"])
def test_bootstrap_changes_sign_with_its_sides_and_repeats(metric: str) -> None:
    one, other = (
        [predictions(0.7, 1), predictions(0.7, 2)],
        [predictions(0.6, 3), predictions(0.6, 4)],
    )
    forth = resample(metric, one, other, resamples=500).of_rows()
    back = resample(metric, other, one, resamples=500).of_rows()
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))
    assert forth == resample(metric, one, other, resamples=500).of_rows()
    assert forth.low < forth.high


def test_bootstrap_agrees_with_scipy() -> None:
    one, other = predictions(0.7, 1), predictions(0.6, 2)
    difference = np.array(
        [np.subtract(*(p.logits.argmax(1) == p.label for p in (one, other)), dtype=float)]
    )[0]
    theirs = bootstrap(
        (difference,), np.mean, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    ours = resample("accuracy", [one], [other], resamples=9999).of_rows()
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.006)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    """Two students of equal accuracy: about 95 % of intervals hold 0."""
    held = 0
    for seed in range(200):
        interval = resample(
            "accuracy", [predictions(0.6, seed)], [predictions(0.6, seed + 1000)], resamples=300
        ).of_rows()
        held += interval.low <= 0 <= interval.high
    assert 178 <= held <= 200


def test_bootstrap_does_not_depend_on_its_chunks_and_says_how_many_resamples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = [predictions(0.7, 1)], [predictions(0.6, 2)]
    whole = resample("mcc", one, other, resamples=2000).of_rows()
    monkeypatch.setattr(stats, "_CHUNK", 1)
    assert resample("mcc", one, other, resamples=2000).of_rows() == whole
    monkeypatch.setattr(stats, "MAX_DRAWS", 200 * 1500)
    assert resample("mcc", one, other, resamples=2000).of_rows().resamples == 1500
    monkeypatch.setattr(stats, "MAX_DRAWS", 0)
    assert resample("mcc", one, other, resamples=2000).of_rows().resamples == stats.MIN_RESAMPLES
