"""What every store does: one suite for all of them."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.errors import CorruptShard, FormatError
from logitcache.store import stores
from logitcache.store.columns import DTYPES, Column, ends
from logitcache.store.manifest import Plan
from logitcache.store.reader import Reader, all_rows
from logitcache.store.shards import LocalFolder, Places, Shard, Table
from logitcache.store.writer import CacheWriter
from tests.fake_caches import CONDITIONS, SKETCHES, go_on, make_ragged, part, plan, ragged, tree
from tests.shortly import some

SIZES = [(1, 5), (1024, 1024), (1025, 1024), (2500, 1500)]  # rows, and those of a shard
COLUMNS = st.lists(
    st.tuples(st.sampled_from(DTYPES), st.integers(0, 9)), min_size=1, max_size=4
).map(lambda kinds: tuple(Column(f"c{i}", *kind) for i, kind in enumerate(kinds)))


@pytest.fixture(params=stores.NAMES, scope="module")
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cache(store: str, tmp_path: Path) -> Path:
    """A small ragged one of three shards."""
    make_ragged(tmp_path / "cache", ragged(store=store))
    return tmp_path / "cache"


def whole(of: Plan, level: str) -> dict[str, np.ndarray]:
    """What ``part`` put into the columns of a level, shard after shard."""
    parts = [part(of, index) for index in range(of.shard_count)]
    return {
        c.name: np.concatenate([p[c.name] for p in parts]) for c in of.columns if c.level == level
    }


def read(reader: Reader) -> dict[str, np.ndarray]:
    """Every column of every level."""
    found = {}
    for level in reader.tables:
        names = [name for name, column in reader.columns.items() if column.level == level]
        found |= reader.take(all_rows(reader, level), names)
    return found


def same_bits(one: np.ndarray, other: np.ndarray) -> None:
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    assert one.tobytes() == other.tobytes()


def files_of(cache: Path) -> list[Path]:
    """The files of a cache's shards, without the receipts."""
    names = [
        file.name for receipt in Reader.open(cache).manifest.receipts for file in receipt.files
    ]
    return [cache / "shards" / name for name in names]


@pytest.mark.parametrize(("rows", "shard_rows"), SIZES)
def test_all_levels_come_back_as_they_were(
    store: str, tmp_path: Path, rows: int, shard_rows: int
) -> None:
    of = ragged(rows, shard_rows, store=store)
    reader = make_ragged(tmp_path, of)
    found = read(reader)
    for level in reader.tables:
        for name, array in whole(of, level).items():
            same_bits(found[name], array)
    assert list(reader.faults()) == []


@settings(deadline=None, max_examples=15)
@given(columns=COLUMNS, rows=st.sampled_from([1, 2, 1023, 1024, 1025]), data=st.data())
def test_any_records_of_any_columns_in_any_order(
    store: str,
    tmp_path_factory: pytest.TempPathFactory,
    columns: tuple[Column, ...],
    rows: int,
    data: st.DataObject,
) -> None:
    """Any bits at all, NaN and infinity included."""
    draw = np.random.default_rng(0)
    arrays = {
        c.name: np.frombuffer(draw.bytes(rows * c.record_bytes()), c.dtype).reshape(c.shape(rows))
        for c in columns
    }
    encoded = stores.of(store).encode(0, columns, arrays)
    assert list(encoded) == stores.of(store).names(0, columns)
    table = written(store, columns, rows, encoded, tmp_path_factory.mktemp("shards"))
    index = np.array(data.draw(st.lists(st.integers(0, rows - 1), max_size=30)), np.int64)
    for name, array in table.take(
        Places(np.zeros(len(index), np.int64), index), [c.name for c in columns]
    ).items():
        same_bits(array, arrays[name][index])


def written(
    store: str, columns: tuple[Column, ...], rows: int, encoded: dict, folder: Path
) -> Table:
    """One level of one shard."""
    files = {}
    for name, each in encoded.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(each.data)
        files[name] = each.described(name)
    shard = Shard(0, 0, rows, 1, {"row": rows}, files)
    return stores.of(store).Table(LocalFolder(folder), "row", columns, [shard])


@pytest.mark.parametrize("rows", [10, 3000])
def test_rows_by_row_id_and_view_across_shards(store: str, tmp_path: Path, rows: int) -> None:
    of = ragged(rows, rows // 3, views=3, store=store)
    reader, expected = make_ragged(tmp_path, of), whole(of, "row")["row_hash"]
    draw = np.random.default_rng(1)
    row_id, view = draw.integers(0, rows, 200), draw.integers(0, 3, 200)
    taken = reader.take(reader.places(row_id, view), ["row_hash"])["row_hash"]
    same_bits(taken, expected[row_id * 3 + view])


def test_what_is_below_a_record_is_its_own(store: str, tmp_path: Path) -> None:
    """Against the plain reading: everything below a record, of the shard it is in."""
    of = ragged(40, 15, store=store)
    reader, draw = make_ragged(tmp_path, of), np.random.default_rng(2)
    row_id, view = draw.integers(0, 40, 60), draw.integers(0, 2, 60)
    rows = reader.places(row_id, view)
    indptr, positions = reader.below("logits", rows)
    inner, entries = reader.below("logits.entry", positions)
    position, ids = (
        reader.take(positions, ["position"])["position"],
        reader.take(entries, ["id"])["id"],
    )
    for i, (shard, record) in enumerate(zip(*rows, strict=True)):
        arrays = part(of, int(shard))
        start, stop = (int(n) for n in np.append(0, arrays["logits_end"])[record : record + 2])
        same_bits(position[indptr[i] : indptr[i + 1]], arrays["position"][start:stop])
        bounds = np.append(0, arrays["logits_entry_end"])
        same_bits(
            ids[inner[indptr[i]] : inner[indptr[i + 1]]], arrays["id"][bounds[start] : bounds[stop]]
        )


def test_levels_without_any_record(store: str, tmp_path: Path) -> None:
    columns = (*plan().columns[:2], ends("logits"), Column("value", "float32", 3, "logits"))
    of = plan(store=store, columns=columns)
    with CacheWriter(tmp_path, of) as writer:
        for index in writer.missing:
            arrays = part(of, index)
            arrays |= {
                "logits_end": np.zeros_like(arrays["logits_end"]),
                "value": np.zeros((0, 3), np.float32),
            }
            writer.write(index, arrays, SKETCHES, CONDITIONS)
        writer.seal()
    reader = Reader.open(tmp_path)
    indptr, places = reader.below("logits", reader.places(np.arange(10)))
    assert indptr.tolist() == [0] * 11
    assert reader.take(places, ["value"])["value"].shape == (0, 3)
    assert list(reader.faults()) == []


def test_what_is_taken_is_the_callers_own(cache: Path) -> None:
    before, reader = tree(cache), Reader.open(cache)
    read(reader)["row_hash"][:] = 0
    same_bits(read(reader)["row_hash"], whole(reader.manifest.plan, "row")["row_hash"])
    assert tree(cache) == before


def test_the_same_arrays_give_the_same_files(store: str, tmp_path: Path) -> None:
    of = ragged(store=store)
    for name in ("a", "b"):
        make_ragged(tmp_path / name, of)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    arrays = part(of, 0)
    strided = {name: np.repeat(array, 2, axis=0)[::2] for name, array in arrays.items()}
    one, other = (stores.of(store).encode(0, of.columns, each) for each in (arrays, strided))
    assert {k: bytes(v.data) for k, v in one.items()} == {
        k: bytes(v.data) for k, v in other.items()
    }


def test_extents_tile_every_file_and_no_file_is_elsewhere(cache: Path, tmp_path: Path) -> None:
    reader = Reader.open(cache)
    for receipt in reader.manifest.receipts:
        for file in receipt.files:
            data = memoryview((cache / "shards" / file.name).read_bytes())
            assert [0, *(e.stop for e in file.extents)] == [
                *(e.start for e in file.extents),
                len(data),
            ]
            assert all(extent.holds(data) for extent in file.extents)
    small = {"plan.json", "manifest.json", *(f"shards/{i:05d}.json" for i in range(3))}
    assert set(tree(cache)) == {
        *small,
        *(path.relative_to(cache).as_posix() for path in files_of(cache)),
    }
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def refused(cache: Path, path: Path) -> None:
    """Reading everything ends in an error that names the file, and so does verifying."""
    with pytest.raises(FormatError) as caught:
        read(Reader.open(cache))
    assert caught.value.where == str(path)
    named = path.relative_to(cache).as_posix()
    faults = [fault.file for fault in Reader.open(cache, check_sizes=False).faults()]
    assert named in faults, faults


def test_a_flipped_bit_in_any_file_is_noticed(store: str, tmp_path: Path) -> None:
    make_ragged(tmp_path, ragged(6, 6, store=store))
    draw = np.random.default_rng(0)
    for path in files_of(tmp_path):
        for bit in draw.integers(0, 8 * path.stat().st_size, 2).tolist():
            flip(path, bit)
            refused(tmp_path, path)
            flip(path, bit)
    assert read(Reader.open(tmp_path))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_any_flipped_bit_is_noticed(store: str, tmp_path: Path) -> None:
    make_ragged(tmp_path / "cache", ragged(600, 600, store=store))
    files, draw = files_of(tmp_path / "cache"), np.random.default_rng(3)
    sizes = np.array([path.stat().st_size for path in files])
    for number in range(1000):
        path = (
            files[number % len(files)]
            if number % 2
            else files[draw.choice(len(files), p=sizes / sizes.sum())]
        )
        bit = int(draw.integers(0, 8 * path.stat().st_size))
        flip(path, bit)
        refused(tmp_path / "cache", path)
        flip(path, bit)
    print(f"\n{store}: 1000 of 1000 flipped bits noticed, the file named")


def test_a_fault_names_batch_and_rows(store: str, tmp_path: Path) -> None:
    reader = make_ragged(tmp_path, plan(rows=5000, shard_rows=2500, width=4, store=store))
    # of the second shard: the only file (arrow), or that of the logits (zarr)
    path = files_of(tmp_path)[-1]
    middle = reader.manifest.receipts[1].files[-1].extents[1 + (store == "arrow")]
    flip(path, 8 * (middle.start + 5))
    with pytest.raises(CorruptShard, match=r"batch 1, rows 3524 to 4547 ") as caught:
        read(Reader.open(tmp_path))
    assert caught.value.where == str(path)
    (fault,) = Reader.open(tmp_path).faults()
    assert (fault.batch, fault.rows) == (1, (3524, 4547))


SPOILS: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "a byte short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a byte longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize(
    ("store", "spoil"),
    some(
        product(stores.NAMES, SPOILS),
        lambda case: case[0] != "zarr" or case[1] in ("zeros", "a byte short"),
    ),
)
def test_a_spoilt_file_is_refused(cache: Path, spoil: str) -> None:
    for path in files_of(cache)[:: max(1, len(files_of(cache)) // 4)]:
        before = path.read_bytes()
        SPOILS[spoil](path)
        refused(cache, path)
        with pytest.raises(FormatError):
            read(Reader.open(cache, check_sizes=False))
        path.write_bytes(before)
    assert read(Reader.open(cache))


def test_another_shards_or_another_caches_files_are_refused(store: str, tmp_path: Path) -> None:
    for name, seed in (("cache", 0), ("other", 1)):
        make_ragged(tmp_path / name, plan(rows=12, shard_rows=4, store=store), seed)
    first, *_ = mine = files_of(tmp_path / "cache")
    per_shard = len(mine) // 3
    for path, foreign in (
        (mine[-1], mine[-1 - per_shard]),
        (mine[-1], files_of(tmp_path / "other")[-1]),
    ):
        before = path.read_bytes()
        path.write_bytes(foreign.read_bytes())
        refused(tmp_path / "cache", path)
        path.write_bytes(before)
    assert first.is_file()


def links(cache: Path) -> Iterator[Path]:
    """Every file and folder below ``shards``, each once replaced by a link to what it was."""
    for path in sorted(
        {*files_of(cache), *(p for p in (cache / "shards").rglob("*") if p.is_dir())}
    ):
        elsewhere = cache.parent / "elsewhere"
        shutil.move(path, elsewhere)
        path.symlink_to(elsewhere)
        yield path
        path.unlink()
        shutil.move(elsewhere, path)


def test_a_link_out_of_the_folder_is_refused(store: str, tmp_path: Path) -> None:
    make_ragged(tmp_path / "cache", plan(rows=3, store=store))
    for _ in links(tmp_path / "cache"):
        with pytest.raises(FormatError):
            read(Reader.open(tmp_path / "cache", check_sizes=False))
    assert read(Reader.open(tmp_path / "cache"))


def test_a_half_written_shard_is_made_again(cache: Path) -> None:
    """Whatever a kill has left of it: its first files, torn ones beside them, a folder without any."""
    whole, of = tree(cache), Reader.open(cache).manifest.plan
    names = stores.of(of.store).names(1, of.columns)
    for kept in {0, 1, len(names) // 2, len(names)}:
        for name in (
            "manifest.json",
            "shards/00001.json",
            *(f"shards/{name}" for name in names[kept:]),
        ):
            (cache / name).unlink()
        (cache / "shards" / names[-1]).with_name(".torn.1.tmp").write_bytes(b"torn")
        assert go_on(cache, of) == [1]
        assert tree(cache) == whole


def test_a_reader_travels_by_its_place_not_its_bytes(cache: Path) -> None:
    reader = Reader.open(cache)
    before = read(reader)
    travelled = pickle.dumps(reader.tables)
    assert len(travelled) < 20_000
    again = pickle.loads(travelled)["row"].take(all_rows(reader), ["row_hash"])["row_hash"]
    same_bits(again, before["row_hash"])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_reads_on(cache: Path) -> None:
    reader = Reader.open(cache)
    expected = read(reader)
    child = os.fork()
    if not child:
        found = read(reader)
        os._exit(
            0 if all(found[name].tobytes() == expected[name].tobytes() for name in expected) else 1
        )
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
