"""What people keep a teacher's logits in without us, each in the form in which it reads random rows
best.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.bench.formats import Opened, Way
from logitcache.records import Array, Int64

CHUNK_ROWS = 256  # of the Zarr array
GROUP_ROWS = 128  # of Parquet


def make_datasets(folder: Path, logits: Array) -> None:
    """Lists of fixed length: the library's ``Array2D`` is ten times slower."""
    import datasets
    import pyarrow as pa

    width = logits.shape[1]
    features = datasets.Features({"logits": datasets.List(datasets.Value("float16"), length=width)})
    table = pa.table(
        {"logits": pa.FixedSizeListArray.from_arrays(pa.array(logits.reshape(-1)), width)}
    )
    with no_bars():
        datasets.Dataset(table.cast(features.arrow_schema)).save_to_disk(str(folder))


def open_torch(folder: Path) -> Opened:
    """A list of rows at once: faster than row by row and a collator. The library makes float32 of
    the halves, and takes as long where it is configured not to.
    """
    return open_datasets(folder, "torch")


def open_arrow(folder: Path) -> Opened:
    """The same without the library's tensors, for who makes them from Arrow's memory."""
    opened = open_datasets(folder, "arrow")
    return Opened(
        opened.rows,
        lambda rows: list_values(opened.take(rows).column(0).combine_chunks()),
        lambda first, end: list_values(opened.run(first, end).column(0).combine_chunks()),
    )


def open_datasets(folder: Path, form: str) -> Opened:
    import datasets

    dataset = datasets.load_from_disk(str(folder)).with_format(form)
    return Opened(
        len(dataset), lambda rows: dataset[rows.tolist()], lambda first, end: dataset[first:end]
    )


def make_files(folder: Path, logits: Array) -> None:
    """One tensor for each row, in folders of a thousand."""
    import torch

    for row, values in enumerate(torch.from_numpy(logits)):
        path = row_file(folder, row)
        path.parent.mkdir(exist_ok=True)
        torch.save(values.clone(), path)  # without clone, each file would hold the whole array


def open_files(folder: Path) -> Opened:
    import torch

    def take(rows: list[int]) -> Any:
        return torch.stack([torch.load(row_file(folder, row), weights_only=True) for row in rows])

    count = sum(1 for _ in folder.glob("*/*.pt"))
    return Opened(
        count, lambda rows: take(rows.tolist()), lambda first, end: take(list(range(first, end)))
    )


def row_file(folder: Path, row: int) -> Path:
    return folder / f"{row // 1000}" / f"{row}.pt"


def make_zarr(folder: Path, logits: Array) -> None:
    """Chunks of some hundred rows, not compressed: of 32 to 8,192 rows, with and without, the
    fastest at random.
    """
    import zarr

    chunks = (CHUNK_ROWS, logits.shape[1])
    array = zarr.create_array(
        str(folder), shape=logits.shape, chunks=chunks, dtype=logits.dtype, compressors=None
    )
    array[:] = logits


def open_zarr(folder: Path) -> Opened:
    import zarr

    array = zarr.open_array(str(folder), mode="r")
    return Opened(
        array.shape[0], lambda rows: array.oindex[rows], lambda first, end: array[first:end]
    )


def make_parquet(folder: Path, logits: Array) -> None:
    """Small row groups, not compressed: a fifth of the time of a thousand rows, and a twentieth of
    the defaults.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {"logits": pa.FixedSizeListArray.from_arrays(pa.array(logits.reshape(-1)), logits.shape[1])}
    )
    path = folder / "logits.parquet"
    pq.write_table(table, path, row_group_size=GROUP_ROWS, compression="none", use_dictionary=False)


def open_parquet(folder: Path) -> Opened:
    """The row groups that are needed, for ``pyarrow.dataset``'s ``take`` reads the whole file; in
    order, its own batches.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(folder / "logits.parquet", memory_map=True)
    batches: list[Iterator[Any]] = []

    def take(rows: Int64) -> Array:
        groups, group_of = np.unique(rows // GROUP_ROWS, return_inverse=True)
        column = file.read_row_groups(groups.tolist(), use_threads=False).column(0).combine_chunks()
        return list_values(column)[group_of * GROUP_ROWS + rows % GROUP_ROWS]

    def run(first: int, end: int) -> Array:
        if first == 0:
            batches[:] = [file.iter_batches(end - first, use_threads=False)]
        return list_values(next(batches[0]).column(0))

    return Opened(file.metadata.num_rows, take, run)


def list_values(column: Any) -> Any:
    """A column of lists of one length as numpy sees it, without a copy: [n, K]."""
    return column.flatten().to_numpy().reshape(len(column), -1)


@contextmanager
def no_bars() -> Iterator[None]:
    """Without the progress bars of `datasets`."""
    import datasets

    enabled = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            datasets.enable_progress_bar()


RIVALS = (
    Way("datasets", make_datasets, open_torch, loads=True),
    Way("datasets arrow", make_datasets, open_arrow, of="datasets"),
    Way("file per sample", make_files, open_files, sparse=True),
    Way("zarr", make_zarr, open_zarr),
    Way("parquet", make_parquet, open_parquet),
)
