"""Rows of a cache put to the teacher again, judged by how it differs from itself.

Asked in the batches that the plan gives them, under the conditions of the receipts, the answers are
the same bytes. Under others (threads, versions, device) the last bits move.

What is right does not depend on batches: the reference is each row asked alone, with no padding
anywhere. By how much a cache may differ from it is measured: each row is asked once more beside a
copy of itself, and that difference is the control. Neither has padding, so a cache whose answers
padding has moved is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from logitcache.cache.cache import Cache
from logitcache.cache.distance import Float64, kl
from logitcache.data.order import position_keys, subset
from logitcache.errors import SpecError
from logitcache.models.load import DTYPES
from logitcache.models.probe import tolerance
from logitcache.payloads import Sparse
from logitcache.records import Array, Dense, Float32, Int64, rows_of
from logitcache.targets.dense import DenseCodec
from logitcache.targets.nothing import NoLogits
from logitcache.teacher.conditions import differing
from logitcache.teacher.dump_job import DumpJob
from logitcache.teacher.live_signals import LiveSignal, judge_signals
from logitcache.teacher.live_targets import from_top, judge_replay, judge_sparse, whole_rows
from logitcache.teacher.plan import Planned


@dataclass(frozen=True)
class Live:
    """The result of ``logitcache verify --live``. Differences are of logits minus their row's maximum,
    KL in nats. Of sparse targets they are of entropies, in nats, and there is no KL.
    """

    rows: int  # asked again
    # rows whose stored bytes came out again; None where that is not compared
    same_bytes: int | None
    agrees: bool  # no logit is further off than allowed
    difference: float  # the largest, cache against rows asked alone
    control: float  # the largest, rows asked alone against rows asked beside a copy of themselves
    allowed: float  # ten times the control (or some roundings of the teacher's dtype), and one rounding of the codec's
    kl_mean: float | None
    kl_max: float | None
    worst_row: int  # where the difference is largest
    moved: float | None = None  # of sparse targets: share of positions that list other words
    moved_control: float | None = None  # the same, of a row alone and beside a copy of itself
    # that differ: [of the cache, here]
    conditions: dict[str, list[Any]] = field(default_factory=dict)
    # of signals beside, or in place of, logits: their own figures, by name
    signals: dict[str, LiveSignal] = field(default_factory=dict)


def live(cache: Cache, job: DumpJob, rows: int, seed: int = 0) -> Live:
    """Ask about ``rows`` rows of the cache again, drawn by ``seed``. Raises SpecError for none."""
    drawn = np.setdiff1d(np.arange(len(cache)), cache.skipped)
    drawn = drawn[subset(len(drawn), rows, seed)]
    if not len(drawn):
        raise SpecError(
            expected="rows with an answer to ask about", found=f"none of {rows}", where=cache.where
        )
    signals: dict[str, LiveSignal] = {}
    if isinstance(job, Planned) and cache.signals:
        signals = judge_signals(cache, job, drawn)
    if isinstance(job.codec, NoLogits):
        # the signal that is furthest off, for its size
        worst = max(signals.values(), key=lambda signal: signal.difference / signal.allowed)
        verdict: dict[str, Any] = {
            "same_bytes": None,
            "agrees": all(signal.agrees for signal in signals.values()),
            "difference": worst.difference,
            "control": worst.control,
            "allowed": worst.allowed,
            "kl_mean": None,
            "kl_max": None,
            "worst_row": worst.worst_row,
        }
    else:
        verdict = _judge_logits(cache, job, drawn)
        verdict["agrees"] &= all(signal.agrees for signal in signals.values())
    conditions = job.conditions()
    apart: dict[str, Any] = {}
    for index in np.unique(drawn // cache.manifest.plan.shard_rows):
        apart |= differing(cache.manifest.receipts[index].conditions, conditions)
    return Live(rows=len(drawn), conditions=apart, signals=signals, **verdict)


def _judge_logits(cache: Cache, job: DumpJob, drawn: Int64) -> dict[str, Any]:
    """The verdict on logits, or what is kept of them."""
    parts = zip(*_answers(cache, job, drawn), strict=True)
    batched, alone, doubled = map(np.concatenate, parts)
    answers = cache.take(drawn)
    payload = answers.payload
    row = drawn[rows_of(answers.indptr)]
    again = (batched, alone, doubled)
    if isinstance(payload, Dense):
        return _judge_dense(job, row, cache.stored(drawn), again)
    if isinstance(payload, Sparse):
        text = answers.row_hash[rows_of(answers.indptr)]
        keys = position_keys(0, "codec", text, row % job.draws, answers.index)
        return judge_sparse(job, row, payload, again, keys)
    return judge_replay(job, row, payload.replayed(), again)


def _answers(
    cache: Cache, job: DumpJob, drawn: Int64
) -> Iterator[tuple[Float32, Float32, Float32]]:
    """The logits of each shard's drawn rows: in its batches, alone, and beside a copy."""
    plan = cache.manifest.plan
    for index in np.unique(drawn // plan.shard_rows):
        start, stop = plan.shard(int(index))
        rows = drawn[(drawn >= start) & (drawn < stop)] - start
        prepared = job.prepare(start, stop)
        budget = cache.manifest.receipts[index].conditions.get("batch_tokens", job.batch_tokens)
        yield job.ask_again(prepared, budget, rows)


def _judge_dense(
    job: DumpJob, row: Int64, stored: dict[str, Array], again: tuple[Float32, Float32, Float32]
) -> dict[str, Any]:
    """Bytes are compared with the shard's own batches, answers with rows asked alone. All f32[P,
    K]; ``row`` i64[P] is the row of each position.
    """
    codec = job.codec
    assert isinstance(codec, DenseCodec)
    batched, alone, doubled = again
    encoded = codec.encode(batched)
    in_cache = codec.unpack(stored).logits
    reference = codec.unpack(codec.encode(alone)).logits
    off = np.abs(in_cache.astype(np.float64) - reference)
    control = float(np.abs(from_top(doubled) - from_top(alone)).max())
    size = np.abs(stored["logits"])
    # the spacing of the last number overflows
    largest = np.nextafter(np.finfo(size.dtype).max, size.dtype.type(0))
    rounding: Float64 = np.spacing(np.minimum(size, largest)).astype(np.float64)
    allowed = tolerance(DTYPES[job.plan.teacher["dtype"]], alone, control)
    differ = kl(in_cache, reference)
    are_same = [(values == stored[name]).all(axis=1) for name, values in encoded.items()]
    same = np.all(are_same, axis=0)
    return {
        "same_bytes": whole_rows(row, same),
        "agrees": bool((off <= allowed + rounding).all()),
        "difference": float(off.max()),
        "control": control,
        "allowed": allowed + float(rounding.max()),
        "kl_mean": float(differ.mean()),
        "kl_max": float(differ.max()),
        "worst_row": int(row[off.max(axis=1).argmax()]),
    }
