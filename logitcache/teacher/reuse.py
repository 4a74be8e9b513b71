"""Answers that an older cache has already: found by the hash of a row's text, copied as they are stored.

A corrected row costs one row. Only a cache of the same teacher, tokenizer, preparation and codec can be used, and only
one whose bytes are those it was made with: a flipped bit must not be copied under a new checksum.
"""

from __future__ import annotations

import numpy as np

from logitcache.cache.cache import Cache
from logitcache.errors import FingerprintMismatch, short
from logitcache.records import Array, Int64
from logitcache.store.manifest import Plan, differences
from logitcache.teacher.plan import NAMES

SAME = ("teacher", "tokenizer", "preparation", "targets")


class Known:
    """The rows of a finished cache, by their hash. Equal texts have equal answers, so which of them is found does not
    matter.
    """

    def __init__(self, cache: Cache) -> None:
        """Raises CorruptShard where the cache's bytes are not those its receipts were made for."""
        faults = cache.verify()
        if faults:
            raise faults[0].error(cache.where)
        self.cache = cache
        hashes = cache.row_hashes()
        self.row_id = np.argsort(hashes, kind="stable").astype(np.int64)
        self.hashes = hashes[self.row_id]

    def check(self, plan: Plan) -> None:
        """Raises FingerprintMismatch where this plan would have other answers than the cache."""
        mine, theirs = ({name: each.to_dict()[name] for name in SAME} for each in (plan, self.cache.manifest.plan))
        for name, there, here in differences(theirs, mine, without=NAMES):
            hint = " (a teacher that was fine-tuned for it is named by its folder)" if "teacher" in name else ""
            raise FingerprintMismatch(
                f"--reuse: expected a cache with {name} = {short(here)}, as in this dump, found {short(there)}. "
                f"Name the same teacher and settings{hint}, or dump without --reuse.",
                where=self.cache.where,
            )

    def find(self, row_hash: Int64) -> Int64:
        """The row_id in the cache of each of these rows, or -1: i64[N]."""
        place = np.searchsorted(self.hashes, row_hash)
        inside = np.minimum(place, len(self.hashes) - 1)
        return np.where(self.hashes[inside] == row_hash, self.row_id[inside], -1)

    def stored(self, row_id: Int64) -> dict[str, Array]:
        """The codec's columns of these rows, as they lie in the cache."""
        return self.cache.stored(row_id)
