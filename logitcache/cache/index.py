"""An index of rows by the hash of their text, for rows whose place holds another text.

A row's own place is tried first, which costs one comparison of two columns. Only the rows that do
not fit there are looked up in a sorted index, which is built for the first such row: one sort of
the table's hashes, 16 bytes a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from logitcache.errors import AlignmentError
from logitcache.records import Int64

FAIR_SHARE = 0.5  # of some texts: with fewer in it, a cache is of other rows
ABSENT = -1


class HashIndex:
    """Rows by their hash. Of equal texts the first row is found, answered before unanswered."""

    def __init__(self, row_hash: Int64, unanswered: Int64) -> None:
        """``row_hash`` i64[N] of all rows in order; ``unanswered`` i64[n], those without answer."""
        if len(unanswered):
            is_unanswered = np.zeros(len(row_hash), bool)
            is_unanswered[unanswered] = True
            order = np.lexsort((is_unanswered, row_hash))
        else:
            order = np.argsort(row_hash, kind="stable")
        self.row_id: Int64 = order.astype(np.int64, copy=False)
        self.row_hash: Int64 = row_hash[order]

    def find(self, row_hash: Int64) -> Int64:
        """The row of each text, or ABSENT: i64[n]. Texts are looked up in the order of their
        hashes, because a random order would miss the processor's caches.
        """
        rows = np.full(len(row_hash), ABSENT)
        if not len(self.row_hash):
            return rows
        order = np.argsort(row_hash)
        ordered = row_hash[order]
        nearest = np.minimum(np.searchsorted(self.row_hash, ordered), len(self.row_hash) - 1)
        rows[order] = np.where(self.row_hash[nearest] == ordered, self.row_id[nearest], ABSENT)
        return rows


class Table(Protocol):
    """A table of rows that a teacher answers."""

    @property
    def where(self) -> str:
        """What messages call it."""

    def __len__(self) -> int: ...

    def row_hashes(self, row_id: Int64) -> Int64:
        """The hash of each of these rows: i64[n]."""

    @property
    def index(self) -> HashIndex:
        """All rows by their hash, built when it is first needed."""


def lookup(table: Table, row_id: Int64, row_hash: Int64) -> Int64:
    """The row of the table that has each text, or ABSENT: i64[n]. That is the row of the same
    number where it has the text, else the first that has it.
    """
    is_inside = (row_id >= 0) & (row_id < len(table))
    fits = is_inside.copy()
    fits[is_inside] = table.row_hashes(row_id[is_inside]) == row_hash[is_inside]
    if fits.all():
        return row_id
    rows = row_id.copy()
    rows[~fits] = table.index.find(row_hash[~fits])
    return rows


def locate(
    table: Table, row_id: Int64, row_hash: Int64, advice_of: Callable[[float], str]
) -> Int64:
    """:func:`lookup` of texts that are all in the table. Raises AlignmentError naming the first row
    whose text is not, and how many there are; ``advice_of`` makes its advice of the share of the
    texts that are there.
    """
    rows = lookup(table, row_id, row_hash)
    absent = np.flatnonzero(rows == ABSENT)
    if len(absent):
        first = absent[0]
        raise AlignmentError(
            f"row {row_id[first]}: expected a text that the teacher has answered, found another (hash "
            f"{int(row_hash[first]) % 2**64:016x}); {len(absent):,} of {len(row_id):,} rows have no answer here.",
            advice=advice_of(1 - len(absent) / len(row_id)),
            where=table.where,
        )
    return rows


def is_worth_reuse(teacher: Mapping[str, Any], share: float) -> bool:
    """Whether ``dump --reuse`` is advised of a cache that has this share of some texts: few may be
    there by chance, and a ``teacher``, as its plan records it, that is a column cannot be asked.
    """
    return share >= FAIR_SHARE and "answers" not in teacher


def advice_over_texts(where: object, teacher: Mapping[str, Any], share: float) -> str:
    """What to do about texts that the cache at ``where`` lacks, where it has this share of them."""
    if not is_worth_reuse(teacher, share):
        return "Name the cache of this data, or make one: logitcache dump --teacher TEACHER --data DATA."
    reuse = f"logitcache dump --reuse {where}"
    return f"Ask about these alone: {reuse}, with the same teacher and settings and a new --out."


def check_views(where: str, view: Int64 | int, views: int) -> None:
    """Raises AlignmentError for a view outside 0 to ``views`` - 1."""
    outside = np.atleast_1d(view)
    outside = outside[(outside < 0) | (outside >= views)]
    if len(outside):
        raise AlignmentError(
            expected=f"views 0 to {views - 1}",
            found=outside[0],
            advice="Take these, or dump the others.",
            where=where,
        )
