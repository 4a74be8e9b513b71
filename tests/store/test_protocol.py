"""The commit protocol, one operation at a time: whatever fails and whenever the process dies or the
power goes, what is left is resumed to the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import random
import runpy
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from logitcache.errors import DiskError, FingerprintMismatch, OutOfSpace
from logitcache.store.manifest import Plan
from logitcache.store.reader import Reader
from logitcache.store.writer import CacheWriter

TESTS = Path(__file__).parents[1]
caches = runpy.run_path(str(TESTS / "fake_caches.py"))
disk = runpy.run_path(str(TESTS / "fake_disk.py"))
go_on, part, tree = caches["go_on"], caches["part"], caches["tree"]
Steps, Failing, Short, Killing, Recording = (
    disk[name] for name in ("Steps", "Failing", "Short", "Killing", "Recording")
)
using, fork, told = disk["using"], disk["fork"], disk["told"]

PLANS: dict[str, Plan] = {
    "dense": caches["plan"](rows=10, shard_rows=4),
    "ragged": caches["ragged"](7, 3),
}
OTHER = caches["plan"](rows=6, shard_rows=3, width=2)
Tree = dict[str, bytes]


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tree]:
    """What unbroken dumps leave."""
    folder = tmp_path_factory.mktemp("whole")
    with using(Steps()):
        for name, of in PLANS.items():
            go_on(folder / name, of)
    return {name: tree(folder / name) for name in PLANS}


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Path]:
    """Fresh folders, one after another."""

    def fresh() -> Iterator[Path]:
        number = 0
        while True:
            (tmp_path / f"{number}").mkdir()
            yield tmp_path / f"{number}" / "a cache"
            shutil.rmtree(tmp_path / f"{number}")
            number += 1

    return fresh()


def steps(folders: Iterator[Path], do: Callable[[Path], Any]) -> int:
    """How many operations it takes."""
    with using(Steps()) as system:
        do(next(folders))
    return system.count


def resumed(folder: Path, of: Plan, whole: Tree) -> list[int]:
    """Run the dump again: the shards it made. What it leaves is the unbroken dump's, and nothing
    else.
    """
    with using(Steps()):
        made = go_on(folder, of)
    assert tree(folder) == whole
    return made


def sound(folder: Path, whole: Tree) -> None:
    """No manifest lists a shard that is not as it was written."""
    if (folder / "manifest.json").exists():
        found = tree(folder)
        assert {name: found.get(name) for name in whole} == whole
        assert not list(Reader.open(folder).faults())


# -- operations that fail
# -----------------------------------------------------------------------------------------


def fails_at_every_step(folders: Iterator[Path], name: str, whole: Tree, full: bool) -> int:
    of, tried = PLANS[name], 0
    last = steps(folders, lambda folder: go_on(folder, of))
    every = 1 if full else last // 5  # each kind of fault meets others
    handles = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else None
    for code in disk["CODES"].values():
        for how in ({}, {"done": True}, {"lasting": True}):
            for step in range(tried % every, last, every):
                folder, tried = next(folders), tried + 1
                with using(Failing(step, code, **how)) as system:
                    try:
                        go_on(folder, of)
                        error = None
                    except DiskError as found:
                        error = found
                if error is None:
                    assert tree(folder) == whole, (step, system.name)
                else:
                    assert (type(error) is OutOfSpace) == (code == disk["CODES"]["ENOSPC"]), (
                        step,
                        system.name,
                    )
                    assert "\n" not in str(error)
                if folder.exists():
                    sound(folder, whole)
                resumed(folder, of, whole)
    if handles is not None:
        assert len(os.listdir("/proc/self/fd")) == handles
    return tried


@pytest.mark.parametrize("name", [pytest.param("dense", marks=pytest.mark.slow), "ragged"])
def test_a_failing_operation_is_a_clean_error_and_the_dump_goes_on(
    folders: Iterator[Path], wholes: dict[str, Tree], name: str
) -> None:
    fails_at_every_step(folders, name, wholes[name], full=False)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", PLANS)
def test_every_failing_operation(
    folders: Iterator[Path], wholes: dict[str, Tree], name: str
) -> None:
    tried = fails_at_every_step(folders, name, wholes[name], full=True)
    print(
        f"{name}: {tried} of {tried} faults (EIO, ENOSPC, EINTR; not done, done all the same, lasting): clean"
    )


@pytest.mark.parametrize("name", PLANS)
def test_short_writes_are_gone_on_with(
    folders: Iterator[Path], wholes: dict[str, Tree], name: str
) -> None:
    folder = next(folders)
    with using(Short()):
        go_on(folder, PLANS[name])
    assert tree(folder) == wholes[name]


# A process that dies.


def killed(folder: Path, of: Plan, step: int, *, after: bool, **how: Any) -> list[str]:
    """Let a child dump and die at a step: what it told. A step that is not reached kills nobody."""

    def dump(tell: Callable[[str], None]) -> None:
        with using(Killing(step, after=after)):
            go_on(folder, of, tell=tell, **how)

    code, said = told(*fork(dump))
    assert code in (-signal.SIGKILL, 0)
    return said


def stopped(folder: Path, of: Plan, seconds: float) -> list[str]:
    """The same, but somebody else kills it, some time after its first word."""

    def dump(tell: Callable[[str], None]) -> None:
        tell("begun")
        go_on(folder, of, tell=tell)

    pid, come = fork(dump)
    assert os.read(come, 6) == b"begun\n"
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    code, said = told(pid, come)
    assert code in (-signal.SIGKILL, 0)
    return said


def survives(
    folder: Path, of: Plan, whole: Tree, kills: list[Callable[[Path, Plan], list[str]]]
) -> None:
    """Kill a dump, and what resumes it, and resume: the same bytes, at most one shard of work lost
    per kill.
    """
    made = 0
    for kill in kills:
        made += sum(said.startswith("shard") for said in kill(folder, of))
        if folder.exists():
            sound(folder, whole)
    made += len(resumed(folder, of, whole))
    assert made <= of.shard_count + len(kills)


def at(step: int, after: bool) -> Callable[[Path, Plan], list[str]]:
    return lambda folder, of: killed(folder, of, step, after=after)


def moment(seconds: float) -> Callable[[Path, Plan], list[str]]:
    return lambda folder, of: stopped(folder, of, seconds)


def seconds_of(folders: Iterator[Path], of: Plan) -> float:
    folder, started = next(folders), time.perf_counter()
    go_on(folder, of)
    return time.perf_counter() - started


def test_a_dump_survives_25_kills(folders: Iterator[Path], wholes: dict[str, Tree]) -> None:
    draw, whole, of = random.Random(1), wholes["dense"], PLANS["dense"]
    last = steps(folders, lambda folder: go_on(folder, of))
    for i, step in enumerate(draw.sample(range(last), 15)):
        survives(next(folders), of, whole, [at(step, bool(i % 2))])
    survives(next(folders), of, whole, [at(draw.randrange(last // 2), True) for _ in range(5)])
    whole_time = seconds_of(folders, of)
    for _ in range(5):
        survives(next(folders), of, whole, [moment(draw.uniform(0, whole_time))])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_dump_survives_a_kill_at_every_step_and_at_random_moments(
    folders: Iterator[Path], wholes: dict[str, Tree]
) -> None:
    draw, tried, kills = random.Random(2), 0, 0
    for name, of in PLANS.items():
        last, whole = steps(folders, lambda folder, of=of: go_on(folder, of)), wholes[name]
        plots = [[at(step, after)] for step in range(last) for after in (False, True)]
        plots += [
            [at(draw.randrange(last), True) for _ in range(draw.randint(2, 6))] for _ in range(25)
        ]
        whole_time = seconds_of(folders, of)
        plots += [
            [moment(draw.uniform(0, whole_time)) for _ in range(draw.randint(1, 3))]
            for _ in range(50)
        ]
        for plot in plots:
            survives(next(folders), of, whole, plot)
            tried, kills = tried + 1, kills + len(plot)
    assert tried >= 200
    print(
        f"{tried} of {tried} trees byte-identical after {kills} kills, at most one shard lost for each"
    )


def test_a_part_written_tree_survives_kills_too(
    folders: Iterator[Path], wholes: dict[str, Tree]
) -> None:
    of, whole, draw = PLANS["dense"], wholes["dense"], random.Random(3)
    for parts in (2, 3, 5):  # more parts than shards too
        folder = next(folders)
        for index in draw.sample(range(parts), parts):
            killed(folder, of, draw.randrange(40), after=True, part=(index, parts))
        with using(Steps()):
            for index in draw.sample(range(parts), parts):
                go_on(folder, of, part=(index, parts))
        assert tree(folder) == whole


# Power that goes.


def dump(folder: Path, of: Plan) -> None:
    go_on(folder, of)


def dump_again(folder: Path, of: Plan) -> None:
    """A shard of a finished cache is made again, as a repair does."""
    with CacheWriter(folder, of) as writer:
        writer.discard(1)
        writer.write(1, part(of, 1), caches["SKETCHES"], caches["CONDITIONS"])
        writer.seal()


def dump_over(folder: Path, of: Plan) -> None:
    go_on(folder, of, overwrite=True)


def dump_in_pieces(folder: Path, of: Plan, pieces: tuple[int, ...] = (3, 9, 22, 41)) -> None:
    """Processes that die after so many steps, and one that does not: it answers for what they left
    undone.
    """
    for lives in pieces:
        disk["files"].system.dies = disk["files"].system.count + lives
        with suppress(DiskError):
            go_on(folder, of)
    disk["files"].system.dies = None
    go_on(folder, of)


BEFORE: dict[Callable[[Path, Plan], None], Callable[[Path, Plan], Any]] = {
    dump: lambda folder, of: None,
    dump_again: go_on,
    dump_over: lambda folder, of: go_on(folder, OTHER),
    dump_in_pieces: lambda folder, of: None,
}


def losses(
    log: list[Any], root: Path, model: Any, variants: int
) -> Iterator[dict[Path, bytes | None]]:
    """What power losses after each operation may leave: all undone that is not for good, none of
    it, some of it.
    """
    draw, seen = random.Random(0), set()
    for entry in [None, *log]:
        if entry is not None:
            model.do(*entry)
        for variant in range(variants):
            if variant < 2:
                found = model.lost(None, float(variant))
            else:
                found = model.lost(draw, draw.choice((0.2, 0.5, 0.8)))
            key = hashlib.sha256(repr(sorted(found.items())).encode()).digest()
            if key not in seen:
                seen.add(key)
                yield found


def survives_power_loss(
    folders: Iterator[Path], do: Any, name: str, whole: Tree, variants: int
) -> int:
    folder, of, tried = next(folders), PLANS[name], 0
    root = folder.parent
    with using(Steps()):
        BEFORE[do](folder, of)
    model, early = disk["Disk"](root), tree(folder)
    with using(Recording()) as system:
        do(folder, of)
    assert tree(folder) == whole
    for found in losses(system.log, root, model, variants):
        left, tried = root.parent / "left" / "a cache", tried + 1
        disk["put"](found, root, left.parent)
        if do is dump_over:
            over(left, of, whole, early)
        elif left.exists():
            sound(left, whole)
        resumed(left, of, whole)
        shutil.rmtree(left.parent)
    return tried


def over(left: Path, of: Plan, whole: Tree, early: Tree) -> None:
    """A power loss while one cache takes another's place leaves one of them: the new one's dump
    goes on, or it is still told that the old one stands there.
    """
    found = tree(left)
    if (left / "manifest.json").exists():
        assert any({name: found.get(name) for name in one} == one for one in (early, whole))
    with using(Steps()):
        try:
            go_on(left, of)
        except FingerprintMismatch:
            go_on(left, of, overwrite=True)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_power_loss_soon_after_a_kill(folders: Iterator[Path], wholes: dict[str, Tree]) -> None:
    of, whole, tried = PLANS["dense"], wholes["dense"], 0
    for lives in range(1, 40):
        folder = next(folders)
        model = disk["Disk"](folder.parent)
        with using(Recording()) as system:
            dump_in_pieces(folder, of, (lives,))
        left = folder.parent.parent / "left" / "a cache"
        for found in losses(system.log[: lives + 30], folder.parent, model, 4):
            disk["put"](found, folder.parent, left.parent)
            resumed(left, of, whole)
            shutil.rmtree(left.parent)
            tried += 1
    print(f"{tried} of {tried} states after a kill and a power loss resumed to the same bytes")


@pytest.mark.parametrize("do", BEFORE, ids=lambda do: do.__name__)
def test_a_power_loss_after_any_operation(
    folders: Iterator[Path], wholes: dict[str, Tree], do: Any
) -> None:
    survives_power_loss(folders, do, "dense", wholes["dense"], variants=2)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("do", BEFORE, ids=lambda do: do.__name__)
@pytest.mark.parametrize("name", PLANS)
def test_power_losses_in_all_combinations(
    folders: Iterator[Path], wholes: dict[str, Tree], do: Any, name: str
) -> None:
    tried = survives_power_loss(folders, do, name, wholes[name], variants=12)
    print(
        f"{do.__name__}, {name}: {tried} of {tried} states after a power loss resumed to the same bytes"
    )
