"""What a cache will weigh on disk, and what a training or a dump needs of memory, from shapes alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from logitcache import identity
from logitcache.cost.flops import Shape
from logitcache.records import Int64
from logitcache.store import stores
from logitcache.store.extents import File
from logitcache.store.manifest import QUANTILES, Plan, Receipt, manifest_dict
from logitcache.targets.dense import DTYPES as CODECS
from logitcache.teacher.conditions import conditions
from logitcache.teacher.panel import OneTeacher
from logitcache.teacher.plan import Planned

TRAINED_BYTES = 16  # of a parameter: weight, gradient and AdamW's two moments in single precision
HALF_COPY = 2  # of a parameter, besides: what autocast keeps
ACTIVATIONS, MASKS = 16, 2  # numbers and bytes that a layer keeps for each token and unit of its width
ANSWERING = 10  # numbers that one layer holds at a time: the wide middle one, twice, and what goes in and out
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class UnreadTeacher(OneTeacher):
    """A teacher whose weights are not read for their digest: that of any is as long."""

    def identity(self) -> dict[str, Any]:
        return {"weights": identity.digest_json("weights"), **self.first.arithmetic()}

    def in_order(self, order: Int64 | None) -> UnreadTeacher:
        return UnreadTeacher(replace(self.first, order=order))


def on_disk(planned: Planned) -> dict[str, int]:
    """Bytes of the whole folder of a planned dump, by codec: shards, receipts, plan and manifest."""
    seen = conditions(planned.panel.first)
    return {dtype: cache_bytes(_stored_as(planned, dtype), seen) for dtype in CODECS}


def _stored_as(planned: Planned, dtype: str) -> Plan:
    codec, plan = replace(planned.codec, dtype=dtype), planned.plan
    names = codec.columns()
    columns = tuple(replace(c, dtype=names[c.name][0]) if c.name in names else c for c in plan.columns)
    return replace(plan, targets={"logits": codec.to_dict()}, columns=columns)


def cache_bytes(plan: Plan, seen: Mapping[str, Any]) -> int:
    """Bytes of a cache's folder. ``seen``: the conditions that its receipts state.

    Nothing is compressed, so a shard of zeros is as large as any: one of each number of rows is encoded, in memory.
    """
    store, digest = stores.of(plan.store), plan.digest()
    quantiles = [0.123456] * len(QUANTILES)
    sketches = {"entropy": quantiles, "top_probability": quantiles}
    encoded: dict[int, list[File]] = {}
    receipts = []
    for index, (start, end) in enumerate(plan.shards()):
        rows = end - start
        if rows not in encoded:
            zeros = {c.name: np.zeros(c.shape(rows), c.dtype) for c in plan.columns}
            encoded[rows] = [each.described("") for each in store.encode(index, plan.columns, zeros).values()]
        named = zip(store.names(index, plan.columns), encoded[rows], strict=True)
        files = tuple(replace(file, name=name) for name, file in named)
        receipts.append(Receipt(digest, start, rows, {"row": rows}, files, sketches, seen))
    written = [plan.to_dict(), *(receipt.to_dict() for receipt in receipts), manifest_dict(plan, receipts)]
    return sum(receipt.bytes for receipt in receipts) + sum(len(json.dumps(each, indent=1)) + 1 for each in written)


@dataclass(frozen=True)
class Memory:
    """Bytes that a training takes on its device. ``process``: what a process holds before (0 on a GPU)."""

    student: Shape
    rows: int  # of a batch
    length: int  # of the longest one, in tokens
    dtype: str  # what is computed in
    process: int = 0

    def training(self) -> int:
        """Weights, gradients, moments and what a forward pass keeps for the backward one (Korthikanti et al. 2022, eq.
        1, without the attention matrix: `transformers` does not keep it).
        """
        shape, size = self.student, BYTES[self.dtype]
        kept = (ACTIVATIONS * size + MASKS) * shape.layers * self.rows * self.length * shape.width
        copies = HALF_COPY * shape.parameters if size == BYTES["float16"] else 0
        return self.process + TRAINED_BYTES * shape.parameters + copies + kept

    def answering(self, model: Shape, dtype: str, tokens: int) -> int:
        """What a model that answers ``tokens`` at a time takes besides: weights, and one layer's numbers."""
        return BYTES[dtype] * (model.parameters + ANSWERING * tokens * model.width)
