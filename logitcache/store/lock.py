"""A lock on a folder, so that it has one writer at a time. A second writer is refused at once,
naming the first; or it waits, where it needs what the first one makes.

The operating system holds the lock, so it is released when its holder ends in any way. The lock
file only names the holder for messages, and is removed with the lock: no file names a host.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from logitcache import platforms
from logitcache.errors import DiskError, Locked
from logitcache.reporter import SILENT, Reporter
from logitcache.store import files

LOCK = ".logitcache.lock"
POLL = 0.05
HOLDER_BYTES = 4096
ATTEMPTS = 100  # to lock a folder that others make and remove
PATIENCE = 1.0  # seconds a new holder has to write its name

_held: weakref.WeakSet[Lock] = weakref.WeakSet()


class Lock:
    """Locks a folder from when it is made until :meth:`release`, or until nothing refers to it."""

    def __init__(
        self,
        folder: Path,
        name: str = LOCK,
        *,
        shared: bool = False,
        wait: float = 0.0,
        content: str = "this cache",
        reporter: Reporter = SILENT,
    ) -> None:
        """A ``shared`` lock may be held by any number of processes at once, unless one holds it
        alone. ``content`` names what the folder holds, for messages; ``reporter`` gets a note about
        the process that is waited for.

        Raises Locked naming the holder where another process holds it for longer than ``wait``
        seconds, or this very thread does; DiskError where the file system has no locks.
        """
        self.path = folder / name
        self.content = content
        self.reporter = reporter
        self.thread = threading.get_ident()
        holder = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()
        with files.disk(self.path, len(holder)):
            self.handle = self._acquire(shared, time.monotonic() + wait)
            self._release = weakref.finalize(self, _give_back, self.path, self.handle)
            _held.add(self)
            try:
                files.system.empty(self.handle)
                files.system.write(self.handle, memoryview(holder))
            except BaseException:
                self.release()
                raise

    def _acquire(self, shared: bool, until: float) -> int:
        waiting = False
        while True:
            handle = files.system.open_lock(self.path)
            try:
                platforms.lock(handle, shared=shared)
            except BlockingIOError:
                patient = time.monotonic() < until and not _held_by_this_thread(handle)
                holder = "" if patient and waiting else _holder(handle)
                platforms.close(handle)
                if not patient:
                    raise _locked(holder, self.path.parent, self.content) from None
                if not waiting:
                    self.reporter.note(
                        f"{self.path.parent}: waiting for {holder}, which is writing {self.content}"
                    )
                waiting = True
                time.sleep(POLL)
                continue
            except OSError as error:
                platforms.close(handle)
                if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                    advice = "Write to a local disk, and move what is finished."
                    raise DiskError(
                        f"this file system has no locks ({error.strerror})",
                        advice=advice,
                        where=self.path,
                    ) from None
                raise
            if _is_at(handle, self.path):
                return handle
            platforms.close(handle)  # its last holder removed it after we had opened it

    @property
    def held(self) -> bool:
        """Whether it has not been released."""
        return self._release.alive

    def release(self) -> None:
        """Release the lock; releasing it again does nothing. Raises DiskError."""
        with files.disk(self.path):
            self._release()

    def leave(self) -> None:
        """Called in a forked child: forget the lock, which stays its parent's."""
        if self._release.detach() is not None:
            platforms.close(self.handle)


def lock_folder(folder: Path, **how: Any) -> Lock:
    """Make a folder if it is not there, and lock it. Raises what :class:`Lock` raises."""
    for _ in range(ATTEMPTS):
        files.make_folder(folder)
        try:
            return Lock(folder, **how)
        except FileNotFoundError:  # whoever had it has removed the folder, which was empty
            continue
    return Lock(folder, **how)


def refuse_held(folder: Path, content: str) -> None:
    """Raises Locked where a process holds a folder. Changes nothing, not even dead locks."""
    try:
        handle = os.open(folder / LOCK, os.O_RDWR | platforms.NO_FOLLOW | platforms.OPENED)
    except OSError:
        return
    try:
        platforms.lock(handle, shared=False)
    except BlockingIOError:
        raise _locked(_holder(handle), folder, content) from None
    finally:
        platforms.close(handle)


def _locked(holder: str, folder: Path, content: str) -> Locked:
    advice = "Wait for it, end it, or choose another place."
    return Locked(f"{holder} is writing {content}", advice=advice, where=folder)


def alive(folder: Path, pattern: str) -> list[str]:
    """The names of lock files of this pattern that a process holds, this one included. Files of
    dead processes are removed. Raises DiskError.
    """
    held = []
    for path in sorted(folder.glob(pattern)):
        with files.disk(path):
            handle = files.system.open_lock(path)
            if not _give_back(path, handle):
                held.append(path.name)
    return held


def _give_back(path: Path, handle: int) -> bool:
    """Close a lock file; remove it, and return True, unless another process shares it."""
    try:
        platforms.lock(handle, shared=False)
        if platforms.POSIX and _is_at(handle, path):
            files.system.remove(path)  # before it is free: whoever waits opens a file of its own
    except BlockingIOError:  # shared with others: the last one removes it
        return False
    finally:
        platforms.close(handle)
    # Windows removes no open file; one that somebody has opened meanwhile stays theirs
    if not platforms.POSIX:
        with suppress(OSError):
            files.system.remove(path)
    return True


def _leave_all() -> None:
    for lock in list(_held):
        lock.leave()


# A flock belongs to parent and child alike. Without this a DataLoader worker that outlives its
# parent would keep it.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)


def _held_by_this_thread(handle: int) -> bool:
    """Whether this thread holds a lock on the opened file."""
    own = [lock for lock in list(_held) if lock.thread == threading.get_ident() and lock.held]
    status = os.fstat(handle)
    return any(os.path.samestat(status, os.fstat(lock.handle)) for lock in own)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _holder(handle: int) -> str:
    """The process that holds a locked file. A file that was just locked may be empty still, or name
    a dead process: then its holder has a moment to write its name.
    """
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            holder = json.loads(platforms.read_start(handle, HOLDER_BYTES))
            pid = int(holder["pid"])
            host = str(holder["host"])[:255]
            if host != socket.gethostname() or platforms.lives(pid):
                return f"process {pid} on {host!r}"
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        time.sleep(PATIENCE / 20)
    return "another process"
