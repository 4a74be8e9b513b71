"""Every file operation that writes a cache or a result goes through here: beside its place, fsynced, renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from logitcache.errors import OutOfSpace


def temporary(path: Path) -> Path:
    """Where a file is written before it takes its place. A kill may leave it there; the next write replaces it."""
    return path.with_name(f".{path.name}.tmp")


def write_atomic(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that a reader sees all of it or none. Raises OutOfSpace."""
    beside = temporary(path)
    with _space(path, len(data)):
        try:
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder last through a power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _space(path: Path, needed: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        disk = os.statvfs(path.parent)
        free = disk.f_bavail * disk.f_frsize
        limit = " or a limit on file sizes (ulimit -f)" if error.errno == errno.EFBIG else ""
        advice = "Make room and run the same command again."
        raise OutOfSpace(f"disk full{limit}: needed {needed:,} bytes, found {free:,}. {advice}", where=path) from error
