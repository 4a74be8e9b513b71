"""Times some of the teacher's batches and some training steps, made as dump and run do.

Single batches are timed; the time of a whole dump or run is the sum over the lengths of the rows.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from logitcache.bench.machine import Energy
from logitcache.bench.steps import Case, Cases
from logitcache.bench.turns import settled, timed
from logitcache.bench.workload import Workload
from logitcache.cache.layout import columns_of
from logitcache.config.bench import CALIBRATION_SECONDS
from logitcache.config.teacher import Finetune
from logitcache.cost.flops import DTYPES, Device, shape_of
from logitcache.data.collate import pad
from logitcache.data.order import token_batches
from logitcache.forecast.epoch import mean_width, share_of_epoch, training_batches
from logitcache.forecast.finetuning import step_from_flops, step_timed
from logitcache.models.call import on_device
from logitcache.records import Array, Examples, Int64, evenly_spaced
from logitcache.store.columns import ROW
from logitcache.store.writer import CacheWriter
from logitcache.targets.dense import DenseCodec
from logitcache.teacher.plan import Planned

WIDTHS = 6  # batches of a dump that are timed, from the longest to the shortest
LEAST_ROWS = 8  # of a batch that is cut because it takes too long
BATCHES = 4  # of training that teacher and student answer
STEPS = (4, 24)  # fewest and most that are timed
SETTLE = 2  # steps before them
TOGETHER = 4  # batches of a dump between two waits for a GPU
TEXTS = 512  # rows that are tokenised


@dataclass(frozen=True)
class Pace:
    """Seconds that a padded token takes in batches of these widths, f[n] each; widths ascend."""

    widths: Array
    seconds: Array

    def of(self, lengths: Int64, batch_tokens: int) -> float:
        """Seconds of all rows of these lengths, in a dump's batches."""
        batches = token_batches(lengths, batch_tokens)
        longest = np.array([batch[0] for batch in batches])
        widths = np.maximum(1, lengths[longest])
        rows = np.array(list(map(len, batches)))
        seconds = np.interp(widths, self.widths, self.seconds)  # of a token
        return float((rows * widths * seconds).sum())


@dataclass(frozen=True)
class Speeds:
    """Seconds of a step, of a batch's answers and of a dump's parts; ``watts`` of the device."""

    step: float  # of training, with label smoothing
    own_forward: float  # the student's answers to a training batch
    teacher_forward: float  # the teacher's
    pace: Pace  # the teacher's, in a dump
    tokenise: float = 0.0  # one row, for the teacher
    # one shard, encoded and on disk: the others are written while the next is computed
    write: float = 0.0
    watts: float | None = None
    finetune_step: float | None = None  # of training the teacher first, where it is

    def dump(self, lengths: Int64, rows: int, shard_rows: int, batch_tokens: int) -> float:
        """Seconds of a dump of so many rows, whose lengths are those of a sample: i64[n]."""
        shard = np.resize(lengths, min(rows, shard_rows))
        shards = rows / len(shard)
        return shards * self.pace.of(shard, batch_tokens) + rows * self.tokenise + self.write


def from_flops(work: Workload, device: Device, finetune: Finetune | None = None) -> Speeds:
    """Speeds from a device's peak alone, without tokenising and writing."""
    config = work.config
    rows = config.batch_size
    batching = (rows, config.seed, config.group_by_length)
    width = mean_width(work.rows.lengths(), *batching)
    teacher_lengths = work.teacher_rows.lengths()
    teacher_width = mean_width(teacher_lengths, *batching)
    student = shape_of(work.student)
    teacher = shape_of(work.teacher.model)
    widths: Array = np.unique(np.geomspace(1, teacher_lengths.max(), 32).round())
    rows_alone = np.array(
        [device.forward_seconds(teacher, 1, length, config.dtype) for length in widths]
    )
    dtype = DTYPES[config.precision]
    return Speeds(
        step=device.step_seconds(student, rows, width, dtype),
        own_forward=device.forward_seconds(student, rows, width, dtype),
        teacher_forward=device.forward_seconds(teacher, rows, teacher_width, config.dtype),
        pace=Pace(widths, rows_alone / widths),
        finetune_step=None if finetune is None else step_from_flops(work, finetune, device),
    )


class Calibration:
    """Timing of a workload. ``planned`` is its dump; ``seconds`` the time for a dump's batches, and
    again for training steps; ``finetune`` how its teacher is trained first.
    """

    kind: type[Cases] = Cases

    def __init__(
        self,
        work: Workload,
        planned: Planned,
        seconds: float = CALIBRATION_SECONDS,
        finetune: Finetune | None = None,
    ) -> None:
        self.work = work
        self.planned = planned
        self.seconds = seconds
        self.finetune = finetune
        self.fence = settled(work.device)
        self.together = TOGETHER if work.device.startswith("cuda") else 1
        self.cases = self.kind(work, None)
        self.case: Case = self.cases.case("ls")

    def __enter__(self) -> Calibration:
        return self

    def __exit__(self, *_: object) -> None:
        self.cases.close()

    def speeds(self) -> Speeds:
        """Time everything once more."""
        work = self.work
        pace = self.pace()
        energy = Energy(work.device)
        started = time.perf_counter()
        before = energy.joules()
        step = self.step()
        after = energy.joules()
        seconds = time.perf_counter() - started
        watts = None if before is None or after is None else (after - before) / seconds
        forward = self.teacher_forward()
        finetune_step = None
        if self.finetune is not None:
            finetune_step = step_timed(
                work, self.finetune, self.seconds, forward / work.config.batch_size
            )
        return Speeds(
            step=step,
            own_forward=self.own_forward(),
            teacher_forward=forward,
            pace=pace,
            tokenise=self.tokenise(),
            write=self.write(),
            watts=watts,
            finetune_step=finetune_step,
        )

    def pace(self) -> Pace:
        """Times some of the batches that a shard of the dump would be cut into."""
        lengths = self.work.teacher_rows.lengths()
        plan = self.planned.plan
        shard = np.resize(np.arange(len(lengths)), min(plan.rows, plan.shard_rows))
        batches = token_batches(lengths[shard], plan.preparation["batch_tokens"])
        numbers = evenly_spaced(len(batches), WIDTHS)
        sample = self._cut([shard[batches[number]] for number in numbers])
        seconds = self._medians(list(map(self._forward_pass, sample)))
        widths = np.array([lengths[batch].max() for batch in sample])
        rows = np.array(list(map(len, sample)))
        seconds_per_token = seconds / (widths * rows * self.together)
        return Pace(widths[::-1], seconds_per_token[::-1])

    def _cut(self, batches: list[Int64]) -> list[Int64]:
        """The same batches with fewer rows where all take too long, judged by one of few rows."""
        sample = batches[len(batches) // 2][:LEAST_ROWS]
        forward_pass = self._forward_pass(sample)
        forward_pass()
        per_row = timed(forward_pass, self.fence) / len(sample)
        expected = per_row * sum(map(len, batches))
        share = self.seconds / 3 / expected  # once to warm up, twice to be timed
        return [batch[: max(LEAST_ROWS, int(share * len(batch)))] for batch in batches]

    def _forward_pass(self, batch: Int64) -> Callable[[], object]:
        """A dump's batch, from rows to logits; on a GPU several, as it is padded meanwhile."""
        teacher = self.work.teacher
        rows = self.work.teacher_rows
        return lambda: [teacher.logits(pad(rows, batch)) for _ in range(self.together)]

    def _medians(self, cases: Sequence[Callable[[], object]]) -> Array:
        """The median seconds of each case, f64[n], of as many rounds as there is time for: at least
        three, of which the first does not count.
        """
        end = time.perf_counter() + self.seconds
        rounds: list[list[float]] = []
        while len(rounds) < 3 or time.perf_counter() < end:
            rounds.append([timed(case, self.fence) for case in cases])
        return np.asarray(np.median(rounds[1:], axis=0))

    def step(self) -> float:
        """Seconds of a training step, of as many as there is time for."""
        probe = float(np.mean(self.case.block(1, 1)))
        steps = int(np.clip(self.seconds / probe, *STEPS))
        seconds = self.case.block(SETTLE, steps)
        return float(np.mean(seconds)) * self.share(SETTLE, SETTLE + steps)

    def _batches(self, rows: Examples) -> list[Int64]:
        config = self.work.config
        return training_batches(
            rows.lengths(), config.batch_size, config.seed, config.group_by_length
        )

    def share(self, first: int, last: int, rows: Examples | None = None) -> float:
        """A mean batch of the epoch ÷ the mean of those first..last, by width; 1 without grouping."""
        if not self.work.config.group_by_length:
            return 1.0
        rows = self.work.rows if rows is None else rows
        return share_of_epoch(rows.lengths(), self._batches(rows), first, last)

    def tokenise(self) -> float:
        """Seconds of one row."""
        rows = min(TEXTS, len(self.planned.rows))
        return timed(lambda: self.planned.prepare(0, rows)) / rows

    @property
    def width(self) -> int:
        """Numbers of an answer."""
        return self.planned.codec.width

    def write(self) -> float:
        """Seconds of one shard, as large as the dump's last one, from logits to a sealed cache."""
        codec = DenseCodec(self.width)  # of the others none is larger
        plan = replace(self.planned.plan, columns=columns_of(codec, ROW), tensors=None)
        start, end = plan.shard(plan.shard_count - 1)
        rows = end - start
        logits = np.zeros((rows, codec.width), np.float32)
        zeros: Int64 = np.zeros(rows, np.int64)

        def write_shard() -> None:
            columns = {"row_hash": zeros, "label": zeros, **codec.encode(logits)}
            writer.write(0, columns, {}, {})
            writer.seal()

        plan = replace(plan, rows=rows)
        scratch = tempfile.TemporaryDirectory(prefix="logitcache-plan-")
        with scratch as folder, CacheWriter(Path(folder) / "cache", plan) as writer:
            return timed(write_shard)

    def teacher_forward(self) -> float:
        """Seconds of the teacher's answers to a training batch."""
        return self._forward(self.work.teacher.logits, self.work.teacher_rows)

    def own_forward(self) -> float:
        """Seconds of the student's."""
        return self._forward(self._student_answers, self.work.rows)

    def _forward(self, answer: Callable[[Any], object], rows: Examples) -> float:
        """Mean seconds of a training's first batches."""
        batches = [pad(rows, batch) for batch in self._batches(rows)[:BATCHES]]
        answer(batches[0])
        seconds = [timed(partial(answer, batch), self.fence) for batch in batches]
        return float(np.mean(seconds)) * self.share(0, len(seconds), rows)

    def _student_answers(self, inputs: Any) -> torch.Tensor:
        """The student's logits without a gradient, in its own precision."""
        student = self.work.student
        dtype = getattr(torch, DTYPES[self.work.config.precision])
        tensors = on_device(inputs, student)
        training = student.training
        student.train(False)
        is_mixed = dtype is not torch.float32
        with torch.inference_mode(), torch.autocast(student.device.type, dtype, enabled=is_mixed):
            logits: torch.Tensor = student(**tensors).logits
        student.train(training)
        return logits
