"""What the join costs: nothing where rows lie at their places, one index where they do not.

A batch of 32 random rows of 64 float16 logits: taken by place and compared afterwards, as before
rows were found by content; taken with its hashes; and taken, after all rows were located once, of a
table in another order. Then the index: seconds and bytes of building it for 10^6 and 10^7 rows, and
seconds of locating all rows of a shuffled table.
"""

from __future__ import annotations

import tempfile
import time
import tracemalloc
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from bench_take import BATCH, CALLS, REPEATS, ROUNDS, ROWS, make
from common import ratio, write

from logitcache import identity
from logitcache.bench.formats import make_cache
from logitcache.bench.turns import in_turn, spread
from logitcache.cache.cache import Cache
from logitcache.cache.index import HashIndex
from logitcache.cache.joining import join

SIZES = (10**6, 10**7)
SHARD_ROWS = 2**20


def batches(table: np.ndarray, take: Callable[[Any, Any, Any], object]) -> Callable[[], None]:
    """A timed repeat: ``CALLS`` batches, each of other random rows of a table of hashes."""
    draw = np.random.default_rng(1)
    view = np.zeros(BATCH, np.int64)
    rows = [[draw.integers(0, ROWS, BATCH) for _ in range(CALLS)] for _ in range(100)]
    repeats = cycle([[(row_id, table[row_id]) for row_id in repeat] for repeat in rows])

    def run() -> None:
        for row_id, row_hash in next(repeats):
            take(row_id, row_hash, view)

    return run


def compared(take: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any, Any], None]:
    """With the collator's comparison."""

    def ask(row_id: Any, row_hash: Any, view: Any) -> None:
        identity.check_rows(row_id, row_hash, take(row_id, row_hash, view).row_hash, "a cache")

    return ask


def as_before(cache: Cache) -> Callable[[Any, Any, Any], None]:
    """By place alone, all hashes compared as an array of truths."""

    def ask(row_id: Any, row_hash: Any, view: Any) -> None:
        if not (row_hash == cache.take(row_id).row_hash).all():
            raise AssertionError

    return ask


def taking(folder: Path) -> dict[str, Any]:
    cache = make(folder, 4)
    own = cache.row_hashes()
    turned = own[np.random.default_rng(2).permutation(ROWS)]
    plain = join([cache], {"train": 0})
    moved = plain.located(np.arange(ROWS), turned)
    cases = {
        "by place, then compared": batches(own, as_before(cache)),
        "with hashes": batches(own, compared(cache.take)),
        "joined": batches(own, compared(plain.take)),
        "joined, located in another order": batches(turned, compared(moved.take)),
    }
    times = in_turn(cases, ROUNDS, REPEATS)
    return {
        "microseconds": {
            name: {k: v / CALLS * 1e6 for k, v in spread(times[name]).items()} for name in cases
        },
        "with hashes / by place, then compared": ratio(
            times, "with hashes", "by place, then compared"
        ),
        "another order / own order": ratio(times, "joined, located in another order", "joined"),
    }


def small(folder: Path, rows: int) -> Cache:
    """A cache of two classes."""
    make_cache(
        folder, rows, 2, SHARD_ROWS, lambda first, end: np.zeros((end - first, 2), np.float16)
    )
    return Cache.open(folder)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def indexing(folder: Path, rows: int) -> dict[str, float]:
    small(folder, rows)
    opening, cache = timed(lambda: Cache.open(folder))
    reading, row_hash = timed(cache.row_hashes)
    fitting, _ = timed(lambda: cache.locate(np.arange(rows), row_hash))
    assert "index" not in vars(cache)
    building, index = timed(lambda: cache.index)
    tracemalloc.start()
    HashIndex(row_hash, cache.skipped)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    turned = row_hash[np.random.default_rng(1).permutation(rows)]
    locating, row_id = timed(lambda: cache.locate(np.arange(rows), turned))
    assert (row_hash[row_id] == turned).all()
    return {
        "open_s": opening,
        "read_hashes_s": reading,
        "locate_all_at_their_places_s": fitting,
        "build_s": building,
        "index_bytes": index.row_id.nbytes + index.row_hash.nbytes,
        "peak_bytes_while_building": peak,
        "locate_all_shuffled_s": locating,
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        index = {f"{rows:.0e} rows": indexing(Path(folder) / str(rows), rows) for rows in SIZES}
        take = taking(Path(folder) / "take")
    write(
        "join",
        {
            "rows": ROWS,
            "width": 64,
            "dtype": "float16",
            "batch": BATCH,
            "take": take,
            "index": index,
        },
    )


if __name__ == "__main__":
    main()
