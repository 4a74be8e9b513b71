"""Rows of multiple choice (HellaSwag, PIQA, RACE), whose labels are places among the row's own
choices and no classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from logitcache.config.data import LANGUAGE, Columns
from logitcache.data.sources.columns import LABEL_COLUMNS, first_called
from logitcache.data.sources.nested import (
    LOOKED_AT,
    first_values,
    holds,
    listed_values,
    paths,
    with_paths,
)
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError

_NAME = re.compile(
    r"(choice|opt|op|option|sol|solution|ending|candidate|answer)s?[ _]?([0-9]|[a-e])?|(?-i:[A-E])",
    re.IGNORECASE,
)


def check_no_choices(table: Table, named_columns: Columns) -> None:
    """Raises SpecError where the label is the place of the right one among choices that differ from
    row to row: a list, one below an object (``question.choices.text``), or columns such as
    ``choice1`` and ``choice2``. Nothing is said where one of these columns was named as text.
    """
    label = named_columns.label or first_called(LABEL_COLUMNS, list(table.columns))
    if named_columns.task in LANGUAGE or label is None:
        return
    matches = {name: _matched(name) for name in paths(table) if name != label}
    names = {name: match for name, match in matches.items() if match is not None}
    if not names:
        return
    first = {name: first_values(column, LOOKED_AT) for name, column in table.columns.items()}
    head = with_paths(replace(table, columns=first), [*names, label])
    columns = _columns_of_choices(head, names)
    is_text = {named_columns.text, named_columns.text_pair} & set(columns)
    if not columns or is_text or label not in head.columns:
        return
    choices = _choices(head, columns)
    pairs = zip(listed_values(head, label), choices, strict=True)
    labelled = [(value, row) for value, row in pairs if _is_given(value)]
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


def _matched(path: str) -> re.Match[str] | None:
    """The last name of a path as that of choices, behind which their texts may stand."""
    return _NAME.fullmatch(path.removesuffix(".text").rpartition(".")[2])


def _columns_of_choices(head: Table, names: Mapping[str, re.Match[str]]) -> list[str]:
    """Of some columns, the one of lists of choices, or those of one choice each; empty where there
    are none.
    """
    lists = [name for name in names if holds(head, name, list)]
    of_one = [name for name, match in names.items() if match[2] or not match[1]]
    numbered = [name for name in of_one if holds(head, name, str)]
    return lists[:1] or (numbered if len(numbered) > 1 else [])


def _choices(table: Table, columns: list[str]) -> list[list[str]]:
    """The choices of the first rows, as texts."""
    values = [listed_values(table, name) for name in columns]
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
    return len(text) == 1 and 0 <= ord(text.upper()) - ord("A") < count
