"""What a cache contains and whether it is whole: the plan (written first), the receipts (one per shard), the manifest
(written last).

The manifest exists if and only if the cache is complete. A shard without a receipt of this plan does not exist. No
file names a time, a host, a user or a path, so the same dump made twice gives the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from logitcache import identity
from logitcache.errors import FormatError, IncompleteCache
from logitcache.store.columns import Column
from logitcache.store.files import write_atomic

FORMAT = "logitcache/1"
MAX_BYTES = 64 << 20
ROOT_COLUMNS = (Column("row_hash", "int64"), Column("label", "int64"))


@dataclass(frozen=True)
class Plan:
    """What a dump will contain. Every field is part of the cache's identity."""

    teacher: Mapping[str, Any]  # name, weights digest, label names in order, compute dtype
    tokenizer: Mapping[str, Any]  # vocabulary and special ids
    data: Mapping[str, Any]  # source, split, rows, digest
    preparation: Mapping[str, Any]  # max_length, batch_tokens
    targets: Mapping[str, Mapping[str, Any]]  # name: codec
    columns: tuple[Column, ...]
    rows: int
    shard_rows: int

    def to_dict(self) -> dict[str, Any]:
        value = {k: v for k, v in self.__dict__.items() if k != "columns"}
        return {"format": FORMAT, **value, "columns": [c.to_dict() for c in self.columns]}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Plan:
        """Raises FormatError for another format or a missing or impossible field."""
        _check_format(value)
        fields = {k: value.get(k) for k in ("teacher", "tokenizer", "data", "preparation", "targets")}
        rows, shard_rows, columns = value.get("rows"), value.get("shard_rows"), value.get("columns")
        whole = all(isinstance(v, dict) for v in fields.values()) and isinstance(columns, list)
        whole = whole and all(isinstance(c, dict) for c in columns or ())
        if not whole or not _is_count(rows, 0) or not _is_count(shard_rows, 1):
            raise FormatError("plan: a field is missing or of another type.")
        assert isinstance(columns, list) and isinstance(rows, int) and isinstance(shard_rows, int)
        return cls(**fields, columns=tuple(map(Column.from_dict, columns)), rows=rows, shard_rows=shard_rows)  # type: ignore[arg-type]

    def digest(self) -> str:
        return identity.digest_json(self.to_dict())

    def shards(self) -> list[tuple[int, int]]:
        """(first row, end row) of each shard: shard i holds rows [i R, (i + 1) R)."""
        return [(start, min(start + self.shard_rows, self.rows)) for start in range(0, self.rows, self.shard_rows)]


@dataclass(frozen=True)
class Receipt:
    """Proof that a shard was written whole for one plan, and what was seen while it was made."""

    plan: str  # the plan's digest
    first_row: int
    rows: int
    positions: int
    bytes: int
    blake2b: str  # of the shard file
    sketches: Mapping[
        str, list[float]
    ]  # quantiles 0, 1, 5, 25, 50, 75, 95, 99, 100 % of entropy (nats) and top probability
    conditions: Mapping[str, Any]  # what the bits depend on: device kind, library versions, threads

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Receipt:
        """Raises FormatError where a field is missing or of another type."""
        kinds = {"plan": str, "blake2b": str, "sketches": dict, "conditions": dict}
        counts = ("first_row", "rows", "positions", "bytes")
        ok = set(value) == {*kinds, *counts} and all(isinstance(value[k], t) for k, t in kinds.items())
        if not ok or not all(_is_count(value[k], 0) for k in counts):
            raise FormatError("receipt: a field is missing, unknown or of another type.")
        return cls(**value)


def shard_name(index: int) -> str:
    return f"{index:05d}.arrow"


def manifest_dict(plan: Plan, receipts: list[Receipt]) -> dict[str, Any]:
    """The manifest's JSON: the plan, the shards, the totals, and last a digest of all that."""
    shards = [{"file": shard_name(i), **asdict(receipt)} for i, receipt in enumerate(receipts)]
    body = {
        "format": FORMAT,
        "plan": plan.to_dict(),
        "rows": sum(r.rows for r in receipts),
        "positions": sum(r.positions for r in receipts),
        "bytes": sum(r.bytes for r in receipts),
        "shards": shards,
    }
    return {**body, "digest": identity.digest_json(body)}


@dataclass(frozen=True)
class Manifest:
    """A complete cache, as its manifest states it."""

    plan: Plan
    receipts: tuple[Receipt, ...]
    positions: int
    bytes: int
    digest: str

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Manifest:
        """Raises FormatError where the digest is not the content's, or the content is not a manifest's."""
        _check_format(value)
        body = {k: v for k, v in value.items() if k != "digest"}
        if value.get("digest") != identity.digest_json(body):
            raise FormatError(
                f"manifest: its content does not have the digest it states ({value.get('digest')}): damaged. "
                "Delete manifest.json and run the same dump again: it writes it anew."
            )
        stated, shards = body.get("plan"), body.get("shards")
        if not isinstance(stated, dict) or not isinstance(shards, list):
            raise FormatError("manifest: expected a plan and a list of shards.")
        plan = Plan.from_dict(stated)
        receipts = []
        for index, shard in enumerate(shards):
            if not isinstance(shard, dict) or shard.get("file") != shard_name(index):
                raise FormatError(f"manifest: shard {index}: expected the file {shard_name(index)}.")
            receipts.append(Receipt.from_dict({k: v for k, v in shard.items() if k != "file"}))
        ranges = [(r.plan, r.first_row, r.first_row + r.rows) for r in receipts]
        if ranges != [(plan.digest(), *rows) for rows in plan.shards()] or body.get("rows") != plan.rows:
            raise FormatError("manifest: its shards are not those of its plan.")
        totals = sum(r.positions for r in receipts), sum(r.bytes for r in receipts)
        return cls(plan, tuple(receipts), *totals, value["digest"])


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a complete cache. Raises IncompleteCache where the dump has not finished, FormatError where it
    is no cache.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        if (folder / "plan.json").is_file():
            raise IncompleteCache(
                "the dump has not finished. Run the same dump again: it goes on where it stopped.", where=folder
            )
        raise FormatError(
            "expected a cache (a folder with manifest.json), found none. Make one with `logitcache dump`.", where=folder
        )
    try:
        return Manifest.from_dict(read_json(path))
    except FormatError as error:
        raise error.at(path) from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of bounded size. Raises FormatError."""
    if path.stat().st_size > MAX_BYTES:
        raise FormatError(f"expected at most {MAX_BYTES:,} bytes, found {path.stat().st_size:,}.", where=path)
    try:
        value = json.loads(path.read_bytes(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"expected JSON, found {error}.", where=path) from None
    if not isinstance(value, dict):
        raise FormatError(f"expected a JSON object, found a {type(value).__name__}.", where=path)
    return value


def _no_number(name: str) -> None:
    raise ValueError(f"{name}, which no JSON has")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object atomically, in a form that is the same for the same value."""
    write_atomic(path, json.dumps(value, indent=1, allow_nan=False).encode() + b"\n")


def _check_format(value: Mapping[str, Any]) -> None:
    found = value.get("format")
    if found != FORMAT:
        newer = isinstance(found, str) and re.fullmatch(r"logitcache/\d+", found)
        advice = "Upgrade logitcache." if newer else "This is not a logitcache file."
        raise FormatError(f"expected format {FORMAT}, found {found!r}. {advice}")


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**62
