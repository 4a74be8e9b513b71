"""Whether the quotes in a tsv file are marks of its writer or ordinary characters: decided by the
whole file.

pandas, Excel and the csv module put quotes around a field that holds a quote, a tab or a line end,
and double the quotes inside. Files such as GLUE's are written without any quoting, and a reader
that takes their quotes for marks merges rows at the first one that is not closed. The evidence, and
what follows from it:

- A field that begins with a quote and is not closed as a quoting writer closes it (*broken*), or a
  field with a quote inside and none around it (*bare*): no writer that quotes leaves these, so
  quotes are ordinary characters.
- A quoted field in which quotes are doubled (*doubled*): its writer quotes. So does one that
  escapes them with backslashes (*escaped*), but not in the way that is read here: refused.
- Both of these: refused. Neither: quoted fields are taken as such, unless one spans lines that are
  rows by themselves.

One pass at the speed of the csv module; fields are looked at in rows that hold a quote.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from logitcache.data.sources.content import AS_ROWS, Content
from logitcache.data.sources.tables import Peculiar, Remark
from logitcache.errors import SpecError

# A whole quoted field (group 1: what is between its quotes), or whatever stands before the next tab
# (group 2).
_FIELD = re.compile(r'"((?:[^"]++|"")*+)"(?=\t|\Z)|([^\t]*+)')
_ESCAPED = re.compile(r'"(?:[^"\\]++|""|\\.)*+"', re.DOTALL)
_ADVICE = f"Correct the line, or save the rows {AS_ROWS}, which leaves no doubt."


class RecordedLines:
    """The lines of a file as a csv reader takes them; ``taken`` holds those taken since it was last
    cleared.
    """

    def __init__(self, file: TextIO) -> None:
        self.taken: list[str] = []
        self._lines = self._recorded(file)

    def __iter__(self) -> Iterator[str]:
        return self._lines

    def _recorded(self, file: TextIO) -> Iterator[str]:
        for line in file:
            self.taken.append(line)
            yield line


@dataclass
class Evidence:
    """What the quotes in one file say of its writer. Lines are 1-based; None where there is no such
    field.
    """

    path: Path
    quoted: int = 0  # rows with a field that begins with a quote
    first: int | None = None  # the line of the first of them
    broken: int | None = None
    bare: int | None = None
    doubled: int | None = None
    escaped: int | None = None
    # a quoted field over lines, each with as many tabs as the header
    several_rows: int | None = None

    def add(self, line: int, row: str) -> None:
        """Look at the fields of a row that begins on this line; the row comes without its line end."""
        begins = False
        position = 0
        while position <= len(row):
            match = _FIELD.match(row, position)
            assert match is not None  # the second choice matches anything
            position = match.end() + 1
            if match[1] is not None:
                begins = True
                if '""' in match[1]:
                    self.doubled = self.doubled or line
            elif match[2].startswith('"'):
                begins = True
                if '\\"' in match[2] and _ESCAPED.fullmatch(match[2]):
                    self.escaped = self.escaped or line
                self.broken = self.broken or line
            elif '"' in match[2]:
                self.bare = self.bare or line
        if begins:
            self.quoted += 1
            self.first = self.first or line


def evidence(content: Content) -> Evidence:
    """What the quotes in a tsv file say of its writer."""
    csv.field_size_limit(2**31 - 1)
    gathered = Evidence(content.path)
    with content.text(newline="") as file:
        lines = RecordedLines(file)
        reader = csv.reader(lines, delimiter="\t", strict=True)
        try:
            return _look_at_rows(gathered, lines, reader)
        except csv.Error:  # a quoted field that is not closed
            broken_row = reader.line_num
    with content.text(newline="") as file:
        return _look_at_lines(Evidence(content.path), file, broken_row)


def _look_at_rows(
    gathered: Evidence, lines: RecordedLines, reader: Iterable[list[str]]
) -> Evidence:
    number = 1
    tabs: int | None = None
    for _ in reader:
        record = lines.taken
        row = "".join(record)
        tabs = row.count("\t") if tabs is None else tabs
        if '"' in row:
            gathered.add(number, row.rstrip("\r\n"))
            if len(record) > 1 and all(line.count("\t") == tabs for line in record):
                gathered.several_rows = gathered.several_rows or number
        number += len(record)
        record.clear()
    return gathered


def _look_at_lines(gathered: Evidence, file: TextIO, broken_row: int) -> Evidence:
    """What a row is cannot be said where a quote is not closed, so each line is looked at as a row."""
    for number, line in enumerate(file, 1):
        if '"' in line:
            gathered.add(number, line.rstrip("\r\n"))
    gathered.broken = gathered.broken or broken_row
    return gathered


def is_quoted(files: Sequence[Evidence]) -> bool:
    """Whether quotes are marks in these files, which are parts of one table and so of one writer.

    Raises SpecError where they are marks in one field and ordinary characters in another, or may be
    either.
    """
    broken = _first(files, "broken")
    bare = _first(files, "bare")
    doubled = _first(files, "doubled")
    escaped = _first(files, "escaped")
    several_rows = _first(files, "several_rows")
    if escaped is not None:
        raise SpecError(
            expected="quotes inside a quoted field to be doubled",
            found="one with a backslash before it",
            advice=f"Double it, or save the rows {AS_ROWS}.",
            where=f"{escaped[0]} {escaped[1]}",
        )
    if doubled is not None and broken is not None:
        raise SpecError(
            "expected a field that begins with a quote to end with one, as its quotes inside are doubled on "
            f"{doubled[1]}, found one that does not. {_ADVICE}",
            where=f"{broken[0]} {broken[1]}",
        )
    if doubled is not None and bare is not None:
        raise SpecError(
            f"expected quotes around a field that holds a quote, as on {doubled[1]}, found none. {_ADVICE}",
            where=f"{bare[0]} {bare[1]}",
        )
    if broken is not None or bare is not None:
        return False
    if several_rows is not None and doubled is None:
        raise SpecError(
            expected="one row a line",
            found="a quoted field over several lines, each of which may be a row by itself",
            advice=f"{_ADVICE} If each line is a word and its label, name the file .conll.",
            where=f"{several_rows[0]} {several_rows[1]}",
        )
    return True


def _first(files: Sequence[Evidence], kind: str) -> tuple[Path, str] | None:
    """The first place of one kind: its file, and its line as a message names it."""
    for file in files:
        line = getattr(file, kind)
        if line is not None:
            return file.path, f"line {line}"
    return None


def remark(gathered: Evidence, quoted: bool) -> tuple[Remark, ...]:
    """What a user has to know of the rows with quotes in a file, if there are any."""
    if gathered.first is None:
        return ()
    if quoted:
        consequence = "The quotes around a field are not part of it, as pandas and Excel write them"
    else:
        consequence = (
            "Quotes are ordinary characters here, for not every field that has them is quoted"
        )
    return (Remark(Peculiar.QUOTED, consequence, gathered.quoted, f"line {gathered.first}"),)
