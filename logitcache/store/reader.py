"""Reading a finished cache: records of any level, by row and view, whatever the store."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from logitcache import identity
from logitcache.errors import CorruptShard, FingerprintMismatch, FormatError, IncompleteCache
from logitcache.records import Array, Int64
from logitcache.store import stores, tensors
from logitcache.store.columns import ROW, ends, levels
from logitcache.store.files import TEMPORARY, refuse_link, refuse_links
from logitcache.store.json_files import read_own
from logitcache.store.manifest import PLAN, SHARDS, Manifest, read_manifest, receipt_name
from logitcache.store.shards import AGAIN, Fault, Folder, LocalFolder, Places, Shard, Table


class Reader:
    """The tables of one cache. Every piece of it is checked when it is first read."""

    def __init__(self, folder: Path, manifest: Manifest, files: Folder) -> None:
        plan = manifest.plan
        self.folder = folder
        self.manifest = manifest
        self.files = files
        self.where = str(folder)  # what messages call it: its folder, or the URL it was opened from
        self.columns = {column.name: column for column in plan.columns}
        self.shards: list[Shard] = []
        for index, receipt in enumerate(manifest.receipts):
            self.shards.append(receipt.shard(plan, index))
        store = stores.of(plan.store)
        self.tables: dict[str, Table] = {}
        for level in levels(plan.columns):
            self.tables[level] = store.Table(files, level, plan.columns, self.shards)
        # an array: numpy takes twice as long for a Python number
        self._shard_rows = np.array(plan.shard_rows)
        self._views = plan.views

    @classmethod
    def open(cls, folder: Path, *, check_sizes: bool = True) -> Reader:
        """Open a complete cache on this disk. Raises IncompleteCache, FormatError, and (unless
        ``check_sizes`` is false) CorruptShard for a file that is missing or of another size.
        """
        reader = cls(folder, read_manifest(folder), LocalFolder(folder / SHARDS))
        refuse_link(folder / SHARDS)
        if check_sizes:
            try:
                reader.check_files()
            except CorruptShard:
                reader.refuse_replaced()
                raise
        return reader

    def check_files(self) -> None:
        """Check that all files are there. Raises CorruptShard for one missing or misshapen."""
        tensors = self.manifest.plan.tensors
        for files in (
            *(receipt.files for receipt in self.manifest.receipts),
            () if tensors is None else (tensors,),
        ):
            for file in files:
                path = self.files.path(file)
                refuse_links(self.folder, f"{SHARDS}/{file.name}")
                if not path.is_file():
                    raise CorruptShard(
                        expected="a shard's file", found="none", advice=AGAIN, where=path
                    )
                size = path.stat().st_size
                if size != file.bytes:
                    raise CorruptShard(
                        expected=f"{file.bytes:,} bytes",
                        found=f"{size:,}",
                        advice=AGAIN,
                        where=path,
                    )

    def tensors(self) -> dict[str, Array]:
        """The tensors that the cache keeps once, by name. Raises CorruptShard."""
        file = self.manifest.plan.tensors
        return {} if file is None else tensors.decode(tensors.read(self.files, file))

    def __len__(self) -> int:
        return self.manifest.plan.rows

    def places(self, row_id: Int64, view: Int64 | int = 0) -> Places:
        """Where these rows' records are: row_id i64[n] in the cache, view below its views."""
        if len(self.shards) == 1:
            shard = np.zeros(len(row_id), np.int64)
            record = row_id
        else:
            shard = row_id // self._shard_rows
            record = row_id - shard * self._shard_rows
        if self._views > 1:
            record = record * self._views + view
        return Places(shard, record)

    def take(self, addresses: Places, names: Sequence[str]) -> dict[str, Array]:
        """These records of columns of a level, in order: copies [n, width]. Raises CorruptShard."""
        table = self.tables[self.columns[names[0]].level]
        try:
            return table.take(addresses, names)
        except CorruptShard:
            self.refuse_replaced()
            raise

    def refuse_replaced(self) -> None:
        """Raises FingerprintMismatch where the folder no longer holds the cache that was opened.
        Checksums that fail are then no sign of damage.
        """
        if not isinstance(self.files, LocalFolder):
            return
        replacement = "an unfinished one"
        with suppress(IncompleteCache, FormatError, OSError):
            digest = read_manifest(self.folder).digest
            if digest == self.manifest.digest:
                return
            replacement = f"one with fingerprint {digest}"
        raise FingerprintMismatch(
            expected=f"the cache with fingerprint {self.manifest.digest}, as it was opened",
            found=f"{replacement}: it was replaced while it was read",
            advice="Read it again when it is complete.",
            where=self.where,
        )

    def below(self, level: str, addresses: Places) -> tuple[Int64, Places]:
        """The records of a level that belong to these records of the level above it: (indptr i64[n
        + 1], places of the ``indptr[-1]`` records, in order). Raises FormatError where the ends
        lead outside the shard.
        """
        end = ends(level).name
        before = Places(addresses.shard, np.maximum(addresses.record - 1, 0))
        stop = self.take(addresses, [end])[end]
        start = np.where(addresses.record > 0, self.take(before, [end])[end], 0)
        last = self._records[level][addresses.shard]
        outside = np.flatnonzero((start < 0) | (start > stop) | (stop > last))
        if len(outside):
            first = outside[0]
            shard = self.shards[int(addresses.shard[first])]
            raise FormatError(
                f"{end}: expected ends from 0 to {last[first]}, found {start[first]} and {stop[first]}.",
                where=self.files.path(next(iter(shard.files.values()))),
            )
        counts = stop - start
        indptr = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=indptr[1:])
        record = np.repeat(start - indptr[:-1], counts) + np.arange(indptr[-1])
        return indptr, Places(np.repeat(addresses.shard, counts), record)

    @cached_property
    def _records(self) -> dict[str, Int64]:
        """The number of records in each shard, by level."""
        return {level: _records_of(self.shards, level) for level in self.tables}

    def faults(self) -> Iterator[Fault]:
        """Everything that is not as written. Reads every byte. Raises FingerprintMismatch."""
        for fault in chain(
            self.faults_outside_shards(), self.tensor_faults(), *map(self.faults_of, self.shards)
        ):
            self.refuse_replaced()
            yield fault

    def tensor_faults(self) -> list[Fault]:
        """Everything in the file of tensors that is not as it was written."""
        file = self.manifest.plan.tensors
        return [] if file is None else tensors.faults(self.files, file)

    def faults_of(self, shard: Shard) -> Iterator[Fault]:
        """Everything in a shard's files that is not as it was written."""
        broken = set()
        for table in self.tables.values():
            for fault in table.faults(shard):
                broken.add(fault.file)
                yield fault
        for file in shard.files.values():
            path = self.files.path(file)
            if f"{SHARDS}/{file.name}" not in broken and identity.digest_file(path) != file.blake2b:
                yield Fault(
                    f"{SHARDS}/{file.name}", None, None, "the whole file's checksum does not hold"
                )

    def faults_outside_shards(self) -> Iterator[Fault]:
        """Faults outside the shards' files: in plan and receipts, or files that are none of its."""
        expected = {PLAN: self.manifest.plan.to_dict()}
        tensors = self.manifest.plan.tensors
        names = set() if tensors is None else {f"{SHARDS}/{tensors.name}"}
        for index, receipt in enumerate(self.manifest.receipts):
            expected[f"{SHARDS}/{receipt_name(index)}"] = receipt.to_dict()
            names |= {f"{SHARDS}/{file.name}" for file in receipt.files}
        for name, value in expected.items():
            problem = self._problem(name, value)
            if problem is not None:
                yield Fault(name, None, None, problem)
        for name in strangers(self.folder, {*expected, *names}):
            yield Fault(name, None, None, "it is no file of this cache")

    def _problem(self, name: str, expected: dict[str, Any]) -> str | None:
        """What is wrong with one JSON file; None where it holds the values that are expected."""
        path = self.folder / name
        if not path.is_file():
            return "expected the file, found none"
        try:
            value = read_own(path)
        except FormatError as error:
            return error.problem
        if identity.digest_json(value) != identity.digest_json(expected):
            return "it does not say what the manifest says"
        return None

    def error(self, fault: Fault) -> CorruptShard:
        """A fault in a shard's files as an error with advice. Raises FingerprintMismatch."""
        self.refuse_replaced()
        return fault.error(self.where)


def strangers(folder: Path, expected: Collection[str]) -> list[str]:
    """The names of files in the folder ``shards`` that do not belong to the cache. Temporary files
    (``.*.tmp``) are passed over: a writer may have been interrupted, or may be at work.
    """
    names = []
    for path in sorted((folder / SHARDS).rglob("*")):
        name = path.relative_to(folder).as_posix()
        is_folder = path.is_dir() and not path.is_symlink()
        if not is_folder and name not in expected and not path.match(TEMPORARY):
            names.append(name)
    return names


def all_rows(reader: Reader, level: str = ROW) -> Places:
    """Every record of a level, in order."""
    counts = _records_of(reader.shards, level)
    shard = np.repeat(np.arange(len(counts)), counts)
    starts = np.cumsum(counts) - counts
    return Places(shard, np.arange(len(shard)) - starts[shard])


def _records_of(shards: Sequence[Shard], level: str) -> Int64:
    return np.array([shard.records[level] for shard in shards], np.int64)
