"""What a training may spend, and has spent: it says how large the learning rate is, and when to end.

The clock runs from the moment the first batch is asked for until the last step has been made:
reading rows and targets, a live teacher's forward passes, forward and backward passes and the
optimiser. It stands while the student is scored or a checkpoint is written, and before the first
batch. A cache's dump may be charged beforehand (:class:`Charge`).

A step's learning rate follows from the share of the budget that was spent before it: it rises from
0 over the warm-up, then falls to 0. The training ends after the step that is nearest to its
budget: another one is made only if half of it would fit, judged by the median of the last steps.
So what is spent differs from the budget by at most half a step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import ExportableState, TrainerState

from logitcache.config.budget import Budget, Unit, check_first_step, shown
from logitcache.errors import SpecError, counted
from logitcache.records import Batch
from logitcache.store.files import write_atomic

RECENT = 20  # steps by which the next one is judged
PARTS = 10  # of a budget, after each of which a checkpoint is written
COLUMNS = ("progress", "seconds", "flops", "tokens")  # of a step: what has been spent with it


class Spent(SpecError):
    """A training that cannot be gone on with: its text has ended before its budget."""

    kind = "SpecError"


@dataclass(frozen=True)
class Charge:
    """What of a budget is spent before the first step: the ``cost`` of a dump in the budget's unit,
    shared by ``runs`` of them (0: it is not charged).
    """

    cost: float | None = None
    runs: int = 0

    @property
    def amount(self) -> float:
        return self.cost / self.runs if self.cost and self.runs else 0.0


NOT_CHARGED = Charge()


@dataclass(frozen=True)
class Plan:
    """A budget as a run spends it. ``replayed``: the share that another run spent by each step."""

    budget: Budget
    warmup: float
    charge: Charge = NOT_CHARGED
    replayed: tuple[float, ...] = ()
    evaluations: int = 0  # of dev, evenly over the budget, before its end

    @property
    def unit(self) -> Unit:
        return self.budget.unit

    @property
    def amount(self) -> float:
        """What is left for training."""
        return self.budget.amount - self.charge.amount


def rate(progress: float, warmup: float) -> float:
    """The share of the peak learning rate after so much of the budget."""
    if progress < warmup:
        return progress / warmup
    return max(0.0, (1 - progress) / (1 - warmup))


class BudgetClock(TrainerCallback, ExportableState):
    """The clock of a budget, and the end of the training; checkpoints carry what is spent."""

    def __init__(
        self, plan: Plan, flops_of: Callable[[int, int, int], float] | None, update_flops: float
    ) -> None:
        """``flops_of(rows, length, positions)`` of forward and backward passes of a batch, and of a
        live teacher's (None: they are not known); ``update_flops`` of the optimiser.
        """
        self.plan = plan
        self.flops_of = flops_of
        self.update_flops = update_flops
        # of the terms of a loss, for a batch [rows, length]; set where they are bound to a student
        self.flops_of_terms: Callable[[int, int], float] | None = None
        self.totals = dict.fromkeys(COLUMNS[1:], 0.0)
        self.steps: dict[str, list[float]] = {name: [] for name in COLUMNS}
        self.outside = {"set_up": 0.0, "evaluation": 0.0, "checkpoints": 0.0}
        self.mark = time.perf_counter()  # until which all time is accounted for
        self.is_set_up = False
        self.random_state: torch.Tensor | None = None  # before dev was scored

    @property
    def unit(self) -> Unit:
        return self.plan.unit

    @property
    def progress(self) -> float:
        """The share of the budget that has been spent in training, as the schedule sees it."""
        return self.steps["progress"][-1] if self.steps["progress"] else 0.0

    def spent(self) -> float:
        """What has been spent in training, in the budget's unit."""
        steps = len(self.steps["progress"])
        return float(steps) if self.unit is Unit.STEPS else self.totals[self.unit]

    def is_spent(self) -> bool:
        """Whether another step would lead further away from the budget."""
        left = self.plan.amount - self.spent()
        return left <= self._step_cost() / 2

    def is_spent_in(self, checkpoint: Path) -> bool:
        """The same of a checkpoint, whose state is taken over."""
        self.restore(TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME)))
        return bool(self.steps["progress"]) and self.is_spent()

    def check_spent(self) -> None:
        """Raises Spent where the rows have ended before the budget."""
        if self.is_spent():
            return
        raise Spent(
            expected=f"text for {shown(self.plan.amount, self.unit)} of training, none of it twice",
            found=f"its end after {shown(self.spent(), self.unit)}",
            advice="Give more text or a smaller --budget, or read it again: --regime repeat.",
            where="--budget",
        )

    def write_steps(self, path: Path) -> None:
        """What had been spent with each step, as a table: COLUMNS."""
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(self.steps), sink, write_page_checksum=True)
        write_atomic(path, memoryview(sink.getvalue()))

    def record(self) -> dict[str, Any]:
        """What a result says of it."""
        plan = self.plan
        return {
            "unit": str(self.unit),
            "amount": plan.budget.amount,
            "charged": {"dump": plan.charge.amount, **vars(plan.charge)},
            "training": self.spent(),
            **self.totals,
            "outside_seconds": self.outside,
        }

    def in_words(self) -> str:
        """What has been spent, and on what, in one line."""
        plan = self.plan
        steps = counted(len(self.steps["progress"]), "step")
        words = [f"{shown(self.spent(), self.unit)} of {plan.budget} in {steps}"]
        if plan.charge.amount:
            words.append(f"{shown(plan.charge.amount, self.unit)} for the dump")
        outside = []
        for name, seconds in self.outside.items():
            outside.append(f"{name.replace('_', '-')} {seconds:.1f} s")
        words.append(f"not counted: {', '.join(outside)}")
        totals = self.totals
        words.append(
            f"{totals['seconds']:,.1f} s, {totals['tokens']:,.0f} tokens, {totals['flops']:.3g} FLOPs of training"
        )
        return "budget: " + "; ".join(words)

    def _step_cost(self) -> float:
        if self.unit is Unit.STEPS:
            return 1.0
        recent = self.steps[self.unit][-RECENT - 1 :]
        costs = [after - before for before, after in pairwise(recent)]
        return median(costs) if costs else sum(recent)

    def rate(self) -> float:
        """The share of the peak learning rate of the next step."""
        return rate(self.progress, self.plan.warmup)

    def read(self, batch: Batch[torch.Tensor], tokens: int) -> None:
        """Count a micro-batch that is about to be trained on; ``tokens`` without padding."""
        rows, length = batch.inputs["input_ids"].shape
        self.totals["tokens"] += tokens
        if self.flops_of is not None:
            self.totals["flops"] += self.flops_of(rows, length, len(batch.where))
            if self.flops_of_terms is not None:
                self.totals["flops"] += self.flops_of_terms(rows, length)

    # what Trainer calls

    def state(self) -> dict[str, Any]:
        attributes = {"totals": self.totals, "steps": self.steps, "outside": self.outside}
        return {"args": {}, "attributes": attributes}

    def restore(self, state: TrainerState) -> None:
        """What had been spent when a checkpoint was written."""
        stored: Any = state.stateful_callbacks or {}  # by the name of the class
        saved = stored.get(type(self).__name__, {}).get("attributes", {})
        for name, value in saved.items():
            setattr(self, name, value)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.restore(state)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.stand("checkpoints" if self.is_set_up else "set_up")
        self.is_set_up = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.stand("evaluation")
        if self.random_state is not None:
            # a loader of dev draws its workers' seed: with a curve, dropout would be another
            torch.set_rng_state(self.random_state)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.stand("checkpoints")

    def stand(self, what: str) -> None:
        """What has passed since the last step was spent on something else."""
        now = time.perf_counter()
        self.outside[what] += now - self.mark
        self.mark = now

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Before the learning rate of the next step is set."""
        if self.unit is Unit.SECONDS and torch.cuda.is_available():
            torch.cuda.synchronize()  # what has been asked of the GPU has been spent when it is done
        now = time.perf_counter()
        self.totals["seconds"] += now - self.mark
        self.mark = now
        self.totals["flops"] += self.update_flops
        for name, total in self.totals.items():
            self.steps[name].append(total)
        progress = self.steps["progress"]
        progress.append(0.0)  # counted as a step, then set
        if self.plan.replayed:
            progress[-1] = self.plan.replayed[len(progress) - 1]
        else:
            progress[-1] = self.spent() / self.plan.amount

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        progress = self.steps["progress"]
        if len(progress) <= 2 and not self.plan.replayed:
            # the first step of a process takes longer; it is the budget that it must not exceed
            warmup = self.plan.warmup if len(progress) == 2 else 0.0
            cost = self._step_cost()
            check_first_step(self.plan.amount, cost, self.unit, warmup)
        if self.is_spent():
            control.should_training_stop = True
            return
        before = progress[-2] if len(progress) > 1 else 0.0
        if _passes(before, progress[-1], PARTS):
            control.should_save = True
        if _passes(before, progress[-1], self.plan.evaluations + 1):
            control.should_evaluate = True
            self.random_state = torch.get_rng_state()


def _passes(before: float, after: float, parts: int) -> bool:
    """Whether a step from one share of the budget to another ends one of so many equal parts."""
    return int(after * parts) > int(before * parts)
