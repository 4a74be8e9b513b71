"""Made the golden caches of format v1, once: ``python -m tests.golden.make``. It never replaces one
that is there.

Each is a folder ``v1/NAME`` as the writer left it, and ``v1/NAME.json``: the fingerprint, the
pyarrow that wrote it, and the arrays that were given to the writer, shard by shard.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from logitcache import identity
from logitcache.cache.cache import Cache
from logitcache.cache.layout import (
    EVERY_TOKEN,
    LEVEL,
    StoredSignal,
    columns_of,
    columns_of_signals,
    signals_of,
)
from logitcache.data.order import position_keys
from logitcache.payloads import Dense, Replay
from logitcache.store import tensors
from logitcache.store.columns import ROW, Column, above, ends, levels
from logitcache.store.manifest import Plan
from logitcache.store.reader import Reader
from logitcache.store.writer import CacheWriter
from logitcache.targets.codec import of_entries
from logitcache.targets.dense import DenseCodec
from logitcache.targets.draws import Draw
from logitcache.targets.replay import WEIGHT, ReplayCodec
from logitcache.targets.table import codec_from_dict, parse

FOLDER = Path(__file__).parent / "v1"
TEXTS = ["warm, funny and true", "dull", "", "the ＡＢＣ of boredom 🎬", "a film like any other"]
LABELS = ["negative", "neutral", "positive"]
RAGGED = (
    Column("row_hash", "int64"),
    ends("logits"),
    ends("hidden"),
    Column("position", "int32", 0, "logits"),
    Column("label", "int64", 0, "logits"),
    ends("logits.entry"),
    Column("token", "uint16", 0, "logits.entry"),
    Column("logit", "float16", 0, "logits.entry"),
    Column("vector", "float32", 4, "hidden"),
)
# Of each record of the level above, in shard 0 and 1: rows with no, one and many positions.
COUNTS = {
    "logits": ([0, 1, 3, 0, 1, 2], [2, 0, 0, 1]),
    "hidden": ([1, 1, 0, 0, 2, 0], [0, 0, 1, 0]),
    "logits.entry": ([2, 0, 1, 3, 2, 1, 4], [1, 0, 5]),
}
WORDS = 12
SPARSE = {
    "topk": "topk:k=3",
    "topk-bytes": "topk:k=3,bits=8,tail=drop,temperature=2",
    "sampled": "sampled:n=6",
    "varopt": "varopt:mean=3",
    "varopt-capped": "varopt:mean=3,cap=4",
    "replay": "replay",
}
SIGNALS = (
    "hidden:1,dtype=float16",
    "hidden:2,dtype=bfloat16",
    "attention-input:2,dtype=int8",
    "pooled:mean,",
)
TOKENS = (3, 1, 0, 2, 4)  # of each text
ASSETS = {WEIGHT: (np.arange(WORDS * WORDS) % 7 - 3).reshape(WORDS, WORDS).astype(np.float32) / 4}
CONDITIONS = {"device": "cpu", "threads": 1, "torch": "2.13.0"}


def dense(dtype: str, store: str) -> Plan:
    """Five rows in shards of three."""
    codec = DenseCodec(len(LABELS), dtype)
    columns = columns_of(codec, ROW)
    return Plan(
        task="classification",
        teacher={"name": "teacher", "weights": "5eed", "label_names": LABELS, "dtype": "float32"},
        preprocessor={"kind": "tokenizer", "vocabulary": "c0de"},
        data={"source": "reviews", "split": "train", "rows": len(TEXTS), "digest": "da7a"},
        preparation={"max_length": 128, "batch_tokens": 4096},
        targets={"logits": codec.to_dict()},
        columns=columns,
        rows=len(TEXTS),
        shard_rows=3,
        store=store,
    )


def ragged(store: str) -> Plan:
    """The same rows in two views each, with two targets, one of them on two levels."""
    targets = {"logits": {"kind": "synthetic"}, "hidden": {"kind": "synthetic"}}
    return replace(dense("float16", store), columns=RAGGED, targets=targets, views=2)


def sparse(spec: str, store: str) -> Plan:
    """The same rows with a varying number of positions, and a sparse codec of a vocabulary of
    twelve words.
    """
    codec = parse(spec).codec(WORDS).calibrated([vectors(40)])
    is_replay = isinstance(codec, ReplayCodec)
    if isinstance(codec, ReplayCodec):
        codec = replace(codec, hidden=WORDS, dtype="bfloat16", scale=0.5, cap=3.0)
    plain = dense("float16", store)
    return replace(
        plain,
        task="token-classification",
        teacher={**plain.teacher, "label_names": [f"word {index}" for index in range(WORDS)]},
        targets={"logits": codec.to_dict()},
        columns=columns_of(codec, LEVEL),
        tensors=tensors.encode(ASSETS)[0] if is_replay else None,
    )


def signals(store: str) -> Plan:
    """The same rows without logits, with a vector of each token in every type, and one of each row."""
    plain = dense("float16", store)
    kept = []
    for text in SIGNALS:
        name, _, settings = text.partition(",")
        level = ROW if name.startswith("pooled") else EVERY_TOKEN
        kept.append(StoredSignal(name, parse(f"vectors:{settings}").codec(WORDS), level))
    nothing = parse("none").codec(len(LABELS))
    return replace(
        plain,
        targets={"logits": nothing.to_dict(), **{one.name: one.codec.to_dict() for one in kept}},
        columns=columns_of(nothing, ROW) + columns_of_signals(kept),
        tensors=tensors.encode(ASSETS)[0],
    )


def signal_arrays(plan: Plan, index: int) -> dict[str, np.ndarray]:
    """One shard's columns as the codecs make them."""
    start, end = plan.shard(index)
    counts = np.array(TOKENS[start:end])
    arrays = {
        "row_hash": identity.row_hashes(TEXTS)[start:end],
        "label": np.arange(start, end) % 4 - 1,
        "vectors_end": np.cumsum(counts),
    }
    for signal in signals_of(plan).values():
        values = vectors(end - start if signal.level == ROW else int(counts.sum())) * (index + 1)
        for name, array in signal.codec.pack(signal.codec.reduce(values)).items():
            arrays[signal.column(name)] = array
    return arrays


def vectors(count: int) -> torch.Tensor:
    """Logits without randomness: f32[count, WORDS]."""
    return torch.sin(torch.arange(1, count * WORDS + 1) * 1.7).reshape(count, WORDS) * 4


def sparse_arrays(plan: Plan, index: int) -> dict[str, np.ndarray]:
    """One shard's columns as the codec makes them: row r has (2 r) mod 4 positions."""
    codec = codec_from_dict(plan.targets["logits"])
    start, end = plan.shard(index)
    hashes = identity.row_hashes(TEXTS)[start:end]
    counts = np.arange(start, end) * 2 % 4
    indptr = np.concatenate([[0], np.cumsum(counts)])
    position = np.concatenate([np.arange(count) for count in counts]).astype(np.int32)
    key = position_keys(0, "codec", hashes.repeat(counts), 0, position.astype(np.int64))
    packed = codec.pack(codec.reduce(vectors(len(position)), Draw(torch.from_numpy(key))))
    arrays = {
        "row_hash": hashes,
        "logits_end": indptr[1:],
        "position": position,
        "label": position % 3 - 1,
        **packed,
    }
    for count in of_entries(codec):
        arrays[f"{count}_end"] = np.concatenate([[0], np.cumsum(packed[count], dtype=np.int64)])[
            indptr[1:]
        ]
    return {column.name: arrays[column.name].astype(column.dtype) for column in plan.columns}


def arrays_of(plan: Plan, index: int) -> dict[str, np.ndarray]:
    """One shard's columns: values with every bit pattern that matters somewhere, and no randomness."""
    if plan.task != "classification":
        return sparse_arrays(plan, index)
    if plan.targets["logits"]["kind"] == "none":
        return signal_arrays(plan, index)
    start, end = plan.shard(index)
    hashes = identity.row_hashes(TEXTS)[start:end].repeat(plan.views)
    arrays = {"row_hash": hashes}
    records = {ROW: len(hashes)}
    for level in levels(plan.columns):
        if level != ROW:
            counts = np.array(COUNTS[level][index])
            assert len(counts) == records[above(level)], (level, index)
            arrays[ends(level).name], records[level] = np.cumsum(counts), int(counts.sum())
    for column in plan.columns:
        if column.name not in arrays:
            shape = column.shape(records[column.level])
            whole = np.arange(int(np.prod(shape))) + 1
            values = np.sin(whole) * 9 if column.dtype.startswith("float") else whole * 9973 % 50021
            arrays[column.name] = values.reshape(shape).astype(column.dtype)
    if plan.views == 1:
        arrays["label"] = np.arange(start, end) % 4 - 1
        logits = np.sin(np.arange(start * 3, end * 3) + 1).reshape(-1, 3).astype(np.float32) * 7
        logits[0, 0] = -1e30  # a probability of 0
        arrays |= DenseCodec(3, plan.targets["logits"]["dtype"]).encode(logits)
    return arrays


def plans() -> dict[str, Plan]:
    """Every codec in every store, and a ragged table in each."""
    made = {
        f"dense-{d}-{s}": dense(d, s) for d in ("float16", "float32") for s in ("arrow", "zarr")
    }
    made |= {f"ragged-{store}": ragged(store) for store in ("arrow", "zarr")}
    made |= {f"signals-{store}": signals(store) for store in ("arrow", "zarr")}
    return made | {
        f"{name}-{store}": sparse(spec, store)
        for name, spec in SPARSE.items()
        for store in ("arrow", "zarr")
    }


def plain(array: np.ndarray) -> dict[str, Any]:
    return {"dtype": str(array.dtype), "values": array.tolist()}


def make(name: str, plan: Plan) -> None:
    shards = [arrays_of(plan, index) for index in range(plan.shard_count)]
    with CacheWriter(FOLDER / name, plan, tensors=tensors.encode(ASSETS)[1]) as writer:
        for index, arrays in enumerate(shards):
            writer.write(
                index,
                arrays,
                {"entropy": [0.0, 0.5, 1.0], "top_probability": [0.4, 0.6, 1.0]},
                CONDITIONS,
            )
        writer.seal()
    said = {
        "fingerprint": Reader.open(FOLDER / name).manifest.digest,
        "pyarrow": pa.__version__,
        "texts": TEXTS,
        "shards": [{column: plain(array) for column, array in arrays.items()} for arrays in shards],
    }
    if plan.task != "classification":
        payload = Cache.open(FOLDER / name).take(np.arange(plan.rows)).payload
        if isinstance(payload, Replay):
            payload = Dense(payload.replayed())
        said["payload"] = {
            key: plain(getattr(payload, key))
            for key in ("ids", "prob", "rest", "entropy", "logits")
            if hasattr(payload, key)
        }
    (FOLDER / f"{name}.json").write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    for name, plan in plans().items():
        if (FOLDER / name).exists() or (FOLDER / f"{name}.json").exists():
            print(f"{name}: is there and stays as it is")
        else:
            make(name, plan)
            print(f"{name}: made")
