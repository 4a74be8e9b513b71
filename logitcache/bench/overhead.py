"""``logitcache bench overhead``: the cost of a training step by method, and of all steps together.

All methods are measured in one process, in blocks whose order rotates, over the same batches. The
memory of each method is measured in a process of its own, a step's phases in blocks of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from logitcache.bench import turns
from logitcache.bench.added import Added, added
from logitcache.bench.answering import answered
from logitcache.bench.document import Document, document, until_interrupted
from logitcache.bench.machine import Energy
from logitcache.bench.memory import Peak, peak, why
from logitcache.bench.models import counted_flops, model_figures
from logitcache.bench.phases import phases
from logitcache.bench.steps import Case, Cases
from logitcache.bench.workload import Workload, load
from logitcache.config.bench import CASES, ONLINE, OverheadConfig
from logitcache.cost import flops
from logitcache.cost.costs import LINES, Costs, Runs
from logitcache.data.collate import Collator
from logitcache.data.order import permutation
from logitcache.errors import SpecError
from logitcache.models.call import out_of_memory
from logitcache.records import Examples
from logitcache.reporter import SILENT, Reporter
from logitcache.student.trainer import to_torch

NEEDED = ("ls", "ls-control")  # what every other is compared with

_KEYS = (
    "step_seconds",
    "ratio_to_ls",
    "phases",
    "rows_per_second",
    "tokens_per_second",
    "peak_memory_bytes",
    "reserved_memory_bytes",
    "memory_ratio_to_ls",
    "flops_per_step",
    "joules_per_step",
    "error",
)


@dataclass
class Measured:
    """One case, as far as it has been measured."""

    blocks: list[list[float]] = field(default_factory=list)  # seconds, [rounds][steps]
    joules: list[float] = field(default_factory=list)  # of a step, by round
    phases: dict[str, float] = field(default_factory=dict)
    peak: Peak | None = None
    flops: dict[str, float] | None = None  # of a step: counted, analytic
    error: str | None = None


def bench(
    settings: OverheadConfig, command: Sequence[str], reporter: Reporter = SILENT
) -> Document:
    """Measure, and return the document. After an interrupt it holds what was measured until then.

    Raises SpecError for what cannot be loaded or measured, FingerprintMismatch for a teacher of
    other labels. A method that does not fit in memory has its ``error`` in the document.
    """
    settings.check()
    names = [name for name in CASES if name in {*settings.methods, *NEEDED}]
    work = _load(settings, reporter)
    run = _Run(settings, work, {name: Measured() for name in names}, reporter)
    scratch = TemporaryDirectory(prefix="logitcache-bench-")
    with scratch as folder, until_interrupted(reporter) as measuring:
        run.measure(Path(folder) / "cache")
    return document(
        "overhead",
        command,
        run.setting(),
        run.results(),
        device=work.device,
        seed=settings.work.seed,
        complete=measuring.complete,
    )


def _load(settings: OverheadConfig, reporter: Reporter) -> Workload:
    """The workload. Raises SpecError where it does not fit in memory, or has too few rows for a
    block: the batches of a second epoch would differ between methods.
    """
    try:
        work = load(settings.work, reporter)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise SpecError(
            expected="a student and a teacher that fit in memory", found=why(error)
        ) from None
    steps = settings.settle + settings.steps
    size = settings.work.batch_size
    if steps * size > len(work.rows):
        raise SpecError(
            expected=f"rows for a block of {steps} steps of {size} (--settle, --steps, --batch-size)",
            found=f"{len(work.rows):,}",
            advice="Give more --rows, or take fewer or smaller steps.",
            where=work.source,
        )
    return work


@dataclass
class _Run:
    """A bench under way."""

    settings: OverheadConfig
    work: Workload
    measured: dict[str, Measured]  # by case
    reporter: Reporter
    dumps: list[float] = field(default_factory=list)  # seconds, one of each round
    dump_joules: list[float] = field(default_factory=list)
    added: Added | None = None

    def measure(self, folder: Path) -> None:
        settings = self.settings
        work = self.work
        self.reporter.note(f"dump: asking the teacher about {len(work.rows):,} rows")
        cache = answered(work, folder).cache
        if settings.memory:
            self._measure_memory(folder)
        cases = Cases(work, cache)
        try:
            trainings = {name: cases.case(name) for name in self._without_error()}
            self._measure_times(trainings, folder.parent)
            self.reporter.note("where the time goes: a block of each, watched")
            for name in self._without_error():
                self.measured[name].phases = phases(
                    trainings[name], settings.settle, settings.steps
                )
        finally:
            cases.close()
        self.added = added(work, cache, turns.settled(work.device))
        for name in self._without_error():
            self.measured[name].flops = self._flops(name)

    def _without_error(self) -> list[str]:
        return [name for name, case in self.measured.items() if case.error is None]

    def _measure_memory(self, folder: Path) -> None:
        for name, case in self.measured.items():
            self.reporter.note(f"memory: {name}, in a process of its own")
            case.peak = peak(self.settings.work, name, folder)
            case.error = case.peak.error
            if case.error is not None:
                gigabytes = case.peak.allocated / 1e9
                self.reporter.note(f"{name}: {case.error} ({gigabytes:.1f} GB); the others go on")

    def _measure_times(self, trainings: dict[str, Case], folder: Path) -> None:
        settings = self.settings
        energy = Energy(self.work.device)
        for training in trainings.values():  # what is made once is made before anything counts
            self._block(training, 1, energy)
        for case in self.measured.values():
            case.blocks.clear()
            case.joules.clear()
        for turn, order in enumerate(turns.rotated(list(trainings), settings.rounds), 1):
            self.reporter.note(
                f"round {turn} of {settings.rounds}: {settings.steps} steps of each method"
            )
            for name in order:
                if self.measured[name].error is None:
                    self._block(trainings[name], settings.steps, energy)
            self._answer(folder / f"round{turn}", energy)

    def _answer(self, folder: Path, energy: Energy) -> None:
        """A dump of all rows, so that what it costs is measured in turn too."""
        before = energy.joules()
        self.dumps.append(answered(self.work, folder).seconds)
        after = energy.joules()
        if before is not None and after is not None:
            self.dump_joules.append(after - before)

    def _block(self, training: Case, steps: int, energy: Energy) -> None:
        """A block of so many steps. A case that does not fit in memory is not tried again."""
        case = self.measured[training.name]
        start: list[float | None] = []
        training.clock.at_start = lambda: start.append(energy.joules())
        try:
            seconds = training.block(self.settings.settle, steps)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            case.error = why(error)
            self.reporter.note(f"{training.name}: {case.error}; the others go on")
            return
        case.blocks.append(seconds)
        before = start[0] if start else None
        after = energy.joules()
        if before is not None and after is not None:
            case.joules.append((after - before) / steps)

    def _flops(self, name: str) -> dict[str, float]:
        """Of a step's forward and backward, and of the teacher in the loop: counted by torch, and
        from the shapes.
        """
        work = self.work
        batch = self._batch(work.rows)
        rows, length = batch["input_ids"].shape
        counted = counted_flops(lambda: work.student(**batch).logits.sum().backward())
        work.student.zero_grad(set_to_none=True)
        analytic = flops.step_flops(flops.shape_of(work.student), rows, length)
        if name == ONLINE:
            inputs = self._batch(work.teacher_rows)
            length = inputs["input_ids"].shape[1]
            with torch.no_grad():
                counted += counted_flops(lambda: work.teacher.model(**inputs))
            analytic += flops.forward_flops(flops.shape_of(work.teacher.model), rows, length)
        return {"counted": counted, "analytic": float(analytic)}

    def _batch(self, rows: Examples) -> dict[str, torch.Tensor]:
        """The first batch of the training."""
        config = self.settings.work
        index = permutation(len(rows), config.seed, 0)[: config.batch_size]
        collated = Collator(rows, self.work.task)(index)
        batch = to_torch(collated)["batch"].to(self.work.device)
        return dict(batch.inputs)

    def setting(self) -> dict[str, Any]:
        """What was measured."""
        work = self.work
        config = self.settings.work
        return {
            "student": model_figures(Path(config.student).name, work.student),
            "teacher": model_figures(Path(config.teacher).name, work.teacher.model),
            "data": work.source,
            "rows": len(work.rows),
            "train_rows": work.train_rows,
            "classes": work.num_labels,
            "batch_size": config.batch_size,
            "tokens": float(work.rows.lengths().mean()),
            "padded_tokens": self._mean_width(work.rows) * config.batch_size,
            "precision": config.precision,
            "teacher_dtype": config.dtype,
            "methods": list(self.measured),
            "max_length": config.max_length,
            "rounds": self.settings.rounds,
            "steps": self.settings.steps,
            "settle": self.settings.settle,
            "epochs": self.settings.epochs,
            "seeds": self.settings.seeds,
            "shape_only": work.shape_only,
            "random_head": work.random_head,
            "same_inputs": work.same_inputs,
        }

    def _mean_width(self, rows: Examples) -> float:
        """Padded length of the batches that are counted."""
        settings = self.settings
        size = settings.work.batch_size
        order = permutation(len(rows), settings.work.seed, 0)
        lengths = rows.lengths()
        first = settings.settle * size
        last = first + settings.steps * size
        batches = lengths[order[first:last]].reshape(-1, size)
        return float(batches.max(axis=1).mean())

    def results(self) -> dict[str, Any]:
        """The document's results."""
        return {
            "methods": {name: self._method(case) for name, case in self.measured.items()},
            "added_work": self._added(),
            "dump": self._dump() if self.dumps else None,
            "expected": self._expected(),
            "costs": self._costs(),
        }

    def _method(self, case: Measured) -> dict[str, Any]:
        smoothing = self.measured["ls"]
        rows = self.settings.work.batch_size
        method: dict[str, Any] = dict.fromkeys(_KEYS)
        method |= {"phases": case.phases or None, "flops_per_step": case.flops, "error": case.error}
        if case.blocks:
            seconds = turns.spread(case.blocks)
            method["step_seconds"] = seconds
            method["rows_per_second"] = rows / seconds["median"]
            tokens = rows * float(self.work.rows.lengths().mean())
            method["tokens_per_second"] = tokens / seconds["median"]
            if smoothing.blocks:
                method["ratio_to_ls"] = turns.ratio(case.blocks, smoothing.blocks).to_dict()
        if case.peak is not None:
            method["peak_memory_bytes"] = case.peak.allocated
            method["reserved_memory_bytes"] = case.peak.reserved
            if smoothing.peak is not None and case.error is None:
                method["memory_ratio_to_ls"] = case.peak.allocated / smoothing.peak.allocated
        if case.joules:
            method["joules_per_step"] = float(np.mean(case.joules))
        return method

    def _dump(self) -> dict[str, Any]:
        rows = len(self.work.rows)
        seconds = float(np.median(self.dumps))
        return {
            "rows": rows,
            "seconds": seconds,
            "rows_per_second": rows / seconds,
            "rounds": len(self.dumps),
        }

    def _added(self) -> dict[str, Any] | None:
        blocks = self.measured["ls"].blocks
        if self.added is None or not blocks:
            return None
        step = turns.spread(blocks)["median"]
        extra = self.added.seconds - self.added.label_smoothing
        return {
            "pieces": self.added.pieces,
            "seconds": self.added.seconds,
            "share_of_ls_step": self.added.seconds / step,
            "label_smoothing_seconds": self.added.label_smoothing,
            "over_label_smoothing_seconds": extra,
            "over_label_smoothing_share": extra / step,
        }

    def _expected(self) -> dict[str, Any]:
        """From FLOPs alone, beside what was measured."""
        work = self.work
        settings = self.settings
        student = flops.shape_of(work.student)
        teacher = flops.shape_of(work.teacher.model)
        widths = (self._mean_width(work.rows), self._mean_width(work.teacher_rows))
        counted = flops.counted_online_ratio(teacher, student, settings.work.batch_size, *widths)
        inner = (teacher.inner, student.inner)
        return {
            "online_ratio_to_ls": flops.expected_online_ratio(*inner),
            "online_ratio_to_ls_counted": counted,
            "cached_ratio_to_ls_one_student": flops.expected_cached_ratio(*inner, settings.epochs),
            "cached_ratio_to_ls_all_students": flops.expected_cached_ratio(
                *inner, settings.epochs, settings.seeds
            ),
            "explained": self._explained(),
            "note": "1 + 2 N_t / 6 N_s, without embeddings; counted: with attention, head, embeddings and optimiser",
        }

    def _explained(self) -> dict[str, float] | None:
        """FLOPs a second of the teacher's and the student's passes; the rest's share."""
        online = self.measured.get(ONLINE, Measured())
        smoothing = self.measured["ls"]
        if (
            not online.phases
            or not smoothing.phases
            or online.flops is None
            or smoothing.flops is None
        ):
            return None
        passes = smoothing.phases["forward"] + smoothing.phases["backward"]
        teacher_flops = online.flops["counted"] - smoothing.flops["counted"]
        return {
            "teacher_flops_per_second": teacher_flops / max(online.phases["target"], 1e-9),
            "student_flops_per_second": smoothing.flops["counted"] / passes,
            "rest_of_step": 1 - passes / sum(smoothing.phases.values()),
        }

    def _costs(self) -> dict[str, Any] | None:
        """The costs of all epochs and students, as far as their cases were measured."""
        settings = self.settings
        cases = {}
        for name in self._without_error():
            if self.measured[name].blocks:
                cases[name] = self.measured[name]
        if not self.dumps or not set(cases) & set(LINES.values()):
            return None
        rows = self.work.train_rows
        per_row = rows / len(self.work.rows)
        base = self.measured.get("base", Measured()).phases
        steps = {}
        joules = {}
        for name, case in cases.items():
            steps[name] = turns.spread(case.blocks)["median"]
            if case.joules:
                joules[name] = float(np.median(case.joules))
        dump_joules = None
        if self.dump_joules:
            dump_joules = per_row * float(np.median(self.dump_joules))
        return Costs(
            steps=steps,
            dump=per_row * float(np.median(self.dumps)),
            runs=Runs(rows, settings.work.batch_size, settings.epochs, settings.seeds),
            forward=base["forward"] / sum(base.values()) if base else 0.0,
            joules=joules,
            dump_joules=dump_joules,
            price_per_hour=settings.price_per_hour,
        ).to_dict()
