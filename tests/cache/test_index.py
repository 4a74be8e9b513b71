"""Rows found by their hashes, against a search through the table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.cache.index import ABSENT, HashIndex, check_views, locate, lookup
from logitcache.errors import AlignmentError
from logitcache.records import Int64

HASHES = st.sampled_from([-(2**63), -5, 0, 1, 7, 2**40, 2**63 - 1])
COLUMN = st.lists(HASHES, max_size=12)


@dataclass(frozen=True)
class Table:
    row_hash: Int64
    unanswered: Int64
    where: str = "a table"

    def __len__(self) -> int:
        return len(self.row_hash)

    def row_hashes(self, row_id: Int64) -> Int64:
        return self.row_hash[row_id]

    @cached_property
    def index(self) -> HashIndex:
        return HashIndex(self.row_hash, self.unanswered)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    row_hash = draw(COLUMN)
    unanswered = draw(st.sets(st.integers(0, len(row_hash) - 1))) if row_hash else set()
    return Table(np.array(row_hash, np.int64), np.array(sorted(unanswered), np.int64))


def first_row(table: Table, text: int) -> int:
    rows = np.flatnonzero(table.row_hash == text).tolist()
    answered = [row for row in rows if row not in table.unanswered]
    return next(iter(answered or rows), ABSENT)


@given(tables(), COLUMN)
def test_the_first_answered_row_of_a_text_is_found(table: Table, texts: list[int]) -> None:
    found = table.index.find(np.array(texts, np.int64))
    assert found.tolist() == [first_row(table, text) for text in texts]


@given(tables(), st.lists(st.tuples(st.integers(-2, 14), HASHES), max_size=12))
def test_a_place_that_fits_goes_before_the_index(
    table: Table, asked: list[tuple[int, int]]
) -> None:
    row_id = np.array([row for row, _ in asked], np.int64)
    row_hash = np.array([text for _, text in asked], np.int64)
    fits = [0 <= row < len(table) and table.row_hash[row] == text for row, text in asked]
    expected = [
        row if fit else first_row(table, text) for fit, (row, text) in zip(fits, asked, strict=True)
    ]
    assert lookup(table, row_id, row_hash).tolist() == expected
    if all(fits):
        assert "index" not in vars(table)
    absent = [row for row, found in zip(row_id.tolist(), expected, strict=True) if found == ABSENT]
    if not absent:
        assert locate(table, row_id, row_hash, str).tolist() == expected
        return
    with pytest.raises(AlignmentError) as caught:
        locate(table, row_id, row_hash, lambda share: f"{share:.2f} are here.")
    message = str(caught.value)
    assert message.startswith(f"a table: row {absent[0]}: expected a text")
    share = 1 - len(absent) / len(asked)
    assert (
        f"{len(absent)} of {len(asked)} rows have no answer here. {share:.2f} are here." in message
    )


def test_views_outside_are_named() -> None:
    check_views("a cache", np.array([0, 1, 2]), 3)
    with pytest.raises(AlignmentError, match="a cache: expected views 0 to 2, found 3"):
        check_views("a cache", np.array([0, 3]), 3)
