"""A disk that is full, for real: a limit on the size of files, and a file system of a few pages."""

from __future__ import annotations

import os
import re
import resource
import runpy
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from logitcache.errors import OutOfSpace
from logitcache.store.manifest import Plan

TESTS = Path(__file__).parents[1]
caches = runpy.run_path(str(TESTS / "fake_caches.py"))
disk = runpy.run_path(str(TESTS / "fake_disk.py"))
go_on, tree, fork, told, using, Steps = (
    *(caches[name] for name in ("go_on", "tree")),
    *(disk[name] for name in ("fork", "told", "using", "Steps")),
)

PLAN: Plan = caches["plan"](rows=600, shard_rows=250, width=40)
SAID = re.compile(
    r"(.+): disk full: needed ([\d,]+) bytes, found ([\d,]+)\. .+ Make room and run the same command again\."
)


def number(digits: str) -> int:
    return int(digits.replace(",", ""))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole") / "cache"
    go_on(folder, PLAN)
    return tree(folder)


def dump_within(folder: Path, limit: int) -> tuple[str, int]:
    """Dump in a process whose files may have so many bytes: what it said of a full disk, and its
    exit code.
    """

    def dump(tell: Callable[[str], None]) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            go_on(folder, PLAN)
        except OutOfSpace as error:
            tell(str(error))
            os._exit(error.exit_code)

    code, said = told(*fork(dump))
    return "".join(said), code


def test_a_limit_on_the_size_of_files(tmp_path: Path, whole: dict[str, bytes]) -> None:
    sizes = sorted({len(data) for data in whole.values()})
    for limit in (0, 100, sizes[0], sizes[-1] - 1, sizes[-1]):
        folder = tmp_path / f"{limit}"
        said, code = dump_within(folder, limit)
        if limit < sizes[-1]:
            found = SAID.fullmatch(said)
            assert code == 7, said
            assert found is not None, said
            assert number(found[3]) == limit < number(found[2])
            assert not (folder / "manifest.json").exists()
            assert not list(folder.rglob("*.tmp"))
        else:
            assert (said, code) == ("", 0)
        go_on(folder, PLAN)
        assert tree(folder) == whole


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system in memory, mounted or mounted anew with these options."""
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a file system")
    place, mounted = tmp_path / "small", list[bool]()
    place.mkdir()

    def mount(options: str) -> Path:
        options = f"{options},remount" if mounted else options
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        mounted.append(True)
        return place

    yield mount
    if mounted:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("options", ["size={}k", "size=10m,nr_inodes={}"])
def test_a_small_disk(small: Callable[[str], Path], whole: dict[str, bytes], options: str) -> None:
    pages = 4 * sum(-(-len(data) // 4096) for data in whole.values())
    most, tried = pages if "k" in options else len(whole), list[bool]()
    for room in (*range(most // 8, most, most // 4), most * 2):
        folder = small(options.format(room)) / "cache"
        tried.append(fits(folder))
        if not tried[-1]:
            assert not (folder / "manifest.json").exists()
            small(options.format(most * 8))
            go_on(folder, PLAN)
        assert tree(folder) == whole
        shutil.rmtree(folder)
    assert tried == sorted(tried)
    assert {*tried} == {False, True}


def fits(folder: Path) -> bool:
    """Dump; whether there was room."""
    try:
        go_on(folder, PLAN)
    except OutOfSpace as error:
        said = str(error)
    else:
        return True
    assert SAID.fullmatch(said), said
    return False
