"""What a data file holds, as its readers see it: unpacked and decoded.

How a file is packed is seen in its first bytes, whatever its name says: browsers unpack what they
fetch. Its encoding is the one that its byte order mark names, else the one that was asked for, else
UTF-8. UTF-16 without a mark is recognised by its zero bytes: in plain text every second byte is
one.
"""

from __future__ import annotations

import bz2
import codecs
import errno
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TextIO, cast

import pyarrow as pa

from logitcache.data.sources.tables import Peculiar, Remark
from logitcache.errors import LogitCacheError, SpecError, short

PACKINGS = (".gz", ".bz2", ".xz", ".zst")  # endings behind that of the table
UTF8 = "utf-8-sig"  # a mark at the beginning is no part of the text
_MARKS = (
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, with whose mark it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FREQUENT = "cp1252"  # of encodings other than UTF-8
_WITHOUT_LINES = ("utf-16", "utf-32")  # encodings whose lines do not end at a byte 10
_BZIP2 = re.compile(rb"BZh[1-9]1AY&SY")
_LOOK = 4096
_BLOCK = 1 << 20
_ZIP = b"PK\x03\x04"
_SPREADSHEET = "[Content_Types].xml"  # a member of every file of an office program
# what a row must look like, at the end of what else is said of rows that are not recognised
AS_ROWS = 'as jsonl, {"text": ..., "label": ...} a line (other names: --text, --label)'
EXPORT = "Save it as CSV (UTF-8) in the spreadsheet program, or with pandas: read_excel(FILE).to_csv(OUT, index=False)"


@dataclass(frozen=True)
class Reading:
    """How text files are to be read, where it cannot be seen from them."""

    encoding: str | None = None
    delimiter: str | None = None
    header: tuple[str, ...] | None = None  # names of the columns, where no line has them
    plain_quotes: bool = False  # quotes in a tsv are ordinary characters


@dataclass(frozen=True)
class Content:
    """One file: what is in it, and how it is to be read."""

    path: Path
    encoding: str
    reading: Reading
    guessed: bool = False  # whether nothing but the look of its bytes tells its encoding

    @classmethod
    def of(cls, path: Path, reading: Reading) -> Content:
        """Look at a file's first bytes. Raises SpecError where it cannot be unpacked."""
        with unpacking(path), unpacked(path) as file:
            start = file.read(_LOOK)
        for mark, encoding in _MARKS:
            if start.startswith(mark):
                return cls(path, encoding, reading)
        if reading.encoding is not None:
            return cls(path, reading.encoding, reading)
        guess = _without_mark(start)
        return cls(path, guess or UTF8, reading, guessed=guess is not None)

    def open(self) -> BinaryIO:
        return unpacked(self.path)

    def text(self, newline: str | None = None) -> TextIO:
        """The text, with line ends as :func:`open` gives them."""
        return io.TextIOWrapper(unpacked(self.path), self.encoding, newline=newline)

    def start(self) -> bytes:
        with self.open() as file:
            return file.read(_LOOK)

    def remarks(self, rows: int) -> tuple[Remark, ...]:
        """What a user has to know of the encoding."""
        if self.guessed:
            return (
                Remark(
                    Peculiar.UTF16,
                    "They are read as such. Another encoding: --encoding",
                    rows,
                    "line 1",
                ),
            )
        if self.encoding != self.reading.encoding or _is_utf8_name(self.encoding):
            return ()
        lines = _utf8_lines(self)
        if not lines:
            return ()
        consequence = f"They are read as {self.encoding}, as asked for. Without --encoding they are read as UTF-8"
        return (Remark(Peculiar.ALSO_UTF8, consequence, len(lines), f"line {lines[0]}"),)


def unpacked(path: Path) -> BinaryIO:
    """A file's bytes, unpacked."""
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"\x1f\x8b"):
        return cast("BinaryIO", gzip.open(path))
    if _BZIP2.match(start):
        return cast("BinaryIO", bz2.open(path))
    if start.startswith(b"\xfd7zXZ\0"):
        return cast("BinaryIO", lzma.open(path))
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        return io.BufferedReader(pa.input_stream(path, compression="zstd"))
    if start.startswith(_ZIP):
        return _member(path)
    return path.open("rb")


def members(path: Path) -> list[str]:
    """The files in a zip archive, excluding those that macOS adds; empty if it is no zip archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    # NotImplementedError: what zipfile raises for a compression that it does not know
    except (zipfile.BadZipFile, NotImplementedError, OSError):
        return []
    return [
        name for name in names if not name.endswith("/") and not _is_hidden(PurePosixPath(name))
    ]


def _is_hidden(path: PurePosixPath) -> bool:
    return path.name.startswith(".") or path.parts[0] == "__MACOSX"


def _member(path: Path) -> BinaryIO:
    """The one file of an archive. Raises SpecError where there are several, or it needs a password."""
    names = members(path)
    if _SPREADSHEET in names:
        raise SpecError(expected="text", found="an Excel file", advice=f"{EXPORT}.", where=path)
    if len(names) != 1:
        listing = ", ".join(map(short, names[:8])) or "none"
        advice = "Unpack it, and name the file or the folder."
        raise SpecError(
            expected="a zip archive of one file", found=listing, advice=advice, where=path
        )
    with zipfile.ZipFile(path) as archive:  # its file stays open as long as that of a member
        if archive.getinfo(names[0]).flag_bits & 1:
            advice = "Unpack it."
            raise SpecError(
                expected="an archive without a password",
                found="a password-protected archive",
                advice=advice,
                where=path,
            )
        return cast("BinaryIO", archive.open(names[0]))


@contextmanager
def unpacking(path: Path) -> Iterator[None]:
    """Raises SpecError for a packed file that is broken."""
    try:
        yield
    except (
        EOFError,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
        NotImplementedError,  # zipfile: a compression that it does not know
        pa.ArrowException,
    ) as error:
        raise _broken(path, error) from None
    except OSError as error:
        # a disk's fault; EINVAL: an archive that names no place in itself
        if error.errno not in (None, errno.EINVAL):
            raise
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> SpecError:
    advice = "Fetch or pack it again."
    return SpecError(
        expected="a packed file that is whole", found=short(error), advice=advice, where=path
    )


def _without_mark(start: bytes) -> str | None:
    """UTF-16 in one order or the other, where at least every other character is one of plain text;
    else None.
    """
    low, high = start[::2].count(0), start[1::2].count(0)
    if high * 4 > len(start) and not low:
        return "utf-16-le"
    if low * 4 > len(start) and not high:
        return "utf-16-be"
    return None


def _is_utf8_name(encoding: str) -> bool:
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii")


def _utf8_lines(content: Content) -> list[int]:
    """The lines (1-based) with letters beyond ASCII that are UTF-8, where these are most of such
    lines; else none.
    """
    lines = []
    missing = 0
    with content.open() as file:
        for number, line in enumerate(file, 1):
            if not line.isascii():
                lines += [number] if _decodes(line, "utf-8") else []
                missing += not lines or lines[-1] != number
    return lines if len(lines) > missing else []


def undecodable(content: Content) -> LogitCacheError:
    """The error over bytes that are not of the encoding, with the first line that has them and what
    may be done.
    """
    if content.encoding.startswith(_WITHOUT_LINES):
        error = SpecError(
            expected=content.encoding, found="bytes that are not, as in a file that was cut"
        )
        error.advice = "Save it as UTF-8."
        return error.at(content.path)
    number, line, is_mixed = _first_undecodable(content)
    error = SpecError(expected=content.encoding, found="bytes that are not")
    error.advice = "Give another --encoding, or save the file as UTF-8."
    if content.encoding == UTF8:
        error.expected = "UTF-8"
        error.advice = f"Save it as UTF-8, or name its encoding with --encoding{_example(line)}"
        if is_mixed:
            error.advice = "Correct or remove the line: lines before it are UTF-8."
        elif _decodes(line, _FREQUENT):
            error.suggested = {"encoding": _FREQUENT}
    return error.at(f"{content.path} line {number}")


def _example(line: bytes) -> str:
    """What a line is in the most frequent of other encodings, so that somebody can judge it."""
    if not _decodes(line, _FREQUENT):
        return " (gb18030, shift_jis, cp1251, ...)."
    text = short(line.decode(_FREQUENT).strip())
    return f": with --encoding {_FREQUENT} the line reads: {text}"


def _first_undecodable(content: Content) -> tuple[int, bytes, bool]:
    """The first line that cannot be decoded (1-based), and whether a line before it holds more than
    ASCII. The decoder itself counts from the start of whatever block it read.
    """
    is_mixed = False
    number, line = 0, b""
    with content.open() as file:
        for line in file:
            number += 1
            if not _decodes(line, content.encoding):
                break
            is_mixed = is_mixed or not line.isascii()
    return number, line, is_mixed


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeError:
        return False
    return True
