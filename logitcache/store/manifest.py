"""What a cache contains and whether it is whole: the plan (written first), the receipts (one per
shard), the manifest (written last).

The manifest exists if and only if the cache is complete. A shard without a receipt of this plan
does not exist. No file names a time, a host, a user or a path: the same dump gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logitcache import identity
from logitcache.errors import FormatError, IncompleteCache, short
from logitcache.store import stores
from logitcache.store.columns import ROW, Column, levels
from logitcache.store.extents import File
from logitcache.store.fields import COUNTS, has_fields, is_integer
from logitcache.store.json_files import FORMAT, MAX_BYTES, check_version, read_json, read_own
from logitcache.store.shards import Shard

PLAN, MANIFEST, SHARDS = "plan.json", "manifest.json", "shards"  # what a cache's folder holds
MAX_SHARDS = MAX_BYTES >> 11  # a receipt takes up to 2 kB, and a manifest holds all of them
# follow from settings or a sample of answers: they come last
FOLLOWING = ("c", "columns", "distinct", "values")
TENSORS = "tensors.safetensors"  # below the folder ``shards``
MAX_VIEWS = 2**20
# of a sketch: numpy's, linear between ranks
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


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
    # variants of each row; record ``row * views + view`` of the level ``row`` is one
    views: int = 1
    store: str = "arrow"
    tensors: File | None = None  # the file of tensors that are kept once

    def to_dict(self) -> dict[str, Any]:
        fields = dict(vars(self))
        columns = [column.to_dict() for column in fields.pop("columns")]
        tensors = fields.pop("tensors")
        optional = {} if tensors is None else {"tensors": tensors.to_dict()}
        return {"format": FORMAT, **fields, "columns": columns, **optional}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Plan:
        """Raises FormatError for another format or a missing or impossible field."""
        _check_format(value)
        tensors = _tensors(value)
        value = {name: field for name, field in value.items() if name != "tensors"}
        valid = (
            has_fields(value, cls, format=str)
            and all(
                isinstance(part, dict) for part in (*value["columns"], *value["targets"].values())
            )
            and value["rows"] in COUNTS
            and value["shard_rows"] in COUNTS[1:]
            and 1 <= value["views"] < MAX_VIEWS
        )
        if not valid:
            raise FormatError(
                "plan: a field is missing, unknown or of another type. Dump it again."
            )
        store = value["store"]
        if store not in stores.NAMES:
            raise FormatError(
                f"plan: expected a store among {', '.join(stores.NAMES)}, found {store[:60]!r}."
            )
        fields = {name: field for name, field in value.items() if name != "format"}
        columns = tuple(map(Column.from_dict, value["columns"]))
        levels(columns)
        plan = cls(**{**fields, "columns": columns, "tensors": tensors})
        if plan.shard_count > MAX_SHARDS:
            expected = f"a plan of at most {MAX_SHARDS:,} shards"
            raise FormatError(
                expected=expected, found=f"{plan.shard_count:,}", advice="Dump it again."
            )
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
        return list(map(self.shard, range(self.shard_count)))


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
        """Raises FormatError for a field missing or mistyped, or a digest of other content."""
        body = _without_digest(value)
        if value.get("digest") != identity.digest_json(body):
            raise FormatError("receipt: its content does not have the digest it states: damaged.")
        valid = has_fields(body, cls)
        if valid:
            counts = (body["first_row"], body["rows"], *body["records"].values())
            valid = all(map(is_integer, counts))
        if not valid:
            raise FormatError("receipt: a field is missing, unknown or of another type.")
        first_row = body["first_row"]
        _check_conditions(body["conditions"], range(first_row, first_row + body["rows"]))
        return cls(**{**body, "files": tuple(map(File.from_dict, body["files"]))})

    def to_dict(self) -> dict[str, Any]:
        """The receipt's JSON: what was seen, and last a digest of all that."""
        body = {**vars(self), "files": [file.to_dict() for file in self.files]}
        return {**body, "digest": identity.digest_json(body)}

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def positions(self, plan: Plan) -> int:
        """Vectors that were kept: one for each row and view, or those of the targets' levels."""
        below = [records for level, records in self.records.items() if level in plan.targets]
        return sum(below) if below else self.records[ROW]

    def belongs(self, plan: Plan, digest: str, index: int) -> bool:
        """Whether this is the receipt of that shard of a plan, with exactly a shard's files."""
        start, end = plan.shard(index)
        same_shard = (
            (self.plan, self.first_row, self.rows) == (digest, start, end - start)
            and set(self.records) == set(levels(plan.columns))
            and self.records[ROW] == self.rows * plan.views
            and [file.name for file in self.files]
            == stores.of(plan.store).names(index, plan.columns)
        )
        if not same_shard:
            return False
        # No store compresses. Checked before an array of that many records is allocated.
        needed = sum(self.records[column.level] * column.record_bytes() for column in plan.columns)
        return needed <= self.bytes

    def shard(self, plan: Plan, index: int) -> Shard:
        files = {file.name: file for file in self.files}
        return Shard(index, self.first_row, self.rows, plan.views, dict(self.records), files)


def _check_conditions(conditions: Mapping[str, Any], rows: range) -> None:
    """Raises FormatError where a condition that is computed with later is not what a dump writes."""
    count = len(rows)
    for name, value in conditions.items():
        if name == "skipped":
            expected = "the skipped rows as a list of their numbers"
            valid = isinstance(value, list) and all(is_integer(row, rows) for row in value)
        elif name == "reused":
            expected = "a number of reused rows"
            valid = isinstance(value, dict) and is_integer(value.get("rows"), range(count + 1))
        elif name == "cut":
            expected = "how many rows were cut and the first"
            valid = (
                isinstance(value, dict)
                and is_integer(value.get("rows"), range(1, count + 1))
                and is_integer(value.get("first"), rows)
            )
        elif name == "batch_tokens":
            expected = "the tokens of a batch as a whole number"
            valid = is_integer(value, COUNTS[1:])
        else:
            continue
        if not valid:
            raise FormatError(f"receipt: expected {expected}, found {short(repr(value))}.")


def display_name(field: str) -> str:
    """A plan's field as messages name it: the preprocessor is the tokenizer to users."""
    kind, dot, part = field.partition(".")
    return f"tokenizer{dot}{part}" if kind == "preprocessor" else field


def differences(
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    *,
    without: Collection[str] = (),
    within: str = "",
) -> Iterator[tuple[str, Any, Any]]:
    """The leaves in which two plans differ: (dotted name, value of the first, value of the second).
    Leaves called as in ``without`` do not count.
    """
    for key in sorted({*first, *second} - {*without}, key=lambda key: (key in FOLLOWING, key)):
        name = f"{within}{key}"
        left = _as_json(first.get(key))
        right = _as_json(second.get(key))
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
    body = {
        "format": FORMAT,
        "plan": plan.to_dict(),
        **_totals(plan, receipts),
        "shards": [receipt.to_dict() for receipt in receipts],
    }
    return {**body, "digest": identity.digest_json(body)}


def _tensors(plan: Mapping[str, Any]) -> File | None:
    """The file of tensors that a plan names. Raises FormatError for another name than theirs."""
    if "tensors" not in plan:
        return None
    file = File.from_dict(plan["tensors"])
    if file.name != TENSORS:
        raise FormatError(
            f"plan: expected tensors in the file {TENSORS}, found {short(repr(file.name))}."
        )
    return file


def _totals(plan: Plan, receipts: Sequence[Receipt]) -> dict[str, int]:
    return {
        "rows": sum(receipt.rows for receipt in receipts),
        "positions": sum(receipt.positions(plan) for receipt in receipts),
        "bytes": sum(receipt.bytes for receipt in receipts),
    }


def _without_digest(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: field for name, field in value.items() if name != "digest"}


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
        """Raises FormatError where the digest is not the content's, or that is no manifest."""
        _check_format(value)
        body = _without_digest(value)
        if value.get("digest") != identity.digest_json(body):
            raise FormatError(
                f"manifest: its content does not have the digest it states ({value.get('digest')}): damaged",
                advice="Delete manifest.json and run the same dump again: it writes it anew.",
            )
        shards = body.get("shards")
        if not isinstance(body.get("plan"), dict) or not isinstance(shards, list):
            raise FormatError("manifest: expected a plan and a list of shards.")
        plan = Plan.from_dict(body["plan"])
        if len(shards) != plan.shard_count or not all(isinstance(shard, dict) for shard in shards):
            raise FormatError("manifest: its shards are not those of its plan.")
        receipts = tuple(map(Receipt.from_dict, shards))
        digest = plan.digest()
        for index, receipt in enumerate(receipts):
            if not receipt.belongs(plan, digest, index):
                raise FormatError(f"manifest: shard {index} is not that of its plan.")
        totals = _totals(plan, receipts)
        if {**body, **totals} != body or len(body) != 6:
            raise FormatError("manifest: its totals are not those of its shards.")
        return cls(plan, receipts, totals["positions"], totals["bytes"], value["digest"])


def _what_is_at(path: Path) -> str:
    """What is at the path of no cache, in words."""
    if path.is_file():
        return "a file"
    if not path.is_dir():
        return "no such folder"
    return "a result of `logitcache train`" if (path / "result.json").is_file() else "none"


def check_is_cache(folder: Path) -> None:
    """Raises FormatError for a folder without a plan and a manifest."""
    if not any((folder / name).is_file() for name in (PLAN, MANIFEST)):
        raise FormatError(
            expected="a cache (a folder with manifest.json)",
            found=_what_is_at(folder),
            advice="Make one with `logitcache dump`.",
            where=folder,
        )


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a complete cache. Raises IncompleteCache, FormatError where it is none."""
    check_is_cache(folder)
    manifest = folder / MANIFEST
    plan = folder / PLAN
    path = manifest if manifest.is_file() else plan
    try:
        if path == manifest:
            return Manifest.from_dict(read_own(manifest))
        _check_format(read_json(plan))
    except FormatError as error:
        raise error.at(path) from None
    raise IncompleteCache(
        "the dump has not finished",
        advice="Run the same dump again: it goes on where it stopped.",
        where=folder,
    )


def _check_format(value: Mapping[str, Any]) -> None:
    check_version(value)
    stated = value.get("format")
    if stated != FORMAT:
        raise FormatError(
            f"expected format {FORMAT}, found {short(repr(stated))}. This is not a logitcache file: "
            "name a folder that `logitcache dump` made."
        )
