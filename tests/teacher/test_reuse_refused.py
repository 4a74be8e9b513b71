"""Answers of another teacher or other settings are not reused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from logitcache.cache.cache import Cache
from logitcache.data.source import Source
from logitcache.errors import FingerprintMismatch
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import TeacherModel, load_teacher
from logitcache.teacher.panel import FoldTeachers
from logitcache.teacher.reuse import OlderCache
from tests.fake_caches import make
from tests.fake_caches import plan as make_plan
from tests.teacher.conftest import SETTINGS

Checkpoint = Callable[..., Path]
RowsThrough = Callable[[TeacherModel], list[int]]


@pytest.fixture
def silent(teacher: TeacherModel, monkeypatch: pytest.MonkeyPatch) -> TeacherModel:
    """The teacher, which may not be asked."""

    def refuse(self: TeacherModel, inputs: Any) -> None:
        raise AssertionError("the teacher was asked")

    monkeypatch.setattr(TeacherModel, "logits", refuse)
    return teacher


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max_length": 20}, "preparation.max_length = 20, as in this dump, found 48"),
        ({"batch_tokens": 100}, "preparation.batch_tokens = 100, as in this dump, found 200"),
        ({"codec": "float16"}, "targets.logits.dtype = float16, as in this dump, found float32"),
    ],
)
def test_other_settings_are_refused_by_their_field(
    silent: TeacherModel,
    train_only: Source,
    old: Cache,
    tmp_path: Path,
    change: dict[str, Any],
    said: str,
) -> None:
    with pytest.raises(
        FingerprintMismatch, match=f"{old.folder}: --reuse: expected a cache with {said}"
    ):
        dump_split(
            silent, train_only, "train", tmp_path / "c", replace(SETTINGS, **change), reuse=old
        )
    assert not (tmp_path / "c").exists()


def test_other_weights_are_refused(
    checkpoint: Checkpoint,
    train_only: Source,
    old: Cache,
    tmp_path: Path,
    rows_through: RowsThrough,
) -> None:
    other = load_teacher(str(checkpoint()), device="cpu")
    with torch.no_grad():
        other.model.classifier.bias[0] += 1e-3  # type: ignore[union-attr, operator, index]
    seen = rows_through(other)
    with pytest.raises(FingerprintMismatch, match=r"teacher\.weights = .*fine-tuned"):
        dump_split(other, train_only, "train", tmp_path / "c", SETTINGS, reuse=old)
    assert seen == []
    assert not (tmp_path / "c").exists()


def test_another_order_of_the_teachers_labels_is_refused(
    checkpoint: Checkpoint, train_only: Source, old: Cache, tmp_path: Path
) -> None:
    """The same weights under swapped names answer with swapped columns."""
    swapped = load_teacher(str(checkpoint()), device="cpu")
    swapped.model.config.id2label = {0: "pos", 1: "neg"}
    with pytest.raises(
        FingerprintMismatch, match=r"teacher\.label_order = \[1, 0\], as in this dump, found None"
    ):
        dump_split(swapped, train_only, "train", tmp_path / "c", SETTINGS, reuse=old)


def test_other_tokens_are_refused(
    checkpoint: Checkpoint, train_only: Source, old: Cache, tmp_path: Path
) -> None:
    other = load_teacher(str(checkpoint()), device="cpu")
    other.tokenizer.add_tokens(["bright!"])
    with pytest.raises(FingerprintMismatch, match=r"tokenizer\.added_tokens"):
        dump_split(other, train_only, "train", tmp_path / "c", SETTINGS, reuse=old)


def test_folds_are_reused_by_the_same_folds_alone(
    folds: FoldTeachers, teacher: TeacherModel, train_only: Source, old: Cache, tmp_path: Path
) -> None:
    dump_split(folds, train_only, "train", tmp_path / "a", SETTINGS)
    mine = Cache.open(tmp_path / "a")
    assert (
        dump_split(folds, train_only, "train", tmp_path / "b", SETTINGS, reuse=mine).reused_rows
        == 60
    )
    for panel, cache in ((folds, old), (teacher, mine)):
        with pytest.raises(FingerprintMismatch, match=r"teacher\.folds"):
            dump_split(panel, train_only, "train", tmp_path / "c", SETTINGS, reuse=cache)


FIELDS: list[tuple[str, dict[str, Any]]] = [
    ("teacher.dtype", {"teacher": {"dtype": "bfloat16"}}),
    ("teacher.label_names", {"teacher": {"label_names": ["class 0", "class 2", "class 1"]}}),
    ("tokenizer.special.pad", {"preprocessor": {"special": {"pad": 1}}}),
    ("preparation.truncation", {"preparation": {"truncation": "left"}}),
]


@pytest.mark.parametrize(("field", "change"), FIELDS)
def test_any_field_that_answers_depend_on_is_compared(
    tmp_path: Path, field: str, change: dict[str, Any]
) -> None:
    plan = make_plan()
    known = OlderCache(make(tmp_path / "c", plan))
    known.check(plan)
    # other rows are what reuse is for
    known.check(replace(plan, data={"source": "another"}, rows=3, shard_rows=1))
    ((name, values),) = change.items()
    with pytest.raises(FingerprintMismatch, match=f"--reuse: expected a cache with {field} = "):
        known.check(replace(plan, **{name: {**getattr(plan, name), **values}}))


def test_a_refusal_stays_on_one_line_however_many_labels(tmp_path: Path) -> None:
    plan = make_plan(width=200)
    other = replace(
        plan, teacher={**plan.teacher, "label_names": [f"class {i + 1}" for i in range(200)]}
    )
    with pytest.raises(FingerprintMismatch, match="…") as caught:
        OlderCache(make(tmp_path / "c", plan)).check(other)
    assert len(caught.value.message) < 400
