"""Disks that fail, processes that die and power that goes, one operation at a time: stand-ins for
``files.system``.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from logitcache.store import files
from logitcache.store.files import System

OPERATIONS = [name for name in vars(System) if not name.startswith("_")]


class Steps(System):
    """Counts operations, and asks ``at`` what becomes of each. Nothing is really fsynced: tests are
    to be fast.
    """

    def __init__(self) -> None:
        self.count = 0

    def sync(self, handle: int) -> None:
        pass

    def at(self, step: int, name: str, do: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        return do()


def _step(name: str) -> Callable[..., Any]:
    real = getattr(System, name) if name != "sync" else Steps.sync

    def operation(self: Steps, *arguments: Any) -> Any:
        self.count += 1
        return self.at(self.count - 1, name, lambda: real(self, *arguments), arguments)

    return operation


for _name in OPERATIONS:
    setattr(Steps, _name, _step(_name))


class Failing(Steps):
    """Fails at one step, or from it on. Half of a ``write`` is done; of others nothing, or
    (``done``) all.
    """

    def __init__(self, fails: int, code: int, *, done: bool = False, lasting: bool = False) -> None:
        super().__init__()
        self.fails, self.code, self.done, self.lasting, self.name = fails, code, done, lasting, ""

    def at(self, step: int, name: str, do: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        if step < self.fails or (step > self.fails and not self.lasting):
            return do()
        self.name = self.name or name
        if name == "write":
            System.write(self, arguments[0], arguments[1][: len(arguments[1]) // 2])
        elif self.done or name == "close":
            result = do()
            if name in ("create", "open_lock", "open_folder"):
                os.close(result)
        raise OSError(self.code, os.strerror(self.code))


class Short(Steps):
    """No write takes more than a few bytes, nor everything that is left."""

    def at(self, step: int, name: str, do: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        if name == "write":
            return System.write(
                self, arguments[0], arguments[1][: max(1, min(200, len(arguments[1]) - 1))]
            )
        return do()


class Killing(Steps):
    """The process dies before or after a step; a ``write`` is cut in half."""

    def __init__(self, dies: int, *, after: bool) -> None:
        super().__init__()
        self.dies, self.after = dies, after

    def at(self, step: int, name: str, do: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        if step != self.dies:
            return do()
        if self.after:
            do()
        elif name == "write":
            System.write(self, arguments[0], arguments[1][: len(arguments[1]) // 2])
        os.kill(os.getpid(), signal.SIGKILL)


class Recording(Steps):
    """Keeps what was done: (name, arguments, result). Nothing is done any more from the step
    ``dies``, if it is set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[str, tuple[Any, ...], Any]] = []
        self.dies: int | None = None

    def at(self, step: int, name: str, do: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        if self.dies is not None and step >= self.dies:
            if name == "close":
                do()
            raise OSError(errno.EIO, "the process is dead")
        kept = tuple(bytes(a) if isinstance(a, memoryview) else a for a in arguments)
        result = do()
        self.log.append((name, kept, result))
        return result


@contextmanager
def using(system: System) -> Iterator[Any]:
    before, files.system = files.system, system
    try:
        yield system
    finally:
        files.system = before


class Change(NamedTuple):
    """Names in one folder that get something (a file's number, or ``DIR``) or lose it (None), all
    at once.
    """

    folder: Path
    names: dict[Path, int | None]


DIR = -1


class Disk:
    """What of a recorded log has reached the disk for good, and what might have.

    A file's bytes are there for good once it was fsynced, a name once its folder was. Whatever else
    was done may be there after a power loss or not, each by itself.
    """

    def __init__(self, root: Path) -> None:
        self.names: dict[Path, int] = {}  # for good
        self.now: dict[Path, int] = {}  # as a running process sees it
        self.bytes: list[bytearray] = []
        self.durable: list[bytes] = []
        self.pending: list[Change] = []
        self.handles: dict[int, int | Path] = {}
        for path in (root, *sorted(root.rglob("*"))):
            number = DIR if path.is_dir() else self._new(path.read_bytes())
            self.names[path] = self.now[path] = number

    def _new(self, data: bytes) -> int:
        self.bytes.append(bytearray(data))
        self.durable.append(data)
        return len(self.bytes) - 1

    def _change(self, names: dict[Path, int | None]) -> None:
        (folder,) = {path.parent for path in names}
        self.pending.append(Change(folder, names))
        _apply(self.now, names)

    def do(self, name: str, arguments: tuple[Any, ...], result: Any) -> None:
        """One operation of the log."""
        first, second = (*arguments, None, None)[:2]
        if name in ("create", "open_lock"):
            if first not in self.now:
                self._change({first: self._new(b"")})
            self.handles[result] = self.now[first]
        elif name == "open_folder":
            self.handles[result] = first
        elif name == "write":
            self.bytes[self._file(first)] += second[:result]
        elif name == "empty":
            self.bytes[self._file(first)].clear()
        elif name == "sync":
            self._sync(self.handles[first])
        elif name == "replace":
            self._change({first: None, second: self.now[first]})
        elif name == "link":
            self._change({second: self.now[first]})
        elif name == "make_folder":
            self._change({first: DIR})
        elif name in ("remove", "remove_folder"):
            self._change({first: None})
        else:
            assert name == "close", name

    def _file(self, handle: int) -> int:
        number = self.handles[handle]
        assert isinstance(number, int)
        return number

    def _sync(self, what: int | Path) -> None:
        if isinstance(what, int):
            self.durable[what] = bytes(self.bytes[what])
            return
        for change in self.pending:
            if change.folder == what:
                _apply(self.names, change.names)
        self.pending = [change for change in self.pending if change.folder != what]

    def lost(self, draw: random.Random | None, share: float) -> dict[Path, bytes | None]:
        """What is there when the power comes back: files and their bytes, folders and None. Each
        change that is not for good is there with probability ``share``, each file that is not is
        empty (no ``draw``), or cut.
        """
        names = dict(self.names)
        for change in self.pending:
            if (draw.random() if draw else 0.5) < share:
                _apply(names, change.names)
        found: dict[Path, bytes | None] = {}
        for path, number in sorted(names.items()):
            if path.parent in names and names[path.parent] != DIR:
                continue
            if any(parent not in names for parent in path.parents if _inside(parent, names)):
                continue
            found[path] = None if number == DIR else self._left(number, draw)
        return found

    def _left(self, number: int, draw: random.Random | None) -> bytes:
        now, durable = bytes(self.bytes[number]), self.durable[number]
        if now == durable or draw is None:
            return durable
        cut = draw.randrange(len(now) + 1)
        return draw.choice((durable, now, now[:cut], now[:cut] + bytes(len(now) - cut)))


def _apply(names: dict[Path, int], change: dict[Path, int | None]) -> None:
    for path, number in change.items():
        if number is None:
            names.pop(path, None)
        else:
            names[path] = number


def _inside(path: Path, names: dict[Path, int]) -> bool:
    return path.is_relative_to(min(names))


def put(found: dict[Path, bytes | None], root: Path, to: Path) -> None:
    """Make what a power loss left, at another place."""
    for path, data in found.items():
        place = to / path.relative_to(root)
        if data is None:
            place.mkdir()
        else:
            place.write_bytes(data)


def fork(do: Callable[[Callable[[str], None]], Any]) -> tuple[int, int]:
    """Run ``do(tell)`` in a child process; its pid, and the end of a pipe that lines it tells come
    out of.
    """
    come, go = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child runs no thread's code
        pid = os.fork()
    if pid:
        os.close(go)
        return pid, come
    code = 1
    try:
        os.close(come)
        do(lambda said: (os.write(go, f"{said}\n".encode()), None)[1])
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)


def told(pid: int, come: int) -> tuple[int, list[str]]:
    """Wait for a child: its exit code (minus the signal that ended it), and what it told."""
    with os.fdopen(come) as lines:
        said = lines.read().splitlines()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


CODES = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EINTR": errno.EINTR}
