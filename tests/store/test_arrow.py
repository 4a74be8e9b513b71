from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.errors import CorruptShard
from logitcache.store.arrow import BATCH_ROWS, Shard, encode
from logitcache.store.columns import DTYPES, Column

ROOT = [Column("row_hash", "int64"), Column("logits", "float16", 3)]
SIZES = [0, 1, 2, BATCH_ROWS - 1, BATCH_ROWS, BATCH_ROWS + 1, 2 * BATCH_ROWS, 5000]


def arrays_of(columns: list[Column], rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Any bits at all, NaN and infinity included."""
    draw = np.random.default_rng(seed)
    return {c.name: np.frombuffer(draw.bytes(rows * c.row_bytes()), c.dtype).reshape(c.shape(rows)) for c in columns}


def shard(path: Path, columns: list[Column], arrays: dict[str, np.ndarray]) -> Shard:
    path.write_bytes(encode(columns, arrays))
    return Shard(path, columns, len(arrays[columns[0].name]))


def same_bits(one: np.ndarray, other: np.ndarray) -> None:
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    assert one.tobytes() == other.tobytes()


COLUMNS = st.lists(st.tuples(st.sampled_from(DTYPES), st.integers(0, 9)), min_size=1, max_size=4).map(
    lambda kinds: [Column(f"c{i}", *kind) for i, kind in enumerate(kinds)]
)


@settings(deadline=None)
@given(COLUMNS, st.sampled_from(SIZES[:6]), st.data())
def test_take_gives_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, columns: list[Column], rows: int, data: st.DataObject
) -> None:
    arrays = arrays_of(columns, rows)
    opened = shard(tmp_path_factory.mktemp("s") / "0.arrow", columns, arrays)
    wanted = data.draw(st.lists(st.integers(0, rows - 1), max_size=30)) if rows else []
    index = np.array(wanted, np.int64)
    taken = opened.take(index)
    assert list(taken) == [c.name for c in columns]
    for name, array in taken.items():
        same_bits(array, arrays[name][index])


@pytest.mark.parametrize("rows", SIZES)
def test_every_row_in_any_order(tmp_path: Path, rows: int) -> None:
    arrays = arrays_of(ROOT, rows)
    opened = shard(tmp_path / "0.arrow", ROOT, arrays)
    for index in (np.arange(rows), np.random.default_rng(1).permutation(rows), np.repeat(np.arange(rows), 2)[::-1]):
        for name, array in opened.take(index.astype(np.int64)).items():
            same_bits(array, arrays[name][index])


def test_only_the_columns_asked_for(tmp_path: Path) -> None:
    opened = shard(tmp_path / "0.arrow", ROOT, arrays_of(ROOT, 5))
    assert list(opened.take(np.array([3]), ["logits"])) == ["logits"]


def test_what_is_taken_is_the_callers_own(tmp_path: Path) -> None:
    arrays = arrays_of(ROOT, 5)
    opened = shard(tmp_path / "0.arrow", ROOT, arrays)
    before = (tmp_path / "0.arrow").read_bytes()
    opened.take(np.array([1]))["row_hash"][:] = 0
    same_bits(opened.take(np.array([1]))["row_hash"], arrays["row_hash"][[1]])
    assert (tmp_path / "0.arrow").read_bytes() == before


@pytest.mark.parametrize("rows", [1, 5000])
def test_the_same_arrays_give_the_same_bytes(rows: int) -> None:
    arrays = arrays_of(ROOT, rows)
    strided = {name: np.repeat(array, 2, axis=0)[::2] for name, array in arrays.items()}
    assert bytes(encode(ROOT, arrays)) == bytes(encode(ROOT, strided))


def test_a_stranger_reads_it_with_plain_arrow(tmp_path: Path) -> None:
    arrays = arrays_of(ROOT, 2500)
    shard(tmp_path / "0.arrow", ROOT, arrays)
    with pa.memory_map(str(tmp_path / "0.arrow")) as source:
        reader = pa.ipc.open_file(source)
        sizes = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
        table = reader.read_all()
    assert sizes == [1024, 1024, 452]
    assert table.schema.field("logits").type == pa.list_(pa.field("item", pa.float16(), nullable=False), 3)
    assert not any(field.nullable for field in table.schema)
    same_bits(table["row_hash"].to_numpy(), arrays["row_hash"])
    flat = np.concatenate([np.asarray(chunk.flatten()) for chunk in table["logits"].chunks])
    same_bits(flat.reshape(-1, 3), arrays["logits"])


def foreign(path: Path, batches: list[int], **options: object) -> Path:
    """A file of two columns as another writer might make it."""
    schema = pa.schema(
        [pa.field("row_hash", pa.int64(), nullable=False), pa.field("label", pa.int64(), nullable=False)]
    )
    with (
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_file(sink, schema, options=pa.ipc.IpcWriteOptions(**options)) as w,
    ):
        for rows in batches:
            w.write_batch(pa.record_batch([pa.array(np.arange(rows))] * 2, schema=schema))
    return path


PLAIN = [Column("row_hash", "int64"), Column("label", "int64")]


@pytest.mark.parametrize(
    ("columns", "rows", "said"),
    [
        (ROOT, 11, "expected 11 rows of row_hash, logits, found 10"),
        (ROOT, 9, "expected 9 rows"),
        (ROOT[:1], 10, "expected 10 rows of row_hash, found 10 of row_hash, logits"),
        (ROOT[::-1], 10, "expected 10 rows of logits, row_hash, found 10 of row_hash, logits"),
        ([ROOT[0], Column("logits", "float16", 4)], 10, "columns of another type"),
        ([ROOT[0], Column("logits", "float32", 3)], 10, "columns of another type"),
        ([ROOT[0], Column("probs", "float16", 3)], 10, "found 10 of row_hash, logits"),
    ],
)
def test_another_content_is_refused(tmp_path: Path, columns: list[Column], rows: int, said: str) -> None:
    path = shard(tmp_path / "0.arrow", ROOT, arrays_of(ROOT, 10)).path
    with pytest.raises(CorruptShard) as caught:
        Shard(path, columns, rows).take(np.array([0]))
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_record_batches_of_other_sizes_are_refused(tmp_path: Path) -> None:
    right = Shard(foreign(tmp_path / "a", [1024, 10]), PLAIN, 1034)
    assert right.take(np.array([1030]))["label"].tolist() == [6]
    for batches in ([10, 1024], [512, 522]):
        with pytest.raises(CorruptShard):
            Shard(foreign(tmp_path / "b", batches), PLAIN, 1034).take(np.array([0]))


def test_compressed_values_are_refused(tmp_path: Path) -> None:
    path = foreign(tmp_path / "a", [1000], compression="zstd")
    with pytest.raises(CorruptShard, match="uncompressed"):
        Shard(path, PLAIN, 1000).take(np.array([0]))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = shard(tmp_path / "0.arrow", ROOT, arrays_of(ROOT, 3000)).path
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CorruptShard) as caught:
        Shard(path, ROOT, 3000).take(np.array([0]))
    assert str(caught.value).startswith(f"{path}: expected an Arrow file, found: ")


def test_a_file_that_is_gone_or_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptShard):
        Shard(tmp_path / "none.arrow", ROOT, 1).take(np.array([0]))
    (tmp_path / "text.arrow").write_bytes(b"no Arrow file at all" * 100)
    with pytest.raises(CorruptShard):
        Shard(tmp_path / "text.arrow", ROOT, 1).take(np.array([0]))


@pytest.mark.parametrize("flip", [0xFF, 0x01])
def test_a_damaged_byte_gives_an_error_or_other_values_never_a_crash(tmp_path: Path, flip: int) -> None:
    """What take does not see, the checksums of ``Cache.verify`` do."""
    data = bytearray(encode(ROOT, arrays_of(ROOT, 4)))
    path = tmp_path / "0.arrow"
    for place in range(len(data)):
        data[place] ^= flip
        path.write_bytes(data)
        data[place] ^= flip
        try:
            taken = Shard(path, ROOT, 4).take(np.arange(4))
        except CorruptShard:
            continue
        assert {name: a.shape for name, a in taken.items()} == {"row_hash": (4,), "logits": (4, 3)}


def test_a_shard_travels_by_its_place_not_its_bytes(tmp_path: Path) -> None:
    columns = [Column("label", "int64")]
    path = tmp_path / "00000.arrow"
    path.write_bytes(encode(columns, {"label": np.arange(5000)}))
    shard = Shard(path, columns, 5000)
    shard.take(np.array([1]))
    travelled = pickle.dumps(shard)
    assert len(travelled) < 1000
    assert pickle.loads(travelled).take(np.array([4999]))["label"].tolist() == [4999]
