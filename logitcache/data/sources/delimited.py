"""Delimited text: csv and tsv. In both every field is text, and a file is read block by block. The
delimiter is the one that was asked for; else a csv's may be another that splits every line alike,
which is said.

csv follows RFC 4180: quotes group and double. Whether quotes do so in a tsv is decided by
:mod:`quoting`. Rows are those that pandas reads: a line without any character, or of nothing but
spaces, is no row; a row whose fields are all empty is one. Lines that pandas would repair (too
short, badly quoted, the header again) are refused.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

import numpy as np

from logitcache.data.sources import quoting
from logitcache.data.sources.columns import TEXT_COLUMNS
from logitcache.data.sources.content import AS_ROWS, Content
from logitcache.data.sources.field_errors import (
    COMMENTS,
    DELIMITERS,
    LOOKED_AHEAD,
    check_no_rule,
    header_again,
    numbered_names,
    single_quotes_advice,
    wrong_width,
)
from logitcache.data.sources.growing import Growing
from logitcache.data.sources.hints import looks_like_row
from logitcache.data.sources.quoting import RecordedLines
from logitcache.data.sources.tables import Peculiar, Remark, Table, renamed, repeated_names
from logitcache.data.spool import BLOCK_ROWS, Spool
from logitcache.errors import SpecError, short

_BLOCK = 1 << 20  # characters
_LONE_RETURN = re.compile(r"\r(?![\r\n])")
_DECLARED = re.compile(r'"?sep=(.)"?')  # the first line, for Excel
_QUOTED_BEHIND_SPACE = re.compile(r' +".*"', re.DOTALL)
_UNESCAPED = r"read_csv(FILE, escapechar='\\').to_csv(OUT, index=False)"
_LONGEST = 2**31 - 1  # characters of a field
NumberedRows = Iterator[tuple[int, list[str]]]


@dataclass(frozen=True)
class Characters:
    """Which characters a file has that decide how it is read."""

    quotes: bool
    feeds: bool  # line feeds
    lone_returns: bool  # carriage returns that no line feed follows

    @property
    def mixed(self) -> bool:
        """Whether a carriage return alone may end a row or stand inside one."""
        return self.feeds and self.lone_returns


@dataclass
class _Tally:
    """How many lines of a kind there are, and the first of them (1-based)."""

    count: int = 0
    first: int = 0

    def add(self, line: int) -> None:
        self.first = self.first or line
        self.count += 1

    def remark(self, kind: Peculiar, consequence: str) -> tuple[Remark, ...]:
        return (Remark(kind, consequence, self.count, f"line {self.first}"),) if self.count else ()


def look(content: Content) -> Characters:
    """Look through a file. Raises SpecError naming the line of a NUL, which no text has."""
    quotes = feeds = lone_returns = False
    line = 1
    pending = ""  # a carriage return at the end of a block: what follows it decides
    with content.text(newline="") as file:
        while block := pending + file.read(_BLOCK):
            last = block == pending
            pending = "\r" if block.endswith("\r") and not last else ""
            block = block[: len(block) - len(pending)]
            if "\0" in block:
                line += block[: block.index("\0")].count("\n")
                raise SpecError(
                    expected="text",
                    found="a NUL byte",
                    advice="Save it as UTF-8, or remove the byte; of a file in UTF-16, give --encoding utf-16-le.",
                    where=f"{content.path} line {line}",
                )
            line += block.count("\n")
            quotes = quotes or '"' in block
            feeds = feeds or "\n" in block
            lone_returns = lone_returns or _LONE_RETURN.search(block) is not None
    return Characters(quotes, feeds, lone_returns)


def read_csv(content: Content) -> Table:
    """Read a csv. Raises SpecError naming the first line that cannot be read."""
    kind = look(content)
    delimiter = content.reading.delimiter or _declared(content)
    if delimiter is not None:
        return _read(content, delimiter, kind)
    delimiter = _delimiter(content)
    table = _read(content, delimiter, kind)
    if delimiter == ",":
        return table
    name = DELIMITERS[delimiter]
    consequence = (
        f"They are read so, as {name} split every line alike. Another delimiter: --delimiter"
    )
    remark = Remark(Peculiar[name.upper()], consequence, len(table), "line 1")
    return table.with_remarks((remark,))


def _read(content: Content, delimiter: str, kind: Characters) -> Table:
    if delimiter == "\t":
        return _read_tabs(content, kind, quoted=None)
    return _read_quoted(content, delimiter, kind)


def read_tsv(content: Content, quoted: bool | None = None) -> Table:
    """Read a tsv whose quotes are marks, or are ordinary characters, or (None) what the file says
    by itself.

    Raises SpecError naming the first line that cannot be read.
    """
    kind = look(content)
    delimiter = content.reading.delimiter
    if delimiter not in (None, "\t"):
        return _read_quoted(content, delimiter, kind)
    return _read_tabs(content, kind, quoted)


def _read_tabs(content: Content, kind: Characters, quoted: bool | None) -> Table:
    if quoted is None and kind.quotes:
        gathered = quoting.evidence(content)
        quoted = quoting.is_quoted([gathered])
        return _read_tabs(content, kind, quoted).with_remarks(quoting.remark(gathered, quoted))
    return _read_quoted(content, "\t", kind) if quoted else _read_raw(content, kind)


def _read_quoted(content: Content, delimiter: str, kind: Characters) -> Table:
    spaces = _Tally()
    several = _Tally()
    with content.text(newline="") as file:
        rows = _quoted_rows(content.path, file, delimiter, kind, spaces, several)
        table = _collect(content, rows, spaces, delimiter)
    consequence = "Each is one row, as for pandas. Save the rows as jsonl if their quotes are plain characters"
    return table.with_remarks(several.remark(Peculiar.SEVERAL_LINES, consequence))


def _quoted_rows(
    path: Path, file: TextIO, delimiter: str, kind: Characters, spaces: _Tally, several: _Tally
) -> NumberedRows:
    csv.field_size_limit(_LONGEST)
    lines = RecordedLines(file)
    row = lines.taken
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line = 1
    try:
        for fields in reader:
            if len(fields) == 1 and not row[0].strip(" \t\r\n"):
                spaces.add(line)
            elif fields:
                if kind.mixed and row[-1].endswith("\r"):
                    raise _lone_return(path, line)
                if kind.quotes and any(_is_behind_space(field, row, delimiter) for field in fields):
                    raise _quote_behind_space(path, line)
                if len(row) > 1 and all(part.count(delimiter) == len(fields) - 1 for part in row):
                    several.add(line)
                yield line, fields
            line += len(row)
            row.clear()
    except csv.Error as error:
        advice = f"Close the quotes and double those inside, or save the rows {AS_ROWS}."
        if any('\\"' in part for part in row):
            advice = f"Double the quotes behind backslashes, with pandas: {_UNESCAPED}."
        raise SpecError(
            expected="RFC 4180 csv",
            found=error,
            advice=advice,
            where=f"{path} line {line}",
        ) from None


def _is_behind_space(field: str, line: list[str], delimiter: str) -> bool:
    """Whether a field stands in quotes that a space keeps from being marks."""
    if _QUOTED_BEHIND_SPACE.fullmatch(field) is None:
        return False
    row = delimiter + "".join(line)
    return delimiter + field in row


def _quote_behind_space(path: Path, line: int) -> SpecError:
    return SpecError(
        expected="a quote at the beginning of a quoted field",
        found="a space before it",
        advice=f"Remove the spaces behind the delimiters, or save the rows {AS_ROWS}.",
        where=f"{path} line {line}",
    )


def _lone_return(path: Path, line: int) -> SpecError:
    return SpecError(
        expected="lines that all end alike",
        found="a carriage return without a line feed",
        advice=f"Put quotes around the field, remove it, or save the rows {AS_ROWS}.",
        where=f"{path} line {line}",
    )


def _read_raw(content: Content, kind: Characters) -> Table:
    spaces = _Tally()
    newline = "\r" if kind.lone_returns and not kind.feeds else "\n"
    with content.text(newline=newline) as file:
        return _collect(content, _raw_rows(content.path, file, kind, spaces), spaces, "\t")


def _raw_rows(path: Path, file: TextIO, kind: Characters, spaces: _Tally) -> NumberedRows:
    for number, line in enumerate(file, 1):
        row = line.rstrip("\r\n")
        if not row.strip(" "):
            if row:
                spaces.add(number)
            continue
        if kind.mixed and "\r" in row:
            raise _lone_return(path, number)
        yield number, row.split("\t")


def _collect(content: Content, numbered: NumberedRows, spaces: _Tally, delimiter: str) -> Table:
    """The rows as a table: the first is the header. ``spaces`` has been filled when all rows have
    been taken.
    """
    path = content.path
    lines = Spool(np.int64)
    columns = Growing()
    empty = _Tally()
    line, header = next(numbered, (0, []))
    if _DECLARED.fullmatch(delimiter.join(header)):
        line, header = next(numbered, (0, []))
    top = header
    if header and content.reading.header is not None:
        _check_is_row(content, line, header)
        numbered = chain([(line, header)], numbered)
        header = list(content.reading.header)
    names = [name.strip() or (f"column {i}" if i > 1 else "") for i, name in enumerate(header, 1)]
    unnamed = [i for i, name in enumerate(header) if i and not name.strip()]
    in_unnamed = _Tally()
    repeated = tuple(repeated_names(names))
    ahead = list(islice(numbered, LOOKED_AHEAD if repeated or looks_like_row(names) else 0))
    numbered = chain(ahead, numbered)
    first_rows = [fields for _, fields in ahead]
    top_names, where = names, f"{path} line {line}"
    names = numbered_names(names, where, delimiter, first_rows, is_header_given=header is not top)
    further = [name for name, was in zip(names, top_names, strict=True) if name != was]
    rows: list[list[str]] = []
    numbers: list[int] = []
    for number, fields in islice(numbered, 1 if delimiter == "|" else 0):
        check_no_rule(f"{path} line {number}", fields)
        numbered = chain([(number, fields)], numbered)

    def keep() -> None:
        columns.add({name: [row[i] for row in rows] for i, name in enumerate(names)}, len(rows))
        lines.add(numbers)
        rows.clear()
        numbers.clear()

    for number, fields in numbered:
        if len(fields) != len(header):
            error = wrong_width(
                content, f"{path} line {number}", names, fields, delimiter, first_rows
            )
            if header is not top and len(fields) == len(top) and not top[0].startswith(COMMENTS):
                quoted = single_quotes_advice(content, fields)
                error.advice = quoted or _header_option_advice(top)
            raise error
        if fields == header or [field.strip("\ufeff") for field in fields] == header:
            first_rows = first_rows or rows[:LOOKED_AHEAD]
            raise header_again(f"{path} line {number}", header, delimiter, first_rows)
        if not any(fields):
            empty.add(number)
        if unnamed and any(fields[i].strip() for i in unnamed):
            in_unnamed.add(number)
        rows.append(fields)
        numbers.append(number)
        if len(rows) == BLOCK_ROWS:
            keep()
    keep()
    numbers_of_rows = lines.finish()
    is_named = header is not top and not content.reading.plain_quotes  # a preset's own files
    by_name = _Tally(len(numbers_of_rows), line) if is_named else _Tally()
    read = columns.finish()
    if not in_unnamed.count:
        read = {name: column for i, (name, column) in enumerate(read.items()) if i not in unnamed}
    consequence = f"It is no part of the text: it is read as {', '.join(names[i] for i in unnamed)}"
    if not looks_like_row(names):
        consequence += ". Put quotes around a text that was cut at a delimiter"
    remarks = chain(
        by_name.remark(Peculiar.NAMED, f"The first of them is: {short(', '.join(top))}"),
        empty.remark(
            Peculiar.EMPTY, "They keep their numbers, and are trained on only with a label"
        ),
        spaces.remark(Peculiar.SPACES, "They are no rows, as for pandas"),
        in_unnamed.remark(Peculiar.UNNAMED, consequence),
        (renamed(further, f"line {line}"),) if further else (),
    )
    peculiar = tuple(remarks)
    return Table(path, read, numbers_of_rows, typed=False, remarks=peculiar, repeated=repeated)


def _header_option_advice(top: list[str]) -> str:
    """What to do about a file whose first row has more or fewer fields than --header names."""
    if any(name.strip().casefold() in TEXT_COLUMNS for name in top):
        return (
            "It has a header of its own: give all files the same header line and leave --header "
            "out, or move this one elsewhere."
        )
    return f"Name all {len(top)} columns with --header."


def _check_is_row(content: Content, line: int, fields: list[str]) -> None:
    """Raises SpecError where the first line of a file whose columns --header names is a header
    itself.
    """
    header = [name.strip().casefold() for name in content.reading.header or ()]
    if [field.strip().casefold() for field in fields] == header:
        raise SpecError(
            expected="a row, as --header names the columns",
            found="a header line",
            advice="Leave --header out.",
            where=f"{content.path} line {line}",
        )


def _declared(content: Content) -> str | None:
    """The delimiter that the first line names for Excel."""
    with content.text() as file:
        match = _DECLARED.fullmatch(file.readline().strip("\r\n"))
    return None if match is None else match[1]


def _delimiter(content: Content) -> str:
    """The delimiter of a csv: a comma, unless commas leave the header whole and just one other
    splits every line alike.
    """
    if _width(content, ",", header_only=True) > 1:
        return ","
    candidates = [
        candidate
        for candidate in DELIMITERS
        if candidate != "," and _width(content, candidate, header_only=True) > 1
    ]
    fitting = [candidate for candidate in candidates if _width(content, candidate) > 1]
    return fitting[0] if len(fitting) == 1 else ","


def _width(content: Content, delimiter: str, header_only: bool = False) -> int:
    """How many fields every line has, or the first one alone; 0 where they differ or a quote is not
    closed.
    """
    csv.field_size_limit(_LONGEST)
    width = 0
    with content.text(newline="") as file:
        try:
            for fields in csv.reader(file, delimiter=delimiter, strict=True):
                if not fields or (len(fields) == 1 and not fields[0].strip()):
                    continue
                width = width or len(fields)
                if len(fields) != width:
                    return 0
                if header_only:
                    return width
        except csv.Error:
            return 0
    return width
