from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from logitcache.errors import CorruptShard, FormatError
from logitcache.store.extents import MAX_BYTES
from logitcache.store.space import Space

SIZES = [10, 0, mmap.PAGESIZE, mmap.PAGESIZE + 1, 1]


def test_files_stand_side_by_side(tmp_path: Path) -> None:
    space, draw = Space(SIZES), [os.urandom(size) for size in SIZES]
    for index in (3, 0, 4, 1, 2):
        # unmapped places hold zeros
        assert not space.data[space.starts[index] :][: SIZES[index]].any()
        (tmp_path / str(index)).write_bytes(draw[index])
        assert bytes(space.map(index, tmp_path / str(index))) == draw[index]
    for index, expected in enumerate(draw):
        assert space.data[space.starts[index] :][: SIZES[index]].tobytes() == expected
    assert not space.data.flags.writeable


def test_a_reserved_range_costs_no_memory() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE

    before = resident()
    space = Space([1 << 30] * 100)
    assert len(space.data) == 100 << 30
    assert resident() - before < 16 << 20


def test_more_than_a_process_can_address_is_refused() -> None:
    for sizes in ([MAX_BYTES + 1], [MAX_BYTES, 1]):
        with pytest.raises(FormatError, match="expected at most"):
            Space(sizes)


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"x" * 9)
    (tmp_path / "right").write_bytes(b"x" * 10)
    (tmp_path / "link").symlink_to(tmp_path / "right")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    said = {
        "none": "expected a file, found: No such file",
        "short": "expected 10 bytes, found 9",
        "link": "expected a file, found: Too many levels of symbolic links",
        "folder": "expected a file, found a folder or a special file",
        "pipe": "expected a file, found a folder or a special file",
    }
    for name, part in said.items():
        with pytest.raises(CorruptShard) as caught:
            Space([10]).map(0, tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: {part}")


def test_opening_and_closing_a_thousand_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 10)
    maps, handles = Path("/proc/self/maps"), Path("/proc/self/fd")
    before = len(maps.read_text().splitlines()), len(list(handles.iterdir()))
    for _ in range(1000):
        Space([10]).map(0, tmp_path / "x")
    after = len(maps.read_text().splitlines()), len(list(handles.iterdir()))
    assert after[0] <= before[0] + 20
    assert after[1] <= before[1] + 1
