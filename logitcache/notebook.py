"""What objects show of themselves in a notebook: small tables of HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from logitcache.errors import visible


def html_table(
    rows: Iterable[Sequence[object]], header: Sequence[str] = (), caption: str = ""
) -> str:
    """A table of texts; the first cell of a row names it. Nothing in a cell is taken for HTML."""
    lines = [f"<caption>{_cell(caption)}</caption>"] if caption else []
    if header:
        lines.append(f"<tr>{''.join(f'<th>{_cell(name)}</th>' for name in header)}</tr>")
    for first, *cells in rows:
        columns = "".join(f"<td>{_cell(value)}</td>" for value in cells)
        lines.append(f"<tr><th>{_cell(first)}</th>{columns}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _cell(value: object) -> str:
    return escape(visible(value))
