"""Columns that gold labels contradict: how a better order is found, and how often one is found by
chance.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.teacher.gold import CHECKED_ROWS, MAX_CLASSES, better_order, spread


@given(st.integers(2, 12), st.floats(0, 0.25), st.integers(0, 2**32 - 1))
def test_a_permuted_teacher_is_found_out(classes: int, wrong: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    gold = np.arange(CHECKED_ROWS) % classes
    columns = np.roll(np.arange(classes), 1)
    answers = np.where(
        draw.random(len(gold)) < wrong, draw.integers(0, classes, len(gold)), columns[gold]
    )
    order = better_order(gold, answers, classes)
    assert order is not None
    assert order.tolist() == columns.tolist()


@pytest.mark.parametrize("classes", [3, 5, 20])
def test_two_columns_that_changed_places_are_found_out(classes: int) -> None:
    gold = np.arange(CHECKED_ROWS) % classes
    columns = np.array([1, 0, *range(2, classes)])
    order = better_order(gold, columns[gold], classes)
    found = None if order is None else order.tolist()
    # of 20 classes, 14 rows are too few to tell
    assert found == (columns.tolist() if classes < 20 else None)


@pytest.mark.parametrize(("rows", "found"), [(18, False), (22, True), (60, True)])
def test_few_rows_prove_nothing(rows: int, found: bool) -> None:
    gold = np.arange(rows) % 2
    assert (better_order(gold, 1 - gold, 2) is not None) is found


@given(st.integers(2, 30), st.integers(1, CHECKED_ROWS), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_a_teacher_that_is_right_or_guesses_is_left_alone(
    classes: int, rows: int, right: float, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    gold = draw.integers(0, classes, rows)
    answers = np.where(draw.random(rows) < right, gold, draw.integers(0, classes, rows))
    assert better_order(gold, answers, classes) is None
    assert better_order(gold, np.zeros(rows, np.int64), classes) is None


def test_nothing_to_compare() -> None:
    none = np.empty(0, np.int64)
    assert better_order(none, none, 2) is None
    assert better_order(np.arange(50), np.arange(50), MAX_CLASSES + 1) is None


@given(st.lists(st.integers(-1, 4), max_size=300), st.integers(1, 128))
def test_rows_are_taken_evenly_over_classes(values: list[int], count: int) -> None:
    label = np.array(values, np.int64)
    places = spread(label, count)
    labelled = int((label >= 0).sum())
    assert len(places) == len(set(places.tolist())) == min(count, labelled)
    assert (label[places] >= 0).all()
    taken = np.bincount(label[places], minlength=5)
    present = np.bincount(label[label >= 0], minlength=5)
    short = taken < present
    assert not short.any() or taken[short].min() >= taken.max() - 1
