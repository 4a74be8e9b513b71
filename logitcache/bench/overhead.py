"""``logitcache bench overhead``: what a training step costs by method, and what that comes to in all.

All methods in one process, in blocks whose order rotates, over the same batches; each method's memory in a process of
its own; where the time of a step goes in blocks of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from logitcache.bench import turns
from logitcache.bench.added import Added, added
from logitcache.bench.answering import Answered, answered
from logitcache.bench.document import INTERRUPTED, Document, document
from logitcache.bench.machine import Energy
from logitcache.bench.memory import Peak, peak, why
from logitcache.bench.phases import phases
from logitcache.bench.steps import Case, Cases
from logitcache.bench.workload import Workload, load
from logitcache.cache.cache import Cache
from logitcache.config.bench import CASES, ONLINE, OverheadConfig
from logitcache.cost import flops
from logitcache.cost.costs import LINES, Costs, Runs
from logitcache.data.collate import Collator
from logitcache.data.order import permutation
from logitcache.errors import SpecError
from logitcache.models.call import out_of_memory
from logitcache.reporter import SILENT, Reporter
from logitcache.student.trainer import to_torch

NEEDED = ("ls", "ls-control")  # what every other is compared with


@dataclass
class Measured:
    """One case, as far as it has been measured."""

    blocks: list[list[float]] = field(default_factory=list)  # seconds, [rounds][steps]
    joules: list[float] = field(default_factory=list)  # of a step, by round
    phases: dict[str, float] = field(default_factory=dict)
    peak: Peak | None = None
    flops: tuple[float, float] | None = None  # counted, analytic
    error: str | None = None


def bench(settings: OverheadConfig, command: Sequence[str], reporter: Reporter = SILENT) -> Document:
    """Measure, and tell. Interrupted, it tells what was measured until then (``complete`` is false).

    Raises SpecError for what cannot be loaded or measured, FingerprintMismatch for a teacher of other labels; a method
    that does not fit in memory is told with its ``error`` beside the others.
    """
    settings.check()
    names = [name for name in CASES if name in {*settings.methods, *NEEDED}]
    work = _fitting(settings, reporter)
    with TemporaryDirectory(prefix="logitcache-bench-") as folder:
        run = _Run(settings, work, {name: Measured() for name in names}, reporter)
        try:
            run.measure(Path(folder) / "cache")
            complete = True
        except INTERRUPTED:
            reporter.note("interrupted: what was measured until now is kept")
            complete = False
        told = run.told()
    return document("overhead", command, run.setting(), told, device=work.device, seed=settings.work.seed) | {
        "complete": complete
    }


def _fitting(settings: OverheadConfig, reporter: Reporter) -> Workload:
    """The workload. Raises SpecError where it does not fit in memory, or has too few rows for a block: a second epoch's
    batches would not be the same for all.
    """
    try:
        work = load(settings.work, reporter)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise SpecError(f"expected a student and a teacher that fit in memory, found {why(error)}.") from None
    steps, size = settings.settle + settings.steps, settings.work.batch_size
    if steps * size > len(work.rows):
        raise SpecError(
            f"expected rows for a block of {steps} steps of {size} (--settle, --steps, --batch-size), "
            f"found {len(work.rows):,}. Give more --rows, or take fewer or smaller steps.",
            where=work.source,
        )
    return work


@dataclass
class _Run:
    """A bench under way."""

    settings: OverheadConfig
    work: Workload
    found: dict[str, Measured]
    reporter: Reporter
    dumps: list[Answered] = field(default_factory=list)  # one of each round
    dump_joules: list[float] = field(default_factory=list)
    added: Added | None = None

    def measure(self, folder: Path) -> None:
        settings, work = self.settings, self.work
        self.reporter.note(f"dump: {len(work.rows):,} rows past the teacher")
        cache = answered(work, folder).cache
        if settings.memory:
            self._memory(folder)
        cases = Cases(work, cache)
        try:
            made = {name: cases.case(name) for name in self._well()}
            self._time(made, folder.parent)
            self.reporter.note("where the time goes: a block of each, watched")
            for name in self._well():
                self.found[name].phases = phases(made[name], settings.settle, settings.steps)
        finally:
            cases.close()
        self.added = added(work, cache, turns.settled(work.device))
        for name in self._well():
            self.found[name].flops = self._flops(name, cache)

    def _well(self) -> list[str]:
        return [name for name, found in self.found.items() if found.error is None]

    def _memory(self, folder: Path) -> None:
        for name, found in self.found.items():
            self.reporter.note(f"memory: {name}, in a process of its own")
            found.peak = peak(self.settings.work, name, folder)
            found.error = found.peak.error
            if found.error is not None:
                self.reporter.note(f"{name}: {found.error} ({found.peak.allocated / 1e9:.1f} GB); the others go on")

    def _time(self, made: dict[str, Case], folder: Path) -> None:
        settings, energy = self.settings, Energy(self.work.device)
        for case in made.values():  # what is made once is made before anything counts
            self._block(case, energy, counted=False)
        for turn, order in enumerate(turns.rotated(list(made), settings.rounds), 1):
            self.reporter.note(f"round {turn} of {settings.rounds}: {settings.steps} steps of each method")
            for name in order:
                if self.found[name].error is None:
                    self._block(made[name], energy)
            self._answer(folder / f"round{turn}", energy)

    def _answer(self, folder: Path, energy: Energy) -> None:
        """A dump of all rows, so that what it costs is measured in turn too."""
        before = energy.joules()
        self.dumps.append(answered(self.work, folder))
        after = energy.joules()
        if before is not None and after is not None:
            self.dump_joules.append(after - before)

    def _block(self, case: Case, energy: Energy, counted: bool = True) -> None:
        found, settings = self.found[case.name], self.settings
        before: list[float | None] = []
        case.clock.at_start = lambda: before.append(energy.joules())
        try:
            seconds = case.block(settings.settle, settings.steps if counted else 1)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            found.error = why(error)
            self.reporter.note(f"{case.name}: {found.error}; the others go on")
            return
        after = energy.joules()
        if counted:
            found.blocks.append(seconds)
            if after is not None and before and before[0] is not None:
                found.joules.append((after - before[0]) / settings.steps)

    def _flops(self, name: str, cache: Cache) -> tuple[float, float]:
        """Of a step's forward and backward, and of the teacher in the loop: counted by torch, and from the shapes."""
        work, batch = self.work, self._batch(self.settings.work.batch_size)
        rows, length = batch["input_ids"].shape
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # fused kernels are not counted
            work.student(**batch).logits.sum().backward()
        counted, student = counter.get_total_flops(), flops.shape_of(work.student)
        work.student.zero_grad(set_to_none=True)
        analytic = flops.step_flops(student, rows, length)
        if name == ONLINE:
            inputs = self._batch(rows, teacher=True)
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
                work.teacher.model(**inputs)
            counted += counter.get_total_flops()
            analytic += flops.forward_flops(flops.shape_of(work.teacher.model), rows, inputs["input_ids"].shape[1])
        return float(counted), float(analytic)

    def _batch(self, size: int, teacher: bool = False) -> dict[str, torch.Tensor]:
        rows = self.work.teacher_rows if teacher else self.work.rows
        places = permutation(len(rows), self.settings.work.seed, 0)[:size]
        batch = to_torch(Collator(rows, self.work.task)(places))["batch"].to(self.work.device)
        return dict(batch.inputs)

    def setting(self) -> dict[str, Any]:
        """What was measured."""
        work, asked = self.work, self.settings.work
        lengths = work.rows.lengths()
        padded = [lengths[places].max() for places in self._batches()]
        models = {"student": (asked.student, work.student), "teacher": (asked.teacher, work.teacher.model)}
        shapes = {what: (Path(name).name, flops.shape_of(model)) for what, (name, model) in models.items()}
        return {
            **{
                what: {"name": name, "parameters": shape.parameters, "embedding_parameters": shape.embeddings}
                for what, (name, shape) in shapes.items()
            },
            "data": work.source,
            "rows": len(work.rows),
            "train_rows": work.train_rows,
            "classes": work.num_labels,
            "batch_size": asked.batch_size,
            "tokens": float(lengths.mean()),
            "padded_tokens": float(sum(padded) * asked.batch_size / len(padded)),
            "precision": asked.precision,
            "teacher_dtype": asked.dtype,
            "methods": list(self.found),
            "max_length": asked.max_length,
            "rounds": self.settings.rounds,
            "steps": self.settings.steps,
            "settle": self.settings.settle,
            "epochs": self.settings.epochs,
            "seeds": self.settings.seeds,
            "shape_only": work.shape_only,
            "random_head": work.random_head,
            "same_inputs": work.same_inputs,
        }

    def _batches(self) -> list[Any]:
        """Places of the batches that are counted."""
        size = self.settings.work.batch_size
        order = permutation(len(self.work.rows), self.settings.work.seed, 0)
        first, last = self.settings.settle * size, (self.settings.settle + self.settings.steps) * size
        return [order[i : i + size] for i in range(first, last, size)]

    def told(self) -> dict[str, Any]:
        """The document's results."""
        methods = {name: self._method(name) for name in self.found}
        return {
            "methods": methods,
            "added_work": self._added(),
            "dump": self._dump() if self.dumps else None,
            "expected": self._expected(),
            "costs": self._costs(),
        }

    def _method(self, name: str) -> dict[str, Any]:
        found, ls = self.found[name], self.found["ls"]
        timed = bool(found.blocks)
        seconds = turns.spread(found.blocks) if timed else None
        step = seconds["median"] if seconds else None
        used, base = found.peak, ls.peak
        rows = self.settings.work.batch_size
        tokens = rows * float(self.work.rows.lengths().mean())
        return {
            "step_seconds": seconds,
            "ratio_to_ls": turns.ratio(found.blocks, ls.blocks).to_dict() if timed and ls.blocks else None,
            "phases": found.phases or None,
            "rows_per_second": rows / step if step else None,
            "tokens_per_second": tokens / step if step else None,
            "peak_memory_bytes": used.allocated if used else None,
            "reserved_memory_bytes": used.reserved if used else None,
            "memory_ratio_to_ls": used.allocated / base.allocated if used and base and not found.error else None,
            "flops_per_step": dict(zip(("counted", "analytic"), found.flops, strict=True)) if found.flops else None,
            "joules_per_step": float(sum(found.joules) / len(found.joules)) if found.joules else None,
            "error": found.error,
        }

    def _dump(self) -> dict[str, Any]:
        rates = [each.rows_per_second for each in self.dumps]
        rate, rows = float(np.median(rates)), self.dumps[0].rows
        return {"rows": rows, "seconds": rows / rate, "rows_per_second": rate, "rounds": len(rates)}

    def _added(self) -> dict[str, Any] | None:
        blocks = self.found["ls"].blocks
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
        student, teacher = flops.shape_of(work.student), flops.shape_of(work.teacher.model)
        sizes, runs = (teacher.inner, student.inner), (self.settings.epochs, self.settings.seeds)
        batches = self._batches()
        size = self.settings.work.batch_size
        lengths = [
            sum(float(rows.lengths()[places].max()) for places in batches) / len(batches)
            for rows in (work.rows, work.teacher_rows)
        ]
        return {
            "online_ratio_to_ls": flops.expected_online_ratio(*sizes),
            "online_ratio_to_ls_counted": flops.counted_online_ratio(teacher, student, size, *lengths),
            "cached_ratio_to_ls_one_student": flops.expected_cached_ratio(*sizes, runs[0]),
            "cached_ratio_to_ls_all_students": flops.expected_cached_ratio(*sizes, *runs),
            "explained": self._explained(),
            "note": "1 + 2 N_t / 6 N_s, without embeddings; counted: with attention, head, embeddings and optimiser",
        }

    def _explained(self) -> dict[str, float] | None:
        """Why the teacher in the loop costs more or less than its FLOPs: FLOPs a second of its forward pass and of the
        student's passes, and the share of a step that is neither.
        """
        online, ls = self.found.get(ONLINE), self.found["ls"]
        if online is None or not online.phases or not ls.phases or online.flops is None or ls.flops is None:
            return None
        passes = ls.phases["forward"] + ls.phases["backward"]
        return {
            "teacher_flops_per_second": (online.flops[0] - ls.flops[0]) / max(online.phases["target"], 1e-9),
            "student_flops_per_second": ls.flops[0] / passes,
            "rest_of_step": 1 - passes / sum(ls.phases.values()),
        }

    def _costs(self) -> dict[str, Any] | None:
        """What it comes to over epochs and students, as far as the cases that it is made of were measured."""
        settings, rows, base = self.settings, self.work.train_rows, self.found.get("base", Measured()).phases
        kept = {name: self.found[name] for name in self._well() if self.found[name].blocks}
        if not self.dumps or not set(kept) & set(LINES.values()):
            return None
        return Costs(
            steps={name: turns.spread(found.blocks)["median"] for name, found in kept.items()},
            dump=rows / self._dump()["rows_per_second"],
            runs=Runs(rows, settings.work.batch_size, settings.epochs, settings.seeds),
            forward=base["forward"] / sum(base.values()) if base else 0.0,
            joules={name: float(np.median(found.joules)) for name, found in kept.items() if found.joules},
            dump_joules=float(np.median(self.dump_joules)) * rows / self.dumps[0].rows if self.dump_joules else None,
            price_per_hour=settings.price_per_hour,
        ).to_dict()
