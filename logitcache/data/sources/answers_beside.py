"""Columns beside the label that hold a number for each class in every row: perhaps the answers of a
teacher. They are named for people; nothing is decided by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from logitcache.config.answers import COLUMN, LOGITS
from logitcache.config.data import Columns
from logitcache.data.answer_cells import numbers_of_mapping, numbers_of_sequence, value_in
from logitcache.data.label_cells import TOLERANCE
from logitcache.data.names import folded, is_number, listed
from logitcache.data.sources.columns import not_read
from logitcache.data.sources.hints import Samples, option, samples
from logitcache.data.sources.nested import LOOKED_AT, first_values
from logitcache.data.sources.tables import Table
from logitcache.data.values import present
from logitcache.errors import short

_BETWEEN_WORDS = re.compile(r"[_.\-\s]+")
Answer = Mapping[str, float] | Sequence[float]


def answers_beside(tables: Sequence[Table], chosen: Columns, classes: Sequence[str]) -> str:
    """Which columns that are not read hold a number for each of the classes, and how they are named
    as a teacher; empty where none do.
    """
    if not classes:
        return ""
    for name, values in _unread_columns(tables, chosen).items():
        answers = _answers(values, classes)
        if answers:
            return _as_teacher([name], answers)
    unread = not_read(tables, chosen)
    numbers = {name: values for name, values in samples(tables).items() if name in unread}
    names = _column_of_each_class(numbers, classes)
    if not names:
        return ""
    columns = [list(map(float, numbers[name])) for name in names]
    rows: list[tuple[float, ...]] = list(zip(*columns, strict=False))
    if any(map(is_number, classes)) and not _are_shares_or_votes(rows):
        return ""  # columns that are numbered, of anything
    return _as_teacher(names, rows)


def _unread_columns(tables: Sequence[Table], chosen: Columns) -> dict[str, list[Any]]:
    """The first values of each column that is neither text nor label."""
    columns: dict[str, list[Any]] = {}
    for table in tables:
        for name, column in table.columns.items():
            if name not in (chosen.text, chosen.text_pair, chosen.label):
                columns.setdefault(name, first_values(column, LOOKED_AT))
    return columns


def _as_teacher(names: Sequence[str], answers: Sequence[Sequence[float]]) -> str:
    prefix = COLUMN if _are_shares_or_votes(answers) else LOGITS
    teacher = option("--teacher", f"{prefix}:{','.join(names)}")
    columns = listed(list(map(short, names)))
    verb = "holds" if len(names) == 1 else "hold"
    return (
        f"{columns} {verb} a number for each class: if they are a teacher's answers, dump {teacher}"
    )


def _answers(values: Sequence[Any], classes: Sequence[str]) -> list[list[float]]:
    """The numbers of a column's cells, where each has one for each class; else none."""
    class_names = set(map(folded, classes))
    answers = []
    for value in present(values):
        cell = value_in(value) if isinstance(value, str) else value
        numbers = _numbers(cell)
        if isinstance(numbers, Mapping) and set(map(folded, numbers)) == class_names:
            answers.append(list(numbers.values()))
        elif isinstance(numbers, list) and len(numbers) == len(classes):
            answers.append(numbers)
        else:
            return []
    return answers


def _numbers(cell: Any) -> Answer | None:
    """The numbers of a cell; None of one that holds others, or names, which are votes or texts."""
    try:
        if isinstance(cell, Mapping):
            return numbers_of_mapping(cell)
        if isinstance(cell, list) and not any(isinstance(element, str) for element in cell):
            return numbers_of_sequence(cell)
    except (TypeError, ValueError):
        return None
    return None


def _column_of_each_class(numbers: Samples, classes: Sequence[str]) -> list[str]:
    """Columns of numbers called by one class each: ``prob_neg`` and ``prob_pos``."""
    candidates = [name for name, values in numbers.items() if all(map(_is_number, values))]
    names = []
    for label in classes:
        called = [name for name in candidates if folded(label) in _words(name)]
        if len(called) != 1:
            return []
        names.append(called[0])
    return names if len(set(names)) == len(classes) else []


def _words(name: str) -> list[str]:
    """A column's name, its words, and each two words of it that follow each other."""
    words = [folded(word) for word in _BETWEEN_WORDS.split(name)]
    pairs = [f"{word} {following}" for word, following in pairwise(words)]
    return [folded(name), *words, *pairs]


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return is_number(value.strip())
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_shares_or_votes(answers: Sequence[Sequence[float]]) -> bool:
    """Whether each row sums to 1 or to 100, or holds whole numbers from 0 alone."""
    numbers = [number for row in answers for number in row]
    if min(numbers) < 0:
        return False
    if all(float(number).is_integer() for number in numbers):
        return True
    totals = [sum(row) for row in answers]
    return any(
        all(abs(total - whole) <= whole * TOLERANCE for total in totals) for whole in (1, 100)
    )
