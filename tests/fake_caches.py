"""Caches as a dump would leave them, written from arrays, without a teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.cache.cache import Cache
from logitcache.cache.layout import columns_of
from logitcache.records import LOGITS, Answers, Dense
from logitcache.store.columns import ROW, Column, above, ends, levels
from logitcache.store.manifest import Plan
from logitcache.store.reader import Reader
from logitcache.store.writer import CacheWriter
from logitcache.targets.dense import DenseCodec

SKETCHES = {
    "entropy": [0.0, 0.01, 0.1, 0.3, 0.5, 0.6, 0.65, 0.68, 0.69],
    "top_probability": [0.5, 0.51, 0.55, 0.6, 0.7, 0.8, 0.9, 0.99, 1.0],
}
CONDITIONS = {"device": "cpu", "threads": 1, "torch": "2.8.0"}
# Two targets below ``row``, one of them with a level of its own: what token-level targets will
# bring.
RAGGED = (
    Column("row_hash", "int64"),
    Column("label", "int64"),
    ends("logits"),
    ends("hidden"),
    Column("position", "int32", 0, "logits"),
    ends("logits.entry"),
    Column("id", "int32", 0, "logits.entry"),
    Column("prob", "float16", 0, "logits.entry"),
    Column("vector", "float32", 5, "hidden"),
)


def one_each(row_hash: np.ndarray, logits: np.ndarray) -> Answers:
    """Answers of one position a row: row_hash i64[B], logits f32[B, K]."""
    n = len(row_hash)
    return Answers(row_hash, np.arange(n + 1), np.zeros(n, np.int64), {LOGITS: Dense(logits)})


def plan(
    rows: int = 10, shard_rows: int = 4, width: int = 3, dtype: str = "float16", **changes: Any
) -> Plan:
    """The plan of a small cache; ``changes`` replace whole fields."""
    codec = DenseCodec(width, dtype)
    columns = columns_of(codec, ROW)
    names = [f"class {i}" for i in range(width)]
    made = Plan(
        task="classification",
        teacher={"name": "teacher", "weights": "ab12", "label_names": names, "dtype": "float32"},
        preprocessor={"vocabulary": "cd34", "special": {"pad": 0}},
        data={"source": "reviews", "split": "train", "rows": rows, "digest": "ef56"},
        preparation={"max_length": 128, "batch_tokens": 4096},
        targets={"logits": codec.to_dict()},
        columns=columns,
        rows=rows,
        shard_rows=shard_rows,
    )
    return replace(made, **changes)


def answers(of: Plan, seed: int = 0) -> dict[str, np.ndarray]:
    """What the columns of a plan without levels below ``row`` hold, whole, N = rows * views:
    row_hash i64[N], label i64[N], logits [N, width].
    """
    draw, records = np.random.default_rng(seed), of.rows * of.views
    codec = DenseCodec(of.targets["logits"]["width"], of.targets["logits"]["dtype"])
    logits = draw.normal(0, 5, (records, codec.width)).astype(np.float32)
    hashes = draw.integers(-(2**63), 2**63 - 1, records, dtype=np.int64)
    return {
        "row_hash": hashes,
        "label": draw.integers(-1, codec.width, records),
        **codec.encode(logits),
    }


def write_shard(writer: CacheWriter, index: int, whole: dict[str, np.ndarray]) -> None:
    start, end = (row * writer.plan.views for row in writer.plan.shard(index))
    writer.write(
        index, {name: array[start:end] for name, array in whole.items()}, SKETCHES, CONDITIONS
    )


def ragged(rows: int = 10, shard_rows: int = 4, views: int = 2, **changes: Any) -> Plan:
    """The plan of a small cache of ``RAGGED`` columns."""
    return plan(rows, shard_rows, columns=RAGGED, views=views, **changes)


def part(of: Plan, index: int, seed: int = 0) -> dict[str, np.ndarray]:
    """What one shard of any plan holds: a record has 0, 1 or many below it. The same for the same
    seed.
    """
    draw, (start, end) = np.random.default_rng((seed, index)), of.shard(index)
    records, arrays = {ROW: (end - start) * of.views}, dict[str, np.ndarray]()
    found = levels(of.columns)
    for level in found:
        if level != ROW:
            counts = draw.choice((0, 0, 1, 2, 5), records[above(level)])
            arrays[ends(level).name] = np.cumsum(counts, dtype=np.int64)
            records[level] = int(counts.sum())
    for column in of.columns:
        shape = column.shape(records[column.level])
        drawn = (
            draw.normal(0, 5, shape)
            if column.dtype.startswith("float")
            else draw.integers(0, 250, shape)
        )
        arrays.setdefault(column.name, drawn.astype(column.dtype))
    return arrays


def go_on(
    folder: Path,
    of: Plan,
    seed: int = 0,
    tell: Callable[[str], Any] = lambda said: None,
    **how: Any,
) -> list[int]:
    """What a dump of ``part`` does, also when it is run again: the shards it had to make. ``how``
    is the writer's. ``tell`` hears of each shard before it is made, and of the seal.
    """
    made = []
    with CacheWriter(folder, of, **how) as writer:
        for index in writer.missing:
            tell(f"shard {index}")
            made.append(index)
            writer.write(index, part(of, index, seed), SKETCHES, CONDITIONS)
        if writer.seal():
            tell("sealed")
    return made


def make_ragged(folder: Path, of: Plan, seed: int = 0) -> Reader:
    """A complete cache of ``part``, of any plan."""
    go_on(folder, of, seed)
    return Reader.open(folder)


def complete(folder: Path, of: Plan, seed: int = 0) -> list[int]:
    """What a dump of ``answers`` does, also when it is run again: the shards it had to make."""
    whole = answers(of, seed)
    with CacheWriter(folder, of) as writer:
        missing = writer.missing
        for index in missing:
            write_shard(writer, index, whole)
        assert writer.seal()
    return missing


def make(folder: Path, of: Plan, seed: int = 0) -> Cache:
    """A complete cache of ``answers``."""
    complete(folder, of, seed)
    return Cache.open(folder)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder and its bytes."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }
