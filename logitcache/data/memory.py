"""Rows that somebody has in memory: columns, tables of pandas or arrow, data sets of the ``datasets`` library."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from logitcache.data import hubdata
from logitcache.data.hubdata import Opener
from logitcache.data.table import Table, arrow_table, check_once
from logitcache.errors import SpecError

WHERE = "data in memory"
UNNAMED = "memory"  # what a source is called that nobody named


def tables(data: Any) -> dict[str | None, Opener]:
    """The tables by split, as they are called there; None for a single one that has no name.

    Raises SpecError for what is no table, where it is or among the splits.
    """
    if hubdata.is_dataset(data):
        return hubdata.tables(data, WHERE)
    splits = isinstance(data, Mapping) and any(map(_is_table, data.values()))
    if not splits and _is_table(data):
        return {None: partial(_table, data, WHERE)}
    if not splits:
        raise _no_table(data, WHERE)
    return {str(split): partial(_table, part, f"{WHERE}, split {split}") for split, part in data.items()}


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping | pa.Table) or _is_frame(value) or hubdata.is_dataset(value)


def _is_frame(value: Any) -> bool:
    pandas = sys.modules.get("pandas")  # what was made with it has loaded it
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _no_table(value: Any, where: str) -> SpecError:
    return SpecError(
        "expected columns ({'text': [...], 'label': [...]}), a pandas DataFrame, an arrow Table or a datasets.Dataset, "
        f"or such by split ({{'train': ..., 'dev': ...}}), found {type(value).__name__}. Make it one of these.",
        where=where,
    )


def _table(value: Any, where: str) -> Table:
    if hubdata.is_dataset(value):
        return hubdata.table(value, where)
    if isinstance(value, pa.Table):
        return arrow_table(where, value, {})
    if not _is_table(value):
        raise _no_table(value, where)
    check_once([str(name) for name in value], where)
    columns = {str(name): _column(str(name), column, where) for name, column in value.items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise SpecError(f"expected columns of one length, found {listed}. Give each row every column.", where=where)
    return Table(where, columns, range(max(lengths.values(), default=0)), typed=True, unit="row")


def _column(name: str, values: Any, where: str) -> list[Any]:
    """The values as Python has them; what pandas calls missing is None."""
    if hasattr(values, "notna"):  # a Series
        known = values.convert_dtypes() if values.hasnans else values  # integers with a gap became floats
        return list(known.astype(object).where(known.notna(), None))
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
    return [value.item() if isinstance(value, np.generic) else value for value in values]
