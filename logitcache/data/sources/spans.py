"""Labels of parts of a text, given by the characters at which they start and end, made into words
with IOB2 tags: what doccano, spaCy, Rasa, Presidio and most services for entities write; and what
Dataturks and CLUENER do, whose ends are of the last character.

A word is a run of letters and digits, a Chinese or Japanese character, or one character of another
kind. Where a part begins or ends within a word, the word is cut there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from logitcache.config.data import Columns
from logitcache.data.sources.columns import LABEL_COLUMNS, TEXT_COLUMNS, first_called
from logitcache.data.sources.exported import Export
from logitcache.data.sources.nested import LOOKED_AT, first_values, holds, listed_values
from logitcache.data.sources.tables import Table
from logitcache.data.sources.word_rows import TAGS, TASK, WORDS
from logitcache.errors import SpecError, short

STARTS = ("start", "start_offset", "startOffset", "start_char", "start_position", "begin")
ENDS = ("end", "end_offset", "endOffset", "end_char", "end_position")
LABELS = (
    "label",
    "labels",
    "entity",
    "entity_type",
    "entity_group",
    "entityLabel",
    "type",
    "tag",
    "category",
)
_CHARACTERS = (
    "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # Chinese and Japanese, written without spaces
)
_WORD = re.compile(rf"[{_CHARACTERS}]|[^\W{_CHARACTERS}]+|[^\w\s]")
_WITHIN_WORD = re.compile(rf"[^\W{_CHARACTERS}]{{2}}")  # the characters before and behind a place


@dataclass(frozen=True)
class Span:
    """A part of a text: the characters ``[start, end)``, counted from 0."""

    start: int
    end: int
    label: str
    text: str | None  # what the file says that stands there


def spans(table: Table, named_columns: Columns) -> Export | None:
    """The words and tags of a table that has a column of texts and one of lists of labelled parts;
    None for other tables, and where rows have a label of the whole text beside them.

    Raises SpecError for parts that are not in their text, and where most begin or end within words.
    """
    name = _column_of_spans(table, named_columns)
    texts = named_columns.text or first_called(TEXT_COLUMNS, list(table.columns))
    if name is None or texts is None or texts == name or not holds(table, texts, str):
        return None
    return _words_of(table, (texts, name), listed_values(table, name), named_columns)


def _words_of(
    table: Table,
    span_columns: tuple[str, str],
    spans_of_rows: Sequence[Any],
    named_columns: Columns,
) -> Export:
    column, name = span_columns
    texts = [text or "" for text in listed_values(table, column)]
    parts = list(map(_listed_parts, spans_of_rows))
    rows = _Rows(table, f"{column} and {name}", _are_ends_inclusive(texts, parts))
    for row, (text, values) in enumerate(zip(texts, parts, strict=True)):
        rows.add(row, text, values)
    rows.check_words()
    columns: dict[str, list[Any]] = {}
    columns[named_columns.text or WORDS[0]] = rows.words
    columns[named_columns.label or TAGS[0]] = rows.tags
    sources = tuple(source for source in span_columns if source in table.columns)
    return Export(rows.note(), columns, sources, span_columns)


def all_as_words(
    tables: Mapping[str | None, Table], named_columns: Columns
) -> dict[str | None, Table]:
    """The tables by split, each as words where one of them is: a split may have no labelled parts."""
    span_columns = None
    for table in tables.values():
        span_columns = span_columns or table.span_columns
    return {split: as_words(table, span_columns, named_columns) for split, table in tables.items()}


def as_words(table: Table, span_columns: tuple[str, str] | None, named_columns: Columns) -> Table:
    """The table with unlabelled words in place of its texts, where another table's ``span_columns``
    became words and tags and this one has no labelled part; else the table itself.
    """
    if span_columns is None or table.span_columns is not None:
        return table
    if span_columns[0] not in table.columns:
        return table
    unlabelled = [None] * len(table)
    return _words_of(table, span_columns, unlabelled, named_columns).replaced(table)


def _column_of_spans(table: Table, named_columns: Columns) -> str | None:
    """The column of labelled parts: that of the label, or the only one there is."""
    if named_columns.task not in (None, TASK):
        return None
    names = [name for name in table.columns if _holds_spans(table, name)]
    if named_columns.label is not None:  # the column, or a path below it
        path = f"{named_columns.label}."
        return next((name for name in names if path.startswith(f"{name}.")), None)
    label = first_called(LABEL_COLUMNS, [name for name in table.columns if name not in names])
    is_of_texts = named_columns.task is None and label is not None
    return names[0] if len(names) == 1 and not is_of_texts else None


def _holds_spans(table: Table, name: str) -> bool:
    if not holds(table, name, list | Mapping):
        return False
    cells = [cell for cell in first_values(table.columns[name], LOOKED_AT) if cell]
    return bool(cells) and all(map(are_spans, cells))


def are_spans(cell: Any) -> bool:
    """Whether these are labels of parts of a text."""
    parts = _listed_parts(cell)
    if not isinstance(parts, list) or not parts:
        return False
    return all(_span(part) is not None for part in parts)


def _listed_parts(cell: Any) -> Any:
    """The parts in a cell one by one: CLUENER has them by label and text, {label: {text: [[start,
    end]]}}, and Dataturks by label, {"label": [label], "points": [{start, end, text}]}.
    """
    if isinstance(cell, Mapping):
        return _parts_by_label(cell)
    if not isinstance(cell, list) or not all(map(_has_points, cell)):
        return cell
    parts = []
    for entry in cell:
        for point in entry["points"]:
            parts.append({**point, "label": entry["label"]})
    return parts


def _parts_by_label(cell: Mapping[str, Any]) -> Any:
    parts = []
    for label, places_by_text in cell.items():
        if not isinstance(places_by_text, Mapping):
            return cell
        for text, places in places_by_text.items():
            if not isinstance(places, list) or not all(map(_is_pair, places)):
                return cell
            for start, end in places:
                parts.append({"start": start, "end": end, "label": label, "text": text})
    return parts


def _has_points(entry: Any) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get("points"), list) and "label" in entry


def _is_pair(place: Any) -> bool:
    return isinstance(place, list) and len(place) == 2


def _are_ends_inclusive(texts: Sequence[str], parts_of_rows: Sequence[Any]) -> bool:
    """Whether all that the file says to stand in a part does so if ends are of the last character,
    and not otherwise.
    """
    are_exclusive = True
    are_inclusive = True
    for text, parts in zip(texts, parts_of_rows, strict=True):
        for span in filter(None, map(_span, parts or [])):
            if span.text is None:
                continue
            words = span.text.strip()
            are_exclusive &= text[span.start : span.end].strip() == words
            are_inclusive &= text[span.start : span.end + 1].strip() == words
    return are_inclusive and not are_exclusive


def _span(value: Any) -> Span | None:
    """A part as a list [start, end, label] or an object; None for anything else."""
    text = None
    if isinstance(value, Mapping):
        start = _first(value, STARTS)
        end = _first(value, ENDS)
        label = _first(value, LABELS)
        text = value.get("text")
    elif isinstance(value, list) and len(value) >= 3 and isinstance(value[2], str):
        start, end, label = value[:3]  # without a name they are rather numbers of words
    else:
        return None
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    if type(start) is not int or type(end) is not int or not isinstance(label, str | int):
        return None
    return Span(start, end, str(label), text if isinstance(text, str) else None)


def _first(value: Mapping[str, Any], keys: Sequence[str]) -> Any:
    for key in keys:
        if key in value:
            return value[key]
    return None


class _Rows:
    """Words and tags, row by row, and what a user has to know of them."""

    def __init__(self, table: Table, columns: str, are_ends_inclusive: bool) -> None:
        self.table = table
        self.columns = columns
        self.are_ends_inclusive = are_ends_inclusive
        self.words: list[list[str]] = []
        self.tags: list[list[str] | None] = []
        self.spans = 0
        self.cutting: list[int] = []  # row of each part that begins or ends within a word
        self.covered: list[int] = []  # row of each part that overlaps another

    def add(self, row: int, text: str, values: list[Any] | None) -> None:
        """Add a row; one without a list has words and no tags."""
        parts = [self._checked(row, text, value) for value in values or []]
        self.spans += len(parts)
        apart = []
        end = 0
        for part in sorted(parts, key=lambda part: (part.start, -part.end)):
            if part.start >= end:
                apart.append(part)
                end = part.end
            else:
                self.covered.append(row)
        self.cutting += [row for part in apart if _cuts_word(text, part)]
        words, tags = _tagged(text, apart)
        self.words.append(words)
        self.tags.append(None if values is None else tags)

    def _checked(self, row: int, text: str, value: Any) -> Span:
        span = _span(value)
        where = self.table.place(row)
        if span is None:
            raise SpecError(
                expected="a start, an end and a label of each part",
                found=short(repr(value)),
                advice="Mend the row.",
                where=where,
            )
        if self.are_ends_inclusive:
            span = replace(span, end=span.end + 1)
        inside = text[span.start : span.end]
        if not 0 <= span.start < span.end <= len(text):
            raise self._misplaced(f"{span.start} to {span.end} of {len(text)} characters", where)
        if span.text is not None and span.text.strip() != inside.strip():
            found = f"{short(repr(inside))} in place of {short(repr(span.text))}"
            raise self._misplaced(found, where)
        return span

    def check_words(self) -> None:
        """Raises SpecError where most parts begin or end within words."""
        if 2 * len(self.cutting) > self.spans:
            found = f"{len(self.cutting):,} of {self.spans:,} that begin or end within a word"
            raise self._misplaced(found, self.table.place(self.cutting[0]))

    @staticmethod
    def _misplaced(found: str, where: str) -> SpecError:
        return SpecError(
            expected="parts of the text, by characters counted from 0, an end being behind the last",
            found=found,
            advice="Add 1 to ends that are of the last character; or save columns words and tags of lists.",
            where=where,
        )

    def note(self) -> str:
        word_count = sum(map(len, self.words))
        note = (
            f"{self.columns}, labels of {self.spans:,} parts of texts, are read as {word_count:,} words "
            "with B- and I- tags"
        )
        if self.are_ends_inclusive:
            note += "; their ends are of the last character"
        if self.covered:
            note += f"; parts that overlap another are left out: {self._counted(self.covered)}"
        if self.cutting:
            cutting = self._counted(self.cutting)
            note += f"; words are cut where a part begins or ends within them: {cutting}"
        return note

    def _counted(self, rows: Sequence[int]) -> str:
        return f"{len(rows):,} (first: {self.table.place(rows[0])})"


def _cuts_word(text: str, part: Span) -> bool:
    """Whether a part begins or ends within a word."""
    places = (part.start, part.end)
    return any(_WITHIN_WORD.fullmatch(text, place - 1, place + 1) for place in places)


def _tagged(text: str, parts: Sequence[Span]) -> tuple[list[str], list[str]]:
    """The words of a text and the tag of each. The parts are in order and do not overlap."""
    words = []
    tags = []
    for part, start, end in _stretches(text, parts):
        tag = "O" if part is None else f"B-{part.label}"
        for word in _WORD.findall(text[start:end]):
            words.append(word)
            tags.append(tag)
            if part is not None:
                tag = f"I-{part.label}"
    return words, tags


def _stretches(text: str, parts: Sequence[Span]) -> Iterator[tuple[Span | None, int, int]]:
    """What a text consists of: each part, and what is between them."""
    end = 0
    for part in parts:
        yield None, end, part.start
        yield part, part.start, part.end
        end = part.end
    yield None, end, len(text)
