"""Figures as people read them: no digit and no certainty that was not measured."""

from __future__ import annotations

import pytest

from logitcache.bench.turns import Ratio
from logitcache.report import words


@pytest.mark.parametrize(
    ("ratios", "text"),
    [
        ([], ""),
        ([Ratio(1, 1, 1, 0.97, 6)], ""),  # compared with itself
        ([Ratio(2, 1, 3, 0.0, 0)], ""),  # of an older document
        (
            [Ratio(2, 1, 3, 0.96875, 6)],
            "hold the true median with 96 % confidence at least (6 rounds)",
        ),
        ([Ratio(2, 2, 2, 0.0, 1)], "hold nothing: one round was measured"),
        (
            [Ratio(2, 2, 2, 0.0, 1), Ratio(2, 1, 3, 0.5, 2)],
            "hold the true median with 50 % confidence at least (2 rounds), and nothing where one round was measured",
        ),
    ],
)
def test_what_intervals_hold_is_never_more_than_was_measured(
    ratios: list[Ratio], text: str
) -> None:
    assert words.held(ratios) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        ((1.0, 1.0, 1.0), "1"),
        ((1.006, 0.942, 1.168), "1.01 [0.94, 1.17]"),
        ((1.0062, 1.0031, 1.009), "1.006 [1.003, 1.009]"),
        ((21.04, 20.2, 22.7), "21.0 [20.2, 22.7]"),
        ((1403.0, 1391.0, 1420.0), "1,403 [1,391, 1,420]"),
    ],
)
def test_a_ratio_has_the_digits_its_interval_is_worth(
    ratio: tuple[float, float, float], text: str
) -> None:
    assert words.ratio_text(Ratio(*ratio, 0.95, 9)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (27e-6, "27.0 µs"),
        (0.0682, "68.2 ms"),
        (3.34, "3.34 s"),
        (5400.0, "5,400 s"),
        (9036.0, "2.51 h"),
        (0.0, "0 s"),
    ],
)
def test_a_time_has_the_unit_that_fits_it(value: float, text: str) -> None:
    assert words.time_text(value).replace("\N{NO-BREAK SPACE}", " ") == text
