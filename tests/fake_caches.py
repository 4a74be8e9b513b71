"""Caches as a dump would leave them, written from arrays, without a teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.cache import Cache
from logitcache.store.columns import Column
from logitcache.store.manifest import ROOT_COLUMNS, Plan
from logitcache.store.writer import CacheWriter
from logitcache.targets.dense import DenseCodec

SKETCHES = {"entropy": [0.0, 0.5, 0.69], "top_probability": [0.5, 0.7, 1.0]}
CONDITIONS = {"device": "cpu", "threads": 1, "torch": "2.8.0"}


def plan(rows: int = 10, shard_rows: int = 4, width: int = 3, dtype: str = "float16", **changes: Any) -> Plan:
    """The plan of a small cache; ``changes`` replace whole fields."""
    codec = DenseCodec(width, dtype)
    columns = (*ROOT_COLUMNS, *(Column(name, kind, w) for name, (kind, w) in codec.columns().items()))
    names = [f"class {i}" for i in range(width)]
    made = Plan(
        teacher={"name": "teacher", "weights": "ab12", "label_names": names, "dtype": "float32"},
        tokenizer={"vocabulary": "cd34", "special": {"pad": 0}},
        data={"source": "reviews", "split": "train", "rows": rows, "digest": "ef56"},
        preparation={"max_length": 128, "batch_tokens": 4096},
        targets={"logits": codec.to_dict()},
        columns=columns,
        rows=rows,
        shard_rows=shard_rows,
    )
    return replace(made, **changes)


def answers(of: Plan, seed: int = 0) -> dict[str, np.ndarray]:
    """What the columns hold, whole: row_hash i64[N], label i64[N], logits [N, width]."""
    draw = np.random.default_rng(seed)
    codec = DenseCodec(of.targets["logits"]["width"], of.targets["logits"]["dtype"])
    logits = draw.normal(0, 5, (of.rows, codec.width)).astype(np.float32)
    hashes = draw.integers(-(2**63), 2**63 - 1, of.rows, dtype=np.int64)
    return {"row_hash": hashes, "label": draw.integers(-1, codec.width, of.rows), **codec.encode(logits)}


def write_shard(writer: CacheWriter, index: int, whole: dict[str, np.ndarray]) -> None:
    start, end = writer.plan.shards()[index]
    writer.write(index, {name: array[start:end] for name, array in whole.items()}, SKETCHES, CONDITIONS)


def make(folder: Path, of: Plan, seed: int = 0) -> Cache:
    """A complete cache."""
    writer, whole = CacheWriter(folder, of), answers(of, seed)
    for index in writer.missing:
        write_shard(writer, index, whole)
    writer.seal()
    return Cache.open(folder)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder and its bytes."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
