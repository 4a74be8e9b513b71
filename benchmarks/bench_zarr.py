"""Reading the same cache as Arrow and as Zarr: batches of 32 rows, by windows and in any order.

    python benchmarks/bench_zarr.py [--rows 65536] [--classes 64] [--rounds 5]

By windows is an epoch in the order that training takes from a Zarr cache; in any order is 20 batches of it for Zarr,
which decodes a chunk for nearly every row.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from common import ratio, write

from logitcache.bench.turns import in_turn
from logitcache.cache.cache import Cache
from logitcache.cache.convert import convert
from logitcache.cache.layout import columns_of
from logitcache.data.order import permutation, windowed_permutation
from logitcache.records import Int64
from logitcache.store.columns import ROW
from logitcache.store.manifest import Plan
from logitcache.store.writer import CacheWriter
from logitcache.targets.dense import DenseCodec

BATCH, SHARD_ROWS = 32, 32768


def make(folder: Path, rows: int, classes: int) -> None:
    codec, draw = DenseCodec(classes), np.random.default_rng(0)
    columns = columns_of(codec, ROW)
    names = {"label_names": [str(i) for i in range(classes)]}
    plan = Plan("classification", names, {}, {}, {}, {"logits": codec.to_dict()}, columns, rows, SHARD_ROWS)
    with CacheWriter(folder, plan) as writer:
        for index in writer.missing:
            start, end = plan.shard(index)
            known = {"row_hash": np.arange(start, end), "label": np.zeros(end - start, np.int64)}
            logits = draw.normal(0, 5, (end - start, classes)).astype(np.float32)
            writer.write(index, known | codec.encode(logits), {}, {})
        writer.seal()


def read(cache: Cache, order: Int64) -> None:
    for start in range(0, len(order), BATCH):
        cache.take(order[start : start + BATCH])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("--rows", 65536), ("--classes", 64), ("--rounds", 5)):
        parser.add_argument(name, type=int, default=default)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make(folder / "arrow", asked.rows, asked.classes)
        convert(folder / "arrow", folder / "zarr", "zarr")
        caches = {store: Cache.open(folder / store) for store in ("arrow", "zarr")}
        window = caches["zarr"].window or asked.rows
        orders = {
            "windows": windowed_permutation(asked.rows, window, 0, 0),
            "any": permutation(asked.rows, 0, 0)[: 20 * BATCH],
        }
        cases = {
            f"{how} {s}": partial(read, cache, order) for how, order in orders.items() for s, cache in caches.items()
        }
        times = in_turn(cases, asked.rounds, 1, settle=0)
        sizes = {store: cache.manifest.bytes for store, cache in caches.items()}
    rates = {name: len(orders[name.split()[0]]) / float(np.median(blocks)) for name, blocks in times.items()}
    ratios = {how: ratio(times, f"{how} zarr", f"{how} arrow") for how in orders}
    shape = {"rows": asked.rows, "classes": asked.classes, "batch": BATCH}
    write("zarr", {**shape, "bytes": sizes, "rows_per_second": rates, "zarr_over_arrow_seconds": ratios})


if __name__ == "__main__":
    main()
