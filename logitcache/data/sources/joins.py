"""Rows that are spread over two tables: texts in one, labels in the other, and a key in both. They
are not joined here; what is said is how to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from logitcache.data.sources.advice import read_by_pandas
from logitcache.data.sources.endings import ending
from logitcache.data.sources.hints import (
    NUMBERING,
    SENTENCE,
    is_called_as_labels,
    is_identifier,
    mean_size,
)
from logitcache.data.sources.nested import LOOKED_AT, first_values, listed_values
from logitcache.data.sources.reading import READERS, read_table
from logitcache.data.sources.tables import Table
from logitcache.errors import LogitCacheError

LARGEST = 1 << 26  # bytes that are read to find a key
_GUESSES = "submission"  # in the name of a file of made-up labels, as Kaggle gives one


def join_advice(files: Iterable[Path]) -> str:
    """How to join the first two of these files that have different columns and a key in common;
    empty where no two have.
    """
    tables = [table for table in map(_read, files) if table is not None]
    return next(filter(None, (_joined(*pair) for pair in combinations(tables, 2))), "")


def advice_beside(table: Table) -> str:
    """How to join a file's table with that of a file in the same folder; empty where none has a key
    in common with it, and for rows in memory.
    """
    if not isinstance(table.path, Path) or not read_by_pandas(table.path):
        return ""
    size = 0
    for path in sorted(table.path.parent.iterdir()):
        other = _read(path) if path != table.path and path.is_file() else None
        size += path.stat().st_size
        if size > LARGEST:
            return ""
        advice = "" if other is None else _joined(table, other)
        if advice:
            return advice
    return ""


def foreign_keys(table: Table, read: Sequence[str | None]) -> list[str]:
    """The columns that are not ``read``, called like identifiers, whose whole numbers stand in
    several rows: keys of another table.
    """
    names = [name for name in table.columns if name not in read and is_identifier(name)]
    values = {name: first_values(table.columns[name], LOOKED_AT) for name in names}
    return [name for name in names if not NUMBERING.fullmatch(name) and _repeat(values[name])]


def _repeat(values: Sequence[Any]) -> bool:
    are_numbers = all(type(v) is int or (isinstance(v, str) and v.isdecimal()) for v in values)
    return are_numbers and len(set(values)) < len(values)


def _read(path: Path) -> Table | None:
    """A file's table; None for one that is no table, is large, or cannot be read."""
    is_table = ending(path) in READERS and read_by_pandas(path)
    if not is_table or _GUESSES in path.name.lower() or path.stat().st_size > LARGEST:
        return None
    try:
        return read_table(path)
    except LogitCacheError:
        return None


def _joined(one: Table, two: Table) -> str:
    """How to join two tables; empty where they have no key in common, or labels both."""
    if all(any(map(is_called_as_labels, table.columns)) for table in (one, two)):
        return ""
    for rows, others in ((one, two), (two, one)):
        key = _shared_key(rows, others)
        if key is not None:
            return _command(Path(rows.path), Path(others.path), key)
    return ""


def _shared_key(rows: Table, others: Table) -> str | None:
    """The column that says which row of ``others`` belongs to each of ``rows``: both have it, and
    other columns of their own; there each value is once, and here most are among them.
    """
    shared = [name for name in rows.columns if name in others.columns]
    if len(shared) in (len(rows.columns), len(others.columns)):
        return None
    for name in shared:
        if NUMBERING.fullmatch(name) and not name.lower().endswith("id"):
            continue  # numbers of rows
        keys = list(map(str, listed_values(others, name)))
        values = set(map(str, listed_values(rows, name)))
        is_key = len(set(keys)) == len(keys) and mean_size(keys)[0] < SENTENCE
        if is_key and 2 * len(values & set(keys)) > len(values):
            return name
    return None


def _command(rows: Path, others: Path, key: str) -> str:
    """The command of pandas that joins the tables; a key is written alike in text and in JSON."""
    tables = ", ".join(
        f"{read_by_pandas(path)}.astype({{{key!r}: str}})" for path in (rows, others)
    )
    command = (
        f"import pandas; pandas.merge({tables}, 'left', {key!r}, validate='many_to_one')"
        ".to_json('OUT.jsonl', orient='records', lines=True)"
    )
    return (
        f"The column {key!r} says which row of {others.name} belongs to each of {rows.name}. "
        f'Join them first: python -c "{command}"'
    )
