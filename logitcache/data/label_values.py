"""A column of labels as its distinct values: lists of one taken for their element, spaces around
names removed, what stands for a missing label found. Every rule looks at distinct values alone;
rows are mapped in one step.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from logitcache.data.by_annotator import check_no_annotators
from logitcache.data.label_cells import (
    cast_votes,
    is_of_votes,
    list_in,
    places_of_one,
    single_label,
    unwrapped,
    votes_joined_by,
)
from logitcache.data.names import LISTED, folded, integer, labels_option
from logitcache.data.sources.advice import pandas_command
from logitcache.data.sources.tables import Column, Table
from logitcache.data.spool import by_block, numpy_of
from logitcache.errors import SpecError
from logitcache.records import Array, Int64
from logitcache.reporter import Reporter

IGNORED = -100  # what trainers pass over
NO_CLASS = (-1, IGNORED)  # what data sets write into a test split whose labels are kept back
# What pandas.read_csv takes for a missing value, the empty text apart.
MISSING_TEXTS = frozenset(
    {
        *("#N/A", "#N/A N/A", "#NA", "<NA>", "N/A", "NA", "n/a", "NULL", "null", "None"),
        *("NaN", "-NaN", "nan", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    }
)
# of rows, or folders of texts, without a label
UNLABELLED_NAMES = ("unsup", "unsupervised", "unlabelled", "unlabeled")
NO_GOLD = "-"  # of SNLI and MNLI where the annotators did not agree
GOLD_COLUMNS = ("gold_label",)
# Exports of databases have \N, pandas prints NaT, JavaScript undefined
_LOOKS_MISSING = {
    text.casefold()
    for text in (*MISSING_TEXTS, *UNLABELLED_NAMES, r"\N", "NaT", "undefined", "missing", "-", "?")
}
_HASHABLE = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class Values:
    """The label column of one table."""

    table: Table
    distinct: list[Any]  # in order of appearance; None where there is no label
    index: Array  # i32[N]: which of them each row has

    def where(self, position: int) -> str:
        """The place of the first row that has this value."""
        return self.table.place(int(np.flatnonzero(self.index == position)[0]))

    def count(self, position: int) -> int:
        return int(np.count_nonzero(self.index == position))

    def mapped(self, numbers: list[int]) -> Int64:
        """The number of each row, by that of its value: i64[N]."""
        table = np.array(numbers, np.int64)
        return by_block(np.int64, len(self.index), lambda part: table[self.index[part]])


Columns = dict[str | None, Values]


def read_values(tables: dict[str | None, Table], column: str | None) -> Columns:
    """The column of each table; without a label in any row where a table lacks it."""
    return {split: _read(table, column) for split, table in tables.items()}


def _read(table: Table, column: str | None) -> Values:
    if column is None or column not in table.columns:
        return Values(table, [None], np.zeros(len(table), np.int32))
    values = table.columns[column]
    distinct, index = _of_list(values) if isinstance(values, list) else _of_arrow(values)
    return Values(table, distinct, index)


def _of_list(values: list[Any]) -> tuple[list[Any], Array]:
    positions: dict[Any, int] = {}
    distinct: list[Any] = []
    index = np.empty(len(values), np.int32)
    for row, value in enumerate(values):
        written = value if isinstance(value, _HASHABLE) else repr(value)
        key = (type(value), written)  # True is no 1, and 1.0 is none
        position = positions.setdefault(key, len(distinct))
        if position == len(distinct):
            distinct.append(value)
        index[row] = position
    return distinct, index


def _of_arrow(values: Column) -> tuple[list[Any], Array]:
    assert not isinstance(values, list)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_decimal(values.type):  # of a database
        values = values.cast(pa.float64())
    scalars = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_string,
        pa.types.is_large_string,
    )
    if not any(is_kind(values.type) for is_kind in scalars):
        return _of_list(values.to_pylist())
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    encoded = array.dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    if not encoded.null_count:
        return distinct, numpy_of(encoded.indices).astype(np.int32)
    index = np.full(len(encoded), len(distinct), np.int32)
    index[numpy_of(encoded.is_valid())] = numpy_of(encoded.indices.drop_null())
    return [*distinct, None], index


def present_values(columns: Columns) -> list[Any]:
    """The distinct values of all splits, each once; 1, 1.0 and True are three."""
    by_type: dict[tuple[type, Any], Any] = {}
    for column in columns.values():
        for value in column.distinct:
            if value is not None:
                by_type.setdefault((type(value), value), value)
    return list(by_type.values())


def first_place(columns: Columns, value: Any) -> str:
    """The place of the first row that has this value."""
    holder = next(values for values in columns.values() if value in values.distinct)
    return holder.where(holder.distinct.index(value))


def check_not_joined(names: Collection[str], column: str, path: Path | str, where: str) -> None:
    """Raises SpecError where texts join the votes of several annotators."""
    separator = votes_joined_by(names)
    if not separator:
        return
    split = f"t[{column!r}] = t[{column!r}].str.split({separator!r})"
    command = pandas_command(path, split) or f"with pandas: {split}"
    raise SpecError(
        expected=f"one class of each row in column {column!r}",
        found=f"votes that {separator!r} joins",
        advice=f"Name another column with --label. As a teacher, split them: {command}; then "
        f"--teacher column:{column}.",
        where=where,
    )


def cleaned(
    columns: Columns, names: Collection[str], column: str | None, reporter: Reporter
) -> Columns:
    """The same columns with plain values: no lists, no spaces around texts, None wherever there is
    no label. A text among ``names`` is a class as it stands.

    What is changed is said with its count and its first row. Raises SpecError for a row of several
    labels, and for -100 beside labels.
    """
    columns = {split: _without_lists(values, column, reporter) for split, values in columns.items()}
    columns = {
        split: _trimmed(values, names, column, reporter) for split, values in columns.items()
    }
    texts: set[str] = set()
    for values in columns.values():
        texts |= {value for value in values.distinct if isinstance(value, str) and value}
    columns = {
        split: _without_missing(values, names, texts, column, reporter)
        for split, values in columns.items()
    }
    return _without_withheld(columns, names, column, reporter)


def _without_lists(values: Values, column: str | None, reporter: Reporter) -> Values:
    """Lists of one element are that element, an empty list is no label, and of votes and of numbers
    by class the likeliest is. Raises SpecError for a row of several labels.
    """
    cells = _cells(values)
    places = places_of_one(cells)
    if places is not None:
        first = next(i for i, place in enumerate(places) if place is not None)
        reporter.note(
            f"column {column!r}: lists of one 1 and else 0 (one-hot): the label is the place of the 1, from 0 (first: "
            f"{values.where(first)})"
        )
        return replace(values, distinct=list(places))
    check_no_annotators(values.table, column, cells)
    are_votes = is_of_votes(cells)
    if are_votes:
        _say_blanks(values, cells, column, reporter)
    distinct = []
    uncertain = None  # the position of the first label that is the likeliest of several
    for position, cell in enumerate(cells):
        try:
            label, is_certain = single_label(cell, column, are_votes)
        except SpecError as error:
            raise error.at(values.where(position)) from None
        if not is_certain and uncertain is None:
            uncertain = position
        distinct.append(label)
    if uncertain is not None:
        reporter.note(
            f"column {column!r}: probabilities or votes: the label of a row is its likeliest class "
            f"(first: {values.where(uncertain)}). To distil them: dump --teacher column:{column}"
        )
    return replace(values, distinct=distinct)


def _say_blanks(
    values: Values, cells: Sequence[Any], column: str | None, reporter: Reporter
) -> None:
    """A note of the blanks in lists of votes."""
    count = 0
    first = ""
    for position, cell in enumerate(cells):
        blanks = len(cell) - len(cast_votes(cell)) if cell else 0
        if blanks:
            count += blanks * values.count(position)
            first = first or values.where(position)
    if count:
        reporter.note(
            f"column {column!r}: blanks in lists of votes are no votes: {count:,} (first: {first})"
        )


def _cells(values: Values) -> list[Any]:
    """The distinct values, with lists in place of texts that write them (where all of a text file's
    do), and objects in place of JSON.
    """
    texts = [value for value in values.distinct if isinstance(value, str) and value.strip()]
    if texts and not values.table.typed:
        lists = {text: list_in(text) for text in texts}
        if None not in lists.values():
            return [lists.get(value, value) for value in values.distinct]
    return list(map(unwrapped, values.distinct))


def _trimmed(
    values: Values, names: Collection[str], column: str | None, reporter: Reporter
) -> Values:
    """Space around a text is no part of it; that is said where it matters."""
    distinct = list(values.distinct)
    changed = []
    for position, value in enumerate(values.distinct):
        if isinstance(value, str) and value not in names:
            distinct[position] = value.strip()
            if distinct[position] not in ("", value):
                changed.append(position)
    if changed:
        rows = sum(map(values.count, changed))
        first = values.distinct[changed[0]]
        reporter.note(
            f"column {column!r}: the space around a label is no part of it: {rows:,} rows, the first "
            f"{values.where(changed[0])} ({first!r})"
        )
    return replace(values, distinct=distinct)


def _without_missing(
    values: Values, names: Collection[str], texts: set[str], column: str | None, reporter: Reporter
) -> Values:
    """None for an empty text, NaN, (in a file of texts) what pandas takes for a missing value, and
    what looks like one and is not among ``names`` that are given. ``texts``: all that stand in the
    column, in any split.
    """
    distinct = list(values.distinct)
    for position, value in enumerate(values.distinct):
        if value == "":
            distinct[position] = None
        elif isinstance(value, float) and value != value:
            distinct[position] = None
            _say(values, position, column, "NaN", "is no label", reporter)
        elif isinstance(value, str) and value not in names and value.casefold() in _LOOKS_MISSING:
            if names and folded(value) not in map(folded, names):
                distinct[position] = None
                meaning = "is none of the named classes, and is taken for a missing label"
            elif _is_no_label(value, column, texts):
                distinct[position] = None
                kept = _option_of(texts)
                meaning = (
                    f"means in this column that there is no label. To keep it as a class: {kept}"
                )
            elif values.table.typed or value not in MISSING_TEXTS:
                classes = [text for text in texts if text.casefold() not in _LOOKS_MISSING]
                meaning = "is taken for a class. Where it means no label, leave the field empty"
                if len(classes) > 1:
                    meaning += f" or name the classes: {_option_of(classes)}"
            else:
                distinct[position] = None
                kept = _option_of((texts - MISSING_TEXTS) | {value})
                meaning = (
                    f"is taken for a missing label, as pandas does. To keep it as a class: {kept}"
                )
            _say(values, position, column, repr(value), meaning, reporter)
    return replace(values, distinct=distinct)


def _is_no_label(value: str, column: str | None, texts: Collection[str]) -> bool:
    """Whether a text is what the makers of data sets write where there is no label: a dash, unless
    it is minus beside plus, or one of two classes.
    """
    if value == NO_GOLD:
        is_class = "+" in texts or len(texts) < 3
        return (column or "").casefold() in GOLD_COLUMNS or not is_class
    return value.casefold() in UNLABELLED_NAMES


def _option_of(classes: Collection[str]) -> str:
    """``--labels`` with these classes; a sentence where they are many."""
    if len(classes) > LISTED:
        return "name all classes with --labels"
    return labels_option(sorted(classes))


def _say(
    values: Values, position: int, column: str | None, value: str, meaning: str, reporter: Reporter
) -> None:
    rows = values.count(position)
    reporter.note(
        f"column {column!r}: {value} ({rows:,} rows, the first {values.where(position)}) {meaning}"
    )


def _without_withheld(
    columns: Columns, names: Collection[str], column: str | None, reporter: Reporter
) -> Columns:
    """A split other than train in which nothing but -1 (or -100) stands has no labels; nor has data
    that holds nothing else. Raises SpecError for -100 beside labels.
    """
    withheld = {split: _withheld(values, names) for split, values in columns.items()}
    labelled = False
    for split, values in columns.items():
        if withheld[split] is None and values.distinct.count(None) < len(values.distinct):
            labelled = True
    remaining = dict(columns)
    for split, number in withheld.items():
        if number is None or (split in ("train", None) and labelled):
            continue
        values = columns[split]
        remaining[split] = replace(values, distinct=[None] * len(values.distinct))
        reporter.note(
            f"column {column!r}: every label of {values.table.path} is {number}: these rows have no label"
        )
    for values in remaining.values():
        numbers = list(map(_number_of, values.distinct))
        if IGNORED in numbers and str(IGNORED) not in names:
            every = labels_option([str(IGNORED), "0", "1"])
            raise SpecError(
                f"column {column!r}: expected a label, found -100, which trainers pass over, beside other labels. "
                f"Leave the field empty where there is no label, or name all classes, such as {every}",
                where=values.where(numbers.index(IGNORED)),
            )
    return remaining


def _withheld(values: Values, names: Collection[str]) -> int | None:
    """-1 or -100, where every label of a table is that and it is no name of a class."""
    numbers = {_number_of(value) for value in values.distinct if value is not None}
    number = next(iter(numbers), None)
    if len(numbers) != 1 or number not in NO_CLASS or str(number) in names:
        return None
    return number


def _number_of(value: Any) -> int | None:
    """The whole number that a value is or writes."""
    if isinstance(value, str):
        return integer(value)
    if type(value) is int or (isinstance(value, float) and value.is_integer()):
        return int(value)
    return None
