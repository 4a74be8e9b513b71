"""Several caches as one teacher: the parts of a training set side by side, and teachers averaged.

A student may learn from two parts, the rows of ``train`` and those of ``unlabelled``; in training,
the second part's rows are numbered behind the first's. A cache answers for the part that its
split's name says, or, where it does not have that part's texts, for one whose texts it has. Every
row is found at its place or by its hash, and proved by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import numpy.typing as npt

from logitcache import identity
from logitcache.cache.cache import Cache
from logitcache.data.match import Match
from logitcache.errors import AlignmentError
from logitcache.records import Answers, Float32, Int64, common_positions, end_to_end, same_positions


@dataclass(frozen=True)
class Member:
    """One cache that answers for a part."""

    cache: Cache
    order: Int64 | None  # data_logits = cached_logits[:, order]; None: as they are
    rows: Int64 | None = None  # once located, the cache's row for row i of the part; None: row i

    def take(
        self, row_id: Int64, row_hash: Int64, view: Int64, signals: Sequence[str] = ()
    ) -> Answers:
        """The cache's answers for these rows of the part. Raises AlignmentError."""
        try:
            answers = self.cache.take(self.rows_of(row_id), row_hash, view, signals)
        except AlignmentError:  # it names rows of the cache: asked again, it names these
            answers = self.cache.take(row_id, row_hash, view, signals)
        if self.order is None or not self.cache.has_logits:
            return answers
        return answers.with_logits(answers.logits[:, self.order])

    def rows_of(self, row_id: Int64) -> Int64:
        """The cache's rows for these rows, as far as they were located."""
        # clip: a row behind the located ones gets a wrong row, whose hash does not fit, and is then
        # looked up
        return row_id if self.rows is None else self.rows.take(row_id, mode="clip")

    def located(self, row_id: Int64, row_hash: Int64) -> Member:
        """The same cache, with these rows looked up once. Raises AlignmentError for a text that it
        lacks.
        """
        rows = self.cache.locate(row_id, row_hash)
        if (rows == row_id).all():
            return replace(self, rows=None)
        located = np.arange(row_id.max() + 1)
        located[row_id] = rows
        return replace(self, rows=located)


@dataclass(frozen=True)
class Part:
    """The rows of a training set from ``start`` on, and the caches that answer them (averaged)."""

    name: str
    start: int
    members: tuple[Member, ...]

    @property
    def caches(self) -> tuple[Cache, ...]:
        return tuple(member.cache for member in self.members)

    def take(
        self, row_id: Int64, row_hash: Int64, view: Int64, signals: Sequence[str] = ()
    ) -> Answers:
        """The answers for these rows of the part, at the positions that all of its caches have.
        Raises AlignmentError for a text that is not in every cache.
        """
        first, *further = [member.take(row_id, row_hash, view, signals) for member in self.members]
        if not further:
            return first
        answers = [first, *further]
        if not all(same_positions(first, answers_of_other) for answers_of_other in further):
            shared = common_positions(*answers)
            answers = [answer.select(index) for answer, index in zip(answers, shared, strict=True)]
        return answers[0].with_logits(mean_teacher([answer.logits for answer in answers]))

    def located(self, row_id: Int64, row_hash: Int64) -> Part:
        """The same part, with these rows looked up once. Raises AlignmentError for a text that a
        cache lacks.
        """
        return replace(
            self, members=tuple(member.located(row_id, row_hash) for member in self.members)
        )


@dataclass(frozen=True)
class Joined:
    """What a student learns from: answers of one or many caches, columns in the data's order."""

    parts: tuple[Part, ...]
    match: Match  # of the first cache's columns to the data's classes

    def __str__(self) -> str:
        return ", ".join(cache.where for cache in self.caches)

    def __len__(self) -> int:
        """Rows that saw a teacher, over all caches."""
        return sum(map(len, self.caches))

    @property
    def window(self) -> int | None:
        """How many consecutive rows are best read together: the fewest that a cache names."""
        return min(
            (cache.window for cache in self.caches if cache.window is not None), default=None
        )

    @property
    def temperatures(self) -> tuple[float, ...] | None:
        """The temperatures that the targets of all its caches hold for; None: all."""
        stored = []
        for cache in self.caches:
            if cache.temperatures is not None:
                stored.append(set(cache.temperatures))
        return tuple(sorted(set.intersection(*stored))) if stored else None

    @property
    def has_logits(self) -> bool:
        """Whether each of its caches keeps logits."""
        return all(cache.has_logits for cache in self.caches)

    @property
    def caches(self) -> tuple[Cache, ...]:
        """Each cache once, though it may answer for several parts."""
        caches = {cache.fingerprint: cache for part in self.parts for cache in part.caches}
        return tuple(caches.values())

    @property
    def fingerprint(self) -> str:
        """The cache's own, or a digest of the caches' and the parts they answer for."""
        if len(self.caches) == 1:
            return self.caches[0].fingerprint
        parts = []
        for part in self.parts:
            parts.append([part.name, [cache.fingerprint for cache in part.caches]])
        return identity.digest_json(parts)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the first cache's columns, in the order in which they are answered."""
        return self.match.names

    def take(
        self, row_id: Int64, row_hash: Int64, view: Int64, signals: Sequence[str] = ()
    ) -> Answers:
        """The teachers' answers for these rows in order; rows may repeat. Raises AlignmentError."""
        if len(self.parts) == 1:
            return self.parts[0].take(row_id, row_hash, view, signals)
        answers = []
        indices = []
        for part, index in self.rows_by_part(row_id):
            rows = row_id[index] - part.start
            answers.append(part.take(rows, row_hash[index], view[index], signals))
            indices.append(index)
        return end_to_end(answers).rows(np.argsort(np.concatenate(indices)))

    def located(self, row_id: Int64, row_hash: Int64) -> Joined:
        """The same teachers, with these rows looked up once, so that no step looks for them. Raises
        AlignmentError naming the first row whose text is not in its caches.
        """
        parts = []
        for part, index in self.rows_by_part(row_id):
            parts.append(part.located(row_id[index] - part.start, row_hash[index]))
        return replace(self, parts=tuple(parts))

    def answered(self, row_id: Int64) -> npt.NDArray[np.bool_]:
        """Which of these rows, once located, no teacher has skipped: bool[N]."""
        is_answered = np.ones(len(row_id), bool)
        for part, index in self.rows_by_part(row_id):
            for member in part.members:
                rows = member.rows_of(row_id[index] - part.start)
                is_answered[index] &= ~np.isin(rows, member.cache.skipped)
        return is_answered

    def rows_by_part(self, row_id: Int64) -> list[tuple[Part, Int64]]:
        """Each part, and the places in ``row_id`` of its rows; a negative row is the first's."""
        starts = [part.start for part in self.parts]
        number = np.maximum(np.searchsorted(starts, row_id, side="right") - 1, 0)
        return [(part, np.flatnonzero(number == index)) for index, part in enumerate(self.parts)]


def mean_teacher(logits: Sequence[Float32]) -> Float32:
    """The logits of the mean of several distributions: log of the mean of their probabilities at
    temperature 1, minus the row maximum. f32[B, K] of f32[B, K] each.

    The arithmetic mean of an ensemble's answers (Hinton et al. 2015, who name the geometric one
    beside it); another temperature then softens the mean, as it would soften one teacher's answer.
    """
    from scipy.special import log_softmax  # takes long to load

    total = reduce(np.logaddexp, (log_softmax(answer, axis=1) for answer in logits))
    mean: Float32 = (total - total.max(axis=1, keepdims=True)).astype(np.float32)
    return mean
