"""What Windows, macOS or a small installation lack, taken away before `logitcache` is imported;
then its modules are imported and its commands are run. Called as ``python other_system.py SYSTEM
FOLDER``, in a process of its own that has not imported it.
"""

from __future__ import annotations

import importlib
import importlib.abc
import os
import pkgutil
import select
import signal
import subprocess  # noqa: F401
import sys
import tempfile  # noqa: F401
import types
from pathlib import Path
from typing import Any

import click.testing
import fsspec  # noqa: F401
import numpy as np
import pyarrow.parquet  # noqa: F401
import rich.console  # noqa: F401
import scipy.stats  # noqa: F401

HEAVY = (
    "torch",
    "transformers",
    "accelerate",
    "tokenizers",
    "safetensors",
    "sklearn",
    "huggingface_hub",
    "datasets",
)
EXTRAS = (*HEAVY, "matplotlib", "pandas", "zarr", "tensorboard", "s3fs", "peft")
POSIX_ONLY = ("fcntl", "resource", "pwd", "grp", "termios")
OS_POSIX = (
    *(
        "sched_getaffinity",
        "register_at_fork",
        "statvfs",
        "pread",
        "sysconf",
        "getuid",
        "geteuid",
        "killpg",
        "fork",
    ),
    *("O_CLOEXEC", "O_NOFOLLOW", "O_DIRECTORY", "O_NONBLOCK", "uname", "getloadavg", "link"),
)
SIGNALS = ("SIGKILL", "SIGPIPE", "SIGHUP", "SIGCHLD", "SIGUSR1", "pthread_kill", "sigtimedwait")


class Absent(importlib.abc.MetaPathFinder):
    """Modules that cannot be imported."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def hide(*names: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        del sys.modules[name]
    sys.meta_path.insert(0, Absent(names))


def windows_locks() -> types.ModuleType:
    """``msvcrt`` with its locks on ranges of bytes, each file's as the system keeps them: by
    handle.
    """
    locked: dict[tuple[int, int], int] = {}  # (file, byte): handle

    def locking(handle: int, mode: int, count: int) -> None:
        start = os.lseek(handle, 0, os.SEEK_CUR)
        places = [(os.fstat(handle).st_ino, start + byte) for byte in range(count)]
        if mode == module.LK_UNLCK:
            if any(locked.get(place) != handle for place in places):
                raise PermissionError(13, "not locked")
            for place in places:
                del locked[place]
        elif any(place in locked for place in places):
            raise PermissionError(13, "locked")
        else:
            locked.update(dict.fromkeys(places, handle))

    close = os.close

    def closed(handle: int) -> None:
        for place in [place for place, holder in locked.items() if holder == handle]:
            del locked[place]
        close(handle)

    os.close = closed
    module: Any = types.ModuleType("msvcrt")
    module.LK_UNLCK, module.LK_NBLCK, module.locking = 0, 2, locking
    return module


def take_away(system: str) -> None:
    if system == "windows":
        hide(*POSIX_ONLY)
        sys.modules["msvcrt"] = windows_locks()
        for name in OS_POSIX:
            delattr(os, name)
        for name in SIGNALS:
            delattr(signal, name)
        del select.poll
    elif system == "macos":
        del os.sched_getaffinity
        sys.platform = "darwin"
    hide(*EXTRAS)


def modules() -> list[str]:
    """Every module of the package and of the command line."""
    names = []
    for package in ("logitcache", "logitcache_cli"):
        found = importlib.import_module(package)
        names += [module.name for module in pkgutil.walk_packages(found.__path__, f"{package}.")]
    return names


def import_all() -> None:
    """Import every module; one of an extra names its package, and nothing else is missing."""
    for name in modules():
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in EXTRAS:
                raise


def run(*words: object) -> str:
    from logitcache_cli.main import cli

    outcome = click.testing.CliRunner().invoke(cli, [*map(str, words)])
    assert outcome.exit_code == 0, (words, outcome.output, outcome.exception)
    return outcome.stdout


def make(folder: Path) -> None:
    """A finished cache of ten rows."""
    from logitcache.store.writer import CacheWriter
    from tests.fake_caches import plan, write_shard

    numbers = np.arange(10)
    logits = -np.abs(np.sin(np.arange(30))).reshape(10, 3).astype(np.float16)
    with CacheWriter(folder, plan()) as writer:
        for index in writer.missing:
            write_shard(
                writer, index, {"row_hash": numbers, "label": numbers % 3, "logits": logits}
            )
        assert writer.seal()


def commands(folder: Path) -> None:
    """What is done with a finished cache, and a writer that keeps another out."""
    from logitcache.errors import Locked
    from logitcache.store.lock import Lock

    one, other = folder / "one", folder / "other"
    make(one)
    run("inspect", one)
    run("inspect", one, "--row", 1)
    run("verify", one)
    run("merge", other, one)
    run("diff", one, other)
    run("convert", one, folder / "parquet", "--to", "parquet")
    held = Lock(folder)
    try:
        Lock(folder)
    except Locked:
        held.release()
    else:
        raise AssertionError("two writers hold one folder")
    shared = [Lock(folder, shared=True), Lock(folder, shared=True)]
    try:
        Lock(folder)
    except Locked:
        pass
    else:
        raise AssertionError("a folder that others share is held alone")
    for lock in shared:
        lock.release()
    Lock(folder).release()
    assert not list(folder.glob(".*.lock"))


def needs_extras(folder: Path) -> None:
    """A command that needs more says which extra brings it."""
    from logitcache_cli.main import cli

    (folder / "train.csv").write_text("text,label\ngood,pos\nbad,neg\n")
    asked = ["train", "--method", "base", "--data", str(folder), "--out", str(folder / "out")]
    outcome = click.testing.CliRunner().invoke(cli, asked)
    assert outcome.exit_code == 2, outcome.output
    assert outcome.stderr.splitlines()[-1].endswith(
        "Install it: pip install 'logitcache[train]'"
    ), outcome.stderr


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    take_away(sys.argv[1])
    import_all()
    commands(Path(sys.argv[2]))
    needs_extras(Path(sys.argv[2]))
