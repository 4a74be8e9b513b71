"""Files read as tables: which reader a file's ending names, and what its first bytes say against
that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TypeVar

from logitcache.data.sources import quoting, webanno
from logitcache.data.sources.advice import reshape
from logitcache.data.sources.class_folders import read_class_folders
from logitcache.data.sources.conll import read_conll, read_conllu
from logitcache.data.sources.content import (
    AS_ROWS,
    EXPORT,
    Content,
    Reading,
    undecodable,
    unpacking,
)
from logitcache.data.sources.delimited import read_csv, read_tsv
from logitcache.data.sources.documents import read_json
from logitcache.data.sources.endings import PART, ending, stem
from logitcache.data.sources.parquet import read_arrow, read_parquet
from logitcache.data.sources.plain import read_txt
from logitcache.data.sources.tables import Table, joined
from logitcache.errors import SpecError
from logitcache.hub import is_pointer, pointer_in_place_of

READERS: dict[str, Callable[[Content], Table]] = {
    ".jsonl": read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
    ".json": read_json,
    ".ndjson": read_json,
    ".txt": read_txt,
    ".arrow": read_arrow,
    ".feather": read_arrow,
    ".conll": read_conll,
    ".iob2": read_conll,
    ".iob": read_conll,
    ".bio": read_conll,
    ".conllu": read_conllu,
}
_BINARY = (".parquet", ".arrow", ".feather")
# What a file begins with that is no text, and what may be done.
_OTHER_KINDS = (
    (b"PAR1", "a parquet file", "Name it .parquet."),
    (b"ARROW1", "an arrow file", "Name it .arrow."),
    (b"\xd0\xcf\x11\xe0", "an Excel file", f"{EXPORT}."),
    (b"%PDF", "a PDF file", f"Save its rows {AS_ROWS}."),
    (b"<!doctype html", "a web page", "Download the file itself (on GitHub: Raw)."),
    (b"<html", "a web page", "Download the file itself (on GitHub: Raw)."),
)
_IMPORT_ID = '"{""ImportId"":""'  # in the third row of Qualtrics
_LOOKED_AT = 1 << 16  # characters
_SHIFTED_FEED = "\u0a00"
_DELIMITED = (".csv", ".tsv", ".txt")
_PLAIN = Reading()
T = TypeVar("T")


def read_tables(paths: Sequence[Path], options: Reading = _PLAIN) -> Table:
    """Read the parts of one split, one behind the other; or the folder of a split, which holds one
    for each class. Quotes in a tsv mean what all parts together say.

    Raises SpecError naming the line that cannot be read, or the part that names its classes
    otherwise.
    """
    if paths[0].is_dir():
        return read_class_folders(paths[0], options)
    if len(paths) == 1:
        return read_table(paths[0], options)
    are_tsv = all(ending(path) == ".tsv" for path in paths)
    if are_tsv and not options.plain_quotes and options.delimiter is None:
        tables = _read_tsv_parts(paths, options)
    else:
        tables = [read_table(path, options) for path in paths]
    return joined(tables, paths[0].with_name(_common_name(paths[0])))


def _common_name(path: Path) -> str:
    """What the parts of a table are called together."""
    match = PART.fullmatch(stem(path))
    return f"*{path.suffix}" if match is None else f"{match[1]}-*-of-{match[3]}{path.suffix}"


def _read_tsv_parts(paths: Sequence[Path], options: Reading) -> list[Table]:
    """Parts of one tsv: one writer, so quotes mean the same in all of them."""
    gathered = [_checked(path, options, quoting.evidence) for path in paths]
    quoted = quoting.is_quoted(gathered)
    tables = []
    for part in gathered:
        table = _checked(part.path, options, lambda content: read_tsv(content, quoted))
        tables.append(table.with_remarks(quoting.remark(part, quoted)))
    return tables


def read_table(path: Path, options: Reading = _PLAIN) -> Table:
    """Read one file whole. Raises SpecError naming the line that cannot be read."""
    if options.plain_quotes and (ending(path) == ".tsv" or options.delimiter == "\t"):
        return _checked(path, options, lambda content: read_tsv(content, quoted=False))
    content, table = _checked(
        path, options, lambda content: (content, READERS[ending(path)](content))
    )
    return table if ending(path) in _BINARY else table.with_remarks(content.remarks(len(table)))


def _checked(path: Path, options: Reading, read: Callable[[Content], T]) -> T:
    """What ``read`` makes of a file. Raises SpecError where the file is of another kind than its
    name says.
    """
    if is_pointer(path):
        raise pointer_in_place_of("data").at(path)
    content = Content.of(path, options)
    with unpacking(path):
        try:
            _check_kind(content)
            return read(content)
        except UnicodeError:
            raise undecodable(content) from None


def _check_kind(content: Content) -> None:
    """Raises SpecError where the first bytes are those of another kind of file."""
    name_ending = ending(content.path)
    if name_ending in _BINARY:
        return
    if content.encoding.startswith("utf-16"):
        _check_aligned(content)
    start = content.start()
    where = f"{content.path} line 1"
    for magic, kind, advice in _OTHER_KINDS:
        if start.lstrip().lower().startswith(magic.lower()):
            raise SpecError(expected="rows of text", found=kind, advice=advice, where=where)
    if name_ending == ".csv":
        _check_no_survey(content)
    if start.startswith(webanno.MAGIC):
        with content.text() as file:
            advice = webanno.conll_advice(
                takewhile(lambda line: line.startswith("#"), file), content
            )
        found = "an export of WebAnno or INCEpTION"
        raise SpecError(expected="rows of text", found=found, advice=advice, where=where)
    if name_ending in _DELIMITED and start.startswith((b'{"', b'[{"')):
        advice = "Name it .jsonl."
        raise SpecError(
            expected="fields with delimiters between them", found="JSON", advice=advice, where=where
        )


def _check_no_survey(content: Content) -> None:
    """Raises SpecError for an export of Qualtrics, whose second and third rows are headers too: the
    texts of the questions, and their ids as JSON.
    """
    with content.text() as file:
        start = file.read(_LOOKED_AT)
    if _IMPORT_ID not in start:
        return
    raise SpecError(
        expected="one header, and rows",
        found="an export of Qualtrics, with the questions and their ids below the header",
        advice=f"Write its rows alone: {reshape('qualtrics', [content])}.",
        where=content.path,
    )


def _check_aligned(content: Content) -> None:
    """Raises SpecError where a byte too many or too few makes other characters of all that follows
    in UTF-16: its line feeds become U+0A00, which is no character.
    """
    with content.text(newline="") as file:
        text = file.read()
    shifted = text.find(_SHIFTED_FEED)
    if shifted >= 0:
        line = 1 + text.count("\n", 0, shifted)
        fault = "one byte too many or too few"
        where = f"{content.path} line {line}"
        raise SpecError(
            expected="UTF-16", found=fault, advice="Save the file again, as UTF-8.", where=where
        )
