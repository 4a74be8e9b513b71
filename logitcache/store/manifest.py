"""What a cache contains and whether it is whole: the plan (written first), the receipts (one per shard), the manifest
(written last).

The manifest exists if and only if the cache is complete. A shard without a receipt of this plan does not exist. No
file names a time, a host, a user or a path, so the same dump made twice gives the same bytes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from logitcache import identity
from logitcache.errors import FormatError, IncompleteCache, short
from logitcache.store import stores
from logitcache.store.columns import ROW, Column, levels
from logitcache.store.extents import File
from logitcache.store.files import refuse_link, write_atomic
from logitcache.store.shards import Shard

FORMAT = "logitcache/1"
TENSORS = "tensors.safetensors"  # below the folder ``shards``
MAX_BYTES = 64 << 20
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)  # of a sketch: numpy's, linear between ranks


class NewerFormat(FormatError):
    """A file of a version that is not this one: not damaged."""


@dataclass(frozen=True)
class Plan:
    """What a dump will contain. Every field is part of the cache's identity."""

    task: str  # what the teacher was asked
    teacher: Mapping[str, Any]  # name, weights digest, label names in order, compute dtype
    preprocessor: Mapping[str, Any]  # its kind, and all that it does to a row
    data: Mapping[str, Any]  # source, split, rows, digest
    preparation: Mapping[str, Any]  # max_length, batch_tokens
    targets: Mapping[str, Mapping[str, Any]]  # name: codec
    columns: tuple[Column, ...]
    rows: int
    shard_rows: int
    views: int = 1  # variants of each row; record ``row * views + view`` of the level ``row`` is one
    store: str = "arrow"
    tensors: File | None = None  # the file of tensors that are kept once

    def to_dict(self) -> dict[str, Any]:
        value = {k: v for k, v in self.__dict__.items() if k not in ("columns", "tensors")}
        kept = {} if self.tensors is None else {"tensors": self.tensors.to_dict()}
        return {"format": FORMAT, **value, "columns": [c.to_dict() for c in self.columns], **kept}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Plan:
        """Raises FormatError for another format or a missing or impossible field."""
        _check_format(value)
        fields = {k: value.get(k) for k in ("teacher", "preprocessor", "data", "preparation", "targets")}
        counts = {k: value.get(k) for k in ("rows", "shard_rows", "views")}
        columns, store, task = value.get("columns"), value.get("store"), value.get("task")
        whole = all(isinstance(v, dict) for v in fields.values()) and isinstance(columns, list)
        whole = whole and all(isinstance(c, dict) for c in columns or ()) and isinstance(store, str)
        whole = whole and isinstance(task, str)
        whole = whole and all(isinstance(codec, dict) for codec in (fields["targets"] or {}).values())
        whole = whole and all(_is_count(v, k != "rows") for k, v in counts.items()) and counts["views"] < 2**20  # type: ignore[operator]
        kept = value.get("tensors")
        if not whole or len(value) != len(fields) + len(counts) + 4 + (kept is not None):
            raise FormatError("plan: a field is missing, unknown or of another type. Dump it again.")
        if store not in stores.NAMES:
            raise FormatError(f"plan: expected a store among {', '.join(stores.NAMES)}, found {str(store)[:60]!r}.")
        plan = cls(task=task, **fields, columns=tuple(map(Column.from_dict, columns or ())), store=store, **counts)  # type: ignore[arg-type]
        if kept is not None:
            tensors = File.from_dict(kept)
            if tensors.name != TENSORS:
                raise FormatError(f"plan: expected tensors in the file {TENSORS}, found {short(repr(tensors.name))}.")
            plan = replace(plan, tensors=tensors)
        levels(plan.columns)
        return plan

    def digest(self) -> str:
        return identity.digest_json(self.to_dict())

    @property
    def shard_count(self) -> int:
        return -(-self.rows // self.shard_rows)

    def shard(self, index: int) -> tuple[int, int]:
        """(first row, end row) of a shard: shard i holds rows [i R, (i + 1) R)."""
        return index * self.shard_rows, min((index + 1) * self.shard_rows, self.rows)

    def shards(self) -> list[tuple[int, int]]:
        """(first row, end row) of each shard."""
        return [self.shard(index) for index in range(self.shard_count)]


@dataclass(frozen=True)
class Receipt:
    """Proof that a shard was written whole for one plan, and what was seen while it was made."""

    plan: str  # the plan's digest
    first_row: int
    rows: int
    records: Mapping[str, int]  # of each level
    files: tuple[File, ...]  # in the order they were written
    sketches: Mapping[str, Any]  # the QUANTILES of entropy (nats) and top probability
    conditions: Mapping[str, Any]  # what the bits depend on: device kind, library versions, threads

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Receipt:
        """Raises FormatError where a field is missing or of another type, or the digest is not the content's."""
        body = {k: v for k, v in value.items() if k != "digest"}
        if value.get("digest") != identity.digest_json(body):
            raise FormatError("receipt: its content does not have the digest it states: damaged.")
        kinds = {"plan": str, "records": dict, "files": list, "sketches": dict, "conditions": dict}
        counts = ("first_row", "rows")
        ok = set(body) == {*kinds, *counts} and all(isinstance(body[k], t) for k, t in kinds.items())
        if not ok or not all(_is_count(v, 0) for v in (*(body[k] for k in counts), *body["records"].values())):
            raise FormatError("receipt: a field is missing, unknown or of another type.")
        _check_conditions(body["conditions"], range(body["first_row"], body["first_row"] + body["rows"]))
        return cls(**{**body, "files": tuple(map(File.from_dict, body["files"]))})

    def to_dict(self) -> dict[str, Any]:
        """The receipt's JSON: what was seen, and last a digest of all that."""
        body = {**self.__dict__, "files": [file.to_dict() for file in self.files]}
        return {**body, "digest": identity.digest_json(body)}

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def positions(self, plan: Plan) -> int:
        """Vectors that were kept: one for each row and view, unless levels named as the plan's targets hold them."""
        below = [records for level, records in self.records.items() if level in plan.targets]
        return sum(below) if below else self.records[ROW]

    def belongs(self, plan: Plan, digest: str, index: int) -> bool:
        """Whether it is of this plan, of these rows, and of just the files that such a shard has."""
        start, end = plan.shard(index)
        widths = {level: sum(c.record_bytes() for c in own) for level, own in levels(plan.columns).items()}
        return (
            (self.plan, self.first_row, self.rows) == (digest, start, end - start)
            and set(self.records) == set(widths)
            and self.records[ROW] == self.rows * plan.views
            and [file.name for file in self.files] == stores.of(plan.store).names(index, plan.columns)
            # seen before an array of that many records is asked for
            and sum(self.records[level] * width for level, width in widths.items()) <= self.bytes * stores.PACKED
        )

    def shard(self, plan: Plan, index: int) -> Shard:
        files = {file.name: file for file in self.files}
        return Shard(index, self.first_row, self.rows, plan.views, dict(self.records), files)


def _check_conditions(said: Mapping[str, Any], rows: range) -> None:
    """Raises FormatError where a field of a shard's own, which is computed with later, is not what a dump writes."""
    skipped, reused, tokens = said.get("skipped", []), said.get("reused", {"rows": 0}), said.get("batch_tokens", 1)
    copied: Any = reused.get("rows") if isinstance(reused, dict) else None
    if not isinstance(skipped, list) or not all(type(row) is int and row in rows for row in skipped):
        raise FormatError("receipt: expected the skipped rows as a list of their numbers, found something else.")
    if not _is_count(copied, 0) or copied > len(rows):
        raise FormatError(f"receipt: expected a number of reused rows, found {short(repr(reused))}.")
    cut = said.get("cut", {"rows": 1, "first": rows.start})
    numbers = [cut.get("rows"), cut.get("first")] if isinstance(cut, dict) else [None]
    if not all(type(n) is int for n in numbers) or numbers[0] not in range(1, len(rows) + 1) or numbers[1] not in rows:
        raise FormatError(f"receipt: expected how many rows were cut and the first, found {short(repr(cut))}.")
    if not _is_count(tokens, 1):
        raise FormatError(f"receipt: expected the tokens of a batch as a whole number, found {short(repr(tokens))}.")


def called(field: str) -> str:
    """A plan's field in a message: users know the preprocessor as the tokenizer."""
    kind, dot, part = field.partition(".")
    return f"tokenizer{dot}{part}" if kind == "preprocessor" else field


def differences(
    one: Mapping[str, Any], other: Mapping[str, Any], *, without: Collection[str] = (), within: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """The leaves in which two plans differ: (dotted name, one's value, the other's). Leaves called as in ``without`` do
    not count.
    """
    # columns follow from the codecs, so a codec that differs speaks first
    for key in sorted({*one, *other} - {*without}, key=lambda key: (key == "columns", key)):
        left, right, name = _as_json(one.get(key)), _as_json(other.get(key)), f"{within}{key}"
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            yield from differences(left, right, without=without, within=f"{name}.")
        elif left != right:
            yield name, left, right


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def receipt_name(index: int) -> str:
    """A shard's receipt, below the folder ``shards``."""
    return f"{index:05d}.json"


def manifest_dict(plan: Plan, receipts: list[Receipt]) -> dict[str, Any]:
    """The manifest's JSON: the plan, the shards, the totals, and last a digest of all that."""
    shards = [receipt.to_dict() for receipt in receipts]
    body = {
        "format": FORMAT,
        "plan": plan.to_dict(),
        "rows": sum(r.rows for r in receipts),
        "positions": sum(r.positions(plan) for r in receipts),
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
        if len(shards) != plan.shard_count or not all(isinstance(shard, dict) for shard in shards):
            raise FormatError("manifest: its shards are not those of its plan.")  # seen before any list is that long
        receipts, digest = [Receipt.from_dict(shard) for shard in shards], plan.digest()
        for index, receipt in enumerate(receipts):
            if not receipt.belongs(plan, digest, index):
                raise FormatError(f"manifest: shard {index} is not that of its plan.")
        totals = sum(r.positions(plan) for r in receipts), sum(r.bytes for r in receipts)
        if (body.get("rows"), body.get("positions"), body.get("bytes")) != (plan.rows, *totals) or len(body) != 6:
            raise FormatError("manifest: its totals are not those of its shards.")
        return cls(plan, tuple(receipts), *totals, value["digest"])


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a complete cache. Raises IncompleteCache where the dump has not finished, FormatError where it
    is no cache.
    """
    path, begun = folder / "manifest.json", folder / "plan.json"
    if not path.is_file():
        if begun.is_file():
            try:
                _check_format(read_json(begun))
            except FormatError as error:
                raise error.at(begun) from None
            raise IncompleteCache(
                "the dump has not finished. Run the same dump again: it goes on where it stopped.", where=folder
            )
        raise FormatError(
            "expected a cache (a folder with manifest.json), found none. Make one with `logitcache dump`.", where=folder
        )
    try:
        return Manifest.from_dict(read_own(path))
    except FormatError as error:
        raise error.at(path) from None


def read_own(path: Path) -> dict[str, Any]:
    """A JSON object that ``write_json`` wrote, byte for byte: a flipped bit that changes no value is one too. Raises
    FormatError.
    """
    refuse_link(path)
    return parse_own(_read(path), path)


def parse_own(data: bytes, where: Path | str) -> dict[str, Any]:
    """The same of a file's bytes."""
    value = _parse(data, where)
    try:
        same = data == _as_written(value)
    except RecursionError:
        same = False
    if not same:
        _check_version(value, where)
        raise FormatError("expected JSON as it was written, found the same values in other bytes.", where=where)
    return value


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of bounded size. Raises FormatError."""
    return _parse(_read(path), path)


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        raise FormatError(f"expected at most {MAX_BYTES:,} bytes, found {path.stat().st_size:,}.", where=path)
    return path.read_bytes()


def _parse(data: bytes, where: Path | str) -> dict[str, Any]:
    try:
        value = json.loads(data, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"expected JSON, found {error}.", where=where) from None
    if not isinstance(value, dict):
        raise FormatError(f"expected a JSON object, found a {type(value).__name__}.", where=where)
    return value


def _no_number(name: str) -> None:
    raise ValueError(f"{name}, which no JSON has")


def _finite(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError(f"{digits[:40]}, which is too large")
    return value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object atomically, in a form that is the same for the same value."""
    write_atomic(path, _as_written(value))


def _as_written(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, allow_nan=False).encode() + b"\n"


def _check_format(value: Mapping[str, Any]) -> None:
    _check_version(value)
    if (found := value.get("format")) != FORMAT:
        raise FormatError(f"expected format {FORMAT}, found {short(repr(found))}. This is not a logitcache file.")


def _check_version(value: Mapping[str, Any], where: Path | str | None = None) -> None:
    found = value.get("format")
    if found != FORMAT and isinstance(found, str) and re.fullmatch(r"logitcache/\d{1,9}", found):
        raise NewerFormat(f"expected format {FORMAT}, found {found!r}. Upgrade logitcache.", where=where)


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**62
