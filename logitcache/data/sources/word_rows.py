"""Words and their labels as tables hold them: a word a row, or lists written as texts."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from logitcache.config.data import Columns
from logitcache.data.literals import python_value
from logitcache.data.sources.columns import TEXT_COLUMNS, called
from logitcache.data.sources.nested import LOOKED_AT, first_values, listed_values
from logitcache.data.sources.tables import Table

TASK = "token-classification"
WORDS = ("words", "tokens")
TAGS = ("tags", "ner_tags", "labels", "label", "pos_tags", "chunk_tags")
_ONE_WORD = ("word", "token", "form")
_ONE_TAG = ("tag", "ner_tag", "ner", "iob", "bio")
_IOB = re.compile("O|[BI]-.+")
_SENTENCE = re.compile(r"(sentence|sent)([\W_]*(#|id|idx|no|nr|num|number|index))?", re.IGNORECASE)


def with_lists(table: Table, asked: Columns) -> tuple[Table, str]:
    """The table with lists of words and of their labels, and a note of how they were made; the
    table as it is, and no note, where they are lists already or there are none.
    """
    if asked.task not in (None, TASK):
        return table, ""
    words = _column(table, asked.text, (*WORDS, *_ONE_WORD))
    tags = _column(table, asked.label, (*TAGS, *_ONE_TAG))
    if words is None or tags is None or words == tags:
        return table, ""
    if all(map(_is_written_list, (_first(table, words), _first(table, tags)))):
        columns = {name: list(map(_list_in, listed_values(table, name))) for name in (words, tags)}
        note = f"the columns {words} and {tags} are read as lists"
        return replace(table, columns={**table.columns, **columns}), note
    if asked.task is None and _has_texts(table):
        return table, ""
    starts = _starts(table, words, tags, is_certain=asked.task == TASK)
    if starts is None:
        return table, ""
    names = {words: asked.text or WORDS[0], tags: asked.label or TAGS[0]}
    note = f"a word a row: read as {len(starts):,} sentences of {len(table):,} words"
    return _grouped(table, starts, names), note


def _column(table: Table, named: str | None, usual: Sequence[str]) -> str | None:
    """The column that is named, or the first of a usual name in whatever case."""
    if named is not None:
        return named if named in table.columns else None
    by_form = {name.casefold(): name for name in reversed(list(table.columns))}
    return next((by_form[name] for name in usual if name in by_form), None)


def _first(table: Table, name: str) -> list[Any]:
    """The first values of a column without gaps."""
    values = first_values(table.columns[name], LOOKED_AT)
    return [value for value in values if not _is_gap(value)]


def _is_gap(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value)


def _is_written_list(values: list[Any]) -> bool:
    return bool(values) and all(
        isinstance(value, str) and value.startswith("[") and value.endswith("]") for value in values
    )


def _list_in(text: Any) -> Any:
    """The list that a text writes; the text, which is refused by its row, where it writes none."""
    if _is_gap(text):
        return None
    for parse in (json.loads, python_value):
        try:
            return parse(text)
        except (ValueError, RecursionError):
            continue
    return text


def _has_texts(table: Table) -> bool:
    """Whether there is a column of texts beside the words."""
    names = [name for name in table.columns if _SENTENCE.fullmatch(name.strip()) is None]
    return any(called(name, names) for name in TEXT_COLUMNS)


def _starts(table: Table, words: str, tags: str, *, is_certain: bool) -> list[int] | None:
    """The rows at which sentences begin: where a column numbers or names them (it may be empty
    behind the first word of each), else behind blank lines. None where rows are no words; behind
    blank lines they are words for certain, or have tags such as O and B-PER.
    """
    first = [*_first(table, words), *_first(table, tags)]
    are_words = all(isinstance(value, str) and not re.search(r"\s", value) for value in first)
    if not first or not are_words:
        return None
    numbering = next((name for name in table.columns if _SENTENCE.fullmatch(name.strip())), None)
    if numbering is None and not is_certain and not any(map(_IOB.fullmatch, _first(table, tags))):
        return None
    if numbering is None:
        lines = np.asarray(table.lines) if table.unit == "line" else np.empty(0)
        gaps = (np.flatnonzero(np.diff(lines) > 1) + 1).tolist()
        return [0, *gaps] if gaps else None
    starts: list[int] = []
    current = None
    for row, value in enumerate(listed_values(table, numbering)):
        if not starts or (not _is_gap(value) and value != current):
            starts.append(row)
        current = current if _is_gap(value) else value
    return starts if len(starts) < len(table) else None


def _grouped(table: Table, starts: list[int], names: dict[str, str]) -> Table:
    """The table with a row for each sentence; ``names`` are those of its columns by the old ones."""
    stops = [*starts[1:], len(table)]
    columns: dict[str, Any] = {}
    for name, new in names.items():
        values = listed_values(table, name)
        columns[new] = [values[start:stop] for start, stop in zip(starts, stops, strict=True)]
    lines = np.asarray(table.lines)[starts]
    return replace(table, columns=columns, lines=lines, typed=True, parts=())
