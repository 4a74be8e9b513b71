"""Where things lie when nobody says: one folder for embedded data, tokenizers, caches and runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logitcache import identity
from logitcache.cache import Cache
from logitcache.data.source import Rows
from logitcache.errors import LogitCacheError, SpecError

DEFAULT = Path("logitcache-work")


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

    def cache(self, source: str, split: str, teacher: str) -> Path:
        return self.folder / "caches" / f"{source}-{split}-{Path(teacher).name}"

    def run(self, source: str, method: str, seed: int) -> Path:
        return self.folder / "runs" / source / f"{method}-seed{seed}"

    def first_copy(self, asked: Mapping[str, Any]) -> Path:
        """Where Self-KD's first copy lies when the base run of its seed has other settings."""
        return self.folder / "self-kd" / f"copy-{identity.digest_json(asked)[:12]}"

    def self_cache(self, rows: Rows, weights: str, max_length: int) -> Path:
        """Where the answers of a Self-KD's first copy lie: apart from ``caches``, where kd looks for a teacher's."""
        return self.folder / "self-kd" / f"cache-{identity.digest_json([rows.digest(), weights, max_length])[:12]}"

    def find_cache(self, rows: Rows) -> Cache:
        """The one complete cache of these rows. Raises SpecError where there is none, or several to choose from."""
        found: list[Cache] = []
        other: list[Cache] = []
        for manifest in sorted((self.folder / "caches").glob("*/manifest.json")):
            try:
                cache = Cache.open(manifest.parent)
            except LogitCacheError:
                continue  # a broken cache is no candidate; opened by name, it says what is wrong
            (found if cache.manifest.plan.data.get("digest") == rows.digest() else other).append(cache)
        if len(found) == 1:
            return found[0]
        where, names = self.folder / "caches", ", ".join(str(c.folder) for c in found or other)
        if found:
            raise SpecError(
                f"expected one cache of these rows, found {len(found)}: {names}. Choose one with --cache.", where=where
            )
        more = f", only caches of other rows: {names}" if other else ""
        raise SpecError(
            f"expected a cache of these rows, found none{more}. "
            "Make one: logitcache dump --teacher TEACHER --data DATA, or name one with --cache.",
            where=where,
        )
