"""Objects that say by annotator what each of them answered: no label, but votes for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from logitcache.data.sources.advice import reshape
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError, short

_NUMBERS = {"0", "1", "0.0", "1.0"}


def check_no_annotators(table: Table, column: str | None, cells: Sequence[Any]) -> None:
    """Raises SpecError for objects of 0 and 1 by the names of annotators, of whom each row has
    others (classes by name would mostly be the same ones), with the command that counts them and
    takes the most frequent answer as the label.
    """
    objects = [cell for cell in cells if isinstance(cell, Mapping) and cell]
    numbers = {str(number) for cell in objects for number in cell.values()}
    names = {name for cell in objects for name in cell}
    is_binary = numbers <= _NUMBERS and bool(numbers & {"0", "0.0"})
    if not is_binary or len(names) < 2 * max(map(len, objects)):
        return
    advice = (
        f"Write what most of them say as the label: {reshape('votes', [table.path], [str(column)])}"
    )
    raise SpecError(
        expected=f"one label a row in column {column!r}",
        found=f"{short(repr(objects[0]))}: 0 and 1 by annotator, of whom each row has others",
        advice=advice,
        where=table.path,
    )
