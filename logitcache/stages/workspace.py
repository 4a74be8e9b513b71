"""Caches in a workspace: the folder of Self-KD's, and the cache that answers some rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logitcache import identity
from logitcache.cache.cache import Cache
from logitcache.cache.index import is_worth_reuse
from logitcache.config.workspace import Workspace
from logitcache.data.source import UNLABELLED_SPLIT, Rows, Source
from logitcache.data.tasks.classification import Classification
from logitcache.errors import LogitCacheError, SpecError
from logitcache.records import Int64
from logitcache.store.json_files import read_json
from logitcache.store.manifest import Plan
from logitcache.teacher.reuse import apart


def self_cache(
    workspace: Workspace, source: Source, split: str, weights: str, max_length: int
) -> Path:
    """Folder of the answers of Self-KD's first copy, named by everything that they depend on."""
    names = None if source.label_names is None else list(source.label_names)
    digest = identity.digest_json(
        [source.name, names, source.table(split).digest(), split, weights, max_length]
    )
    return workspace.self_kd / f"cache-{digest[:12]}"


def find_cache(
    workspace: Workspace,
    table: Rows,
    split: str = "train",
    source: str | None = None,
    texts: Int64 | None = None,
    task: str = Classification.name,
    options: str = "",
) -> Cache:
    """The one complete cache of a table; else one of another table that has every text needed. Only
    caches of ``task`` count, and with ``source`` only those that were dumped under this name.

    ``texts``: hashes of the rows that are needed; None for all of the table. ``options`` are those
    of the dump that is advised where there is none. Raises SpecError where
    there is no such cache, or several to choose from; and the error of the table's only cache where
    that is broken or unfinished.
    """
    digest = table.digest()
    is_unlabelled = split == UNLABELLED_SPLIT
    of_table: list[Cache] = []
    of_other_tables: list[Cache] = []
    broken: list[LogitCacheError] = []
    for path in sorted(workspace.caches.glob("*/plan.json")):
        plan = _plan(path)
        if plan is not None and plan.task != task:
            continue
        data = {} if plan is None else plan.data
        is_of_source = source in (None, data.get("source"))
        is_same_part = _is_unlabelled(data) == is_unlabelled
        is_of_table = is_of_source and is_same_part and data.get("digest") == digest
        try:
            cache = Cache.open(path.parent)
        except LogitCacheError as error:
            if is_of_table:
                broken.append(error.at(path.parent))
            continue
        if is_of_table:
            of_table.append(cache)
        elif is_of_source:
            of_other_tables.append(cache)
    if len(of_table) == 1:
        return of_table[0]
    if of_table:
        raise _ambiguous(of_table, split, workspace)
    if broken:
        raise broken[0]
    if texts is None:
        texts = table.row_hash
    complete = _with_all_texts(of_other_tables, texts, split, workspace, options)
    for cache in complete:
        if any(apart(complete[0].manifest.plan, cache.manifest.plan)):
            raise _ambiguous(complete, split, workspace)
    complete.sort(key=lambda cache: (len(cache), cache.fingerprint))
    return min(
        complete, key=lambda cache: _is_unlabelled(cache.manifest.plan.data) != is_unlabelled
    )


def _with_all_texts(
    caches: list[Cache], texts: Int64, split: str, workspace: Workspace, options: str
) -> list[Cache]:
    """The caches that have every text. Raises SpecError where there is none: of the caches that can
    be read, the one that has most of the texts is named; CorruptShard where one cannot be read.
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
    largest = max(counts, default=0)
    complete = [cache for cache, count in zip(readable, counts, strict=True) if count == len(texts)]
    if complete:
        return complete
    if broken:
        raise broken[0]
    names = ", ".join(str(cache.folder) for cache in caches)
    result = f"none, only caches of other rows: {names}" if caches else "none"
    unlabelled = " --unlabelled FILE" if split == UNLABELLED_SPLIT else ""
    dump = f"logitcache dump{options} --teacher TEACHER --data DATA{unlabelled}"
    advice = f"Make one: {dump}, or name one with --cache."
    best_cache = readable[counts.index(largest)] if largest else None
    if best_cache is not None and is_worth_reuse(
        best_cache.manifest.plan.teacher, largest / len(texts)
    ):
        best = best_cache.folder
        result = f"{result}; {best} has {largest:,} of {len(texts):,} texts"
        advice = f"Ask about the others alone: {dump} --reuse {best} --out FOLDER, and name that with --cache."
    raise SpecError(
        expected=f"a cache of these {split} rows",
        found=result,
        advice=advice,
        where=workspace.caches,
    )


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


def _plan(path: Path) -> Plan | None:
    """A cache's plan; None where it cannot be read."""
    try:
        return Plan.from_dict(read_json(path))
    except (LogitCacheError, OSError):
        return None


def _or_average(caches: list[Cache]) -> str:
    """More advice: averages make sense only if all or none of the teachers saw the rows."""
    if len({"folds" in cache.manifest.plan.teacher for cache in caches}) > 1:
        return " (the one with folds has no row that was answered by a teacher trained on it)"
    return ", or name each and average them with --teachers mean"
