"""A second reader of caches, written from docs/format.md alone: it imports nothing of logitcache.
Slow and plain.

    cache = SecondReader("reviews-train") cache.row(17)             # {"row_hash": ..., "label":
    ..., "logits": [...]} of the row's first view cache.columns["logits"]   # a whole column, shard
    after shard

Everything that the page says a reader must check raises ValueError where it does not hold.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

CHUNK = 1024
DTYPES = {
    "float16": "<f2",
    "float32": "<f4",
    "int64": "<i8",
    "int32": "<i4",
    "uint16": "<u2",
    "uint8": "u1",
}
LEVEL = re.compile(r"[a-z][a-z0-9_]{0,31}(\.[a-z][a-z0-9_]{0,31}){0,2}")
NAME = re.compile(r"[a-z][a-z0-9_]{0,127}")
PLAN = {
    *(
        "format",
        "task",
        "teacher",
        "preprocessor",
        "data",
        "preparation",
        "targets",
        "columns",
        "rows",
    )
} | {*("shard_rows", "views", "store")}
RECEIPT = {"plan", "first_row", "rows", "records", "files", "sketches", "conditions", "digest"}


def expect(truth: Any, what: str) -> None:
    if not truth:
        raise ValueError(f"expected {what}")


def blake2b(data: bytes, size: int) -> str:
    return hashlib.blake2b(data, digest_size=size).hexdigest()


def digest(value: Any) -> str:
    """Of a JSON value: 20 bytes of blake2b over its canonical form."""
    return blake2b(
        json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode(), 20
    )


def read_json(path: Path) -> Any:
    expect(path.is_file() and not path.is_symlink(), f"a file: {path}")
    expect(path.stat().st_size <= 64 << 20, f"at most 64 MiB: {path}")
    data = path.read_bytes()
    value = json.loads(data)
    expect(
        data == json.dumps(value, indent=1, allow_nan=False).encode() + b"\n",
        f"JSON as it is written: {path}",
    )
    return value


def row_hash(*fields: str) -> int:
    """Of a row's text fields."""
    parts = [field.encode("utf-8", "surrogatepass") for field in fields]
    whole = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    return int.from_bytes(hashlib.blake2b(whole, digest_size=8).digest(), "little", signed=True)


def crc32c(data: bytes) -> bytes:
    """Castagnoli's, four bytes, little endian."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return (crc ^ 0xFFFFFFFF).to_bytes(4, "little")


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


CRC_TABLE = [_crc_of(byte) for byte in range(256)]


def above(level: str) -> str:
    return level.rpartition(".")[0] or "row"


def end_name(level: str) -> str:
    return level.replace(".", "_") + "_end"


class SecondReader:
    """A complete cache, read whole."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        manifest = read_json(self.folder / "manifest.json")
        body = {key: value for key, value in manifest.items() if key != "digest"}
        expect(
            set(body) == {"format", "plan", "rows", "positions", "bytes", "shards"},
            "a manifest's fields",
        )
        expect(
            manifest["format"] == body["plan"]["format"] == "logitcache/1", "format logitcache/1"
        )
        expect(manifest["digest"] == digest(body), "the manifest's digest to hold")
        self.fingerprint, self.plan, self.shards = manifest["digest"], body["plan"], body["shards"]
        self._check_plan()
        expect(
            read_json(self.folder / "plan.json") == self.plan, "plan.json to be the manifest's plan"
        )
        self.parts = [self._shard(index, receipt) for index, receipt in enumerate(self.shards)]
        totals = (
            sum(receipt["rows"] for receipt in self.shards),
            sum(file["bytes"] for receipt in self.shards for file in receipt["files"]),
            sum(self._positions(receipt["records"]) for receipt in self.shards),
        )
        expect(totals == (body["rows"], body["bytes"], body["positions"]), "the totals to hold")
        names = [column["name"] for column in self.plan["columns"]]
        self.columns = {name: np.concatenate([part[name] for part in self.parts]) for name in names}

    def _check_plan(self) -> None:
        plan = self.plan
        expect(
            set(plan) - {"tensors"} == PLAN and plan["store"] in ("arrow", "zarr"),
            "a plan's fields",
        )
        if "tensors" in plan:
            expect(plan["tensors"]["name"] == "tensors.safetensors", "the file of tensors")
            self._file(plan["tensors"])
        self.levels: dict[str, list[dict[str, Any]]] = {}
        for column in plan["columns"]:
            expect(
                set(column) == {"name", "dtype", "width", "level"} and column["dtype"] in DTYPES,
                "a column",
            )
            expect(
                NAME.fullmatch(column["name"]) and LEVEL.fullmatch(column["level"]),
                "a column's name and level",
            )
            self.levels.setdefault(column["level"], []).append(column)
        self.levels = {
            level: self.levels[level]
            for level in sorted(self.levels, key=lambda x: (x != "row", x))
        }
        for level in self.levels:
            if level != "row":
                end = {"name": end_name(level), "dtype": "int64", "width": 0, "level": above(level)}
                expect(end in plan["columns"], f"ends above the level {level}")
        expect(
            len(self.shards) == -(-plan["rows"] // plan["shard_rows"]),
            "the plan's number of shards",
        )

    def _positions(self, records: dict[str, int]) -> int:
        below = [count for level, count in records.items() if level in self.plan["targets"]]
        return sum(below) if below else records["row"]

    def _shard(self, index: int, receipt: dict[str, Any]) -> dict[str, np.ndarray]:
        """All columns of one shard."""
        first, plan = index * self.plan["shard_rows"], self.plan
        rows = min(plan["shard_rows"], plan["rows"] - first)
        expect(
            set(receipt) == RECEIPT and receipt["plan"] == digest(plan), "a receipt of this plan"
        )
        body = {key: value for key, value in receipt.items() if key != "digest"}
        expect(receipt["digest"] == digest(body), "the receipt's digest to hold")
        expect((receipt["first_row"], receipt["rows"]) == (first, rows), "a receipt of these rows")
        expect(
            read_json(self.folder / f"shards/{index:05d}.json") == receipt,
            "the receipt the manifest has",
        )
        records = receipt["records"]
        expect(
            set(records) == set(self.levels) and records["row"] == rows * plan["views"],
            "records of each level",
        )
        files = {file["name"]: self._file(file) for file in receipt["files"]}
        read = {"arrow": self._arrow, "zarr": self._zarr}[plan["store"]]
        arrays = read(index, records, files)
        expect(not files, "no other files")
        for level in self.levels:
            if level != "row":
                end = arrays[end_name(level)]
                expect(
                    (np.diff(end, prepend=0) >= 0).all() and [0, *end][-1] == records[level],
                    f"ends of {level}",
                )
        return arrays

    def _file(self, file: dict[str, Any]) -> bytes:
        """A file's bytes, its extents and the whole checked."""
        path = self.folder / "shards" / file["name"]
        inside = [
            self.folder / "shards",
            *(p for p in path.parents if self.folder / "shards" in p.parents),
            path,
        ]
        expect(
            path.is_file() and not any(p.is_symlink() for p in inside),
            f"a file, and no link: {path}",
        )
        data, start = path.read_bytes(), 0
        expect(
            len(data) == file["bytes"] and blake2b(data, 20) == file["blake2b"],
            f"the checksum of {path}",
        )
        for length, checksum in file["extents"]:
            expect(
                length > 0 and blake2b(data[start : start + length], 8) == checksum,
                f"an extent of {path}",
            )
            start += length
        expect(start == len(data), f"extents that tile {path}")
        return data

    def _arrow(
        self, index: int, records: dict[str, int], files: dict[str, bytes]
    ) -> dict[str, np.ndarray]:
        arrays = {}
        for level, columns in self.levels.items():
            data = files.pop(
                f"{index:05d}.arrow" if level == "row" else f"{index:05d}.{level}.arrow"
            )
            reader = pa.ipc.open_file(pa.py_buffer(data))
            expect(
                reader.schema.names == [column["name"] for column in columns], "the level's columns"
            )
            sizes = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
            batch = CHUNK
            record = sum(
                np.dtype(DTYPES[column["dtype"]]).itemsize * max(1, column["width"])
                for column in columns
            )
            while level != "row" and batch < 65_536 and batch * 2 * record <= 65_536:
                batch *= 2
            whole, rest = divmod(records[level], batch)
            expect(
                sizes == [batch] * whole + [rest] * bool(rest),
                f"record batches of {batch} and the rest",
            )
            table = reader.read_all()
            for column in columns:
                chunks = table[column["name"]].chunks
                flat = [
                    np.asarray(chunk.flatten() if column["width"] else chunk) for chunk in chunks
                ]
                values = np.concatenate([np.empty(0, DTYPES[column["dtype"]]), *flat])
                expect(values.dtype == DTYPES[column["dtype"]], f"the dtype of {column['name']}")
                arrays[column["name"]] = values.reshape(self._shape(column, records[level]))
        return arrays

    def _shape(self, column: dict[str, Any], records: int) -> tuple[int, ...]:
        return (records, column["width"]) if column["width"] else (records,)

    def _zarr(
        self, index: int, records: dict[str, int], files: dict[str, bytes]
    ) -> dict[str, np.ndarray]:
        folder = f"{index:05d}.zarr"
        group = json.loads(files.pop(f"{folder}/zarr.json"))
        expect(group == {"zarr_format": 3, "node_type": "group", "attributes": {}}, "a Zarr group")
        arrays = {}
        for column in self.plan["columns"]:
            count, name = records[column["level"]], column["name"]
            meta = json.loads(files.pop(f"{folder}/{name}/zarr.json"))
            shape, chunk = self._shape(column, count), min(CHUNK, max(1, count))
            chunks = -(-count // chunk)
            (sharding,) = meta["codecs"]
            configuration = sharding["configuration"]
            expect(
                tuple(meta["shape"]) == shape and meta["data_type"] == column["dtype"],
                f"the array {name}",
            )
            expect(configuration["chunk_shape"] == [chunk, *shape[1:]], f"the chunks of {name}")
            inner = [codec["name"] for codec in configuration["codecs"]]
            expect(
                (sharding["name"], inner) == ("sharding_indexed", ["bytes", "crc32c"]),
                f"the codecs of {name}",
            )
            data = files.pop(
                f"{folder}/{name}/c/0/0" if column["width"] else f"{folder}/{name}/c/0"
            )
            body = b"".join(self._chunks(data, chunks)) if chunks else data
            values = np.frombuffer(body, DTYPES[column["dtype"]])
            arrays[name] = values.reshape(self._shape(column, chunk * chunks))[:count]
        return arrays

    def _chunks(self, data: bytes, chunks: int) -> list[bytes]:
        """The inner chunks of a shard file, each without its checksum."""
        index, checksum = data[-16 * chunks - 4 : -4], data[-4:]
        expect(crc32c(index) == checksum, "the index's checksum")
        size = (len(data) - 16 * chunks - 4) // chunks
        expected = [[i * size, size] for i in range(chunks)]
        expect(
            np.frombuffer(index, "<u8").reshape(-1, 2).tolist() == expected,
            "chunks one behind the other",
        )
        parts = [data[start : start + length] for start, length in expected]
        for part in parts:
            expect(crc32c(part[:-4]) == part[-4:], "a chunk's checksum")
        return [part[:-4] for part in parts]

    def row(self, row_id: int, view: int = 0) -> dict[str, Any]:
        """All that is known of one view of a row; what is below it, as lists under the level's
        name.
        """
        index, place = divmod(row_id, self.plan["shard_rows"])
        return self._record(index, "row", place * self.plan["views"] + view)

    def _record(self, index: int, level: str, record: int) -> dict[str, Any]:
        part = self.parts[index]
        ends = {end_name(below) for below in self.levels if below != "row"}
        own = [column["name"] for column in self.levels[level] if column["name"] not in ends]
        found = {name: part[name][record].tolist() for name in own}
        for below in self.levels:
            if below != "row" and above(below) == level:
                end = [0, *part[end_name(below)].tolist()]
                found[below] = [
                    self._record(index, below, i) for i in range(end[record], end[record + 1])
                ]
        return found
