"""Errors over the fields of delimited text: names that stand twice, rows of another width than the
header.
"""

from __future__ import annotations

import re

from logitcache.data.sources.hints import header_advice, looks_like_row
from logitcache.data.sources.tables import check_once
from logitcache.errors import SpecError, short

_DASHES = re.compile(r" *(:?-{2,}:?)? *")  # or nothing, outside the outer bars
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def check_names(names: list[str], where: str) -> None:
    """Raises SpecError where two columns have one name."""
    try:
        check_once(names, where)
    except SpecError as error:
        error.advice += (
            f" {header_advice([[name] for name in names])}" if looks_like_row(names) else ""
        )
        raise


def check_no_rule(where: str, fields: list[str]) -> None:
    """Raises SpecError for the line below the header of a table in Markdown."""
    if any(map(str.strip, fields)) and all(map(_DASHES.fullmatch, fields)):
        raise SpecError(
            expected="a row",
            found="a line of dashes, as in a table of Markdown",
            advice="Remove the line.",
            where=where,
        )


def header_again(where: str, header: list[str], delimiter: str) -> SpecError:
    """The error over a row that is the header once more."""
    advice = "Remove the line."
    if delimiter == "\t" and not any(" " in name for name in header):
        advice += " If each line is a word and its tag, name the file .conll."
    return SpecError(
        expected="a row",
        found="the header again, as in files put one behind the other",
        advice=advice,
        where=where,
    )


def wrong_width(where: str, header: list[str], fields: list[str], delimiter: str) -> SpecError:
    """The error over a row of another number of fields than the header."""
    return SpecError(
        expected=f"{len(header)} fields as in the header ({short(', '.join(header))})",
        found=len(fields),
        advice=_advice(header, fields, delimiter),
        where=where,
    )


def _advice(header: list[str], fields: list[str], delimiter: str) -> str:
    """What may be done about a row of another number of fields than the header."""
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
    if looks_like_row(header):
        return f"Mend the line. {header_advice([[name] for name in header])}"
    if len(header) == 1:
        return "Remove what stands above the header, or mend the line."
    if len(fields) == len(header) + 1 and not fields[-1]:
        return "Remove the delimiter at the end of the lines."
    if len(fields) == len(header) + 1:
        return "Mend the line; or, if all lines begin with a row's name, put a name for it into the header."
    return "Mend the line."


def option_value(delimiter: str) -> str:
    """A delimiter as ``--delimiter`` takes it."""
    return "tab" if delimiter == "\t" else f"'{delimiter}'"
