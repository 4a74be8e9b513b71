"""Every operation that writes a cache or a result goes through here: beside its place, fsynced, renamed, and the folder
fsynced. So a reader sees all of a file or none of it, and a power loss takes back no more than the last rename.

What the operating system is asked stands in :class:`System`, one method a call, so that tests can let each of them
fail, be cut short, or be the last thing a process did.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from logitcache.errors import DiskError, FormatError, OutOfSpace

TEMPORARY = ".*.tmp"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
NO_PLACE = (errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG)


class System:
    """The calls that change a disk."""

    def create(self, path: Path) -> int:
        """Open a new file for writing; the descriptor. Fails where something is there already, a link too."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def open_lock(self, path: Path) -> int:
        """Open a file that is kept open, new or not; never one that a link leads to."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)

    def empty(self, handle: int) -> None:
        """Take back what was written."""
        os.ftruncate(handle, 0)

    def write(self, handle: int, data: memoryview) -> int:
        """Write some of the data; how much."""
        return os.write(handle, data)

    def sync(self, handle: int) -> None:
        os.fsync(handle)

    def close(self, handle: int) -> None:
        os.close(handle)

    def replace(self, source: Path, target: Path) -> None:
        os.replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        """A second name for a file; fails where the target is there already."""
        os.link(source, target)

    def remove(self, path: Path) -> None:
        os.unlink(path)

    def make_folder(self, path: Path) -> None:
        os.mkdir(path)

    def remove_folder(self, path: Path) -> None:
        os.rmdir(path)

    def open_folder(self, path: Path) -> int:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


system = System()


def temporary(path: Path) -> Path:
    """Where this process writes a file before it takes its place. A kill may leave it there."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def leftovers(folder: Path) -> list[Path]:
    """What kills have left beside the places of files in this folder and those below it."""
    return sorted(folder.rglob(TEMPORARY))


def write_atomic(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that a reader sees all of it or none, in place of what was there. Raises DiskError, and its kind
    OutOfSpace.
    """
    with _beside(path, data) as beside:
        system.replace(beside, path)


def write_new(path: Path, data: bytes | memoryview) -> None:
    """The same for a file that must not be there yet. Raises DiskError where it is."""
    with _beside(path, data) as beside:
        try:
            system.link(beside, path)
        except OSError as error:
            if error.errno not in NO_LINKS or path.exists():
                raise
            system.replace(beside, path)  # a file system without links
        else:
            system.remove(beside)


@contextmanager
def _beside(path: Path, data: bytes | memoryview) -> Iterator[Path]:
    """Write the data beside its place; whoever enters moves it there. Nothing is left beside it, whatever happens."""
    beside = temporary(path)
    with disk(path, len(data)):
        with suppress(FileNotFoundError):
            system.remove(beside)  # emptied instead, a second name of it would lose its bytes too
        try:
            _write(beside, memoryview(data).cast("B"))
            yield beside
        except BaseException:
            with suppress(OSError):  # the first failure is the one to tell; who comes next sweeps
                system.remove(beside)
            raise
        sync_folder(path.parent)


def _write(path: Path, data: memoryview) -> None:
    handle = system.create(path)
    try:
        while len(data):
            data = data[system.write(handle, data) :]
        system.sync(handle)
    except BaseException:
        os.close(handle)
        raise
    system.close(handle)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder last through a power loss."""
    handle = system.open_folder(folder)
    try:
        system.sync(handle)
    finally:
        os.close(handle)


def settle(folder: Path) -> None:
    """Make all names in this folder last, its own too: who was killed before could not. Raises DiskError."""
    with disk(folder):
        sync_folder(folder)
        if os.access(folder.parent, os.R_OK):  # else its name was not ours to give
            sync_folder(folder.parent)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are not there, so that a power loss does not take them back. Raises
    DiskError.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    with disk(path):
        try:
            system.make_folder(path)
        except FileExistsError:  # somebody else made it meanwhile
            if not path.is_dir():
                raise
        sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file, if it is there, so that a power loss does not bring it back. Raises DiskError."""
    with disk(path):
        try:
            system.remove(path)
        except FileNotFoundError:
            return
        sync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder and all it holds, what a link leads to excepted. Raises DiskError."""
    with disk(path):
        for inside in path.iterdir():
            if inside.is_dir() and not inside.is_symlink():
                remove_folder(inside)
            else:
                system.remove(inside)
        system.remove_folder(path)
        sync_folder(path.parent)


def refuse_link(path: Path) -> None:
    """A cache's own files lie inside it. Raises FormatError where this one is a link to elsewhere."""
    if path.is_symlink():
        raise FormatError("expected what the dump wrote, found a link. Put the thing itself there.", where=path)


@contextmanager
def disk(path: Path, needed: int = 0) -> Iterator[None]:
    """What the system says of a failure to write there, as one clear line. A place that cannot be used stays the
    system's own error.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            advice = f"{error.strerror}. Make room and run the same command again."
            raise OutOfSpace(
                f"disk full: needed {needed:,} bytes, found {_free(path.parent):,}. {advice}", where=path
            ) from error
        if error.errno in NO_PLACE:
            raise
        advice = "See to the disk, then run the same command again: it goes on where it stopped."
        raise DiskError(f"could not be written: {error.strerror or error}. {advice}", where=path) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """The same for a failure to read there: what cannot be read is not what is not there."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_PLACE:
            raise
        advice = "See to the disk: nothing was changed."
        raise DiskError(f"could not be read: {error.strerror or error}. {advice}", where=path) from error


def _free(folder: Path) -> int:
    """Bytes that one more file may have here."""
    room, most = os.statvfs(folder), resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    free = room.f_bavail * room.f_frsize
    return free if most == resource.RLIM_INFINITY else min(free, most)
