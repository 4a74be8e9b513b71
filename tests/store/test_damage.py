"""Whatever happens to a finished cache's files: a row is given out as it was written, or not at
all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from logitcache.errors import CorruptShard, FormatError, LogitCacheError
from logitcache.store.extents import File
from logitcache.store.manifest import Plan
from logitcache.store.reader import Reader, all_rows
from tests.fake_caches import make_ragged, plan, ragged, tree

Arrays = dict[str, np.ndarray]
PLANS = {
    "flat": plan(rows=5000, shard_rows=2600, width=4),
    "ragged": ragged(rows=1500, shard_rows=800),
}


def rows_of(reader: Reader) -> Iterator[tuple[str, Arrays]]:
    """Every column of every level, a level at a time."""
    for level in reader.tables:
        names = [name for name, column in reader.columns.items() if column.level == level]
        yield level, reader.take(all_rows(reader, level), names)


class Whole:
    """A sound cache, what it holds, and how what is done to it is noticed."""

    def __init__(self, folder: Path, of: Plan) -> None:
        self.folder, self.plan = folder, of
        reader = make_ragged(folder, of)
        self.rows = dict(rows_of(reader))
        self.sound = tree(folder)
        self.files = {
            f"shards/{file.name}": file
            for receipt in reader.manifest.receipts
            for file in receipt.files
        }

    def mend(self) -> None:
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_symlink() or (
                path.is_file() and path.relative_to(self.folder).as_posix() not in self.sound
            ):
                path.unlink()
        for name, data in self.sound.items():
            path = self.folder / name
            if not path.is_file() or path.read_bytes() != data:
                path.write_bytes(data)

    def noticed(self, name: str) -> list[str]:
        """Who noticed that this file is spoilt: ``open``, ``take``, ``verify``. No wrong row is
        ever given out.
        """
        found, path = [], self.folder / name
        try:
            reader = Reader.open(self.folder)
        except LogitCacheError as error:
            where = error.where
            assert where == str(path)
            found.append("open")
            if name == "manifest.json":
                return found
            reader = Reader.open(self.folder, check_sizes=False)
        try:
            for level, arrays in rows_of(reader):
                for column, array in arrays.items():
                    assert array.tobytes() == self.rows[level][column].tobytes(), (
                        f"{name}: a wrong row was given out"
                    )
        except CorruptShard as error:
            where = error.where
            assert where == str(path)
            found.append("take")
        faults = [
            fault
            for fault in Reader.open(self.folder, check_sizes=False).faults()
            if fault.file == name
        ]
        return found + ["verify"] * bool(faults)


@pytest.fixture(scope="module", params=PLANS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole(tmp_path_factory.mktemp("damage") / request.param, PLANS[request.param])


def flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def regions(whole: Whole) -> list[tuple[str, int, int]]:
    """(file, start, stop) of every extent of every file; a file without extents is one region."""
    found = [
        (name, extent.start, extent.stop)
        for name, file in whole.files.items()
        for extent in file.extents
    ]
    return found + [
        (name, 0, len(data)) for name, data in whole.sound.items() if name not in whole.files
    ]


def flips(whole: Whole, number: int) -> None:
    draw, every = np.random.default_rng(number), regions(whole)
    by = dict.fromkeys(("open", "take", "verify"), 0)
    for case in range(number):
        name, start, stop = every[case % len(every)]
        bit = int(draw.integers(8 * start, 8 * stop))
        flip(whole.folder / name, bit)
        noticed = whole.noticed(name)
        flip(whole.folder / name, bit)
        assert noticed, (name, bit)
        if name in whole.files:
            assert noticed == ["take", "verify"], (name, bit)
        elif name == "manifest.json":
            assert noticed == ["open"], bit
        by[noticed[0]] += 1
    print(f"\n{number} of {number} flipped bits noticed before a row was given out: {by}")


def test_every_flipped_bit_is_noticed(whole: Whole) -> None:
    flips(whole, 50)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_flipped_bits_are_noticed(whole: Whole) -> None:
    flips(whole, 1000)


def test_an_error_names_file_batch_and_rows(tmp_path: Path) -> None:
    whole = Whole(tmp_path / "cache", PLANS["flat"])
    name = "shards/00001.arrow"
    extent = whole.files[name].extents[2]
    flip(whole.folder / name, 8 * extent.start + 3)
    reader = Reader.open(whole.folder)
    # other batches are given out
    sound = reader.take(reader.places(np.array([0, 2600, 4999])), ["label"])["label"]
    assert sound.tobytes() == whole.rows["row"]["label"][[0, 2600, 4999]].tobytes()
    for _ in range(2):  # the same error again: what failed once is not taken for checked
        with pytest.raises(
            CorruptShard,
            match=r"00001\.arrow: record batch 1, rows 3624 to 4647 .*logitcache repair",
        ):
            reader.take(reader.places(np.array([0, 4000])), ["label"])
    (fault,) = Reader.open(whole.folder).faults()
    assert (fault.file, fault.batch, fault.rows) == (name, 1, (3624, 4647))
    for spoilt, what in ((0, "header"), (len(whole.sound[name]) - 1, "footer")):
        whole.mend()
        flip(whole.folder / name, 8 * spoilt)
        (fault,) = Reader.open(whole.folder).faults()
        assert (fault.file, fault.batch) == (name, None)
        assert what in fault.what


def cut(path: Path, size: int) -> None:
    os.truncate(path, size)


def zero(path: Path, file: File, draw: np.random.Generator) -> None:
    data = bytearray(path.read_bytes())
    start = int(draw.integers(len(data)))
    stop = min(len(data), start + int(draw.integers(1, 4096)))
    before, data[start:stop] = bytes(data), bytes(stop - start)
    path.write_bytes(data if bytes(data) != before else bytes(len(data)))


def cuts(file: File) -> list[int]:
    """Borders of record batches and one byte to each side."""
    borders = {
        border + by
        for extent in file.extents
        for border in (extent.start, extent.stop)
        for by in (-1, 0, 1)
    }
    return sorted(size for size in borders if 0 <= size != file.bytes)


Spoil = Callable[[Whole, str, np.random.Generator], object]


def _other(whole: Whole, name: str, draw: np.random.Generator) -> str:
    """Another file of the same level."""
    level = name.partition(".")[2]
    return str(
        draw.choice(
            [other for other in whole.files if other != name and other.partition(".")[2] == level]
        )
    )


def swap(whole: Whole, name: str, draw: np.random.Generator) -> None:
    other = whole.folder / _other(whole, name, draw)
    mine, its = (whole.folder / name).read_bytes(), other.read_bytes()
    (whole.folder / name).write_bytes(its)
    other.write_bytes(mine)


SPOILS: dict[str, Spoil] = {
    "cut at a border": lambda w, n, d: cut(w.folder / n, int(d.choice(cuts(w.files[n])))),
    "cut": lambda w, n, d: cut(w.folder / n, int(d.integers(w.files[n].bytes))),
    "zeros": lambda w, n, d: zero(w.folder / n, w.files[n], d),
    "swapped": swap,
    "doubled": lambda w, n, d: shutil.copy(w.folder / _other(w, n, d), w.folder / n),
    "deleted": lambda w, n, d: (w.folder / n).unlink(),
    "renamed": lambda w, n, d: (w.folder / n).rename(w.folder / f"shards/x{d.integers(9)}.arrow"),
    "longer": lambda w, n, d: (w.folder / n).write_bytes(
        w.sound[n] + d.bytes(int(d.integers(1, 9)))
    ),
    "foreign": lambda w, n, d: shutil.copy(foreign(w) / n, w.folder / n),
    "a link": lambda w, n, d: link(w.folder / n),
}


def foreign(whole: Whole) -> Path:
    """The same plan, other answers."""
    folder = whole.folder.with_name("foreign")
    if not folder.exists():
        make_ragged(folder, whole.plan, seed=9)
    return folder


def link(path: Path) -> None:
    path.rename(path.parent.parent.with_name("elsewhere"))
    path.symlink_to(path.parent.parent.with_name("elsewhere"))


def spoilt(whole: Whole, number: int) -> None:
    draw, names = np.random.default_rng(number), list(whole.files)
    for case in range(number):
        kind, name = list(SPOILS)[case % len(SPOILS)], names[int(draw.integers(len(names)))]
        before = dict(whole.sound)
        SPOILS[kind](whole, name, draw)
        # shards may be alike
        if tree(whole.folder) != before or (whole.folder / name).is_symlink():
            found = whole.noticed(name) if kind != "swapped" else seen(whole)
            assert "verify" in found, (kind, name)
            assert len(found) > 1, (kind, name)
        whole.mend()
    assert tree(whole.folder) == whole.sound
    print(f"\n{number} of {number} noticed: {', '.join(SPOILS)}")


def seen(whole: Whole) -> list[str]:
    """Who noticed anything at all, two files being spoilt."""
    names = {fault.file for fault in Reader.open(whole.folder, check_sizes=False).faults()}
    assert len(names) == 2
    with pytest.raises(CorruptShard) as caught:
        list(rows_of(Reader.open(whole.folder)))
    assert Path(str(caught.value.where)).relative_to(whole.folder).as_posix() in names
    return ["take", "verify"]


def test_whatever_happens_to_a_shard_is_noticed(whole: Whole) -> None:
    spoilt(whole, 2 * len(SPOILS))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_things_that_happen_to_shards_are_noticed(whole: Whole) -> None:
    spoilt(whole, 200)


@pytest.mark.parametrize(
    "name", ["manifest.json", "plan.json", "shards/00001.json", "shards/00000.arrow", "shards"]
)
def test_a_link_to_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    make_ragged(tmp_path / "cache", plan())
    path = tmp_path / "cache" / name
    shutil.move(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    if name.startswith("shards/") or name == "plan.json":
        assert name in [
            fault.file for fault in Reader.open(tmp_path / "cache", check_sizes=False).faults()
        ]
    if name not in ("plan.json", "shards/00001.json"):  # which a reader does not open
        with pytest.raises(FormatError, match="found a link") as caught:
            Reader.open(tmp_path / "cache")
        assert caught.value.where == str(path)


def test_no_false_alarm(tmp_path: Path) -> None:
    """Moved, copied, touched, reached by a link: the same cache."""
    digest = make_ragged(tmp_path / "cache", ragged()).manifest.digest
    shutil.copytree(tmp_path / "cache", tmp_path / "copied")
    (tmp_path / "cache").rename(tmp_path / "moved")
    (tmp_path / "linked").symlink_to(tmp_path / "moved")
    for path in (tmp_path / "moved").rglob("*"):
        os.utime(path, (0, 0))
    for name in ("moved", "copied", "linked"):
        reader = Reader.open(tmp_path / name)
        assert (reader.manifest.digest, list(reader.faults())) == (digest, [])
        assert dict(rows_of(reader))
