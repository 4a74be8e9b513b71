"""Some rows of a cache put to the teacher again, and judged against what the same teacher differs by from itself.

Asked in the batches that the plan gives them, under the conditions of the receipts, the answers are the same bytes.
Under others (threads, versions, device) the last bits move. By how much is harmless is not a guess: the rows are asked
once more in another composition of batches, and that difference is the control.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from logitcache.cache import Cache
from logitcache.data.order import subset
from logitcache.errors import SpecError
from logitcache.records import Array, Float32, Int64
from logitcache.teacher.conditions import conditions, differing
from logitcache.teacher.distance import Float64, kl
from logitcache.teacher.model import DTYPES
from logitcache.teacher.panel import answer, answer_some, room_for
from logitcache.teacher.plan import Planned

TIMES = 10  # the control, at which a difference is no longer harmless
ROUNDINGS = 8  # of the teacher's precision: the least a control can be


@dataclass(frozen=True)
class Live:
    """What ``logitcache verify --live`` tells. Differences are of logits minus their row's maximum, KL in nats."""

    rows: int  # asked again
    same_bytes: int  # rows whose stored bytes came out again
    agrees: bool  # no logit is further off than allowed
    difference: float  # the largest, cache against teacher
    control: float  # the largest, teacher against teacher in other batches
    allowed: float  # ten times the control (or eight roundings of the teacher's dtype), and one rounding of the codec's
    kl_mean: float
    kl_max: float
    worst_row: int  # where the difference is largest
    conditions: dict[str, list[Any]] = field(default_factory=dict)  # that differ: [of the cache, here]


def live(cache: Cache, asked: Planned, rows: int, seed: int = 0) -> Live:
    """Ask about ``rows`` rows of the cache again, drawn by ``seed``. Raises SpecError where none has an answer."""
    drawn = np.setdiff1d(np.arange(len(cache)), cache.skipped)
    drawn = drawn[subset(len(drawn), rows, seed)]
    if not len(drawn):
        raise SpecError(f"expected rows with an answer to ask about, found none of {rows}.", where=cache.where)
    answers = list(_answers(cache, asked, drawn))
    same, control, other = (np.concatenate([each[i] for each in answers]) for i in range(3))
    stored = cache.stored(drawn)
    found, here = _judge(asked, drawn, stored, same, control - other), conditions(asked.panel.first)
    receipts = [cache.manifest.receipts[index] for index in np.unique(drawn // cache.manifest.plan.shard_rows)]
    apart = {name: pair for receipt in receipts for name, pair in differing(receipt.conditions, here).items()}
    return Live(rows=len(drawn), conditions=apart, **found)


def _answers(cache: Cache, asked: Planned, drawn: Int64) -> Iterator[tuple[Float32, Float32, Float32]]:
    """Of each shard's drawn rows: the logits in the shard's own batches, then (minus the row's maximum) these and the
    ones in other batches.
    """
    plan = cache.manifest.plan
    for index in np.unique(drawn // plan.shard_rows):
        start, stop = plan.shard(int(index))
        wanted = drawn[(drawn >= start) & (drawn < stop)] - start
        prepared = asked.prepare(start, stop)
        budget = cache.manifest.receipts[index].conditions.get("batch_tokens", plan.preparation["batch_tokens"])
        with room_for(f"batches of {budget:,} tokens", asked.panel.first):
            same = answer_some(asked.panel, prepared, budget, wanted)
        other, _ = answer(asked.panel, prepared.select(wanted), max(1, budget // 2))
        yield same, _from_top(same), _from_top(other)


def _judge(asked: Planned, drawn: Int64, stored: dict[str, Array], live: Float32, apart: Float32) -> dict[str, Any]:
    """``apart`` f32[n, K]: how far the teacher's answers in two compositions of batches are from each other."""
    encoded, codec = asked.codec.encode(live), asked.codec
    there, here = codec.decode(stored).logits, codec.decode(encoded).logits
    off = np.abs(there.astype(np.float64) - here)
    control = float(np.abs(apart).max())
    least = ROUNDINGS * torch.finfo(DTYPES[asked.plan.teacher["dtype"]]).eps * float(np.abs(live).max())
    rounding: Float64 = np.spacing(np.abs(stored["logits"])).astype(np.float64)
    allowed = max(TIMES * control, least)
    differ = kl(there, here)
    return {
        "same_bytes": int(np.all([(encoded[name] == stored[name]).all(axis=1) for name in encoded], axis=0).sum()),
        "agrees": bool((off <= allowed + rounding).all()),
        "difference": float(off.max()),
        "control": control,
        "allowed": allowed + float(rounding.max()),
        "kl_mean": float(differ.mean()),
        "kl_max": float(differ.max()),
        "worst_row": int(drawn[off.max(axis=1).argmax()]),
    }


def _from_top(logits: Float32) -> Float32:
    found: Float32 = logits - logits.max(axis=1, keepdims=True)
    return found
