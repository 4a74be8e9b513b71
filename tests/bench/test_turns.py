"""Measuring in turn: every case meets every place of a round, and an interval holds the median it
is given for.
"""

from __future__ import annotations

import numpy as np
import pytest

from logitcache.bench.turns import Ratio, Times, in_turn, ratio, ratio_of, rotated, spread


def test_each_round_begins_with_another_case_and_has_all_of_them() -> None:
    orders = list(rotated(["a", "b", "c"], 6))
    assert [order[0] for order in orders] == ["a", "b", "c", "a", "b", "c"]
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)


def test_blocks_are_counted_and_what_settles_is_not() -> None:
    calls: list[str] = []
    times = in_turn(
        {name: lambda name=name: calls.append(name) for name in "ab"}, rounds=3, repeats=4, settle=2
    )
    assert {name: [len(block) for block in blocks] for name, blocks in times.items()} == {
        "a": [4] * 3,
        "b": [4] * 3,
    }
    assert calls.count("a") == calls.count("b") == 1 + 3 * (2 + 4)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_whole_rounds_are_there_where_it_breaks_off(stop: type[BaseException]) -> None:
    calls: list[str] = []

    def last() -> None:
        calls.append("b")
        if len(calls) == 1 + 2 * 3 + 2:  # within the third round
            raise stop

    times: Times = {}
    with pytest.raises(stop):
        in_turn({"a": lambda: None, "b": last}, rounds=5, repeats=2, into=times)
    assert {name: [len(block) for block in blocks] for name, blocks in times.items()} == {
        "a": [2, 2],
        "b": [2, 2],
    }


def test_a_ratio_of_what_is_twice_as_slow_is_two_whatever_the_machine_does() -> None:
    drift = np.random.default_rng(0).uniform(0.5, 2, 11)
    found = ratio([[2 * d] * 3 for d in drift], [[d] * 3 for d in drift])
    assert (found.median, found.low, found.high, found.rounds) == (2.0, 2.0, 2.0, 11)


@pytest.mark.parametrize("rounds", [6, 9, 20])
def test_the_interval_holds_the_true_median_as_often_as_it_says(rounds: int) -> None:
    draw = np.random.default_rng(rounds)
    found = [ratio_of(draw.lognormal(0, 0.3, rounds).tolist()) for _ in range(2000)]
    held = np.mean([each.low <= 1 <= each.high for each in found])
    assert found[0].confidence >= 0.95
    assert held >= found[0].confidence - 0.015


def test_few_rounds_have_the_lowest_and_the_highest_and_say_how_sure_that_is() -> None:
    found = ratio_of([1.1, 0.9, 1.0])
    assert found == Ratio(1.0, 0.9, 1.1, 0.75, 3)
    assert ratio_of([1.0]).confidence == 0.0
    with pytest.raises(ValueError, match="at least one round"):
        ratio_of([])


def test_the_spread_is_of_all_repeats() -> None:
    assert spread([[1.0, 2.0], [3.0, 4.0, 5.0]]) == {"median": 3.0, "q1": 2.0, "q3": 4.0}
