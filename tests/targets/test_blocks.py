"""What is found in blocks of words is what a sort or a running sum of all words finds."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.targets import blocks
from logitcache.targets.blocks import interval_at, largest, likeliest, sums, word_at
from tests.shortly import examples

# few different numbers, so that many are equal
NUMBERS = st.lists(st.sampled_from([0.0, 0.25, 1.0, 3.0]), min_size=1, max_size=90)


in_blocks_of = pytest.mark.parametrize("size", [3, 64])


@in_blocks_of
@given(NUMBERS, st.integers(1, 12))
@settings(deadline=None, max_examples=examples(20, 60))
def test_the_largest(size: int, numbers: list[float], k: int) -> None:
    values = torch.tensor([numbers, numbers[::-1]])
    k = min(k, len(numbers))
    with patch.object(blocks, "BLOCK", size):
        top, words = largest(values, k)
        top_one, first = likeliest(values)
    assert top.equal(values.topk(k, dim=1).values)
    assert values.gather(1, words).equal(top)
    assert all(len(set(row)) == k for row in words.tolist())
    assert top_one.equal(top[:, :1])
    assert first[:, 0].tolist() == np.argmax(values.numpy(), axis=1).tolist()


@in_blocks_of
@given(NUMBERS, st.integers(0, 10_000))
@settings(deadline=None, max_examples=examples(20, 60))
def test_the_word_on_which_a_point_falls(size: int, numbers: list[float], seed: int) -> None:
    weights = torch.tensor([[*numbers, 1.0]])
    uniform = torch.rand(1, 20, generator=torch.Generator().manual_seed(seed))
    points = uniform.double() * float(weights.sum())
    with patch.object(blocks, "BLOCK", size):
        lengths = sums(weights)
        block, distance = interval_at(lengths, lengths.cumsum(1), points)
        words = word_at(weights, block, distance)
    expected = torch.searchsorted(weights.double().cumsum(1), points, right=True)
    assert words.equal(expected)
    assert (weights.gather(1, words) > 0).all()


def test_a_point_behind_the_last_word_falls_on_one_with_a_weight() -> None:
    weights = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    word = word_at(weights, torch.tensor([[0]]), torch.tensor([[1.0]], dtype=torch.float64))
    assert word.tolist() == [[1]]


def test_a_point_before_the_first_word_falls_on_one_with_a_weight() -> None:
    weights = torch.tensor([[0.0, 0.5, 0.5, 0.0]])
    word = word_at(weights, torch.tensor([[0]]), torch.tensor([[-1e-17]], dtype=torch.float64))
    assert word.tolist() == [[1]]
