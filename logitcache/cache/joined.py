"""Several caches as one teacher: the parts of a training set side by side, and teachers averaged.

A student may learn from two parts, the rows of ``train`` and those of ``unlabelled``; in training,
the second part's rows are numbered behind the first's. A cache answers for the part that its
split's name says, or, where it does not have that part's texts, for one whose texts it has. Every
row is found at its place or by its hash, and proved by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from logitcache import identity
from logitcache.cache.cache import Cache
from logitcache.data.match import Kind, Match, match_labels
from logitcache.data.names import listed
from logitcache.data.source import UNLABELLED_SPLIT, Rows
from logitcache.data.tasks.classification import Classification
from logitcache.errors import AlignmentError, FingerprintMismatch, SpecError
from logitcache.records import Answers, Float32, Int64, common_positions, end_to_end, same_positions
from logitcache.targets.sparse import SparseCodec
from logitcache.targets.table import named


@dataclass(frozen=True)
class Member:
    """One cache that answers for a part."""

    cache: Cache
    order: Int64 | None  # data_logits = cached_logits[:, order]; None: as they are
    rows: Int64 | None = None  # once located, the cache's row for row i of the part; None: row i

    def take(self, row_id: Int64, row_hash: Int64, view: Int64) -> Answers:
        """The cache's answers for these rows of the part. Raises AlignmentError."""
        try:
            answers = self.cache.take(self.rows_of(row_id), row_hash, view)
        except AlignmentError:  # it names rows of the cache: asked again, it names these
            answers = self.cache.take(row_id, row_hash, view)
        return answers if self.order is None else answers.with_logits(answers.logits[:, self.order])

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
    """The rows of a training set from ``start`` on, and the caches that answer for them; several
    are averaged.
    """

    name: str
    start: int
    members: tuple[Member, ...]

    @property
    def caches(self) -> tuple[Cache, ...]:
        return tuple(member.cache for member in self.members)

    def take(self, row_id: Int64, row_hash: Int64, view: Int64) -> Answers:
        """The answers for these rows of the part, at the positions that all of its caches have.
        Raises AlignmentError for a text that is not in every cache.
        """
        first, *others = [member.take(row_id, row_hash, view) for member in self.members]
        if not others:
            return first
        answers = [first, *others]
        if not all(same_positions(first, other) for other in others):
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
    """What a student learns from: answers like a cache, from one or many, with columns in the
    data's order.
    """

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
        stored = [
            set(cache.temperatures) for cache in self.caches if cache.temperatures is not None
        ]
        return tuple(sorted(set.intersection(*stored))) if stored else None

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
        return identity.digest_json(
            [[part.name, [cache.fingerprint for cache in part.caches]] for part in self.parts]
        )

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the first cache's columns, in the order in which they are answered."""
        return self.match.names

    def take(self, row_id: Int64, row_hash: Int64, view: Int64) -> Answers:
        """The teachers' answers for these rows, in this order; rows may repeat. Raises
        AlignmentError.
        """
        if len(self.parts) == 1:
            return self.parts[0].take(row_id, row_hash, view)
        parts = self.rows_by_part(row_id)
        answers = [
            part.take(row_id[index] - part.start, row_hash[index], view[index])
            for part, index in parts
        ]
        order = np.concatenate([index for _, index in parts])
        return end_to_end(answers).rows(np.argsort(order))

    def located(self, row_id: Int64, row_hash: Int64) -> Joined:
        """The same teachers, with these rows looked up once, so that no step looks for them. Raises
        AlignmentError naming the first row whose text is not in its caches.
        """
        parts = [
            part.located(row_id[index] - part.start, row_hash[index])
            for part, index in self.rows_by_part(row_id)
        ]
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
        """Each part, and the places in ``row_id`` of its rows; a negative row is the first part's
        to refuse.
        """
        starts = [part.start for part in self.parts]
        number = np.maximum(np.searchsorted(starts, row_id, side="right") - 1, 0)
        return [(part, np.flatnonzero(number == index)) for index, part in enumerate(self.parts)]


def mean_teacher(logits: Sequence[Float32]) -> Float32:
    """The logits of the mean of several distributions: log of the mean of their probabilities at
    temperature 1, minus the row maximum. f32[B, K] of f32[B, K] each.

    The arithmetic mean of an ensemble's answers (Hinton et al. 2015, who name the geometric one
    beside it); another temperature then softens the mean, as it would soften one teacher's answer.
    """
    total = reduce(np.logaddexp, (log_softmax(answer, axis=1) for answer in logits))
    mean: Float32 = (total - total.max(axis=1, keepdims=True)).astype(np.float32)
    return mean


def join(
    caches: Sequence[Cache],
    starts: dict[str, int],
    teachers: str | None = None,
    *,
    task: Classification | None = None,
    label_map: Mapping[str, str] | None = None,
    rows: Rows | None = None,
) -> Joined:
    """Give every part of a training set its caches: ``starts`` names the parts and their first
    rows, in order.

    A cache answers for the part that its split's name says; with ``rows`` (of the whole training
    set, numbered as ``starts`` says), one that lacks texts of that part, but has all of another's,
    answers for that. ``teachers``: ``mean`` averages several caches of one part; in which order
    they are named changes nothing. Columns follow names into the order of ``task`` (None: that of
    the first cache), by ``label_map`` where that says so. Raises SpecError for a part without a
    cache, a cache without a part, or several for one part that nobody asked to average;
    FingerprintMismatch for other labels.
    """
    return join_parts(
        assigned(caches, starts, rows), starts, teachers, task=task, label_map=label_map
    )


def join_parts(
    answering: Mapping[str, Sequence[Cache]],
    starts: dict[str, int],
    teachers: str | None = None,
    *,
    task: Classification | None = None,
    label_map: Mapping[str, str] | None = None,
) -> Joined:
    """:func:`join`, where it is known which caches answer for which part."""
    _check_counts(answering, teachers)
    for caches in answering.values():
        fingerprints = set()
        for cache in caches:
            if cache.fingerprint in fingerprints:
                raise SpecError(
                    expected="different caches",
                    found="this one twice",
                    advice="Leave one out.",
                    where=cache.folder,
                )
            fingerprints.add(cache.fingerprint)
    _check_same_teachers(answering)
    ordered = {
        name: sorted(caches, key=lambda cache: cache.fingerprint)
        for name, caches in answering.items()
    }
    first = ordered[next(iter(starts))][0]
    task = task or Classification(len(first.label_names), first.label_names)
    for cache in chain(*ordered.values()):
        if cache.manifest.plan.task != task.name:
            raise FingerprintMismatch(
                expected=f"answers to {task.name}, as the data is for",
                found=f"answers to {cache.manifest.plan.task}",
                advice="Name a cache of this task, or give --task.",
                where=cache.where,
            )
    match = match_labels(first.label_names, task, str(first.where), label_map, who="cache")
    parts = []
    for name, start in starts.items():
        members = []
        for cache in ordered[name]:
            order = _like(first, cache)[match.order]
            is_permuted = (order != np.arange(len(order))).any()
            members.append(Member(cache, order if is_permuted else None))
        parts.append(Part(name, start, tuple(members)))
    _check_codecs(parts)
    return Joined(tuple(parts), match)


def assigned(
    caches: Sequence[Cache], starts: dict[str, int], rows: Rows | None
) -> dict[str, list[Cache]]:
    """Which caches answer for which part: by the names of their splits, and with ``rows`` by the
    texts they have. Raises SpecError for a cache of unlabelled rows where there are none.
    """
    texts = {} if rows is None else by_part(rows, starts)
    answering: dict[str, list[Cache]] = {name: [] for name in starts}
    for cache in caches:
        answering[_part_for(cache, list(starts), texts)].append(cache)
    for name, (row_id, row_hash) in texts.items():
        if not answering[name]:
            answering[name] = [cache for cache in caches if _has(cache, row_id, row_hash)]
    return answering


def by_part(rows: Rows, starts: dict[str, int]) -> dict[str, tuple[Int64, Int64]]:
    """The row_id, counted from the part's start, and the hashes of the rows of each part."""
    number = np.searchsorted(list(starts.values()), rows.row_id, side="right") - 1
    return {
        name: (rows.row_id[number == part] - starts[name], rows.row_hash[number == part])
        for part, name in enumerate(starts)
    }


def _has(cache: Cache, row_id: Int64, row_hash: Int64) -> bool:
    return bool((cache.lookup(row_id, row_hash) >= 0).all())


def _part_for(cache: Cache, parts: list[str], texts: Mapping[str, tuple[Int64, Int64]]) -> str:
    """The part that a cache answers for: that of its split's name, unless it has all texts of
    another part alone.
    """
    split = str(cache.manifest.plan.data.get("split"))
    own = UNLABELLED_SPLIT if split == UNLABELLED_SPLIT else "train"
    if parts == [own] or (own in texts and _has(cache, *texts[own])):
        return own
    for name, rows in texts.items():
        if _has(cache, *rows):
            return name
    if own not in parts:
        raise SpecError(
            f"it answers for unlabelled rows (split {split!r}), and none were named",
            advice="Name them with --unlabelled.",
            where=cache.where,
        )
    return own


def _check_counts(answering: Mapping[str, Sequence[Cache]], teachers: str | None) -> None:
    for name, caches in answering.items():
        folders = ", ".join(cache.where for cache in caches)
        if not caches:
            raise SpecError(
                expected=f"a cache of the {name} rows",
                found="none",
                advice="Name it with --cache, or dump them.",
            )
        if len(caches) > 1 and teachers != "mean":
            raise SpecError(
                expected=f"one cache of the {name} rows",
                found=f"{len(caches)}: {folders}",
                advice="Leave the others out, or average them with --teachers mean.",
            )
    if teachers == "mean" and all(len(caches) == 1 for caches in answering.values()):
        raise SpecError(
            expected="several caches of the same rows",
            found="one",
            advice="Name each with --cache.",
            where="--teachers mean",
        )


def _check_same_teachers(answering: Mapping[str, Sequence[Cache]]) -> None:
    """Raises SpecError unless the same teachers are averaged in all parts: else labelled and
    unlabelled rows would have different teachers.
    """
    if max(map(len, answering.values()), default=1) < 2:
        return
    folders = {_teacher(cache): cache.folder for cache in chain(*answering.values())}
    for name, caches in answering.items():
        present = {_teacher(cache) for cache in caches}
        for teacher, folder in folders.items():
            if teacher not in present:
                raise SpecError(
                    f"expected the same teachers for all rows; the {name} rows lack the teacher of {folder}",
                    advice="Dump them with it too, or leave that cache out.",
                    where="--teachers mean",
                )


def _check_codecs(parts: Sequence[Part]) -> None:
    """Raises SpecError for targets that cannot be put together: some words of each position
    averaged, or in another order of columns; parts whose targets a loss would have to read in two
    ways.
    """
    for member in chain(*(part.members for part in parts)):
        if not isinstance(member.cache.codec, SparseCodec):
            continue
        if max(len(part.members) for part in parts) > 1:
            raise SpecError(
                expected="caches of all logits, which can be averaged",
                found=named(member.cache.codec.to_dict()),
                advice="Dump with --codec float16, or leave --teachers mean and the other caches out.",
                where=member.cache.where,
            )
        if member.order is not None:
            raise SpecError(
                expected="columns in the order of the data's classes, as its codec keeps some of them alone",
                found=listed(member.cache.label_names),
                advice="Dump this data again (into a new --out): its cache has the data's order.",
                where=member.cache.where,
            )
    single = [part.members[0].cache for part in parts if len(part.members) == 1]
    for cache in single[1:]:
        first = _reading(single[0])
        for name, value in _reading(cache).items():
            if value != first[name]:
                codec = named(single[0].codec.to_dict())
                raise SpecError(
                    expected=f"targets like those of {single[0].where} ({codec})",
                    found=f"{named(cache.codec.to_dict())}, of another {name}",
                    advice=f"Dump all parts with the same --codec, as {codec}.",
                    where=cache.where,
                )


def _reading(cache: Cache) -> dict[str, object]:
    """What a loss reads a cache's targets by."""
    plan, codec = cache.manifest.plan, cache.codec.to_dict()
    names = ("kind", "width", "temperature", "tail", "k")
    return {
        **{name: codec.get(name) for name in names},
        "tensors": plan.tensors and plan.tensors.to_dict(),
    }


def _teacher(cache: Cache) -> str:
    recorded = cache.manifest.plan.teacher
    return identity.digest_json(
        {key: recorded.get(key) for key in ("weights", "settings", "folds", "dtype")}
    )


def _like(first: Cache, cache: Cache) -> Int64:
    """The columns of a cache in the order of the first one's, by their names: i64[K]. Raises
    FingerprintMismatch.
    """
    names = first.label_names
    if cache.label_names == names:
        return np.arange(len(names))
    refusal = FingerprintMismatch(
        expected=f"the labels of {first.where} ({listed(names)})",
        found=listed(cache.label_names),
        advice="Dump both for the same data, with the same --labels.",
        where=cache.where,
    )
    try:
        match = match_labels(
            cache.label_names, Classification(len(names), names), str(cache.where), who="cache"
        )
    except FingerprintMismatch:
        raise refusal from None
    if match.kind is Kind.NUMBERED and not match.numbers_alone:
        raise refusal
    return match.order
