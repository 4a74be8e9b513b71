"""Many files side by side in one range of addresses, so that one gather reads from all of them.

A range as long as the files is reserved first, which costs no memory, and each file is mapped to
its place there when it is first needed. The whole is one array of bytes; unmapped places hold
zeros. Windows maps no file to a place of one's choice: there a file is read to its place.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from logitcache import platforms
from logitcache.errors import CorruptShard, FormatError
from logitcache.records import Array
from logitcache.store.extents import MAX_BYTES

LARGE = 1 << 22  # bytes of an array that is mapped memory of its own
_MAP_FIXED = 0x10  # the same on Linux and macOS
if platforms.POSIX:
    _libc = ctypes.CDLL(None, use_errno=True)
    _libc.mmap.restype = ctypes.c_void_p
    _libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)


def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """An array of zeros. A large one is mapped: what is freed goes back to the system, where the
    allocator would keep it between small blocks.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size < LARGE:
        return np.zeros(shape, kind)
    return np.frombuffer(platforms.private_memory(size), kind).reshape(shape)


class Space:
    """Places for files of these sizes; ``data`` is u8[sum of the sizes, each rounded up to pages]."""

    def __init__(self, sizes: Sequence[int]) -> None:
        """Raises FormatError for more bytes than a process can address."""
        pages = [-(-size // mmap.PAGESIZE) * mmap.PAGESIZE for size in sizes]
        if sum(pages) > MAX_BYTES:
            raise FormatError(
                expected=f"at most {MAX_BYTES:,} bytes of shards", found=f"{sum(pages):,}"
            )
        self.sizes = list(sizes)
        self.starts = np.cumsum([0, *pages])
        self.data: Array
        if platforms.POSIX:
            memory = mmap.mmap(
                -1, max(1, sum(pages)), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ
            )
            self.data = np.frombuffer(memory, np.uint8)
        else:
            self.data = np.zeros(max(1, sum(pages)), np.uint8)

    def map(self, index: int, path: Path) -> memoryview:
        """Map the file that belongs there. Raises CorruptShard for a link, another size or none."""
        try:
            handle = os.open(
                path, os.O_RDONLY | platforms.NO_FOLLOW | platforms.NO_WAIT | platforms.OPENED
            )
        except OSError as error:
            raise CorruptShard(f"expected a file, found: {error.strerror}.", where=path) from None
        try:
            status = os.fstat(handle)
            size = status.st_size
            if not stat.S_ISREG(status.st_mode):
                raise CorruptShard(
                    expected="a file", found="a folder or a special file", where=path
                )
            if size != self.sizes[index]:
                raise CorruptShard(
                    expected=f"{self.sizes[index]:,} bytes", found=f"{size:,}", where=path
                )
            self._map(int(self.starts[index]), size, handle)
        finally:
            os.close(handle)
        return self.data[self.starts[index] :][:size].data

    def _map(self, start: int, size: int, handle: int) -> None:
        if not size:
            return
        if not platforms.POSIX:
            with open(handle, "rb", closefd=False) as file:
                self.data[start : start + size] = np.frombuffer(file.read(size), np.uint8)
            return
        address = self.data.ctypes.data + start
        if (
            _libc.mmap(address, size, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, handle, 0)
            != address
        ):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
