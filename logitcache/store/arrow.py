"""A shard as an Arrow IPC file: record batches of one size, fixed-width columns, memory-mapped, gathered without
copying a batch.

Reading is one gather per column. The file is seen as overlapping records of the column's width, one starting at every
byte (a void view of stride 1); row r of a column then *is* the record at byte ``offset[batch of r] + (r in batch) *
width``, and numpy copies whole records. So a random batch costs what a plain memory-mapped array costs, whatever the
number of record batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from logitcache.errors import CorruptShard
from logitcache.records import Array, Int64
from logitcache.store.columns import Column, check_arrays

BATCH_ROWS = 1024  # a power of two, so that a row is found by shifting


def encode(columns: Sequence[Column], arrays: Mapping[str, Array]) -> memoryview:
    """The bytes of a shard file."""
    rows, schema = check_arrays(columns, arrays), _schema(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        for start in range(0, rows, BATCH_ROWS):
            parts = [_to_arrow(c, arrays[c.name][start : start + BATCH_ROWS]) for c in columns]
            writer.write_batch(pa.record_batch(parts, schema=schema))
    return memoryview(sink.getvalue())


def _schema(columns: Sequence[Column]) -> pa.Schema:
    def kind(column: Column) -> pa.DataType:
        value = pa.from_numpy_dtype(np.dtype(column.dtype))
        return pa.list_(pa.field("item", value, nullable=False), column.width) if column.width else value

    return pa.schema([pa.field(c.name, kind(c), nullable=False) for c in columns])


def _to_arrow(column: Column, array: Array) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(array).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=_schema([column]).field(0).type) if column.width else flat


class Shard:
    """A memory-mapped shard file. Raises CorruptShard where the file is not what the manifest says."""

    def __init__(self, path: Path, columns: Sequence[Column], rows: int) -> None:
        self.path, self.columns, self.rows = path, {c.name: c for c in columns}, rows

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a DataLoader worker: the place, not the mapped bytes."""
        return {"path": self.path, "columns": self.columns, "rows": self.rows}

    @cached_property
    def _file(self) -> Array:
        try:
            return np.memmap(self.path, np.uint8, "r")
        except (OSError, ValueError) as error:  # gone, or empty
            raise CorruptShard(f"expected an Arrow file, found: {error}.", where=self.path) from None

    @cached_property
    def _offsets(self) -> dict[str, Int64]:
        """Byte offset of each column in each record batch: ``{name: i64[batches]}``."""
        data = self._file
        base = data.ctypes.data
        try:
            reader = pa.ipc.open_file(pa.py_buffer(data))
            batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
            names = ", ".join(reader.schema.names)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise CorruptShard(f"expected an Arrow file, found: {error}.", where=self.path) from None
        sizes = [len(batch) for batch in batches]
        whole = all(size == BATCH_ROWS for size in sizes[:-1])
        if sum(sizes) != self.rows or not whole or reader.schema != _schema(list(self.columns.values())):
            found = f"{sum(sizes)} of {names} (or columns of another type)"
            raise CorruptShard(
                f"expected {self.rows} rows of {', '.join(self.columns)}, found {found}.", where=self.path
            )
        offsets = {
            name: np.array([_address(b.column(name)) - base for b in batches], np.int64) for name in self.columns
        }
        for name, column in self.columns.items():
            ends = offsets[name] + np.array(sizes, np.int64) * column.row_bytes()
            if (offsets[name] < 0).any() or (ends > len(data)).any():
                raise CorruptShard(f"expected uncompressed values of {name}, found none in the file.", where=self.path)
        return offsets

    @cached_property
    def _records(self) -> dict[str, Array]:
        """For each column, the file as overlapping records of the column's row width, one at every byte."""
        data, views = self._file, {}
        for name, column in self.columns.items():
            width = column.row_bytes()
            views[name] = np.ndarray((len(data) - width + 1,), f"V{width}", data, strides=(1,))
        return views

    def take(self, rows: Int64, names: Sequence[str] | None = None) -> dict[str, Array]:
        """These rows (places in the shard) of each column, in this order: copies, f[n, width]."""
        batch, place = rows // BATCH_ROWS, rows % BATCH_ROWS
        out = {}
        for name in names or self.columns:
            column = self.columns[name]
            start = self._offsets[name][batch] + place * column.row_bytes()
            out[name] = self._records[name][start].view(column.dtype).reshape(column.shape(len(rows)))
        return out


def _address(array: pa.Array) -> int:
    """Where an array's values begin in memory."""
    values = array.values if pa.types.is_fixed_size_list(array.type) else array
    return int(values.buffers()[1].address)
