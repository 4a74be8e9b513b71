"""Every operation that writes a cache or a result. A file is written under a temporary name,
fsynced and renamed, and its folder is fsynced. So a reader sees all of a file or none of it, and a
power loss takes back no more than the last rename.

Each call to the operating system that changes a disk is a method of :class:`System`. Tests let each
of them fail, write a part, or be the last thing that a process did.

Nothing is removed or written through a link. A cache's folder may be a link to a larger disk; below
it there are none, and what a link there points to is left alone.
"""

from __future__ import annotations

import errno
import os
import stat
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from logitcache import platforms
from logitcache.errors import DiskError, FormatError, LogitCacheError, OutOfSpace

TEMPORARY = ".*.tmp"
AGAIN = "Make room and run the same command again."
_SERIALIZATION = str(Path("torch", "serialization.py"))
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
NO_PLACE = (
    errno.EACCES,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENOENT,
    errno.ELOOP,
    errno.ENAMETOOLONG,
)


class System:
    """The calls that change a disk."""

    def create(self, path: Path) -> int:
        """Open a new file for writing; its descriptor. Fails where the name exists, as a link too."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | platforms.OPENED, 0o666)

    def open_lock(self, path: Path) -> int:
        """Open a lock file, new or not, and never through a link."""
        return os.open(path, os.O_RDWR | os.O_CREAT | platforms.NO_FOLLOW | platforms.OPENED, 0o666)

    def empty(self, handle: int) -> None:
        """Truncate an open file."""
        os.ftruncate(handle, 0)

    def write(self, handle: int, data: memoryview) -> int:
        """Write some of the data; returns how many bytes."""
        return os.write(handle, data)

    def sync(self, handle: int) -> None:
        os.fsync(handle)

    def close(self, handle: int) -> None:
        os.close(handle)

    def replace(self, source: Path, target: Path) -> None:
        os.replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name; fails where that name exists."""
        platforms.link(source, target)

    def remove(self, path: Path) -> None:
        os.unlink(path)

    def make_folder(self, path: Path) -> None:
        os.mkdir(path)

    def remove_folder(self, path: Path) -> None:
        os.rmdir(path)

    def open_folder(self, path: Path) -> int:
        return os.open(path, os.O_RDONLY | (platforms.FOLDER or 0) | platforms.OPENED)


system = System()


def temporary(path: Path) -> Path:
    """The temporary name under which this process writes a file."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def leftovers(folder: Path) -> list[Path]:
    """The temporary files that interrupted writers left in this folder and those below it."""
    paths = sorted(folder.rglob(TEMPORARY))
    return [path for path in paths if path.is_symlink() or not path.is_dir()]


def first_link(folder: Path, name: str | PurePath) -> Path | None:
    """The first link on the way from a folder to a name below it, both ends included."""
    path = folder
    for part in PurePath(name).parts:
        path = path / part
        if path.is_symlink():
            return path
    return None


def refuse_links(folder: Path, name: str | PurePath) -> None:
    """Raises FormatError where a name below a folder, or a folder on the way to it, is a link."""
    link = first_link(folder, name)
    if link is not None:
        raise FormatError(
            expected="what was written there",
            found="a link",
            advice="Put the thing itself there.",
            where=link,
        )


def refuse_link(path: Path) -> None:
    """Raises FormatError where this file or folder is a link, whatever is above it."""
    refuse_links(path.parent, path.name)


def is_there(folder: Path, name: str | PurePath, size: int) -> bool:
    """Whether a regular file of this size is below a folder, with no link on the way."""
    try:
        status = (folder / name).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return (
        stat.S_ISREG(status.st_mode) and status.st_size == size and first_link(folder, name) is None
    )


def write_atomic(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that a reader sees all of it or none. Raises DiskError and its kinds."""
    write_pieces(path, [data], len(data))


def write_pieces(path: Path, pieces: Iterable[bytes | memoryview], size: int) -> None:
    """As :func:`write_atomic`, of pieces, about ``size`` bytes in all. Raises what they raise."""
    with _beside(path, pieces, size) as beside:
        system.replace(beside, path)


def write_new(path: Path, data: bytes | memoryview) -> None:
    """As :func:`write_atomic`, for a file that must not exist yet. Raises DiskError where it does."""
    with _beside(path, [data], len(data)) as beside:
        try:
            system.link(beside, path)
        except OSError as error:
            if error.errno not in NO_LINKS or path.exists():
                raise
            system.replace(beside, path)  # a file system without links
        else:
            system.remove(beside)


@contextmanager
def _beside(path: Path, pieces: Iterable[bytes | memoryview], size: int) -> Iterator[Path]:
    """Write a file under a temporary name, for the caller to rename; it is removed in any case."""
    beside = temporary(path)
    with disk(path, size):
        with suppress(FileNotFoundError):
            # if it were truncated instead, a second name of it would lose its bytes too
            system.remove(beside)
        try:
            _write(beside, pieces)
            yield beside
        except BaseException:
            # the first failure is reported; the next writer removes what is left
            with suppress(OSError):
                system.remove(beside)
            raise
        sync_folder(path.parent)


def _write(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    handle = system.create(path)
    try:
        for piece in pieces:
            data = memoryview(piece).cast("B")
            while len(data):
                data = data[system.write(handle, data) :]
        system.sync(handle)
    except BaseException:
        os.close(handle)
        raise
    system.close(handle)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power loss. On Windows it does nothing."""
    if platforms.FOLDER is None:
        return
    handle = system.open_folder(folder)
    try:
        system.sync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make a file that another library wrote survive a power loss."""
    handle = os.open(path, platforms.SYNCED | platforms.OPENED)
    try:
        system.sync(handle)
    finally:
        os.close(handle)


def settle(folder: Path) -> None:
    """Make all names in this folder, and its own name, survive a power loss: a process that was
    killed before may not have done so. Raises DiskError.
    """
    with disk(folder):
        sync_folder(folder)
        if os.access(folder.parent, os.R_OK):  # else its name was not ours to give
            sync_folder(folder.parent)


def make_folder(path: Path) -> None:
    """Make a folder and those missing above it, to survive a power loss. Raises DiskError."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with disk(path):
        try:
            system.make_folder(path)
        except FileExistsError:
            # Another process made it meanwhile, and may remove it again at any time.
            with suppress(FileNotFoundError):
                if not stat.S_ISDIR(path.lstat().st_mode) and not path.is_dir():
                    raise NotADirectoryError(
                        errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)
                    ) from None
        sync_folder(path.parent)


def remove(folder: Path, name: str | PurePath) -> None:
    """Remove a file below a folder, if it exists, so that a power loss does not bring it back.
    Where a folder on the way is a link, that link is removed. Raises DiskError.
    """
    path = first_link(folder, name) or folder / name
    with disk(path):
        try:
            system.remove(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        sync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder and all it holds; of a link, the link alone. Raises DiskError."""
    with disk(path):
        if path.is_symlink():
            system.remove(path)
        else:
            for member in path.iterdir():
                if member.is_dir() and not member.is_symlink():
                    remove_folder(member)
                else:
                    system.remove(member)
            system.remove_folder(path)
        sync_folder(path.parent)


@contextmanager
def disk(path: Path, needed: int = 0) -> Iterator[None]:
    """Turn an OSError of writing there into a DiskError of one line. Errors of the place itself (no
    permission, not a folder) pass unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise OutOfSpace(
                f"disk full: needed {needed:,} bytes, found {platforms.free_bytes(path.parent):,}. {error.strerror}",
                advice=AGAIN,
                where=path,
            ) from error
        if error.errno in NO_PLACE:
            raise
        advice = "See to the disk, then run the same command again: it goes on where it stopped."
        reason = f"could not be written: {error.strerror or error}"
        raise DiskError(reason, advice=advice, where=path) from error


@contextmanager
def written_by_library(folder: Path, what: str, advice: str = AGAIN) -> Iterator[None]:
    """As :func:`disk` for a full one, under libraries that name no file (Trainer), or have no type
    for it (safetensors, torch, tokenizers). ``folder`` is there.
    """
    try:
        yield
    except LogitCacheError:
        raise
    except Exception as error:
        if not _is_disk_full(error):
            raise
        raise OutOfSpace(
            f"disk full: {what} could not be written ({platforms.free_bytes(folder):,} bytes are free)",
            advice=advice,
            where=folder,
        ) from error


def _is_disk_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in NO_SPACE and error.filename is None
    if "No space left" in str(error) or "File too large" in str(error):
        return True
    # what torch.save says of a file that it could not write or close differs from place to place
    calls = (frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__))
    is_saving = any(call.co_name == "save" and _SERIALIZATION in call.co_filename for call in calls)
    return isinstance(error, RuntimeError) and is_saving


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """As :func:`disk`, for reading: a file that cannot be read is not a missing file."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_PLACE:
            raise
        reason = f"could not be read: {error.strerror or error}"
        raise DiskError(
            reason, advice="See to the disk: nothing was changed.", where=path
        ) from error
