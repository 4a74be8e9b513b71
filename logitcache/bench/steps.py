"""Timed training steps: each case is a `Trainer`, of this package or stock, that trains anew for a
block.

All cases share one student, see the same rows in the same order, and differ only in their targets.
The first steps of a block are not counted. On a GPU only the two ends of a block wait for the
device, so a block gives one time, its mean.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback

from logitcache.bench.turns import settled
from logitcache.bench.workload import Workload
from logitcache.cache.cache import Cache
from logitcache.config.bench import CONTROL, ONLINE, STOCK
from logitcache.config.methods import is_taught
from logitcache.data.collate import Collator, Teacher
from logitcache.data.order import permutation
from logitcache.models.call import at_positions
from logitcache.models.quiet import quiet
from logitcache.records import Dense
from logitcache.student.methods import Objective, objective
from logitcache.student.term import OwnObjective
from logitcache.student.terms.objective import SumObjective
from logitcache.student.trainer import DistillTrainer
from logitcache.teacher.model import LiveTeacher, TeacherModel

SMOOTHING = 0.1
FOREVER = 1_000_000_000


class OnlineTrainer(DistillTrainer):
    """KD with its teacher in the loop: called for every batch in eval mode, without a gradient, on
    the student's own inputs and in its precision.
    """

    teacher: TeacherModel

    def check_teacher(
        self, objective: Objective | OwnObjective | SumObjective, collator: Collator
    ) -> None:
        """The teacher answers in the loop, so the collator holds none."""

    def ask(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """f32[B, K], or f32[B, T, K]."""
        # what accelerate puts around the student's forward
        with torch.no_grad(), self.accelerator.autocast():
            logits: Tensor = self.teacher.model(**inputs).logits.float()
        if self.teacher.order is None:
            return logits
        return logits[..., torch.from_numpy(self.teacher.order).to(logits.device)]

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        batch = inputs["batch"]
        answers = {"teacher": Dense(at_positions(self.ask(batch.inputs), batch.where))}
        config = {**inputs, "batch": replace(batch, targets=answers)}
        return super().compute_loss(model, config, return_outputs, num_items_in_batch)


class BlockClock(TrainerCallback):
    """The times of a block's steps. The first ``settle`` do not count; the last ends training."""

    def __init__(self, fence: Callable[[], object], singly: bool) -> None:
        self.fence = fence
        self.singly = singly  # whether each step is waited for
        self.settle = 0
        self.steps = 0
        self.marks: list[float] = []
        self.at_start: Callable[[], None] = lambda: None  # called where counting begins

    def begin(self, settle: int, steps: int) -> None:
        self.settle = settle
        self.steps = steps
        self.marks = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        done = state.global_step - self.settle
        if done == 0:
            self.at_start()
        if done in (0, self.steps):
            self.fence()
        if done >= 0:
            self.marks.append(time.perf_counter())
        control.should_training_stop = done >= self.steps

    def seconds(self) -> list[float]:
        """Seconds of each counted step; their mean on a device that is not waited for after each."""
        if not self.singly:
            return [(self.marks[-1] - self.marks[0]) / (len(self.marks) - 1)]
        return [after - before for before, after in pairwise(self.marks)]


@dataclass(frozen=True)
class Case:
    """One method's training loop."""

    name: str
    trainer: Any  # a Trainer
    clock: BlockClock

    def block(self, settle: int, steps: int) -> list[float]:
        """Seconds of ``steps`` steps after ``settle`` (at least one) that do not count. The
        optimiser is made for the block and released after it.
        """
        self.clock.begin(settle, steps)
        with quiet():
            self.trainer.train()
        self._let_go()
        return self.clock.seconds()

    def _let_go(self) -> None:
        """Release the optimiser's moments and the gradients: memory holds one case at a time."""
        trainer = self.trainer
        trainer.optimizer.optimizer.state.clear()  # some of Trainer's own still refer to it, so it is emptied
        trainer.optimizer = trainer.lr_scheduler = None
        trainer.model.zero_grad(set_to_none=True)


class Cases:
    """The cases of a workload. ``cache`` answers its rows, for the cases that read one."""

    def __init__(self, work: Workload, cache: Cache | None = None) -> None:
        self.work = work
        self.cache = cache
        # Trainer wants one; nothing is saved
        self.folder = tempfile.TemporaryDirectory(prefix="logitcache-bench-")
        self.cuda = work.device.startswith("cuda")

    def case(self, name: str) -> Case:
        """One of :data:`CASES`."""
        clock = BlockClock(settled(self.work.device), singly=not self.cuda)
        if name == STOCK:
            trainer = self._stock_trainer(clock)
        else:
            trainer = self._distill_trainer(name, clock)
        trainer.remove_callback(PrinterCallback)
        return Case(name, trainer, clock)

    @cached_property
    def live(self) -> LiveTeacher:
        """The teacher for a student with another tokenizer, whose batches it cannot read."""
        return LiveTeacher(self.work.teacher, self.work.teacher_rows)

    def _distill_trainer(self, name: str, clock: BlockClock) -> Trainer:
        work = self.work
        online = name == ONLINE and work.same_inputs
        kind = OnlineTrainer if online else DistillTrainer
        goal, collator = self.learns(name)
        trainer = kind(
            work.student,
            goal,
            collator,
            group_by_length=work.config.group_by_length,
            args=self._arguments(),
            callbacks=[clock],
        )
        if isinstance(trainer, OnlineTrainer):
            trainer.teacher = work.teacher
        return trainer

    def learns(self, name: str) -> tuple[Any, Collator]:
        """The objective of a case, and what makes its batches."""
        method = {ONLINE: "kd", CONTROL: "ls"}.get(name, name)
        teachers: dict[str, Teacher] = {}
        if is_taught(name):
            assert self.cache is not None, name
            teachers = {"cache": self.cache}
        if name == ONLINE and not self.work.same_inputs:
            teachers = {"live": self.live}
        return objective(method), Collator(self.work.rows, self.work.task, teachers)

    def _stock_trainer(self, clock: BlockClock) -> Trainer:
        """`transformers.Trainer` with its own collator, label smoothing and loop. Its rows come in
        the same order as those of the other cases.
        """
        return Trainer(
            model=self.work.student,
            args=self._arguments(
                label_smoothing_factor=SMOOTHING, train_sampling_strategy="sequential"
            ),
            train_dataset=self._dicts,
            data_collator=DataCollatorWithPadding(self.work.tokenizer),
            callbacks=[clock],
        )

    @cached_property
    def _dicts(self) -> list[dict[str, Any]]:
        rows = self.work.rows
        indptr = rows.inputs["input_ids"].indptr
        examples = []
        for row_index in permutation(len(rows), self.work.config.seed, 0):
            start, stop = indptr[row_index], indptr[row_index + 1]
            row: dict[str, Any] = {"attention_mask": [1] * int(stop - start)}
            row["labels"] = int(rows.label[row_index])
            for name, column in rows.inputs.items():
                row[name] = column.values[start:stop].tolist()
            examples.append(row)
        return examples

    def _arguments(self, **overrides: Any) -> TrainingArguments:
        config = self.work.config
        return TrainingArguments(
            output_dir=self.folder.name,
            max_steps=FOREVER,  # the clock ends a block
            per_device_train_batch_size=config.batch_size // config.accumulate,
            gradient_accumulation_steps=config.accumulate,
            learning_rate=1e-5,
            lr_scheduler_type="constant",
            seed=config.seed,
            use_cpu=not self.cuda,
            bf16=config.precision == "bf16",
            fp16=config.precision == "fp16",
            eval_strategy="no",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=self.cuda,
            **overrides,
        )

    def close(self) -> None:
        """Remove the folder that Trainer needs."""
        self.folder.cleanup()


def student_of(trainer: Any) -> PreTrainedModel:
    """The student that a case trains."""
    if isinstance(trainer, DistillTrainer):
        return trainer.model.student  # type: ignore[no-any-return]
    return trainer.model  # type: ignore[no-any-return]
