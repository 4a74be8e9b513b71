"""Rows of multiple choice (HellaSwag, PIQA, RACE), whose labels are places among the row's own
choices and no classes.
"""

from __future__ import annotations

import re
from typing import Any

from logitcache.config.data import LANGUAGE, Columns
from logitcache.data.sources.columns import LABEL_COLUMNS, first_called
from logitcache.data.sources.nested import LOOKED_AT, first_values, holds
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError

_NAME = re.compile(
    r"(choice|option|sol|solution|ending|candidate|answer)s?[ _]?([0-9]|[a-e])?", re.IGNORECASE
)
_LETTER = re.compile(r"[A-Ea-e]")


def check_no_choices(table: Table, named_columns: Columns) -> None:
    """Raises SpecError where the label is the place of the right one among choices that differ from
    row to row: a list, or columns such as ``choice1`` and ``choice2``. Nothing is said where one of
    these columns was named as text.
    """
    label = named_columns.label or first_called(LABEL_COLUMNS, list(table.columns))
    if named_columns.task in LANGUAGE or label is None or label not in table.columns:
        return
    columns = _columns_of_choices(table, label)
    if not columns or {named_columns.text, named_columns.text_pair} & set(columns):
        return
    labels = first_values(table.columns[label], LOOKED_AT)
    choices = _choices(table, columns)
    labelled = [
        (value, row) for value, row in zip(labels, choices, strict=True) if _is_given(value)
    ]
    are_places = bool(labelled) and all(_is_place(value, len(row)) for value, row in labelled)
    if are_places and len(set(map(tuple, choices))) > 1:
        raise SpecError(
            expected="a class of each row",
            found=f"in the column {label!r} places among the row's own choices ({', '.join(columns)}): "
            "multiple choice is not trained",
            advice="Save a row for each choice, with the question as text, the choice as text_pair, and label 1 for "
            "the right one, else 0; or leave the choices out if the label is a class.",
            where=str(table.path),
        )


def _columns_of_choices(table: Table, label: str) -> list[str]:
    """The column of lists of choices, or those of one choice each; empty where there are none."""
    numbered = []
    for name in table.columns:
        match = _NAME.fullmatch(name)
        if match is None or name == label:
            continue
        if match[2] is None and holds(table, name, list):
            return [name]
        if match[2] is not None and holds(table, name, str):
            numbered.append(name)
    return numbered if len(numbered) > 1 else []


def _choices(table: Table, columns: list[str]) -> list[list[str]]:
    """The choices of the first rows, as texts."""
    values = [first_values(table.columns[name], LOOKED_AT) for name in columns]
    if len(columns) == 1:
        return [list(map(str, cell or [])) for cell in values[0]]
    return [list(map(str, cells)) for cells in zip(*values, strict=True)]


def _is_given(label: Any) -> bool:
    """Whether a label is there: not of a test row, which has none, an empty one or -1."""
    return label is not None and str(label).strip() not in ("", "-1")


def _is_place(label: Any, count: int) -> bool:
    """Whether a label is a number (from 0 or 1) or a letter that stands for one of so many choices."""
    text = str(label).strip().removesuffix(".0")
    if text.isdecimal():
        return int(text) <= count
    return _LETTER.fullmatch(text) is not None and ord(text.upper()) - ord("A") < count
