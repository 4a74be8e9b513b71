"""Columns that grow block by block: in memory while they are small, in a temporary file that is
mapped when they are not. So what a source needs in memory does not grow with its texts.

The file has no name, is the operating system's to take back when it is no longer used, and lies
where temporary files lie (``TMPDIR``).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from logitcache.errors import OutOfSpace
from logitcache.records import Array, Int64, Ragged, ends_of

MEMORY_BYTES = 1 << 20
BLOCK_ROWS = 8192
TOKEN_ROWS = 1024  # of rows of tokens, each of which may take dozens of bytes on the way


@contextmanager
def _room() -> Iterator[None]:
    """Raises OutOfSpace where temporary files cannot be written."""
    try:
        yield
    except OSError as error:
        raise OutOfSpace(
            expected="room for temporary files",
            found=f"none ({error.strerror or error})",
            advice="Free some, or set TMPDIR to a folder with room, and run the same command again.",
            where=os.environ.get("TMPDIR") or tempfile.tempdir,
        ) from error


class Spool:
    """One array, appended to. Beyond 1 MiB it lies in a file."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self._blocks: list[Array] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None

    def add(self, values: npt.ArrayLike) -> None:
        array = np.ascontiguousarray(values, self.dtype)
        self._blocks.append(array)
        self._bytes += array.nbytes
        if self._file is not None or self._bytes > MEMORY_BYTES:
            with _room():
                self._file = self._file or tempfile.TemporaryFile(prefix="logitcache-")  # noqa: SIM115
                for block in self._blocks:
                    self._file.write(block.data)
            self._blocks = []

    def finish(self) -> Array:
        """All that was added: [n]."""
        if self._file is None:
            return np.concatenate([np.empty(0, self.dtype), *self._blocks])
        with _room():
            self._file.flush()
        return np.asarray(np.memmap(self._file, self.dtype, "r"))


def by_block(dtype: npt.DTypeLike, n: int, block: Callable[[slice], npt.ArrayLike]) -> Array:
    """An array that is made block by block, only one of which need be in memory at a time: [n]."""
    spool = Spool(dtype)
    for start in range(0, n, BLOCK_ROWS):
        spool.add(block(slice(start, min(start + BLOCK_ROWS, n))))
    return spool.finish()


def part_of(column: Ragged, start: int, stop: int) -> Ragged:
    """Rows start..stop of a column; values are not copied."""
    first = column.indptr[start]
    last = column.indptr[stop]
    return Ragged(column.values[first:last], column.indptr[start : stop + 1] - first)


def token_blocks(rows: int) -> Iterator[slice]:
    """Consecutive rows of tokens that are worked on together: one block at least, perhaps empty."""
    for start in range(0, max(rows, 1), TOKEN_ROWS):
        yield slice(start, min(start + TOKEN_ROWS, rows))


def selected(column: Ragged, rows: Int64) -> Ragged:
    """The rows at these places, as ``column.select`` gives them, but block by block."""
    values = Spool(column.values.dtype)
    for block in token_blocks(len(rows)):
        values.add(column.select(rows[block]).values)
    return Ragged(values.finish(), ends_of(column.lengths()[rows]))


class TextSpool:
    """One array of texts, none of them null, appended to."""

    def __init__(self) -> None:
        self._data = Spool(np.uint8)
        self._ends = Spool(np.int64)
        self._ends.add([0])
        self._size = 0

    def add(self, block: pa.LargeStringArray) -> None:
        if not len(block):
            return
        _, offsets, texts = block.buffers()
        ends = np.frombuffer(offsets, np.int64)[block.offset : block.offset + len(block) + 1]
        start = int(ends[0])
        stop = int(ends[-1])
        if texts is not None:
            self._data.add(np.frombuffer(texts, np.uint8)[start:stop])
        self._ends.add(ends[1:] - start + self._size)
        self._size += stop - start

    def finish(self) -> pa.LargeStringArray:
        """All that was added: [n]."""
        ends = self._ends.finish()
        return pa.LargeStringArray.from_buffers(
            len(ends) - 1, pa.py_buffer(ends), pa.py_buffer(self._data.finish())
        )


def arrow_texts(texts: Sequence[str]) -> pa.LargeStringArray:
    """Texts as arrow holds them: [n]. Raises UnicodeEncodeError for half of a surrogate pair.
    ``pyarrow.array`` does the same, but imports pandas first, which takes half a second.
    """
    encoded = [text.encode() for text in texts]
    ends = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum(list(map(len, encoded)), out=ends[1:])
    return pa.LargeStringArray.from_buffers(
        len(encoded), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))
    )


def arrow_integers(values: npt.NDArray[np.int64]) -> pa.Int64Array:
    """Integers as arrow holds them, not copied: i64[n]. Without pandas, as :func:`arrow_texts`."""
    buffer = pa.py_buffer(np.ascontiguousarray(values, np.int64))
    return pa.Array.from_buffers(pa.int64(), len(values), [None, buffer])


def numpy_of(values: pa.Array | pa.ChunkedArray) -> Array:
    """Integers or booleans without nulls as numpy holds them: [n]. Without pandas, as
    :func:`arrow_texts`.
    """
    if isinstance(values, pa.ChunkedArray):
        return np.concatenate([np.empty(0, np.int64), *map(numpy_of, values.chunks)])
    assert values.null_count == 0
    data = values.buffers()[1]
    rows = slice(values.offset, values.offset + len(values))
    if pa.types.is_boolean(values.type):
        return np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[rows].astype(
            np.bool_
        )
    return np.frombuffer(data, np.dtype(str(values.type)))[rows]


def concatenated(blocks: Iterable[pa.LargeStringArray]) -> pa.LargeStringArray:
    """One array of texts (none of them null) from many, of which only one need be in memory at a
    time.
    """
    spool = TextSpool()
    for block in blocks:
        spool.add(block)
    return spool.finish()


def taken(texts: pa.LargeStringArray, index: npt.NDArray[np.int64]) -> pa.LargeStringArray:
    """The texts at these places, in this order."""
    blocks = (index[start : start + BLOCK_ROWS] for start in range(0, len(index), BLOCK_ROWS))
    return concatenated(texts.take(arrow_integers(block)) for block in blocks)


def strings(texts: pa.LargeStringArray) -> Iterator[list[Any]]:
    """The texts as Python has them, block by block."""
    for start in range(0, len(texts), BLOCK_ROWS):
        yield texts.slice(start, BLOCK_ROWS).to_pylist()
