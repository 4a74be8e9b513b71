"""Which caches answer for which part of a training set, and whether they fit together.

A cache answers for the part that its split's name says, or, where it does not have that part's
texts, for one whose texts it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from logitcache import identity
from logitcache.cache.cache import Cache
from logitcache.cache.joined import Joined, Member, Part
from logitcache.cache.signals import missing
from logitcache.data.match import Kind, match_labels
from logitcache.data.names import listed
from logitcache.data.source import UNLABELLED_SPLIT, Rows
from logitcache.data.tasks.classification import Classification
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.records import Int64
from logitcache.targets.sparse import SparseCodec
from logitcache.targets.table import named


def join(
    caches: Sequence[Cache],
    starts: dict[str, int],
    teachers: str | None = None,
    *,
    task: Classification | None = None,
    label_map: Mapping[str, str] | None = None,
    rows: Rows | None = None,
) -> Joined:
    """Give every part of a training set its caches: ``starts`` has the parts and their first rows.

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
                    found="the same cache twice",
                    advice="Leave one out.",
                    where=cache.folder,
                )
            fingerprints.add(cache.fingerprint)
    _check_same_teachers(answering)
    ordered = {}
    for name, caches in answering.items():
        ordered[name] = sorted(caches, key=lambda cache: cache.fingerprint)
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
            order = _column_order(first, cache)[match.order]
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
            answering[name] = [cache for cache in caches if _has_all_texts(cache, row_id, row_hash)]
    return answering


def by_part(rows: Rows, starts: dict[str, int]) -> dict[str, tuple[Int64, Int64]]:
    """The row_id, counted from the part's start, and the hashes of the rows of each part."""
    number = np.searchsorted(list(starts.values()), rows.row_id, side="right") - 1
    rows_by_part = {}
    for part, (name, start) in enumerate(starts.items()):
        is_of_part = number == part
        rows_by_part[name] = (rows.row_id[is_of_part] - start, rows.row_hash[is_of_part])
    return rows_by_part


def _has_all_texts(cache: Cache, row_id: Int64, row_hash: Int64) -> bool:
    return bool((cache.lookup(row_id, row_hash) >= 0).all())


def _part_for(cache: Cache, parts: list[str], texts: Mapping[str, tuple[Int64, Int64]]) -> str:
    """The part that a cache answers for: its split's, unless another alone has all its texts."""
    split = str(cache.manifest.plan.data.get("split"))
    own = UNLABELLED_SPLIT if split == UNLABELLED_SPLIT else "train"
    if parts == [own] or (own in texts and _has_all_texts(cache, *texts[own])):
        return own
    for name, rows in texts.items():
        if _has_all_texts(cache, *rows):
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
    folders = {teacher_digest(cache): cache.folder for cache in chain(*answering.values())}
    for name, caches in answering.items():
        present = set(map(teacher_digest, caches))
        for teacher, folder in folders.items():
            if teacher not in present:
                raise SpecError(
                    f"expected the same teachers for all rows; the {name} rows lack the teacher of {folder}",
                    advice="Dump them with it too, or leave that cache out.",
                    where="--teachers mean",
                )


def _check_codecs(parts: Sequence[Part]) -> None:
    """Raises SpecError for targets that cannot be put together: some words of each position
    averaged or reordered; parts whose targets a loss would have to read in two ways.
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


def check_signals(joined: Joined, names: Sequence[str]) -> None:
    """Raises SpecError for signals of these names that cannot be put together: of several teachers
    of one part, or, in another part, of another teacher or in another type.
    """
    for part in joined.parts:
        if len(part.members) > 1:
            raise SpecError(
                expected=f"one cache of the {part.name} rows",
                found=len(part.members),
                reason="vectors of different teachers cannot be averaged",
                advice="Leave --teachers mean and the other caches out.",
                where=", ".join(names),
            )
    first = joined.caches[0]
    for cache in joined.caches[1:]:
        if teacher_digest(cache) != teacher_digest(first):
            raise SpecError(
                expected=f"vectors of the teacher of {first.where}, as all rows have one",
                found="those of another",
                advice="Dump these rows with that teacher, or leave this cache out.",
                where=cache.where,
            )
        for name in names:
            if name not in cache.signals:
                raise missing(cache, name)
            codec = cache.signals[name].codec
            expected = first.signals[name].codec
            if codec != expected:
                raise SpecError(
                    expected=f"{name} as in {first.where} ({named(expected.to_dict())})",
                    found=named(codec.to_dict()),
                    advice="Dump all parts with the same --signal.",
                    where=cache.where,
                )


def _reading(cache: Cache) -> dict[str, object]:
    """What a loss reads a cache's targets by."""
    codec = cache.codec.to_dict()
    reading: dict[str, object] = {}
    for name in ("kind", "width", "temperature", "tail", "k"):
        reading[name] = codec.get(name)
    tensors = cache.manifest.plan.tensors
    reading["tensors"] = None if tensors is None else tensors.to_dict()
    return reading


def teacher_digest(cache: Cache) -> str:
    """What tells the teacher of a cache from others. Answers that existed already have no weights
    but themselves, which are others for each part: their name is what they are called in all.
    """
    recorded = cache.manifest.plan.teacher
    fields: tuple[str, ...] = ("weights", "settings", "folds", "dtype")
    if cache.manifest.plan.preprocessor.get("kind") == "none":
        fields = ("name",)
    return identity.digest_json({key: recorded.get(key) for key in fields})


def _column_order(first: Cache, cache: Cache) -> Int64:
    """A cache's columns in the first one's order, by name: i64[K]. Raises FingerprintMismatch."""
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
