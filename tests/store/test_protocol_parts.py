"""Several writers of one plan, each with its own shards: any order, any deaths, the bytes of a lone
dump.
"""

from __future__ import annotations

import os
import random
import runpy
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from logitcache.errors import FingerprintMismatch, Locked, SpecError
from logitcache.store.manifest import Plan
from logitcache.store.writer import CacheWriter
from tests.shortly import fast

TESTS = Path(__file__).parents[1]
caches = runpy.run_path(str(TESTS / "fake_caches.py"))
disk = runpy.run_path(str(TESTS / "fake_disk.py"))
go_on, tree = caches["go_on"], caches["tree"]
Steps, Killing, using, fork, told = (
    disk[name] for name in ("Steps", "Killing", "using", "fork", "told")
)

PLAN: Plan = caches["plan"](rows=17, shard_rows=3)  # 6 shards, the last one short
Tree = dict[str, bytes]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    folder = tmp_path_factory.mktemp("whole") / "cache"
    with using(Steps()):
        go_on(folder, PLAN)
    return tree(folder)


def start(folder: Path, part: tuple[int, int], dies: int | None) -> tuple[int, int]:
    def dump(tell: Callable[[str], None]) -> None:
        with using(Steps() if dies is None else Killing(dies, after=True)):
            go_on(folder, PLAN, tell=tell, part=part)

    return fork(dump)


def at_once(folder: Path, parts: int, draw: random.Random, kills: int) -> None:
    """All parts run at the same time; some are killed and started again, until each came to its
    end.
    """
    to_do, sealed, made = draw.sample(range(parts), parts), False, list[str]()
    while to_do:
        dying = [draw.randrange(90) if i < kills else None for i in range(len(to_do))]
        children = [
            (part, start(folder, (part, parts), dies))
            for part, dies in zip(to_do, dying, strict=True)
        ]
        ends = [(part, *told(*child)) for part, child in children]
        assert all(code in (0, -signal.SIGKILL) for _, code, _ in ends)
        sealed |= any("sealed" in said for *_, said in ends)
        made += [line for *_, said in ends for line in said if line != "sealed"]
        to_do = [part for part, code, _ in ends if code]
        kills -= len(to_do)
    assert sealed
    assert len(made) >= PLAN.shard_count == len(set(made))


# 8 are more than there are shards
@pytest.mark.parametrize("parts", fast([1, 2, 3, 6, 8], 1, 3, 8))
def test_parts_at_once_are_a_lone_dump(tmp_path: Path, whole: Tree, parts: int) -> None:
    at_once(tmp_path / "cache", parts, random.Random(parts), kills=0)
    assert tree(tmp_path / "cache") == whole


@pytest.mark.parametrize(
    "times", [3, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
def test_parts_that_are_killed_and_started_again(tmp_path: Path, whole: Tree, times: int) -> None:
    draw = random.Random(0)
    for i in range(times):
        at_once(tmp_path / f"{i}", draw.randint(2, 5), draw, kills=draw.randint(1, 4))
        assert tree(tmp_path / f"{i}") == whole
    print(
        f"{times} of {times} caches of parts killed at random steps: a lone dump's bytes, sealed by one of them"
    )


def test_parts_after_another_and_a_lone_dump_in_between(tmp_path: Path, whole: Tree) -> None:
    with using(Steps()):
        assert go_on(tmp_path, PLAN, part=(2, 3)) == [4, 5]
        assert go_on(tmp_path, PLAN, part=(0, 2)) == [0, 1, 2]  # nobody is at work: cut another way
        assert not (tmp_path / "manifest.json").exists()
        assert go_on(tmp_path, PLAN) == [3]
        assert go_on(tmp_path, PLAN, part=(1, 3)) == []
    assert tree(tmp_path) == whole


def test_a_part_is_held_by_one(tmp_path: Path) -> None:
    with (
        CacheWriter(tmp_path, PLAN, part=(0, 3)),
        CacheWriter(tmp_path, PLAN, part=(1, 3)) as second,
    ):
        assert second.missing == [2, 3]
        before = tree(tmp_path)
        with pytest.raises(Locked, match=f"process {os.getpid()} on"):
            CacheWriter(tmp_path, PLAN, part=(0, 3))
        with pytest.raises(Locked, match="expected parts of 4, found part-0-of-3 at work"):
            CacheWriter(tmp_path, PLAN, part=(3, 4))
        for overwrite in (False, True):
            with pytest.raises(Locked, match=f"process {os.getpid()} on"):
                CacheWriter(tmp_path, PLAN, overwrite=overwrite)
        with pytest.raises(FingerprintMismatch):
            CacheWriter(tmp_path, caches["plan"](rows=16, shard_rows=3), part=(2, 3))
        assert tree(tmp_path) == before
    assert sorted(tree(tmp_path)) == ["plan.json"]


def test_a_part_overwrites_nothing(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--overwrite"):
        CacheWriter(tmp_path, PLAN, part=(0, 2), overwrite=True)
    assert tree(tmp_path) == {}


def test_the_locks_of_dead_parts_are_swept_by_whoever_finishes(tmp_path: Path, whole: Tree) -> None:
    def hold(tell: Callable[[str], None]) -> None:
        with using(Steps()):
            writer = CacheWriter(tmp_path, PLAN, part=(0, 2))
            for index in writer.missing:
                writer.write(
                    index, caches["part"](PLAN, index), caches["SKETCHES"], caches["CONDITIONS"]
                )
        os.kill(os.getpid(), signal.SIGKILL)  # all its shards are there, and it did not seal

    told(*fork(hold))
    assert (tmp_path / ".part-0-of-2.lock").exists()
    with using(Steps()):
        go_on(tmp_path, PLAN, part=(1, 2))
    assert tree(tmp_path) == whole
