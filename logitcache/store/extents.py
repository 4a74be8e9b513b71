"""Extents: the pieces that tile a file from its first byte to its last, each with a checksum of its own.

A reader checks a piece when it first touches it, so a flipped bit is noticed before a row of that piece is given out,
and reading costs no more than hashing what is read, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from logitcache import identity
from logitcache.errors import FormatError

DIGEST_BYTES = 8
PIECE_BYTES = 1 << 20  # of a file that has no parts of its own
MAX_BYTES = 1 << 46  # half of what a process can address


def digest(data: bytes | memoryview) -> str:
    """Hex blake2b of a piece, 8 bytes."""
    return blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


@dataclass(frozen=True)
class Extent:
    """Bytes ``start`` to ``stop`` of a file."""

    start: int
    stop: int
    blake2b: str

    def holds(self, data: memoryview) -> bool:
        """Whether the file's bytes here are the ones that were written."""
        return digest(data[self.start : self.stop]) == self.blake2b


@dataclass(frozen=True)
class File:
    """What a receipt says of one file of a shard."""

    name: str  # below the folder ``shards``
    bytes: int
    blake2b: str  # of the whole file
    extents: tuple[Extent, ...]

    def holds(self, data: memoryview) -> bool:
        """Whether these are the bytes that were written, all of them and piece by piece."""
        whole = len(data) == self.bytes and identity.digest_bytes(data) == self.blake2b
        return whole and all(extent.holds(data) for extent in self.extents)

    def to_dict(self) -> dict[str, Any]:
        """Extents as lengths and checksums, in order."""
        pieces = [[extent.stop - extent.start, extent.blake2b] for extent in self.extents]
        return {"name": self.name, "bytes": self.bytes, "blake2b": self.blake2b, "extents": pieces}

    @classmethod
    def from_dict(cls, value: Any) -> File:
        """Raises FormatError where a field is missing or of another type, or the extents do not tile the file."""
        kinds = {"name": str, "bytes": int, "blake2b": str, "extents": list}
        ok = isinstance(value, Mapping) and set(value) == set(kinds)
        ok = ok and all(type(value[key]) is kind for key, kind in kinds.items())
        if not ok or not 0 <= value["bytes"] <= MAX_BYTES:
            raise FormatError("receipt: a file's field is missing, unknown or of another type.")
        name, size = value["name"], value["bytes"]
        return cls(name, size, value["blake2b"], tuple(_tiles(value["extents"], size)))


@dataclass(frozen=True)
class Encoded:
    """A file of a shard, before it is written."""

    data: memoryview
    extents: tuple[Extent, ...]

    def described(self, name: str) -> File:
        return File(name, len(self.data), identity.digest_bytes(self.data), self.extents)


def tile(data: memoryview, borders: Sequence[int]) -> tuple[Extent, ...]:
    """The extents between these borders; the first is 0, the last the file's size."""
    return tuple(Extent(a, b, digest(data[a:b])) for a, b in pairwise(borders))


def pieces(data: memoryview) -> tuple[Extent, ...]:
    """The extents of a file that has no parts of its own: 1 MiB each."""
    return tile(data, [*range(0, len(data), PIECE_BYTES), len(data)])


def _tiles(value: list[Any], size: int) -> list[Extent]:
    found, start = [], 0
    for piece in value:
        ok = isinstance(piece, list) and len(piece) == 2 and type(piece[0]) is int and isinstance(piece[1], str)
        if not ok or not 0 < piece[0] <= size - start:
            start = -1
            break
        found.append(Extent(start, start + piece[0], piece[1]))
        start += piece[0]
    if start != size:
        raise FormatError(f"receipt: expected extents that tile {size:,} bytes, found others.")
    return found
