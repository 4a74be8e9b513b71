"""What happens beside a training's steps: best checkpoint, checkpoints, clock, logs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations.integration_utils import get_available_reporting_integrations
from transformers.trainer_callback import ExportableState

from logitcache.errors import SpecError
from logitcache.reporter import Meter
from logitcache.student.budget import BudgetClock

PERCENT = 100

_EVAL = "eval_"  # what a Trainer puts before the name of a score
_NO_SCORES = {"loss", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time"}


class BestPlace(TrainerCallback):
    """A resumed run's best checkpoint lies beside the one it goes on from, wherever it is.

    Trainer records a path, relative to where the command ran; where it leads nowhere, it keeps the
    last weights and says nothing.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        best = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
        if best.is_dir():
            state.best_model_checkpoint = str(best)


class CheckpointEvery(TrainerCallback):
    """A checkpoint after so many steps too; Trainer takes that of an epoch's last step itself."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        last = state.global_step >= state.max_steps or float(state.epoch).is_integer()
        if state.global_step % self.steps == 0 and not last:
            control.should_save = True


class DevScores(TrainerCallback):
    """Tells the reporter of the scores on dev, once the epoch's checkpoint is there."""

    def __init__(self, stage: Meter) -> None:
        self.stage = stage
        self.scores: dict[str, float] = {}

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.scores = dev_scores(kwargs["metrics"])

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.scores:
            self.stage.reporter.scored(self.stage, float(state.epoch), self.scores)
        self.scores = {}


def dev_scores(logged: Mapping[str, float]) -> dict[str, float]:
    """The scores on dev among what a Trainer logs after an epoch; other values are of speed."""
    scores = {}
    for logged_name, value in logged.items():
        name = logged_name.removeprefix(_EVAL)
        if name != logged_name and name not in _NO_SCORES:
            scores[name] = float(value)
    return scores


class StepClock(TrainerCallback, ExportableState):
    """Seconds between ends of successive steps of an epoch: compute and data, without evaluation
    and checkpoints.

    Checkpoints carry what was measured, so a resumed run's times are those of the whole run.
    """

    def __init__(self, stage: Meter, budget: BudgetClock | None = None) -> None:
        """With a ``budget``, what is shown is how many percent of it are spent."""
        self.stage = stage
        self.budget = budget
        self.seconds: list[float] = []
        self.last: float | None = None
        self.started = time.perf_counter()

    def spent(self) -> float:
        """Seconds of training so far, those before a checkpoint included."""
        return time.perf_counter() - self.started

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": {"seconds": self.seconds, "spent": self.spent()}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        saved = state.stateful_callbacks.get(type(self).__name__, {}).get("attributes", {})
        self.seconds = list(saved.get("seconds", []))
        self.started = time.perf_counter() - saved.get("spent", 0.0)
        if self.budget is None:
            self.stage.start(state.max_steps, state.global_step)
        else:
            self.stage.start(PERCENT, int(PERCENT * self.budget.progress))

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.last = None

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.last = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = time.perf_counter()
        if self.last is not None:
            self.seconds.append(now - self.last)
        self.last = now
        if self.budget is None:
            self.stage.advance()
        else:
            percent = min(PERCENT, int(PERCENT * self.budget.progress))
            self.stage.advance(percent - self.stage.done)


def check_report(report_to: str) -> None:
    """Raises SpecError where Trainer cannot log there."""
    if report_to == "none":  # nothing to look for among what is installed
        return
    names = ("none", *sorted(get_available_reporting_integrations()))
    if report_to not in names:
        raise SpecError(
            expected=f"what is installed here ({', '.join(names)})",
            found=repr(report_to),
            advice="Choose one of these.",
            where="--report-to",
        )
