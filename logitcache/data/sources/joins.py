"""Rows that are spread over two tables: texts in one, labels in the other, and a key in both. They
are not joined here; what is said is how to.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

from logitcache.config.data import Columns
from logitcache.data.sources.advice import read_by_pandas, reshape
from logitcache.data.sources.columns import TEXT_COLUMNS, first_called
from logitcache.data.sources.endings import ending
from logitcache.data.sources.hints import (
    NUMBERING,
    SENTENCE,
    is_called_as_labels,
    is_identifier,
    likely_labels,
    likely_texts,
    mean_size,
    samples,
)
from logitcache.data.sources.nested import LOOKED_AT, SAMPLED, first_values, listed_values
from logitcache.data.sources.reading import READERS, read_table
from logitcache.data.sources.tables import Table
from logitcache.errors import LogitCacheError, SpecError

_LONGEST_NAME = 200  # characters of a file's name
LARGEST = 1 << 23  # bytes of files that are read to find a key: at most a second
_HEAD = 1 << 16
_GUESSES = "submission"  # in the name of a file of made-up labels, as Kaggle gives one
_CUSTOM_ID, _REQUEST, _ANSWER = "custom_id", "body", "response"  # of batches


def check_no_file_names(table: Table, named_columns: Columns) -> None:
    """Raises SpecError where the texts are in files of their own, which a column names."""
    if not isinstance(table.path, Path) or not read_by_pandas(table.path):
        return
    text = named_columns.text or first_called(TEXT_COLUMNS, list(table.columns))
    columns = {}
    for name in table.columns if text is None else {text} & set(table.columns):
        values = list(map(str, first_values(table.columns[name], SAMPLED)))
        is_of_one_row = len(set(values)) == len(values)
        if values and is_of_one_row and max(map(len, values)) <= _LONGEST_NAME:
            columns[name] = values
    if not columns:
        return
    parent = table.path.parent
    folders = [parent, *(parent / entry.name for entry in os.scandir(parent) if entry.is_dir())]
    for (name, values), suffix in product(columns.items(), ("", ".txt")):
        files = [f"{value}{suffix}" for value in values]
        folder = next((path for path in folders if _holds_files(path, files)), None)
        if folder is None:
            continue
        at = os.path.relpath(folder, table.path.parent)
        command = reshape("texts-of-files", [table.path], [name, at, *filter(None, [suffix])])
        raise SpecError(
            expected="texts",
            found=f"in the column {name!r} names of files in {folder}",
            advice=f"Write the texts into the table: {command}.",
            where=table.path,
        )


def _holds_files(folder: Path, names: Sequence[str]) -> bool:
    return all(os.path.isfile(folder / name) for name in names)


def join_advice(files: Iterable[Path]) -> str:
    """How to join the first two of these files that have different columns and a key in common;
    empty where no two have.
    """
    tables = [table for table in map(_read, files) if table is not None]
    pairs = combinations(tables, 2)
    return _of_batch(tables) or next(filter(None, (_joined(*pair) for pair in pairs)), "")


def join_of_answers(rows: Path | str, answers: Table) -> str:
    """How to join a table of answers to the file of the rows, by a key that both have; empty where
    they have none.
    """
    table = _read(Path(rows))
    key = None if table is None else _shared_key(table, answers)
    return "" if key is None else _command(Path(rows), Path(answers.path), key)


def advice_beside(table: Table, *, is_chat: bool = False) -> str:
    """How to join a file's table with that of a file in the same folder; empty where none has a key
    in common with it, and for rows in memory. Numbers that merely count the rows are no key of a
    table that has texts and labels of its own. The requests and answers of a batch are joined as
    conversations where these are to be learnt.
    """
    if not isinstance(table.path, Path) or not read_by_pandas(table.path):
        return ""
    names = [name for name in table.columns if name.lower() not in TEXT_COLUMNS]
    keys = {str(key) for name in names for key in first_values(table.columns[name], LOOKED_AT)}
    tables = []
    budget = LARGEST
    for path in sorted(table.path.parent.iterdir()):
        if path == table.path or not _names_one(path, names, keys):
            continue
        budget -= path.stat().st_size
        other = _read(path) if budget > 0 else None
        if other is not None:
            tables.append(other)
    columns = samples([table])
    labels = likely_labels(columns) if likely_texts(columns) else []
    is_whole = any(map(is_called_as_labels, labels))
    joined = (_joined(table, other, is_whole=is_whole) for other in tables)
    return _of_batch([table, *tables], is_chat) or next(filter(None, joined), "")


def _names_one(path: Path, names: Sequence[str], keys: Collection[str]) -> bool:
    """Whether the beginning of a file holds one of these names of columns, or is one of these keys; or
    the file has its names at its end.
    """
    if not read_by_pandas(path):
        return False
    if ending(path) == ".parquet":
        return True
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    first = re.split(rb"[,\t]", head, maxsplit=1)[0]
    is_key = first.decode(errors="replace") in keys
    return is_key or any(name.encode() in head for name in names)


def _of_batch(tables: Sequence[Table], is_chat: bool = False) -> str:
    """How to join the requests and the answers of a batch; empty where there are not both."""
    of_batch = [table for table in tables if _CUSTOM_ID in table.columns]
    inputs = [table for table in of_batch if _REQUEST in table.columns]
    outputs = [table for table in of_batch if _ANSWER in table.columns]
    if not inputs or not outputs:
        return ""
    answers = max(outputs, key=len)  # errors are in another file
    files = [str(inputs[0].path), str(answers.path)]
    command = reshape("batch-chats" if is_chat else "batch", files, out="OUT.jsonl")
    return f"Join both files of the batch: {command}"


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
    is_table = ending(path) in READERS and read_by_pandas(path)  # is a file, too
    if not is_table or _GUESSES in path.name.lower() or path.stat().st_size > LARGEST:
        return None
    try:
        return read_table(path)
    except LogitCacheError:
        return None


def _joined(one: Table, two: Table, *, is_whole: bool = False) -> str:
    """How to join two tables; empty where they have no key in common, or labels both. The key of one
    that ``is_whole`` stands in several of its rows.
    """
    if all(any(map(is_called_as_labels, table.columns)) for table in (one, two)):
        return ""
    for rows, others in ((one, two), (two, one)):
        key = _shared_key(rows, others)
        if key is None or (is_whole and not _repeat(listed_values(one, key))):
            continue
        return _command(Path(rows.path), Path(others.path), key)
    for rows, others in ((one, two), (two, one)):
        key = _key_without_header(rows, others)
        if key is not None:
            return _command(Path(rows.path), Path(others.path), key, has_header=False)
    return ""


def _key_without_header(rows: Table, others: Table) -> str | None:
    """The column whose values most lines of ``others`` begin with, each once: a file of two fields,
    a key and a label, without a header line, as shared tasks have the labels of their test rows.
    """
    is_text = ending(Path(others.path)) in (".csv", ".tsv")
    if not is_text or len(others.columns) != 2 or set(rows.columns) & set(others.columns):
        return None
    first = next(iter(others.columns))
    keys = [first, *map(str, listed_values(others, first))]
    for name in rows.columns:
        if not (NUMBERING.fullmatch(name) or is_identifier(name)):
            continue
        values = set(map(str, listed_values(rows, name)))
        if first in values and len(set(keys)) == len(keys) and set(keys) <= values:
            return name
    return None


def _shared_key(rows: Table, others: Table) -> str | None:
    """The column that says which row of ``others`` belongs to each of ``rows``: both have it, and
    other columns of their own, not identifiers alone; there each value is once, and here most are
    among them. None where both have texts in one column: rows of either are whole.
    """
    shared = [name for name in rows.columns if name in others.columns]
    for table in (rows, others):
        further = [name for name in table.columns if name not in shared]
        has_texts = not set(shared).isdisjoint(likely_texts(samples([table])))
        if has_texts or all(map(is_identifier, further)):
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


def _command(rows: Path, others: Path, key: str, *, has_header: bool = True) -> str:
    """The command that joins the tables. Without a header, ``others`` are keys and labels."""
    columns = [key] if has_header else [key, "label"]
    return (
        f"The column {key!r} says which row of {others.name} belongs to each of {rows.name}. "
        f"Join them first: {reshape('join', [rows, others], columns, 'OUT.jsonl')}"
    )
