"""What is made of a table that a tool has exported, and how to write labels of parts of a text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from logitcache.data.sources.tables import Table

LABEL = "label"
OF_SPANS = (
    "Labels of parts of a text are learnt by token-classification: save each row as "
    '{"text": "...", "entities": [[start, end, "LABEL"]]}, where start and end count characters from 0 and the end is '
    "behind the last; or as columns words and tags of lists"
)


@dataclass(frozen=True)
class Export:
    """The plain columns of a table that a tool has exported."""

    tool: str  # for the note that says so, with what follows from it
    columns: dict[str, list[Any]]
    sources: tuple[str, ...] = ()  # columns that are read by this and not kept
    span_columns: tuple[str, str] | None = None  # of texts and labelled parts, which became words

    def replaced(self, table: Table) -> Table:
        """The table with these columns in place of those that they were read from."""
        others = {name: c for name, c in table.columns.items() if name not in self.sources}
        return replace(
            table,
            columns={**others, **self.columns},
            span_columns=self.span_columns or table.span_columns,
        )
