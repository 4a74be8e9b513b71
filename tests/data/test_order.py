from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.data.order import counter_hash, permutation, subset, token_batches

SEEDS = st.integers(-(2**40), 2**40)
LENGTHS = st.lists(st.integers(0, 60), max_size=60)


def test_counter_hash_never_changes() -> None:
    assert counter_hash(0, "order/0", np.arange(4)).tolist() == [
        2496994421104494204,
        17194179261395369790,
        6434690045785697917,
        15204941000479011091,
    ]
    assert counter_hash(7, "subset", np.array([0, 1, 2**40])).tolist() == [
        14942735909311775309,
        5995364136877950794,
        16876182733428436273,
    ]


def test_orders_never_change() -> None:
    assert permutation(10, seed=0, epoch=0).tolist() == [0, 4, 8, 2, 7, 6, 3, 9, 5, 1]
    assert permutation(10, seed=0, epoch=1).tolist() == [1, 7, 9, 5, 4, 8, 0, 3, 6, 2]
    assert permutation(10, seed=1, epoch=0).tolist() == [2, 9, 4, 6, 1, 8, 5, 0, 7, 3]
    assert subset(20, 8).tolist() == [3, 4, 6, 11, 12, 13, 16, 19]
    assert subset(20, 8, seed=3).tolist() == [1, 4, 7, 8, 9, 10, 12, 19]


@given(SEEDS, st.text(max_size=10), st.lists(st.integers(0, 2**62), max_size=20))
def test_a_hash_depends_on_its_own_counter_alone(seed: int, purpose: str, counters: list[int]) -> None:
    hashes = counter_hash(seed, purpose, np.array(counters, np.int64))
    alone = [int(counter_hash(seed, purpose, np.array([c]))[0]) for c in counters]
    assert hashes.dtype == np.uint64
    assert hashes.tolist() == alone


def test_bits_are_even() -> None:
    bits = np.unpackbits(counter_hash(3, "mask", np.arange(4096)).view(np.uint8)).reshape(4096, 64)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(4096)  # five standard deviations
    assert len(np.unique(counter_hash(3, "mask", np.arange(4096)))) == 4096


@given(st.integers(0, 300), SEEDS, st.integers(0, 50))
def test_a_permutation_is_one(n: int, seed: int, epoch: int) -> None:
    order = permutation(n, seed, epoch)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))
    assert order.tolist() == permutation(n, seed, epoch).tolist()


def test_epochs_and_seeds_differ() -> None:
    orders = {tuple(permutation(50, seed, epoch).tolist()) for seed in range(8) for epoch in range(8)}
    assert len(orders) == 64
    assert tuple(range(50)) not in orders


@given(st.integers(0, 200), st.integers(0, 250), st.integers(0, 250), SEEDS)
def test_a_smaller_subset_lies_inside_a_larger(n: int, a: int, b: int, seed: int) -> None:
    small, large = (subset(n, size, seed) for size in sorted((a, b)))
    assert set(small.tolist()) <= set(large.tolist())
    for size, drawn in zip(sorted((a, b)), (small, large), strict=True):
        assert len(drawn) == min(size, n)
        assert (np.diff(drawn) > 0).all()
        assert set(drawn.tolist()) <= set(range(n))


@given(LENGTHS, st.integers(1, 200))
def test_batches_hold_each_row_once_within_the_budget_longest_first(lengths: list[int], budget: int) -> None:
    array = np.array(lengths, np.int64)
    batches = token_batches(array, budget)
    places = [place for batch in batches for place in batch.tolist()]
    assert sorted(places) == list(range(len(lengths)))
    assert places == sorted(places, key=lambda place: (-lengths[place], place))
    for batch in batches:
        assert batch.dtype == np.int64
        assert len(batch) == 1 or len(batch) * array[batch].max() <= budget


@given(LENGTHS, st.integers(1, 200))
def test_no_batch_could_take_the_next_row(lengths: list[int], budget: int) -> None:
    batches = token_batches(np.array(lengths, np.int64), budget)
    for batch in batches[:-1]:
        assert (len(batch) + 1) * max(1, lengths[batch[0]]) > budget


def test_batches_depend_on_lengths_only() -> None:
    lengths = np.array([5, 1, 9, 5, 2])
    for _ in range(2):
        assert [b.tolist() for b in token_batches(lengths, 10)] == [[2], [0, 3], [4, 1]]
    assert lengths.tolist() == [5, 1, 9, 5, 2]


@pytest.mark.parametrize("budget", [1, 10])
def test_no_rows_no_batches(budget: int) -> None:
    assert token_batches(np.zeros(0, np.int64), budget) == []
