"""Answers that an older cache has already: found by a row's hash, copied as stored.

A corrected row costs one row. Only a cache of the same teacher, tokenizer, preparation and codec
can be used, and only one whose bytes are those it was made with: no damage may get a new checksum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from logitcache.cache.cache import Cache
from logitcache.cache.layout import EVERY_TOKEN
from logitcache.cache.signals import stored
from logitcache.errors import FingerprintMismatch, short
from logitcache.records import Array, Int64
from logitcache.store.manifest import Plan, differences, display_name
from logitcache.teacher.dump_job import NAMES

SAME = ("task", "teacher", "preprocessor", "preparation", "targets")


def apart(expected: Plan, actual: Plan) -> Iterator[tuple[str, Any, Any]]:
    """The fields in which the answers of two plans differ but names: (field, expected, actual)."""
    yield from differences(_answering(expected), _answering(actual), without=NAMES)


def _answering(plan: Plan) -> dict[str, Any]:
    """What a plan's answers depend on."""
    document = plan.to_dict()
    return {name: document[name] for name in SAME}


class OlderCache:
    """The rows of a finished cache, by their hash. Equal texts have equal answers, so which of them
    is found does not matter.
    """

    def __init__(self, cache: Cache) -> None:
        """Raises CorruptShard where the cache's bytes are not those its receipts were made for."""
        faults = cache.verify()
        if faults:
            raise faults[0].error(cache.where)
        self.cache = cache

    def check(self, plan: Plan) -> None:
        """Raises FingerprintMismatch where this plan would have other answers than the cache."""
        for name, expected, actual in apart(plan, self.cache.manifest.plan):
            if "teacher" in name:
                hint = " (a teacher that was fine-tuned for it is named by its folder)"
            else:
                hint = ""
            raise FingerprintMismatch(
                f"--reuse: expected a cache with {display_name(name)} = {short(expected)}, as in this dump, "
                f"found {short(actual)}",
                advice=f"Name the same teacher and settings{hint}, or dump without --reuse.",
                where=self.cache.where,
            )

    def find(self, row_hash: Int64, view: Int64 | int = 0) -> Int64:
        """The row_id in the cache of each of these rows, or -1: i64[N]. ``view`` is which draw of
        its answer a row has: those of one row stand one behind the other.
        """
        first = self.cache.find(row_hash)
        return np.where(first < 0, first, first + view)

    def stored(self, row_id: Int64) -> dict[str, Array]:
        """The codec's columns of these rows, as they lie in the cache."""
        return self.cache.stored(row_id)

    def stored_signals(self, row_id: Int64) -> dict[str, dict[str, Array]]:
        """The columns of each of its signals."""
        columns = {}
        for name, signal in self.cache.signals.items():
            columns[name] = stored(self.cache, signal, row_id)[1]
        return columns

    def tokens(self, row_id: Int64) -> Int64:
        """How many tokens of each of these rows have vectors: i64[n]; 0 where none are kept."""
        of_tokens = [
            signal for signal in self.cache.signals.values() if signal.level == EVERY_TOKEN
        ]
        if not of_tokens:
            return np.zeros(len(row_id), np.int64)
        records = self.cache.reader.places(row_id)
        return np.diff(self.cache.reader.below(EVERY_TOKEN, records)[0])
