"""Caches made of caches: the same answers in another store, parts of one dump put together, Parquet
for viewers.

Every shard that is read is checked against its receipt. Shards are written by the writer of caches:
under a lock, atomically, and the same command goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from logitcache import identity
from logitcache.errors import (
    CorruptShard,
    FingerprintMismatch,
    FormatError,
    IncompleteCache,
    SpecError,
    short,
)
from logitcache.records import Array
from logitcache.store import stores, tensors
from logitcache.store.columns import ROW, Column, are_ends, ends, levels
from logitcache.store.destination import refuse_inside
from logitcache.store.files import TEMPORARY, refuse_link, refuse_links, remove, write_atomic
from logitcache.store.json_files import read_own
from logitcache.store.lock import lock_folder
from logitcache.store.manifest import PLAN, SHARDS, Plan, Receipt, differences, receipt_name
from logitcache.store.reader import Reader
from logitcache.store.remote import RemoteReader
from logitcache.store.shards import AGAIN, LocalFolder, Places
from logitcache.store.writer import CacheWriter

PARQUET = "parquet"
KINDS = (*stores.NAMES, PARQUET)
ROW_GROUP = 8192  # rows: what a viewer reads to show one
METADATA = b"logitcache"  # key of what an exported file says of its cache
RANGES = 8  # of missing rows, named in a message


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion or a merge."""

    rows: int
    shards: int
    written: int  # shards that this command wrote: missing ones, and damaged ones again
    bytes: int
    fingerprint: str  # of the new cache; of an export, that of the cache that was exported


def convert(cache: Path | str, out: Path, kind: str) -> Conversion:
    """Write a complete cache's answers in another store, or as Parquet; a string is a URL. Raises
    CorruptShard where the cache is not as it was written, FingerprintMismatch where ``out`` holds
    another one, and what the writer raises.
    """
    if isinstance(cache, Path) and out.resolve() == cache.resolve():
        raise SpecError(
            "expected another folder than the cache's own",
            advice="Name one that is not there yet.",
            where=out,
        )
    reader = RemoteReader.of(cache) if isinstance(cache, str) else Reader.open(cache)
    return to_parquet(reader, out) if kind == PARQUET else to_store(reader, out, kind)


def to_store(reader: Reader, out: Path, store: str) -> Conversion:
    """See :func:`convert`."""
    tensor_file = reader.manifest.plan.tensors
    data = None if tensor_file is None else tensors.read(reader.files, tensor_file)
    with CacheWriter(out, replace(reader.manifest.plan, store=store), tensors=data) as writer:
        written = 0
        for index, receipt in enumerate(reader.manifest.receipts):
            arrays = arrays_of(reader, index)
            if index in writer.receipts:
                _check_same_shard(writer, index, arrays, receipt)
            if not writer.holds(index):
                writer.write(index, arrays, receipt.sketches, receipt.conditions)
                written += 1
        writer.seal()
        return conversion(out, written)


def conversion(out: Path, written: int) -> Conversion:
    """What a finished cache holds, of which so many shards were written now."""
    manifest = Reader.open(out).manifest
    return Conversion(
        manifest.plan.rows, len(manifest.receipts), written, manifest.bytes, manifest.digest
    )


def _check_same_shard(
    writer: CacheWriter, index: int, arrays: Mapping[str, Array], receipt: Receipt
) -> None:
    """Raises FingerprintMismatch where an earlier command wrote other answers to the same rows."""
    encoded = writer.store.encode(index, writer.plan.columns, arrays)
    files = tuple(data.described(name) for name, data in encoded.items())
    written = writer.receipts[index]
    if (written.files, written.sketches, written.conditions) != (
        files,
        receipt.sketches,
        receipt.conditions,
    ):
        raise FingerprintMismatch(
            f"shard {index} is there already, of another dump with this plan",
            advice="Choose another place.",
            where=writer.folder,
        )


def arrays_of(reader: Reader, index: int) -> dict[str, Array]:
    """All columns of a shard, every file of it checked first. Raises CorruptShard."""
    shard = reader.shards[index]
    for file in shard.files.values():
        # a remote file is fetched and checked here, so that an error names it
        reader.files.path(file)
    fault = next(reader.faults_of(shard), None)
    if fault is not None:
        raise reader.error(fault)
    arrays: dict[str, Array] = {}
    for level, columns in levels(reader.manifest.plan.columns).items():
        records = np.arange(shard.records[level])
        addresses = Places(np.full(len(records), index), records)
        arrays |= reader.tables[level].take(addresses, [column.name for column in columns])
    for level, count in shard.records.items():
        if level != ROW and not are_ends(arrays[ends(level).name], count):
            raise FormatError(
                f"{ends(level).name}: expected ends that rise to {count:,}, found others.",
                where=reader.files.path(next(iter(shard.files.values()))),
            )
    return arrays


def to_parquet(reader: Reader, out: Path) -> Conversion:
    """One file per shard, with page checksums: a row for each row and view, levels as lists."""
    metadata = _metadata(reader)
    if out.exists() and not out.is_dir():
        raise SpecError(
            expected="a folder", found="a file", advice="Choose another place.", where=out
        )
    refuse_inside(out)
    lock = lock_folder(out, content="this export")
    try:
        names = [f"{index:05d}.{PARQUET}" for index in range(len(reader.shards))]
        for path in out.glob(TEMPORARY):
            remove(out, path.name)
        exported = _exported(out, names, metadata)
        written = 0
        for index, name in enumerate(names):
            data = _parquet(_table(reader, index, metadata))
            if name not in exported or (out / name).read_bytes() != data:
                write_atomic(out / name, data)
                written += 1
        size = sum((out / name).stat().st_size for name in names)
    finally:
        lock.release()
    return Conversion(len(reader), len(names), written, size, reader.manifest.digest)


def _metadata(reader: Reader) -> bytes:
    """The JSON under the key ``logitcache`` in each file's metadata: which cache was exported."""
    plan = reader.manifest.plan
    return identity.canonical_json(
        {
            "fingerprint": reader.manifest.digest,
            "label_names": plan.teacher.get("label_names"),
            "data": plan.data,
            "targets": plan.targets,
        }
    )


def _exported(out: Path, names: list[str], metadata: bytes) -> set[str]:
    """The names of this export's files from an earlier command. Raises SpecError for others."""
    exported = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    for name in sorted(exported):
        if name not in names or _read_metadata(out / name) != metadata:
            raise SpecError(
                expected="an empty folder or the same cache's export",
                found=name,
                advice="Choose another folder.",
                where=out,
            )
    return exported


def _read_metadata(path: Path) -> bytes | None:
    """What :func:`_metadata` wrote into a file; None where it is no such file."""
    refuse_link(path)
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError):
        return None
    entries: dict[bytes, bytes] = schema.metadata or {}
    return entries.get(METADATA)


def _parquet(table: pa.Table) -> memoryview:
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, row_group_size=ROW_GROUP, write_page_checksum=True, compression="zstd"
    )
    return memoryview(sink.getvalue()).cast("B")


def _table(reader: Reader, index: int, metadata: bytes) -> pa.Table:
    """A shard as a table: ``row_id``, ``view`` where there are several, and all columns but those
    of ends, which become the lengths of lists.
    """
    shard = reader.shards[index]
    plan = reader.manifest.plan
    arrays = arrays_of(reader, index)
    row_id = shard.first_row + np.arange(shard.rows).repeat(plan.views)
    columns = {"row_id": pa.array(row_id)}
    if plan.views > 1:
        columns["view"] = pa.array(np.tile(np.arange(plan.views), shard.rows))
    end_names = {ends(level).name for level in levels(plan.columns) if level != ROW}
    for column in plan.columns:
        if column.name in end_names:
            continue
        name = column.name
        while name in columns:  # a cache's own column may be called row_id
            name += "_"
        columns[name] = _lists(column, arrays)
    return pa.table(columns).replace_schema_metadata({METADATA: metadata})


def _lists(column: Column, arrays: Mapping[str, Array]) -> pa.Array:
    """A column with one value for each record of the level ``row``."""
    values = pa.array(np.ascontiguousarray(arrays[column.name]).reshape(-1))
    if column.width:
        values = pa.FixedSizeListArray.from_arrays(values, column.width)
    level = column.level
    while level != ROW:
        end = ends(level)
        offsets = np.concatenate([np.zeros(1, np.int64), arrays[end.name]])
        values = pa.LargeListArray.from_arrays(offsets, values)
        level = end.level
    return values


def merge(out: Path, parts: Sequence[Path]) -> Conversion:
    """Copy the shards of unfinished (or finished) caches of one plan into one cache, and seal it.
    The first part named that has a shard gives it; one that is in ``out`` as it was written stays.
    Raises FingerprintMismatch naming the field where a part is of another plan, CorruptShard where
    a shard's bytes are not those of its receipt, IncompleteCache naming the rows that no part has.
    """
    plans = list(map(_plan, parts))
    first = plans[0].to_dict()
    for part, plan in zip(parts, plans, strict=True):
        for name, expected, value in differences(first, plan.to_dict()):
            problem = (
                f"{name}: expected {short(expected)} as in the first part, found {short(value)}"
            )
            raise FingerprintMismatch(problem, advice="Merge parts of one dump.", where=part)
    tensor_file = plans[0].tensors
    if tensor_file is None:
        data = None
    else:
        data = tensors.read(LocalFolder(parts[0] / SHARDS), tensor_file)
    with CacheWriter(out, plans[0], tensors=data) as writer:
        missing = [index for index in writer.own if not writer.holds(index)]
        written = len(missing)
        for part in parts:
            for index in list(missing):
                receipt = _receipt(part, writer, index)
                if receipt is not None:
                    writer.put(
                        index, receipt, {file.name: data for file, data in _files(part, receipt)}
                    )
                    missing.remove(index)
        if missing:
            raise IncompleteCache(
                f"no part has {_rows(writer.plan, missing)}",
                advice="Merge again when they are dumped: what was copied stays.",
                where=out,
            )
        writer.seal()
        return conversion(out, written)


def _plan(part: Path) -> Plan:
    path = part / PLAN
    if not path.is_file():
        raise FormatError(
            expected=f"a part of a dump (a folder with {PLAN})",
            found="none",
            advice="Make it with `logitcache dump --part I/N`.",
            where=part,
        )
    try:
        return Plan.from_dict(read_own(path))
    except FormatError as error:
        raise error.at(path) from None


def _receipt(part: Path, writer: CacheWriter, index: int) -> Receipt | None:
    """A part's receipt of a shard, or None. Raises CorruptShard for a receipt of another plan."""
    path = part / SHARDS / receipt_name(index)
    refuse_link(part / SHARDS)
    if not path.is_file():
        return None
    try:
        receipt = Receipt.from_dict(read_own(path))
    except FormatError as error:
        raise error.at(path) from None
    if not receipt.belongs(writer.plan, writer.digest, index):
        raise CorruptShard(
            expected=f"a receipt of shard {index} of this plan",
            found="another",
            advice=AGAIN,
            where=path,
        )
    return receipt


def _files(part: Path, receipt: Receipt) -> Iterator[tuple[Any, memoryview]]:
    """A shard's files and their bytes. Raises CorruptShard where size or digest differ."""
    for file in receipt.files:
        path = LocalFolder(part / SHARDS).path(file)
        refuse_links(part / SHARDS, file.name)
        size = path.stat().st_size if path.is_file() else None
        if size != file.bytes:
            content = "none" if size is None else f"{size:,}"
            raise CorruptShard(
                expected=f"{file.bytes:,} bytes", found=content, advice=AGAIN, where=path
            )
        data = memoryview(path.read_bytes())
        if not file.holds(data):
            content = identity.digest_bytes(data)
            raise CorruptShard(
                f"blake2b expected {file.blake2b}, found {content}", advice=AGAIN, where=path
            )
        yield file, data


def _rows(plan: Plan, shards: Sequence[int]) -> str:
    """``rows 0 to 8,191 and 16,384 to 20,479``, neighbours as one range."""
    ranges: list[tuple[int, int]] = []
    for start, end in map(plan.shard, shards):
        if ranges and ranges[-1][1] == start:
            start = ranges.pop()[0]
        ranges.append((start, end))
    words = [f"{start:,} to {end - 1:,}" for start, end in ranges]
    line = "rows " + ", ".join(words[:RANGES])
    return line if len(words) <= RANGES else f"{line} and {len(words) - RANGES} more ranges"
