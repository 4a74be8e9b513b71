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
from logitcache.store.manifest import Plan, read_json


def self_cache(workspace: Workspace, source: Source, split: str, weights: str, max_length: int) -> Path:
    """Folder of the answers of Self-KD's first copy, by everything they depend on."""
    names = None if source.label_names is None else list(source.label_names)
    digest = identity.digest_json([source.name, names, source.table(split).digest(), split, weights, max_length])
    return workspace.self_kd / f"cache-{digest[:12]}"


def find_cache(workspace: Workspace, rows: Rows, split: str = "train", source: str | None = None) -> Cache:
    """The one complete cache of these rows; of those dumped under the name ``source``, where one is given.

    Raises SpecError where there is none, or several to choose from; and where there is none but a broken or unfinished
    one, what is wrong with that.
    """
    digest = rows.digest()
    found: list[Cache] = []
    other: list[Cache] = []
    broken: list[LogitCacheError] = []
    for plan in sorted(workspace.caches.glob("*/plan.json")):
        data = _data_of(plan)
        kind = (data.get("split") == UNLABELLED_SPLIT) == (split == UNLABELLED_SPLIT)
        mine = kind and data.get("digest") == digest and source in (None, data.get("source"))
        try:
            (found if mine else other).append(Cache.open(plan.parent))
        except LogitCacheError as error:
            broken += [error.at(plan.parent)] if mine else []
    if len(found) == 1:
        return found[0]
    if broken and not found:
        raise broken[0]
    names = ", ".join(str(c.folder) for c in found or other)
    if found:
        raise SpecError(
            expected=f"one cache of these {split} rows",
            found=f"{len(found)}: {names}",
            advice=f"Choose one with --cache{_or_average(found)}.",
            where=workspace.caches,
        )
    how = " --unlabelled FILE" if split == UNLABELLED_SPLIT else ""
    more = f", only caches of other rows: {names}" if other else ""
    raise SpecError(
        expected=f"a cache of these {split} rows",
        found=f"none{more}",
        advice=f"Make one: logitcache dump --teacher TEACHER --data DATA{how}, or name one with --cache.",
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
