"""A dump by name: the caches it makes and where, what it copies, and what it refuses before a
teacher is trained.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logitcache.cache.cache import Cache
from logitcache.config.dump import DumpConfig
from logitcache.config.teacher import DumpSettings, Finetune, TeacherSpec
from logitcache.config.train import TrainConfig
from logitcache.config.workspace import Workspace
from logitcache.data.folds import folds_of
from logitcache.errors import SpecError
from logitcache.stages.dump import dump
from logitcache.stages.train import train
from logitcache.teacher.model import load_teacher
from tests.runs import Amounts, NoSteps, result, tree


@pytest.fixture
def asked(singles_data: Path, checkpoint: Callable[..., Path], tmp_path: Path) -> DumpConfig:
    """A trained teacher over the single texts."""
    return DumpConfig(
        TeacherSpec(str(checkpoint()), device="cpu"),
        data=str(singles_data),
        settings=DumpSettings(32),
        finetune=Finetune(epochs=1.0, learning_rate=1e-3, batch_size=16),
        workspace=Workspace(tmp_path / "work"),
    )


@pytest.fixture
def more(asked: DumpConfig, unlabelled_data: Path) -> DumpConfig:
    """The same, with 30 unlabelled rows beside the 60."""
    return replace(asked, unlabelled=str(unlabelled_data))


def told(cache: Path) -> tuple[str, int]:
    data = Cache.open(cache).manifest.plan.data
    return data["split"], data["rows"]


def test_unlabelled_rows_get_a_cache_of_their_own(more: DumpConfig, asked: DumpConfig) -> None:
    amounts = Amounts()
    report = dump(more, reporter=amounts)
    caches = more.workspace.folder / "caches"
    name = Path(more.teacher.name).name
    assert report.cache == caches / f"singles-train-{name}"
    assert report.unlabelled is not None
    assert report.unlabelled.cache == caches / f"singles-unlabelled-{name}"
    assert (told(report.cache), told(report.unlabelled.cache)) == (
        ("train", 60),
        ("unlabelled", 30),
    )
    assert (amounts.totals, report.unlabelled.scores) == ([60, 30], {})
    train_cache = tree(report.cache)
    assert dump(asked).unlabelled is None
    # the labelled rows' cache is the same with and without them
    assert tree(report.cache) == train_cache


def test_they_lie_beside_the_cache_that_is_named(
    more: DumpConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = dump(replace(more, out=tmp_path / "mine"))
    assert (told(tmp_path / "mine"), told(tmp_path / "mine-unlabelled")) == (
        ("train", 60),
        ("unlabelled", 30),
    )
    assert report.unlabelled is not None
    assert report.unlabelled.cache == tmp_path / "mine-unlabelled"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    dump(replace(more, out=Path()))
    assert told(tmp_path / "here-unlabelled") == ("unlabelled", 30)


def test_they_can_be_dumped_alone(more: DumpConfig) -> None:
    report = dump(replace(more, split="unlabelled"))
    assert (told(report.cache), report.unlabelled) == (("unlabelled", 30), None)
    assert dump(replace(more, split="dev")).unlabelled is None


def test_what_was_dumped_is_found_by_kd(more: DumpConfig, config: TrainConfig) -> None:
    dump(more)
    kd = replace(
        config, method="kd", unlabelled=more.unlabelled, workspace=more.workspace, epochs=1.0
    )
    assert result(train(kd))["data"]["unlabelled_rows"] == 30


@pytest.mark.parametrize("split", ["validation", "unlabelled"])
def test_a_split_that_is_not_there_is_refused_before_a_teacher_is_trained(
    asked: DumpConfig, split: str
) -> None:
    with pytest.raises(SpecError, match=f"expected a split '{split}', found train, dev, test"):
        dump(
            replace(asked, teacher=TeacherSpec("1x32", device="cpu"), split=split),
            reporter=NoSteps(),
        )
    assert not asked.workspace.folder.exists()


def corrected(config: DumpConfig, folder: Path) -> str:
    """The data with two train texts changed."""
    folder.mkdir()
    for file in Path(config.data).iterdir():
        lines = file.read_text().splitlines(keepends=True)
        if file.stem == "train":
            lines[3], lines[40] = (
                line.replace('"text": "', '"text": "un') for line in (lines[3], lines[40])
            )
        (folder / file.name).write_text("".join(lines))
    return str(folder)


def test_known_rows_are_copied(asked: DumpConfig, tmp_path: Path) -> None:
    old = dump(replace(asked, out=tmp_path / "old"))
    config = replace(asked, data=corrected(asked, tmp_path / "singles"), reuse=old.cache)
    new = dump(config)
    assert (new.teacher_rows, new.reused_rows) == (2, 58)
    keep = np.setdiff1d(np.arange(60), [3, 40])
    one, two = (Cache.open(folder).take(keep).logits for folder in (old.cache, new.cache))
    assert np.array_equal(one, two)


@pytest.mark.parametrize("named", [True, False])
def test_a_cache_is_not_made_out_of_itself(asked: DumpConfig, named: bool) -> None:
    """Neither where its folder is named, nor where it is the one that is taken if none is."""
    cache = dump(asked).cache
    before = tree(cache)
    config = replace(
        asked, reuse=cache.parent / ".." / cache.parent.name / cache.name, overwrite=True
    )
    with pytest.raises(
        SpecError,
        match=r"--reuse: expected another folder than the new cache's, found the same, .*\. Name a new --out",
    ):
        dump(replace(config, out=cache) if named else config)
    assert tree(cache) == before


def refused(config: DumpConfig, said: str) -> None:
    """Before anything is trained or written."""
    before = tree(config.workspace.folder)
    with pytest.raises(SpecError, match=said):
        dump(config, reporter=NoSteps())
    assert tree(config.workspace.folder) == before


def test_answers_of_old_are_not_those_of_a_teacher_yet_to_be_trained(
    asked: DumpConfig, headless: Path, tmp_path: Path
) -> None:
    """A fine-tuned teacher is one of its data: the old one is named, by the weights that the cache
    records.
    """
    bare = replace(asked, teacher=TeacherSpec(str(headless), device="cpu"))
    old = dump(replace(bare, out=tmp_path / "old")).cache
    # another teacher of the name
    dump(replace(bare, finetune=replace(bare.finetune, seed=1), out=tmp_path / "other"))
    (folder,) = (
        place
        for place in (bare.workspace.folder / "teachers").iterdir()
        if load_teacher(str(place), device="cpu").weights_digest()
        == Cache.open(old).manifest.plan.teacher["weights"]
    )
    changed = replace(bare, data=corrected(asked, tmp_path / "singles"), reuse=old)
    refused(
        changed,
        rf"old: --reuse: expected a teacher that is trained already.* --teacher {folder}; or dump without",
    )
    new = dump(replace(changed, teacher=TeacherSpec(str(folder), device="cpu")))
    assert (new.teacher_rows, new.reused_rows) == (2, 58)
    # the same data: the same teacher, found again
    assert dump(replace(bare, reuse=old)).reused_rows == 60
    for finetune in (Finetune("always"), replace(bare.finetune, folds=2)):
        expected = r"Dump again without --reuse" if finetune.folds else r"trained already"
        refused(replace(changed, finetune=finetune), expected)
    shutil.rmtree(folder)
    refused(changed, rf"--teacher its folder \(see {folder.parent}\)")


@pytest.mark.parametrize("split", ["train", "unlabelled"])
def test_a_place_that_cannot_be_is_refused_before_a_teacher_is_trained(
    more: DumpConfig, tmp_path: Path, split: str
) -> None:
    config = replace(more, teacher=TeacherSpec("1x32", device="cpu"), out=tmp_path / "out")
    place = tmp_path / ("out" if split == "train" else "out-unlabelled")
    place.write_text("a file")
    refused(config, f"{place}: expected a folder, found a file")
    refused(replace(config, out=place / "in" / "it"), f"{place}: expected a folder, found a file")
    place.unlink()
    place.mkdir()
    (place / "thesis.tex").touch()
    refused(
        replace(config, overwrite=True),
        f"{place}: expected a cache or an empty folder, found thesis.tex",
    )
    (place / "thesis.tex").rename(place / "manifest.json")
    refused(
        config,
        rf"{place}: expected a cache or an empty folder, found manifest\.json without plan\.json",
    )


def test_a_device_that_is_not_there_is_refused_before_a_teacher_is_trained(
    asked: DumpConfig,
) -> None:
    refused(
        replace(asked, teacher=TeacherSpec("1x32", device="cuda:99")),
        "--device: 'cuda:99' cannot be used",
    )


def test_a_revision_of_what_has_none_is_refused(asked: DumpConfig, config: TrainConfig) -> None:
    for name, what in (("1x32", "a shape"), (asked.teacher.name, "a path")):
        said = f"{name}: expected a hub name beside --revision v1, found {what}"
        for finetune in (asked.finetune, Finetune("always")):
            refused(
                replace(
                    asked, teacher=TeacherSpec(name, device="cpu", revision="v1"), finetune=finetune
                ),
                said,
            )
        with pytest.raises(SpecError, match=said):
            train(replace(config, student=name, revision="v1"))


def test_an_empty_unlabelled_set_is_named(
    asked: DumpConfig, config: TrainConfig, tmp_path: Path
) -> None:
    empty, held = tmp_path / "empty.jsonl", tmp_path / "held.jsonl"
    empty.touch()
    held.write_text((Path(asked.data) / "dev.jsonl").read_text())
    for file in (empty, held):
        said = f"{file}: expected unlabelled rows, found none: it is empty, or all of its texts stand in dev or test"
        refused(
            replace(asked, teacher=TeacherSpec("1x32", device="cpu"), unlabelled=str(file)), said
        )
        for method in ("kd", "self-kd"):
            with pytest.raises(SpecError, match=said):
                train(replace(config, method=method, unlabelled=str(file)))


def test_rows_are_copied_into_every_cache_that_a_dump_makes(
    more: DumpConfig, tmp_path: Path
) -> None:
    """From one that holds the texts of some of them, whatever split it was made of."""
    old = dump(replace(more, out=tmp_path / "old"))
    assert old.unlabelled is not None
    for cache, new in ((old.cache, (0, 30)), (old.unlabelled.cache, (60, 0))):
        again = dump(replace(more, reuse=cache, overwrite=True))
        assert again.unlabelled is not None
        assert (again.teacher_rows, again.unlabelled.teacher_rows) == new
        assert (again.reused_rows, again.unlabelled.reused_rows) == (60 - new[0], 30 - new[1])


def test_a_teacher_in_folds_answers_for_both(more: DumpConfig, headless: Path) -> None:
    teacher, finetune = TeacherSpec(str(headless), device="cpu"), replace(more.finetune, folds=2)
    report = dump(replace(more, teacher=teacher, finetune=finetune))
    assert report.unlabelled is not None
    assert (report.folds, report.unlabelled.folds) == (2, 2)
    assert report.cache.name == "singles-train-bare-bert-2folds"
    for cache in (Cache.open(report.cache), Cache.open(report.unlabelled.cache)):
        assert cache.manifest.plan.teacher["name"] == "bare-bert"
        assert cache.manifest.plan.teacher["folds"]["count"] == 2
        assert set(folds_of(cache.row_hashes(), 2)) == {0, 1}


def test_a_second_dump_trains_and_asks_nothing(more: DumpConfig, headless: Path) -> None:
    config = replace(more, teacher=TeacherSpec(str(headless), device="cpu"))
    dump(config)
    before, notes = tree(config.workspace.folder), list[Any]()
    again = dump(config, reporter=NoSteps(notes.append))
    assert again.unlabelled is not None
    assert (again.teacher_rows, again.unlabelled.teacher_rows) == (0, 0)
    assert tree(config.workspace.folder) == before
    assert any("(fine-tuned before)" in note for note in notes)
