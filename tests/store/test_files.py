from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logitcache.errors import OutOfSpace
from logitcache.store.files import temporary, write_atomic


def fail(monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    def broken(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, name, broken)


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for data in (b"one", memoryview(b"another"), b""):
        write_atomic(path, data)
        assert path.read_bytes() == bytes(data)
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, b"before")
    fail(monkeypatch, step, code)
    with pytest.raises(OutOfSpace) as caught:
        write_atomic(path, b"x" * 12345)
    monkeypatch.undo()
    limit = " or a limit on file sizes (ulimit -f)" if code == errno.EFBIG else ""
    assert str(caught.value).startswith(f"{path}: disk full{limit}: needed 12,345 bytes, found ")
    assert "run the same command again" in str(caught.value)
    assert caught.value.exit_code == 7
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_another_fault_of_the_disk_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    fail(monkeypatch, step, errno.EIO)
    with pytest.raises(OSError, match="Input/output error") as caught:
        write_atomic(tmp_path / "a.json", b"x")
    assert type(caught.value) is OSError
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "a.json", b"x")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    temporary(path).write_bytes(b"half of it, and more than will be written")
    write_atomic(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_the_bytes_are_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def watch(name: str, real: Callable[..., None]) -> Callable[..., None]:
        def step(*arguments: Any) -> None:
            steps.append(name)
            real(*arguments)

        return step

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, watch(name, getattr(os, name)))
    write_atomic(tmp_path / "a.json", b"x")
    assert steps == ["fsync", "replace", "fsync"]  # the file, its name, the folder
