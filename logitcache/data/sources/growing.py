"""Columns of Python values that grow block by block, as a text file is read."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from logitcache.data.spool import TextSpool, arrow_texts, strings


class Growing:
    """Columns of Python values, added block by block; a column of nothing but texts is kept as
    arrow keeps them.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.columns: dict[str, list[Any] | _Texts] = {}

    def add(self, block: dict[str, list[Any]], added: int) -> None:
        """Add as many rows; a column that the block lacks is None there."""
        for name in [name for name in block if name not in self.columns]:
            self.columns[name] = [None] * self.rows if self.rows else _Texts()
        for name, column in self.columns.items():
            values = block.get(name, [None] * added)
            if isinstance(column, _Texts) and not column.add(values):
                self.columns[name] = column = column.strings()
            if isinstance(column, list):
                column += values
        self.rows += added

    def finish(self) -> dict[str, list[Any] | pa.LargeStringArray]:
        return {
            name: c if isinstance(c, list) else c.texts.finish() for name, c in self.columns.items()
        }


class _Texts:
    """A column that has held nothing but texts so far."""

    def __init__(self) -> None:
        self.texts = TextSpool()

    def add(self, values: list[Any]) -> bool:
        """False where one of them is no text, or none that arrow can hold: what was added before
        stays.
        """
        if not all(type(value) is str for value in values):
            return False
        try:
            self.texts.add(arrow_texts(values))
        except UnicodeEncodeError:  # half of a surrogate pair: said by its place when it is read
            return False
        return True

    def strings(self) -> list[Any]:
        return [text for block in strings(self.texts.finish()) for text in block]
