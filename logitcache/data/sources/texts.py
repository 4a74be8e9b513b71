"""A column of texts, as arrow holds it; what is no text is refused by its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from logitcache.data.sources.advice import header_advice, lists_advice, pandas_command
from logitcache.data.sources.hints import looks_like_row, option
from logitcache.data.sources.tables import Table
from logitcache.data.spool import arrow_texts, concatenated, strings
from logitcache.errors import SpecError, counted, short

_SURROGATE = re.compile("[\ud800-\udfff]")
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


def texts(table: Table, column: str) -> pa.LargeStringArray:
    """A column: [N]. A table without rows may lack it.

    Raises SpecError: no such column, or the first row that is no text.
    """
    if column not in table.columns and not len(table):
        return arrow_texts([])
    if column not in table.columns:
        names = ", ".join(table.columns)
        advice = "Rename it, or name the column with --text (and --text-pair)."
        if not table.typed and looks_like_row(list(table.columns)):
            advice = header_advice([[name] for name in table.columns])
        raise SpecError(f"no column {column!r}, found {names}. {advice}", where=table.path)
    values = table.columns[column]
    if isinstance(values, list):
        return _from_list(table, column, values)
    # A dictionary's null may be a word that rows point to, which null_count does not count.
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    if values.null_count or not any(is_text(kind) for is_text in _TEXTS):
        return _from_list(table, column, values.to_pylist())
    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    if len(chunks) == 1 and kind == pa.large_string():
        array = chunks[0]
    else:
        array = concatenated(chunk.cast(pa.large_string()) for chunk in chunks)
    _check_utf8(table, column, array)
    return array


def _from_list(table: Table, column: str, values: list[Any]) -> pa.LargeStringArray:
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise _no_text(table, column, values, row)
    try:
        return arrow_texts(values)
    except UnicodeEncodeError:
        row = next(i for i, text in enumerate(values) if _SURROGATE.search(text))
        raise SpecError(
            f"column {column!r}: expected text, found half of a surrogate pair (\\ud800 to \\udfff), which is no "
            "character. Correct the row or leave it out.",
            where=table.place(row),
        ) from None


def _no_text(table: Table, column: str, values: list[Any], row: int) -> SpecError:
    """The error over the first row that is no text."""
    value = values[row]
    content = f"{short(repr(value))} ({type(value).__name__})"
    advice = lists_advice(column, values, table.path)
    if value is None:
        content = f"null ({counted(values.count(None), 'such row')})"
        command = pandas_command(table.path, f"t = t[t[{column!r}].notna()]")
        if command and column in table.columns and "." not in column:
            advice = advice or f"To leave these rows out: {command}."
    below = []
    if isinstance(value, Mapping):
        below = [f"{column}.{key}" for key, text in value.items() if isinstance(text, str)]
    if below:
        pair = f" (and {option('--text-pair', below[1])})" if below[1:] else ""
        advice = f"Name a text in it, for example {option('--text', below[0])}{pair}."
    return SpecError(
        f"column {column!r}: expected a string, found {content}. "
        f"{advice or 'Make it a string or leave the row out.'}",
        where=table.place(row),
    )


def _check_utf8(table: Table, column: str, array: pa.LargeStringArray) -> None:
    try:
        for _ in strings(array):
            pass
    except UnicodeDecodeError:
        row = next(i for i, text in enumerate(array) if not _is_utf8(text.as_buffer().to_pybytes()))
        raise SpecError(
            f"column {column!r}: expected UTF-8, found bytes that are not. Correct the row or leave it out.",
            where=table.place(row),
        ) from None


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
