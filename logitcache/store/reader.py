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
from logitcache.store.manifest import Manifest, read_manifest, read_own, receipt_name
from logitcache.store.shards import AGAIN, Fault, Folder, LocalFolder, Places, Shard

SHARDS = "shards"


class Reader:
    """The tables of one cache. Every piece of it is checked when it is first read."""

    def __init__(self, folder: Path, manifest: Manifest, files: Folder) -> None:
        self.folder, self.manifest, self.files = folder, manifest, files
        self.where = str(folder)  # what messages call it: its folder, or the URL it was opened from
        plan = manifest.plan
        self._shard_rows, self._views = np.array(plan.shard_rows), plan.views
        self.columns = {column.name: column for column in plan.columns}
        self.shards: list[Shard] = [receipt.shard(plan, i) for i, receipt in enumerate(manifest.receipts)]
        kind = stores.of(plan.store).Table
        self.tables: dict[str, Any] = {
            level: kind(files, level, plan.columns, self.shards) for level in levels(plan.columns)
        }

    @classmethod
    def open(cls, folder: Path, *, look: bool = True) -> Reader:
        """Open a complete cache on this disk. Raises IncompleteCache, FormatError, and (unless ``look`` is false)
        CorruptShard for a file that is missing or of another size.
        """
        reader = cls(folder, read_manifest(folder), LocalFolder(folder / SHARDS))
        refuse_link(folder / SHARDS)
        if look:
            try:
                reader.look()
            except CorruptShard:
                reader.refuse_replaced()
                raise
        return reader

    def look(self) -> None:
        """See that all files are there. Raises CorruptShard naming one that is missing or of another size."""
        kept = self.manifest.plan.tensors
        for files in (*(receipt.files for receipt in self.manifest.receipts), () if kept is None else (kept,)):
            for file in files:
                path = self.files.path(file)
                refuse_links(self.folder, f"{SHARDS}/{file.name}")
                if not path.is_file():
                    raise CorruptShard(expected="a shard's file", found="none", advice=AGAIN, where=path)
                size = path.stat().st_size
                if size != file.bytes:
                    raise CorruptShard(expected=f"{file.bytes:,} bytes", found=f"{size:,}", advice=AGAIN, where=path)

    def tensors(self) -> dict[str, Array]:
        """The tensors that the cache keeps once, by name. Raises CorruptShard."""
        file = self.manifest.plan.tensors
        return {} if file is None else tensors.decode(tensors.read(self.files, file))

    def __len__(self) -> int:
        return self.manifest.plan.rows

    def places(self, row_id: Int64, view: Int64 | int = 0) -> Places:
        """Where these rows' records are: row_id i64[n] within the cache, view below the plan's views."""
        if len(self.shards) == 1:
            shard, record = np.zeros(len(row_id), np.int64), row_id
        else:
            shard = row_id // self._shard_rows
            record = row_id - shard * self._shard_rows
        return Places(shard, record if self._views == 1 else record * self._views + view)

    def take(self, places: Places, names: Sequence[str]) -> dict[str, Array]:
        """These records of columns of one level, in this order: copies, [n, width]. Raises CorruptShard."""
        table = self.tables[self.columns[names[0]].level]
        try:
            found: dict[str, Array] = table.take(places, names)
        except CorruptShard:
            self.refuse_replaced()
            raise
        return found

    def refuse_replaced(self) -> None:
        """Raises FingerprintMismatch where the folder no longer holds the cache that was opened: then what does not fit
        its checksums is not damaged, but another's.
        """
        if not isinstance(self.files, LocalFolder):
            return
        found = "an unfinished one"
        with suppress(IncompleteCache, FormatError, OSError):
            digest = read_manifest(self.folder).digest
            if digest == self.manifest.digest:
                return
            found = f"one with fingerprint {digest}"
        raise FingerprintMismatch(
            expected=f"the cache with fingerprint {self.manifest.digest}, as it was opened",
            found=f"{found}: it was replaced while it was read",
            advice="Read it again when it is complete.",
            where=self.where,
        )

    def below(self, level: str, places: Places) -> tuple[Int64, Places]:
        """The records of a level that belong to these records of the level above it: (indptr i64[n + 1], places of the
        ``indptr[-1]`` records, in order). Raises FormatError where the ends lead outside the shard.
        """
        end = ends(level).name
        before = Places(places.shard, np.maximum(places.record - 1, 0))
        stop = self.take(places, [end])[end]
        start = np.where(places.record > 0, self.take(before, [end])[end], 0)
        last = self._records(level)[places.shard]
        bad = np.flatnonzero((start < 0) | (start > stop) | (stop > last))
        if len(bad):
            shard = self.shards[int(places.shard[bad[0]])]
            raise FormatError(
                f"{end}: expected ends from 0 to {last[bad[0]]}, found {start[bad[0]]} and {stop[bad[0]]}.",
                where=self.files.path(next(iter(shard.files.values()))),
            )
        counts = stop - start
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        record = np.repeat(start - indptr[:-1], counts) + np.arange(indptr[-1])
        return indptr, Places(np.repeat(places.shard, counts), record)

    @cached_property
    def _counts(self) -> dict[str, Int64]:
        return {level: np.array([s.records[level] for s in self.shards], np.int64) for level in self.tables}

    def _records(self, level: str) -> Int64:
        return self._counts[level]

    def faults(self) -> Iterator[Fault]:
        """Everything that is not as it was written. Reads every byte. Raises FingerprintMismatch where the cache was
        replaced meanwhile.
        """
        for fault in chain(self.beside(), self.tensor_faults(), *map(self.faults_of, self.shards)):
            self.refuse_replaced()
            yield fault

    def tensor_faults(self) -> list[Fault]:
        """Everything in the file of tensors that is not as it was written."""
        file = self.manifest.plan.tensors
        return [] if file is None else tensors.faults(self.files, file)

    def faults_of(self, shard: Shard) -> Iterator[Fault]:
        """Everything in a shard's files that is not as it was written."""
        found = [fault for table in self.tables.values() for fault in table.faults(shard)]
        yield from found
        broken = {fault.file for fault in found}
        for file in shard.files.values():
            path = self.files.path(file)
            if f"{SHARDS}/{file.name}" not in broken and identity.digest_file(path) != file.blake2b:
                yield Fault(f"{SHARDS}/{file.name}", None, None, "the whole file's checksum does not hold")

    def beside(self) -> Iterator[Fault]:
        """What is wrong with the small files: they must say what the manifest says, and there must be no others."""
        manifest = self.manifest
        expected = {"plan.json": manifest.plan.to_dict()}
        for index, receipt in enumerate(manifest.receipts):
            expected[f"{SHARDS}/{receipt_name(index)}"] = receipt.to_dict()
        for name, value in expected.items():
            try:
                found = read_own(self.folder / name) if (self.folder / name).is_file() else None
            except FormatError as error:
                yield Fault(name, None, None, error.problem)
                continue
            if found is None:
                yield Fault(name, None, None, "expected the file, found none")
            elif identity.digest_json(found) != identity.digest_json(value):
                yield Fault(name, None, None, "it does not say what the manifest says")
        known = {*expected, *(f"{SHARDS}/{name}" for shard in self.shards for name in shard.files)}
        if manifest.plan.tensors is not None:
            known.add(f"{SHARDS}/{manifest.plan.tensors.name}")
        for name in strangers(self.folder, known):
            yield Fault(name, None, None, "it is no file of this cache")

    def error(self, fault: Fault) -> CorruptShard:
        """A fault in a shard's files as an error, with what helps. Raises FingerprintMismatch where the whole cache was
        replaced meanwhile.
        """
        self.refuse_replaced()
        return fault.error(self.where)


def strangers(folder: Path, known: Collection[str]) -> list[str]:
    """The names of files among a cache's shards that are none of its own. Hidden ``.*.tmp`` are nobody's: of a write
    that was killed, or goes on.
    """
    found = (path for path in sorted((folder / SHARDS).rglob("*")) if path.is_symlink() or not path.is_dir())
    names = {path.relative_to(folder).as_posix(): path for path in found}
    return [name for name, path in names.items() if name not in known and not path.match(TEMPORARY)]


def all_rows(reader: Reader, level: str = ROW) -> Places:
    """Every record of a level, in order."""
    counts = np.array([shard.records[level] for shard in reader.shards], np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    shard = np.repeat(np.arange(len(counts)), counts)
    return Places(shard, np.arange(starts[-1]) - starts[shard])
