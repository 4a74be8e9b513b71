"""How texts are written: characters that a wrong encoding leaves, remains of HTML, missing words,
lengths.

Each pattern is searched by arrow (RE2), block by block; only the first text with a fault is looked
at in Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from logitcache.data.findings import Bool, Fault, Finding, finding_of, quoted
from logitcache.data.label_values import MISSING_TEXTS
from logitcache.data.rows import Rows, Source
from logitcache.data.sources.columns import MESSAGES
from logitcache.data.spool import by_block, numpy_of
from logitcache.records import Int64

# What the bytes 0x80 to 0xBF of UTF-8 become in Windows-1252, and in Latin-1.
_CONTINUED = "[\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
_TAGS = (
    "a|b|br|div|em|font|h[1-6]|hr|i|img|li|ol|p|pre|script|span|strong|style|table|td|th|tr|u|ul"
)
_BLANK = "\\s\u00a0\u2000-\u200b\u3000\ufeff"  # in brackets
_WORD = "\\pL\\pN\\p{So}"  # letters, digits, and symbols such as emoji
_MISSING = "|".join(map(re.escape, sorted((*MISSING_TEXTS, "[deleted]", "[removed]"))))


@dataclass(frozen=True)
class Pattern:
    """A regular expression of RE2 that texts with a fault match. Unless it is of ``whole`` texts,
    Python reads it alike and finds where the fault is.
    """

    fault: Fault
    expression: str
    whole: bool = False
    every: bool = False  # of the texts of a row: one alone is no fault
    least_share: float = 0.0  # of the rows: fewer are no fault


MOST = 0.5  # share of rows
OBJECT = r"""(?s)^\s*\{\s*"[^"]*"\s*:.*\}\s*$"""
PATTERNS = (
    Pattern(Fault.EMPTY, f"^[{_BLANK}]*$", whole=True, every=True),
    Pattern(Fault.NO_WORD, f"^[^{_WORD}]*[^{_WORD}{_BLANK}][^{_WORD}]*$", whole=True),
    Pattern(Fault.MISSING, f"^(?:{_MISSING})$", whole=True),
    Pattern(Fault.NUMBER, r"^\s*[-+]?[0-9][0-9.,]*\s*$", whole=True, least_share=MOST),
    Pattern(Fault.OBJECT, OBJECT, whole=True, least_share=MOST),
    Pattern(Fault.BYTES, r"""^b'.*'$|^b".*"$""", whole=True),
    Pattern(Fault.REPLACEMENT, "\ufffd"),
    Pattern(Fault.MOJIBAKE, f"[ÂÃ]{_CONTINUED}|â€|ðŸ|ï»¿|ï¿½|(?:[ÐÑ]{_CONTINUED}){{2}}"),
    Pattern(Fault.NUL, "\\x00"),
    Pattern(Fault.CONTROL, "[\\x01-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f\u0080-\u009f]"),
    Pattern(Fault.INVISIBLE, "[\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069]"),
    Pattern(
        Fault.HTML,
        rf"(?i)</?(?:{_TAGS})(?:\s[^<>]*)?/?>|&(?:amp|lt|gt|quot|apos|nbsp|#[0-9]+|#x[0-9a-f]+);",
    ),
    Pattern(Fault.ESCAPE, r"""[^\\]\\[nrt](?:[^a-z]|$)|\\u[0-9a-fA-F]{4}|[^\\]\\" """.strip()),
)


def faults_of_texts(source: Source) -> Iterator[Finding]:
    """The faults of the texts of each split. Cost: seven searches of all texts, and seven of those
    that one of the patterns for parts of texts fits.
    """
    patterns: tuple[Pattern, ...] = PATTERNS
    if source.form == MESSAGES:  # kept as JSON, which writes a line feed as \n
        patterns = tuple(pattern for pattern in PATTERNS if pattern.fault is not Fault.ESCAPE)
    inside = "|".join(f"(?:{pattern.expression})" for pattern in patterns if not pattern.whole)
    for split, rows in source.splits.items():
        suspects = np.flatnonzero(matches(rows, inside))
        suspected = rows.select(suspects)
        for pattern in patterns:
            if pattern.whole:
                has_fault = matches(rows, pattern.expression, every=pattern.every)
            else:
                has_fault = np.zeros(len(rows), np.bool_)
                has_fault[suspects] = matches(suspected, pattern.expression)
            count = int(has_fault.sum())
            if count and count >= pattern.least_share * len(rows):
                text = _quotation(rows, int(has_fault.argmax()), pattern)
                yield replace(finding_of(pattern.fault, source, split, has_fault), text=text)


def matches(rows: Rows, expression: str, *, every: bool = False) -> Bool:
    """Which rows have a text (or ``every`` text) that matches a regular expression: bool[N]."""
    combined = np.logical_and if every else np.logical_or

    def block(part: slice) -> Bool:
        texts = [field[part] for field in fields(rows)]
        are_matches = [numpy_of(pc.match_substring_regex(text, expression)) for text in texts]
        return cast("Bool", combined.reduce(are_matches))

    return by_block(np.bool_, len(rows), block)


def fields(rows: Rows) -> list[pa.LargeStringArray]:
    """The columns of texts, each [N]."""
    return [rows.text] if rows.text_pair is None else [rows.text, rows.text_pair]


def _quotation(rows: Rows, row: int, pattern: Pattern) -> str:
    for field in fields(rows):
        text = field[row].as_py()
        if pattern.whole:
            if pc.match_substring_regex(field[row : row + 1], pattern.expression)[0].as_py():
                return quoted(text)
        elif match := re.search(pattern.expression, text):
            return quoted(text, match.start())
    return quoted(rows.text[row].as_py())


@dataclass(frozen=True)
class Lengths:
    """How long the rows of a split are."""

    unit: str
    median: float
    high: float  # 99 % are no longer
    longest: int
    place: str  # of the first of the longest

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def lengths_of(counts: Int64, unit: str, source: Source, split: str) -> Lengths:
    """A summary of the lengths i64[N] of a split's rows, N > 0."""
    first = int(counts.argmax())
    median, high = np.quantile(counts, (0.5, 0.99))
    where = source.place_at(split, first)
    return Lengths(unit, float(median), float(high), int(counts[first]), where)


def word_counts(rows: Rows) -> Int64:
    """Words of each row, separated by spaces: i64[N]."""

    def block(part: slice) -> Int64:
        counts = np.zeros(part.stop - part.start, np.int64)
        for field in fields(rows):
            words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(field[part]))
            counts += numpy_of(pc.list_value_length(words))
        return counts

    return by_block(np.int64, len(rows), block)


def byte_counts(rows: Rows) -> Int64:
    """Bytes of each row in UTF-8: i64[N]."""
    return by_block(
        np.int64,
        len(rows),
        lambda part: sum(numpy_of(pc.binary_length(f[part])) for f in fields(rows)),
    )
