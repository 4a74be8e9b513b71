"""Words of which some have no label: what each method learns from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logitcache.api import dump, load, train
from logitcache.cache.cache import Cache
from logitcache.data.folds import check_folds, folds_of
from logitcache.errors import SpecError
from logitcache.reporter import SILENT, Notes
from tests.runs import watch
from tests.stages.test_words import rows


def with_holes(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows of words; in every third row every second word has no label."""
    made = rows(count, seed)
    for row in made[::3]:
        row["tags"][1::2] = [None] * len(row["tags"][1::2])
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for seed, (split, count) in enumerate({"train": 40, "dev": 8, "test": 8}.items()):
        lines = [json.dumps(row) + "\n" for row in with_holes(count, seed)]
        (folder / f"{split}.jsonl").write_text("".join(lines))
    return folder


def how(folder: Path, **more: Any) -> dict[str, Any]:
    size = {"student": "1x32", "vocabulary": 100, "epochs": 1, "batch_size": 16, "max_length": 32}
    return {**size, "workspace": folder / "work", **more}


def labels_of(data: Path) -> list[int]:
    source = load(str(data), reporter=SILENT)
    return sorted(source.split("train").labels.tolist())


def test_a_method_without_a_teacher_learns_the_words_that_have_a_label(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, notes = watch(monkeypatch), list[str]()
    train("base", str(data), **how(tmp_path), out=tmp_path / "run", reporter=Notes(notes.append))
    labels = labels_of(data)
    lost = labels.count(-1)
    assert sorted(seen.label["run"]) == labels[lost:]
    assert any(f"{lost} of {len(labels)} words have no label and are left out" in n for n in notes)


def test_kd_learns_every_word_and_the_rows_without_labels(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = tmp_path / "more.jsonl"
    unlabelled = [{"words": [f"unheard{i}", *row["words"]]} for i, row in enumerate(rows(9, 8))]
    more.write_text("".join(json.dumps(row) + "\n" for row in unlabelled))
    where = {"workspace": tmp_path / "work", "device": "cpu", "finetune_epochs": 1}
    for part in ({}, {"unlabelled": str(more)}):
        dump("1x32", str(data), **where, **part)
    seen = watch(monkeypatch)
    train("kd", str(data), unlabelled=str(more), **how(tmp_path), out=tmp_path / "run")
    count = sum(len(row["words"]) for row in unlabelled)
    assert sorted(seen.label["run"]) == sorted([*labels_of(data), *[-1] * count])


@pytest.mark.slow
def test_folds_of_words_are_answered_by_who_did_not_see_them(data: Path, tmp_path: Path) -> None:
    where = {"workspace": tmp_path / "work", "device": "cpu", "finetune_epochs": 3}
    report = dump("1x32", str(data), folds=2, **where)
    folds = Cache.open(report.cache).manifest.plan.teacher["folds"]
    assert folds["count"] == 2
    assert len(set(folds["weights"])) == 2
    for method in ("kd", "self-kd"):
        own = {"folds": 2} if method == "self-kd" else {}
        assert (train(method, str(data), **how(tmp_path), **own) / "result.json").is_file()


def test_a_class_of_words_that_is_all_in_one_fold_is_refused_whatever_else_is_rare(
    tmp_path: Path,
) -> None:
    """A row with two rare classes counts for both."""
    texts = [["a", f"w{i}"] for i in range(40)]
    path = tmp_path / "rows.jsonl"

    def source(tags: list[list[str]]) -> Any:
        pairs = zip(texts, tags, strict=True)
        lines = [json.dumps({"words": words, "tags": own}) + "\n" for words, own in pairs]
        path.write_text("".join(lines))
        return load(str(path), reporter=SILENT)

    plain = [["O", "O"] for _ in texts]
    table = source(plain).table("train")
    first = np.flatnonzero(folds_of(table.row_hash, 2) == 0)
    rare, rarer = plain, first[:4]
    for row in rarer:
        rare[row] = ["B-X", "O"]
    rare[rarer[0]] = ["B-X", "B-Y"]
    outside = int(np.flatnonzero(folds_of(table.row_hash, 2) == 1)[0])
    rare[outside] = ["B-Y", "O"]
    made = source(rare)
    with pytest.raises(SpecError, match="all 4 of 'B-X' in fold 0"):
        check_folds(made.table("train"), made, 2)
