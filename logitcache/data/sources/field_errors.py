"""Errors over the fields of delimited text: names that stand twice, rows of another width than the
header.
"""

from __future__ import annotations

from logitcache.data.sources.hints import header_advice, looks_like_row
from logitcache.data.sources.tables import check_once
from logitcache.errors import SpecError, short

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
