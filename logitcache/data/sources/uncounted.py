"""Notes of rows whose own columns say that their answer does not count: one that was rejected, or
one where labelling failed. They are read as the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from logitcache.config.data import Columns
from logitcache.data.names import is_number
from logitcache.data.sources.advice import pandas_command
from logitcache.data.sources.column_kinds import LABELLED
from logitcache.data.sources.nested import listed_values
from logitcache.data.sources.tables import Peculiar, Table
from logitcache.data.values import present
from logitcache.errors import short

_ERROR = re.compile(r"(.*[\W_])?error(_message)?", re.IGNORECASE)
_SPECIAL = re.compile(r'["$`\\!.]')  # what a shell reads otherwise, or a path below a column
_AS_PANDAS = {Peculiar.QUOTED, Peculiar.EMPTY}  # what does not keep pandas from reading a table
_KEPT = {  # by what the others are: the rows that count, of the column c of pandas
    "rejected": "c.astype(str).str.lower() != 'rejected'",
    "False": "c.astype(str).str.lower() != 'false'",
    "filled": "c.fillna('') == ''",
}


def uncounted_notes(table: Table, named_columns: Columns, chosen: Columns) -> list[str]:
    """A note for each column that marks rows that do not count; none for the label itself, and none
    for a column whose rows another one marks already.
    """
    notes = []
    noted = set[int]()
    for name, mark, rows in _marked(table):
        if name in chosen.columns or noted.issuperset(rows):
            continue
        noted.update(rows)
        note = (
            f"{table.path}: rows whose {short(name)} is {mark}: {len(rows):,} (first: {table.place(rows[0])}). "
            "They are read as the others: leave them out if they do not count"
        )
        command = _command(table, named_columns, name, _KEPT[mark])
        notes.append(f"{note}: {command}, then --data OUT.jsonl" if command else note)
    return notes


def _marked(table: Table) -> Iterator[tuple[str, str, list[int]]]:
    """The columns that mark rows, how, and which; of those with errors those that hold messages."""
    errors = []
    for name in table.columns:
        if name.casefold().endswith("status"):
            yield name, "rejected", _rows(listed_values(table, name), "rejected")
        elif name.endswith(LABELLED):
            yield name, "False", _rows(listed_values(table, name), "false")
        elif _ERROR.fullmatch(name):
            errors.append(name)
    for name in errors:
        values = listed_values(table, name)
        messages = present(values)
        are_messages = all(isinstance(m, str) and not is_number(m) for m in messages)
        if are_messages and len(messages) < len(values):
            yield name, "filled", [row for row, value in enumerate(values) if value]


def _rows(values: Sequence[Any], mark: str) -> list[int]:
    return [row for row, value in enumerate(values) if str(value).casefold() == mark]


def _command(table: Table, named_columns: Columns, name: str, kept: str) -> str:
    """What writes the other rows; empty where pandas would read the table otherwise."""
    options = (named_columns.header, named_columns.delimiter, named_columns.encoding)
    is_as_written = {remark.kind for remark in table.remarks} <= _AS_PANDAS and not table.parts
    if any(options) or not is_as_written or _SPECIAL.search(name):
        return ""
    command = pandas_command(table.path, f"c = t[{name!r}]; t = t[{kept}]")
    is_quoted = any(remark.kind is Peculiar.QUOTED for remark in table.remarks)
    return command.replace(", quoting=3", "") if is_quoted else command
