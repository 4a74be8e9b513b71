"""Shards as Zarr v3 groups, one array for each column: inner chunks of 1,024 records, each with its
CRC32C, one file for all of them, nothing compressed.

Zarr decodes whole chunks at some milliseconds each, so this store is for readers that want windows
of consecutive rows and for tools that speak Zarr. A few decoded chunks are kept: an order that
stays within some windows at a time (``data.order.windowed_permutation``) decodes each chunk once in
an epoch.

Everything but the numbers is arithmetic: the metadata and where each chunk stands follow from a
column and its number of records. Zarr is shown metadata that is made here, and a file whose index
is the one that is expected, so it never looks up a codec by a name that stands in a file, never
reads beside a chunk, and never fills in for one that is gone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec
from zarr.core.buffer import cpu
from zarr.storage import MemoryStore

from logitcache.errors import CorruptShard, FormatError
from logitcache.records import Array
from logitcache.store import shards as common
from logitcache.store.columns import ROW, Column
from logitcache.store.extents import Encoded, File, pieces, tile
from logitcache.store.files import refuse_links
from logitcache.store.shards import BATCH_BITS, BATCH_ROWS, Fault, Places, Shard, batches_of, check
from logitcache.store.space import Space

WINDOW: int | None = BATCH_ROWS  # records that are best read together
KEPT = 16  # decoded chunks of each column: an order over 4 windows at a time, and a batch between two such groups
OPEN = 64  # arrays
CRC_BYTES = 4
META = "zarr.json"


@dataclass(frozen=True)
class Layout:
    """A column's array of so many records, and its file of chunks: equal chunks one behind the
    other, each with its checksum; then the index, (start, length) u64 of each chunk; then the
    index's checksum. No records, no bytes.
    """

    column: Column
    records: int

    @property
    def rows(self) -> int:
        """Records of one chunk; the last one is filled up with zeros."""
        return min(BATCH_ROWS, max(1, self.records))

    @property
    def chunks(self) -> int:
        return batches_of(self.records)

    def borders(self) -> list[int]:
        """Where each chunk begins, where the index does, and where the file ends."""
        size = self.rows * self.column.record_bytes() + CRC_BYTES
        starts = [i * size for i in range(self.chunks + 1)]
        return [*starts, starts[-1] + 16 * self.chunks + CRC_BYTES] if self.chunks else starts

    def index(self) -> bytes:
        """The index without its checksum."""
        starts = np.array(self.borders()[:-1], "<u8")
        return np.stack([starts[:-1], np.diff(starts)], axis=1).tobytes()

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Of the array, of its chunks, and of its one file."""
        shape = self.column.shape
        return shape(self.records), shape(self.rows), shape(self.rows * max(1, self.chunks))

    def metadata(self) -> bytes:
        """The array's ``zarr.json``."""
        shape, chunk, file = self.shapes()
        codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
        sharding = {
            "chunk_shape": chunk,
            "codecs": codecs,
            "index_codecs": codecs,
            "index_location": "end",
        }
        return _json(
            {
                "zarr_format": 3,
                "node_type": "array",
                "shape": shape,
                "data_type": self.column.dtype,
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": file}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
                "fill_value": 0,
                "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
                "attributes": {},
            }
        )


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"


GROUP = _json({"zarr_format": 3, "node_type": "group", "attributes": {}})


def chunk_key(column: Column) -> str:
    """The one file of an array's chunks, below the array."""
    return "c/0/0" if column.width else "c/0"


def group_name(index: int) -> str:
    """``00017.zarr/zarr.json``."""
    return f"{index:05d}.zarr/{META}"


def array_names(index: int, column: Column) -> tuple[str, str]:
    """An array's metadata and its chunks: ``00017.zarr/logits/zarr.json``, ``.../logits/c/0/0``."""
    array = f"{index:05d}.zarr/{column.name}"
    return f"{array}/{META}", f"{array}/{chunk_key(column)}"


def names(index: int, columns: Sequence[Column]) -> list[str]:
    """The files of one shard, in the order they are written."""
    return [group_name(index), *(name for column in columns for name in array_names(index, column))]


def encode(
    index: int, columns: Sequence[Column], arrays: Mapping[str, Array]
) -> dict[str, Encoded]:
    """The files of one shard, by name."""
    files = {group_name(index): _metadata_file(GROUP)}
    for column in columns:
        array = arrays[column.name]
        layout = Layout(column, len(array))
        metadata, chunks = array_names(index, column)
        files[metadata] = _metadata_file(layout.metadata())
        files[chunks] = _encode(layout, array)
    return files


def _metadata_file(data: bytes) -> Encoded:
    view = memoryview(data)
    return Encoded(view, pieces(view))


def _encode(layout: Layout, array: Array) -> Encoded:
    stored: dict[str, Any] = {}
    if layout.records:
        shape, chunk, file = layout.shapes()
        zarr_array = zarr.create_array(
            MemoryStore(stored),
            shape=shape,
            chunks=chunk,
            shards=file,
            dtype=layout.column.dtype,
            filters=None,
            compressors=[Crc32cCodec()],
            fill_value=0,
            config={"write_empty_chunks": True},
        )
        zarr_array[:] = array
    data = memoryview(stored[chunk_key(layout.column)].to_bytes() if stored else b"")
    return Encoded(data, tile(data, layout.borders()))


class Table(common.Table):
    """One level of all shards, read by whole chunks. Raises CorruptShard, naming file, batch and
    rows, where bytes are not those that the receipts were made for.
    """

    def take(self, addresses: Places, names: Sequence[str]) -> dict[str, Array]:
        count = len(addresses.record)
        arrays = {}
        for name in names:
            column = self.columns[name]
            arrays[name] = np.empty(column.shape(count), column.dtype)
        record_in_batch = addresses.record & (BATCH_ROWS - 1)
        for batch, index in _grouped(
            self.batch_base[addresses.shard] + (addresses.record >> BATCH_BITS)
        ):
            for name in names:
                arrays[name][index] = self._decoded(name, batch)[record_in_batch[index]]
        return arrays

    @cached_property
    def _decoded(self) -> Any:
        return lru_cache(KEPT * len(self.columns))(self._decode)

    @cached_property
    def _opened(self) -> Any:
        return lru_cache(OPEN)(self._open)

    def _decode(self, name: str, batch: int) -> Array:
        """One chunk of a column, checked: [up to 1,024, width]."""
        number, chunk = self.shard_of(batch)
        shard = self.shards[number]
        array, data = self._opened(name, number)
        file = self._file(shard, name)
        path = self.folder.path(file)
        described = self.describe(shard, chunk)
        check(file.extents[chunk], data, described, path)
        first = chunk * BATCH_ROWS
        try:
            decoded: Array = array[first : first + BATCH_ROWS]
        except ValueError as error:  # zarr's own checksum, which names nothing
            raise CorruptShard(
                f"{described}: expected Zarr's, found: {error}", where=path
            ) from None
        return decoded

    def _open(self, name: str, number: int) -> tuple[Any, memoryview]:
        """A column's array in one shard, and its bytes, once all but its chunks is proved."""
        shard = self.shards[number]
        column = self.columns[name]
        layout = self._layout(shard, name)
        self._check_metadata(shard.files[group_name(shard.index)], GROUP)
        self._check_metadata(shard.files[array_names(shard.index, column)[0]], layout.metadata())
        data = self._map(shard, name)
        self._check_index(shard, name, data)
        held = {
            META: cpu.Buffer.from_bytes(layout.metadata()),
            chunk_key(column): cpu.Buffer.from_array_like(np.frombuffer(data, np.uint8)),
        }
        return zarr.open_array(MemoryStore(held, read_only=True), mode="r", zarr_format=3), data  # type: ignore[arg-type]

    def _layout(self, shard: Shard, name: str) -> Layout:
        return Layout(self.columns[name], shard.records[self.level])

    def _file(self, shard: Shard, name: str) -> File:
        return shard.files[array_names(shard.index, self.columns[name])[1]]

    def _map(self, shard: Shard, name: str) -> memoryview:
        """The bytes of an array's chunks."""
        file = self._file(shard, name)
        layout = self._layout(shard, name)
        path = self.folder.path(file)
        if [0, *(extent.stop for extent in file.extents)] != layout.borders():
            content = f"{file.bytes:,} bytes in {len(file.extents)} extents"
            raise CorruptShard(
                f"expected {layout.chunks} chunks of {layout.rows} records, found {content}.",
                where=path,
            )
        return _bytes(path, file)

    def _check_index(self, shard: Shard, name: str, data: memoryview) -> None:
        layout = self._layout(shard, name)
        file = self._file(shard, name)
        path = self.folder.path(file)
        check(file.extents[-1], data, "index", path)
        if data[layout.borders()[-2] : -CRC_BYTES] != layout.index():
            raise CorruptShard(
                f"index: expected {layout.chunks} chunks one behind the other, found others.",
                where=path,
            )

    def _check_metadata(self, file: File, expected: bytes) -> None:
        """Raises CorruptShard where a file does not hold just these bytes."""
        path = self.folder.path(file)
        if file.bytes != len(expected) or _bytes(path, file) != expected:
            raise CorruptShard(
                "expected the metadata that a shard of these records has, found other.", where=path
            )

    def faults(self, shard: Shard) -> Iterator[Fault]:
        metadata = {group_name(shard.index): GROUP} if self.level == ROW else {}
        for name, column in self.columns.items():
            metadata[array_names(shard.index, column)[0]] = self._layout(shard, name).metadata()
        for file_name, expected in metadata.items():
            try:
                self._check_metadata(shard.files[file_name], expected)
            except FormatError as error:
                yield Fault(f"shards/{file_name}", None, None, error.problem)
        for name in self.columns:
            yield from self._faults_of_column(shard, name)

    def _faults_of_column(self, shard: Shard, name: str) -> Iterator[Fault]:
        file = self._file(shard, name)
        try:
            data = self._map(shard, name)
            for batch, extent in enumerate(file.extents[:-1]):
                if not extent.holds(data):
                    yield self.broken_batch(shard, file, batch)
            if file.extents:
                self._check_index(shard, name, data)
        except FormatError as error:
            yield Fault(f"shards/{file.name}", None, None, error.problem)


def _grouped(keys: Array) -> Iterator[tuple[int, Array]]:
    """Each key that occurs, and where it does."""
    if not len(keys):
        return
    order = np.argsort(keys, kind="stable")
    values, starts = np.unique(keys[order], return_index=True)
    yield from zip(values.tolist(), np.split(order, starts[1:]), strict=True)


def _bytes(path: Path, file: File) -> memoryview:
    """A file's bytes, mapped. Raises FormatError where a folder on the way there is a link,
    CorruptShard where the file is gone, a link, or of another size.
    """
    refuse_links(path.parents[file.name.count("/")], PurePath(file.name).parent)
    return Space([file.bytes]).map(0, path)
