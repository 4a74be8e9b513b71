"""Reading a finished cache at a URL: its manifest is read when it is opened, a shard's file is
fetched when it is first needed.

A file is hashed while it is written to a temporary name, and gets its own name only if size and
checksum are those of its receipt. Processes that need the same file at once wait for the first of
them. A fetched file is read like any file of a local cache: memory-mapped, every piece checked when
it is first touched. fsspec and the libraries that it knows read the URLs.

Only names that follow from the manifest are asked for. Nothing at a URL is ever listed.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

from logitcache import identity
from logitcache.config.option import file_path
from logitcache.errors import CorruptShard, FormatError, IncompleteCache, LogitCacheError, SpecError
from logitcache.records import Array
from logitcache.store import files
from logitcache.store.extents import File
from logitcache.store.json_files import MAX_BYTES, parse_own
from logitcache.store.lock import Lock
from logitcache.store.manifest import MANIFEST, PLAN, SHARDS, Manifest, receipt_name
from logitcache.store.reader import Reader
from logitcache.store.shards import Fault, LocalFolder, Places, Shard
from logitcache.store.streaming import MEND, Missing, stream

HOME = "LOGITCACHE_HOME"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
ANEW = "Delete that file: it is fetched again."


def is_url(name: str | os.PathLike[str]) -> bool:
    """Whether a cache is named by a URL, not by a folder's path."""
    return isinstance(name, str) and _SCHEME.match(name) is not None


def place(name: str | os.PathLike[str]) -> str | Path:
    """The URL or path that a cache's name means: a URL loses the slash at its end, and ``file://``
    becomes a path. Raises SpecError for a URL with a password or token in it, since names are
    printed in messages and results.
    """
    if not is_url(name):
        return Path(name)
    url = os.fspath(name)
    scheme, _, path = url.partition("://")
    if scheme in ("file", "local"):
        return file_path(url)
    user, at, host = urlsplit(url).netloc.rpartition("@")
    if "::" in path:
        raise SpecError(
            "expected one URL, found a chain of them. Name the cache's folder alone.",
            where=f"{scheme}://",
        )
    names_a_user = at and (":" in user or scheme in ("http", "https"))
    if names_a_user or "?" in path or "#" in path:
        raise SpecError(
            "expected a URL without user, password, query or fragment, found one of these. Give secrets as the library "
            "of that protocol takes them: in the environment, or in a file of its own.",
            where=f"{scheme}://{host}",
        )
    return url.rstrip("/")


def open_reader(name: str | os.PathLike[str], *, check_sizes: bool = True) -> Reader:
    """Open a complete cache in a folder or at a URL. Raises what :class:`Reader`'s openers do."""
    url_or_path = place(name)
    if isinstance(url_or_path, str):
        return RemoteReader.of(url_or_path)
    return Reader.open(url_or_path, check_sizes=check_sizes)


def home() -> Path:
    """Where fetched files lie, by fingerprint: ``$LOGITCACHE_HOME``, or ``~/.cache/logitcache``."""
    return Path(os.environ.get(HOME) or Path.home() / ".cache" / "logitcache")


@dataclass(frozen=True)
class RemoteFolder:
    """The files of a cache at a URL; those that were fetched lie in ``folder``."""

    url: str
    folder: Path

    def path(self, file: File) -> Path:
        """A file's path on this disk, fetched first if need be. Raises CorruptShard naming the URL
        where the bytes there are not those of the receipt, SpecError where the URL cannot be read.
        """
        path = self.folder / file.name
        if not files.is_there(self.folder, file.name, file.bytes):
            files.refuse_links(self.folder.parent, PurePath(SHARDS, file.name).parent)
            files.make_folder(path.parent)
            lock = Lock(path.parent, f".{path.name}.lock", wait=math.inf)
            try:
                # else another process has fetched it
                if not files.is_there(self.folder, file.name, file.bytes):
                    self._fetch(path, file)
            finally:
                lock.release()
        return path

    def _fetch(self, path: Path, file: File) -> None:
        for leftover in path.parent.glob(f".{path.name}.*.tmp"):  # of a kill: the lock is ours
            files.remove(path.parent, leftover.name)
        url = f"{self.url}/{SHARDS}/{file.name}"
        files.write_pieces(path, _checked(stream(url, file.bytes), file, url), file.bytes)


def _checked(pieces: Iterator[bytes], file: File, url: str) -> Iterator[bytes]:
    """The same pieces. Raises CorruptShard at their end unless they were what the receipt says."""
    size = 0
    digest = blake2b(digest_size=identity.DIGEST_BYTES)
    for piece in pieces:
        size += len(piece)
        digest.update(piece)
        yield piece
    if size != file.bytes:
        received = "more" if size > file.bytes else f"{size:,}"
        raise CorruptShard(expected=f"{file.bytes:,} bytes", found=received, advice=MEND, where=url)
    if digest.hexdigest() != file.blake2b:
        raise CorruptShard(
            f"blake2b expected {file.blake2b}, found {digest.hexdigest()}", advice=MEND, where=url
        )


class RemoteReader(Reader):
    """The tables of a cache at a URL. ``folder`` is where its files are fetched to."""

    def __init__(self, url: str, manifest: Manifest) -> None:
        folder = home() / manifest.digest
        super().__init__(folder, manifest, RemoteFolder(url, folder / SHARDS))
        self.url = self.where = url

    @classmethod
    def of(cls, url: str) -> RemoteReader:
        """Open a complete cache at a URL. Raises IncompleteCache, FormatError, SpecError."""
        where = f"{url}/{MANIFEST}"
        try:
            data = b"".join(stream(where, MAX_BYTES))
        except Missing:
            raise _no_manifest(url) from None
        if len(data) > MAX_BYTES:
            raise FormatError(expected=f"at most {MAX_BYTES:,} bytes", found="more", where=where)
        try:
            return cls(url, Manifest.from_dict(parse_own(data, where)))
        except FormatError as error:
            raise error.at(where) from None

    def check_files(self) -> None:
        """Does nothing: files are fetched when they are needed."""

    def take(self, addresses: Places, names: Any) -> dict[str, Array]:
        """As of a local cache; the error for a fetched file that was damaged says to delete it."""
        try:
            return super().take(addresses, names)
        except CorruptShard as error:
            # else the file at the URL is the damaged one
            if Path(str(error.where)).is_relative_to(self.folder):
                error.advice = ANEW
            raise

    def error(self, fault: Fault) -> CorruptShard:
        """A fault in a fetched file, damaged since: faulty files at the URL are never kept."""
        error = fault.error(self.folder)
        error.advice = ANEW
        return error

    def faults(self) -> Iterator[Fault]:
        """Everything at the URL that is not as written. Fetches all again; keeps what is whole."""
        files.make_folder(self.folder)
        lock = Lock(self.folder, ".verify.lock", wait=math.inf)
        scratch = self.folder / ".verify"
        try:
            if scratch.is_dir():  # of a kill: the lock is ours
                files.remove_folder(scratch)
            yield from self._faults(Reader(scratch, self.manifest, LocalFolder(scratch / SHARDS)))
        finally:
            if scratch.is_dir():
                files.remove_folder(scratch)
            lock.release()

    def _faults(self, fetched: Reader) -> Iterator[Fault]:
        receipts = (f"{SHARDS}/{receipt_name(shard.index)}" for shard in self.shards)
        for name in (PLAN, *receipts):
            self._fetch(name, fetched.folder, MAX_BYTES)
        tensors = self.manifest.plan.tensors
        if tensors is not None:
            self._fetch(f"{SHARDS}/{tensors.name}", fetched.folder, tensors.bytes)
        yield from fetched.faults_outside_shards()
        yield from fetched.tensor_faults()
        for shard in self.shards:
            yield from self._faults_of(shard, fetched)

    def _faults_of(self, shard: Shard, fetched: Reader) -> Iterator[Fault]:
        for file in shard.files.values():
            self._fetch(f"{SHARDS}/{file.name}", fetched.folder, file.bytes)
        faults = list(fetched.faults_of(shard))
        yield from faults
        for file in shard.files.values():
            path = fetched.folder / SHARDS / file.name
            if faults:
                path.unlink(missing_ok=True)
            else:
                target = self.folder / SHARDS / file.name
                files.refuse_links(self.folder, PurePath(SHARDS, file.name).parent)
                files.make_folder(target.parent)
                files.system.replace(path, target)

    def _fetch(self, name: str, folder: Path, size: int) -> None:
        """Fetch a file, whatever its bytes, if it exists."""
        path = folder / name
        files.make_folder(path.parent)
        try:
            files.write_pieces(path, stream(f"{self.url}/{name}", size), size)
        except Missing:
            path.unlink(missing_ok=True)


def _no_manifest(url: str) -> LogitCacheError:
    try:
        next(stream(f"{url}/{PLAN}", 1), None)
    except Missing:
        advice = "Name the URL that a cache's folder was copied to."
        return FormatError(
            expected="a cache (manifest.json below this URL)",
            found="none",
            advice=advice,
            where=url,
        )
    advice = "Let the dump end, then copy the cache's folder again, manifest.json last."
    return IncompleteCache("the dump has not finished", advice=advice, where=url)
