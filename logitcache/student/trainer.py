"""Training on `transformers.Trainer`: one module that holds body, head and loss, and a few hooks.

``Distiller`` is the one module that Trainer, DDP and FSDP wrap; checkpoints hold the student inside
it, so `transformers` loads them. The loss is a sum over positions divided by the weight of the
whole accumulated batch, over all ranks: gradients are the same however a batch is cut into
micro-batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel, Trainer, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback, TrainerState

from logitcache.cache.signals import check_logits
from logitcache.config.methods import METHODS, check_temperature
from logitcache.data.collate import Collator
from logitcache.data.order import grouped_permutation, of_view, permutation, windowed_permutation
from logitcache.errors import SpecError
from logitcache.records import Batch, Int64
from logitcache.student import checkpoints
from logitcache.student.budget import BudgetClock
from logitcache.student.distiller import Distiller
from logitcache.student.gathered import by_row
from logitcache.student.losses.gradient import compared
from logitcache.student.methods import Objective
from logitcache.student.places import EpochOrder, EvalPlaces, Places
from logitcache.student.term import OwnObjective
from logitcache.student.terms.objective import SumObjective, bound_to

__all__ = [
    "DistillTrainer",
    "Distiller",
    "EpochOrder",
    "EvalPlaces",
    "Places",
    "to_torch",
]

TERMS_FILE = "terms.safetensors"  # in a checkpoint: what terms learn beside the student


def to_torch(batch: Batch[Any]) -> dict[str, Any]:
    """What Trainer carries: the batch's tensors, and its labels by which Trainer counts rows."""
    tensors = batch.map(torch.from_numpy)
    return {"labels": tensors.label, "batch": tensors}


def _collate(collator: Collator, samples: Any) -> dict[str, Any]:
    """Places of train rows, or a batch of :class:`EvalPlaces`; with its number of real tokens."""
    batch = samples if isinstance(samples, Batch) else collator(samples)
    return {**to_torch(batch), "tokens": int(batch.inputs["attention_mask"].sum())}


class DistillTrainer(Trainer):
    """`transformers.Trainer` for a :class:`Distiller`: records, our order, our normalisation."""

    loss_is_scaled_for_ga = True

    writing = False  # a checkpoint
    model: Any  # a Distiller; while something is saved or loaded, the student in it

    def __init__(
        self,
        student: PreTrainedModel,
        objective: Objective | OwnObjective | SumObjective,
        collator: Collator,
        *,
        group_by_length: bool = False,
        loss_execution: str = "auto",
        reads_head: bool = True,
        budget: BudgetClock | None = None,
        **kwargs: Any,
    ) -> None:
        """``collator`` holds the training rows and their teachers; ``budget`` is one of the
        callbacks, and sets the learning rate; ``kwargs`` are Trainer's own (``args``,
        ``callbacks``, ``eval_dataset`` as :class:`EvalPlaces`, ...). Raises SpecError
        for arguments under which Trainer would drop what a batch carries, a method whose teacher is
        missing, or rows without a label for a method that learns from labels alone.
        """
        self.check_teacher(objective, collator)
        _check_arguments(kwargs.get("args"))
        if collator.task.per_token and not METHODS[objective.method].needs_teacher:
            collator = replace(collator, labelled_only=True)
        terms, collator = bound_to(objective, student, collator)
        self.collate = collator
        self.group_by_length = group_by_length
        self.budget = budget
        if budget is not None and terms is not None:
            budget.flops_of_terms = terms.flops_of(student)
        bare = not collator.labelled_only and collator.task.has_unlabelled(collator.rows)
        distiller = Distiller(
            student,
            objective,
            collator.rows.padding,
            some_unlabelled=bare,
            per_token=collator.task.per_token,
            width=collator.task.width_of_answers,
            execution=None if loss_execution == "auto" else loss_execution,
            reads_head=reads_head,
            terms=terms,
        )
        self.places = Places(len(collator.rows) // collator.rows.views)
        super().__init__(
            model=distiller,
            data_collator=partial(_collate, collator),
            train_dataset=self.places,
            **kwargs,
        )
        self.remove_callback(PrinterCallback)  # stdout is for results
        self.model_accepts_loss_kwargs = True

    def check_teacher(
        self, objective: Objective | OwnObjective | SumObjective, collator: Collator
    ) -> None:
        """Raises SpecError for a method without a teacher to learn from, or rows without label."""
        if METHODS[objective.method].needs_teacher:
            if len(collator.teachers) != 1:
                names = ", ".join(collator.teachers) or "none"
                raise SpecError(
                    f"{objective.method}: expected one teacher in the collator, found {names}."
                )
            for teacher in collator.teachers.values():
                if objective.temperature is not None:
                    check_logits(teacher)
                    check_temperature(getattr(teacher, "temperatures", None), objective.temperature)
        elif not collator.task.per_token and collator.task.has_unlabelled(collator.rows):
            raise SpecError(
                f"{objective.method} learns from labels alone, and some rows have none. Leave those rows out."
            )

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochOrder:
        """The order of rows, whatever the number of ranks. They take micro-batches in turn, so a
        step's are theirs together; what several ranks lack at the end is padding.
        """
        rows = self.collate.rows
        args = self.args
        n = len(rows) // rows.views
        seed = args.seed if args.data_seed is None else args.data_seed
        together = args.train_batch_size * args.world_size
        windows = [getattr(teacher, "window", None) for teacher in self.collate.teachers.values()]
        # of stores that are read by windows
        window = min((size for size in windows if size is not None), default=None)
        order: Callable[[int], Int64] = partial(permutation, n, seed)
        if window is not None:
            order = partial(windowed_permutation, n, window, seed)
        if self.group_by_length:
            batch = together * args.gradient_accumulation_steps
            order = partial(
                grouped_permutation, rows.lengths()[:: rows.views], batch, seed, window=window
            )
        order = partial(of_view, order, rows.views)
        sampler = EpochOrder(n, order, together if args.world_size > 1 else 1)
        self.places.order = sampler
        return sampler

    def _get_num_items_in_batch(
        self, batch_samples: list[Any], device: torch.device
    ) -> Tensor | None:
        """Total weight of the accumulated batch, over all ranks."""
        if not batch_samples:
            return None
        weights = [sample["batch"].weight.sum() for sample in batch_samples]
        total = torch.stack(weights).sum().to(device)
        if self.args.world_size > 1:
            total = self.accelerator.reduce(total, "sum")
        return total.masked_fill(total == 0, 1)  # of rows without a kept position: their loss is 0

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Trainer's own, or one that follows the share of a budget that has been spent."""
        budget = self.budget
        if budget is None or self.lr_scheduler is not None:
            return super().create_scheduler(num_training_steps, optimizer)
        scheduled: Any = self.optimizer if optimizer is None else optimizer
        self.lr_scheduler = LambdaLR(scheduled, lambda step: budget.rate())
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def take_up(self, checkpoint: Path) -> None:
        """Take the weights and the state of a checkpoint after which no step is to be made."""
        self.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
        self._load_from_checkpoint(str(checkpoint))

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        if self.budget is not None:
            self.budget.read(inputs["batch"], inputs["tokens"])
        summed, logits = model(inputs["batch"])
        # DDP averages gradients over ranks
        loss = summed / num_items_in_batch * self.accelerator.num_processes
        return (loss, logits) if return_outputs else loss

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: Any = None,
    ) -> tuple[None, Tensor, Tensor]:
        batch: Any = self._prepare_inputs(inputs)["batch"]
        with torch.no_grad(), self.compute_loss_context_manager():
            _, logits = model(batch)
            teacher = None if batch.teacher is None else compared(logits, batch.teacher)
            logits = self.collate.task.evidence(logits, batch.label, teacher)
        if not self.collate.task.per_token:  # one position a row, as Trainer's own users have it
            return None, logits.float(), batch.label
        return None, *by_row(batch, logits.float())

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Whether the last evaluation is the best so far; of equal scores, the later is better."""
        is_best: bool = super()._determine_best_metric(metrics, trial)
        name = self.args.metric_for_best_model
        if name is None:
            return is_best
        if metrics[f"eval_{name.removeprefix('eval_')}"] == self.state.best_metric:
            self.state.best_global_step = self.state.global_step
            is_best = True
        return is_best

    def _get_output_dir(self, trial: Any) -> str:
        folder = super()._get_output_dir(trial)
        return str(Path(folder) / checkpoints.WRITING) if self.writing else folder

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Written elsewhere by all ranks, then given its name by one."""
        checkpoint = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        written = checkpoints.writing(checkpoint)
        if self.args.should_save:
            checkpoints.discard(written)
        self.accelerator.wait_for_everyone()
        self.writing = True
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.writing = False
        best = checkpoint.with_name(f"checkpoint-{self.state.best_global_step}")
        if best == checkpoint or best.is_dir():
            self.state.best_model_checkpoint = str(best)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            # again: the best one is not where it was written
            self.state.save_to_json(str(written / TRAINER_STATE_NAME))
            checkpoints.publish(checkpoint)
            checkpoints.rotate(
                checkpoint.parent, self.args.save_total_limit, self.state.best_model_checkpoint
            )
        self.accelerator.wait_for_everyone()

    @contextmanager
    def _inner(self) -> Iterator[None]:
        """Trainer sees the student itself: what is saved and loaded is what `transformers` loads."""
        outer = self.model
        self.model = outer.student
        try:
            yield
        finally:
            self.model = outer

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None
    ) -> None:
        if state_dict is not None:
            weights = {}
            for name, tensor in state_dict.items():
                if name.startswith("student."):
                    weights[name.removeprefix("student.")] = tensor
            state_dict = weights
        terms = self.model.terms
        with self._inner():
            super()._save(output_dir, state_dict)
        if terms is not None and terms.state_dict() and output_dir is not None:
            save_file(terms.state_dict(), Path(output_dir) / TERMS_FILE)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        terms = self.model.terms
        with self._inner():
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        if terms is not None and terms.state_dict():
            terms.load_state_dict(load_file(Path(resume_from_checkpoint) / TERMS_FILE))

    def _load_best_model(self) -> None:
        with self._inner():
            super()._load_best_model()


def _check_arguments(args: TrainingArguments | None) -> None:
    """Raises SpecError where Trainer would drop what a batch carries: its default."""
    if args is None or args.remove_unused_columns:
        value = "no args, which means True" if args is None else "True"
        raise SpecError(
            expected="args=TrainingArguments(..., remove_unused_columns=False)",
            found=f"{value}: it drops what a batch carries",
        )
    # several GPUs are torchrun's, one process each: DataParallel carries no Batch
    args._n_gpu = min(args.n_gpu, 1)
