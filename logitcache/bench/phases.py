"""The phases of a training step, by stopwatches around the calls of `Trainer` and of this package.
They are measured in blocks of their own, because each border waits for the device.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import accelerate.data_loader
from transformers import TrainerCallback

from logitcache.bench.steps import Case, OnlineTrainer, student_of
from logitcache.data.collate import Collator

PHASES = ("data", "target", "transfer", "forward", "loss", "backward", "optimiser", "rest")


class Stopwatches:
    """Seconds of each phase, without those of phases inside it."""

    def __init__(self, fence: Callable[[], object]) -> None:
        self.fence = fence
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.running: list[str] = []
        self.last = 0.0

    def _lap(self) -> None:
        self.fence()
        now = time.perf_counter()
        if self.running:
            self.seconds[self.running[-1]] += now - self.last
        self.last = now

    def enter(self, phase: str) -> None:
        self._lap()
        self.running.append(phase)

    def leave(self) -> None:
        self._lap()
        self.running.pop()

    def around(self, phase: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            self.enter(phase)
            try:
                return call(*args, **kwargs)
            finally:
                self.leave()

        return timed


class _Optimiser(TrainerCallback):
    def __init__(self, watch: Stopwatches) -> None:
        self.watch = watch

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.watch.enter("optimiser")

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.watch.leave()


def phases(case: Case, settle: int, steps: int) -> dict[str, float]:
    """Seconds of each phase of a step, on average over a block. ``data`` is collating and padding,
    ``target`` the teacher's answers (from a cache: gather, decoding, proof; online: its forward
    pass), ``optimiser`` clipping and AdamW, ``rest`` what Trainer does besides.
    """
    watch = Stopwatches(case.clock.fence)
    case.clock.at_start = watch.seconds.clear
    with _watched(case, watch):
        seconds = case.block(settle, steps)
    case.clock.at_start = lambda: None
    total = steps * sum(seconds) / len(seconds)  # a GPU's block gives one time, its mean
    watch.seconds["rest"] = max(0.0, total - sum(watch.seconds.values()))
    return {phase: watch.seconds[phase] / steps for phase in PHASES}


@contextmanager
def _watched(case: Case, watch: Stopwatches) -> Iterator[None]:
    trainer = case.trainer
    student = student_of(trainer)
    callback = _Optimiser(watch)
    hooks = [
        student.register_forward_pre_hook(lambda *_: watch.enter("forward")),
        student.register_forward_hook(lambda *_: watch.leave()),
    ]
    calls: list[tuple[Any, str, str]] = [
        (trainer, "data_collator", "data"),
        (accelerate.data_loader, "send_to_device", "transfer"),
        (trainer, "_prepare_inputs", "transfer"),
        (trainer, "compute_loss", "loss"),
        (trainer.accelerator, "backward", "backward"),
        (trainer.accelerator, "clip_grad_norm_", "optimiser"),
    ]
    if isinstance(trainer, OnlineTrainer):
        calls.append((trainer, "ask", "target"))
    with ExitStack() as stack:
        for owner, name, phase in calls:
            call = watch.around(phase, getattr(owner, name))
            stack.enter_context(mock.patch.object(owner, name, call))
        stack.enter_context(
            mock.patch.object(Collator, "_ask", watch.around("target", Collator._ask))
        )
        trainer.add_callback(callback)
        try:
            yield
        finally:
            trainer.remove_callback(callback)
            for hook in hooks:
                hook.remove()
