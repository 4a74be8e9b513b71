"""What a cache weighs on disk, and what a training or a dump needs of memory, from shapes alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from logitcache.cache.layout import (
    EVERY_TOKEN,
    LEVEL,
    TOKENS,
    columns_of,
    columns_of_signals,
    inputs_of,
    signals_of,
)
from logitcache.cost.flops import Shape
from logitcache.store import stores
from logitcache.store.columns import ROW, levels
from logitcache.store.extents import File
from logitcache.store.manifest import QUANTILES, Plan, Receipt, manifest_dict
from logitcache.targets.codec import Codec
from logitcache.teacher.plan import Planned

TRAINED_BYTES = 16  # of a parameter: weight, gradient and AdamW's two moments in single precision
HALF_COPY = 2  # of a parameter, besides: what autocast keeps
ACTIVATIONS = 16  # numbers that a layer keeps for each token and unit of its width
MASKS = 2  # bytes, besides
ANSWERING = 10  # numbers that one layer holds at a time: the wide middle one, twice, and what goes in and out
LARGEST_SHARD = 1 << 26  # bytes of a shard that is encoded whole
ROWS_ALONE = {ROW: 1.0}  # records of a cache whose rows have one position each
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def on_disk(planned: Planned, codecs: Mapping[str, Codec], density: Density) -> dict[str, int]:
    """Bytes of the whole folder of a planned dump for each of these codecs: shards, receipts, plan,
    manifest, and the tensors of the plan that are kept once.
    """
    stated = planned.conditions()
    once = 0 if planned.plan.tensors is None else planned.plan.tensors.bytes
    sizes = {}
    for name, codec in codecs.items():
        plan = stored_as(planned.plan, codec, planned.task.level)
        sizes[name] = once + cache_bytes(plan, stated, density.records(codec))
    return sizes


@dataclass(frozen=True)
class Density:
    """Kept positions and tokens of a row, on average."""

    positions: float = 1.0
    tokens: float = 1.0

    def records(self, codec: Codec) -> dict[str, float]:
        """Records of each level of a cache for one of its level ``row``."""
        records = {ROW: 1.0, LEVEL: self.positions, TOKENS: self.tokens, EVERY_TOKEN: self.tokens}
        for count, entries in codec.entries_per_position().items():
            records[count] = self.positions * entries
        return records


def stored_as(plan: Plan, codec: Codec, level: str) -> Plan:
    """The plan of the same dump with another codec of its logits."""
    columns = columns_of(codec, level, inputs_of(plan))
    columns += columns_of_signals(tuple(signals_of(plan).values()))
    targets = {**plan.targets, "logits": codec.to_dict()}
    return replace(plan, targets=targets, columns=columns)


def cache_bytes(
    plan: Plan, stated: Mapping[str, Any], records: Mapping[str, float] = ROWS_ALONE
) -> int:
    """Bytes of a cache's shards, receipts, plan and manifest. ``stated``: the conditions in its
    receipts; ``records``: those of each level for one of the level ``row``.

    Nothing is compressed, so a shard of zeros is as large as any: one of each number of rows is
    encoded, in memory. Of a large one a part is, and the rest follows from it.
    """
    store = stores.of(plan.store)
    digest = plan.digest()
    quantiles = [0.123456] * len(QUANTILES)
    sketches = {"entropy": quantiles, "top_probability": quantiles}
    record_bytes = sum(c.record_bytes() * records[c.level] for c in plan.columns)
    largest = max(1, int(LARGEST_SHARD / record_bytes))
    encoded: dict[int, list[File]] = {}
    receipts = []
    missing = 0.0  # bytes of the shards that were encoded in part
    for index, (start, end) in enumerate(plan.shards()):
        rows = min(end - start, largest)
        if rows not in encoded:
            zeros = {}
            for column in plan.columns:
                count = round(rows * records[column.level])
                zeros[column.name] = np.zeros(column.shape(count), column.dtype)
            shard = store.encode(index, plan.columns, zeros)
            encoded[rows] = [file.described("") for file in shard.values()]
        names = store.names(index, plan.columns)
        renamed = zip(names, encoded[rows], strict=True)
        files = tuple(replace(file, name=name) for name, file in renamed)
        counts = {level: round(rows * records[level]) for level in levels(plan.columns)}
        receipt = Receipt(digest, start, end - start, counts, files, sketches, stated)
        missing += receipt.bytes * ((end - start) / rows - 1)
        receipts.append(receipt)
    documents = [
        plan.to_dict(),
        *(receipt.to_dict() for receipt in receipts),
        manifest_dict(plan, receipts),
    ]
    texts = [json.dumps(document, indent=1) for document in documents]
    stored = sum(receipt.bytes for receipt in receipts) + round(missing)
    return stored + sum(len(text) + 1 for text in texts)


@dataclass(frozen=True)
class Memory:
    """Bytes that a training takes on its device. ``process``: held before it (0 on a GPU)."""

    student: Shape
    rows: int  # of a batch
    length: int  # of the longest one, in tokens
    dtype: str  # what is computed in
    process: int = 0
    logits: int = 0  # of a vocabulary that are held, in single precision

    def training(self) -> int:
        """Weights, gradients, moments and what a forward pass keeps (Korthikanti et al. 2022, eq.
        1, without the attention matrix: `transformers` does not keep it).
        """
        shape = self.student
        size = BYTES[self.dtype]
        per_parameter = TRAINED_BYTES
        if size == BYTES["float16"]:
            per_parameter += HALF_COPY
        activations = (
            (ACTIVATIONS * size + MASKS) * shape.layers * self.rows * self.length * shape.width
        )
        logits = BYTES["float32"] * self.logits
        return self.process + per_parameter * shape.parameters + activations + logits

    def answering(self, model: Shape, dtype: str, tokens: int) -> int:
        """What a model that answers ``tokens`` at a time takes: weights and one layer's numbers."""
        return BYTES[dtype] * (model.parameters + ANSWERING * tokens * model.width)
