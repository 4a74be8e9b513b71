"""Caches are as good as the live teacher: the first loss from them is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import set_seed

from logitcache.cache.cache import Cache
from logitcache.cache.joining import join
from logitcache.config.data import Columns
from logitcache.config.teacher import DumpSettings
from logitcache.data.collate import Collator
from logitcache.data.order import permutation
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Source, load
from logitcache.data.tasks.classification import Classification
from logitcache.records import Batch, Padding, Side
from logitcache.reporter import SILENT
from logitcache.student.methods import Objective, objective
from logitcache.student.trainer import Distiller
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import LiveTeacher, TeacherModel, load_teacher
from logitcache.teacher.plan import planned
from tests.shortly import fast

KINDS = ("bert", "roberta", "gpt2-right", "gpt2-left")
LABELS = {"singles": ("neg", "pos"), "pairs": ("contradiction", "entailment", "neutral")}
TASK = Classification(2, LABELS["singles"])


def first_loss(model: Any, goal: Objective, batch: Batch[Any]) -> torch.Tensor:
    """Each row's loss, f32[P], with the dropout of one seed."""
    set_seed(0)
    bare = bool((batch.label < 0).any())
    distiller = Distiller(model, goal, Padding(Side.RIGHT, 0, 0), some_unlabelled=bare).train()
    tensors = batch.map(torch.from_numpy)
    summed, logits = distiller(tensors)
    teacher = next(iter(tensors.targets.values())).logits
    loss = goal.loss(logits, tensors.label, teacher, some_unlabelled=bare)
    assert summed.item() == pytest.approx(loss.sum().item(), rel=1e-6)
    return loss.detach()


@pytest.mark.parametrize(
    ("kind", "data"),
    fast(
        product(KINDS, LABELS),
        ("bert", "singles"),
        ("roberta", "pairs"),
        ("gpt2-right", "pairs"),
        ("gpt2-left", "singles"),
    ),
)
def test_the_first_loss_from_a_cache_is_the_live_teachers(
    sources: dict[str, Source],
    checkpoint: Callable[..., Path],
    student: Callable[..., TeacherModel],
    tmp_path: Path,
    kind: str,
    data: str,
) -> None:
    labels, split = LABELS[data], sources[data].split("train")
    loaded, pupil = load_teacher(str(checkpoint(kind, labels)), device="cpu"), student(labels, 0.1)
    teacher = planned(loaded, sources[data], "train", DumpSettings(max_length=20)).panel.first
    teachers: dict[str, Any] = {"live": LiveTeacher(teacher, prepare(teacher.tokenizer, split, 20))}
    for codec in ("float32", "float16"):
        settings = DumpSettings(max_length=20, batch_tokens=150, codec=codec, shard_rows=25)
        dump_split(teacher, sources[data], "train", tmp_path / codec, settings)
        teachers[codec] = Cache.open(tmp_path / codec)
    mine, task = prepare(pupil.tokenizer, split, 48), Classification(len(labels), labels)
    places = permutation(len(split), 5, 0)[:32]
    batches = {name: Collator(mine, task, {name: one})(places) for name, one in teachers.items()}
    live = batches["live"].targets["live"].logits
    for temperature in (1.0, 2.0):
        goal = objective("kd", 0.9, temperature=temperature)
        losses = {name: first_loss(pupil.model, goal, batch) for name, batch in batches.items()}
        np.testing.assert_allclose(losses["float32"], losses["live"], rtol=1e-6, atol=1e-6)
        bound = half_precision_bound(live / temperature, goal) + 1e-5
        assert ((losses["float16"] - losses["live"]).abs().numpy() <= bound).all()


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_first_loss_from_joined_caches_is_the_live_teachers(
    sources: dict[str, Source],
    unlabelled_data: Path,
    checkpoint: Callable[..., Path],
    student: Callable[..., TeacherModel],
    tmp_path: Path,
    temperature: float,
) -> None:
    """Two caches, one of rows without labels: those learn from the teacher alone, as if alpha were
    1.
    """
    teacher, pupil = load_teacher(str(checkpoint("roberta")), device="cpu"), student(dropout=0.1)
    more = load(str(unlabelled_data), Columns(), tmp_path, SILENT).split("train")
    more = replace(more, row_id=np.arange(len(more)), label=np.full(len(more), -1))
    source = replace(sources["singles"], splits={**sources["singles"].splits, "unlabelled": more})
    whole = source.split("train").followed_by(more, 60)
    for split in ("train", "unlabelled"):
        dump_split(teacher, source, split, tmp_path / split, DumpSettings(20, 150, "float32", 25))
    joined = join(
        [Cache.open(tmp_path / s) for s in ("unlabelled", "train")], {"train": 0, "unlabelled": 60}
    )
    live = LiveTeacher(teacher, prepare(teacher.tokenizer, whole, 20))
    mine, places = prepare(pupil.tokenizer, whole, 48), permutation(len(whole), 5, 0)[:32]
    goal, losses = objective("kd", 0.3, temperature=temperature), {}
    for name, one in {"live": live, "joined": joined}.items():
        batch = Collator(mine, TASK, {name: one})(places)
        losses[name] = first_loss(pupil.model, goal, batch)
    np.testing.assert_allclose(losses["joined"], losses["live"], rtol=1e-6, atol=1e-6)
    bare = np.flatnonzero(batch.label < 0)
    assert 0 < len(bare) < 32
    labelled = replace(batch, label=np.where(batch.label < 0, 0, batch.label))
    alone = first_loss(pupil.model, objective("kd", 1.0, temperature=temperature), labelled)
    beside = first_loss(pupil.model, goal, labelled)
    expected = np.where(batch.label < 0, alone, beside)
    np.testing.assert_allclose(losses["joined"], expected, rtol=1e-6, atol=1e-6)


def half_precision_bound(live: np.ndarray[Any, Any], goal: Objective) -> np.ndarray[Any, Any]:
    """What halves may move a loss: each gap g by 2^-11 g, so p by at most 2^-10 sum(p g) in all,
    each times at most the spread of the student's log-probabilities (under 12 for these students).
    """
    p = np.exp(live) / np.exp(live).sum(1, keepdims=True)
    return np.asarray(goal.alpha * goal.soft_factor * 2.0**-10 * (p * -live).sum(1) * 12)
