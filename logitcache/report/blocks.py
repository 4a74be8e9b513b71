"""What a page is made of, before it is HTML: sections of blocks, a block of a picture, a sentence and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from logitcache.report.charts import Picture


@dataclass(frozen=True)
class Table:
    """Texts. The first column names a row and stands at the left; all others are figures, at the right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Block:
    """One thing that was measured. ``caption``: one sentence that says in words and figures what is seen."""

    title: str
    caption: str
    picture: Picture | None = None
    table: Table | None = None


@dataclass(frozen=True)
class Section:
    """What one bench measured. ``headline``: its one sentence, empty where nothing was measured."""

    title: str
    headline: str
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table | None:
    """A table without the columns that are empty in every row; None without rows."""
    kept = [i for i in range(len(header)) if i == 0 or any(row[i].strip("– ") for row in rows)]
    lines = tuple(tuple(row[i] for i in kept) for row in rows)
    return Table(tuple(header[i] for i in kept), lines) if lines else None
