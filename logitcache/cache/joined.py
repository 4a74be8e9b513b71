"""Several caches as one teacher: the parts of a training set side by side, and teachers averaged.

A cache holds one split of one source. A student may learn from two parts, the rows of ``train`` and those of
``unlabelled``; in training, the second part's rows are numbered behind the first's. Caches are joined to parts by the
name of the split they were dumped from, and every row is proved by its hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy.special import log_softmax

from logitcache import identity
from logitcache.cache.cache import Cache
from logitcache.data.match import Kind, Match, match_labels
from logitcache.data.names import listed
from logitcache.data.source import UNLABELLED_SPLIT
from logitcache.data.tasks.classification import Classification
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.records import Answers, Array, Float32, Int64, common_positions, end_to_end, same_positions


@dataclass(frozen=True)
class Part:
    """Rows ``start`` and on of a training set, and the caches that answer for them; several are averaged."""

    name: str
    start: int
    caches: tuple[Cache, ...]
    orders: tuple[Int64 | None, ...]  # of each cache: data_logits = cached_logits[:, order]; None: as they are

    def take(self, row_id: Int64, view: Int64 | int = 0) -> Answers:
        """The answers for these rows of the part, at the positions that all of its caches have. Raises AlignmentError
        for a row that is not in every cache, or is another there.
        """
        first, *others = (_in_order(cache.take(row_id, view), order) for cache, order in self.ordered())
        for cache, answers in zip(self.caches[1:], others, strict=True):
            identity.check_rows(row_id, first.row_hash, answers.row_hash, cache.where)
        if not others:
            return first
        several = [first, *others]
        if not all(same_positions(first, answers) for answers in others):
            shared = common_positions(*several)
            several = [answers.select(places) for answers, places in zip(several, shared, strict=True)]
        return several[0].with_logits(mean_teacher([answers.logits for answers in several]))

    def ordered(self) -> Iterator[tuple[Cache, Int64 | None]]:
        """Each cache, and the order of its columns."""
        return zip(self.caches, self.orders, strict=True)


def _in_order(answers: Answers, order: Int64 | None) -> Answers:
    if order is None:
        return answers
    return answers.with_logits(answers.logits[:, order])


@dataclass(frozen=True)
class Joined:
    """What a student learns from: answers like a cache, from one or many, with columns in the data's order."""

    parts: tuple[Part, ...]
    match: Match  # of the first cache's columns to the data's classes

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
        """Names of the first cache's columns, in the order in which they are answered."""
        return self.match.names

    def take(self, row_id: Int64, view: Int64 | int = 0) -> Answers:
        """The teachers' answers for these rows, in this order; rows may repeat. Raises AlignmentError."""
        if len(self.parts) == 1:
            return self.parts[0].take(row_id, view)
        of_part = self._part_of(row_id)
        views = np.broadcast_to(view, len(row_id))
        answers = []
        for index, part in enumerate(self.parts):
            mine = of_part == index
            answers.append(part.take(row_id[mine] - part.start, np.ascontiguousarray(views[mine])))
        by_part = np.argsort(of_part, kind="stable")
        return end_to_end(answers).rows(np.argsort(by_part, kind="stable"))

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


def join(
    caches: Sequence[Cache],
    starts: dict[str, int],
    teachers: str | None = None,
    *,
    task: Classification | None = None,
    label_map: Mapping[str, str] | None = None,
) -> Joined:
    """Give every part of a training set its caches: ``starts`` names the parts and their first rows, in order.

    ``teachers``: ``mean`` averages several caches of one part; in which order they are named changes nothing. Columns
    follow names into the order of ``task`` (None: that of the first cache), by ``label_map`` where that says so.
    Raises SpecError for a part without a cache, a cache without a part, or several for one part that nobody asked to
    average; FingerprintMismatch for other labels.
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
    by_part = {name: sorted(found, key=lambda cache: cache.fingerprint) for name, found in answering.items()}
    first = next(cache for name in starts for cache in by_part[name])
    task = task or Classification(len(first.label_names), first.label_names)
    match = match_labels(first.label_names, task, str(first.where), label_map, who="cache")
    parts = []
    for name, start in starts.items():
        orders = [_like(first, cache)[match.order] for cache in by_part[name]]
        plain = tuple(None if (order == np.arange(len(order))).all() else order for order in orders)
        parts.append(Part(name, start, tuple(by_part[name]), plain))
    return Joined(tuple(parts), match)


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


def _like(first: Cache, cache: Cache) -> Int64:
    """The columns of a cache in the order of the first one's, by their names: i64[K]. Raises FingerprintMismatch."""
    theirs, ours = cache.label_names, first.label_names
    if theirs == ours:
        return np.arange(len(ours))
    refusal = FingerprintMismatch(
        f"expected the labels of {first.where} ({listed(ours)}), found {listed(theirs)}. Dump both for the same data, "
        "with the same --labels.",
        where=cache.where,
    )
    try:
        match = match_labels(theirs, Classification(len(ours), ours), str(cache.where), who="cache")
    except FingerprintMismatch:
        raise refusal from None
    if match.kind is Kind.NUMBERED and not match.numbers_alone:
        raise refusal
    return match.order
