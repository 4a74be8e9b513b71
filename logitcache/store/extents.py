"""Extents: the pieces that tile a file from its first byte to its last, each with its checksum.

A reader checks a piece when it first touches it, so a flipped bit is noticed before a row of that
piece is given out, and reading costs no more than hashing what is read, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from logitcache import identity
from logitcache.errors import FormatError
from logitcache.store.fields import has_fields

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
    """A file of a shard, as its receipt describes it."""

    name: str  # below the folder ``shards``
    bytes: int
    blake2b: str  # of the whole file
    extents: tuple[Extent, ...]

    def holds(self, data: memoryview) -> bool:
        """Whether these are exactly the bytes that were written, as a whole and piece by piece."""
        if len(data) != self.bytes or identity.digest_bytes(data) != self.blake2b:
            return False
        return all(extent.holds(data) for extent in self.extents)

    def to_dict(self) -> dict[str, Any]:
        """Extents as lengths and checksums, in order."""
        pieces = [[extent.stop - extent.start, extent.blake2b] for extent in self.extents]
        return {**vars(self), "extents": pieces}

    @classmethod
    def from_dict(cls, value: Any) -> File:
        """Raises FormatError for a field missing or mistyped, or extents that leave gaps."""
        if not has_fields(value, cls) or not 0 <= value["bytes"] <= MAX_BYTES:
            raise FormatError("receipt: a file's field is missing, unknown or of another type.")
        return cls(**{**value, "extents": _tiles(value["extents"], value["bytes"])})


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
    """The extents of a file without parts of its own: 1 MiB each."""
    return tile(data, [*range(0, len(data), PIECE_BYTES), len(data)])


def _tiles(pieces: list[Any], size: int) -> tuple[Extent, ...]:
    """A file's extents from lengths and checksums. Raises FormatError unless they tile it."""
    extents = []
    start = 0
    for piece in pieces:
        if not isinstance(piece, list) or list(map(type, piece)) != [int, str]:
            break
        length, checksum = piece
        if not 0 < length <= size - start:
            break
        extents.append(Extent(start, start + length, checksum))
        start += length
    if start != size or len(extents) != len(pieces):
        raise FormatError(f"receipt: expected extents that tile {size:,} bytes, found others.")
    return tuple(extents)
