"""Files that are on the disk alone: put out of the memory that the system keeps them in, and seen to be out of it.

Nothing here needs a privilege: a process may let go of the pages of its own files. Names and sizes of files stay known
to the system, so what is then read is a cold file, not a machine that was just switched on.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

RESIDENT = 0.01  # more of a file's pages than this, and it is not cold


def written_out() -> None:
    """Wait until all that was written is on its disk. File by file this takes minutes where there are thousands."""
    os.sync()


def cool(files: Iterable[Path]) -> bool:
    """Let go of these files' pages; whether that worked. It does not where they were not :func:`written_out`, where
    the system has no way to say so, where the files live in memory, or where somebody has them mapped.
    """
    if not sys.platform.startswith("linux"):
        return False
    whole = [path for path in files if path.is_file() and path.stat().st_size]
    for path in whole:
        _let_go(path)
    total = 0
    resident = 0
    for path in whole:
        pages, in_memory = _pages(path)
        total += pages
        resident += in_memory
    return total > 0 and resident <= RESIDENT * total


def _let_go(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def _pages(path: Path) -> tuple[int, int]:
    """How many pages a file has, and how many of them are in memory."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        count = -(-len(mapped) // mmap.PAGESIZE)
        flags = np.zeros(count, np.uint8)
        data = np.frombuffer(mapped, np.uint8)
        address = ctypes.c_void_p(data.ctypes.data)
        length = ctypes.c_size_t(len(mapped))
        failed = ctypes.CDLL(None).mincore(address, length, ctypes.c_void_p(flags.ctypes.data))
        del data  # it would keep the file mapped
    if failed:
        return count, count
    return count, int((flags & 1).sum())
