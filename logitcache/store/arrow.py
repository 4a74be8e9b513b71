"""Shards as Arrow IPC files, one for each level: record batches of one size, fixed-width columns,
memory-mapped, gathered without copying a batch.

Reading is one gather per column. All shards' files of a level stand side by side in one range of
addresses, seen as overlapping records of the column's width, one starting at every byte (a view of
stride 1); record r of a shard's column then *is* the one at byte ``origin[batch of r] + r *
width``, where the origin is the byte at which record 0 would stand if the batch's records went on
downwards, and numpy copies whole records. So a random batch costs what a plain memory-mapped array
costs, whatever the number of record batches and of shards.

A file's extents are its header, each record batch and its footer. Header and footer are checked
before Arrow reads them, a record batch before the first record of it is given out: Arrow never sees
bytes that are not the ones written.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from logitcache import platforms
from logitcache.errors import CorruptShard, FormatError
from logitcache.records import Array, Int64
from logitcache.store import shards as common
from logitcache.store.columns import ROW, Column, levels
from logitcache.store.extents import Encoded, File, tile
from logitcache.store.shards import BATCH_BITS, Fault, Folder, Places, Shard, check
from logitcache.store.space import Space

WINDOW: int | None = None  # records that are best read together: any
BATCH_BYTES, MOST_BITS = 1 << 16, 16


def name(index: int, level: str) -> str:
    """``00017.arrow``, and ``00017.logits.arrow`` of the level ``logits``."""
    return f"{index:05d}.arrow" if level == ROW else f"{index:05d}.{level}.arrow"


def names(index: int, columns: Sequence[Column]) -> list[str]:
    """The files of one shard, in the order they are written."""
    return [name(index, level) for level in levels(columns)]


def encode(
    index: int, columns: Sequence[Column], arrays: Mapping[str, Array]
) -> dict[str, Encoded]:
    """The files of one shard, by name."""
    files = {}
    for level, members in levels(columns).items():
        files[name(index, level)] = _encode(members, arrays)
    return files


def batch_bits(columns: Sequence[Column]) -> int:
    """Records of a batch of a level with these columns, as a power of two: 1,024 of rows; of other
    levels as many more as fit into 64 KiB, 65,536 at most. Records of a few bytes would else be
    outweighed by what Arrow adds.
    """
    if columns[0].level == ROW:
        return BATCH_BITS
    fitting = (BATCH_BYTES // sum(column.record_bytes() for column in columns)).bit_length() - 1
    return min(MOST_BITS, max(BATCH_BITS, fitting))


def _encode(columns: Sequence[Column], arrays: Mapping[str, Array]) -> Encoded:
    """One file, in memory of exactly its size, mapped for it alone. A growing sink would be copied
    each time it doubles, and Arrow's allocator keeps every copy: 107 MB for a file of 34.
    """
    size = pa.MockOutputStream()
    _write(size, columns, arrays)
    memory = platforms.private_memory(size.size())
    ends = _write(pa.FixedSizeBufferWriter(pa.py_buffer(memory)), columns, arrays)
    data = memoryview(memory)
    # magic and padding (8 bytes), then the schema's message: a continuation mark, its length, so
    # many bytes
    header = 16 + int.from_bytes(data[12:16], "little")
    return Encoded(data, tile(data, [0, header, *ends, len(data)]))


def _write(
    sink: pa.NativeFile, columns: Sequence[Column], arrays: Mapping[str, Array]
) -> list[int]:
    """Write one file; returns where each of its record batches ends."""
    schema = _schema(columns)
    batch = 1 << batch_bits(columns)
    ends = []
    with pa.ipc.new_file(sink, schema) as writer:
        for start in range(0, len(arrays[columns[0].name]), batch):
            rows = slice(start, start + batch)
            values = [_to_arrow(column, arrays[column.name][rows]) for column in columns]
            writer.write_batch(pa.record_batch(values, schema=schema))
            ends.append(sink.tell())
    return ends


def _schema(columns: Sequence[Column]) -> pa.Schema:
    fields = [pa.field(column.name, _type(column), nullable=False) for column in columns]
    return pa.schema(fields)


def _type(column: Column) -> pa.DataType:
    value = pa.from_numpy_dtype(np.dtype(column.dtype))
    if not column.width:
        return value
    return pa.list_(pa.field("item", value, nullable=False), column.width)


def _to_arrow(column: Column, array: Array) -> pa.Array:
    values = pa.array(np.ascontiguousarray(array).reshape(-1))
    if not column.width:
        return values
    return pa.FixedSizeListArray.from_arrays(values, type=_type(column))


class Table(common.Table):
    """One level of all shards. Raises CorruptShard, naming file, batch and rows, where bytes are
    not those that the receipts were made for.
    """

    def __init__(
        self, folder: Folder, level: str, columns: Sequence[Column], shards: Sequence[Shard]
    ) -> None:
        super().__init__(folder, level, columns, shards)
        # an array: numpy takes twice as long for a Python number
        self._bits = np.array(self.batch_bits)
        for shard in self.shards:  # before arrays of that many batches are allocated
            file = self.file(shard)
            batches = self.batches_of(shard)
            if len(file.extents) != batches + 2:
                raise FormatError(
                    f"{file.name}: expected extents of {batches} record batches, header and footer, "
                    f"found {len(file.extents)}."
                )

    bits_of = staticmethod(batch_bits)

    def file(self, shard: Shard) -> File:
        return shard.files[name(shard.index, self.level)]

    def take(self, addresses: Places, names: Sequence[str]) -> dict[str, Array]:
        mapped = self._mapped
        record = addresses.record
        batch = record >> self._bits
        if len(self.shards) > 1:
            batch += self.batch_base[addresses.shard]
        if mapped.any_fresh:
            mapped.touch(batch)
        columns = {}
        offset_size = None
        for name in names:
            size, origins, records, width, dtype = mapped.views[name]
            if size is not offset_size:
                offset_size = size
                offset = record * size
            values = records[origins[batch] + offset]
            columns[name] = np.ndarray((len(record), width), dtype, values) if width else values
        return columns

    @cached_property
    def _mapped(self) -> _Mapped:
        """One object, so that threads that make it at once each see a whole one."""
        return _Mapped(self)

    def faults(self, shard: Shard) -> Iterator[Fault]:
        file = self.file(shard)
        path = f"shards/{file.name}"
        space = Space([file.bytes])  # holds the mapping that ``data`` is a part of
        try:
            data = space.map(0, self.folder.path(file))
        except CorruptShard as error:
            yield Fault(path, None, None, error.problem)
            return
        footer = len(file.extents) - 1
        for index, extent in enumerate(file.extents):
            if extent.holds(data):
                continue
            if 0 < index < footer:
                yield self.broken_batch(shard, file, index - 1)
            else:
                part = "header" if index == 0 else "footer"
                yield Fault(path, None, None, f"the checksum of its {part} does not hold")


class _View(NamedTuple):
    """A column's records as they lie in all files of a level."""

    size: Array  # bytes of a record; the same object for the same number, so that columns share one product
    origins: Int64  # [batches]
    records: Array  # [bytes], one that starts at every byte
    width: int  # values of a record; 0 for a bare one
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, column: Column, data: Array, batches: int) -> _View:
        size = column.record_bytes()
        dtype = np.dtype(column.dtype)
        record = np.dtype(f"V{size}") if column.width else dtype
        records: Array = np.ndarray((max(0, len(data) - size + 1),), record, data, strides=(1,))
        return cls(_size(size), np.zeros(batches, np.int64), records, column.width, dtype)


@cache
def _size(size: int) -> Array:
    return np.array(size)


class _Mapped:
    """A level's files in memory, and how much of them has been checked so far."""

    def __init__(self, table: Table) -> None:
        batches = int(table.batch_base[-1])
        self.table = table
        self.space = Space([table.file(shard).bytes for shard in table.shards])
        self.views = {}
        for name, column in table.columns.items():
            self.views[name] = _View.of(column, self.space.data, batches)
        self.fresh: Array = np.ones(batches, bool)  # record batches that have not been read yet
        self.fresh_of_shard = np.diff(table.batch_base)
        self.any_fresh = batches > 0
        self.readers: dict[int, tuple[memoryview, Any]] = {}  # of shards that are partly checked
        self.lock = threading.Lock()

    def touch(self, batch: Int64) -> None:
        """Check these record batches, and locate their columns."""
        fresh = self.fresh[batch]
        if not len(fresh) or not fresh[fresh.argmax()]:  # a fifth of the time that any() takes
            return
        with self.lock:
            for number in np.unique(batch[self.fresh[batch]]).tolist():
                shard, batch_in_shard = self.table.shard_of(number)
                self._check(shard, batch_in_shard, number)
                self.fresh[number] = False
                self.fresh_of_shard[shard] -= 1
                if not self.fresh_of_shard[shard]:
                    self.readers.pop(shard, None)
            self.any_fresh = bool(self.fresh_of_shard.any())

    def _check(self, shard_number: int, batch: int, number: int) -> None:
        """Check record batch ``batch`` of a shard, and set the origins of its columns; ``number``
        counts over all shards.
        """
        table = self.table
        shard = table.shards[shard_number]
        if shard_number not in self.readers:
            self.readers[shard_number] = self._open(shard_number)
        data, reader = self.readers[shard_number]
        file = table.file(shard)
        path = table.folder.path(file)
        described = f"record {table.describe(shard, batch)}"
        extent = file.extents[batch + 1]
        check(extent, data, described, path)
        records = min(table.batch_rows, shard.records[table.level] - batch * table.batch_rows)
        try:
            decoded = reader.get_batch(batch)
        except (pa.ArrowException, OSError) as error:
            raise CorruptShard(
                f"{described}: expected Arrow's, found: {error}.", where=path
            ) from None
        if len(decoded) != records:
            raise CorruptShard(
                f"{described}: expected {records} records, found {len(decoded)}.", where=path
            )
        file_start = int(self.space.starts[shard_number])
        first_byte = file_start + extent.start
        for name, column in table.columns.items():
            size = column.record_bytes()
            offset = _address(decoded.column(name)) - self.space.data.ctypes.data
            last_offset = file_start + extent.stop - records * size
            if not first_byte <= offset <= last_offset:
                raise CorruptShard(
                    f"{described}: expected uncompressed values of {name}, found none.", where=path
                )
            self.views[name].origins[number] = offset - batch * table.batch_rows * size

    def _open(self, shard_number: int) -> tuple[memoryview, Any]:
        """A shard's bytes and Arrow's reader of them, once header and footer are proved intact."""
        table = self.table
        shard = table.shards[shard_number]
        file = table.file(shard)
        path = table.folder.path(file)
        data = self.space.map(shard_number, path)
        check(file.extents[0], data, "header", path)
        check(file.extents[-1], data, "footer", path)
        try:
            reader = pa.ipc.open_file(pa.py_buffer(data))
            schema = reader.schema
            batches = reader.num_record_batches
            names = ", ".join(schema.names)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise CorruptShard(f"expected an Arrow file, found: {error}.", where=path) from None
        expected = table.batches_of(shard)
        if batches != expected or schema != _schema(list(table.columns.values())):
            raise CorruptShard(
                expected=f"{expected} record batches of {', '.join(table.columns)}",
                found=f"{batches} of {names} (or columns of another type)",
                where=path,
            )
        return data, reader


def _address(array: pa.Array) -> int:
    """Where an array's values begin in memory."""
    values = array.values if pa.types.is_fixed_size_list(array.type) else array
    return int(values.buffers()[1].address)
