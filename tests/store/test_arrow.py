"""What is Arrow's own; what every store does stands in test_contract.py."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.errors import CorruptShard, FormatError
from logitcache.store.arrow import Table, encode
from logitcache.store.columns import Column
from logitcache.store.extents import Encoded, tile
from logitcache.store.shards import BATCH_ROWS, LocalFolder, Places, Shard
from tests.shortly import examples

ROOT = [Column("row_hash", "int64"), Column("logits", "float16", 3)]
PLAIN = [Column("row_hash", "int64"), Column("label", "int64")]


def arrays_of(columns: Sequence[Column], rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Any bits at all, NaN and infinity included."""
    draw = np.random.default_rng(seed)
    return {
        c.name: np.frombuffer(draw.bytes(rows * c.record_bytes()), c.dtype).reshape(c.shape(rows))
        for c in columns
    }


def table(folder: Path, columns: Sequence[Column], parts: Sequence[dict[str, np.ndarray]]) -> Table:
    """One level of as many shards as there are parts, all written."""
    shards, first = [], 0
    for index, arrays in enumerate(parts):
        rows = len(arrays[columns[0].name])
        ((name, made),) = encode(index, columns, arrays).items()
        shards.append(shard(folder, made, rows, index=index, first=first, name=name))
        first += rows
    return Table(LocalFolder(folder), "row", columns, shards)


def shard(
    folder: Path,
    made: Encoded,
    rows: int,
    *,
    index: int = 0,
    first: int = 0,
    name: str = "00000.arrow",
) -> Shard:
    (folder / name).write_bytes(made.data)
    return Shard(index, first, rows, 1, {"row": rows}, {name: made.described(name)})


def take(
    of: Table, record: Any, names: Sequence[str] = (), at: Any = None
) -> dict[str, np.ndarray]:
    record = np.asarray(record, np.int64)
    place = np.zeros(len(record), np.int64) if at is None else np.asarray(at, np.int64)
    return of.take(Places(place, record), names or list(of.columns))


def same_bits(one: np.ndarray, other: np.ndarray) -> None:
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    assert one.tobytes() == other.tobytes()


@settings(max_examples=examples(7))
@given(
    st.lists(
        st.sampled_from([0, 1, 5, BATCH_ROWS - 1, BATCH_ROWS, BATCH_ROWS + 1]),
        min_size=1,
        max_size=5,
    )
)
def test_one_gather_reads_from_all_shards(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    parts = [arrays_of(ROOT, rows, seed) for seed, rows in enumerate(sizes)]
    opened, draw = table(tmp_path_factory.mktemp("s"), ROOT, parts), np.random.default_rng(0)
    at = np.repeat(np.arange(len(sizes)), np.minimum(sizes, 40))
    draw.shuffle(at)
    record = draw.integers(0, np.array(sizes)[at]) if len(at) else np.zeros(0, np.int64)
    for _ in range(2):  # before and after the record batches were checked
        for name, array in take(opened, record, at=at).items():
            rows = [parts[s][name][r] for s, r in zip(at, record, strict=True)]
            same_bits(array, np.array(rows, array.dtype).reshape(array.shape))
            assert array.flags.writeable


def test_only_the_columns_asked_for_in_their_order(tmp_path: Path) -> None:
    opened = table(tmp_path, ROOT, [arrays_of(ROOT, 5)])
    assert list(take(opened, [3], ["logits"])) == ["logits"]
    assert list(take(opened, [3], ["logits", "row_hash"])) == ["logits", "row_hash"]


def test_threads_that_read_at_once_each_see_whole_batches(tmp_path: Path) -> None:
    parts = [arrays_of(ROOT, 3000, seed) for seed in range(4)]
    whole = np.concatenate([part["logits"] for part in parts])

    def read(seed: int) -> bool:
        row = np.random.default_rng(seed).integers(0, 12_000, 200)
        found = take(opened, row % 3000, ["logits"], row // 3000)["logits"]
        return found.tobytes() == whole[row].tobytes()

    for _ in range(5):
        opened = table(tmp_path, ROOT, parts)
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(40)))


def test_a_stranger_reads_it_with_plain_arrow(tmp_path: Path) -> None:
    arrays = arrays_of(ROOT, 2500)
    table(tmp_path, ROOT, [arrays])
    with pa.memory_map(str(tmp_path / "00000.arrow")) as source:
        reader = pa.ipc.open_file(source)
        sizes = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
        read = reader.read_all()
    assert sizes == [1024, 1024, 452]
    assert read.schema.field("logits").type == pa.list_(
        pa.field("item", pa.float16(), nullable=False), 3
    )
    assert not any(field.nullable for field in read.schema)
    same_bits(read["row_hash"].to_numpy(), arrays["row_hash"])
    flat = np.concatenate([np.asarray(chunk.flatten()) for chunk in read["logits"].chunks])
    same_bits(flat.reshape(-1, 3), arrays["logits"])


def foreign(batches: list[int], kind: Any = None, **options: object) -> Encoded:
    """A file of two columns as another writer might make it, with checksums that hold."""
    kind = kind or pa.int64()
    schema = pa.schema([pa.field(c.name, kind, nullable=False) for c in PLAIN])
    sink, ends = pa.BufferOutputStream(), []
    with pa.ipc.new_file(sink, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for rows in batches:
            values = pa.array(np.arange(rows)).cast(kind)
            writer.write_batch(pa.record_batch([values, values], schema=schema))
            ends.append(sink.tell())
    data = memoryview(sink.getvalue())
    return Encoded(
        data, tile(data, [0, 16 + int.from_bytes(data[12:16], "little"), *ends, len(data)])
    )


def refused(folder: Path, columns: Sequence[Column], made: Encoded, rows: int) -> str:
    with pytest.raises(FormatError) as caught:
        take(Table(LocalFolder(folder), "row", columns, [shard(folder, made, rows)]), [0])
    return str(caught.value)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (ROOT[:1], "expected 1 record batches of row_hash, found 1 of row_hash, logits"),
        (ROOT[::-1], "expected 1 record batches of logits, row_hash, found 1 of row_hash, logits"),
        ([ROOT[0], Column("logits", "float16", 4)], "columns of another type"),
        ([ROOT[0], Column("logits", "float32", 3)], "columns of another type"),
        ([ROOT[0], Column("probs", "float16", 3)], "found 1 of row_hash, logits"),
    ],
)
def test_another_content_is_refused(tmp_path: Path, columns: list[Column], said: str) -> None:
    (made,) = encode(0, ROOT, arrays_of(ROOT, 10)).values()
    message = refused(tmp_path, columns, made, 10)
    assert message.startswith(f"{tmp_path / '00000.arrow'}: ")
    assert said in message


def test_record_batches_of_other_sizes_are_refused(tmp_path: Path) -> None:
    right = Table(LocalFolder(tmp_path), "row", PLAIN, [shard(tmp_path, foreign([1024, 10]), 1034)])
    assert take(right, [1030])["label"].tolist() == [6]
    for batches in ([10, 1024], [512, 522]):
        assert "expected 1024 records, found" in refused(tmp_path, PLAIN, foreign(batches), 1034)


def test_another_number_of_record_batches_is_refused_before_anything_is_read(
    tmp_path: Path,
) -> None:
    """Room is made for as many as a receipt speaks of, so it must name the checksum of each."""
    for rows in (0, 5, 3000, 2**61):
        with pytest.raises(FormatError, match=r"00000\.arrow: expected extents of .* found 4"):
            Table(LocalFolder(tmp_path), "row", PLAIN, [shard(tmp_path, foreign([1024, 10]), rows)])


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_values_are_refused(tmp_path: Path, compression: str) -> None:
    assert "uncompressed" in refused(
        tmp_path, PLAIN, foreign([1000], compression=compression), 1000
    )


@pytest.mark.parametrize(
    "kind", [pa.timestamp("ns"), pa.uint64(), pa.float64(), pa.uuid(), pa.string()]
)
def test_other_types_of_values_are_refused(tmp_path: Path, kind: Any) -> None:
    schema = pa.schema([pa.field(c.name, kind, nullable=False) for c in PLAIN])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema):
        pass
    data = memoryview(sink.getvalue())
    made = Encoded(data, tile(data, [0, 8, 16, len(data)]))
    assert "(or columns of another type)" in refused(tmp_path, PLAIN, made, 10)


def test_what_is_no_arrow_at_all_is_refused_whatever_its_checksums_say(tmp_path: Path) -> None:
    data = memoryview(b"no Arrow file at all" * 100)
    assert "expected an Arrow file, found: " in refused(
        tmp_path, PLAIN, Encoded(data, tile(data, [0, 9, 99, 2000])), 5
    )


@pytest.mark.parametrize("flip", [0xFF, 0x01])
def test_arrow_bytes_that_lie_with_checksums_that_hold_never_crash(
    tmp_path: Path, flip: int
) -> None:
    """Who makes a cache makes its checksums too: what stands there is then another value, or is
    refused.
    """
    (made,) = encode(0, ROOT, arrays_of(ROOT, 4)).values()
    data, borders = bytearray(made.data), [0, *(extent.stop for extent in made.extents)]
    for place in range(flip % 3, len(data), 5):
        data[place] ^= flip
        view = memoryview(bytes(data))
        lying = Table(
            LocalFolder(tmp_path),
            "row",
            ROOT,
            [shard(tmp_path, Encoded(view, tile(view, borders)), 4)],
        )
        data[place] ^= flip
        try:
            taken = take(lying, range(4))
        except CorruptShard:
            continue
        assert {name: a.shape for name, a in taken.items()} == {"row_hash": (4,), "logits": (4, 3)}


def test_a_file_takes_no_more_memory_than_its_bytes() -> None:
    columns = [Column("vectors", "float16", 64)]
    arrays = arrays_of(columns, 1 << 16)
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    try:
        (made,) = encode(0, columns, arrays).values()
    finally:
        pa.set_memory_pool(before)
    assert len(made.data) > 1 << 23
    assert pool.max_memory() < 1 << 20  # Arrow's allocator keeps what it once had
