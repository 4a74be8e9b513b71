"""What every stage promises: made once, found again, gone on with, and never mixed with another's."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from logitcache import stages
from logitcache.config.teacher import DumpSettings
from logitcache.config.train import TrainConfig
from logitcache.data.source import Source
from logitcache.errors import FingerprintMismatch, Locked, SpecError
from logitcache.reporter import SILENT, Meter, Notes
from logitcache.stages.caches import Dump
from logitcache.stages.finetune import FineTuning
from logitcache.stages.stage import Stage, held, result_of
from logitcache.stages.train import FirstCopy, Run, Training, prepared
from logitcache.store.lock import LOCK
from logitcache.teacher.dump import checked_plan
from logitcache.teacher.model import load_teacher
from tests.runs import Interrupt, tree


@dataclass
class Bench:
    """What stages are made of."""

    config: TrainConfig
    source: Source
    teacher: Path
    folder: Path


@pytest.fixture
def bench(
    config: TrainConfig,
    load_source: Callable[[Path], Source],
    singles_data: Path,
    checkpoint: Any,
    tmp_path: Path,
) -> Bench:
    quick = replace(config, epochs=1.0, checkpoint_steps=1)
    return Bench(quick, load_source(singles_data), checkpoint(), tmp_path)


def trained(kind: type[Run[Any]]) -> Callable[[Bench, Path, bool], Stage[Any]]:
    def make(bench: Bench, place: Path, other: bool) -> Stage[Any]:
        config = replace(bench.config, out=place, learning_rate=0.01 if other else None)
        return kind(*prepared(config, bench.source, SILENT), "train")

    return make


def dumped(bench: Bench, place: Path, other: bool) -> Stage[Any]:
    settings = DumpSettings(max_length=24 if other else 48, shard_rows=25)
    planned = checked_plan(
        load_teacher(str(bench.teacher), device="cpu"), bench.source, "train", settings
    )
    return Dump(planned, bench.source, place)


# A new stage: a function of (bench, place, other) that gives it, asked something else where
# ``other``.
STAGES: dict[str, Callable[[Bench, Path, bool], Stage[Any]]] = {
    "training": trained(Training),
    "fine-tuning": trained(FineTuning),
    "first copy": trained(FirstCopy),
    "dump": dumped,
}


def derived(kind: type) -> list[type]:
    return [found for child in kind.__subclasses__() for found in (child, *derived(child))]


def test_every_stage_is_tried() -> None:
    """A class of `logitcache` that derives from Stage is named in STAGES; Run is what some share."""
    for module in pkgutil.iter_modules(stages.__path__):
        importlib.import_module(f"logitcache.stages.{module.name}")
    code = Path(__file__).read_text("utf-8")
    tried = set(re.findall(r"(?:trained\(|return )(\w+)\b", code))
    ours = {kind.__name__ for kind in derived(Stage) if kind.__module__.startswith("logitcache.")}
    assert ours - {"Run"} <= tried


# The others are made by the code of "training" but for their result.
QUICK = ("training", "dump")


@pytest.fixture(
    params=[pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in STAGES]
)
def make(request: pytest.FixtureRequest, bench: Bench) -> Callable[..., Stage[Any]]:
    def make(name: str = "place", other: bool = False) -> Stage[Any]:
        return STAGES[request.param](bench, bench.folder / name, other)

    return make


class Work(Notes):
    """Counts the work that is done, and stops it after some."""

    def __init__(self, stop: int | None = None) -> None:
        super().__init__(lambda text: None)
        self.done = 0
        self.stop = stop

    def advanced(self, stage: Meter) -> None:
        self.done += 1
        if self.done == self.stop:
            raise Interrupt


def content(folder: Path) -> dict[str, bytes]:
    """The files of a folder, without what is measured or names it."""
    measured = ("result.json", "training_args.bin")
    return {name: data for name, data in tree(folder).items() if not name.endswith(measured)}


def test_what_is_asked_is_a_record_that_does_not_change(make: Callable[..., Stage[Any]]) -> None:
    record = json.dumps(make().record(), sort_keys=True)
    assert record == json.dumps(make("elsewhere").record(), sort_keys=True)  # a place is not asked
    assert record != json.dumps(make(other=True).record(), sort_keys=True)


def test_it_is_made_once_and_found_again(make: Callable[..., Stage[Any]]) -> None:
    stage = make()
    assert not stage.is_done()
    first = Work()
    result_of(stage, first)
    assert first.done > 0
    before = tree(stage.folder)
    again = Work()
    result = result_of(make(), again)
    assert again.done == 0
    assert tree(stage.folder) == before
    assert type(result) is type(stage.result())
    assert LOCK not in before


def test_what_is_broken_off_is_gone_on_with(make: Callable[..., Stage[Any]]) -> None:
    with pytest.raises(Interrupt):
        result_of(make(), Work(stop=3))
    rest, whole = Work(), Work()
    result_of(make(), rest)
    result_of(make("whole"), whole)
    assert rest.done < whole.done
    assert content(make().folder) == content(make("whole").folder)


def test_anothers_is_refused_and_stays(make: Callable[..., Stage[Any]]) -> None:
    place = make().folder
    result_of(make())
    before = tree(place)
    for wait in (False, True):
        with pytest.raises(FingerprintMismatch, match=str(place)):
            result_of(make(other=True), Work(stop=1), wait=wait)
    assert tree(place) == before


def test_what_is_no_stage_of_the_kind_is_refused_and_stays(make: Callable[..., Stage[Any]]) -> None:
    stage = make()
    stage.folder.mkdir()
    (stage.folder / "thesis.tex").write_text("dear")
    with pytest.raises(SpecError, match=r"thesis\.tex"):
        result_of(stage)
    assert tree(stage.folder) == {"thesis.tex": b"dear"}


def test_a_place_that_is_held_is_refused_by_its_holder_or_waited_for(
    make: Callable[..., Stage[Any]],
) -> None:
    stage = make()
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        with held(make()):
            holding.set()
            release.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait(60)
    with pytest.raises(Locked, match=f"process {os.getpid()} on .* is writing {stage.content}"):
        result_of(stage)
    waiting: list[str] = []

    def heard(note: str) -> None:
        if "waiting" in note:
            waiting.append(note)
            release.set()

    result_of(stage, Notes(heard), wait=True)
    thread.join()
    assert len(waiting) == 1
    assert not (stage.folder / LOCK).exists()


def test_nothing_is_left_where_nothing_came_of_it(make: Callable[..., Stage[Any]]) -> None:
    with held(make()) as folder:
        assert not folder.is_done
    assert not make().folder.exists()
