"""What is made of a table that a tool has exported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LABEL = "label"


@dataclass(frozen=True)
class Export:
    """The plain columns of a table that a tool has exported."""

    tool: str  # for the note that says so, with what follows from it
    columns: dict[str, list[Any]]
    sources: tuple[str, ...] = ()  # columns that are read by this and not kept
