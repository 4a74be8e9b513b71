"""A teacher's columns are matched to the classes of the data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from logitcache.cache.cache import Cache
from logitcache.config.teacher import DumpSettings
from logitcache.data.source import Source
from logitcache.errors import FingerprintMismatch
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import TeacherModel, load_teacher

Checkpoint = Callable[..., Path]
# 60 rows: 25, 25, 10
SETTINGS = DumpSettings(max_length=48, batch_tokens=200, codec="float32", shard_rows=25)


def answers(folder: Path) -> Any:
    """All logits of a cache, f32[N, K]."""
    cache = Cache.open(folder)
    return cache.take(np.arange(len(cache))).logits


@pytest.fixture
def renamed(checkpoint: Checkpoint, tmp_path: Path) -> Callable[..., TeacherModel]:
    """``renamed(labels, order)``: the tiny teacher of pairs with other label names, its head's rows
    in this order.
    """

    def make(labels: tuple[str, ...], order: tuple[int, ...] = (0, 1, 2)) -> TeacherModel:
        folder = shutil.copytree(
            checkpoint("bert", ("contradiction", "entailment", "neutral")), tmp_path / "renamed"
        )
        config = json.loads((folder / "config.json").read_text())
        config["id2label"], config["label2id"] = (
            dict(enumerate(labels)),
            {n: i for i, n in enumerate(labels)},
        )
        (folder / "config.json").write_text(json.dumps(config))
        made = load_teacher(str(folder), device="cpu")
        with torch.no_grad():
            for parameter in made.model.classifier.parameters():  # type: ignore[union-attr]
                parameter.copy_(parameter[list(order)].clone())
        return made

    return make


@pytest.fixture
def three(pairs_data: Path, load_source: Callable[[Path], Source]) -> Source:
    return load_source(pairs_data)


def test_labels_in_another_order_permute_the_columns_and_say_so(
    renamed: Callable[..., TeacherModel], checkpoint: Checkpoint, three: Source, tmp_path: Path
) -> None:
    straight = load_teacher(
        str(checkpoint("bert", ("contradiction", "entailment", "neutral"))), device="cpu"
    )
    swapped = renamed(("neutral", "contradiction", "entailment"), (2, 0, 1))
    first = dump_split(straight, three, "train", tmp_path / "a", SETTINGS)
    second = dump_split(swapped, three, "train", tmp_path / "b", SETTINGS)
    np.testing.assert_allclose(answers(tmp_path / "a"), answers(tmp_path / "b"), atol=1e-6)
    assert Cache.open(tmp_path / "b").label_names == three.label_names
    assert first.scores == pytest.approx(second.scores)
    assert first.dev_scores == pytest.approx(second.dev_scores)
    assert not [r for r in first.remarks if "order" in r]
    assert "neutral <- neutral (column 0)" in second.remarks[0]
    assert "permuted" in second.remarks[0]


@pytest.mark.parametrize(
    "labels", [("no", "yes", "maybe"), ("contradiction", "entailment", "other")]
)
def test_other_label_names_are_refused(
    renamed: Callable[..., TeacherModel], three: Source, tmp_path: Path, labels: tuple[str, ...]
) -> None:
    with pytest.raises(FingerprintMismatch, match="--label-map") as caught:
        dump_split(renamed(labels), three, "train", tmp_path / "c", SETTINGS)
    assert caught.value.exit_code == 4
    assert not (tmp_path / "c").exists()


def test_another_number_of_classes_is_refused(
    teacher: TeacherModel, three: Source, tmp_path: Path
) -> None:
    with pytest.raises(FingerprintMismatch, match="answers 2 classes"):
        dump_split(teacher, three, "train", tmp_path / "c", SETTINGS)
    assert not (tmp_path / "c").exists()


def test_unnamed_labels_are_matched_by_number_and_said(
    renamed: Callable[..., TeacherModel], three: Source, tmp_path: Path
) -> None:
    report = dump_split(
        renamed(("LABEL_0", "LABEL_1", "LABEL_2")), three, "train", tmp_path / "c", SETTINGS
    )
    assert report.remarks[0].startswith(
        "labels: contradiction <- LABEL_0 (column 0), entailment <- LABEL_1"
    )
    assert report.remarks[0].endswith("; matched by number")
    assert Cache.open(tmp_path / "c").label_names == three.label_names


def test_bare_numbers_take_the_teachers_names_and_say_so(
    teacher: TeacherModel,
    write: Callable[..., Path],
    load_source: Callable[[Path], Source],
    tmp_path: Path,
) -> None:
    rows = [{"text": "the film was bright", "label": 1}, {"text": "a cold story", "label": 0}]
    numbered = load_source(write(tmp_path / "data" / "train.jsonl", rows).parent)
    report = dump_split(teacher, numbered, "train", tmp_path / "c", SETTINGS)
    assert (
        report.remarks[0] == "labels: 0 <- neg (column 0), 1 <- pos (column 1); matched by number"
    )
    assert Cache.open(tmp_path / "c").label_names == ("neg", "pos")
