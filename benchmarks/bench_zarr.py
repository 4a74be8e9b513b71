"""Reading the same cache as Arrow and as Zarr: batches of 32 rows, by windows and in any order.

    python benchmarks/bench_zarr.py [--rows 65536] [--classes 64] [--rounds 5]

By windows is an epoch in the order that training takes from a Zarr cache; in any order is 20
batches of it for Zarr, which decodes a chunk for nearly every row.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from common import ratio, write

from logitcache.bench.formats import draw, make_cache
from logitcache.bench.turns import in_turn
from logitcache.cache.cache import Cache
from logitcache.cache.convert import convert
from logitcache.data.order import permutation, windowed_permutation
from logitcache.records import Int64

BATCH = 32
SHARD_ROWS = 32768


def read(cache: Cache, order: Int64) -> None:
    for start in range(0, len(order), BATCH):
        cache.take(order[start : start + BATCH])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("--rows", 65536), ("--classes", 64), ("--rounds", 5)):
        parser.add_argument(name, type=int, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_cache(
            folder / "arrow", options.rows, options.classes, SHARD_ROWS, draw(options.classes)
        )
        convert(folder / "arrow", folder / "zarr", "zarr")
        caches = {store: Cache.open(folder / store) for store in ("arrow", "zarr")}
        window = caches["zarr"].window or options.rows
        orders = {
            "windows": windowed_permutation(options.rows, window, 0, 0),
            "any": permutation(options.rows, 0, 0)[: 20 * BATCH],
        }
        cases = {}
        for kind, order in orders.items():
            for store, cache in caches.items():
                cases[f"{kind} {store}"] = partial(read, cache, order)
        times = in_turn(cases, options.rounds, 1, settle=0)
        sizes = {store: cache.manifest.bytes for store, cache in caches.items()}
    rates = {
        name: len(orders[name.split()[0]]) / float(np.median(blocks))
        for name, blocks in times.items()
    }
    ratios = {kind: ratio(times, f"{kind} zarr", f"{kind} arrow") for kind in orders}
    shape = {"rows": options.rows, "classes": options.classes, "batch": BATCH}
    write(
        "zarr",
        {**shape, "bytes": sizes, "rows_per_second": rates, "zarr_over_arrow_seconds": ratios},
    )


if __name__ == "__main__":
    main()
