"""A training that is killed, wherever that is, and started again by the same command ends as if it
had not been.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from logitcache.config.train import TrainConfig
from logitcache.errors import FormatError, SpecError
from logitcache.stages.train import train
from logitcache.student import checkpoints
from tests.runs import Steps, result, same, tree
from tests.shortly import fast
from tests.student.processes import ended, start, train_killed

PASSES = 45  # three epochs of fifteen micro-batches: seven steps of two, and one of one
FIGURES = ("metrics", "rows_seen", "steps", "selected_epoch", "fidelity", "config")


@pytest.fixture(scope="module")
def asked(
    quick: Callable[..., TrainConfig],
    finished: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> TrainConfig:
    """A student with dropout; checkpoints within epochs, and best ones that are not the last."""
    config = quick(tmp_path_factory.mktemp("asked"))
    return replace(config, method="kd", cache=finished["cache"], accumulate=2, checkpoint_steps=3)


@pytest.fixture(scope="module")
def whole(asked: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The result of an unbroken run, and how often it wrote."""
    folder = tmp_path_factory.mktemp("whole")
    assert run(replace(asked, out=folder / "out"), folder, "write", None) == 0
    return folder / "out", int((folder / "counted").read_text())


def run(config: TrainConfig, folder: Path, what: str, last: int | None) -> int:
    """The same command once more, killed at the ``last`` of these; how it ended."""
    return ended(
        folder / "log",
        start(folder / "log", train_killed, config, what, last, str(folder / "counted")),
    )[0]


def check(out: Path, whole: Path) -> None:
    assert same(out, whole)
    assert {key: result(out)[key] for key in FIGURES} == {
        key: result(whole)[key] for key in FIGURES
    }
    assert not (out / "checkpoints").exists()
    assert not list(out.rglob(".*"))


@pytest.mark.timeout(400)
def test_a_run_killed_again_and_again_ends_as_an_unbroken_one(
    asked: TrainConfig, whole: tuple[Path, int], tmp_path: Path
) -> None:
    """In the midst of accumulating, of an epoch, and of writing two checkpoints."""
    config, notes = replace(asked, out=tmp_path / "out"), tmp_path / "log"
    assert config.out is not None
    for what, last in (("pass", 9), ("write", 3), ("pass", 21), ("write", 14)):
        assert run(config, tmp_path, what, last) == -signal.SIGKILL
        assert not (config.out / "result.json").exists()
    assert run(config, tmp_path, "pass", None) == 0
    assert int((tmp_path / "counted").read_text()) < PASSES - 20
    check(config.out, whole[0])
    said = [line for line in notes.read_text().splitlines() if "not written whole" in line]
    assert len(said) == 2
    assert all("is removed; this run goes on from checkpoint-" in line for line in said)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("select", ["best", "last"])
def test_a_run_killed_anywhere_ends_as_an_unbroken_one(
    asked: TrainConfig, tmp_path: Path, select: str
) -> None:
    """Twenty kills: ten in forward passes, ten in writes, each at another."""
    asked, draw = replace(asked, select=select), random.Random(f"kills {select}")
    assert run(replace(asked, out=tmp_path / "whole"), tmp_path, "write", None) == 0
    writes = int((tmp_path / "counted").read_text())
    places = [("pass", n) for n in draw.sample(range(1, PASSES + 1), 10)]
    places += [("write", n) for n in draw.sample(range(1, writes + 1), 10)]
    for number, (what, last) in enumerate(places):
        config = replace(asked, out=tmp_path / str(number))
        assert run(config, tmp_path, what, last) == -signal.SIGKILL
        assert run(config, tmp_path, what, None) == 0
        check(tmp_path / str(number), tmp_path / "whole")


def made(folder: Path, step: int) -> Path:
    """A checkpoint, published."""
    place = folder / f"checkpoint-{step}"
    written = checkpoints.writing(place)
    (written / "more").mkdir(parents=True)
    (written / "model.safetensors").write_bytes(b"weights")
    (written / "more" / "state.json").write_text("{}")
    checkpoints.publish(place)
    return place


def lost(place: Path) -> None:
    (place / "model.safetensors").unlink()


def cut(place: Path) -> None:
    (place / "more" / "state.json").write_text("")


def unmarked(place: Path) -> None:
    (place / checkpoints.MARK).unlink()


def garbled(place: Path) -> None:
    (place / checkpoints.MARK).write_text("[")


@pytest.mark.parametrize("tear", [lost, cut, unmarked, garbled])
def test_only_whole_checkpoints_count_and_the_others_are_removed(
    tmp_path: Path, tear: Callable[[Path], None]
) -> None:
    assert checkpoints.last(tmp_path / "none") is None
    assert checkpoints.sweep(tmp_path / "none") == []
    places = {step: made(tmp_path, step) for step in (8, 16, 100)}
    (tmp_path / "checkpoint-best").mkdir()  # somebody's own
    assert checkpoints.last(tmp_path) == places[100]
    tear(places[100])
    (half := checkpoints.writing(tmp_path / "checkpoint-104")).mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"half of it")
    assert checkpoints.last(tmp_path) == places[16]
    assert checkpoints.sweep(tmp_path) == ["checkpoint-100", "checkpoint-104"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint-16",
        "checkpoint-8",
        "checkpoint-best",
    ]
    assert checkpoints.sweep(tmp_path) == []


def theirs(folder: Path) -> Path:
    (folder / "more").mkdir(parents=True)
    (folder / "dear").write_text("x")
    (folder / "more" / "dear").write_text("x")
    return folder


def test_a_checkpoint_that_is_a_link_is_none_and_what_is_behind_it_stays(tmp_path: Path) -> None:
    """Even where it is a whole one."""
    elsewhere = made(tmp_path / "another run", 999)
    before = tree(tmp_path)
    folder = tmp_path / "mine"
    made(folder, 8)
    for name in ("checkpoint-16", "checkpoint-999999"):
        (folder / name).symlink_to(elsewhere)
    assert checkpoints.last(folder) == folder / "checkpoint-8"
    assert checkpoints.sweep(folder) == []
    checkpoints.rotate(folder, 1, None)
    assert made(folder, 16).is_dir()  # in the place of the link
    assert not (folder / "checkpoint-16").is_symlink()
    checkpoints.discard(folder / "checkpoint-999999")
    assert {
        name: data for name, data in tree(tmp_path).items() if name.startswith("another run")
    } == before


@pytest.mark.parametrize("name", ["", checkpoints.WRITING, checkpoints.REMOVED])
def test_a_folder_of_checkpoints_that_is_a_link_is_refused(tmp_path: Path, name: str) -> None:
    there = theirs(tmp_path / "theirs")
    (there / "checkpoint-7").mkdir()
    (there / "checkpoint-7" / "dear").write_text("x")
    before = tree(there)
    if name:
        made(tmp_path / "checkpoints", 8)
        shutil.rmtree(tmp_path / "checkpoints" / name, ignore_errors=True)
    (tmp_path / "checkpoints" / name).symlink_to(there)
    with pytest.raises(FormatError, match="found a link"):
        checkpoints.sweep(tmp_path / "checkpoints")
    assert tree(there) == before


@pytest.mark.parametrize(
    ("limit", "best", "kept"),
    [
        (None, None, [8, 16, 24, 32]),
        (1, None, [32]),
        (1, "a/checkpoint-8", [8, 32]),
        (3, "checkpoint-8", [8, 24, 32]),
    ],
)
def test_the_last_checkpoints_and_the_best_are_kept(
    tmp_path: Path, limit: int | None, best: str | None, kept: list[int]
) -> None:
    for step in (8, 16, 24, 32):
        made(tmp_path, step)
    checkpoints.rotate(tmp_path, limit, best)
    assert [checkpoints.step(p) for p in checkpoints.checkpoints_in(tmp_path)] == kept
    assert all(map(checkpoints.is_whole, checkpoints.checkpoints_in(tmp_path)))


def test_a_checkpoint_taken_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    (made(tmp_path, 8) / "other").write_text("x")
    assert not (made(tmp_path, 8) / "other").exists()
    assert checkpoints.is_whole(tmp_path / "checkpoint-8")
    assert [p.name for p in tmp_path.iterdir() if p.name != checkpoints.WRITING] == ["checkpoint-8"]


def test_checkpoints_within_epochs_change_nothing(
    asked: TrainConfig, whole: tuple[Path, int], tmp_path: Path
) -> None:
    """Nor are they asked for: a run with other checkpoints is the same run."""
    out = train(replace(asked, out=tmp_path / "out", checkpoint_steps=None))
    assert same(out, whole[0])
    assert train(replace(asked, out=out, checkpoint_steps=5)) == out


class Saved:
    """Which steps had a checkpoint of their own, at each step."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen = folder, dict[int, list[int]]()

    def __call__(self, done: int, of: int) -> None:
        self.seen[done] = [checkpoints.step(p) for p in checkpoints.checkpoints_in(self.folder)]


@pytest.mark.parametrize("every", fast([1, 3, 8], 3))
def test_a_checkpoint_is_taken_after_so_many_steps_and_after_each_epoch(
    config: TrainConfig, tmp_path: Path, every: int
) -> None:
    steps = Saved(tmp_path / "out" / "checkpoints")
    train(
        replace(config, select="last", checkpoint_steps=every, out=tmp_path / "out"),
        reporter=Steps(steps),
    )
    taken = [
        max([s for s in range(1, done) if s % every == 0 or s % 8 == 0], default=None)
        for done in range(1, 25)
    ]
    assert [max(steps.seen[done], default=None) for done in range(1, 25)] == taken


def test_a_students_files_are_as_readable_as_the_umask_lets(
    config: TrainConfig, tmp_path: Path
) -> None:
    before = os.umask(0o027)
    try:
        out = train(replace(config, epochs=0.2, out=tmp_path / "out"))
    finally:
        os.umask(before)
    modes = {p.name: oct(p.stat().st_mode & 0o777) for p in out.iterdir() if p.is_file()}
    assert set(modes.values()) == {"0o640"}, modes
    assert "model.safetensors" in modes


def test_how_often_checkpoints_are_taken_is_checked(config: TrainConfig) -> None:
    with pytest.raises(
        SpecError, match="--checkpoint-steps: expected a whole number from 1, found 0"
    ):
        train(replace(config, checkpoint_steps=0))
