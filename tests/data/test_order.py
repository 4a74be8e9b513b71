from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.data.order import (
    PADDING,
    counter_hash,
    filled_up,
    grouped_permutation,
    permutation,
    subset,
    token_batches,
    windowed_permutation,
)

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
def test_a_hash_depends_on_its_own_counter_alone(
    seed: int, purpose: str, counters: list[int]
) -> None:
    hashes = counter_hash(seed, purpose, np.array(counters, np.int64))
    alone = [int(counter_hash(seed, purpose, np.array([c]))[0]) for c in counters]
    assert hashes.dtype == np.uint64
    assert hashes.tolist() == alone


def test_bits_are_even() -> None:
    bits = np.unpackbits(counter_hash(3, "mask", np.arange(4096)).view(np.uint8)).reshape(4096, 64)
    # five standard deviations
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(4096)
    assert len(np.unique(counter_hash(3, "mask", np.arange(4096)))) == 4096


@given(st.integers(0, 300), SEEDS, st.integers(0, 50))
def test_a_permutation_is_one(n: int, seed: int, epoch: int) -> None:
    order = permutation(n, seed, epoch)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))
    assert order.tolist() == permutation(n, seed, epoch).tolist()


def test_epochs_and_seeds_differ() -> None:
    orders = {
        tuple(permutation(50, seed, epoch).tolist()) for seed in range(8) for epoch in range(8)
    }
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
def test_batches_hold_each_row_once_within_the_budget_longest_first(
    lengths: list[int], budget: int
) -> None:
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


HUNDRED = (
    "150 536 41 220 699 780 893 729 719 382 835 577 834 882 283 83 504 527 972 500 52 831 976 31 902 773 845 852 "
    "329 763 641 721 646 871 607 590 321 526 561 258 131 246 395 654 762 639 136 473 211 18 27 96 410 334 716 653 "
    "244 810 509 124 826 552 362 450 69 191 842 120 836 460 777 989 611 160 417 995 713 13 623 55 513 421 968 198 "
    "373 691 739 154 216 487 241 770 688 68 817 735 900 407 905 204"
)
GROUPED = (
    "416 934 379 860 749 823 786 638 268 601 897 9 526 859 489 119 711 82 267 341 8 415 933 156 834 871 131 57 94 "
    "205 390 945 760 242 575 501 316 723 279 612 464 538 982 353 649 168 686 20 382 641 826 160 900 715 752 419 "
    "456 234 197 567 123 493 49 12 863 271 86 604 789 345 974 308 617 247 876 913 25 99 839 543 469 62 987 728 "
    "283 246 653 98 61 875 579 505 838 616 394 468 258 739 554 924"
)


def test_the_first_hundred_rows_never_change() -> None:
    """They are the same on any number of ranks: tests/student/test_ranks.py."""
    assert permutation(1003, seed=0, epoch=0)[:100].tolist() == list(map(int, HUNDRED.split()))
    grouped = grouped_permutation(np.arange(1003) % 37, 24, seed=0, epoch=0)
    assert grouped[:100].tolist() == list(map(int, GROUPED.split()))


def test_windowed_orders_never_change() -> None:
    found = windowed_permutation(40, 4, seed=0, epoch=0).tolist()
    assert found[:16] == [27, 0, 39, 33, 38, 2, 37, 36, 32, 34, 26, 25, 35, 3, 24, 1]
    assert found[16:] == [
        18,
        13,
        4,
        14,
        19,
        16,
        8,
        10,
        12,
        17,
        15,
        11,
        7,
        6,
        9,
        5,
        31,
        30,
        23,
        28,
        22,
        21,
        20,
        29,
    ]
    assert windowed_permutation(10, 3, seed=0, epoch=1, windows_together=2).tolist() == [
        7,
        5,
        4,
        8,
        3,
        6,
        1,
        9,
        0,
        2,
    ]


@given(st.integers(0, 300), st.integers(1, 40), SEEDS, st.integers(0, 9), st.integers(1, 6))
def test_a_windowed_permutation_needs_few_windows_at_a_time(
    n: int, window: int, seed: int, epoch: int, together: int
) -> None:
    order = windowed_permutation(n, window, seed, epoch, together)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))
    first = {place: at for at, place in reversed(list(enumerate((order // window).tolist())))}
    turns = sorted(first, key=lambda place: first[place])  # windows, as they come
    groups = [turns[i : i + together] for i in range(0, len(turns), together)]
    expected = [
        sorted(row for w in group for row in range(w * window, min(n, (w + 1) * window)))
        for group in groups
    ]
    ends = np.cumsum([len(rows) for rows in expected]).tolist()
    assert [
        sorted(order[end - len(rows) : end].tolist())
        for end, rows in zip(ends, expected, strict=True)
    ] == expected
    assert order.tolist() == windowed_permutation(n, window, seed, epoch, together).tolist()


def test_windows_and_rows_are_shuffled_anew_each_epoch_and_seed() -> None:
    orders = [windowed_permutation(64, 4, seed, epoch) for seed in range(4) for epoch in range(4)]
    assert len({tuple(order.tolist()) for order in orders}) == 16
    assert len({tuple((order[:16] // 4).tolist()) for order in orders}) == 16


@given(st.integers(0, 300), st.integers(1, 40), st.integers(1, 9), SEEDS)
def test_rows_of_like_length_within_windows(n: int, window: int, batch: int, seed: int) -> None:
    lengths = counter_hash(seed, "lengths", np.arange(n)).astype(np.int64) % 50
    order = grouped_permutation(lengths, batch, seed, 0, window)
    assert sorted(order.tolist()) == list(range(n))
    plain = windowed_permutation(n, window, seed, 0)
    reach = 8 * window + batch  # within its cut twice: in the order of lengths, then with its batch
    place = np.argsort(plain)
    assert (np.abs(place[order] - np.arange(n)) <= reach).all()


@given(st.integers(0, 100), st.integers(1, 40))
def test_an_order_is_filled_up_behind_its_end(n: int, multiple: int) -> None:
    order = filled_up(permutation(n, 0, 0), multiple)
    assert order.dtype == np.int64
    assert len(order) % multiple == 0
    assert n <= len(order) < n + multiple
    assert order.tolist() == permutation(n, 0, 0).tolist() + [PADDING] * (len(order) - n)
