"""The check of :mod:`logitcache.teacher.live` for caches that do not keep full vectors.

Sparse targets are compared with those that the same draws give of the new answers. Two things must
hold. The stored entropy, which is one of the whole distribution, is that of the new answers, up to
rounding. And the words are the same: draws are a pure function of a row's text, so only where a
point of a draw lies within rounding of a word's end may another word be listed, in a share of the
positions that is measured: between rows asked alone and beside a copy of themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from logitcache.cache.distance import Float64, kl
from logitcache.cache.variation import variation
from logitcache.models.load import DTYPES
from logitcache.models.probe import tolerance
from logitcache.payloads import Sparse
from logitcache.records import Array, Float32, Int64
from logitcache.targets.codec import Codec
from logitcache.targets.draws import Draw
from logitcache.targets.replay import ReplayCodec
from logitcache.targets.sparse import SparseCodec
from logitcache.teacher.dump_job import DumpJob

MOVED = 0.01  # of the positions, that may list other words: break-points that rounding has moved
CONTROLS = 10  # times the control's own share, besides


def judge_sparse(
    job: DumpJob,
    row: Int64,
    stored: Sparse[Array],
    again: tuple[Float32, Float32, Float32],
    keys: Int64,
) -> dict[str, Any]:
    """The figures of a cache of sparse targets ``stored``, by the fields of ``Live``.

    ``again`` are the teacher's logits now, f32[P, V]: of rows in the shard's own batches, alone, and
    beside a copy of themselves. ``row`` i64[P] is the row of each position, ``keys`` i64[P] are
    those of its draws.
    """
    codec = job.codec
    assert isinstance(codec, SparseCodec)
    batched, alone, doubled = again
    drawn_batched = _drawn(codec, batched, keys, stored)
    drawn_alone = _drawn(codec, alone, keys, stored)
    drawn_doubled = _drawn(codec, doubled, keys, stored)
    is_same = variation(stored, drawn_batched).is_equal
    moved = float(variation(stored, drawn_alone).other_words.mean())
    moved_control = float(variation(drawn_alone, drawn_doubled).other_words.mean())
    entropy = _entropy(codec, alone)
    difference = np.abs(stored.entropy - entropy)
    control = float(np.abs(_entropy(codec, doubled) - entropy).max())
    logits_off = float(np.abs(from_top(doubled) - from_top(alone)).max())
    rounding = tolerance(DTYPES[job.plan.teacher["dtype"]], alone, logits_off)
    spacing: Float64 = np.spacing(stored.entropy.astype(np.float16)).astype(np.float64)
    allowed = spacing + 2 * rounding * np.maximum(1, entropy) / codec.temperature
    few_moved = moved <= MOVED + CONTROLS * moved_control
    return {
        "same_bytes": whole_rows(row, is_same),
        "agrees": bool((difference <= allowed).all()) and few_moved,
        "difference": float(difference.max()),
        "control": control,
        "allowed": float(allowed.max()),
        "kl_mean": None,
        "kl_max": None,
        "worst_row": int(row[difference.argmax()]),
        "moved": moved,
        "moved_control": moved_control,
    }


def judge_replay(
    job: DumpJob, row: Int64, replayed: Float32, again: tuple[Float32, Float32, Float32]
) -> dict[str, Any]:
    """The figures of a cache of ``replay``, by the fields of ``Live``. ``replayed`` are the logits
    f32[P, V] that the head in the cache makes; ``again`` as of :func:`judge_sparse`.
    """
    assert isinstance(job.codec, ReplayCodec)
    _, alone, doubled = again
    reference = from_top(alone)
    difference = np.abs(replayed.astype(np.float64) - reference)
    control = float(np.abs(from_top(doubled) - reference).max())
    allowed = tolerance(DTYPES[job.plan.teacher["dtype"]], alone, control)
    divergence = kl(replayed, reference)
    return {
        "same_bytes": None,
        "agrees": bool((difference <= allowed).all()),
        "difference": float(difference.max()),
        "control": control,
        "allowed": allowed,
        "kl_mean": float(divergence.mean()),
        "kl_max": float(divergence.max()),
        "worst_row": int(row[difference.max(axis=1).argmax()]),
    }


def _drawn(codec: Codec, logits: Float32, keys: Int64, like: Sparse[Array]) -> Sparse[Array]:
    """What the codec keeps of these logits with these draws."""
    draw = Draw(torch.from_numpy(keys))
    columns = codec.pack(codec.reduce(torch.from_numpy(logits), draw))
    assets: Mapping[str, Array] = {} if like.unigram is None else {"unigram": like.unigram}
    target = codec.unpack(columns, assets)
    assert isinstance(target, Sparse)
    return target


def _entropy(codec: SparseCodec, logits: Float32) -> Float64:
    p = codec.probabilities(torch.from_numpy(logits)).double()
    entropy: Float64 = torch.special.entr(p).sum(1).numpy()
    return entropy


def whole_rows(row: Int64, is_same: Array) -> int:
    """How many rows have the same bytes at all of their positions."""
    return len(np.unique(row)) - len(np.unique(row[~is_same]))


def from_top(logits: Float32) -> Float32:
    """Logits minus the largest of their position: f32[P, K]."""
    shifted: Float32 = logits - logits.max(axis=1, keepdims=True)
    return shifted
