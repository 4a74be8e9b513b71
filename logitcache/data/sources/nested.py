"""Values below other values: columns of objects, and of lists of them, read by a path such as
``data.text``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from types import UnionType
from typing import Any

from logitcache.data.literals import object_in
from logitcache.data.sources.tables import Column, Table
from logitcache.data.values import are_all, distinct, has_any

LOOKED_AT = 1000  # rows that say what a column holds
SAMPLED = 20  # rows whose paths are named
DEEPEST = 8
PLAIN = (str, int, float, bool)


def listed_values(table: Table, name: str) -> list[Any]:
    """A column as Python's values."""
    column = table.columns[name]
    return first_values(column, len(column))


def first_values(column: Column, count: int) -> list[Any]:
    """The first values of a column; none of a column that is refused for bytes that are no text."""
    values = column[:count]
    if isinstance(values, list):
        return values
    try:
        return list(values.to_pylist())
    except UnicodeDecodeError:
        return []


def head_of(table: Table, count: int) -> Table:
    """The first rows of a table, as Python's values."""
    columns = {name: first_values(column, count) for name, column in table.columns.items()}
    return replace(table, columns=columns, lines=table.lines[:count])


def holds(table: Table, name: str, kind: type | UnionType) -> bool:
    """Whether there is a column that holds values of this kind, objects or lists, and nothing else
    but gaps.
    """
    if name not in table.columns:
        return False
    values = first_values(table.columns[name], LOOKED_AT)
    return are_all(values, kind | None) and has_any(values)


def with_paths(table: Table, names: Sequence[str]) -> Table:
    """The table with a column for each of these names that is a path to values of its rows."""
    columns = {}
    for name in names:
        if name in table.columns:
            continue
        keys = _keys(table, name)
        if not keys:
            continue
        values = [_below(_opened(value), keys[1:]) for value in listed_values(table, keys[0])]
        if has_any(values):
            columns[name] = values
    return table.with_columns(columns) if columns else table


def _keys(table: Table, name: str) -> list[str]:
    """The column and the keys below it that a path names; a column's own name may have points."""
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        column = ".".join(parts[:count])
        is_nested = holds(table, column, Mapping | list)
        if is_nested or _holds_objects(table, column):
            return [column, *parts[count:]]
    return []


def _holds_objects(table: Table, name: str) -> bool:
    """Whether there is a column of texts of which some write an object, as answers of language
    models do.
    """
    if not holds(table, name, str):
        return False
    return any(object_in(value or "") for value in first_values(table.columns[name], SAMPLED))


def _opened(value: Any) -> Any:
    return object_in(value) if isinstance(value, str) else value


def _below(value: Any, keys: Sequence[str]) -> Any:
    """What stands under some keys: of a list, that of its one element, or a list of them."""
    if isinstance(value, list):
        values = [_below(element, keys) for element in value]
        values = [element for element in values if element is not None]
        if len(values) > 1:
            return values
        return next(iter(values), None)
    if not keys:
        return value
    if not isinstance(value, Mapping):
        return None
    for count in range(1, len(keys) + 1):  # a key may have points, too
        key = ".".join(keys[:count])
        if key in value:
            return _below(value[key], keys[count:])
    return None


def paths(table: Table) -> list[str]:
    """The names of columns, and the paths to plain values where a column holds objects."""
    names: list[str] = []
    for name, column in table.columns.items():
        leaves = [_leaves(value, name, DEEPEST) for value in first_values(column, SAMPLED)]
        names += list(chain.from_iterable(leaves)) or [name]
    return distinct(names)


def paths_of(tables: Sequence[Table]) -> list[str]:
    """The names and paths of the columns that tables have, each once."""
    return distinct(path for table in tables for path in paths(table))


def _leaves(value: Any, path: str, depth: int) -> Iterator[str]:
    if isinstance(value, PLAIN) or _is_numbers(value):
        yield path
    elif isinstance(value, Mapping) and depth:
        for key, below in value.items():
            yield from _leaves(below, f"{path}.{key}", depth - 1)
    elif isinstance(value, list) and depth:
        for element in islice(value, SAMPLED):
            yield from _leaves(element, path, depth - 1)


def _is_numbers(value: Any) -> bool:
    """Whether an object holds several numbers and nothing else, as those of classes."""
    return (
        isinstance(value, Mapping)
        and len(value) > 1
        and are_all(value.values(), int | float | None)
    )
