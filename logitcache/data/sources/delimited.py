"""Delimited text: csv and tsv. In both every field is text, and a file is read block by block.

csv follows RFC 4180: quotes group and double. Whether quotes do so in a tsv is decided by :mod:`quoting`. Rows are
those that pandas reads: a line without any character, or of nothing but spaces, is no row; a row whose fields are all
empty is one. Lines that pandas would repair (too short, badly quoted, the header again) are refused.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TextIO

import numpy as np

from logitcache.data.sources import quoting
from logitcache.data.sources.growing import Growing
from logitcache.data.sources.quoting import RecordedLines
from logitcache.data.sources.tables import Peculiar, Remark, Table, check_once
from logitcache.data.spool import BLOCK_ROWS, Spool
from logitcache.errors import SpecError

_BLOCK_BYTES = 1 << 20
_LONE_RETURN = re.compile(rb"\r(?![\r\n])")
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
NumberedRows = Iterator[tuple[int, list[str]]]


@dataclass(frozen=True)
class Bytes:
    """Which bytes a file has that decide how it is read."""

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


def look(path: Path) -> Bytes:
    """Look through a file's bytes. Raises SpecError naming the line of a NUL, which no text has."""
    quotes = feeds = lone_returns = False
    line = 1
    rest = b""  # a carriage return at the end of a block: what follows it decides
    with path.open("rb") as file:
        while block := rest + file.read(_BLOCK_BYTES):
            last = block == rest
            rest = b"\r" if block.endswith(b"\r") and not last else b""
            block = block[: len(block) - len(rest)]
            if b"\0" in block:
                line += block[: block.index(b"\0")].count(b"\n")
                raise SpecError(
                    "expected text, found a NUL byte. Save it as UTF-8, or remove the byte.",
                    where=f"{path} line {line}",
                )
            line += block.count(b"\n")
            quotes = quotes or b'"' in block
            feeds = feeds or b"\n" in block
            lone_returns = lone_returns or _LONE_RETURN.search(block) is not None
    return Bytes(quotes, feeds, lone_returns)


def read_csv(path: Path) -> Table:
    """Read a csv. Raises SpecError naming the first line that cannot be read."""
    kind = look(path)
    delimiter = _delimiter(path)
    if delimiter == "\t":
        table = read_tsv(path)
    else:
        table = _read_quoted(path, delimiter, kind)
    if delimiter == ",":
        return table
    name = _DELIMITERS[delimiter]
    consequence = f"They are read so, as {name} split every line alike"
    remark = Remark(Peculiar[name.upper()], consequence, len(table), "line 1")
    return table.with_remarks((remark,))


def read_tsv(path: Path, quoted: bool | None = None) -> Table:
    """Read a tsv whose quotes are marks, or are ordinary characters, or (None) what the file says by itself.

    Raises SpecError naming the first line that cannot be read.
    """
    kind = look(path)
    if quoted is None and kind.quotes:
        csv.field_size_limit(2**31 - 1)
        gathered = quoting.evidence(path)
        quoted = quoting.is_quoted([gathered])
        return _read_tsv(path, quoted, kind).with_remarks(quoting.remark(gathered, quoted))
    return _read_tsv(path, quoted or False, kind)


def _read_tsv(path: Path, quoted: bool, kind: Bytes) -> Table:
    return _read_quoted(path, "\t", kind) if quoted else _read_raw(path, kind)


def _read_quoted(path: Path, delimiter: str, kind: Bytes) -> Table:
    spaces = _Tally()
    several = _Tally()
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = _collect(path, _quoted_rows(path, file, delimiter, kind, spaces, several), spaces, delimiter)
    consequence = "Each is one row, as for pandas. Save the rows as jsonl if their quotes are plain characters"
    return table.with_remarks(several.remark(Peculiar.SEVERAL_LINES, consequence))


def _quoted_rows(
    path: Path, file: TextIO, delimiter: str, kind: Bytes, spaces: _Tally, several: _Tally
) -> NumberedRows:
    csv.field_size_limit(2**31 - 1)
    lines = RecordedLines(file)
    taken = lines.taken
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line = 1
    while True:
        try:
            for fields in reader:
                if len(fields) == 1 and not taken[0].strip(" \t\r\n"):
                    spaces.add(line)
                elif fields:
                    if kind.mixed and taken[-1].endswith("\r"):
                        raise _lone_return(path, line)
                    if len(taken) > 1 and all(part.count(delimiter) == len(fields) - 1 for part in taken):
                        several.add(line)
                    yield line, fields
                line += len(taken)
                taken.clear()
        except csv.Error as error:
            raise SpecError(
                f"expected RFC 4180 csv, found: {error}. Close the quotes and double those inside, or save the rows as "
                "jsonl.",
                where=f"{path} line {line}",
            ) from None
        return


def _lone_return(path: Path, line: int) -> SpecError:
    return SpecError(
        expected="lines that all end alike",
        found="a carriage return without a line feed",
        advice="Put quotes around the field, remove it, or save the rows as jsonl.",
        where=f"{path} line {line}",
    )


def _read_raw(path: Path, kind: Bytes) -> Table:
    spaces = _Tally()
    newline = "\r" if kind.lone_returns and not kind.feeds else "\n"
    with path.open(encoding="utf-8-sig", newline=newline) as file:
        return _collect(path, _raw_rows(path, file, kind, spaces), spaces, "\t")


def _raw_rows(path: Path, file: TextIO, kind: Bytes, spaces: _Tally) -> NumberedRows:
    for number, line in enumerate(file, 1):
        row = line.rstrip("\r\n")
        if not row.strip(" "):
            if row:
                spaces.add(number)
            continue
        if kind.mixed and "\r" in row:
            raise _lone_return(path, number)
        yield number, row.split("\t")


def _collect(path: Path, numbered: NumberedRows, spaces: _Tally, delimiter: str) -> Table:
    """The rows as a table: the first is the header. ``spaces`` has been filled when all rows have been taken."""
    lines = Spool(np.int64)
    columns = Growing()
    empty = _Tally()
    line, header = next(numbered, (0, []))
    check_once(header, f"{path} line {line}")
    rows: list[list[str]] = []
    numbers: list[int] = []

    def keep() -> None:
        columns.add({name: [row[i] for row in rows] for i, name in enumerate(header)})
        lines.add(numbers)
        rows.clear()
        numbers.clear()

    for number, fields in numbered:
        if len(fields) != len(header):
            raise _wrong_width(f"{path} line {number}", header, fields, delimiter)
        if fields == header:
            raise SpecError(
                "expected a row, found the header again, as in files put one behind the other. Remove the line.",
                where=f"{path} line {number}",
            )
        if not any(fields):
            empty.add(number)
        rows.append(fields)
        numbers.append(number)
        if len(rows) == BLOCK_ROWS:
            keep()
    keep()
    remarks = chain(
        empty.remark(Peculiar.EMPTY, "They keep their numbers, and are trained on only with a label"),
        spaces.remark(Peculiar.SPACES, "They are no rows, as for pandas"),
    )
    return Table(path, columns.finish(), lines.finish(), typed=False, remarks=tuple(remarks))


def _wrong_width(where: str, header: list[str], fields: list[str], delimiter: str) -> SpecError:
    advice = "Mend the line."
    others = [other for other in _DELIMITERS if len(header) == 1 and other != delimiter and other in header[0]]
    if others:
        advice = f"Put {_DELIMITERS[delimiter]} between the fields, not {others[0]!r}, or mend the line."
    return SpecError(
        f"expected {len(header)} fields as in the header ({', '.join(header)}), found {len(fields)}. {advice}",
        where=where,
    )


def _delimiter(path: Path) -> str:
    """The delimiter of a csv: a comma, unless commas leave the header whole and just one other splits every line
    alike.
    """
    if _width(path, ",", header_only=True) > 1:
        return ","
    others = [other for other in _DELIMITERS if other != "," and _width(path, other, header_only=True) > 1]
    fitting = [other for other in others if _width(path, other) > 1]
    return fitting[0] if len(fitting) == 1 else ","


def _width(path: Path, delimiter: str, header_only: bool = False) -> int:
    """How many fields every line has, or the first one alone; 0 where they differ or a quote is not closed."""
    csv.field_size_limit(2**31 - 1)
    width = 0
    with path.open(encoding="utf-8-sig", newline="") as file:
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
