"""Shards as Arrow IPC files, one for each level: record batches of one size, fixed-width columns, memory-mapped,
gathered without copying a batch.

Reading is one gather per column. All shards' files of a level stand side by side in one range of addresses, seen as
overlapping records of the column's width, one starting at every byte (a view of stride 1); record r of a shard's column
then *is* the one at byte ``origin[batch of r] + r * width``, where the origin is the byte at which record 0 would stand
if the batch's records went on downwards, and numpy copies whole records. So a random batch costs what a plain
memory-mapped array costs, whatever the number of record batches and of shards.

A file's extents are its header, each record batch and its footer. Header and footer are checked before Arrow reads
them, a record batch before the first record of it is given out: Arrow never sees bytes that are not the ones written.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from logitcache.errors import CorruptShard, FormatError
from logitcache.records import Array, Int64
from logitcache.store.columns import ROW, Column, levels
from logitcache.store.extents import Encoded, File, tile
from logitcache.store.shards import Fault, Folder, Places, Shard, check
from logitcache.store.space import Space

BATCH_BITS = 10
BATCH_ROWS = 1 << BATCH_BITS  # a power of two, so that a record is found by shifting
BATCH_BYTES, MOST_BITS = 1 << 16, 16
WINDOW: int | None = None  # records that are best read together: any


def name(index: int, level: str) -> str:
    """``00017.arrow``, and ``00017.logits.arrow`` of the level ``logits``."""
    return f"{index:05d}.arrow" if level == ROW else f"{index:05d}.{level}.arrow"


def names(index: int, columns: Sequence[Column]) -> list[str]:
    """The files of one shard, in the order they are written."""
    return [name(index, level) for level in levels(columns)]


def encode(index: int, columns: Sequence[Column], arrays: Mapping[str, Array]) -> dict[str, Encoded]:
    """The files of one shard, by name."""
    return {name(index, level): _encode(own, arrays) for level, own in levels(columns).items()}


def batch_bits(columns: Sequence[Column]) -> int:
    """Records of a batch of a level with these columns, as a power of two: 1,024 of rows; of other levels as many
    more as fit into 64 KiB, 65,536 at most. Records of a few bytes would else be outweighed by what Arrow adds.
    """
    if columns[0].level == ROW:
        return BATCH_BITS
    fitting = (BATCH_BYTES // sum(column.record_bytes() for column in columns)).bit_length() - 1
    return min(MOST_BITS, max(BATCH_BITS, fitting))


def _encode(columns: Sequence[Column], arrays: Mapping[str, Array]) -> Encoded:
    records, schema = len(arrays[columns[0].name]), _schema(columns)
    batch = 1 << batch_bits(columns)
    sink, ends = pa.BufferOutputStream(), []
    with pa.ipc.new_file(sink, schema) as writer:
        for start in range(0, records, batch):
            parts = [_to_arrow(c, arrays[c.name][start : start + batch]) for c in columns]
            writer.write_batch(pa.record_batch(parts, schema=schema))
            ends.append(sink.tell())
    data = memoryview(sink.getvalue())
    # magic and padding (8 bytes), then the schema's message: a continuation mark, its length, so many bytes
    header = 16 + int.from_bytes(data[12:16], "little")
    return Encoded(data, tile(data, [0, header, *ends, len(data)]))


def _schema(columns: Sequence[Column]) -> pa.Schema:
    def kind(column: Column) -> pa.DataType:
        value = pa.from_numpy_dtype(np.dtype(column.dtype))
        return pa.list_(pa.field("item", value, nullable=False), column.width) if column.width else value

    return pa.schema([pa.field(c.name, kind(c), nullable=False) for c in columns])


def _to_arrow(column: Column, array: Array) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(array).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=_schema([column]).field(0).type) if column.width else flat


class Table:
    """One level of all shards. Raises CorruptShard, naming file, batch and rows, where bytes are not those that the
    receipts were made for.
    """

    def __init__(self, folder: Folder, level: str, columns: Sequence[Column], shards: Sequence[Shard]) -> None:
        self.folder, self.level, self.shards = folder, level, list(shards)
        self.columns = {column.name: column for column in columns if column.level == level}
        bits = batch_bits(list(self.columns.values()))
        self.batch_rows = 1 << bits
        self._bits = np.array(bits)  # an array: numpy takes twice as long for a Python number
        for shard in self.shards:  # seen before arrays of that many batches are asked for
            self._check_extents(shard)
        self.batch_base = np.zeros(len(self.shards) + 1, np.int64)
        np.cumsum([self.batches_of(shard) for shard in self.shards], out=self.batch_base[1:])

    def __reduce__(self) -> tuple[Any, ...]:
        """What travels to a DataLoader worker: the place, not the mapped bytes."""
        return Table, (self.folder, self.level, list(self.columns.values()), self.shards)

    def take(self, places: Places, names: Sequence[str]) -> dict[str, Array]:
        """These records of these columns: see :class:`logitcache.store.shards.Table`."""
        mapped, record = self._mapped, places.record
        batch = record >> self._bits
        if len(self.shards) > 1:
            batch += self.batch_base[places.shard]
        if mapped.any_fresh:
            mapped.touch(batch)
        out, width, ahead = {}, None, record
        for name in names:
            size, origins, records, values, dtype = mapped.views[name]
            if size is not width:
                width, ahead = size, record * size
            found = records[origins[batch] + ahead]
            out[name] = np.ndarray((len(record), values), dtype, found) if values else found
        return out

    @cached_property
    def _mapped(self) -> _Mapped:
        """One object, so that threads that make it at once each see a whole one."""
        return _Mapped(self)

    def batches_of(self, shard: Shard) -> int:
        """Record batches of a shard."""
        return -(-shard.records[self.level] // self.batch_rows)

    def _check_extents(self, shard: Shard) -> None:
        file, batches = self.file(shard), self.batches_of(shard)
        if len(file.extents) != batches + 2:
            raise FormatError(
                f"{file.name}: expected extents of {batches} record batches, header and footer, "
                f"found {len(file.extents)}."
            )

    def file(self, shard: Shard) -> File:
        return shard.files[name(shard.index, self.level)]

    def faults(self, shard: Shard) -> Iterator[Fault]:
        """Every extent of a shard's file that does not hold. Reads every byte."""
        file = self.file(shard)
        space = Space([file.bytes])
        try:
            data = space.map(0, self.folder.path(file))
        except CorruptShard as error:
            yield Fault(f"shards/{file.name}", None, None, error.problem)
            return
        last = len(file.extents) - 1
        for index, extent in enumerate(file.extents):
            if extent.holds(data):
                continue
            if index in (0, last):
                what = "header" if index == 0 else "footer"
                yield Fault(f"shards/{file.name}", None, None, f"the checksum of its {what} does not hold")
            else:
                rows = self.rows_of(shard, index - 1)
                yield Fault(f"shards/{file.name}", index - 1, rows, "its checksum does not hold")

    def rows_of(self, shard: Shard, batch: int) -> tuple[int, int] | None:
        """The first and last row of a record batch of a shard, as the cache numbers them."""
        first = batch * self.batch_rows
        return shard.rows_of(self.level, first, min(first + self.batch_rows, shard.records[self.level]) - 1)


class _View(NamedTuple):
    """A column's records as they lie in all files of a level."""

    size: Array  # bytes of a record; the same object for the same number, so that columns share one product
    origins: Int64  # [batches]
    records: Array  # [bytes], one that starts at every byte
    values: int  # of a record; 0 for a bare one
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, column: Column, data: Array, batches: int) -> _View:
        size, dtype = column.record_bytes(), np.dtype(column.dtype)
        kind = np.dtype(f"V{size}") if column.width else dtype
        records: Array = np.ndarray((max(0, len(data) - size + 1),), kind, data, strides=(1,))
        return cls(_size(size), np.zeros(batches, np.int64), records, column.width, dtype)


@cache
def _size(size: int) -> Array:
    return np.array(size)


class _Mapped:
    """A level's files in memory, and how much of them has been checked so far."""

    def __init__(self, table: Table) -> None:
        self.table, batches = table, int(table.batch_base[-1])
        self.space = Space([table.file(shard).bytes for shard in table.shards])
        self.views = {name: _View.of(column, self.space.data, batches) for name, column in table.columns.items()}
        self.fresh: Array = np.ones(batches, bool)  # nobody has read these record batches yet
        self.left = np.diff(table.batch_base)  # of each shard
        self.any_fresh = batches > 0
        self.readers: dict[int, tuple[memoryview, Any]] = {}  # of shards that are partly checked
        self.lock = threading.Lock()

    def touch(self, batch: Int64) -> None:
        """Check these record batches, and learn where their columns are."""
        fresh = self.fresh[batch]
        if not len(fresh) or not fresh[fresh.argmax()]:  # a fifth of the time that any() takes
            return
        with self.lock:
            for index in np.unique(batch[self.fresh[batch]]).tolist():
                shard = int(np.searchsorted(self.table.batch_base, index, side="right")) - 1
                self._learn(shard, index - int(self.table.batch_base[shard]), index)
                self.fresh[index] = False
                self.left[shard] -= 1
                if not self.left[shard]:
                    self.readers.pop(shard, None)
            self.any_fresh = bool(self.left.any())

    def _learn(self, place: int, batch: int, index: int) -> None:
        table, shard = self.table, self.table.shards[place]
        if place not in self.readers:
            self.readers[place] = self._open(place)
        data, reader = self.readers[place]
        rows, file = table.rows_of(shard, batch), table.file(shard)
        named = f"record batch {batch}" + ("" if rows is None else f", rows {rows[0]} to {rows[1]}")
        path, extent = table.folder.path(file), file.extents[batch + 1]
        check(extent, data, named, path)
        records = min(table.batch_rows, shard.records[table.level] - batch * table.batch_rows)
        try:
            found = reader.get_batch(batch)
        except (pa.ArrowException, OSError) as error:
            raise CorruptShard(f"{named}: expected Arrow's, found: {error}.", where=path) from None
        if len(found) != records:
            raise CorruptShard(f"{named}: expected {records} records, found {len(found)}.", where=path)
        start, base = int(self.space.starts[place]), self.space.data.ctypes.data
        for name, column in table.columns.items():
            offset = _address(found.column(name)) - base
            inside = start + extent.start <= offset <= start + extent.stop - records * column.record_bytes()
            if not inside:
                raise CorruptShard(f"{named}: expected uncompressed values of {name}, found none.", where=path)
            self.views[name].origins[index] = offset - batch * table.batch_rows * column.record_bytes()

    def _open(self, place: int) -> tuple[memoryview, Any]:
        """A shard's bytes and Arrow's reader of them, once header and footer are seen to be those that were written."""
        table, shard = self.table, self.table.shards[place]
        file, batches = table.file(shard), table.batches_of(shard)
        path = table.folder.path(file)
        data = self.space.map(place, path)
        check(file.extents[0], data, "header", path)
        check(file.extents[-1], data, "footer", path)
        try:
            reader = pa.ipc.open_file(pa.py_buffer(data))
            schema, number = reader.schema, reader.num_record_batches
            found = ", ".join(schema.names)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise CorruptShard(f"expected an Arrow file, found: {error}.", where=path) from None
        if number != batches or schema != _schema(list(table.columns.values())):
            raise CorruptShard(
                expected=f"{batches} record batches of {', '.join(table.columns)}",
                found=f"{number} of {found} (or columns of another type)",
                where=path,
            )
        return data, reader


def _address(array: pa.Array) -> int:
    """Where an array's values begin in memory."""
    values = array.values if pa.types.is_fixed_size_list(array.type) else array
    return int(values.buffers()[1].address)
