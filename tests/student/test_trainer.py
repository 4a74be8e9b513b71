"""Training on Trainer: a row keeps its teacher's answer, batches are cut as one likes, checkpoints
are the student's, and what cannot be is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, TrainerCallback, TrainingArguments

from logitcache.cache.cache import Cache
from logitcache.data.collate import Collator
from logitcache.data.order import grouped_permutation, permutation, token_batches
from logitcache.data.tasks.classification import Classification
from logitcache.errors import AlignmentError, SpecError
from logitcache.models.quiet import quiet
from logitcache.records import Batch, Examples, Padding, Side
from logitcache.student.callbacks import check_report
from logitcache.student.methods import objective
from logitcache.student.settings import FitSettings, arguments
from logitcache.student.trainer import (
    Distiller,
    DistillTrainer,
    EpochOrder,
    Places,
    to_torch,
)
from logitcache.teacher.model import TeacherModel
from tests.shortly import fast

TASK = Classification(2, ("neg", "pos"))
SETTINGS = FitSettings(
    epochs=2.0,
    learning_rate=0.05,
    batch_size=8,
    accumulate=1,
    weight_decay=0.0,
    warmup=0.0,
    seed=0,
    precision="fp32",
    select="last",
    metric="accuracy",
    report_to="none",
    group_by_length=False,
)


def orders(n: int) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """What a student may do to its rows before it asks for them."""
    draw = np.random.default_rng(1)
    return {
        "shuffled": draw.permutation(n),
        "filtered": np.flatnonzero(draw.random(n) < 0.3),
        "repeated": draw.integers(0, n, 3 * n),
        "bucketed": np.concatenate(token_batches(draw.integers(1, 20, n), 60)),
    }


@pytest.mark.parametrize("how", ["shuffled", "filtered", "repeated", "bucketed"])
def test_a_row_keeps_its_teachers_answer(rows: Examples, cache: Cache, how: str) -> None:
    answers = np.concatenate([block.answers.logits for block in cache])
    chosen = rows.select(orders(len(rows))[how])
    places = np.random.default_rng(2).integers(0, len(chosen), 50)
    batch = Collator(chosen, TASK, {"kd": cache})(places)
    wanted = orders(len(rows))[how][places]
    assert np.array_equal(batch.row_id, wanted)
    assert np.abs(batch.targets["kd"].logits - answers[wanted]).max() == 0
    assert np.array_equal(batch.label, rows.label[wanted])


def test_a_changed_word_is_met_at_the_first_batch(rows: Examples, cache: Cache) -> None:
    changed = replace(rows, row_hash=np.where(rows.row_id == 17, 1, rows.row_hash))
    with pytest.raises(AlignmentError, match=r"row 17: .*1 of 60 rows have no answer"):
        Collator(changed, TASK, {"kd": cache})(np.arange(60))


class Watch(TrainerCallback):
    """Keeps the gradient of every optimiser step."""

    def __init__(self) -> None:
        self.gradients: list[torch.Tensor] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        parameters = [
            p.grad.reshape(-1).clone() for p in kwargs["model"].parameters() if p.grad is not None
        ]
        self.gradients.append(torch.cat(parameters))


def trained(
    model: Any,
    collator: Any,
    settings: FitSettings,
    folder: Path,
    *callbacks: TrainerCallback,
    goal: str = "kd",
) -> DistillTrainer:
    """A few steps of plain SGD, so that equal gradients are equal weights."""
    args = arguments(settings, folder, evaluate=False)
    args.optim = "sgd"  # type: ignore[assignment]
    trainer = DistillTrainer(
        model,
        objective(goal),
        collator,
        group_by_length=settings.group_by_length,
        args=args,
        callbacks=list(callbacks),
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize(
    ("accumulate", "n"), fast(product([2, 4, 8], [24, 22, 17]), (2, 24), (4, 22), (8, 17))
)
def test_micro_batches_give_the_gradient_of_the_batch(
    rows: Examples,
    cache: Cache,
    student: Callable[..., TeacherModel],
    tmp_path: Path,
    n: int,
    accumulate: int,
) -> None:
    """Also where the last batch is a partial one: 22 and 17 rows in batches of 8."""
    collator = Collator(rows.select(np.arange(n)), TASK, {"kd": cache})
    seen = {}
    for cuts in (1, accumulate):
        watch, model = Watch(), student().model
        trainer = trained(
            model, collator, replace(SETTINGS, accumulate=cuts), tmp_path / str(cuts), watch
        )
        assert trainer.state.global_step == len(watch.gradients) == 2 * -(-n // 8)
        seen[cuts] = (torch.stack(watch.gradients), model.state_dict())
    np.testing.assert_allclose(seen[1][0], seen[accumulate][0], atol=2e-6)
    for name, weights in seen[1][1].items():
        np.testing.assert_allclose(weights, seen[accumulate][1][name], atol=2e-6)


def test_the_gradient_is_that_of_the_mean_loss(
    rows: Examples, cache: Cache, student: Callable[..., TeacherModel], tmp_path: Path
) -> None:
    collator, watch = Collator(rows.select(np.arange(8)), TASK, {"kd": cache}), Watch()
    trained(student().model, collator, replace(SETTINGS, epochs=1.0), tmp_path, watch)
    model, batch = student().model, collator(np.arange(8)).map(torch.from_numpy)
    logits = model(**batch.inputs).logits
    objective("kd").loss(logits, batch.label, batch.targets["kd"].logits).mean().backward()
    expected = torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])
    expected *= min(1.0, 1 / (expected.norm().item() + 1e-6))  # Trainer clips the norm to 1
    np.testing.assert_allclose(watch.gradients[0], expected, atol=2e-6)


def test_rows_of_weight_zero_add_nothing(
    rows: Examples, cache: Cache, student: Callable[..., TeacherModel], tmp_path: Path
) -> None:
    collator = Collator(rows, TASK, {"kd": cache})
    args = arguments(SETTINGS, tmp_path, evaluate=False)
    trainer = DistillTrainer(student().model, objective("kd"), collator, args=args)

    def gradient(batch: Batch[Any]) -> torch.Tensor:
        sample = to_torch(batch)
        trainer.model.zero_grad()
        count = trainer._get_num_items_in_batch([sample], torch.device("cpu"))
        trainer.compute_loss(trainer.model.train(), sample, num_items_in_batch=count).backward()
        return torch.cat(
            [p.grad.reshape(-1) for p in trainer.model.parameters() if p.grad is not None]
        )

    some, all_of_them = collator(np.arange(5)), collator(np.arange(9))
    weight = np.array([1] * 5 + [0] * 4, np.float32)
    labels = np.where(weight > 0, all_of_them.label, 1 - all_of_them.label)
    np.testing.assert_allclose(
        gradient(replace(all_of_them, weight=weight, label=labels)), gradient(some), atol=1e-6
    )


def test_a_checkpoint_holds_the_plain_student(
    rows: Examples, cache: Cache, student: Callable[..., TeacherModel], tmp_path: Path
) -> None:
    model = student(dropout=0.1).model
    trained(model, Collator(rows, TASK, {"kd": cache}), SETTINGS, tmp_path)
    (folder,) = tmp_path.glob("checkpoint-*")
    with quiet():
        loaded, info = AutoModelForSequenceClassification.from_pretrained(
            folder, output_loading_info=True
        )
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert set(loaded.state_dict()) == set(model.state_dict())
    assert all(
        torch.equal(weights, loaded.state_dict()[name])
        for name, weights in model.state_dict().items()
    )


class Spy:
    """A collator that keeps the row_ids it was asked for."""

    def __init__(self, collator: Collator) -> None:
        self.collator = collator
        self.rows = collator.rows
        self.teachers = collator.teachers
        self.task = collator.task
        self.labelled_only = collator.labelled_only
        self.seen: list[Any] = []

    def __call__(self, places: Any) -> Any:
        batch = self.collator(places)
        self.seen.append(batch.row_id)
        return batch


def test_each_epoch_has_its_own_permutation(
    rows: Examples, student: Callable[..., TeacherModel], tmp_path: Path
) -> None:
    spy = Spy(Collator(rows, TASK))
    trained(student().model, spy, replace(SETTINGS, epochs=3.0, seed=7), tmp_path, goal="base")
    expected = np.concatenate([permutation(60, 7, epoch) for epoch in range(3)])
    assert np.array_equal(np.concatenate(spy.seen), expected)
    assert [len(ids) for ids in spy.seen] == [8, 8, 8, 8, 8, 8, 8, 4] * 3


@pytest.mark.parametrize("accumulate", [1, 2])
def test_grouped_batches_are_of_like_length(
    rows: Examples, student: Callable[..., TeacherModel], tmp_path: Path, accumulate: int
) -> None:
    spy = Spy(Collator(rows, TASK))
    settings = replace(SETTINGS, epochs=2.0, accumulate=accumulate, group_by_length=True)
    trained(student().model, spy, settings, tmp_path, goal="base")
    ids, lengths = np.concatenate(spy.seen), rows.lengths()
    expected = [grouped_permutation(lengths, 8, 0, epoch) for epoch in range(2)]
    assert np.array_equal(ids, np.concatenate(expected))
    assert [sorted(epoch.tolist()) for epoch in expected] == [list(range(60))] * 2
    spread = [np.ptp(lengths[epoch[i : i + 8]]) for epoch in expected for i in range(0, 60, 8)]
    assert np.mean(spread) < np.ptp(lengths) / 3


def test_the_sampler_is_the_pure_permutation() -> None:
    sampler = EpochOrder(10, lambda epoch: permutation(10, 3, epoch))
    assert list(sampler) == permutation(10, 3, 0).tolist()
    sampler.set_epoch(4)
    assert len(sampler) == 10
    assert list(sampler) == list(sampler) == permutation(10, 3, 4).tolist()


def test_several_ranks_are_dealt_equal_batches() -> None:
    sampler = EpochOrder(10, lambda epoch: permutation(10, 3, epoch), multiple=4)
    assert list(sampler) == [*permutation(10, 3, 0).tolist(), -1, -1]
    assert len(sampler) == 12


def test_places_are_themselves() -> None:
    places = Places(5)
    places.set_epoch(3)  # no order, nothing to set
    assert (len(places), places[3]) == (5, 3)
    assert places.__getitems__([4, 0]).tolist() == [4, 0]


def test_evaluation_computes_no_loss_and_no_gradient(
    rows: Examples, student: Callable[..., TeacherModel]
) -> None:
    batch = Collator(rows, TASK)(np.arange(4)).map(torch.from_numpy)
    model = student().model
    summed, logits = Distiller(model, objective("base"), Padding(Side.RIGHT, 0, 0)).eval()(batch)
    assert summed == 0
    assert torch.equal(logits, model(**batch.inputs).logits)


def plain(folder: Path, **more: Any) -> TrainingArguments:
    """What somebody writes who uses the trainer alone."""
    return TrainingArguments(
        str(folder), max_steps=2, report_to="none", disable_tqdm=True, use_cpu=True, **more
    )


def test_the_trainer_alone_takes_plain_arguments(
    rows: Examples, cache: Cache, student: Callable[..., TeacherModel], tmp_path: Path
) -> None:
    args = plain(tmp_path, remove_unused_columns=False, dataloader_pin_memory=False)
    args._n_gpu = 2  # as on a machine with two GPUs and no torchrun
    trainer = DistillTrainer(
        student().model, objective("kd"), Collator(rows, TASK, {"t": cache}), args=args
    )
    assert args.n_gpu == 1
    trainer.train()
    assert trainer.state.global_step == 2


@pytest.mark.parametrize(
    ("method", "taught", "bare", "keep", "said"),
    [
        ("kd", False, False, True, "kd: expected one teacher in the collator, found none"),
        ("base", False, True, True, "base learns from labels alone, and some rows have none"),
        ("ls", False, True, True, "ls learns from labels alone"),
        (
            "base",
            False,
            False,
            False,
            r"args=TrainingArguments\(..., remove_unused_columns=False\), found True",
        ),
        ("kd", True, True, None, r"remove_unused_columns=False\), found no args"),
    ],
)
def test_what_the_trainer_cannot_do_is_refused(
    rows: Examples,
    cache: Cache,
    student: Callable[..., TeacherModel],
    tmp_path: Path,
    method: str,
    taught: bool,
    bare: bool,
    keep: bool | None,
    said: str,
) -> None:
    seen = replace(rows, label=np.where(rows.row_id == 7, -1, rows.label)) if bare else rows
    collator = Collator(seen, TASK, {"t": cache} if taught else {})
    args = {} if keep is None else {"args": plain(tmp_path, remove_unused_columns=not keep)}
    with pytest.raises(SpecError, match=said):
        DistillTrainer(student().model, objective(method), collator, **args)
    both = Collator(rows, TASK, {"t": cache, "u": cache})
    with pytest.raises(SpecError, match="expected one teacher in the collator, found t, u"):
        DistillTrainer(
            student().model,
            objective("kd"),
            both,
            args=plain(tmp_path, remove_unused_columns=False),
        )


def test_rows_without_a_label_are_learnt_from_the_teacher_alone(
    rows: Examples, cache: Cache, student: Callable[..., TeacherModel], tmp_path: Path
) -> None:
    """A batch of nothing but such rows moves the student as alpha 1 does."""
    moved = []
    for label, alpha in ((np.full(len(rows), -1), 0.5), (rows.label, 1.0)):
        collator, model = Collator(replace(rows, label=label), TASK, {"t": cache}), student().model
        args = plain(
            tmp_path, remove_unused_columns=False, dataloader_pin_memory=False, optim="sgd"
        )
        DistillTrainer(model, objective("kd", alpha), collator, args=args).train()
        moved.append(torch.cat([p.detach().reshape(-1) for p in model.parameters()]))
    np.testing.assert_allclose(moved[0], moved[1], atol=1e-7)
    assert not torch.equal(
        moved[0], torch.cat([p.detach().reshape(-1) for p in student().model.parameters()])
    )


def test_logging_goes_where_it_can() -> None:
    check_report("none")
    with pytest.raises(SpecError, match=r"--report-to: .*none.* found 'paper'"):
        check_report("paper")
