"""What Linux, macOS and Windows do differently: locks, file flags, space, memory, cores, processes.

Windows has neither `fcntl` nor `resource`, opens no folders, and cannot map a file to a place in
memory of one's choice; macOS has no affinity and counts memory in bytes. A system without any file
locks is an error: nothing here gives up a promise in silence.
"""

from __future__ import annotations

import errno
import importlib
import mmap
import os
import shutil
import signal
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any


def _optional(module: str) -> Any:
    """A module of Python's own; None on a system that has none of this name."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


fcntl, resource, msvcrt = _optional("fcntl"), _optional("resource"), _optional("msvcrt")
POSIX = fcntl is not None
# Flags of os.open: closed in child processes and never translated; no link followed; no waiting for
# a pipe.
OPENED = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
NO_WAIT = getattr(os, "O_NONBLOCK", 0)
# None where folders cannot be opened, and so not be synced
FOLDER = getattr(os, "O_DIRECTORY", None)
SYNCED = os.O_RDONLY if POSIX else os.O_RDWR  # how a file is opened to be synced
KILLED = getattr(signal, "SIGKILL", 9)
BROKEN_PIPE = getattr(signal, "SIGPIPE", 13)
LOCKED_AT = 1 << 30  # where Windows locks bytes: far behind what is written, for others read that
SHARES = 64  # processes that may share a lock on Windows, which knows none: one byte each


def private_memory(size: int) -> mmap.mmap:
    """Zeros that are mapped for them alone: freed, they go back to the system at once. No other
    process sees what is written there, but on Windows, which has no such choice.
    """
    if not POSIX:
        return mmap.mmap(-1, size)
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def lock(handle: int, *, shared: bool) -> None:
    """Lock an open file, or change the kind of this handle's lock, without waiting.

    Raises BlockingIOError where others hold it, OSError (ENOLCK) where the system has no locks.
    """
    if fcntl is not None:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    elif msvcrt is not None:
        _lock_bytes(handle, shared)
    else:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


# (start, count) of the bytes that a handle has locked on Windows
_ranges: dict[int, tuple[int, int]] = {}


def _lock_bytes(handle: int, shared: bool) -> None:
    """One of the bytes, or all of them. The position in the file is its start afterwards."""
    start, count = _ranges.pop(handle, (0, 0))
    try:
        if count:
            os.lseek(handle, start, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_UNLCK, count)
        if shared:
            ranges = [(LOCKED_AT + byte, 1) for byte in range(SHARES)]
        else:
            ranges = [(LOCKED_AT, SHARES)]
        for start, count in ranges:
            os.lseek(handle, start, os.SEEK_SET)
            try:
                msvcrt.locking(handle, msvcrt.LK_NBLCK, count)
            except OSError:
                continue
            _ranges[handle] = (start, count)
            return
    finally:
        os.lseek(handle, 0, os.SEEK_SET)
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def close(handle: int) -> None:
    """Close a file that may be locked; the lock ends with it."""
    _ranges.pop(handle, None)
    os.close(handle)


def read_start(handle: int, count: int) -> bytes:
    """The first bytes of an open file."""
    if hasattr(os, "pread"):
        return os.pread(handle, count, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    return os.read(handle, count)


def link(source: Path, target: Path) -> None:
    """A second name for a file. Raises OSError (ENOSYS) where the system has none."""
    if not hasattr(os, "link"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    os.link(source, target)


def free_bytes(folder: Path) -> int:
    """Bytes that one more file may have in a folder: free space, within the limit of file sizes."""
    free = shutil.disk_usage(folder).free
    if resource is None:
        return free
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return free if limit == resource.RLIM_INFINITY else min(free, limit)


def peak_memory() -> int:
    """Most memory that this process has held, in bytes; 0 where nobody says."""
    if resource is not None:
        unit = 1 if sys.platform == "darwin" else 1024
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit
    psutil = _optional("psutil")
    return int(psutil.Process().memory_info().peak_wset) if psutil is not None else 0


def memory_bytes() -> int | None:
    """The machine's memory; None where nobody says."""
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    psutil = _optional("psutil")
    return int(psutil.virtual_memory().total) if psutil is not None else None


def lacks_cuda() -> bool:
    """Whether torch surely finds no GPU here, without importing it: one that was built for CPUs, or
    no GPU that this process may see.
    """
    return _built_for_cpus() or os.environ.get("CUDA_VISIBLE_DEVICES") == ""


@cache
def _built_for_cpus() -> bool:
    from importlib.metadata import PackageNotFoundError, version

    with suppress(PackageNotFoundError):
        return version("torch").endswith("+cpu")
    return False


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def lives(pid: int) -> bool:
    """Whether there is such a process. On Windows it is taken to be there: asking would end it."""
    if not 0 < pid < 2**31:  # another number means a group of processes
        return False
    if not POSIX:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
