"""Columns that say which split each row belongs to: how their values are read, and which columns
look like one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from logitcache.data.names import LISTED, listed
from logitcache.data.sources.endings import split_called
from logitcache.data.sources.nested import PLAIN, head_of, listed_values, paths, with_paths
from logitcache.data.sources.tables import Table
from logitcache.data.values import are_all, distinct
from logitcache.errors import SpecError, short
from logitcache.records import Int64

SAMPLED = 200  # rows that must look like splits before a whole column is read
MOST_VALUES = 8  # of a column of splits: more are no splits
# is_valid, training: a column that is called valid may be anything
_ASKING = re.compile(r"(is|in)[_ ]?[a-z]+|train(ing)?|test(ing)?|dev", re.IGNORECASE)
_YES = {"true", "1", "1.0", "yes"}
_BOOLEANS = {*_YES, "false", "0", "0.0", "no"}


def splits_by_value(name: str, values: Sequence[Any]) -> dict[Any, str | None]:
    """The split of each of these values of a column; None for a value that names none.

    Of yes and no, yes is the split that the column's own name names, and no is train (test where
    the name is train): ``is_valid``, as fastai writes it.
    """
    splits: dict[Any, str | None] = dict.fromkeys(values)
    texts = {value: _text(value) for value in values if not _is_missing(value)}
    split_of_column = split_called(name.rpartition(".")[2])
    if split_of_column is not None and _BOOLEANS.issuperset(texts.values()):
        other = "test" if split_of_column == "train" else "train"
        for value, text in texts.items():
            splits[value] = split_of_column if text in _YES else other
        return splits
    for value in texts:
        splits[value] = split_called(str(value))
    if "dev" not in splits.values():  # SemEval calls it so
        splits |= {value: "dev" for value, text in texts.items() if text == "trial"}
    return splits


def _text(value: Any) -> str:
    return str(value).strip().lower()


@dataclass(frozen=True)
class SplitsOfColumn:
    """The rows of a table by the split that a column names for them."""

    column: str
    rows: dict[str, Int64]  # places in the table, ascending, of each split
    unnamed: int  # rows of no split
    first_unnamed: str  # the place of the first of them, and what stands there


def rows_by_split(tables: Sequence[Table], column: str) -> SplitsOfColumn:
    """The rows of the one table by the splits that a column names.

    Raises SpecError: several tables, which are splits already, or a column that names no rows to
    train on.
    """
    table = tables[0]
    if len(tables) > 1:
        raise SpecError(
            expected="one table, which --split-column divides",
            found=f"{len(tables)}, each of which is a split",
            advice="Leave --split-column out, or give one file.",
            where=table.path,
        )
    values = listed_values(table, column)
    plain = [value if isinstance(value, PLAIN) else None for value in values]
    splits = splits_by_value(column, distinct(plain))
    rows: dict[str, list[int]] = {}
    unnamed = []
    for row, value in enumerate(plain):
        split = splits[value]
        if split is None:
            unnamed.append(row)
        else:
            rows.setdefault(split, []).append(row)
    if "train" not in rows or len(rows) < 2:
        written = [short(repr(value)) for value in splits if not _is_missing(value)]
        raise SpecError(
            f"column {column!r}: expected names of splits, train and dev (valid, validation) or test, found "
            f"{listed(written, LISTED) or 'nothing'}. Name another column with --split-column, or leave it out.",
            where=table.path,
        )
    first = ""
    if unnamed:
        first = f"{table.place(unnamed[0])}, {short(repr(values[unnamed[0]]))}"
    arrays = {}
    for split in ("train", "dev", "test", *rows):
        if split in rows:
            arrays[split] = np.array(rows[split], np.int64)
    return SplitsOfColumn(column, arrays, len(unnamed), first)


def split_column(table: Table, read: Sequence[str | None]) -> tuple[str, list[str]] | None:
    """The first column or path that is not ``read`` and says which split each row belongs to, and
    its values; None where no column does.
    """
    head = head_of(table, SAMPLED)
    for name in paths(head):
        if name in read or not _is_of_splits(name, _distinct(head, name), least=1):
            continue
        values = _distinct(table, name)
        if _is_of_splits(name, values, least=2):
            return name, sorted({str(value) for value in values if not _is_missing(value)})
    return None


def _is_of_splits(name: str, values: Sequence[Any], least: int) -> bool:
    """Whether these are values of a column of splits: most of them name one, and so many do."""
    present = [value for value in values if not _is_missing(value)]
    if len(present) > MOST_VALUES:
        return False
    if _BOOLEANS.issuperset(map(_text, present)) and not _ASKING.fullmatch(name.rpartition(".")[2]):
        return False
    splits = list(splits_by_value(name, present).values())
    recognised = set(splits) - {None}
    has_train = least == 1 or "train" in recognised
    is_most = 2 * splits.count(None) <= len(splits)
    return len(recognised) >= least and has_train and is_most


def _distinct(table: Table, name: str) -> list[Any]:
    """The different values of a column or path; none where some are not plain."""
    table = with_paths(table, [name])
    values = listed_values(table, name) if name in table.columns else []
    return distinct(values) if are_all(values, str | int | float | None) else []


def _is_missing(value: Any) -> bool:
    return value is None or value != value or value == ""
