"""All rows read once from files that are on the disk alone: dropped from the memory that the system
keeps them in, and checked to be out of it.

Nothing here needs a privilege: a process may let go of the pages of its own files. Names and sizes
of files stay known to the system, so what is then read is a cold file, not a machine that was just
switched on.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.bench.formats import Way
from logitcache.bench.read import make, read_once, rows_of
from logitcache.bench.turns import rotated, timed
from logitcache.config.bench import ReadBenchConfig

ROUNDS = 3
RESIDENT = 0.01  # more of a file's pages than this, and it is not cold


def cold_passes(config: ReadBenchConfig, ways: Sequence[Way], width: int) -> list[dict[str, Any]]:
    """Every way that has files of its own, read once from the disk, opening included: the medians
    of some rounds. None where the system keeps files in memory.
    """
    own = {way.name: way for way in ways if way.of is None}
    times: dict[str, list[float]] = {name: [] for name in own}
    with tempfile.TemporaryDirectory(prefix="logitcache-cold-") as name:
        folder = Path(name)
        make(config, ways, folder, width)
        os.sync()  # file by file this would take minutes where there are thousands
        for order in rotated(list(own), ROUNDS):
            for name in order:
                way = own[name]
                gc.collect()  # files that are mapped stay in memory
                if not cool(way.folder(folder).rglob("*")):
                    return []
                times[name].append(timed(lambda way=way: read_once(way.open(way.folder(folder)))))
    passes = []
    for name, way in own.items():
        rows = rows_of(config, width, way)
        seconds = float(np.median(times[name]))
        rate = rows * width * 2 / seconds
        passes.append(
            {
                "name": name,
                "width": width,
                "rows": rows,
                "seconds": seconds,
                "bytes_per_second": rate,
            }
        )
    return passes


def cool(files: Iterable[Path]) -> bool:
    """Let go of these files' pages; whether that worked. It does not where they were not written
    out, where the system has no way to say so, where the files live in memory, or where somebody
    has them mapped.
    """
    if not sys.platform.startswith("linux"):
        return False
    present = [path for path in files if path.is_file() and path.stat().st_size]
    for path in present:
        _let_go(path)
    total = 0
    resident = 0
    for path in present:
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
