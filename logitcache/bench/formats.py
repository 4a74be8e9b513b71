"""Ways to keep a teacher's logits on a disk and to read them again: our own, and those that people use instead.

Each rival keeps the logits alone, in the form in which it reads random rows best among its usual ones, without what a
cache has beside them: the hash that proves a row, its label, checksums. What it gives is what it gives by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
Logits: TypeAlias = Callable[[int, int], Array]  # of rows first to end: f16[end - first, K], row maximum 0
FILES = 2_000  # rows of the rival that has a file for each: its time does not depend on how many there are
CHUNK_ROWS = 256  # of the Zarr array
GROUP_ROWS = 128  # of Parquet
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


def draw(width: int, seed: int = 0) -> Logits:
    """Logits of made-up rows; how they are drawn does not change what reading them costs."""
    codec, source = DenseCodec(width, "float16"), np.random.default_rng(seed)
    return lambda first, end: codec.encode(source.standard_normal((end - first, width), np.float32) * 5)["logits"]


def drawn(rows: int, width: int) -> Array:
    """All of them: f16[rows, width]."""
    logits = draw(width)
    return np.concatenate([logits(n, min(n + BLOCK_ROWS, rows)) for n in range(0, rows, BLOCK_ROWS)])


def make_cache(folder: Path, rows: int, width: int, shard_rows: int, logits: Logits) -> None:
    """A whole cache without a teacher, written as a dump writes one."""
    codec, source = DenseCodec(width, "float16"), np.random.default_rng(0)
    columns = columns_of(codec, ROW)
    teacher = {"name": "none", "label_names": [f"class {i}" for i in range(width)]}
    plan = Plan(Classification.name, teacher, {}, {}, {}, {"logits": codec.to_dict()}, columns, rows, shard_rows)
    with CacheWriter(folder, plan) as writer:
        for index in writer.missing:
            first, end = plan.shard(index)
            beside = {
                "row_hash": source.integers(0, 2**62, end - first),
                "label": source.integers(0, width, end - first),
            }
            writer.write(index, {**beside, "logits": logits(first, end)}, {}, {})
        writer.seal()


def _make_ours(folder: Path, logits: Array) -> None:
    make_cache(folder, *_shape(logits), len(logits), lambda first, end: logits[first:end])


def _shape(logits: Array) -> tuple[int, int]:
    rows, width = logits.shape
    return rows, width


def _open_ours(folder: Path) -> Opened:
    """Logits as they lie there, the hashes and labels that prove a join beside them, the rows' bounds checked."""
    cache = Cache.open(folder)

    def take(rows: Int64) -> dict[str, Array]:
        return cache._columns(rows, NAMES)

    return Opened(len(cache), take, lambda first, end: take(np.arange(first, end)))


def _open_decoded(folder: Path) -> Opened:
    """What a training step calls: hashes, and the logits made float32, which the rivals leave to their users."""
    cache = Cache.open(folder)
    return Opened(len(cache), cache.take, lambda first, end: cache.take(np.arange(first, end)))


def _make_memmap(folder: Path, logits: Array) -> None:
    np.save(folder / "logits.npy", logits)


def _open_memmap(folder: Path) -> Opened:
    """As a plain array, and by ``take``: three to six times as fast as indexing the memmap itself."""
    mapped = np.asarray(np.load(folder / "logits.npy", mmap_mode="r"))
    return Opened(len(mapped), lambda rows: mapped.take(rows, 0), lambda first, end: np.array(mapped[first:end]))


def _make_datasets(folder: Path, logits: Array) -> None:
    """Lists of fixed length: the library's ``Array2D`` is ten times slower."""
    import datasets
    import pyarrow as pa

    width = logits.shape[1]
    features = datasets.Features({"logits": datasets.List(datasets.Value("float16"), length=width)})
    table = pa.table({"logits": pa.FixedSizeListArray.from_arrays(pa.array(logits.reshape(-1)), width)})
    with _no_bars():
        datasets.Dataset(table.cast(features.arrow_schema)).save_to_disk(str(folder))


def _open_torch(folder: Path) -> Opened:
    """A list of places at once: faster than row by row and a collator. The library makes float32 of the halves, and
    takes as long where it is told not to.
    """
    return _of_datasets(folder, "torch")


def _open_arrow(folder: Path) -> Opened:
    """The same without the library's tensors, for who makes them from Arrow's memory."""
    opened = _of_datasets(folder, "arrow")
    return Opened(
        opened.rows,
        lambda rows: _values(opened.take(rows).column(0).combine_chunks()),
        lambda first, end: _values(opened.run(first, end).column(0).combine_chunks()),
    )


def _of_datasets(folder: Path, form: str) -> Opened:
    import datasets

    rows = datasets.load_from_disk(str(folder)).with_format(form)
    return Opened(len(rows), lambda these: rows[these.tolist()], lambda first, end: rows[first:end])


def _make_files(folder: Path, logits: Array) -> None:
    """One tensor for each row, in folders of a thousand."""
    import torch

    for row, values in enumerate(torch.from_numpy(logits)):
        path = _file(folder, row)
        path.parent.mkdir(exist_ok=True)
        torch.save(values.clone(), path)  # without clone, each file would hold the whole array


def _open_files(folder: Path) -> Opened:
    import torch

    def take(rows: list[int]) -> Any:
        return torch.stack([torch.load(_file(folder, row), weights_only=True) for row in rows])

    rows = sum(1 for _ in folder.glob("*/*.pt"))
    return Opened(rows, lambda these: take(these.tolist()), lambda first, end: take(list(range(first, end))))


def _file(folder: Path, row: int) -> Path:
    return folder / f"{row // 1000}" / f"{row}.pt"


def _make_zarr(folder: Path, logits: Array) -> None:
    """Chunks of some hundred rows, not compressed: of 32 to 8,192 rows, with and without, the fastest at random."""
    import zarr

    shape, chunks = logits.shape, (CHUNK_ROWS, logits.shape[1])
    zarr.create_array(str(folder), shape=shape, chunks=chunks, dtype=logits.dtype, compressors=None)[:] = logits


def _open_zarr(folder: Path) -> Opened:
    import zarr

    found = zarr.open_array(str(folder), mode="r")
    return Opened(found.shape[0], lambda rows: found.oindex[rows], lambda first, end: found[first:end])


def _make_parquet(folder: Path, logits: Array) -> None:
    """Small row groups, not compressed: a fifth of the time of a thousand rows, and a twentieth of the defaults."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"logits": pa.FixedSizeListArray.from_arrays(pa.array(logits.reshape(-1)), logits.shape[1])})
    path = folder / "logits.parquet"
    pq.write_table(table, path, row_group_size=GROUP_ROWS, compression="none", use_dictionary=False)


def _open_parquet(folder: Path) -> Opened:
    """The row groups that are needed, for ``pyarrow.dataset``'s ``take`` reads the whole file; in order, its own
    batches.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(folder / "logits.parquet", memory_map=True)
    batches: list[Iterator[Any]] = []

    def take(rows: Int64) -> Array:
        groups, which = np.unique(rows // GROUP_ROWS, return_inverse=True)
        found = file.read_row_groups(groups.tolist(), use_threads=False).column(0).combine_chunks()
        values: Array = _values(found)[which * GROUP_ROWS + rows % GROUP_ROWS]
        return values

    def run(first: int, end: int) -> Array:
        if not first:
            batches[:] = [file.iter_batches(end - first, use_threads=False)]
        return _values(next(batches[0]).column(0))

    return Opened(file.metadata.num_rows, take, run)


def _values(found: Any) -> Array:
    """A column of lists of one length as numpy sees it, without a copy: [n, K]."""
    values: Array = found.flatten().to_numpy()
    return values.reshape(len(found), -1)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Progress is ours to show: stdout may be one JSON document, and stderr no terminal."""
    import datasets

    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bar()


WAYS = (
    Way(OURS, _make_ours, _open_ours, loads=True),
    Way("logitcache take", _make_ours, _open_decoded, of=OURS),
    Way("numpy memmap", _make_memmap, _open_memmap, loads=True),
    Way("datasets", _make_datasets, _open_torch, loads=True),
    Way("datasets arrow", _make_datasets, _open_arrow, of="datasets"),
    Way("file per sample", _make_files, _open_files, sparse=True),
    Way("zarr", _make_zarr, _open_zarr),
    Way("parquet", _make_parquet, _open_parquet),
)
