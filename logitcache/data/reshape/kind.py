"""What a kind of foreign file is, and how its rows are written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from logitcache.data.sources.content import Content

Row: TypeAlias = dict[str, Any]
Rows: TypeAlias = Callable[[Sequence[Content], Sequence[str]], Iterator[Row]]


@dataclass(frozen=True)
class Kind:
    """A shape of files that is not read as it is: what it looks like, and what makes rows of it."""

    rows: Rows  # of files, and of the columns that were named
    about: str  # what the files hold, and what is written: for help and docs
    files: tuple[int, int | None] = (1, None)  # the fewest and the most that belong together
    columns: Collection[int] = (0,)  # how many names --columns may have
    named: str = ""  # what these names are
    below: str = (
        ""  # pattern of the files for which a folder stands; empty where it stands for none
    )

    def help(self) -> str:
        """What the files hold, and what is to be named."""
        return f"{self.about} (--columns: {self.named})" if self.named else self.about
