"""Answers that an older cache has already: found by the hash of a row's text, copied as they are stored.

A corrected row costs one row. Only a cache of the same teacher, tokenizer, preparation and codec can be used, and only
one whose bytes are those it was made with: a flipped bit must not be copied under a new checksum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from logitcache.cache import Cache
from logitcache.errors import FingerprintMismatch
from logitcache.records import Array, Int64
from logitcache.store.manifest import Plan

SAME = ("teacher", "tokenizer", "preparation", "targets")
NAMES = ("name", "revision")  # a teacher is its weights, whatever it is called


class Known:
    """The rows of a finished cache, by their hash. Equal texts have equal answers, so which of them is found does not
    matter.
    """

    def __init__(self, cache: Cache) -> None:
        """Raises CorruptShard where the cache's bytes are not those its receipts were made for."""
        faults = cache.verify()
        if faults:
            raise faults[0]
        self.cache = cache
        hashes = cache.row_hashes()
        self.row_id = np.argsort(hashes, kind="stable").astype(np.int64)
        self.hashes = hashes[self.row_id]

    def check(self, plan: Plan) -> None:
        """Raises FingerprintMismatch where this plan would have other answers than the cache."""
        mine, theirs = plan.to_dict(), self.cache.manifest.plan.to_dict()
        for field in SAME:
            difference = _first_difference(_unnamed(theirs[field]), _unnamed(mine[field]), field)
            if difference is not None:
                name, there, here = difference
                hint = " (a teacher that was fine-tuned for it is named by its folder)" if field == "teacher" else ""
                raise FingerprintMismatch(
                    f"--reuse: expected a cache with {name} = {_short(here)}, as in this dump, found {_short(there)}. "
                    f"Name the same teacher and settings{hint}, or dump without --reuse.",
                    where=self.cache.folder,
                )

    def find(self, row_hash: Int64) -> Int64:
        """The row_id in the cache of each of these rows, or -1: i64[N]."""
        place = np.searchsorted(self.hashes, row_hash)
        inside = np.minimum(place, len(self.hashes) - 1)
        return np.where(self.hashes[inside] == row_hash, self.row_id[inside], -1)

    def stored(self, row_id: Int64) -> dict[str, Array]:
        """The codec's columns of these rows, as they lie in the cache."""
        return self.cache.stored(row_id)


def _unnamed(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in value.items() if key not in NAMES}


def _first_difference(there: Any, here: Any, name: str) -> tuple[str, Any, Any] | None:
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        parts = (_first_difference(there.get(k), here.get(k), f"{name}.{k}") for k in sorted({*there, *here}))
        return next((part for part in parts if part is not None), None)
    return None if _plain(there) == _plain(here) else (name, there, here)


def _plain(value: Any) -> Any:
    """A value as JSON gives it back: tuples are lists there."""
    return list(value) if isinstance(value, tuple) else value


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"
