"""A page of rows as the data set viewer of the hub answers with it: each row under ``row``, and what
its columns are under ``features``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from logitcache.data.sources.tables import Peculiar, Remark, Table
from logitcache.errors import SpecError


def rows_of_page(document: Mapping[str, Any], path: Path | str) -> list[dict[str, Any]] | None:
    """The rows of a page of the viewer; None of other documents. Raises SpecError where the viewer
    has cut some of their values.
    """
    entries = document.get("rows")
    if not isinstance(document.get("features"), list) or not isinstance(entries, list):
        return None
    if not entries or not all(map(_is_entry, entries)):
        return None
    for entry in entries:
        if entry.get("truncated_cells"):
            raise SpecError(
                expected="whole values",
                found=f"values that the viewer of the hub has cut ({', '.join(entry['truncated_cells'])})",
                advice="Give the name of the data set (org/name) in place of the page.",
                where=f"{path}, row_idx {entry['row_idx']}",
            )
    return [entry["row"] for entry in entries]


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, Mapping) and "row_idx" in entry and isinstance(entry.get("row"), dict)


def with_page(table: Table, document: Mapping[str, Any]) -> Table:
    """The table of a page's rows with the names of its classes, and a remark that it is one page."""
    kinds = {feature["name"]: feature.get("type", {}) for feature in document["features"]}
    classes = {name: tuple(kind["names"]) for name, kind in kinds.items() if kind.get("names")}
    total = document.get("num_rows_total")
    consequence = "They are one page of the hub's viewer"
    if isinstance(total, int) and total > len(table):
        consequence += f", of {total:,} rows in all: for these, give the data set's name (org/name)"
    remark = Remark(Peculiar.NESTED, consequence, len(table), "key 'rows'")
    return replace(table, unit="row", classes=classes).with_remarks((remark,))
