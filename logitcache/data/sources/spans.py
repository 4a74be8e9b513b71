"""Labels of parts of a text, given by the characters at which they start and end, made into words
with IOB2 tags: what doccano, spaCy, Rasa, Presidio and most services for entities write.

A word is a run of letters and digits, a Chinese or Japanese character, or one character of another
kind. Where a part begins or ends within a word, the word is cut there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
LABELS = ("label", "labels", "entity", "entity_type", "entity_group", "type", "tag", "category")
_CHARACTERS = (
    "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # Chinese and Japanese, written without spaces
)
_WORD = re.compile(rf"[{_CHARACTERS}]|[^\W{_CHARACTERS}]+|[^\w\s]")


@dataclass(frozen=True)
class Span:
    """A part of a text: the characters ``[start, end)``, counted from 0."""

    start: int
    end: int
    label: str
    text: str | None  # what the file says that stands there


def spans(table: Table, asked: Columns) -> Export | None:
    """The words and tags of a table that has a column of texts and one of lists of labelled parts;
    None for other tables, and where rows have a label of the whole text beside them.

    Raises SpecError for parts that are not in their text, and where most begin or end within words.
    """
    name = _column_of_spans(table, asked)
    texts = asked.text or first_called(TEXT_COLUMNS, list(table.columns))
    if name is None or texts is None or texts == name or not holds(table, texts, str):
        return None
    return _words_of(table, (texts, name), listed_values(table, name), asked)


def _words_of(
    table: Table, cut: tuple[str, str], parts: Sequence[list[Any] | None], asked: Columns
) -> Export:
    texts, name = cut
    rows = _Rows(table, f"{texts} and {name}")
    for row, (text, values) in enumerate(zip(listed_values(table, texts), parts, strict=True)):
        rows.add(row, text or "", values)
    rows.check_words()
    columns: dict[str, list[Any]] = {}
    columns[asked.text or WORDS[0]] = rows.words
    columns[asked.label or TAGS[0]] = rows.tags
    return Export(rows.note(), columns, tuple(n for n in cut if n in table.columns), cut)


def alike(tables: Mapping[str | None, Table], asked: Columns) -> dict[str | None, Table]:
    """The tables, each as words where one of them is: a split may have no labelled parts."""
    cut = next((table.cut for table in tables.values() if table.cut is not None), None)
    return {split: as_words(table, cut, asked) for split, table in tables.items()}


def as_words(table: Table, cut: tuple[str, str] | None, asked: Columns) -> Table:
    """The table with words in place of its texts, without labels, where another one was cut into
    words and this one has no labelled part; else the table itself.
    """
    if cut is None or table.cut is not None or cut[0] not in table.columns:
        return table
    return _words_of(table, cut, [None] * len(table), asked).replaced(table)


def _column_of_spans(table: Table, asked: Columns) -> str | None:
    """The column of labelled parts: that of the label, or the only one there is."""
    if asked.task not in (None, TASK):
        return None
    names = [name for name in table.columns if _holds_spans(table, name)]
    if asked.label is not None:
        return next((name for name in names if f"{asked.label}.".startswith(f"{name}.")), None)
    label = first_called(LABEL_COLUMNS, [name for name in table.columns if name not in names])
    is_of_texts = asked.task is None and label is not None
    return names[0] if len(names) == 1 and not is_of_texts else None


def _holds_spans(table: Table, name: str) -> bool:
    if not holds(table, name, list):
        return False
    cells = [cell for cell in first_values(table.columns[name], LOOKED_AT) if cell]
    return bool(cells) and all(map(are_spans, cells))


def are_spans(cell: Any) -> bool:
    """Whether these are labels of parts of a text."""
    if not isinstance(cell, list) or not cell:
        return False
    return all(_span(element) is not None for element in cell)


def _span(value: Any) -> Span | None:
    """A part as a list [start, end, label] or an object; None for anything else."""
    text = None
    if isinstance(value, Mapping):
        start, end, label = (_first(value, keys) for keys in (STARTS, ENDS, LABELS))
        text = value.get("text")
    elif isinstance(value, list) and len(value) >= 3:  # start, end, label
        start, end, label = value[:3]
    else:
        return None
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    if type(start) is not int or type(end) is not int or not isinstance(label, str | int):
        return None
    return Span(start, end, str(label), text if isinstance(text, str) else None)


def _first(value: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((value[key] for key in keys if key in value), None)


class _Rows:
    """Words and tags, row by row, and what a user has to know of them."""

    def __init__(self, table: Table, columns: str) -> None:
        self.table = table
        self.columns = columns
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
        inner = {
            place for word in _WORD.finditer(text) for place in range(word.start() + 1, word.end())
        }
        self.cutting += [row for part in apart if {part.start, part.end} & inner]
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
            advice="Count so (add 1 to ends that are of the last character), or save columns words and tags of lists.",
            where=where,
        )

    def note(self) -> str:
        counted = sum(map(len, self.words))
        remarks = [
            f"{self.columns}, labels of {self.spans:,} parts of texts, are read as {counted:,} words "
            "with B- and I- tags"
        ]
        for rows, what in (
            (self.covered, "parts that overlap another are left out"),
            (self.cutting, "words are cut where a part begins or ends within them"),
        ):
            if rows:
                remarks.append(f"{what}: {len(rows):,} (first: {self.table.place(rows[0])})")
        return "; ".join(remarks)


def _tagged(text: str, parts: Sequence[Span]) -> tuple[list[str], list[str]]:
    """The words of a text and the tag of each. The parts are in order and do not overlap."""
    words, tags = [], []
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
