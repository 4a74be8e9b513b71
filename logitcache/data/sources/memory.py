"""Rows that somebody has in memory: columns, tables of pandas or arrow, data sets of the
``datasets`` library.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from logitcache.data.sources import datasets
from logitcache.data.sources.datasets import Opener
from logitcache.data.sources.tables import Table, arrow_table, check_once
from logitcache.data.values import are_all
from logitcache.errors import SpecError

WHERE = "data in memory"
UNNAMED = "memory"  # what a source is called that nobody named


def tables(data: Any) -> dict[str | None, Opener]:
    """The tables by split, as they are called there; None for a single one that has no name.

    Raises SpecError for what is no table, where it is or among the splits.
    """
    if datasets.is_dataset(data):
        return datasets.tables(data, WHERE)
    splits = isinstance(data, Mapping) and (
        any(map(_is_table, data.values()))
        or (len(data) > 0 and all(map(_is_records, data.values())))
    )
    if not splits and (_is_table(data) or _is_records(data)):
        return {None: partial(_table, data, WHERE)}
    if not splits:
        raise _no_table(data, WHERE)
    return {
        str(split): partial(_table, part, f"{WHERE}, split {split}") for split, part in data.items()
    }


def _is_table(value: Any) -> bool:
    return (
        isinstance(value, Mapping | pa.Table)
        or _is_frame(value)
        or datasets.is_dataset(value)
        or _is_arrow(value)
    )


def _is_arrow(value: Any) -> bool:
    """Whether it is a table that hands out its columns as an arrow stream, as those of polars,
    duckdb and others do. A single column has a stream too, but neither columns nor a schema.
    """
    return hasattr(value, "__arrow_c_stream__") and (
        hasattr(value, "columns") or hasattr(value, "schema")
    )


def _is_records(value: Any) -> bool:
    """Whether it is rows one by one: a list of mappings from column to value."""
    return isinstance(value, list | tuple) and len(value) > 0 and are_all(value, Mapping)


def _is_frame(value: Any) -> bool:
    pandas = sys.modules.get("pandas")  # what was made with it has loaded it
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _no_table(value: Any, where: str) -> SpecError:
    return SpecError(
        "expected columns ({'text': [...], 'label': [...]}), a list of rows ([{'text': ..., 'label': ...}]), a pandas "
        "or polars DataFrame, an arrow Table or a datasets.Dataset, or such by split ({'train': ..., 'dev': ...}), "
        "found "
        f"{type(value).__name__}. Make it one of these.",
        where=where,
    )


def _table(value: Any, where: str) -> Table:
    if datasets.is_dataset(value):
        return datasets.table(value, where)
    if isinstance(value, pa.Table):
        return arrow_table(where, value, {})
    if _is_arrow(value) and not _is_frame(value):
        return arrow_table(where, pa.table(value), {})
    if _is_records(value):
        names = dict.fromkeys(name for row in value for name in row)
        value = {name: [row.get(name) for row in value] for name in names}
    if not _is_table(value):
        raise _no_table(value, where)
    check_once(list(map(str, value)), where)
    columns = {str(name): _column(str(name), column, where) for name, column in value.items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise SpecError(
            f"expected columns of one length, found {listed}. Give each row every column.",
            where=where,
        )
    return Table(where, columns, range(max(lengths.values(), default=0)), typed=True, unit="row")


def _column(name: str, values: Any, where: str) -> list[Any]:
    """The values as Python has them, by their place; what pandas calls missing is None."""
    if hasattr(values, "notna"):  # a Series, whose index is not looked at
        # integers with a gap became floats
        if values.hasnans:
            types = values.convert_dtypes()
        else:
            types = values
        values = list(types.astype(object))
    if isinstance(values, pa.Array | pa.ChunkedArray):
        values = values.to_pylist()
    if hasattr(values, "tolist"):  # arrays of numpy and torch
        values = values.tolist()
    if not isinstance(values, list | tuple):
        raise SpecError(
            f"column {name!r}: expected a list or an array of one value a row, found {type(values).__name__}. "
            "Make it a list.",
            where=where,
        )
    missing = _missing_values()
    return [_plain(value, missing) for value in values]


def _missing_values() -> tuple[Any, ...]:
    """What stands for a missing value in pandas, besides NaN; without loading it where nobody did."""
    pandas = sys.modules.get("pandas")
    return () if pandas is None else (pandas.NA, pandas.NaT)


def _plain(value: Any, missing: tuple[Any, ...]) -> Any:
    """A value of numpy as Python's own; a missing one as None."""
    if type(value) in (str, int):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if any(value is null for null in missing) or (type(value) is float and value != value):
        return None
    return value
