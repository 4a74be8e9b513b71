"""A teacher that is not one yet: fine-tuned once, found again, in folds never asked about rows it
was trained on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import pipeline

from logitcache.cache.cache import Cache
from logitcache.config.teacher import DumpSettings, Finetune, TeacherSpec
from logitcache.config.train import TrainConfig
from logitcache.config.workspace import Workspace
from logitcache.data.folds import folds_of
from logitcache.data.source import Source
from logitcache.errors import SpecError
from logitcache.models.load import UntrainedHead
from logitcache.models.quiet import quiet
from logitcache.reporter import Notes
from logitcache.stages.finetune import prepare_teacher
from logitcache.stages.train import train
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import load_teacher
from logitcache.teacher.panel import FoldTeachers, OneTeacher, Panel
from tests.runs import Interrupt, NoSteps, Seen, Steps, same, stop_at, tree, watch

QUICK = Finetune(epochs=2.0, learning_rate=1e-3, batch_size=16)


@pytest.fixture
def source(singles_data: Path, load_source: Callable[[Path], Source]) -> Source:
    return load_source(singles_data)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return watch(monkeypatch)


class Bench:
    """Teachers made ready in one workspace, and what was said."""

    def __init__(self, source: Source, folder: Path) -> None:
        self.source, self.workspace, self.notes = source, Workspace(folder), list[str]()

    def ready(
        self,
        name: Any,
        finetune: Finetune = QUICK,
        max_length: int = 32,
        source: Source | None = None,
        reporter: Notes | None = None,
        **more: Any,
    ) -> Panel:
        spec = TeacherSpec(str(name), device="cpu")
        self.notes.clear()
        reporter = reporter or Notes()
        reporter.write = self.notes.append
        return prepare_teacher(
            spec, finetune, source or self.source, max_length, self.workspace, reporter, **more
        )

    def folders(self) -> list[Path]:
        return sorted((self.workspace.folder / "teachers").glob("*"))


@pytest.fixture
def bench(source: Source, tmp_path: Path) -> Bench:
    return Bench(source, tmp_path / "work")


def test_a_checkpoint_without_a_head_is_fine_tuned_once(bench: Bench, headless: Path) -> None:
    first = bench.ready(headless)
    (folder,) = bench.folders()
    plan, *_, done = bench.notes
    assert plan == (
        f"{headless}: it has no trained classification head. Fine-tuning on singles/train first: 2 epochs over 60 "
        f"labelled rows, 8 steps of 16, into {folder}"
    )
    assert done.startswith(f"{folder}: accuracy ")
    before = tree(bench.workspace.folder)
    again = bench.ready(headless, reporter=NoSteps())
    assert bench.notes == [f"teacher: {folder} (fine-tuned before)"]
    assert tree(bench.workspace.folder) == before
    assert again.identity() == first.identity()
    assert json.loads((folder / "result.json").read_text())["steps"] == 8


def test_it_is_called_by_its_checkpoints_name(bench: Bench, headless: Path, tmp_path: Path) -> None:
    panel = bench.ready(headless)
    assert (panel.first.name, panel.first.label_names) == ("bare-bert", ("neg", "pos"))
    dump_split(panel, bench.source, "train", tmp_path / "cache", DumpSettings(32))
    teacher = Cache.open(tmp_path / "cache").manifest.plan.teacher
    assert (teacher["name"], teacher["weights"]) == ("bare-bert", panel.first.weights_digest())
    assert bench.ready("1x32").first.name == "1x32"


def test_what_was_fine_tuned_loads_with_transformers(bench: Bench, headless: Path) -> None:
    teacher = bench.ready(headless).first
    with quiet():
        classify = pipeline("text-classification", model=str(bench.folders()[0]), device="cpu")
    text = bench.source.split("dev").text[0].as_py()
    logits = teacher.logits(dict(teacher.tokenizer([text], return_tensors="np"))).numpy()[0]
    assert classify(text)[0]["label"] == ("neg", "pos")[int(logits.argmax())]


def test_never_refuses_what_has_no_head(bench: Bench, headless: Path) -> None:
    with pytest.raises(UntrainedHead, match="expected a trained classification head"):
        bench.ready(headless, replace(QUICK, mode="never"))
    with pytest.raises(SpecError, match="--finetune never: a shape has no weights yet"):
        bench.ready("1x32", replace(QUICK, mode="never"))
    with pytest.raises(
        SpecError, match=r"--finetune: expected one of auto, always, never, found 'maybe'"
    ):
        bench.ready(headless, replace(QUICK, mode="maybe"))
    assert not bench.workspace.folder.exists()


@pytest.mark.parametrize("mode", ["auto", "never"])
def test_a_trained_teacher_is_taken_as_it_is(
    bench: Bench, checkpoint: Callable[..., Path], mode: str
) -> None:
    panel = bench.ready(checkpoint(), replace(QUICK, mode=mode), reporter=NoSteps())
    assert isinstance(panel, OneTeacher)
    model = load_teacher(str(checkpoint()))
    assert panel.identity() == {
        "weights": model.weights_digest(),
        "settings": model.settings_digest(),
    }
    assert bench.notes == [f"teacher: {checkpoint()}, 2 labels (neg, pos), computing in float32"]
    assert not bench.workspace.folder.exists()


def test_always_goes_on_from_a_trained_teacher(
    bench: Bench, checkpoint: Callable[..., Path]
) -> None:
    panel = bench.ready(checkpoint(), replace(QUICK, mode="always"))
    assert panel.identity() != {"weights": load_teacher(str(checkpoint())).weights_digest()}
    assert bench.notes[0].startswith(
        f"{checkpoint()}: it is to be fine-tuned. Fine-tuning on singles/train first:"
    )


def test_a_shape_is_trained_as_a_run_of_it_would_be(
    bench: Bench, config: TrainConfig, tmp_path: Path
) -> None:
    bench.ready("1x32", replace(QUICK, learning_rate=None))
    mine = replace(
        config, epochs=2.0, batch_size=16, vocabulary=8000, group_by_length=True, learning_rate=None
    )
    assert same(bench.folders()[0], train(replace(mine, out=tmp_path / "mine")))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        *(
            pytest.param(change, marks=pytest.mark.slow)
            for change in ({"epochs": 1.0}, {"learning_rate": 1e-4}, {"batch_size": 8})
        ),
    ],
)
def test_other_settings_make_another_teacher(
    bench: Bench, headless: Path, change: dict[str, Any]
) -> None:
    one, two = bench.ready(headless), bench.ready(headless, replace(QUICK, **change))
    assert one.identity() != two.identity()
    assert len(bench.folders()) == 2
    assert bench.ready(headless, reporter=NoSteps()).identity() == one.identity()


@pytest.mark.slow  # four trainings
def test_other_lengths_data_and_checkpoints_make_another_teacher(
    bench: Bench,
    headless: Path,
    pairs_data: Path,
    load_source: Callable[[Path], Source],
    tmp_path: Path,
) -> None:
    once = replace(QUICK, epochs=0.5)
    bench.ready(headless, once)
    bench.ready(headless, once, max_length=24)
    bench.ready(headless, once, source=load_source(pairs_data))
    changed = shutil.copytree(headless, tmp_path / "bare-bert")
    settings = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps({**settings, "hidden_dropout_prob": 0.5}))
    bench.ready(changed, once)
    assert len(bench.folders()) == 4


@pytest.mark.slow  # three trainings; any stage that is broken off: test_contract
def test_a_killed_fine_tuning_goes_on(bench: Bench, headless: Path, tmp_path: Path) -> None:
    """Four steps an epoch: killed in the second."""
    with pytest.raises(Interrupt):
        bench.ready(headless, reporter=stop_at(6))
    steps: list[int] = []
    panel = bench.ready(headless, reporter=Steps(lambda done, of: steps.append(done)))
    assert steps == [5, 6, 7, 8]
    assert panel.identity() == Bench(bench.source, tmp_path / "whole").ready(headless).identity()


def test_rows_without_a_label_are_not_trained_on(
    bench: Bench, headless: Path, unlabelled_data: Path, seen: Seen
) -> None:
    rows, more = bench.source.split("train"), bench.source.split("dev")
    bare = replace(rows, label=np.where(rows.row_id % 3 == 1, -1, rows.label))
    splits = {
        **bench.source.splits,
        "train": bare,
        "unlabelled": replace(more, label=np.full(len(more), -1)),
    }
    bench.ready(headless, source=replace(bench.source, splits=splits))
    (ids,) = seen.row_id.values()
    assert set(ids) == {i for i in range(60) if i % 3 != 1}
    assert "over 40 labelled rows, 6 steps of 16" in bench.notes[0]


def test_no_fold_is_answered_by_a_teacher_that_saw_its_rows(
    bench: Bench, headless: Path, seen: Seen
) -> None:
    folds = replace(QUICK, folds=2)
    panel = bench.ready(headless, folds)
    assert isinstance(panel, FoldTeachers)
    fold = folds_of(bench.source.split("train").row_hash, 2)
    weights = {}
    for folder in bench.folders():
        k, of = json.loads((folder / "run.json").read_text())["without_fold"]
        assert (of, set(seen.row_id[folder.name])) == (2, set(np.flatnonzero(fold != k).tolist()))
        weights[k] = load_teacher(str(folder)).weights_digest()
    assert panel.weights == [weights[k] for k in range(2)]
    assert panel.first.name == "bare-bert"
    assert [note for note in bench.notes if note.startswith("fold ")] == [
        f"fold {k + 1} of 2: a teacher that does not see its rows" for k in range(2)
    ]
    plans = [note for note in bench.notes if "Fine-tuning on singles/train first" in note]
    assert [f"over {(fold != k).sum()} labelled rows" in plan for k, plan in enumerate(plans)] == [
        True
    ] * 2
    assert bench.ready(headless, folds, reporter=NoSteps()).identity() == panel.identity()
    assert [note for note in bench.notes if "(fine-tuned before)" in note] == bench.notes[1::2]


def test_a_class_that_is_all_in_one_fold_is_refused_before_training(
    bench: Bench, headless: Path
) -> None:
    rows = bench.source.split("train")
    fold = folds_of(rows.row_hash, 3)
    places = np.flatnonzero((rows.label == 0) | (fold == 1))
    source = replace(bench.source, splits={"train": rows.select(places)})
    count = int((rows.label[places] == 1).sum())
    with pytest.raises(
        SpecError,
        match=rf"singles: --folds 3: .* found all {count} of 'pos' in fold 1: its teacher",
    ):
        bench.ready(headless, replace(QUICK, folds=3), source=source, reporter=NoSteps())
    for folds in (1, 101):
        with pytest.raises(
            SpecError, match=f"--folds: expected a whole number from 2 to 100, found {folds}"
        ):
            bench.ready(headless, replace(QUICK, folds=folds), reporter=NoSteps())
    assert not bench.workspace.folder.exists()


def test_folds_of_what_may_have_seen_the_rows_are_refused(
    bench: Bench, headless: Path, checkpoint: Callable[..., Path]
) -> None:
    with pytest.raises(
        SpecError, match="--folds: it has a trained head, so it may have seen these rows already"
    ):
        bench.ready(checkpoint(), replace(QUICK, folds=2))
    for name in (headless, checkpoint()):
        with pytest.raises(
            SpecError, match="--finetune never: folds need a teacher trained without each"
        ):
            bench.ready(name, replace(QUICK, folds=2, mode="never"))
    assert not bench.workspace.folder.exists()
    panel = bench.ready(checkpoint(), replace(QUICK, folds=2, mode="always", epochs=0.5))
    assert isinstance(panel, FoldTeachers)
