"""A table as it was read: columns, where each row stands, and what the reader has to say of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from logitcache.data.names import LISTED, listed
from logitcache.data.values import distinct
from logitcache.errors import SpecError
from logitcache.records import Int64

Column: TypeAlias = list[Any] | pa.Array | pa.ChunkedArray


class Peculiar(Enum):
    """Rows of a table that a user has to know of, by what they are."""

    EMPTY = "rows empty in every field"
    SPACES = "lines of nothing but spaces"
    QUOTED = "rows with a field that begins with a quote"
    SEVERAL_LINES = "quoted fields over lines that look like rows themselves"
    SEMICOLONS = "rows with semicolons between their fields"
    TABS = "rows with tabs between their fields"
    BARS = "rows with bars between their fields"
    UTF16 = "rows in UTF-16, which no byte order mark names"
    ALSO_UTF8 = "lines that are UTF-8 as well"
    NAMED = "rows of a file without a header line"
    NESTED = "rows under one key of a document"
    BARE = "rows in folders for texts without a class"
    COMMENTS = "comments or sources before rows of words"
    REPEATED = "further columns of a name that repeats"
    END_TOKENS = "lines of an end token alone"
    UNNAMED = "rows with a field in a column without a name"


@dataclass(frozen=True)
class Remark:
    """Something that a user has to know of some rows of a table."""

    kind: Peculiar
    consequence: str  # what is done with them: a sentence, without its full stop
    count: int
    first: str  # the place of the first of them

    def text(self, where: Path | str) -> str:
        return (
            f"{where}: {self.kind.value}: {self.count:,} (first: {self.first}). {self.consequence}."
        )


@dataclass(frozen=True)
class Table:
    """A file's rows, column by column. ``lines[i]`` is the line (1-based) on which row i begins,
    or, where there are no lines, its row (0-based).
    """

    path: Path | str
    columns: dict[str, Column]  # each [N]; None where a row lacks the key
    lines: Sequence[int] | Sequence[str] | Int64  # [N]; names of files where each row has its own
    typed: bool  # False where every field is text (csv, tsv)
    unit: str = "line"
    classes: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # names that columns of class numbers have
    parts: tuple[Table, ...] = ()  # where the rows are those of several files, one behind the other
    remarks: tuple[Remark, ...] = ()
    span_columns: tuple[str, str] | None = None  # of texts and their labelled parts, now words
    repeated: tuple[str, ...] = ()  # names that several columns of the header have

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, row: int) -> str:
        for part in self.parts:
            if row < len(part):
                return part.place(row)
            row -= len(part)
        comma = (
            "," if isinstance(self.path, str) else ""
        )  # a path may hold spaces, but it ends at one
        return f"{self.path}{comma} {self.unit} {self.lines[row]}"

    def with_columns(self, columns: Mapping[str, Column]) -> Table:
        """The same table with these columns, in place of those of the same names or behind the others."""
        return replace(self, columns={**self.columns, **columns})

    def without_columns(self) -> Table:
        """The places of the rows alone, which need little memory."""
        return replace(self, columns={}, parts=tuple(part.without_columns() for part in self.parts))

    def with_remarks(self, remarks: tuple[Remark, ...]) -> Table:
        """The same table, with more to say of it."""
        return replace(self, remarks=(*remarks, *self.remarks))


def names_of(tables: Sequence[Table]) -> list[str]:
    """The names of the columns that tables have, each once."""
    return distinct(name for table in tables for name in table.columns)


@dataclass(frozen=True)
class Opened:
    """A table of rows, and that of what their labels belong to: the same, or several units below
    each row.
    """

    rows: Table
    units: Table
    indptr: Int64 | None = None  # [N + 1]; None: a row is one unit


def remark_lines(tables: Iterable[Table]) -> list[str]:
    """The remarks as lines for people; one line for what is alike in several tables."""
    alike: dict[tuple[Peculiar, str], list[tuple[Table, Remark]]] = {}
    for table in tables:
        for remark in table.remarks:
            alike.setdefault((remark.kind, remark.consequence), []).append((table, remark))
    notes = []
    for remarks in alike.values():
        table, first = remarks[0]
        where = str(table.path)
        if len(remarks) > 1:
            names = [Path(other.path).name for other, _ in remarks]
            where = ", ".join([where, *names[1:]])
            total = sum(remark.count for _, remark in remarks)
            first = replace(first, count=total, first=f"{names[0]} {first.first}")
        notes.append(first.text(where))
    return notes


def joined(tables: Sequence[Table], path: Path) -> Table:
    """The rows of several tables, one behind the other, as one table called ``path``. Remarks of
    one kind become one.

    Raises SpecError where a table names its classes otherwise than the first.
    """
    first, *further = tables
    for part in further:
        if part.classes != first.classes:
            raise SpecError(
                f"expected the class names of {Path(first.path).name}, found others. Use parts of one data set.",
                where=part.path,
            )
    columns = {}
    for name in names_of(tables):
        parts = [part.columns.get(name, [None] * len(part)) for part in tables]
        columns[name] = _behind(parts)
    remarks: dict[Peculiar, Remark] = {}
    for part in tables:
        for remark in part.remarks:
            earlier = remarks.get(remark.kind)
            if earlier is None:
                remarks[remark.kind] = replace(
                    remark, first=f"{Path(part.path).name} {remark.first}"
                )
            else:
                remarks[remark.kind] = replace(earlier, count=earlier.count + remark.count)
    return replace(
        first,
        path=path,
        columns=columns,
        lines=range(sum(map(len, tables))),
        parts=tuple(tables),
        remarks=tuple(remarks.values()),
        repeated=tuple(distinct(name for part in tables for name in part.repeated)),
    )


def _behind(columns: list[Column]) -> Column:
    """Columns one behind the other; in arrow, where all are of one kind there."""
    arrow = [column for column in columns if not isinstance(column, list)]
    if len(arrow) == len(columns) and len({str(column.type) for column in arrow}) == 1:
        chunks = [
            column.chunks if isinstance(column, pa.ChunkedArray) else [column] for column in arrow
        ]
        return pa.chunked_array([chunk for several in chunks for chunk in several], arrow[0].type)
    return [value for c in columns for value in (c if isinstance(c, list) else c.to_pylist())]


def _inner(kind: pa.DataType) -> pa.DataType:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return kind.value_type if is_list else kind


def arrow_table(path: Path | str, table: pa.Table, classes: Mapping[str, Sequence[str]]) -> Table:
    """Arrow columns as a table; ``classes`` are the names of columns of class numbers."""
    written = table.column_names
    repeated = repeated_names(written)
    table = table.rename_columns(numbered(written))
    remarks: tuple[Remark, ...] = ()
    if repeated:
        further = [name for name in table.column_names if name not in written]
        remarks = (renamed(further, f"column {table.column_names.index(further[0])}"),)
    by_name = {
        name: tuple(names)
        for name, names in classes.items()
        if name in table.column_names and pa.types.is_integer(_inner(table.schema.field(name).type))
    }
    columns = dict(zip(table.column_names, table.columns, strict=True))
    return Table(
        path,
        columns,
        range(table.num_rows),
        typed=True,
        unit="row",
        classes=by_name,
        remarks=remarks,
        repeated=tuple(repeated),
    )


def numbered(names: Sequence[str]) -> list[str]:
    """The names, further columns of one name numbered as pandas does (``name.1``)."""
    repeated = repeated_names(names)
    different: list[str] = []
    for place, name in enumerate(names):
        number = names[:place].count(name) if name in repeated else 0
        while number and f"{name}.{number}" in (*names, *different):
            number += 1
        different.append(f"{name}.{number}" if number else name)
    return different


def renamed(further: Sequence[str], first: str) -> Remark:
    """The remark on columns that were numbered; ``first`` is where the first of them stands."""
    consequence = f"They are called {listed(further, LISTED)}, as by pandas"
    return Remark(Peculiar.REPEATED, consequence, len(further), first)


def repeated_names(names: Sequence[str]) -> list[str]:
    """The names that several columns have, in their order."""
    return [name for name, count in Counter(names).items() if name and count > 1]


def check_once(names: list[str], where: str) -> None:
    """Raises SpecError where two columns have one name."""
    repeated = repeated_names(names)
    if repeated:
        raise SpecError(
            expected="each column once",
            found=f"{repeated[0]!r} twice",
            advice="Rename one.",
            where=where,
        )
