"""The parts of a report, for any renderer: sections of blocks with caption, picture and table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from logitcache.report.documents import Part, Spread, numbers_of
from logitcache.report.drawing import Picture
from logitcache.report.words import NONE, Unit, digits, percent, seconds, sizes


@dataclass(frozen=True)
class Table:
    """Texts. The first column names a row and is set at the left; figures at the right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Block:
    """One thing that was measured. ``caption``: sentences that give it in words and figures."""

    title: str
    caption: str
    picture: Picture | None = None
    table: Table | None = None


@dataclass(frozen=True)
class Section:
    """One result. ``headline``: its one sentence, empty where nothing was measured."""

    title: str
    headline: str
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()


def section(
    title: str, headline: str, blocks: Sequence[Block | None], notes: Sequence[str] = ()
) -> Section:
    """A section of the blocks that there are."""
    return Section(title, headline, tuple(filter(None, blocks)), tuple(notes))


def table(columns: Mapping[str, Iterable[str]]) -> Table | None:
    """A table of equally long columns by header, excluding those that are empty in every row (the
    first column stays); None without rows.
    """
    header: list[str] = []
    cells: list[list[str]] = []
    for name, column in columns.items():
        texts = list(column)
        if not header or any(text.strip(f"{NONE} ") for text in texts):
            header.append(name)
            cells.append(texts)
    rows = tuple(zip(*cells, strict=True))
    return Table(tuple(header), rows) if rows else None


def table_of_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table | None:
    """The same, of rows."""
    columns = zip(*rows, strict=True)
    return table(dict(zip(header, columns, strict=True))) if rows else None


def times(header: str, values: Iterable[float | None]) -> dict[str, Iterable[str]]:
    """A column of times, with the unit that fits them in its header."""
    return _unit_column(header, seconds, list(values))


def sizes_of(header: str, values: Iterable[float | None]) -> dict[str, Iterable[str]]:
    """A column of bytes, with the unit that fits them in its header."""
    return _unit_column(header, sizes, list(values))


def _unit_column(
    header: str, unit_of: Callable[[list[float | None]], Unit], values: list[float | None]
) -> dict[str, Iterable[str]]:
    unit = unit_of(values)
    return {f"{header}, {unit.name}": map(unit.show, values)}


def spreads(header: str, values: Sequence[Spread | None]) -> dict[str, Iterable[str]]:
    """Two columns: medians, with the unit that fits them, and quartiles."""
    medians = [None if spread is None else spread.median for spread in values]
    unit = seconds(medians)
    quartiles = []
    for spread in values:
        quartiles.append(NONE)
        if spread is not None:
            quartiles[-1] = f"{unit.show(spread.q1)}–{unit.show(spread.q3)}"
    return {f"{header}, {unit.name}": map(unit.show, medians), "quartiles": quartiles}


def shares(header: str, seconds_of: Mapping[str, float], total: float) -> Table | None:
    """A table of the parts of a time, and their share of the total."""
    parts = seconds_of.values()
    columns = {
        header: seconds_of,
        **times("time", parts),
        "share": [percent(value / total if total else None) for value in parts],
    }
    return table(columns)


def figures(parts: Iterable[Part], key: str) -> Iterable[str]:
    """A column of plain numbers."""
    return map(digits, numbers_of(parts, key))
