"""The facade of a finished cache: open it, take rows, iterate, verify.

No torch, and nothing is read before it is asked for: opening costs one JSON file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from logitcache import identity
from logitcache.errors import AlignmentError, CorruptShard, FormatError
from logitcache.records import Answers, Array, Dense, Int64
from logitcache.store.arrow import Shard
from logitcache.store.columns import Column
from logitcache.store.manifest import ROOT_COLUMNS, Manifest, Plan, read_manifest, shard_name
from logitcache.targets.codec import Codec, codec_from_dict

BLOCK_ROWS = 8192


@dataclass(frozen=True)
class Block:
    """Decoded rows in row order."""

    row_id: Int64  # [n]
    row_hash: Int64  # [n]
    label: Int64  # [n]; -1 where there is none
    logits: Dense[Array]  # f32[n, K]


class Cache:
    """What a teacher said of every row of one split of one source.

    >>> cache = Cache.open("caches/sst2")          # doctest: +SKIP
    >>> cache.take(np.array([17, 3])).payload.logits   # f32[2, K], row maximum 0      # doctest: +SKIP
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.codec = _codec(folder, manifest.plan)

    @classmethod
    def open(cls, folder: str | PathLike[str]) -> Cache:
        """Open a complete cache. Raises IncompleteCache, FormatError, CorruptShard (a shard missing or of another
        size).
        """
        path = Path(folder)
        cache = cls(path, read_manifest(path))
        for index, receipt in enumerate(cache.manifest.receipts):
            shard = path / "shards" / shard_name(index)
            if not shard.is_file():
                raise CorruptShard(f"expected a shard, found no file. {_AGAIN}", where=shard)
            size = shard.stat().st_size
            if size != receipt.bytes:
                raise CorruptShard(f"expected {receipt.bytes:,} bytes, found {size:,}. {_REMEDY}", where=shard)
        return cache

    def __len__(self) -> int:
        return self.manifest.plan.rows

    def __repr__(self) -> str:
        plan = self.manifest.plan
        teacher, data, labels = plan.teacher.get("name"), plan.data, len(plan.teacher.get("label_names", ()))
        return (
            f"Cache({str(self.folder)!r}: {len(self):,} rows x {labels} classes, "
            f"{data.get('source')}/{data.get('split')}, teacher {teacher}, {self.codec.to_dict()}, "
            f"{self.manifest.bytes / 1e6:.1f} MB, fingerprint {self.fingerprint[:12]})"
        )

    @property
    def fingerprint(self) -> str:
        """Digest of the manifest, and so of every byte of the cache."""
        return self.manifest.digest

    @property
    def label_names(self) -> tuple[str, ...]:
        """Class names, in the order of the logits' columns."""
        return tuple(self.manifest.plan.teacher["label_names"])

    @cached_property
    def _shards(self) -> list[Shard]:
        folder, plan = self.folder / "shards", self.manifest.plan
        return [
            Shard(folder / shard_name(i), plan.columns, end - start) for i, (start, end) in enumerate(plan.shards())
        ]

    def take(self, row_id: Int64) -> Answers:
        """The teacher's answers for these rows, in this order; rows may repeat. Raises AlignmentError for a row that
        is not here.
        """
        columns = self._columns(np.asarray(row_id, dtype=np.int64), ("row_hash", *self.codec.columns()))
        return Answers(columns["row_hash"], np.ones(len(row_id), np.int64), self.codec.decode(columns))

    def row_hashes(self) -> Int64:
        """The hash of every row's text, in row order: i64[N]."""
        return self._columns(np.arange(len(self)), ("row_hash",))["row_hash"]

    def stored(self, row_id: Int64) -> dict[str, Array]:
        """The codec's columns of these rows, as they lie on disk. Raises AlignmentError for a row that is not here."""
        return self._columns(row_id, tuple(self.codec.columns()))

    def check(self, row_id: Int64, row_hash: Int64) -> None:
        """Prove that every one of these rows is in the cache. Raises AlignmentError naming the first that is not."""
        inside = row_id < len(self)  # a changed word speaks before a row that is not here
        known = self._columns(row_id[inside], ("row_hash",))["row_hash"]
        identity.check_rows(row_id[inside], row_hash[inside], known, str(self.folder))
        self._check_range(row_id)

    def _check_range(self, row_id: Int64) -> None:
        if len(row_id) and (row_id.min() < 0 or row_id.max() >= len(self)):
            outside = row_id[(row_id < 0) | (row_id >= len(self))][0]
            data = self.manifest.plan.data
            raise AlignmentError(
                f"row {outside} is not in this cache: it has rows 0 to {len(self) - 1}. "
                f"Use the split it was dumped from ({data.get('source')}/{data.get('split')}), or dump this one.",
                where=self.folder,
            )

    def _columns(self, row_id: Int64, names: tuple[str, ...]) -> dict[str, Array]:
        self._check_range(row_id)
        size = self.manifest.plan.shard_rows
        if len(self._shards) == 1:
            return self._shards[0].take(row_id, names)
        return self._gather(row_id // size, row_id % size, names)

    def _gather(self, shard: Int64, place: Int64, names: tuple[str, ...]) -> dict[str, Array]:
        columns = {c.name: c for c in self.manifest.plan.columns}
        out = {n: np.empty(columns[n].shape(len(place)), columns[n].dtype) for n in names}
        for index in np.unique(shard):
            here = np.flatnonzero(shard == index)
            for name, values in self._shards[index].take(place[here], names).items():
                out[name][here] = values
        return out

    def __iter__(self) -> Iterator[Block]:
        """All rows in row order, decoded, in blocks of at most 8,192."""
        for start in range(0, len(self), BLOCK_ROWS):
            rows = np.arange(start, min(start + BLOCK_ROWS, len(self)))
            columns = self._columns(rows, ("row_hash", "label", *self.codec.columns()))
            yield Block(rows, columns["row_hash"], columns["label"], self.codec.decode(columns))

    def verify(self) -> list[CorruptShard]:
        """Read every byte and compare checksums; returns the faults found, one per shard, none if all is well."""
        faults = []
        for index, receipt in enumerate(self.manifest.receipts):
            path = self.folder / "shards" / shard_name(index)
            found = identity.digest_file(path) if path.is_file() else "no file"
            if found != receipt.blake2b:
                faults.append(
                    CorruptShard(
                        f"blake2b expected {receipt.blake2b[:12]}…, found {found[:12]}…. {_REMEDY}", where=path
                    )
                )
        return faults

    def summary(self) -> Mapping[str, Any]:
        """What `logitcache inspect --json` prints."""
        manifest, plan = self.manifest, self.manifest.plan
        return {
            "rows": len(self),
            "positions": manifest.positions,
            "bytes": manifest.bytes,
            "shards": len(manifest.receipts),
            "codecs": dict(plan.targets),
            "fingerprint": manifest.digest,
            "teacher": dict(plan.teacher),
            "tokenizer": dict(plan.tokenizer),
            "data": dict(plan.data),
            "preparation": dict(plan.preparation),
            "conditions": [dict(c) for c in {str(r.conditions): r.conditions for r in manifest.receipts}.values()],
            "sketches": [dict(r.sketches) for r in manifest.receipts],
        }


def _codec(folder: Path, plan: Plan) -> Codec:
    """The codec of the logits. Raises FormatError where there is none, or the columns are not those it writes."""
    value = plan.targets.get("logits")
    try:
        codec = codec_from_dict(value if isinstance(value, dict) else {})
    except FormatError as error:
        raise error.at(folder) from None
    needed = {*ROOT_COLUMNS, *(Column(name, *kind) for name, kind in codec.columns().items())}
    if not needed <= set(plan.columns):
        raise FormatError(f"expected the columns of {codec}, found {', '.join(map(str, plan.columns))}.", where=folder)
    return codec


_AGAIN = "Run the same dump again: only that shard is recomputed."
_REMEDY = f"Delete the file and r{_AGAIN[1:]}"
