"""One student through `transformers.Trainer`, evaluated on every split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from logitcache import platforms
from logitcache.cache.joined import Joined
from logitcache.data.collate import Collator, Teacher
from logitcache.data.tasks.classification import Classification
from logitcache.errors import SpecError
from logitcache.models.heads import remakes_logits
from logitcache.ranks import is_first
from logitcache.records import (
    LOGITS,
    Answers,
    Block,
    Dense,
    Examples,
    Float32,
    Int64,
    common_positions,
    ends_of,
    evenly_spaced,
)
from logitcache.reporter import Meter
from logitcache.student import checkpoints
from logitcache.student.budget import BudgetClock
from logitcache.student.callbacks import (
    BestPlace,
    CheckpointEvery,
    DevScores,
    StepClock,
    dev_scores,
)
from logitcache.student.gathered import FILLING, of_positions
from logitcache.student.losses.gradient import divergence
from logitcache.student.methods import Objective
from logitcache.student.model import save
from logitcache.student.places import EvalPlaces
from logitcache.student.settings import FitSettings, arguments
from logitcache.student.term import OwnObjective
from logitcache.student.terms.objective import SumObjective
from logitcache.student.trainer import DistillTrainer
from logitcache.teacher.model import LiveTeacher

EVAL_LOGITS = 1 << 26  # of a scored batch: 256 MB
EVAL_ROWS = 64


class Diverged(SpecError):
    """A student whose logits are no numbers any more: nothing to go on with."""

    kind = "SpecError"


@dataclass(frozen=True)
class Fidelity:
    """How near the student is to its teacher on train: equal answers, mean KL in nats."""

    agreement: float
    kl: float


@dataclass(frozen=True)
class Fitted:
    """A trained student's figures."""

    scores: dict[str, dict[str, float]]
    predictions: dict[str, Block]
    fidelity: Fidelity | None
    steps: int
    rows_seen: int
    seconds_per_step: float
    train_seconds: float
    peak_memory_bytes: int
    epoch: float  # of the weights kept
    unscored: dict[str, Block] = field(default_factory=dict)  # answers to rows without a label
    history: tuple[dict[str, float], ...] = ()  # "epoch", and the scores on dev after it


def fit(
    student: Any,
    tokenizer: Any,
    objective: Objective | OwnObjective | SumObjective,
    task: Classification,
    prepared: dict[str, Examples],
    teacher: Joined | LiveTeacher | None,
    settings: FitSettings,
    out: Path,
    stage: Meter,
    class_weight: Float32 | None = None,
    references: Mapping[str, Teacher] | None = None,
    unscored: Mapping[str, Examples] = MappingProxyType({}),
    budget: BudgetClock | None = None,
) -> Fitted:
    """Train (or go on from the last whole checkpoint), keep the best or last weights, save the
    student in ``out``. ``stage`` is told of the steps. ``class_weight`` f32[K] is of the training
    rows alone. ``references`` are the teachers that answers to a split are compared with, where the
    task's scores do that. ``unscored`` are rows by split that are answered only. A ``budget`` ends
    the training; raises Spent where its text has ended before. Of several ranks the first saves.
    """
    train_rows = prepared["train"]
    teachers: dict[str, Teacher] = {} if teacher is None else {str(teacher): teacher}
    own = {} if teacher is None or not task.evidence_names else {"train": teacher}
    compared = {**_with_logits(own), **_with_logits(references or {})}
    dev = _dev_places(prepared, task, compared.get("dev"), budget)
    each_epoch = dev is not None and budget is None
    clock = StepClock(stage, budget)
    folder = out / "checkpoints"
    eval_rows = _eval_rows(task, prepared)
    trainer = DistillTrainer(
        student,
        objective,
        Collator(train_rows, task, teachers, class_weight),
        group_by_length=settings.group_by_length,
        loss_execution=settings.loss_execution,
        reads_head=_reads_head(student, task, train_rows, stage),
        budget=budget,
        args=arguments(settings, folder, evaluate=each_epoch, eval_rows=eval_rows),
        eval_dataset=dev,
        compute_metrics=partial(_metrics, task, None if dev is None else dev.collator.rows.row_id),
        processing_class=tokenizer,
        callbacks=_callbacks(clock, budget, settings),
    )
    _trained(trainer, checkpoints.last(folder), budget)
    seconds = clock.spent()
    executions = ", ".join(sorted(trainer.model.executions))
    if executions:
        stage.reporter.note(f"loss of the vocabulary: {executions}")
    if is_first():
        save(student, tokenizer, out)
    step = trainer.state.global_step
    samples = _samples(prepared, task.train_sample)
    predictions = {}
    for split, rows in samples.items():
        if len(rows):
            predictions[split] = predict(trainer, rows, task, compared.get(split))
    scores = {split: task.score(block) for split, block in predictions.items()}
    if budget is not None:
        budget.stand("evaluation")
    cached = teacher if isinstance(teacher, Joined) and teacher.has_logits else None
    fidelity = _fidelity_of(scores, cached, samples["train"], predictions)
    # a run that was resumed at its end has made no step of its own
    per_step = float(np.median(clock.seconds)) if clock.seconds else seconds / max(1, step)
    return Fitted(
        scores=scores,
        predictions=predictions,
        fidelity=fidelity,
        steps=step,
        rows_seen=_rows_seen(train_rows, settings.batch_size, step),
        seconds_per_step=per_step,
        train_seconds=seconds,
        peak_memory_bytes=peak_memory(),
        epoch=_epoch_kept(trainer, settings.select),
        history=_history(trainer.state.log_history, budget),
        unscored={split: predict(trainer, rows, task) for split, rows in unscored.items()},
    )


def _callbacks(clock: StepClock, budget: BudgetClock | None, settings: FitSettings) -> list[Any]:
    """What happens beside the steps; the budget first, as the others read it."""
    callbacks: list[Any] = [budget, clock, BestPlace(), DevScores(clock.stage)]
    if settings.checkpoint_steps is not None:
        callbacks.append(CheckpointEvery(settings.checkpoint_steps))
    return [callback for callback in callbacks if callback is not None]


def _with_logits(teachers: Mapping[str, Teacher]) -> dict[str, Teacher]:
    """The teachers that give logits, by split."""
    return {name: one for name, one in teachers.items() if getattr(one, "has_logits", True)}


def _epoch_kept(trainer: DistillTrainer, select: str) -> float:
    state = trainer.state
    if select != "best" or state.best_global_step is None:
        return float(state.epoch)
    return float(state.best_global_step / state.global_step * state.epoch)


def _trained(trainer: DistillTrainer, last: Path | None, budget: BudgetClock | None) -> None:
    """Train from the ``last`` checkpoint on, which may be one after which the budget is spent.
    Raises Spent where the text has ended before the budget.
    """
    if budget is not None and last is not None and budget.is_spent_in(last):
        trainer.take_up(last)
        budget.stand("set_up")
        return
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    if budget is not None:
        budget.check_spent()


def _history(
    logs: list[dict[str, float]], budget: BudgetClock | None
) -> tuple[dict[str, float], ...]:
    """Scores on dev after each epoch, or parts of a ``budget``, of what a Trainer has logged."""
    history = []
    for log in logs:
        scores = dev_scores(log)
        if not scores:
            continue
        entry = {"epoch": float(log["epoch"])}
        if budget is not None:
            entry["progress"] = budget.steps["progress"][int(log["step"]) - 1]
        history.append({**entry, **scores})
    return tuple(history)


def _dev_places(
    prepared: Mapping[str, Examples],
    task: Classification,
    reference: Teacher | None,
    budget: BudgetClock | None,
) -> EvalPlaces | None:
    """The dev rows in order of length, beside the teacher that answers to them are compared with;
    None where there are none, or they are not scored before the end of a ``budget``.
    """
    if "dev" not in prepared or (budget is not None and not budget.plan.evaluations):
        return None
    rows, _ = _by_length(prepared["dev"])
    return EvalPlaces(Collator(rows, task, _teachers(reference)))


def _reads_head(student: Any, task: Classification, rows: Examples, stage: Meter) -> bool:
    """Whether the student's logits are its last linear map alone, to be fused with the loss."""
    if not task.self_contained:  # few classes: nothing to fuse
        return False
    if remakes_logits(student, rows, rows.padding):
        return True
    stage.reporter.note(
        f"{type(student).__name__}: its code does more than one linear map, so its own logits are computed in full"
    )
    return False


def _rows_seen(train: Examples, batch: int, step: int) -> int:
    """Rows trained on, repeats counted, of whole epochs and more, with one view of each row."""
    n = len(train) // train.views
    epochs, steps = divmod(step, -(-n // batch))
    return epochs * n + steps * batch


def _metrics(task: Classification, row_id: Int64 | None, prediction: Any) -> dict[str, float]:
    """Scores on dev, whose rows have these numbers."""
    logits, label = of_positions(prediction.predictions, prediction.label_ids)
    labels = np.asarray(prediction.label_ids)
    counts = (labels.reshape(len(labels), -1) != FILLING).sum(axis=1)
    numbers = np.arange(len(counts))
    indptr = ends_of(counts)
    answers = Answers(numbers, indptr, np.zeros_like(label), {LOGITS: Dense(_finite(logits))})
    return task.score(Block(numbers if row_id is None else row_id, 0, answers, label))


def _finite(logits: Any) -> Float32:
    """The student's logits. Raises SpecError where training has diverged."""
    values = np.asarray(logits, np.float32)
    bad = len(values) - int(np.isfinite(values).all(axis=1).sum())
    if bad:
        rows = f"expected finite logits of the student, found NaN or infinity in {bad} of {len(values)} rows"
        raise Diverged(
            f"{rows}: its training has diverged. Lower --learning-rate, or train with --precision fp32."
        )
    return values


def _teachers(reference: Teacher | None) -> dict[str, Teacher]:
    return {} if reference is None else {"teacher": reference}


def _eval_rows(task: Classification, prepared: Mapping[str, Examples]) -> int:
    """Rows of a scored batch: as many as give some 2**26 logits, at most 64."""
    longest = 1
    for rows in prepared.values():
        longest = max(longest, int(rows.lengths().max(initial=1)))
    positions = longest if task.per_token else 1
    return max(1, min(EVAL_ROWS, EVAL_LOGITS // (positions * task.num_labels)))


def _samples(prepared: dict[str, Examples], train_rows: int) -> dict[str, Examples]:
    """All rows of the held-out splits, and at most so many train rows, evenly spread: labelled
    ones, so that they are the same for every method.
    """
    labelled = np.flatnonzero(prepared["train"].label >= 0)
    rows = evenly_spaced(len(labelled), train_rows)
    return {**prepared, "train": prepared["train"].select(labelled[rows])}


def predict(
    trainer: DistillTrainer, rows: Examples, task: Classification, reference: Teacher | None = None
) -> Block:
    """What scores need of the student's answers to these rows (:meth:`Task.evidence`), in their
    order; computed in order of length, so that little is padding.
    """
    ordered, order = _by_length(rows)
    output = trainer.predict(EvalPlaces(Collator(ordered, task, _teachers(reference))))
    logits, label = of_positions(output.predictions, output.label_ids)
    positions = task.positions(ordered, np.arange(len(ordered)))
    payloads = {LOGITS: Dense(_finite(logits))}
    computed = Block(
        ordered.row_id,
        0,
        Answers(ordered.row_hash, positions.indptr, positions.index, payloads),
        label,
    )
    return computed.rows(np.argsort(order))


def _by_length(rows: Examples) -> tuple[Examples, Int64]:
    """Rows in order of length, and the place each came from."""
    order = np.argsort(rows.lengths(), kind="stable").astype(np.int64)
    return rows.select(order), order


def _fidelity_of(
    scores: Mapping[str, Mapping[str, float]],
    cached: Joined | None,
    train: Examples,
    predictions: Mapping[str, Block],
) -> Fidelity | None:
    """How near the student came to its teacher on train; None without a cache of logits."""
    of_train = scores.get("train", {})
    if "kl" in of_train:
        return Fidelity(of_train["agreement"], of_train["kl"])
    if cached is None or "train" not in predictions:
        return None
    prediction = predictions["train"]
    answers = cached.take(train.row_id, train.row_hash, train.view)
    of_teacher, of_student = common_positions(answers, prediction.answers)
    teacher = answers.payload.select(of_teacher)
    student = prediction.answers.payload.select(of_student)
    agreement = (teacher.likeliest() == student.likeliest()).mean()
    distance = divergence(torch.from_numpy(student.logits), teacher.map(torch.from_numpy))
    return Fidelity(float(agreement), float(distance.mean()))


def peak_memory() -> int:
    """Most memory this process has held, in bytes: allocated on the GPU, else resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return platforms.peak_memory()
