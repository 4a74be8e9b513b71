"""Caches in a workspace: where Self-KD's lie, and the one that answers for some rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logitcache import identity
from logitcache.cache.cache import Cache
from logitcache.config.workspace import Workspace
from logitcache.data.source import UNLABELLED_SPLIT, Rows, Source
from logitcache.errors import LogitCacheError, SpecError
from logitcache.records import Int64
from logitcache.store.manifest import Plan, read_json
from logitcache.teacher.reuse import apart


def self_cache(workspace: Workspace, source: Source, split: str, weights: str, max_length: int) -> Path:
    """Folder of the answers of Self-KD's first copy, by everything they depend on."""
    names = None if source.label_names is None else list(source.label_names)
    digest = identity.digest_json([source.name, names, source.table(split).digest(), split, weights, max_length])
    return workspace.self_kd / f"cache-{digest[:12]}"


def find_cache(
    workspace: Workspace,
    table: Rows,
    split: str = "train",
    source: str | None = None,
    texts: Int64 | None = None,
) -> Cache:
    """The one complete cache of a table; else one that has every text that is needed, whatever table it was made of. Of
    those dumped under the name ``source``, where one is given.

    ``texts``: the hashes of the rows that are needed; None: all of the table's. Raises SpecError where there is none,
    or several to choose from; and where the only one of the table is broken or unfinished, what is wrong with that.
    """
    digest = table.digest()
    is_unlabelled = split == UNLABELLED_SPLIT
    of_table: list[Cache] = []
    others: list[Cache] = []
    broken: list[LogitCacheError] = []
    for path in sorted(workspace.caches.glob("*/plan.json")):
        data = _data_of(path)
        is_called = source in (None, data.get("source"))
        is_same_part = _is_unlabelled(data) == is_unlabelled
        is_of_table = is_called and is_same_part and data.get("digest") == digest
        try:
            cache = Cache.open(path.parent)
        except LogitCacheError as error:
            if is_of_table:
                broken.append(error.at(path.parent))
            continue
        if is_of_table:
            of_table.append(cache)
        elif is_called:
            others.append(cache)
    if len(of_table) == 1:
        return of_table[0]
    if of_table:
        raise _ambiguous(of_table, split, workspace)
    if broken:
        raise broken[0]
    complete = _with_all_texts(others, table.row_hash if texts is None else texts, split, workspace)
    if any(_answers_differ(complete[0], cache) for cache in complete):
        raise _ambiguous(complete, split, workspace)
    complete.sort(key=lambda cache: (len(cache), cache.fingerprint))
    return min(complete, key=lambda cache: _is_unlabelled(cache.manifest.plan.data) != is_unlabelled)


def _with_all_texts(caches: list[Cache], texts: Int64, split: str, workspace: Workspace) -> list[Cache]:
    """The caches that have every text. Raises SpecError where there is none: of the caches that can be read, the one
    that has most of the texts is named; CorruptShard where one cannot be read.
    """
    counts: list[int] = []
    readable: list[Cache] = []
    broken: list[LogitCacheError] = []
    for cache in caches:
        try:
            counts.append(int((cache.find(texts) >= 0).sum()))
        except LogitCacheError as error:
            broken.append(error)
        else:
            readable.append(cache)
    most = max(counts, default=0)
    complete = [cache for cache, count in zip(readable, counts, strict=True) if count == len(texts)]
    if complete:
        return complete
    if broken:
        raise broken[0]
    names = ", ".join(str(cache.folder) for cache in caches)
    found = f"none, only caches of other rows: {names}" if caches else "none"
    how = " --unlabelled FILE" if split == UNLABELLED_SPLIT else ""
    dump = f"logitcache dump --teacher TEACHER --data DATA{how}"
    advice = f"Make one: {dump}, or name one with --cache."
    if most:
        best = readable[counts.index(most)].folder
        found = f"{found}; {best} has {most:,} of {len(texts):,} texts"
        advice = f"Ask about the others alone: {dump} --reuse {best} --out FOLDER, and name that with --cache."
    raise SpecError(expected=f"a cache of these {split} rows", found=found, advice=advice, where=workspace.caches)


def _answers_differ(one: Cache, other: Cache) -> bool:
    """Whether two caches are of different teachers, or of one that was asked in different ways."""
    return any(True for _ in apart(one.manifest.plan, other.manifest.plan))


def _is_unlabelled(data: Mapping[str, Any]) -> bool:
    return bool(data.get("split") == UNLABELLED_SPLIT)


def _ambiguous(caches: list[Cache], split: str, workspace: Workspace) -> SpecError:
    names = ", ".join(str(cache.folder) for cache in caches)
    return SpecError(
        expected=f"one cache of these {split} rows",
        found=f"{len(caches)}: {names}",
        advice=f"Choose one with --cache{_or_average(caches)}.",
        where=workspace.caches,
    )


def _data_of(plan: Path) -> Mapping[str, Any]:
    """What a plan says of its data; nothing, where it cannot be read."""
    try:
        return Plan.from_dict(read_json(plan)).data
    except (LogitCacheError, OSError):
        return {}


def _or_average(caches: list[Cache]) -> str:
    """Averaging is no way to choose between a teacher that saw its rows and those that did not."""
    if len({"folds" in cache.manifest.plan.teacher for cache in caches}) > 1:
        return " (the one with folds has no row that was answered by a teacher trained on it)"
    return ", or name each and average them with --teachers mean"
