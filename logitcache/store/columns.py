"""Columns of fixed width, in tables that may be ragged: all a store knows of what it keeps.

A column belongs to a *level*. ``row`` has one record for each row and view. Any other level hangs
below another: a record of ``logits`` belongs to one of ``row``, a record of ``logits.entry`` to one
of ``logits``. Which ones belong together is told by a column of *ends* above them: the records of
level ``logits`` below the r-th record of ``row`` are those from ``logits_end[r - 1]`` (0 for the
first) to ``logits_end[r]``, counted within the shard.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from logitcache.errors import FormatError
from logitcache.records import Array
from logitcache.store.fields import has_fields

DTYPES = ("float16", "float32", "int64", "int32", "uint16", "uint8")
ROW = "row"
TOKENS = "tokens"  # the level of inputs, where a cache holds its rows: none of vectors
LEVEL = re.compile(r"[a-z][a-z0-9_]{0,31}(\.[a-z][a-z0-9_]{0,31}){0,2}")
NAME = re.compile(r"[a-z][a-z0-9_]{0,127}")
MAX_COLUMNS = 64
MAX_WIDTH = 2**24


@dataclass(frozen=True)
class Column:
    """``width`` values of ``dtype`` per record; a width of 0 is a bare value."""

    name: str
    dtype: str
    width: int = 0
    level: str = ROW

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Column:
        """Raises FormatError for a name, dtype, width or level that a cache cannot have."""
        valid = (
            has_fields(value, cls)
            and NAME.fullmatch(value["name"])
            and LEVEL.fullmatch(value["level"])
            and value["dtype"] in DTYPES
            and 0 <= value["width"] < MAX_WIDTH
        )
        if not valid:
            raise FormatError(
                f"column: expected a name, a dtype among {', '.join(DTYPES)}, a width and a level, "
                f"found {str(dict(value))[:200]}."
            )
        return cls(**value)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def record_bytes(self) -> int:
        return np.dtype(self.dtype).itemsize * max(1, self.width)

    def shape(self, records: int) -> tuple[int, ...]:
        return (records, self.width) if self.width else (records,)


def above(level: str) -> str:
    """The level above this one, to whose records its records belong."""
    return level.rpartition(".")[0] or ROW


def ends(level: str) -> Column:
    """The column that says where each record's part of a level below it ends."""
    return Column(f"{level.replace('.', '_')}_end", "int64", 0, above(level))


def levels(columns: Sequence[Column]) -> dict[str, tuple[Column, ...]]:
    """The columns of each level, ``row`` first, every level after the one it hangs below. Raises
    FormatError where a name is used twice, or the level above another is missing.
    """
    names = {column.name for column in columns}
    if not 1 <= len(columns) <= MAX_COLUMNS or len(names) < len(columns):
        raise FormatError(
            f"columns: expected 1 to {MAX_COLUMNS} of different names, found {len(columns)}."
        )
    members: dict[str, tuple[Column, ...]] = {}
    for column in sorted(columns, key=lambda column: (column.level != ROW, column.level)):
        members[column.level] = (*members.get(column.level, ()), column)
    for level in members:
        if level != ROW and (above(level) not in members or ends(level) not in columns):
            raise FormatError(
                f"columns: expected {ends(level).name} above the level {level}, found none."
            )
    if ROW not in members:
        raise FormatError(f"columns: expected some of the level {ROW}, found none.")
    return members


def check_arrays(columns: Sequence[Column], arrays: Mapping[str, Array]) -> dict[str, int]:
    """The number of records of each level. Asserts that arrays fit the columns and ends."""
    assert set(arrays) == {column.name for column in columns}, (columns, list(arrays))
    records = {}
    for level, members in levels(columns).items():
        records[level] = len(arrays[members[0].name])
    for column in columns:
        array = arrays[column.name]
        expected = column.shape(records[column.level])
        assert array.dtype == column.dtype and array.shape == expected, (
            column,
            array.dtype,
            array.shape,
        )
    for level, count in records.items():
        assert level == ROW or are_ends(arrays[ends(level).name], count), (level, count)
    return records


def are_ends(end: Array, records: int) -> bool:
    """Whether a column of ends i64[n] rises from 0 or more to the number of records below."""
    last = int(end[-1]) if len(end) else 0
    never_falls = (end >= 0).all() and (end[1:] >= end[:-1]).all()
    return last == records and bool(never_falls)
