"""How far a plan is off. It is calibrated, predicted and measured round by round in one process, so
that differences are those of the plan; the drift of the machine is measured too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.bench.answering import write_cache
from logitcache.bench.document import Document, document, until_interrupted
from logitcache.bench.memory import peak
from logitcache.bench.turns import ratio_of, rotated
from logitcache.config.bench import ONLINE, PlanBenchConfig, PlanConfig
from logitcache.forecast.calibrate import SETTLE, Speeds
from logitcache.forecast.forecast import (
    Forecast,
    calibration,
    dump_seconds,
    forecast,
    memory_of,
)
from logitcache.forecast.language import load_language
from logitcache.forecast.setup import Inputs, load_inputs
from logitcache.forecast.token_speeds import few_rows
from logitcache.reporter import SILENT, Reporter
from logitcache.targets.table import codec_of_logits

DUMP = "dump"
STEP = "step"
LS = "ls"


@dataclass(frozen=True)
class Round:
    """Seconds of one dump of the rows, or of so many steps."""

    what: str
    predicted_seconds: float
    measured_seconds: float

    @property
    def ratio(self) -> float:
        """Predicted ÷ measured."""
        return self.predicted_seconds / self.measured_seconds


@dataclass
class Measured:
    """What was measured so far."""

    rounds: list[Round] = field(default_factory=list)
    written: int | None = None  # bytes of the cache's folder
    plan: Forecast | None = None
    memory: dict[str, float] = field(default_factory=dict)  # predicted ÷ measured, by method

    def of(self, what: str) -> list[Round]:
        """The rounds of one thing."""
        return [entry for entry in self.rounds if entry.what == what]


def bench(
    config: PlanConfig,
    command: Sequence[str],
    reporter: Reporter = SILENT,
    *,
    rounds: int = PlanBenchConfig.rounds,
    steps: int = PlanBenchConfig.steps,
    memory: bool = True,
) -> Document:
    """Predict and measure a dump of the rows and so many training steps, ``rounds`` times, and the
    ``memory`` of a training, once. After an interrupt the document holds what was measured until
    then. Raises what ``plan`` raises.
    """
    config.check()
    codec_of_logits(config.settings)
    rows = config.work.rows or PlanBenchConfig.rows
    config = replace(config, work=replace(config.work, rows=rows))
    if config.is_language:
        inputs = few_rows(config, load_language(config, reporter), rows)
    else:
        inputs = replace(load_inputs(config, reporter, only=rows), finetune=None)
    measured = Measured()
    with until_interrupted(reporter) as measuring:
        _measure(config, inputs, measured, reporter, rounds, steps)
        if memory and config.is_language:
            reporter.note("memory: of a language model's training it is not measured")
        elif memory:
            _measure_memory(config, inputs, measured, reporter)
    plan = {} if measured.plan is None else measured.plan.to_dict()
    setting = {**plan.pop("setting", {}), "rounds": rounds, "steps": steps}
    results = {
        **plan,
        "rounds": [dict(vars(entry)) for entry in measured.rounds],
        "accuracy": accuracy(measured),
        "drift": drift(measured),
    }
    return document(
        "plan",
        command,
        setting,
        results,
        device=inputs.work.device,
        seed=config.work.seed,
        complete=measuring.complete,
    )


def _measure(
    config: PlanConfig,
    inputs: Inputs,
    measured: Measured,
    reporter: Reporter,
    rounds: int,
    steps: int,
) -> None:
    """Rounds of a calibration, a dump and some steps. Dump and steps take turns to begin."""
    with calibration(config, inputs) as timing:
        for number, order in enumerate(rotated([DUMP, STEP], rounds), 1):
            speeds = timing.speeds()
            measured.plan = forecast(config, inputs, speeds, None)
            for what in order:
                if what == STEP:
                    predicted = steps * speeds.step / timing.share(SETTLE, SETTLE + steps)
                    seconds = steps * float(np.mean(timing.case.block(SETTLE, steps)))
                    result = Round(STEP, predicted, seconds)
                else:
                    result, measured.written = _dump(inputs, speeds)
                measured.rounds.append(result)
                reporter.note(
                    f"round {number} of {rounds}: {what} predicted {result.predicted_seconds:.3f} s, "
                    f"measured {result.measured_seconds:.3f} s"
                )


def _dump(inputs: Inputs, speeds: Speeds) -> tuple[Round, int]:
    """A real dump, and the bytes that it wrote."""
    predicted = dump_seconds(inputs, speeds)
    with tempfile.TemporaryDirectory(prefix="logitcache-plan-") as folder:
        seconds = write_cache(inputs.dumps[0], Path(folder) / "cache")
        written = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return Round(DUMP, predicted, seconds), written


def _measure_memory(
    config: PlanConfig, inputs: Inputs, measured: Measured, reporter: Reporter
) -> None:
    """Memory of a training with label smoothing and of one with its teacher in the loop. The
    prediction includes the memory that this process held before.
    """
    memory, teacher_memory = memory_of(inputs)
    predicted = {LS: memory.training(), ONLINE: memory.training() + teacher_memory}
    for name, size in predicted.items():
        reporter.note(f"memory: {name}, in a process of its own")
        training = peak(config.work, name, None)
        if training.error is None:
            measured.memory[name] = size / training.allocated
        else:
            reporter.note(f"{name}: does not fit in memory, which is not compared")


def accuracy(measured: Measured) -> dict[str, Any]:
    """Predicted ÷ measured; None for what was not measured."""
    ratios: dict[str, Any] = {}
    for what in (DUMP, STEP):
        rounds = measured.of(what)
        ratios[what] = ratio_of([entry.ratio for entry in rounds]).to_dict() if rounds else None
    ratios["bytes"] = None
    if measured.plan is not None and measured.written is not None:
        ratios["bytes"] = measured.plan.bytes[measured.plan.setting["codec"]] / measured.written
    ratios["memory"] = measured.memory or None
    return ratios


def drift(measured: Measured) -> float | None:
    """The largest ÷ the smallest that was measured of one thing: what the machine itself is off by."""
    spans = []
    for what in (DUMP, STEP):
        seconds = [entry.measured_seconds for entry in measured.of(what)]
        if seconds:
            spans.append(max(seconds) / min(seconds))
    return max(spans, default=None)
