"""Ways to keep a teacher's logits on a disk and read them again: a cache, and numpy's memory map as
the lower bound.

The memory map holds the logits alone, without the hash that proves a row, its label and checksums.
``benchmarks/rivals.py`` adds the formats of other libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from logitcache.cache.cache import Cache
from logitcache.cache.layout import columns_of
from logitcache.data.tasks.classification import Classification
from logitcache.records import Array, Int64
from logitcache.store.columns import ROW
from logitcache.store.manifest import Plan
from logitcache.store.writer import CacheWriter
from logitcache.targets.dense import DenseCodec

Take: TypeAlias = Callable[[Int64], Any]
# of rows first to end: f16[end - first, K], row maximum 0
Logits: TypeAlias = Callable[[int, int], Array]
BLOCK_ROWS = 16_384  # drawn at once; rows of a shard as a dump cuts them, where they are narrow
NAMES = ("row_hash", "label", "logits")
OURS = "logitcache"


@dataclass(frozen=True)
class Opened:
    """A store that is open for reading."""

    rows: int
    take: Take  # these rows: i64[n], in any order
    run: Callable[[int, int], Any]  # rows first to end, asked for in order


@dataclass(frozen=True)
class Way:
    """One way to keep logits: ``make`` writes f16[N, K] below a folder, ``open`` reads there."""

    name: str
    make: Callable[[Path, Array], None]
    open: Callable[[Path], Opened]
    loads: bool = False  # whether DataLoaders of it are measured too
    of: str | None = None  # whose files it reads, where it makes none
    sparse: bool = False  # whether it is made of some of the rows only

    def folder(self, parent: Path) -> Path:
        """Where its files are."""
        return parent / (self.of or self.name)


def draw(width: int, seed: int = 0) -> Logits:
    """A function that draws the logits of made-up rows, f16[end - first, K]."""
    codec = DenseCodec(width, "float16")
    source = np.random.default_rng(seed)

    def logits(first: int, end: int) -> Array:
        return codec.encode(source.standard_normal((end - first, width), np.float32) * 5)["logits"]

    return logits


def drawn(rows: int, width: int) -> Array:
    """The logits of all made-up rows: f16[rows, width]."""
    logits = draw(width)
    return np.concatenate(
        [logits(n, min(n + BLOCK_ROWS, rows)) for n in range(0, rows, BLOCK_ROWS)]
    )


def make_cache(folder: Path, rows: int, width: int, shard_rows: int, logits: Logits) -> None:
    """A whole cache without a teacher, written as a dump writes one."""
    codec = DenseCodec(width, "float16")
    source = np.random.default_rng(0)
    plan = Plan(
        task=Classification.name,
        teacher={"name": "none", "label_names": [f"class {i}" for i in range(width)]},
        preprocessor={},
        data={},
        preparation={},
        targets={"logits": codec.to_dict()},
        columns=columns_of(codec, ROW),
        rows=rows,
        shard_rows=shard_rows,
    )
    with CacheWriter(folder, plan) as writer:
        for index in writer.missing:
            first, end = plan.shard(index)
            arrays = {
                "row_hash": source.integers(0, 2**62, end - first),
                "label": source.integers(0, width, end - first),
                "logits": logits(first, end),
            }
            writer.write(index, arrays, {}, {})
        writer.seal()


def _make_ours(folder: Path, logits: Array) -> None:
    rows, width = logits.shape
    make_cache(folder, rows, width, rows, lambda first, end: logits[first:end])


def _open_ours(folder: Path) -> Opened:
    """Logits as they are stored, with hashes and labels, after a check of the rows' bounds."""
    cache = Cache.open(folder)

    def take(rows: Int64) -> dict[str, Array]:
        return cache.stored_columns(rows, NAMES)

    return Opened(len(cache), take, lambda first, end: take(np.arange(first, end)))


def _open_decoded(folder: Path) -> Opened:
    """The call of a training step: hashes, and logits as float32."""
    cache = Cache.open(folder)

    def run(first: int, end: int) -> Any:
        return cache.take(np.arange(first, end))

    return Opened(len(cache), cache.take, run)


def _make_memmap(folder: Path, logits: Array) -> None:
    np.save(folder / "logits.npy", logits)


def _open_memmap(folder: Path) -> Opened:
    """The memory map as an array, read by ``take``: 3 to 6 times as fast as indexing a memmap."""
    mapped = np.asarray(np.load(folder / "logits.npy", mmap_mode="r"))
    return Opened(
        len(mapped),
        lambda rows: mapped.take(rows, 0),
        lambda first, end: np.array(mapped[first:end]),
    )


WAYS = (
    Way(OURS, _make_ours, _open_ours, loads=True),
    Way("logitcache take", _make_ours, _open_decoded, of=OURS),
    Way("numpy memmap", _make_memmap, _open_memmap, loads=True),
)
