"""What every store has in common: the shards it consists of, and how a reader asks for records.

A place is (shard, record in that shard): two arrays of one length. A store's module has ``names(index, columns)``, the
files of a shard; ``encode(index, columns, arrays)``, their bytes; and ``Table``, which reads one level of all shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from logitcache.errors import CorruptShard
from logitcache.records import Array, Int64
from logitcache.store import files
from logitcache.store.extents import Extent, File, digest

AGAIN = "Run `logitcache repair`: only what is broken is recomputed."


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

    def rows_of(self, level: str, first: int, last: int) -> tuple[int, int] | None:
        """The first and last row that these records belong to, where arithmetic tells."""
        if self.records["row"] != self.rows * self.views or level != "row":
            return self.first_row, self.first_row + max(self.rows, 1) - 1
        return self.first_row + first // self.views, self.first_row + last // self.views


class Folder(Protocol):
    """Where the files of shards are: here, or somewhere they are fetched from when they are first asked for."""

    def path(self, file: File) -> Path:
        """A file's place on this disk. Raises CorruptShard where there is none."""


@dataclass(frozen=True)
class LocalFolder:
    """The folder ``shards`` of a cache."""

    folder: Path

    def path(self, file: File) -> Path:
        return self.folder / file.name

    def holds(self, file: File) -> bool:
        """Whether a file is there, itself and byte for byte, and every extent of it is what its receipt says."""
        there = files.is_there(self.folder, file.name, file.bytes)
        return there and file.holds(memoryview(self.path(file).read_bytes()))


@dataclass(frozen=True)
class Fault:
    """Something in a cache's folder that is not as it was written."""

    file: str  # inside the cache's folder
    batch: int | None  # record batch (arrow) or piece (zarr) of it
    rows: tuple[int, int] | None  # first and last row of that
    what: str

    def __str__(self) -> str:
        batch = "" if self.batch is None else f", batch {self.batch}"
        rows = "" if self.rows is None else f", rows {self.rows[0]} to {self.rows[1]}"
        return f"{self.file}{batch}{rows}: {self.what}"

    def error(self, folder: Path | str) -> CorruptShard:
        """The same as an error."""
        return CorruptShard(str(self), advice=AGAIN, where=folder)


class Table(Protocol):
    """One level of all shards."""

    def take(self, places: Places, names: Sequence[str]) -> dict[str, Array]:
        """These records of these columns, in this order: copies, [n, width]. Bytes that are touched for the first time
        are checked first. Raises CorruptShard naming file, batch and rows.
        """


def check(extent: Extent, data: memoryview, what: str, path: Path) -> None:
    """Raises CorruptShard where a file's bytes there are not the ones that were written."""
    if not extent.holds(data):
        found = digest(data[extent.start : extent.stop])
        raise CorruptShard(
            f"{what} (bytes {extent.start:,} to {extent.stop:,}): blake2b expected {extent.blake2b}, found {found}",
            advice=AGAIN,
            where=path,
        )
