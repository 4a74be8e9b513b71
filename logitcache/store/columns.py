"""Columns of fixed width: all a store knows of what it keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from logitcache.errors import FormatError
from logitcache.records import Array

DTYPES = ("float16", "float32", "int64")


@dataclass(frozen=True)
class Column:
    """``width`` values of ``dtype`` per row; a width of 0 is a bare value."""

    name: str
    dtype: str
    width: int = 0

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Column:
        """Raises FormatError for a name, dtype or width that no cache of ours has."""
        name, dtype, width = value.get("name"), value.get("dtype"), value.get("width")
        ok = (
            isinstance(name, str)
            and name.isidentifier()
            and dtype in DTYPES
            and type(width) is int
            and 0 <= width < 2**24
        )
        if not ok:
            raise FormatError(
                f"column: expected a name, a dtype among {', '.join(DTYPES)} and a width, found {dict(value)}."
            )
        return cls(str(name), str(dtype), width)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def row_bytes(self) -> int:
        return np.dtype(self.dtype).itemsize * max(1, self.width)

    def shape(self, rows: int) -> tuple[int, ...]:
        return (rows, self.width) if self.width else (rows,)


def check_arrays(columns: Sequence[Column], arrays: Mapping[str, Array]) -> int:
    """The number of rows, where the arrays are just these columns."""
    rows = len(next(iter(arrays.values())))
    for column in columns:
        array = arrays[column.name]
        assert array.dtype == column.dtype and array.shape == column.shape(rows), (column, array.dtype, array.shape)
    assert len(arrays) == len(columns), (columns, list(arrays))
    return rows
