"""What a cache will weigh on disk, and what a training or a dump needs of memory, from shapes
alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from logitcache.cost.flops import Shape
from logitcache.store import stores
from logitcache.store.extents import File
from logitcache.store.manifest import QUANTILES, Plan, Receipt, manifest_dict
from logitcache.targets.dense import DTYPES as CODECS
from logitcache.targets.dense import DenseCodec
from logitcache.teacher.plan import Planned

TRAINED_BYTES = 16  # of a parameter: weight, gradient and AdamW's two moments in single precision
HALF_COPY = 2  # of a parameter, besides: what autocast keeps
ACTIVATIONS = 16  # numbers that a layer keeps for each token and unit of its width
MASKS = 2  # bytes, besides
ANSWERING = 10  # numbers that one layer holds at a time: the wide middle one, twice, and what goes in and out
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def on_disk(planned: Planned) -> dict[str, int]:
    """Bytes of the whole folder of a planned dump, by codec: shards, receipts, plan and manifest."""
    stated = planned.conditions()
    return {dtype: cache_bytes(_stored_as(planned, dtype), stated) for dtype in CODECS}


def _stored_as(planned: Planned, dtype: str) -> Plan:
    assert isinstance(planned.codec, DenseCodec)
    codec = replace(planned.codec, dtype=dtype)
    dtypes = {column.name: column.dtype for column in codec.columns()}
    columns = []
    for column in planned.plan.columns:
        if column.name in dtypes:
            column = replace(column, dtype=dtypes[column.name])
        columns.append(column)
    return replace(planned.plan, targets={"logits": codec.to_dict()}, columns=tuple(columns))


def cache_bytes(plan: Plan, stated: Mapping[str, Any]) -> int:
    """Bytes of a cache's folder. ``stated``: the conditions in its receipts.

    Nothing is compressed, so a shard of zeros is as large as any: one of each number of rows is
    encoded, in memory.
    """
    store = stores.of(plan.store)
    digest = plan.digest()
    quantiles = [0.123456] * len(QUANTILES)
    sketches = {"entropy": quantiles, "top_probability": quantiles}
    encoded: dict[int, list[File]] = {}
    receipts = []
    for index, (start, end) in enumerate(plan.shards()):
        rows = end - start
        if rows not in encoded:
            zeros = {c.name: np.zeros(c.shape(rows), c.dtype) for c in plan.columns}
            shard = store.encode(index, plan.columns, zeros)
            encoded[rows] = [file.described("") for file in shard.values()]
        names = store.names(index, plan.columns)
        named = zip(names, encoded[rows], strict=True)
        files = tuple(replace(file, name=name) for name, file in named)
        receipts.append(Receipt(digest, start, rows, {"row": rows}, files, sketches, stated))
    documents = [
        plan.to_dict(),
        *(receipt.to_dict() for receipt in receipts),
        manifest_dict(plan, receipts),
    ]
    texts = [json.dumps(document, indent=1) for document in documents]
    return sum(receipt.bytes for receipt in receipts) + sum(len(text) + 1 for text in texts)


@dataclass(frozen=True)
class Memory:
    """Bytes that a training takes on its device. ``process``: what a process holds before (0 on a
    GPU).
    """

    student: Shape
    rows: int  # of a batch
    length: int  # of the longest one, in tokens
    dtype: str  # what is computed in
    process: int = 0

    def training(self) -> int:
        """Weights, gradients, moments and what a forward pass keeps for the backward one
        (Korthikanti et al. 2022, eq. 1, without the attention matrix: `transformers` does not keep
        it).
        """
        shape = self.student
        size = BYTES[self.dtype]
        per_parameter = TRAINED_BYTES
        if size == BYTES["float16"]:
            per_parameter += HALF_COPY
        activations = (
            (ACTIVATIONS * size + MASKS) * shape.layers * self.rows * self.length * shape.width
        )
        return self.process + per_parameter * shape.parameters + activations

    def answering(self, model: Shape, dtype: str, tokens: int) -> int:
        """What a model that answers ``tokens`` at a time takes besides: weights, and one layer's
        numbers.
        """
        return BYTES[dtype] * (model.parameters + ANSWERING * tokens * model.width)
