"""Speeds of a language model: a dump of a few rows and training steps are timed, or FLOPs counted.

What a dump computes besides the body (the head at the kept positions, the codec, the report) is
most of its time for small teachers of large vocabularies, so a real dump is timed, into a folder
that is removed. Two dumps of unlike size tell what grows with the tokens from what does not.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from logitcache.bench.answering import UnreadTeacher, write_cache
from logitcache.bench.turns import timed
from logitcache.config.bench import PlanConfig
from logitcache.cost.flops import DTYPES, Device, forward_cost, shape_of
from logitcache.data.source import Source
from logitcache.forecast.calibrate import Calibration, Pace, Speeds
from logitcache.forecast.epoch import mean_width
from logitcache.forecast.finetuning import PASSES
from logitcache.forecast.setup import Inputs, density_of
from logitcache.records import Int64, evenly_spaced
from logitcache.teacher.model import TeacherModel
from logitcache.teacher.plan import Planned, planned

FIRST_ROWS = 2  # of the dump that tells how long a longer one would take
HELD_LOGITS = 1 << 26  # of the rows whose answers are timed together


def dump_of(config: PlanConfig, inputs: Inputs, index: Int64) -> Planned:
    """A real dump of the planned rows at these places."""
    work = inputs.work
    dump = inputs.dumps[0]
    rows = replace(dump.rows.select(index), row_id=np.arange(len(index)))
    source = Source(
        work.source,
        {"train": rows},
        None,
        work.num_labels,
        task=work.task.name,
        documents=str(dump.plan.data["documents"]),
    )
    teacher = UnreadTeacher(work.teacher)
    codec = inputs.codecs[config.stored]
    return planned(teacher, source, "train", config.settings, probe=False, codecs=[codec])


def spread_rows(dump: Planned, count: int) -> Int64:
    """The places of about ``count`` of the planned rows, evenly spread: all draws of a row."""
    draws = dump.draws
    rows = evenly_spaced(len(dump.rows) // draws, max(1, count // draws))
    return (rows[:, None] * draws + np.arange(draws)).reshape(-1)


def few_rows(config: PlanConfig, inputs: Inputs, count: int) -> Inputs:
    """A workload whose only dump is a real one, of so many of the rows."""
    dump = dump_of(config, inputs, spread_rows(inputs.dumps[0], count))
    sample = dump.prepare(0, len(dump.rows))
    in_plan = inputs.once.get(config.stored, 0)  # a real dump's plan has its codec's tensors
    return replace(
        inputs,
        dumps=(dump,),
        once={name: size - in_plan for name, size in inputs.once.items()},
        lengths=(sample.lengths(),),
        densities=(density_of(dump, sample),),
        finetune=None,
    )


class TokenCalibration(Calibration):
    """Timing of a language model's workload."""

    def __init__(self, config: PlanConfig, inputs: Inputs) -> None:
        super().__init__(inputs.work, inputs.dumps[0], config.seconds, inputs.finetune)
        self.config = config
        self.inputs = inputs
        self.written = 0.0  # seconds of a dump whatever its rows

    def pace(self) -> Pace:
        """Seconds of a token, of real dumps of some rows."""
        rows = self.planned.rows
        draws = self.planned.draws
        few_rows = min(len(rows), FIRST_ROWS * draws)
        tokens, seconds = self._dumped(few_rows)
        affordable = int(self.seconds / max(seconds, 1e-6) * few_rows / draws)
        most_rows = min(len(rows), affordable * draws)
        if most_rows >= 2 * few_rows:
            few_tokens, few_seconds = self._dumped(max(few_rows, most_rows // 8 // draws * draws))
            tokens, seconds = self._dumped(most_rows)
            if tokens > few_tokens and seconds > few_seconds:
                slope = (seconds - few_seconds) / (tokens - few_tokens)
                self.written = max(0.0, seconds - slope * tokens)
                return Pace(np.ones(1), np.array([slope]))
        return Pace(np.ones(1), np.array([seconds / tokens]))

    def _dumped(self, count: int) -> tuple[int, float]:
        """Tokens and seconds of a dump of so many rows."""
        index = spread_rows(self.planned, count)
        dump = dump_of(self.config, self.inputs, index)
        with tempfile.TemporaryDirectory(prefix="logitcache-plan-") as folder:
            seconds = write_cache(dump, Path(folder) / "cache")
        tokens = dump.prepare(0, len(dump.rows)).tokens
        return tokens, seconds

    def tokenise(self) -> float:
        return self.inputs.tokenise

    def write(self) -> float:
        return self.written

    def teacher_forward(self) -> float:
        return self._batch_seconds(self.work.teacher)

    def own_forward(self) -> float:
        student = self.work.student
        training = student.training
        try:
            return self._batch_seconds(replace(self.work.teacher, model=student))
        finally:
            student.train(training)

    def _batch_seconds(self, model: TeacherModel) -> float:
        """Seconds of a model's answers to a training batch, of as many rows as fit into memory."""
        rows = self.work.rows
        longest = int(rows.lengths().max())
        size = self.work.config.batch_size
        held = max(1, min(size, len(rows), HELD_LOGITS // (longest * self.work.num_labels)))
        index = evenly_spaced(len(rows), held)
        model.answers(rows, index[:1])
        seconds = timed(lambda: model.answers(rows, index), self.fence)
        return seconds * size / len(index)


def tokens_from_flops(inputs: Inputs, device: Device) -> Speeds:
    """Speeds of a language model from a device's peak alone. The head is computed at the positions
    that are learnt, all before it at every token.
    """
    work = inputs.work
    config = work.config
    size = config.batch_size
    density = inputs.densities[0]
    width = mean_width(work.rows.lengths(), size, config.seed, config.group_by_length)
    positions = size * width * density.positions / max(1.0, density.tokens)
    student = forward_cost(work.student).of_batch(size, width, positions)
    teacher = forward_cost(work.teacher.model).of_batch(size, width, positions)
    precision = DTYPES[config.precision]
    own_forward = student / device.reached(precision)
    teacher_forward = teacher / device.reached(config.dtype)
    update = device.update_seconds(shape_of(work.student), size, width)
    finetune_step = None
    if inputs.finetune is not None:
        rows = inputs.finetune.batch_size
        passes = PASSES * teacher * rows / size / device.reached("float32")
        finetune_step = passes + device.update_seconds(shape_of(work.teacher.model), rows, width)
    return Speeds(
        step=PASSES * own_forward + update,
        own_forward=own_forward,
        teacher_forward=teacher_forward,
        pace=Pace(np.ones(1), np.array([teacher_forward / (size * width)])),
        finetune_step=finetune_step,
    )
