"""Columns beside the label that hold a number for each class in every row: perhaps the answers of a
teacher. They are named for people; nothing is decided by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from logitcache.config.answers import COLUMN, LOGITS
from logitcache.config.data import Columns
from logitcache.data.answer_cells import numbers_of_mapping, numbers_of_sequence, value_in
from logitcache.data.label_cells import TOLERANCE
from logitcache.data.names import folded, is_number, listed
from logitcache.data.sources.column_kinds import present
from logitcache.data.sources.columns import not_read
from logitcache.data.sources.hints import Samples, option, samples
from logitcache.data.sources.nested import LOOKED_AT, first_values
from logitcache.data.sources.tables import Table
from logitcache.errors import short

Answer = Mapping[str, float] | Sequence[float]


def answers_beside(tables: Sequence[Table], chosen: Columns, classes: Sequence[str]) -> str:
    """Which columns that are not read hold a number for each of the classes, and how they are named
    as a teacher; empty where none do.
    """
    unread = not_read(tables, chosen)
    whole: dict[str, list[Any]] = {}
    for table in tables:
        for name, column in table.columns.items():
            if name not in (chosen.text, chosen.text_pair, chosen.label):
                whole.setdefault(name, first_values(column, LOOKED_AT))
    columns = [[name] for name, values in whole.items() if _answers(values, classes)]
    numbers = {name: v for name, v in samples(tables).items() if name in unread}
    of_classes = _column_of_each_class(numbers, classes)
    if of_classes:
        columns.append(of_classes)
    if not columns:
        return ""
    names = columns[0]
    answers = _answers(whole[names[0]], classes) if len(names) == 1 else _rows_of(numbers, names)
    prefix = COLUMN if _are_shares_or_votes(answers) else LOGITS
    command = option("--teacher", f"{prefix}:{','.join(names)}")
    what = listed(list(map(short, names)))
    verb = "holds" if len(names) == 1 else "hold"
    return f"{what} {verb} a number for each class: if they are a teacher's answers, dump {command}"


def _answers(values: Sequence[Any], classes: Sequence[str]) -> list[list[float]]:
    """The numbers of a column's cells, where each has one for each class; else none."""
    answers = []
    for value in present(values):
        cell = value_in(value) if isinstance(value, str) else value
        try:
            numbers = _numbers(cell)
        except (TypeError, ValueError):
            return []
        if isinstance(numbers, Mapping) and {*map(folded, numbers)} == {*map(folded, classes)}:
            answers.append(list(numbers.values()))
        elif isinstance(numbers, list) and len(numbers) == len(classes):
            answers.append(numbers)
        else:
            return []
    return answers


def _numbers(cell: Any) -> Answer | None:
    if isinstance(cell, Mapping):
        return numbers_of_mapping(cell)
    if not isinstance(cell, list) or any(isinstance(element, str) for element in cell):
        return None  # names are votes, or texts
    return numbers_of_sequence(cell)


def _column_of_each_class(numbers: Samples, classes: Sequence[str]) -> list[str]:
    """Columns of numbers called by one class each: ``prob_neg`` and ``prob_pos``."""
    names = []
    for label in classes:
        called = [name for name in numbers if folded(label) in _words(name)]
        called = [name for name in called if all(map(_is_number, numbers[name]))]
        if len(called) != 1:
            return []
        names += called
    return names if len(set(names)) == len(classes) else []


def _words(name: str) -> list[str]:
    """The words of a column's name, and what is behind the first and before the last of them."""
    words = [folded(word) for word in name.replace(".", "_").replace("-", "_").split("_")]
    pairs = [f"{one}{two}" for one, two in pairwise(words)]
    return [folded(name), *words, *pairs]


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return is_number(value.strip())
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rows_of(numbers: Samples, names: Sequence[str]) -> list[list[float]]:
    return [list(map(float, row)) for row in zip(*(numbers[name] for name in names), strict=False)]


def _are_shares_or_votes(answers: Sequence[Sequence[float]]) -> bool:
    """Whether each row sums to 1 or to 100, or holds whole numbers from 0 alone."""
    if any(number < 0 for row in answers for number in row):
        return False
    are_whole = all(float(number).is_integer() for row in answers for number in row)
    sums = [sum(row) for row in answers]
    are_shares = all(abs(total - 1) <= TOLERANCE for total in sums)
    return are_whole or are_shares or all(abs(total - 100) <= 100 * TOLERANCE for total in sums)
