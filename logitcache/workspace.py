"""Where things lie when nobody says: one folder for embedded data, tokenizers, caches and runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logitcache import identity
from logitcache.cache import Cache
from logitcache.data.source import UNLABELLED_SPLIT, Rows, Source
from logitcache.errors import LogitCacheError, SpecError
from logitcache.store.manifest import Plan, read_json
from logitcache.store.remote import place

DEFAULT = Path("logitcache-work")
WRITTEN = "what is made is written to this machine. Name a place here, and copy it afterwards"


def here(name: str, advice: str = WRITTEN) -> Path:
    """A place of this machine. Raises SpecError for a URL, which as a path would be a folder called ``s3:``."""
    named = place(name)
    if isinstance(named, str):
        raise SpecError(f"expected a path, found a URL: {advice}.", where=named)
    return named


@dataclass(frozen=True)
class Workspace:
    """Default places under one folder."""

    folder: Path = DEFAULT

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def tokenizers(self) -> Path:
        return self.folder / "tokenizers"

    def cache(self, source: str, split: str, teacher: str, folds: int | None = None) -> Path:
        kind = "" if folds is None else f"-{folds}folds"
        return self.folder / "caches" / f"{_plain(source)}-{split}-{Path(teacher).resolve().name}{kind}"

    def run(self, source: str, method: str, seed: int) -> Path:
        return self.folder / "runs" / _plain(source) / f"{method}-seed{seed}"

    def teacher(self, source: str, checkpoint: str, digest: str) -> Path:
        """Where a teacher lies that was fine-tuned here; ``digest`` is of everything that was asked of it."""
        return self.folder / "teachers" / f"{_plain(source)}-{Path(checkpoint).resolve().name}-{digest}"

    def first_copy(self, asked: Mapping[str, Any]) -> Path:
        """Where Self-KD's first copy lies when the base run of its seed has other settings."""
        return self.folder / "self-kd" / f"copy-{identity.digest_json(asked)[:12]}"

    def self_cache(self, source: Source, split: str, weights: str, max_length: int) -> Path:
        """Where the answers of a Self-KD's first copy lie: apart from ``caches``, where kd looks for a teacher's."""
        names = None if source.label_names is None else list(source.label_names)
        digest = identity.digest_json([source.name, names, source.table(split).digest(), split, weights, max_length])
        return self.folder / "self-kd" / f"cache-{digest[:12]}"

    def find_cache(self, rows: Rows, split: str = "train", source: str | None = None) -> Cache:
        """The one complete cache of these rows; of those dumped under the name ``source``, where one is given. Raises
        SpecError where there is none, or several to choose from; and,
        where there is none but a broken or unfinished one, what is wrong with that.
        """
        digest = rows.digest()
        found: list[Cache] = []
        other: list[Cache] = []
        broken: list[LogitCacheError] = []
        for plan in sorted((self.folder / "caches").glob("*/plan.json")):
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
        where, names = self.folder / "caches", ", ".join(str(c.folder) for c in found or other)
        if found:
            raise SpecError(
                f"expected one cache of these {split} rows, found {len(found)}: {names}. Choose one with --cache"
                f"{_or_average(found)}.",
                where=where,
            )
        how = " --unlabelled FILE" if split == UNLABELLED_SPLIT else ""
        more = f", only caches of other rows: {names}" if other else ""
        raise SpecError(
            f"expected a cache of these {split} rows, found none{more}. "
            f"Make one: logitcache dump --teacher TEACHER --data DATA{how}, or name one with --cache.",
            where=where,
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


def _plain(source: str) -> str:
    """A hub name as one folder's name."""
    return re.sub(r"[/:@]", "-", source)
