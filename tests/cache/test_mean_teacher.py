"""Several caches of the same rows answer as the mean of their teachers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import logsumexp, softmax

from logitcache.cache.cache import Cache
from logitcache.cache.joined import mean_teacher
from logitcache.cache.joining import join
from logitcache.errors import SpecError
from logitcache.identity import check_rows
from tests.cache.split_caches import SETS, STARTS, hashes, make, take
from tests.fake_caches import plan as make_plan

FINITE = st.floats(-60, 0, width=32)
LOGITS = st.integers(2, 6).flatmap(
    lambda width: st.lists(arrays(np.float32, (3, width), elements=FINITE), min_size=2, max_size=4)
)


@given(LOGITS)
def test_the_mean_teacher_says_the_mean_of_the_probabilities(logits: list[np.ndarray]) -> None:
    mean = mean_teacher(logits)
    assert mean.dtype == np.float32
    assert (mean.max(1) == 0).all()
    log_p = [z - logsumexp(z, axis=1, keepdims=True) for z in np.stack(logits).astype(np.float64)]
    expected = logsumexp(log_p, axis=0, b=1 / len(logits))
    np.testing.assert_allclose(
        mean, expected - expected.max(1, keepdims=True), rtol=1e-5, atol=1e-5
    )
    probabilities = torch.stack([torch.from_numpy(z).double().softmax(1) for z in logits]).mean(0)
    np.testing.assert_allclose(softmax(mean.astype(np.float64), axis=1), probabilities, atol=1e-6)


@given(LOGITS)
def test_the_mean_of_equal_teachers_is_that_teacher(logits: list[np.ndarray]) -> None:
    one = logits[0] - logits[0].max(1, keepdims=True)
    for count in (1, 2, 3, 5):
        np.testing.assert_allclose(mean_teacher([one] * count), one, rtol=1e-6, atol=2e-5)


@given(LOGITS)
def test_the_mean_is_symmetric_and_blind_to_offsets(logits: list[np.ndarray]) -> None:
    mean = mean_teacher(logits)
    np.testing.assert_allclose(mean_teacher(logits[::-1]), mean, rtol=1e-6, atol=2e-5)
    moved = [z + np.float32(i - 3) for i, z in enumerate(logits)]
    np.testing.assert_allclose(mean_teacher(moved), mean, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("gap", [-65504.0, float(np.finfo(np.float32).min)])
def test_the_widest_gaps_stay_finite(gap: float) -> None:
    """A class that one teacher rules out keeps the other's share of it; one that both rule out
    stays ruled out.
    """
    first, second = (
        np.array([[0, gap, gap], [gap, 0, 0]], np.float32),
        np.array([[gap, 0, gap], [0, gap, gap]], np.float32),
    )
    with np.errstate(all="raise", under="ignore"):
        mean = mean_teacher([first, second])
    assert np.isfinite(mean).all()
    np.testing.assert_allclose(mean[0, :2], 0, atol=1e-6)
    assert mean[0, 2] < -60000
    np.testing.assert_allclose(mean[1], [0, -np.log(2), -np.log(2)], atol=1e-6)


def test_an_empty_batch_is_an_empty_mean() -> None:
    assert mean_teacher([np.empty((0, 3), np.float32)] * 2).shape == (0, 3)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=20))
def test_a_student_meets_the_mean_of_the_caches(
    split_caches: dict[str, list[Cache]], ids: list[int]
) -> None:
    joined = join(split_caches["train"][:2], {"train": 0}, "mean")
    rows = np.array(ids)
    answers = take(joined, rows)
    alone = [cache.take(rows) for cache in split_caches["train"][:2]]
    np.testing.assert_allclose(
        softmax(answers.logits, axis=1),
        np.mean([softmax(one.logits, axis=1) for one in alone], axis=0),
        atol=1e-6,
    )
    check_rows(rows, hashes("train", 10)[rows], answers.row_hash, "joined")


def test_one_cache_twice_is_refused(split_caches: dict[str, list[Cache]]) -> None:
    twice = [split_caches["train"][0]] * 2
    with pytest.raises(SpecError, match="found the same cache twice"):
        join(twice, {"train": 0}, "mean")


def test_what_is_averaged_in_one_part_is_averaged_in_all(tmp_path: Path) -> None:
    def by(weights: str, split: str) -> Cache:
        plan = make_plan(SETS[split])
        return make(tmp_path / weights, split, teacher={**plan.teacher, "weights": weights})

    train = [by("one", "train"), by("two", "train")]
    with pytest.raises(SpecError, match=r"the unlabelled rows lack the teacher of .*/two/"):
        join([*train, by("one", "unlabelled")], STARTS, "mean")
    join([*train, by("one", "unlabelled"), by("two", "unlabelled")], STARTS, "mean")
