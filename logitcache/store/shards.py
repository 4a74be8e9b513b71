"""What every store has in common: the shards it consists of, and how a reader asks for records.

A place is (shard, record in that shard): two arrays of one length. A store's module has
``names(index, columns)``, the files of a shard; ``encode(index, columns, arrays)``, their bytes;
and ``Table``, which reads one level of all shards. The records of a level are stored in batches of
1,024 (small ones of arrow in larger batches), the last of a shard with what is left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from logitcache.errors import CorruptShard
from logitcache.records import Array, Int64
from logitcache.store import files
from logitcache.store.columns import ROW, Column
from logitcache.store.extents import Extent, File, digest

AGAIN = "Run `logitcache repair`: only what is broken is recomputed."
BATCH_BITS = 10
BATCH_ROWS = 1 << BATCH_BITS  # a power of two, so that a record is found by shifting


def batches_of(records: int, batch_rows: int = BATCH_ROWS) -> int:
    """How many batches hold so many records."""
    return -(-records // batch_rows)


class Places(NamedTuple):
    """Records of one level: shard i64[n], and the record's number in that shard i64[n]."""

    shard: Int64
    record: Int64


@dataclass(frozen=True)
class Shard:
    """One shard as its receipt has it."""

    index: int
    first_row: int
    rows: int
    views: int
    records: dict[str, int]  # of each level
    files: dict[str, File]

    def rows_of(self, level: str, first: int, last: int) -> tuple[int, int]:
        """The first and last row of these records; of a level below ``row``, those of the shard."""
        if level != ROW or self.records[ROW] != self.rows * self.views:
            return self.first_row, self.first_row + max(self.rows, 1) - 1
        return self.first_row + first // self.views, self.first_row + last // self.views


class Folder(Protocol):
    """The files of shards: in a folder of this disk, or at a URL and fetched when first needed."""

    def path(self, file: File) -> Path:
        """A file's place on this disk. Raises CorruptShard where there is none."""


@dataclass(frozen=True)
class LocalFolder:
    """The folder ``shards`` of a cache."""

    folder: Path

    def path(self, file: File) -> Path:
        return self.folder / file.name

    def holds(self, file: File) -> bool:
        """Whether a file is there, byte for byte, and every extent of it is as its receipt says."""
        is_there = files.is_there(self.folder, file.name, file.bytes)
        return is_there and file.holds(memoryview(self.path(file).read_bytes()))


@dataclass(frozen=True)
class Fault:
    """Something in a cache's folder that is not as it was written."""

    file: str  # inside the cache's folder
    batch: int | None  # record batch (arrow) or piece (zarr) of it
    rows: tuple[int, int] | None  # first and last row of that
    what: str

    def __str__(self) -> str:
        text = self.file
        if self.batch is not None:
            text += f", batch {self.batch}"
        if self.rows is not None:
            text += f", rows {self.rows[0]} to {self.rows[1]}"
        return f"{text}: {self.what}"

    def error(self, folder: Path | str) -> CorruptShard:
        """The same as an error."""
        return CorruptShard(str(self), advice=AGAIN, where=folder)


class Table(ABC):
    """One level of all shards; each store has its own."""

    def __init__(
        self, folder: Folder, level: str, columns: Sequence[Column], shards: Sequence[Shard]
    ) -> None:
        self.folder = folder
        self.level = level
        self.shards = list(shards)
        self.columns = {column.name: column for column in columns if column.level == level}
        self.batch_bits = self.bits_of(list(self.columns.values()))
        self.batch_rows = 1 << self.batch_bits
        # batches of all shards are numbered one after the other: the first of each shard, and their
        # number
        self.batch_base = np.zeros(len(self.shards) + 1, np.int64)
        np.cumsum(list(map(self.batches_of, self.shards)), out=self.batch_base[1:])

    @staticmethod
    def bits_of(columns: Sequence[Column]) -> int:
        """Records of a batch of a level with these columns, as a power of two."""
        return BATCH_BITS

    def batches_of(self, shard: Shard) -> int:
        """Batches of this level in a shard."""
        return batches_of(shard.records[self.level], self.batch_rows)

    def __reduce__(self) -> tuple[Any, ...]:
        """What travels to a DataLoader worker: the place, not what was read."""
        return type(self), (self.folder, self.level, list(self.columns.values()), self.shards)

    @abstractmethod
    def take(self, addresses: Places, names: Sequence[str]) -> dict[str, Array]:
        """These records of these columns, in this order: copies, [n, width]. Bytes that are touched
        for the first time are checked first. Raises CorruptShard naming file, batch and rows.
        """

    @abstractmethod
    def faults(self, shard: Shard) -> Iterator[Fault]:
        """Every part of this level's files in a shard that does not hold. Reads every byte."""

    def shard_of(self, batch: int) -> tuple[int, int]:
        """The shard that a batch of all shards is in, and its number there."""
        number = int(np.searchsorted(self.batch_base, batch, side="right")) - 1
        return number, batch - int(self.batch_base[number])

    def rows_of(self, shard: Shard, batch: int) -> tuple[int, int]:
        """The first and last row of a batch of a shard, as the cache numbers them."""
        first = batch * self.batch_rows
        last = min(first + self.batch_rows, shard.records[self.level]) - 1
        return shard.rows_of(self.level, first, last)

    def describe(self, shard: Shard, batch: int) -> str:
        """A batch of a shard in a message."""
        first, last = self.rows_of(shard, batch)
        return f"batch {batch}, rows {first} to {last}"

    def broken_batch(self, shard: Shard, file: File, batch: int) -> Fault:
        """The fault of a batch whose bytes are not those that were written."""
        return Fault(
            f"shards/{file.name}", batch, self.rows_of(shard, batch), "its checksum does not hold"
        )


def check(extent: Extent, data: memoryview, what: str, path: Path) -> None:
    """Raises CorruptShard where a file's bytes there are not the ones that were written."""
    if not extent.holds(data):
        actual = digest(data[extent.start : extent.stop])
        raise CorruptShard(
            f"{what} (bytes {extent.start:,} to {extent.stop:,}): blake2b expected {extent.blake2b}, found {actual}",
            advice=AGAIN,
            where=path,
        )
