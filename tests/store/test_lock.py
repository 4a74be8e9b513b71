from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import runpy
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from logitcache import platforms
from logitcache.errors import DiskError, Locked, OutOfSpace
from logitcache.reporter import Notes
from logitcache.store import lock as locks
from logitcache.store.lock import LOCK, Lock, alive, lock_folder, refuse_held

disk = runpy.run_path(str(Path(__file__).parents[1] / "fake_disk.py"))
fork, told, using, Failing = disk["fork"], disk["told"], disk["using"], disk["Failing"]


def holding(folder: Path, **how: bool) -> tuple[int, int]:
    """A child that holds the lock until it is killed; it has it when this returns."""

    def hold(tell: Callable[[str], None]) -> None:
        lock = Lock(folder, **how)
        tell("held")
        while lock:
            time.sleep(10)

    pid, come = fork(hold)
    assert os.read(come, 5) == b"held\n"
    return pid, come


def kill(pid: int, come: int) -> None:
    os.kill(pid, signal.SIGKILL)
    assert told(pid, come)[0] == -signal.SIGKILL


def test_it_is_held_by_one_and_gone_when_given_back(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    assert json.loads((tmp_path / LOCK).read_bytes()) == {
        "pid": os.getpid(),
        "host": socket.gethostname(),
    }
    with pytest.raises(Locked) as caught:
        Lock(tmp_path)
    assert str(caught.value).startswith(
        f"{tmp_path}: process {os.getpid()} on '{socket.gethostname()}' is writing"
    )
    assert caught.value.exit_code == 5
    lock.release()
    lock.release()
    assert not list(tmp_path.iterdir())
    Lock(tmp_path).release()


def test_it_ends_with_its_last_reference(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    del lock
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_a_shared_one_is_held_by_any_number_and_removed_by_the_last(tmp_path: Path) -> None:
    several = [Lock(tmp_path, shared=True) for _ in range(3)]
    for lock in several:
        with pytest.raises(Locked):
            Lock(tmp_path)
        lock.release()
    assert not list(tmp_path.iterdir())
    alone = Lock(tmp_path)
    with pytest.raises(Locked):
        Lock(tmp_path, shared=True)
    alone.release()


def test_who_waits_gets_it(tmp_path: Path) -> None:
    def hold(tell: Callable[[str], None]) -> None:
        lock = Lock(tmp_path)
        tell("held")
        time.sleep(0.2)
        lock.release()

    pid, come = fork(hold)
    assert os.read(come, 5) == b"held\n"
    lock = Lock(tmp_path, wait=30.0)
    assert json.loads((tmp_path / LOCK).read_bytes())["pid"] == os.getpid()
    lock.release()
    assert told(pid, come)[0] == 0


def test_who_waits_says_for_whom_once(tmp_path: Path) -> None:
    pid, come = holding(tmp_path)
    notes = list[str]()
    with pytest.raises(Locked, match=f"process {pid} on .* is writing this vocabulary"):
        Lock(tmp_path, wait=0.3, content="this vocabulary", reporter=Notes(notes.append))
    assert notes == [
        f"{tmp_path}: waiting for process {pid} on {socket.gethostname()!r}, which is writing this vocabulary"
    ]
    kill(pid, come)


def test_nobody_waits_for_itself(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    started = time.monotonic()
    with pytest.raises(Locked, match=f"process {os.getpid()} "):
        Lock(tmp_path, wait=60.0)
    assert time.monotonic() - started < 30.0
    lock.release()


def test_a_thread_waits_for_another(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    thread = threading.Thread(target=lambda: Lock(tmp_path, wait=60.0).release())
    thread.start()
    lock.release()
    thread.join(60)
    assert not thread.is_alive()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_others_make_and_remove_is_locked_all_the_same(tmp_path: Path) -> None:
    def want() -> None:
        for _ in range(60):
            lock = lock_folder(tmp_path / "c", wait=60.0)
            lock.release()
            with contextlib.suppress(OSError):
                (tmp_path / "c").rmdir()

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert not any(thread.is_alive() for thread in threads)
    assert not list(tmp_path.glob("c/*"))


def test_whether_a_folder_is_held_is_asked_without_a_trace(tmp_path: Path) -> None:
    refuse_held(tmp_path, "this cache")
    (tmp_path / LOCK).write_bytes(b"of one who died")
    refuse_held(tmp_path, "this cache")
    assert (tmp_path / LOCK).read_bytes() == b"of one who died"
    lock = Lock(tmp_path)
    with pytest.raises(Locked, match=f"process {os.getpid()} .* is writing this result"):
        refuse_held(tmp_path, "this result")
    lock.release()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_the_lock_of_the_dead_is_taken_over_at_once(
    tmp_path: Path, shared: bool, times: int
) -> None:
    for _ in range(times):
        kill(*holding(tmp_path, shared=shared))
        assert (tmp_path / LOCK).exists()
        started = time.monotonic()
        Lock(tmp_path).release()
        assert time.monotonic() - started < locks.PATIENCE / 2
        assert not list(tmp_path.iterdir())


def test_a_child_of_the_holder_does_not_keep_it(tmp_path: Path) -> None:
    """As a DataLoader worker that outlives the dump."""

    def hold(tell: Callable[[str], None]) -> None:
        lock = Lock(tmp_path)

        def stay(_: Callable[[str], None]) -> None:
            lock.release()  # not its own
            tell(f"{os.getpid()}")
            time.sleep(600)

        fork(stay)
        time.sleep(600)

    pid, come = fork(hold)
    child = int(os.read(come, 20))
    try:
        with pytest.raises(Locked, match=f"process {pid} "):
            Lock(tmp_path)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        Lock(tmp_path).release()
        os.kill(child, 0)  # it lives still
    finally:
        os.kill(child, signal.SIGKILL)
        os.close(come)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{",
        b"[]",
        b'{"pid": 1}',
        b'{"pid": "x", "host": "y"}',
        b'{"pid": %d, "host": "%s"}' % (2**40, b"h"),
    ],
)
def test_a_holder_that_names_nobody_is_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.1)
    monkeypatch.setattr(socket, "gethostname", lambda: "h")
    held = Lock(tmp_path)
    (tmp_path / LOCK).write_bytes(said)
    with pytest.raises(Locked, match="another process is writing this cache"):
        Lock(tmp_path)
    held.release()


def test_the_dead_are_told_from_the_living(tmp_path: Path) -> None:
    held = Lock(tmp_path, ".part-0-of-3.lock")
    kill(*holding(tmp_path))
    (tmp_path / ".part-2-of-3.lock").write_bytes(b"")
    (tmp_path / ".other").write_bytes(b"")
    assert alive(tmp_path, ".*.lock") == [".part-0-of-3.lock"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other", ".part-0-of-3.lock"]
    held.release()


def test_a_lock_that_was_removed_is_not_held_against_anybody(tmp_path: Path) -> None:
    """The folder was deleted under a dump and made again: what stands there now is another's."""
    first = Lock(tmp_path)
    (tmp_path / LOCK).unlink()
    second = Lock(tmp_path)
    first.release()
    with pytest.raises(Locked):
        Lock(tmp_path)
    second.release()
    assert not list(tmp_path.iterdir())


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"dear")
    (tmp_path / LOCK).symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic links"):
        Lock(tmp_path)
    assert (tmp_path / "mine").read_bytes() == b"dear"


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def flock(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(platforms.fcntl, "flock", flock)
    with pytest.raises(DiskError, match="has no locks"):
        Lock(tmp_path)


@pytest.mark.parametrize("step", range(4))  # open, empty, write, remove
def test_a_disk_that_fails_leaves_nobody_locked_out(tmp_path: Path, step: int) -> None:
    with using(Failing(step, errno.ENOSPC)), pytest.raises(OutOfSpace):
        Lock(tmp_path).release()
    Lock(tmp_path).release()
    assert not list(tmp_path.iterdir())


def race(folder: Path) -> None:
    """Two processes want one folder at the same moment: one has it, the other is told of it."""
    ready, go = os.pipe()  # closed, it lets both go

    def want(tell: Callable[[str], None]) -> None:
        os.close(go)
        os.read(ready, 1)
        started = time.monotonic()
        try:
            lock = Lock(folder)
        except Locked as error:
            tell(f"{time.monotonic() - started}")
            tell(str(error))
            return
        tell("held")
        time.sleep(600)
        lock.release()

    children = [fork(want) for _ in range(2)]
    os.close(ready)
    os.close(go)
    said = [os.read(come, 5) for _, come in children]
    winner, loser = sorted((0, 1), key=lambda i: said[i] != b"held\n")
    code, rest = told(*children[loser])
    kill(*children[winner])
    assert said[winner] == b"held\n"
    assert code == 0
    assert float(said[loser] + rest[0].encode()) < 2.0
    assert f"process {children[winner][0]} on {socket.gethostname()!r}" in rest[1]


@pytest.mark.parametrize("times", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_of_two_at_once_one_wins(tmp_path: Path, times: int) -> None:
    for _ in range(times):  # the winner is killed: the next two find its lock
        race(tmp_path)
    print(f"{times} of {times} races: exactly one won, the other was told within 2 s who")
