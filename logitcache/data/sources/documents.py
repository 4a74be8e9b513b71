"""JSON: one object a line; else a whole document, which is an array of objects, objects one behind
the other, or one object that holds the rows.

Lines are read block by block. A document is held in memory. Blank lines are no rows; a row that
lacks a key has None there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import numpy as np

from logitcache.data.names import listed
from logitcache.data.sources.advice import (
    pairs_by_split_advice,
    reshape,
    rows_under_keys,
)
from logitcache.data.sources.columns import TEXT_COLUMNS
from logitcache.data.sources.content import AS_ROWS, Content
from logitcache.data.sources.endings import SPLIT_WORDS, ending
from logitcache.data.sources.exported import OF_SPANS
from logitcache.data.sources.growing import Growing
from logitcache.data.sources.hints import SENTENCE
from logitcache.data.sources.parted import intents_advice, nested_lists
from logitcache.data.sources.tables import Peculiar, Remark, Table
from logitcache.data.sources.viewer_page import rows_of_page, with_page
from logitcache.data.spool import BLOCK_ROWS, Spool
from logitcache.errors import SpecError, short

_SPACE = re.compile(r"[ \t\r\n]*")
_SEPARATOR = re.compile(r"[ \t\r\n,]*")
_CLOSED = (dict, list)
_OF_PYTHON = "Python wrote it: write each row as JSON, with json.dumps(ast.literal_eval(LINE))."
Row = tuple[int, dict[str, Any]]  # its line, 1-based


def read_json(content: Content) -> Table:
    """Read a file of JSON. Raises SpecError naming the line where it is none, where a key stands
    twice in an object, or where there are no rows to be found in it.
    """
    with content.text() as file:
        numbered = ((number, line) for number, line in enumerate(file, 1) if line.strip())
        first = next(numbered, None)
        if first is None:
            return _table(content, iter(()))
        second = next(numbered, None)
        if _is_row(content, first[1]) and (second is not None or ending(content.path) != ".json"):
            lines = chain([first], [] if second is None else [second], numbered)
            return _table(
                content, ((number, _parsed(content, number, line)) for number, line in lines)
            )
    with content.text() as file:
        return _document(content, file.read())


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """One JSON object. The json module itself would keep the last value of a key that stands there
    twice.
    """
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} twice")
    return row


_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)


def _is_row(content: Content, line: str) -> bool:
    """Whether a line is one whole row: an object, or a list of plain values where --header names
    them.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return False
    if isinstance(value, list) and content.reading.header is not None:
        return not any(isinstance(field, _CLOSED) for field in value)
    return isinstance(value, dict)


def _parsed(content: Content, number: int, line: str) -> dict[str, Any]:
    where = f"{content.path} line {number}"
    try:
        row = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        # Besides bad JSON: a number of too many digits, too deep a nest.
        kind = (
            f"{error.msg} at column {error.colno}"
            if isinstance(error, json.JSONDecodeError)
            else error
        )
        advice = _OF_PYTHON if line.lstrip().startswith("{'") else "Mend or remove it."
        raise SpecError(
            expected="one JSON object a line",
            found=f"text that is not ({kind})",
            advice=advice,
            where=where,
        ) from None
    return _row(content, row, where)


def _row(content: Content, value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    header = content.reading.header
    if isinstance(value, list) and header is not None and len(header) == len(value):
        return dict(zip(header, value, strict=True))
    expected = "a JSON object for each row"
    kind = f"a {type(value).__name__}"
    advice = f"Save one object for each row, {AS_ROWS}, or remove it."
    if isinstance(value, list):
        kind = f"a list of {len(value)} values"
        advice = _of_list(value)
    raise SpecError(expected=expected, found=kind, advice=advice, where=where)


def _of_list(row: list[Any]) -> str:
    """What to do about rows that are lists: pairs of a text and its annotations, as spaCy was
    trained from, or plain fields.
    """
    if len(row) == 2 and isinstance(row[1], dict) and {"entities", "cats"} & row[1].keys():
        if row[1].get("entities"):
            return f"{OF_SPANS}."
        return "Name them: --header text,of --label of.cats."
    return (
        "Name the columns in order with --header, for example --header text,label; or save one object for each row, "
        f"{AS_ROWS}."
    )


def _table(content: Content, rows: Iterator[Row], remarks: tuple[Remark, ...] = ()) -> Table:
    lines = Spool(np.int64)
    columns = Growing()
    while block := list(islice(rows, BLOCK_ROWS)):
        names = dict.fromkeys(name for _, row in block for name in row)
        columns.add({name: [row.get(name) for _, row in block] for name in names}, len(block))
        lines.add([number for number, _ in block])
    return Table(content.path, columns.finish(), lines.finish(), typed=True, remarks=remarks)


def _document(content: Content, text: str) -> Table:
    """The rows of a whole document."""
    start = _SPACE.match(text).end()  # type: ignore[union-attr]  # it matches anything
    if text.startswith("[", start):
        table = _table(content, _objects(content, text, start + 1, in_array=True))
        if len(table) > 1 and len(set(table.lines)) == 1:  # a place by its line tells nothing
            table = replace(table, lines=range(len(table)), unit="row")
        return table
    if text.startswith('"', start) and isinstance(inner := _string(text), str):
        return _document(content, inner)
    if not text.startswith("{", start):
        raise SpecError(
            expected="JSON, which begins with { or [",
            found=repr(text[start : start + 20]),
            advice="If its fields are separated by commas or tabs, name the file .csv or .tsv; or save the rows "
            f"{AS_ROWS}.",
            where=f"{content.path} line {text.count(chr(10), 0, start) + 1}",
        )
    values = list(_objects(content, text, start, in_array=False))
    if len(values) > 1:
        return _table(content, iter(values))
    page = rows_of_page(values[0][1], content.path)
    if page is not None:
        return with_page(_table(content, enumerate(page)), values[0][1])
    key, rows = _rows_in(content, values[0][1])
    remarks: tuple[Remark, ...] = ()
    if key:
        consequence = "What stands beside them is not read"
        remarks = (Remark(Peculiar.NESTED, consequence, len(rows), f"key {key!r}"),)
    table = _table(content, enumerate(rows), remarks)
    return replace(table, unit="row")


def _string(text: str) -> Any:
    """The string that a document writes, which may be a document itself: some write it twice."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _objects(content: Content, text: str, position: int, *, in_array: bool) -> Iterator[Row]:
    """The objects of an array, or those that stand one behind the other, each with its line."""
    number = 1 + text.count("\n", 0, position)
    while True:
        begin = _SEPARATOR.match(text, position).end()  # type: ignore[union-attr]  # it matches anything
        number += text.count("\n", position, begin)
        where = f"{content.path} line {number}"
        if text.startswith("]", begin) and in_array:
            _check_end(content, text, begin + 1)
            return
        if begin == len(text) and not in_array:
            return
        value, position = _decoded(text, begin, where)
        yield number, _row(content, value, where)
        number += text.count("\n", begin, position)


def _decoded(text: str, begin: int, where: str) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, begin)
    except json.JSONDecodeError as error:
        line = where.rpartition(" ")[0]  # the line of the fault, not that of the row
        fault = f"{error.msg} at column {error.colno}"
        advice = _OF_PYTHON if text.startswith("{'", begin) else "Mend it."
        raise SpecError(
            expected="JSON",
            found=f"text that is not ({fault})",
            advice=advice,
            where=f"{line} {error.lineno}",
        ) from None
    except (ValueError, RecursionError) as error:
        raise SpecError(
            expected="JSON", found=error, advice="Mend or remove it.", where=where
        ) from None


def _check_end(content: Content, text: str, position: int) -> None:
    end = _SPACE.match(text, position).end()  # type: ignore[union-attr]  # it matches anything
    if end < len(text):
        number = 1 + text.count("\n", 0, end)
        where = f"{content.path} line {number}"
        raise SpecError(
            expected="one array of rows", found="more behind it", advice="Remove it.", where=where
        )


def _rows_in(content: Content, document: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """The rows in one object, and the key under which they stand, where there are others: a row
    itself, columns (lists of one length, or mappings from row number as pandas writes them), or a
    list of rows under a key.
    """
    inner = {k: v for k, v in document.items() if isinstance(v, dict) and _holds_rows(v)}
    others = [value for value in document.values() if not _is_object(value)]
    is_above = len(document) == 1 or bool(others)
    is_above = is_above and not any(isinstance(value, list) and value for value in others)
    if len(inner) == 1 and is_above and not _holds_rows(document):
        key, value = next(iter(inner.items()))
        below, rows = _rows_in(content, value)
        return f"{key}.{below}" if below else key, rows
    lists = {key: value for key, value in document.items() if _is_rows(value)}
    of_texts = {key: rows for key, rows in lists.items() if _have_texts(rows)}
    are_splits = any(key.lower() in SPLIT_WORDS for key in lists)
    if len(of_texts) == 1 and not are_splits:  # beside lists of intents, entities, ...
        lists = of_texts
    if len(lists) > 1:
        advice = f"Save the rows of each list in a file of their own (train, test, ...), {AS_ROWS}."
        if not are_splits:
            advice = f"Save the rows alone, {AS_ROWS}; if the keys are their classes, with the key as label of each."
        raise SpecError(
            expected="one list of rows",
            found=f"lists under {listed(list(map(repr, lists)))}",
            advice=advice,
            where=content.path,
        )
    if lists:
        key, rows = next(iter(lists.items()))
        _check_flat(content, key, rows)
        return key, rows
    values = list(document.values())
    if {"columns", "data"} <= document.keys() and _is_split(document["columns"], document["data"]):
        return "", [dict(zip(document["columns"], row, strict=True)) for row in document["data"]]
    if values and all(isinstance(value, dict) for value in values):
        return "", _of_mappings(content, document)
    if values and all(isinstance(value, list) for value in values):
        return "", _of_lists(content, document)
    columns = _columns_in(document)
    if columns:
        return ", ".join(columns), _of_lists(content, columns)
    _check_no_map(content, document)
    return "", [document]


def _columns_in(document: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The columns beside other values in an object: its lists of plain values, of one length, one
    of which is called as texts are; empty for others, as the words and tags of one row.
    """
    columns = {key: value for key, value in document.items() if isinstance(value, list)}
    is_plain = not any(
        isinstance(value, _CLOSED) for column in columns.values() for value in column
    )
    has_texts = any(key.lower() in TEXT_COLUMNS for key in columns)
    is_table = has_texts and is_plain and len(columns) > 1
    return columns if is_table and len(set(map(len, columns.values()))) == 1 else {}


def _check_no_map(content: Content, document: Mapping[str, Any]) -> None:
    """Raises SpecError where an object has texts for keys, each with its label."""
    are_labels = all(isinstance(value, str | int) for value in document.values())
    words = [len(key.split()) for key in document]
    if len(words) > 1 and are_labels and sum(words) >= SENTENCE * len(words):
        raise SpecError(
            expected="rows with column names",
            found=f"one object of {len(words):,} texts, each with its label",
            advice=f"Write a row for each: {reshape('labels-under-texts', [content])}.",
            where=content.path,
        )


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _holds_rows(document: Mapping[str, Any]) -> bool:
    return any(map(_is_rows, document.values()))


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _have_texts(rows: list[dict[str, Any]]) -> bool:
    """Whether every row has a text under a usual name; a title is no text of its own."""
    names = set(TEXT_COLUMNS) - {"title"}
    for row in rows[:BLOCK_ROWS]:
        texts = [value for name, value in row.items() if name.lower() in names]
        if not texts or not all(isinstance(text, str) for text in texts):
            return False
    return True


def _is_split(columns: Any, rows: Any) -> bool:
    """Whether it is what pandas writes with orient="split"."""
    are_lists = isinstance(columns, list) and isinstance(rows, list)
    return are_lists and all(isinstance(row, list) and len(row) == len(columns) for row in rows)


def _check_flat(content: Content, key: str, rows: list[dict[str, Any]]) -> None:
    """Raises SpecError where rows under a key hold lists of objects themselves, as SQuAD's
    paragraphs do; not where each has a text, which the objects are about.
    """
    if _have_texts(rows):
        return
    for row in rows[:BLOCK_ROWS]:
        nested = next((name for name, value in row.items() if _is_rows(value)), None)
        if nested is not None:
            raise SpecError(
                expected=f"rows of plain fields under {key!r}",
                found=f"lists of objects under {nested!r} in each of them, as SQuAD nests its paragraphs",
                advice=intents_advice(content.path, key, rows)
                or f"Write a row for each of the innermost: {nested_lists(content.path, key, nested, row)}.",
                where=content.path,
            )


def _of_lists(content: Content, document: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Rows of columns that are lists."""
    values = list(document.values())
    lengths = set(map(len, values))
    if len(lengths) > 1 and all(isinstance(value, str) for column in values for value in column):
        raise SpecError(
            expected="rows with column names, or columns of plain values and of one length",
            found=f"lists of texts under {', '.join(map(repr, document))}",
            advice=f"If the keys are their classes: {reshape('texts-under-labels', [content])}.",
            where=content.path,
        )
    if len(lengths) > 1 or any(isinstance(value, _CLOSED) for column in values for value in column):
        raise SpecError(
            expected="rows with column names, or columns of plain values and of one length",
            found=f"lists under {', '.join(map(repr, document))}",
            advice=pairs_by_split_advice(document, content.path)
            or f"Save one object for each row, {AS_ROWS}, each split in its own file.",
            where=content.path,
        )
    return [dict(zip(document, row, strict=True)) for row in zip(*values, strict=True)]


def _of_mappings(content: Content, document: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of columns that are mappings from row number to value; or rows by a key of each."""
    columns = list(document.values())
    numbers = list(columns[0])
    if all(map(str.isdecimal, numbers)) and all(list(column) == numbers for column in columns):
        return [{name: column[number] for name, column in document.items()} for number in numbers]
    if any(isinstance(value, _CLOSED) for row in columns for value in row.values()):
        raise SpecError(
            expected="rows of plain fields",
            found=f"objects within objects, the first under {short(next(iter(document)))!r}",
            advice=f"{rows_under_keys(content.path)}.",
            where=content.path,
        )
    # a key may be a row's text
    return [{"key": key, **row} for key, row in document.items()]
