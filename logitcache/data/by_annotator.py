"""Objects that say by annotator what each of them answered: no label, but votes for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from logitcache.data.names import is_number
from logitcache.data.sources.advice import reshape
from logitcache.data.sources.tables import Table
from logitcache.data.values import are_all
from logitcache.errors import SpecError, short

_NUMBERS = {"0", "1", "0.0", "1.0"}


def answers_of_annotators(cells: Sequence[Any]) -> list[list[str]]:
    """The answers in each cell, where these are objects with an answer by the name of each annotator;
    none for other cells.

    Each row has other annotators, so the names are at least twice as many as one row has; classes by
    name would mostly be the same ones. The answers are 0 and 1, or names of classes.
    """
    filled = [cell for cell in cells if cell not in (None, "", {})]
    if not filled or not are_all(filled, Mapping):
        return []
    answers = [answer for cell in filled for answer in cell.values() if answer is not None]
    if not are_all(answers, str | int | float):
        return []
    distinct = set(map(str, answers))
    is_binary = distinct <= _NUMBERS and not distinct.isdisjoint({"0", "0.0"})
    are_classes = not any(map(is_number, distinct)) and 2 * len(distinct) <= len(answers)
    annotators = {name for cell in filled for name in cell}
    if not (is_binary or are_classes) or len(annotators) < 2 * max(map(len, filled)):
        return []
    return [
        [str(answer) for answer in (cell or {}).values() if answer is not None] for cell in cells
    ]


def check_no_annotators(table: Table, column: str | None, cells: Sequence[Any]) -> None:
    """Raises SpecError for objects with answers by annotator, with the command that counts them and
    takes the most frequent answer as the label.
    """
    if not answers_of_annotators(cells):
        return
    first = next(cell for cell in cells if cell)
    advice = "Write what most of them say as the label"
    if isinstance(table.path, Path):
        advice = f"{advice}: {reshape('votes', [table.path], [str(column)])}"
    raise SpecError(
        expected=f"one label a row in column {column!r}",
        found=f"{short(repr(first))}: answers by annotator, of whom each row has others",
        advice=f"{advice}.",
        where=table.path,
    )
