from __future__ import annotations

import errno
import os
import runpy
from pathlib import Path
from typing import Any

import pytest

from logitcache.errors import DiskError, FormatError, OutOfSpace
from logitcache.store import files
from logitcache.store.files import (
    is_there,
    leftovers,
    make_folder,
    reading,
    refuse_link,
    refuse_links,
    remove,
    remove_folder,
    temporary,
    write_atomic,
    write_new,
    write_pieces,
)

disk = runpy.run_path(str(Path(__file__).parents[1] / "fake_disk.py"))
Steps, Recording, using = disk["Steps"], disk["Recording"], disk["using"]
WRITERS = [write_atomic, write_new]
NO_SPACE = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]


class Broken(Steps):
    """One kind of operation fails always."""

    def __init__(self, fails: str, error: BaseException) -> None:
        super().__init__()
        self.fails, self.error = fails, error

    def at(self, step: int, name: str, do: Any, arguments: Any) -> Any:
        if name == self.fails:
            raise self.error
        return do()


def broken(name: str, code: int) -> Any:
    return using(Broken(name, OSError(code, os.strerror(code))))


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_is_written_whole(tmp_path: Path, write: Any) -> None:
    for i, data in enumerate(
        (b"one", memoryview(b"another"), b"", memoryview(b"12345678").cast("H"))
    ):
        path = tmp_path / f"{i}" / "a.json"
        make_folder(path.parent)
        write(path, data)
        assert path.read_bytes() == bytes(data)
        assert list(path.parent.iterdir()) == [path]


def test_a_file_is_replaced_or_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, b"before")
    write_atomic(path, b"after")
    assert path.read_bytes() == b"after"
    with pytest.raises(DiskError, match="File exists"):
        write_new(path, b"another")
    with broken("link", errno.EPERM), pytest.raises(DiskError):  # nor where links cannot tell
        write_new(path, b"another")
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", files.NO_LINKS)
def test_a_file_system_without_links_is_written_too(tmp_path: Path, code: int) -> None:
    path = tmp_path / "a.json"
    with broken("link", code):
        write_new(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["create", "write", "sync", "replace"])
@pytest.mark.parametrize("code", NO_SPACE)
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, step: str, code: int) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, b"before")
    with broken(step, code), pytest.raises(OutOfSpace) as caught:
        write_atomic(path, b"x" * 12345)
    assert str(caught.value).startswith(f"{path}: disk full: needed 12,345 bytes, found ")
    assert os.strerror(code) in str(caught.value)
    assert "run the same command again" in str(caught.value)
    assert caught.value.exit_code == 7
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("step", ["create", "write", "sync", "close", "open_folder"])
@pytest.mark.parametrize("code", [errno.EIO, errno.EINTR, errno.ESTALE])
def test_another_fault_of_the_disk_is_an_error_of_one_line(
    tmp_path: Path, write: Any, step: str, code: int
) -> None:
    path = tmp_path / "a.json"
    with broken(step, code), pytest.raises(DiskError) as caught:
        write(path, b"x")
    assert type(caught.value) is DiskError
    assert str(caught.value).startswith(f"{path}: could not be written: {os.strerror(code)}. ")
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("code", files.NO_PLACE)
def test_a_place_that_cannot_be_used_stays_the_systems_own_error(tmp_path: Path, code: int) -> None:
    with broken("create", code), pytest.raises(OSError, match="Errno") as caught:
        write_atomic(tmp_path / "a.json", b"x")
    assert caught.value.errno == code


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("step", ["write", "sync", "open_folder"])
def test_an_interrupt_leaves_nothing_beside(tmp_path: Path, write: Any, step: str) -> None:
    with using(Broken(step, KeyboardInterrupt())), pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.json", b"x")
    assert not [path for path in tmp_path.iterdir() if path.name != "a.json"]


@pytest.mark.parametrize("write", WRITERS)
def test_what_a_kill_left_is_replaced(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "a.json"
    temporary(path).write_bytes(b"half of it, and more than will be written")
    write(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_second_name_that_a_kill_left_is_not_written_through(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"good")
    temporary(path).hardlink_to(path)
    write_atomic(tmp_path / "b.json", b"x")
    with pytest.raises(DiskError):
        write_new(path, b"bad")
    assert path.read_bytes() == b"good"


def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path,
) -> None:
    with using(Recording()) as system:
        write_atomic(tmp_path / "a.json", b"x")
        write_new(tmp_path / "b.json", b"x")
    steps = [name for name, *_ in system.log]
    assert steps[:7] == ["create", "write", "sync", "close", "replace", "open_folder", "sync"]
    assert steps[7:] == [
        "create",
        "write",
        "sync",
        "close",
        "link",
        "remove",
        "open_folder",
        "sync",
    ]


def test_a_folder_and_what_is_removed_last(tmp_path: Path) -> None:
    with using(Recording()) as system:
        make_folder(tmp_path / "a" / "b")
        remove(tmp_path, "a/nothing")
        write_new(tmp_path / "a" / "b" / "c", b"x")
        remove(tmp_path, "a/b/c")
        remove_folder(tmp_path / "a")
    steps = [
        (name, *[a.name for a in arguments if isinstance(a, Path)])
        for name, arguments, _ in system.log
    ]
    here = tmp_path.name
    assert [step for step in steps if step[0] not in ("sync", "close", "write", "create", "link")] == [
        ("make_folder", "a"), ("open_folder", here), ("make_folder", "b"), ("open_folder", "a"),
        ("remove", temporary(Path("c")).name), ("open_folder", "b"), ("remove", "c"), ("open_folder", "b"),
        ("remove_folder", "b"), ("open_folder", "a"), ("remove_folder", "a"), ("open_folder", here),
    ]  # fmt: skip


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "dear").write_bytes(b"x")
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "elsewhere").symlink_to(tmp_path / "mine")
    with pytest.raises(FormatError, match="found a link"):
        refuse_link(tmp_path / "shards" / "elsewhere")
    remove_folder(tmp_path / "shards")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine" / "dear").read_bytes() == b"x"


@pytest.mark.parametrize("link", ["a", "a/b", "a/b/c"])
def test_nothing_is_done_through_a_link_anywhere_on_the_way(tmp_path: Path, link: str) -> None:
    """The folder itself may be one: another disk."""
    make_folder(tmp_path / "disk" / "a" / "b")
    write_new(tmp_path / "disk" / "a" / "b" / "c", b"dear")
    (tmp_path / "cache").symlink_to(tmp_path / "disk")
    folder = tmp_path / "cache"
    assert is_there(folder, "a/b/c", 4)
    assert not is_there(folder, "a/b/c", 5)
    assert not is_there(folder, "a/b/c/d", 4)
    refuse_links(folder, "a/b/c")
    (folder / link).rename(tmp_path / "theirs")
    (folder / link).symlink_to(tmp_path / "theirs")
    before = _bytes(tmp_path / "theirs")
    assert not is_there(folder, "a/b/c", 4)
    with pytest.raises(FormatError, match="found a link") as caught:
        refuse_links(folder, "a/b/c")
    assert caught.value.where == str(folder / link)
    remove(folder, "a/b/c")
    assert not (folder / link).is_symlink()
    assert _bytes(tmp_path / "theirs") == before
    remove(folder, "a/b/c")


def test_a_folder_to_be_removed_that_is_a_link_loses_nothing_behind_it(tmp_path: Path) -> None:
    make_folder(tmp_path / "theirs")
    write_new(tmp_path / "theirs" / "dear", b"x")
    (tmp_path / "gone").symlink_to(tmp_path / "theirs")
    remove_folder(tmp_path / "gone")
    assert _bytes(tmp_path) == {"theirs/dear": b"x"}
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def _bytes(path: Path) -> dict[str, bytes]:
    found = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in found}


def test_what_kills_leave_are_files(tmp_path: Path) -> None:
    make_folder(tmp_path / ".a folder.tmp")
    (tmp_path / ".a.json.77.tmp").write_bytes(b"torn")
    (tmp_path / "mine.tmp").write_bytes(b"dear")
    assert leftovers(tmp_path) == [tmp_path / ".a.json.77.tmp"]


def test_pieces_that_fail_leave_what_was_there(tmp_path: Path) -> None:
    def pieces(fail: bool) -> Any:
        yield b"one, "
        if fail:
            raise FormatError("no more")
        yield memoryview(b"two")

    path = tmp_path / "a"
    write_pieces(path, pieces(False), 8)
    with pytest.raises(FormatError, match="no more"):
        write_pieces(path, pieces(True), 8)
    assert _bytes(tmp_path) == {"a": b"one, two"}


def test_what_cannot_be_read_is_not_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="could not be read: Input/output error"), reading(tmp_path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    with pytest.raises(FileNotFoundError), reading(tmp_path):
        (tmp_path / "nothing").read_bytes()
