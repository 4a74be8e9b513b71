"""What checksums and fsyncs cost when a cache is written: over the same bytes written plainly, and
over a dump.

    python benchmarks/bench_store.py [--data FOLDER] [--checkpoint FOLDER] [--rows 2048] [--rounds
    5] [--shards 8]

Plain means the same program without them: nothing is hashed, nothing is fsynced. Data, teacher and
dump are those of bench_dump.py; the writing alone is of shards of 65,536 rows x 64 classes, float16
(9 MB each). What follows grows with the number of shards and not with their size: it is counted for
300 and 3,000 shards of two rows each.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from bench_dump import SETTINGS, load
from common import ratio, write

from logitcache.bench.turns import in_turn, spread
from logitcache.cache.layout import columns_of
from logitcache.store import extents, files
from logitcache.store.columns import ROW
from logitcache.store.extents import Encoded, File
from logitcache.store.manifest import Plan
from logitcache.store.writer import CacheWriter
from logitcache.targets.dense import DenseCodec
from logitcache.teacher.dump import dump_split

ROWS, WIDTH = 65536, 64


class Unsynced(files.System):
    def sync(self, handle: int) -> None:
        pass


@contextmanager
def plainly() -> Iterator[None]:
    """Nothing is hashed while it is written, and nothing fsynced."""
    before = files.system, extents.digest, Encoded.described
    files.system, extents.digest = Unsynced(), lambda data: ""
    Encoded.described = lambda self, name: File(name, len(self.data), "", self.extents)  # type: ignore[method-assign]
    try:
        yield
    finally:
        files.system, extents.digest, Encoded.described = before  # type: ignore[method-assign]


def plan(rows: int, shard_rows: int) -> Plan:
    codec = DenseCodec(WIDTH, "float16")
    columns = columns_of(codec, ROW)
    return Plan(
        "classification", {}, {}, {}, {}, {"logits": codec.to_dict()}, columns, rows, shard_rows
    )


def cache(folder: Path, of: Plan) -> None:
    """A cache of the same answers in each shard."""
    draw = np.random.default_rng(0)
    rows = min(of.rows, of.shard_rows)
    arrays = {
        "row_hash": draw.integers(2**62, size=rows),
        "label": draw.integers(WIDTH, size=rows),
        "logits": draw.normal(size=(rows, WIDTH)).astype(np.float16),
    }
    shutil.rmtree(folder, ignore_errors=True)
    with CacheWriter(folder, of) as writer:
        for index in writer.missing:
            start, end = of.shard(index)
            writer.write(
                index, {name: array[: end - start] for name, array in arrays.items()}, {}, {}
            )
        writer.seal()


def without(do: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        with plainly():
            do()

    return run


def many_shards(folder: Path, count: int) -> dict[str, Any]:
    """Seconds of processor time per shard: to write them, and to look at them again when a dump
    goes on.
    """
    of = plan(2 * count, 2)
    with plainly():
        started = time.process_time()
        cache(folder, of)
        written = time.process_time()
        CacheWriter(folder, of).close()
        looked = time.process_time()
    return {
        "shards": count,
        "write": (written - started) / count,
        "look": (looked - written) / count,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=os.environ.get("SST5") or "docstrings")
    parser.add_argument("--checkpoint", default=os.environ.get("MINILM"))
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shards", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, teacher = load(options, folder)
        settings = replace(SETTINGS, shard_rows=1024)

        def dump() -> None:
            shutil.rmtree(folder / "dump", ignore_errors=True)
            dump_split(teacher, source, "train", folder / "dump", settings)

        def writing() -> None:
            cache(folder / "cache", plan(options.shards * ROWS, ROWS))

        dumps = in_turn({"dump": dump, "plain dump": without(dump)}, options.rounds, 1, settle=0)
        writes = in_turn({"write": writing, "plain write": without(writing)}, options.rounds, 3)
        times = {**dumps, **writes}
        write(
            "store",
            {
                "setting": {
                    "rows": len(source.split("train")),
                    "data": source.name,
                    "rounds": options.rounds,
                }
                | {"shards": options.shards, "shard_bytes": ROWS * (2 * WIDTH + 16)},
                "seconds": {case: spread(blocks) for case, blocks in times.items()},
                "dump_over_plain_dump": ratio(times, "dump", "plain dump"),
                "write_over_plain_write": ratio(times, "write", "plain write"),
                "seconds_per_shard": [many_shards(folder / "many", count) for count in (300, 3000)],
            },
        )


if __name__ == "__main__":
    main()
