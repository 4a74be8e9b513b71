"""What reading costs: checked against unchecked, and against a plain memory-mapped array of the
logits alone.

``take`` of 32 random rows with row hash, label, 64 float16 logits and the check of the rows'
bounds, all record batches having been read before; the same while one record batch has not; and
what the first reading of everything costs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from common import ratio, write

from logitcache.bench.formats import draw, make_cache
from logitcache.bench.turns import in_turn, spread
from logitcache.cache.cache import Cache

ROWS, WIDTH, BATCH = 200_000, 64, 32
NAMES = ("row_hash", "label", "logits")
# calls of one timed repeat: short, so that few are interrupted
ROUNDS, REPEATS, CALLS = (15, 200, 20)


def make(folder: Path, shards: int) -> Cache:
    make_cache(folder, ROWS, WIDTH, ROWS // shards, draw(WIDTH))
    return Cache.open(folder)


def plain(cache: Cache, path: Path) -> np.ndarray:
    """The logits alone, as numpy maps them."""
    logits = cache.stored(np.arange(ROWS))["logits"]
    logits.tofile(path)
    mapped = np.memmap(path, logits.dtype, "r", shape=logits.shape)
    mapped.sum(dtype=np.float64)
    return mapped


def repeated(take: Callable[[Any], object]) -> Callable[[], None]:
    """A timed repeat: ``CALLS`` batches, each of other random rows."""
    source = np.random.default_rng(1)
    batches = cycle([[source.integers(0, ROWS, BATCH) for _ in range(CALLS)] for _ in range(100)])

    def run() -> None:
        for rows in next(batches):
            take(rows)

    return run


def first_reading(folder: Path) -> dict[str, float]:
    """Seconds of the first reading of all rows, checked, and of the second."""
    cache = Cache.open(folder)
    times = []
    for _ in range(2):
        started = time.perf_counter()
        for start in range(0, ROWS, 1024):
            cache.stored_columns(np.arange(start, min(start + 1024, ROWS)), NAMES)
        times.append(time.perf_counter() - started)
    return {
        "first_s": times[0],
        "again_s": times[1],
        "checked_MB_per_s": cache.manifest.bytes / 1e6 / times[0],
    }


def of_shards(folder: Path, shards: int) -> dict[str, Any]:
    first_reading_of = make(folder / str(shards), shards).folder
    first = first_reading(first_reading_of)
    read, partly, unchecked = (Cache.open(first_reading_of) for _ in range(3))
    for cache in (read, partly, unchecked):
        cache.stored(np.arange(ROWS))
    # as while some record batch has not been read
    partly.reader.tables["row"]._mapped.any_fresh = True
    unchecked.reader.tables["row"]._mapped.touch = lambda batch: None
    mapped = plain(read, folder / "logits")
    cases = {
        "memmap": repeated(lambda rows: mapped[rows]),
        "take": repeated(lambda rows: read.stored_columns(rows, NAMES)),
        "take, not all read before": repeated(lambda rows: partly.stored_columns(rows, NAMES)),
        "take, unchecked": repeated(lambda rows: unchecked.stored_columns(rows, NAMES)),
    }
    times = in_turn(cases, ROUNDS, REPEATS)
    return {
        "microseconds": {
            name: {k: v / CALLS * 1e6 for k, v in spread(times[name]).items()} for name in cases
        },
        "take / memmap": ratio(times, "take", "memmap"),
        "checked / unchecked": ratio(times, "take", "take, unchecked"),
        "checked / unchecked, not all read before": ratio(
            times, "take, not all read before", "take, unchecked"
        ),
        "first reading": first,
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        by_shards = {f"{n} shards": of_shards(Path(folder), n) for n in (1, 100)}
    write("take", {"rows": ROWS, "width": WIDTH, "dtype": "float16", "batch": BATCH, **by_shards})


if __name__ == "__main__":
    main()
