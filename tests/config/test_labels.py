"""Class names by option: in order, or by their numbers."""

from __future__ import annotations

from typing import Any

import pytest

from logitcache.config.data import Columns
from logitcache.config.option import build
from logitcache.errors import SpecError


@pytest.mark.parametrize(
    "value",
    [
        ["neg", "pos"],
        "neg,pos",
        '["neg", "pos"]',
        {0: "neg", 1: "pos"},
        {1: "pos", 0: "neg"},
        {"1": "pos", "0": "neg"},
        {"pos": 1, "neg": 0},
        '{"pos": 1, "neg": 0}',
        '{"1": "pos", "0": "neg"}',
    ],
)
def test_names_have_the_numbers_that_somebody_gave_them(value: Any) -> None:
    assert build(Columns, {"labels": value}).label_names == ("neg", "pos")


@pytest.mark.parametrize(
    "value",
    [
        {"neg", "pos"},  # in no order
        {0: "neg", 2: "pos"},
        {"neg": 1, "pos": 2},
        {"neg": "bad", "pos": "good"},
        {"neg": 0, "pos": 0},
        '{"neg": 0, ',
        [0, 1],
        3,
    ],
)
def test_names_without_an_order_are_refused(value: Any) -> None:
    with pytest.raises(SpecError, match="names in label order, or the number of each name, from 0"):
        build(Columns, {"labels": value})
