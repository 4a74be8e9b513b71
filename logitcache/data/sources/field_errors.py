"""Errors over the fields of delimited text: names that stand twice, rows of another width than the
header.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from logitcache.data.names import is_number
from logitcache.data.sources.advice import (
    by_first_word,
    header_advice,
    option_value,
    reshape,
    words_first,
)
from logitcache.data.sources.columns import LABEL_COLUMNS, TEXT_COLUMNS, called
from logitcache.data.sources.content import Content
from logitcache.data.sources.endings import ending
from logitcache.data.sources.hints import looks_like_row, tags_among
from logitcache.data.sources.tables import check_once, numbered, repeated_names
from logitcache.errors import SpecError, counted, short

_PLAIN_NAME = re.compile(r"[\w .-]*")
_DASHES = re.compile(r" *(:?-{2,}:?)? *")  # or nothing, outside the outer bars
COMMENTS = ("#", "%")  # what begins a line that is no row, in files of some tools
LOOKED_AHEAD = 50  # rows that say what the columns hold, where the header is rather a row
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def numbered_names(
    names: list[str],
    where: str,
    delimiter: str,
    rows: Sequence[Sequence[str]],
    is_header_given: bool,
) -> list[str]:
    """The names, further columns of one name numbered as pandas does (``name.1``); ``rows`` are the
    first below the header. Raises SpecError where a name repeats that the first column has, that
    --header gives, where a space is the delimiter, or where the header is rather a row.
    """
    repeated = repeated_names(names)
    if (
        is_header_given
        or delimiter == " "
        or names[:1] == repeated[:1]
        or _is_row(names, repeated, rows)
    ):
        _check_names(names, where, delimiter, rows)
    return numbered(names)


def _is_row(names: Sequence[str], repeated: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the header is rather a row: it holds a number, or what repeats is a sentence or
    stands again in these columns.
    """
    if any(is_number(name.strip()) for name in names) or looks_like_row(repeated):
        return True
    pairs = (pair for row in rows for pair in zip(names, row, strict=False))
    return any(name == field and name in repeated for name, field in pairs)


def _check_names(
    names: list[str], where: str, delimiter: str, rows: Sequence[Sequence[str]]
) -> None:
    """Raises SpecError where two columns have one name."""
    try:
        check_once(names, where)
    except SpecError as error:
        if delimiter == " ":
            error.advice = (
                f"{by_first_word(where.rpartition(' line ')[0])}, and leave --delimiter out."
            )
        elif looks_like_row(names):
            error.advice += f" {_header_advice(names, rows)}"
        else:
            error.advice += _renaming(names, where, delimiter)
        raise


def _renaming(names: list[str], where: str, delimiter: str) -> str:
    """The command that numbers the names in a header line; empty where they hold other marks than
    those of words, and for a packed file.
    """
    path, _, line = where.rpartition(" line ")
    if not all(map(_PLAIN_NAME.fullmatch, names)) or ending(Path(path)) != Path(path).suffix:
        return ""
    header = delimiter.join(numbered(names)).replace("\t", r"\t")
    out = f"OUT{Path(path).suffix}"
    return f" To number them: sed '{line}s/.*/{header}/' {shlex.quote(path)} > {out}"


def _header_advice(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """What to do where the first line is a row, as those below it that are as wide."""
    alike = [row for row in rows if len(row) == len(names)]
    return header_advice(list(map(list, zip(names, *alike, strict=True))))


def check_no_rule(where: str, fields: list[str]) -> None:
    """Raises SpecError for the line below the header of a table in Markdown."""
    if any(map(str.strip, fields)) and all(map(_DASHES.fullmatch, fields)):
        raise SpecError(
            expected="a row",
            found="a line of dashes, as in a table of Markdown",
            advice="Remove the line.",
            where=where,
        )


def header_again(
    where: str, header: list[str], delimiter: str, rows: Sequence[Sequence[str]]
) -> SpecError:
    """The error over a row that is the header once more; ``rows`` are the first below it."""
    advice = "Remove the line."
    if not any(called(name, header) for name in (*TEXT_COLUMNS, *LABEL_COLUMNS)):
        advice += f" {_header_advice(header, rows)}"
    if delimiter == "\t" and not any(" " in name for name in header):
        advice += " If each line is a word and its tag, name the file .conll."
    return SpecError(
        expected="a row",
        found="the header again, as in files put one behind the other",
        advice=advice,
        where=where,
    )


def wrong_width(
    content: Content,
    where: str,
    header: list[str],
    fields: list[str],
    delimiter: str,
    rows: Sequence[Sequence[str]],
) -> SpecError:
    """The error over a row of another number of fields than the header; ``rows`` are the first
    below it.
    """
    return SpecError(
        expected=f"{counted(len(header), 'field')} as in the header ({short(', '.join(header))})",
        found=len(fields),
        advice=_advice(content, header, fields, delimiter, rows),
        where=where,
    )


def _advice(
    content: Content,
    header: list[str],
    fields: list[str],
    delimiter: str,
    rows: Sequence[Sequence[str]],
) -> str:
    """What may be done about a row of another number of fields than the header."""
    if delimiter == " ":
        return f"{by_first_word(content)}, and leave --delimiter out."
    quoted = single_quotes_advice(content, fields)
    if quoted:
        return quoted
    lines = delimiter.join(header), delimiter.join(fields)
    other = next(
        (
            other
            for other in DELIMITERS
            if other != delimiter and all(other in line for line in lines)
        ),
        None,
    )
    if other is not None:
        return f"Give --delimiter {option_value(other)} if that separates the fields, or mend the line."
    comments = _comments_advice(content, header, fields, delimiter)
    if comments:
        return comments
    if looks_like_row(header):
        return f"Mend the line. {_header_advice(header, rows)}"
    if len(header) == 1:
        return "Remove what stands above the header, or mend the line."
    is_numbered = fields[0].isdecimal()
    if delimiter == "," and len(header) == 2 and all(map(str.strip, fields)) and not is_numbered:
        return (
            f"Mend the line; if the commas are of the texts, write: {_one_comma(content, header)}."
        )
    if len(fields) == len(header) + 1 and not fields[-1]:
        return "Remove the delimiter at the end of the lines."
    if len(fields) == len(header) + 1:
        return "Mend the line; or, if all lines begin with a row's name, put a name for it into the header."
    return "Mend the line."


def single_quotes_advice(content: Content, fields: Sequence[str]) -> str:
    """How to convert a file whose fields ' quotes, as one of these begins with it and one ends; empty
    for others.
    """
    first = next((i for i, field in enumerate(fields) if field.startswith("'")), len(fields))
    if not any(field.endswith("'") for field in fields[first:]):
        return ""
    command = reshape("single-quotes", [content], content.reading.header or ())
    return f"If it quotes fields by single quotes, convert it: {command}."


def _one_comma(content: Content, header: Sequence[str]) -> str:
    """A command that keeps the one comma of each line that is beside its label."""
    first, last = (name.strip().casefold() for name in header)
    is_label_first = called(first, LABEL_COLUMNS) or called(last, TEXT_COLUMNS)
    columns = ["label", "text"] if is_label_first else ["text", "label"]
    return reshape("label-by-comma", [content], columns)


def _is_comment(fields: Sequence[str]) -> bool:
    """Whether it is a mark and what follows it: one field, or the mark is one itself."""
    return fields[0] in COMMENTS or (len(fields) == 1 and fields[0].startswith(COMMENTS))


def _comments_advice(
    content: Content, header: Sequence[str], fields: Sequence[str], delimiter: str
) -> str:
    """How to remove comments, one of which is the header or the row; empty where neither is one,
    where rows begin as they do, or where a header that begins with a column # is as wide as a row.
    """
    if _is_comment(header):
        comment, row = header[0], fields
    elif _is_comment(fields):
        comment, row = fields[0], header
    else:
        return ""
    mark = comment[: len(comment) - len(comment.lstrip(comment[0]))]
    count = 0
    others: list[list[str]] = []
    with content.text() as file:
        for line in file:
            parts = line.rstrip("\r\n").split(delimiter)
            if line.startswith(mark):
                count += 1
                if comment == mark and len(parts) == len(row):
                    return ""
            elif comment == header[0] == mark and len(parts) == len(header):
                return ""
            elif len(parts) == len(row) and len(others) < LOOKED_AHEAD:
                others.append(parts)
    fields_by_column = {str(n): values for n, values in enumerate(zip(*others, strict=True))}
    if mark == "#" and tags_among(fields_by_column) is not None:
        command = words_first(others, content)
        return f"If each line is a word with its tags, below comments: {command}."
    command = f"grep -v '^{mark}' FILE > OUT{ending(content.path)}"
    advice = f"Remove the comments: the lines that begin with {mark!r} ({count:,}): {command}."
    if content.reading.header is None and others and looks_like_row(others[0]):
        advice += f" {_header_advice(others[0], others[1:])}"
    return advice
