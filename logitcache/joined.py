"""Several caches as one teacher: the parts of a training set side by side, and teachers averaged.

A cache holds one split of one source. A student may learn from two parts, the rows of ``train`` and those of
``unlabelled``; in training, the second part's rows are numbered behind the first's. Caches are joined to parts by the
name of the split they were dumped from, and every row is proved by its hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy.special import log_softmax

from logitcache import identity
from logitcache.cache import Cache
from logitcache.data.source import UNLABELLED_SPLIT
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.records import Answers, Array, Dense, Float32, Int64


@dataclass(frozen=True)
class Part:
    """Rows ``start`` and on of a training set, and the caches that answer for them; several are averaged."""

    name: str
    start: int
    caches: tuple[Cache, ...]

    def take(self, row_id: Int64) -> Answers:
        """The answers for these rows of the part. Raises AlignmentError for a row that is not in every cache, or is
        another there.
        """
        first, *others = (cache.take(row_id) for cache in self.caches)
        for cache, answers in zip(self.caches[1:], others, strict=True):
            identity.check_rows(row_id, first.row_hash, answers.row_hash, cache.where)
        if not others:
            return first
        logits = mean_teacher([answers.payload.logits for answers in (first, *others)])
        return Answers(first.row_hash, first.counts, Dense(logits))


@dataclass(frozen=True)
class Joined:
    """What a student learns from: answers like a cache, from one or many."""

    parts: tuple[Part, ...]

    def __str__(self) -> str:
        return ", ".join(cache.where for cache in self.caches)

    def __len__(self) -> int:
        """Rows that saw a teacher, over all caches."""
        return sum(map(len, self.caches))

    @property
    def skipped(self) -> Int64:
        """Rows that some teacher has no answer for, as the training set numbers them, ascending: i64[n]."""
        return np.unique(np.concatenate([part.start + cache.skipped for part in self.parts for cache in part.caches]))

    @property
    def window(self) -> int | None:
        """How many consecutive rows are best read together: the fewest that a cache names."""
        return min((cache.window for cache in self.caches if cache.window is not None), default=None)

    @property
    def caches(self) -> tuple[Cache, ...]:
        return tuple(cache for part in self.parts for cache in part.caches)

    @property
    def fingerprint(self) -> str:
        """The cache's own, or a digest of the caches' and the parts they answer for."""
        if len(self.caches) == 1:
            return self.caches[0].fingerprint
        return identity.digest_json([[part.name, [cache.fingerprint for cache in part.caches]] for part in self.parts])

    @property
    def label_names(self) -> tuple[str, ...]:
        return self.caches[0].label_names

    def take(self, row_id: Int64) -> Answers:
        """The teachers' answers for these rows, in this order; rows may repeat. Raises AlignmentError."""
        if len(self.parts) == 1:
            return self.parts[0].take(row_id)
        row_hash, logits = np.empty(len(row_id), np.int64), np.empty((len(row_id), len(self.label_names)), np.float32)
        for index, part in enumerate(self.parts):
            here = np.flatnonzero(self._part_of(row_id) == index)
            answers = part.take(row_id[here] - part.start)
            row_hash[here], logits[here] = answers.row_hash, answers.payload.logits
        return Answers(row_hash, np.ones(len(row_id), np.int64), Dense(logits))

    def check(self, row_id: Int64, row_hash: Int64) -> None:
        """Prove that every one of these rows is in its caches. Raises AlignmentError naming the first that is not."""
        for index, part in enumerate(self.parts):
            here = np.flatnonzero(self._part_of(row_id) == index)
            for cache in part.caches:
                cache.check(row_id[here] - part.start, row_hash[here])

    def _part_of(self, row_id: Int64) -> Array:
        """Which part each row is of; a negative row is the first one's to refuse."""
        starts = [part.start for part in self.parts]
        return np.maximum(np.searchsorted(starts, row_id, side="right") - 1, 0)


def mean_teacher(logits: Sequence[Float32]) -> Float32:
    """The logits of the mean of several distributions: log of the mean of their probabilities at temperature 1, minus
    the row maximum. f32[B, K] of f32[B, K] each.

    The arithmetic mean of an ensemble's answers (Hinton et al. 2015, who name the geometric one beside it);
    another temperature then softens the mean, as it would soften one teacher's answer.
    """
    total = reduce(np.logaddexp, (log_softmax(each, axis=1) for each in logits))
    mean: Float32 = (total - total.max(axis=1, keepdims=True)).astype(np.float32)
    return mean


def join(caches: Sequence[Cache], starts: dict[str, int], teachers: str | None = None) -> Joined:
    """Give every part of a training set its caches: ``starts`` names the parts and their first rows, in order.

    ``teachers``: ``mean`` averages several caches of one part; in which order they are named changes nothing. Raises
    SpecError for a part without a cache, a cache without a part, or several for one part that nobody asked to average;
    FingerprintMismatch for other labels.
    """
    answering: dict[str, list[Cache]] = {name: [] for name in starts}
    for cache in caches:
        split = str(cache.manifest.plan.data.get("split"))
        name = UNLABELLED_SPLIT if split == UNLABELLED_SPLIT else "train"
        if name not in answering:
            raise SpecError(
                f"it answers for unlabelled rows (split {split!r}), and none were named. Name them with --unlabelled.",
                where=cache.where,
            )
        answering[name].append(cache)
    _check_counts(answering, teachers)
    _check_different(caches)
    _check_same_teachers(answering)
    _check_labels(caches)
    in_order = {name: sorted(found, key=lambda cache: cache.fingerprint) for name, found in answering.items()}
    return Joined(tuple(Part(name, start, tuple(in_order[name])) for name, start in starts.items()))


def _check_counts(answering: dict[str, list[Cache]], teachers: str | None) -> None:
    for name, caches in answering.items():
        folders = ", ".join(cache.where for cache in caches)
        if not caches:
            raise SpecError(f"expected a cache of the {name} rows, found none. Name it with --cache, or dump them.")
        if len(caches) > 1 and teachers != "mean":
            raise SpecError(
                f"expected one cache of the {name} rows, found {len(caches)}: {folders}. "
                "Leave the others out, or average them with --teachers mean."
            )
    if teachers == "mean" and all(len(caches) == 1 for caches in answering.values()):
        raise SpecError("--teachers mean: expected several caches of the same rows, found one. Name each with --cache.")


def _check_different(caches: Sequence[Cache]) -> None:
    fingerprints = [cache.fingerprint for cache in caches]
    for place, cache in enumerate(caches):
        if cache.fingerprint in fingerprints[:place]:
            raise SpecError("expected different caches, found this one twice. Leave one out.", where=cache.folder)


def _check_same_teachers(answering: dict[str, list[Cache]]) -> None:
    """What is averaged in one part is averaged in the others: else labelled rows would have one teacher, the rest
    another.
    """
    known: dict[str, dict[str, str]] = {
        name: {_teacher(cache): str(cache.folder) for cache in caches} for name, caches in answering.items()
    }
    if max(map(len, known.values()), default=1) < 2:
        return
    for name, there in known.items():
        lacking = [folder for other in known.values() for key, folder in other.items() if key not in there]
        if lacking:
            raise SpecError(
                f"--teachers mean: expected the same teachers for all rows; the {name} rows lack the teacher of "
                f"{lacking[0]}. Dump them with it too, or leave that cache out."
            )


def _teacher(cache: Cache) -> str:
    said = cache.manifest.plan.teacher
    return identity.digest_json({key: said.get(key) for key in ("weights", "settings", "folds", "dtype")})


def _check_labels(caches: Sequence[Cache]) -> None:
    first, *others = caches
    for cache in others:
        if cache.label_names != first.label_names:
            raise FingerprintMismatch(
                f"expected the labels of {first.where} ({', '.join(first.label_names[:8])}), found "
                f"{', '.join(cache.label_names[:8])}. Dump both for the same data.",
                where=cache.where,
            )
