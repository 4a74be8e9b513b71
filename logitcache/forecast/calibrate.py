"""Some seconds of the real thing: the teacher's batches as a dump makes them, training steps as a run takes them.

What is learnt are times of single batches; what a whole dump or run takes is added up from the rows' own lengths.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from logitcache.bench.machine import Energy
from logitcache.bench.steps import Case, Cases
from logitcache.bench.turns import settled, timed
from logitcache.bench.workload import Workload
from logitcache.config.teacher import Finetune
from logitcache.cost.flops import DTYPES, Device, shape_of
from logitcache.data.collate import pad
from logitcache.data.order import token_batches
from logitcache.forecast.epoch import mean_width, share_of_epoch, training_batches
from logitcache.forecast.finetuning import step_from_flops, step_timed
from logitcache.records import Array, Examples, Int64
from logitcache.store.writer import CacheWriter
from logitcache.teacher.plan import Planned

SECONDS = 3.0  # of a dump's batches, and again of training steps
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
        width = np.array([max(1, int(lengths[places[0]])) for places in batches])
        tokens = width * np.array([len(places) for places in batches])
        return float((tokens * np.interp(width, self.widths, self.seconds)).sum())


@dataclass(frozen=True)
class Speeds:
    """What single things take, in seconds. ``watts`` is what the device drew, where that is known."""

    step: float  # of training, with label smoothing
    own_forward: float  # the student's answers to a training batch
    teacher_forward: float  # the teacher's
    pace: Pace  # the teacher's, in a dump
    tokenise: float = 0.0  # one row, for the teacher
    write: float = 0.0  # one shard, encoded and on disk: the others are written while the next is computed
    watts: float | None = None
    finetune_step: float | None = None  # of training the teacher first, where it is

    def dump(self, lengths: Int64, rows: int, shard_rows: int, batch_tokens: int) -> float:
        """Seconds of a dump of so many rows, whose lengths are those of a sample: i64[n]."""
        shard = np.resize(lengths, min(rows, shard_rows))
        return rows / len(shard) * self.pace.of(shard, batch_tokens) + rows * self.tokenise + self.write


def from_flops(work: Workload, device: Device, finetune: Finetune | None = None) -> Speeds:
    """The same from a device's peak alone. Tokenising and writing count nothing."""
    asked, lengths, theirs = work.asked, work.rows.lengths(), work.teacher_rows.lengths()
    student, teacher = shape_of(work.student), shape_of(work.teacher.model)
    batches = asked.batch_size, asked.seed, asked.group_by_length
    rows, width, own = asked.batch_size, mean_width(lengths, *batches), mean_width(theirs, *batches)
    widths: Array = np.unique(np.geomspace(1, theirs.max(), 32).round())
    dtype = DTYPES[asked.precision]
    return Speeds(
        step=device.step_seconds(student, rows, width, dtype),
        own_forward=device.forward_seconds(student, rows, width, dtype),
        teacher_forward=device.forward_seconds(teacher, rows, own, asked.dtype),
        pace=Pace(widths, np.array([device.forward_seconds(teacher, 1, w, asked.dtype) / w for w in widths])),
        finetune_step=None if finetune is None else step_from_flops(work, finetune, device),
    )


class Calibration:
    """A workload made ready to be timed again and again. ``planned``: its dump; ``finetune``: how its teacher is
    trained first.
    """

    def __init__(
        self, work: Workload, planned: Planned, seconds: float = SECONDS, finetune: Finetune | None = None
    ) -> None:
        self.work, self.planned, self.seconds, self.finetune = work, planned, seconds, finetune
        self.fence, self.together = settled(work.device), TOGETHER if work.device.startswith("cuda") else 1
        self.cases = Cases(work, None)
        self.case: Case = self.cases.case("ls")

    def __enter__(self) -> Calibration:
        return self

    def __exit__(self, *_: object) -> None:
        self.cases.close()

    def speeds(self) -> Speeds:
        """What single things take just now."""
        asked, work = self.work.asked, self.work
        pace = self.pace()
        energy, started = Energy(work.device), time.perf_counter()
        before, step = energy.joules(), self.step()
        after, spent = energy.joules(), time.perf_counter() - started
        forward = self._forward(work.teacher.logits, work.teacher_rows)
        how = self.finetune
        return Speeds(
            step=step,
            own_forward=self._forward(self._own_answers, work.rows),
            teacher_forward=forward,
            pace=pace,
            tokenise=self.tokenise(),
            write=self.write(),
            watts=None if before is None or after is None else (after - before) / spent,
            finetune_step=None if how is None else step_timed(work, how, self.seconds, forward / asked.batch_size),
        )

    def pace(self) -> Pace:
        """Times some of the batches that a shard of the dump would be cut into."""
        rows, plan = self.work.teacher_rows, self.planned.plan
        shard = np.resize(np.arange(len(rows)), min(plan.rows, plan.shard_rows))
        lengths = rows.lengths()[shard]
        batches = token_batches(lengths, plan.preparation["batch_tokens"])
        some = np.unique(np.linspace(0, len(batches) - 1, WIDTHS).round().astype(int))
        places = self._cut([shard[batches[i]] for i in some], lengths)
        times = self._in_turn([self._asking(each) for each in places])
        widths = np.array([rows.lengths()[each].max() for each in places])
        tokens = widths * np.array([len(each) for each in places]) * self.together
        return Pace(widths[::-1], np.array(times)[::-1] / tokens[::-1])

    def _cut(self, batches: list[Int64], lengths: Int64) -> list[Int64]:
        """The same, of fewer rows where a machine would take too long over them: told by a few of them."""
        few = batches[len(batches) // 2][:LEAST_ROWS]
        ask = self._asking(few)
        ask()
        expected = timed(ask, self.fence) / len(few) * sum(map(len, batches))
        share = self.seconds / 3 / expected  # once to warm up, twice to be timed
        return [each[: max(LEAST_ROWS, int(share * len(each)))] for each in batches]

    def _asking(self, places: Int64) -> Callable[[], object]:
        """A dump's batch, from rows to logits; on a GPU several, for there the next one is padded meanwhile."""
        teacher, rows = self.work.teacher, self.work.teacher_rows
        return lambda: [teacher.logits(pad(rows, places)) for _ in range(self.together)]

    def _in_turn(self, cases: Sequence[Callable[[], object]]) -> list[float]:
        """The median of each, round and round while there is time: three times at least, the first uncounted."""
        until, times = time.perf_counter() + self.seconds, list[list[float]]()
        while len(times) < 3 or time.perf_counter() < until:
            times.append([timed(case, self.fence) for case in cases])
        found: list[float] = np.median(times[1:], axis=0).tolist()
        return found

    def step(self) -> float:
        """Seconds of a training step, told from as many as there is time for."""
        fewest, most = STEPS
        probe = float(np.mean(self.case.block(1, 1)))
        steps = int(np.clip(self.seconds / probe, fewest, most))
        return self._of_epoch(self.case.block(SETTLE, steps), self.work.rows, SETTLE, SETTLE + steps)

    def _batches(self, rows: Examples) -> list[Int64]:
        asked = self.work.asked
        return training_batches(rows.lengths(), asked.batch_size, asked.seed, asked.group_by_length)

    def _of_epoch(self, seconds: Sequence[float], rows: Examples, first: int, last: int) -> float:
        """The mean. Rows of like length make batches of unlike width: those first..last stand for all by theirs."""
        return float(np.mean(seconds)) * self.share(first, last, rows)

    def share(self, first: int, last: int, rows: Examples | None = None) -> float:
        """What a batch of the epoch weighs beside those first..last: 1 where rows are not grouped by length."""
        seen = self.work.rows if rows is None else rows
        if not self.work.asked.group_by_length:
            return 1.0
        return share_of_epoch(seen.lengths(), self._batches(seen), first, last)

    def tokenise(self) -> float:
        """Seconds of one row."""
        rows = min(TEXTS, len(self.planned.rows))
        return timed(lambda: self.planned.prepare(0, rows)) / rows

    def write(self) -> float:
        """Seconds of one shard, as large as the dump's last one, from logits to a sealed cache."""
        plan, codec = self.planned.plan, self.planned.codec
        start, end = plan.shard(plan.shard_count - 1)
        rows = end - start
        logits = np.zeros((rows, codec.width), np.float32)
        with tempfile.TemporaryDirectory(prefix="logitcache-plan-") as folder:
            small = replace(plan, rows=rows)
            with CacheWriter(Path(folder) / "cache", small) as writer:
                return timed(lambda: _write(writer, {**_root(rows), **codec.encode(logits)}))

    def _forward(self, ask: Callable[[Any], object], rows: Examples) -> float:
        """Mean seconds of a training's first batches."""
        inputs = [pad(rows, places) for places in self._batches(rows)[:BATCHES]]
        cases = [lambda given=given: ask(given) for given in inputs]
        cases[0]()
        return self._of_epoch([timed(case, self.fence) for case in cases], rows, 0, len(cases))

    def _own_answers(self, inputs: Any) -> torch.Tensor:
        """The student asked as a teacher would be, in its own precision."""
        student, dtype = self.work.student, getattr(torch, DTYPES[self.work.asked.precision])
        training, kind = student.training, student.device.type
        student.train(False)
        with torch.inference_mode(), torch.autocast(kind, dtype, enabled=dtype is not torch.float32):
            logits: torch.Tensor = student(
                **{name: torch.from_numpy(each).to(student.device) for name, each in inputs.items()}
            ).logits
        student.train(training)
        return logits


def _root(rows: int) -> dict[str, Array]:
    return {"row_hash": np.zeros(rows, np.int64), "label": np.zeros(rows, np.int64)}


def _write(writer: CacheWriter, arrays: dict[str, Array]) -> None:
    writer.write(0, arrays, {}, {})
    writer.seal()
