"""What a dump and a study would cost, before either is begun: disk, time, memory, energy and money."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from logitcache.bench.memory import why
from logitcache.config.bench import PlanConfig
from logitcache.cost import flops
from logitcache.cost.costs import HOUR, KWH, Runs, StepCosts, break_even, total
from logitcache.cost.flops import Device, shape_of
from logitcache.errors import SpecError
from logitcache.forecast.calibrate import Calibration, Speeds, from_flops
from logitcache.forecast.finetuning import finetune_steps
from logitcache.forecast.setup import SAMPLE, Ready, make_ready
from logitcache.forecast.sizes import Memory, on_disk
from logitcache.models.call import out_of_memory
from logitcache.reporter import SILENT, Reporter
from logitcache.teacher.report import DEV_ROWS

ONLINE = "kd-online"
TOLD = 120  # characters of a device's name in an error


@dataclass(frozen=True)
class Costed:
    """What one method takes: seconds of steps (evaluation apart), and bytes on its device."""

    step_seconds: float
    epoch_seconds: float
    run_seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Finetuned:
    """What it takes to train the teacher: of several folds, all of them; memory is one's."""

    steps: int
    seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Dumped:
    """What the dump takes; ``finetune``: training its teacher first, where that is needed."""

    seconds: float
    rows_per_second: float
    memory_bytes: int
    finetune: Finetuned | None


@dataclass(frozen=True)
class Totals:
    """What all runs take, with the dump, and ``online_hours`` what they would with teachers in the loop."""

    epochs: float
    seeds: int
    seconds: float
    hours: float
    online_hours: float
    kwh: float | None
    money: float | None


@dataclass(frozen=True)
class Forecast:
    """What was found: ``bytes`` by codec, of ``rows`` rows; ``source`` is calibrated or flops."""

    setting: Mapping[str, Any]
    rows: int
    bytes: Mapping[str, int]
    dump: Dumped
    methods: Mapping[str, Costed]
    total: Totals
    break_even_epochs: float | None
    source: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The document of ``plan --json``."""
        return {
            "setting": dict(self.setting),
            "bytes": {codec: {"bytes": size, "bytes_per_row": size / self.rows} for codec, size in self.bytes.items()},
            "dump": asdict(self.dump),
            "methods": {name: dict(vars(costed)) for name, costed in self.methods.items()},
            "total": dict(vars(self.total)),
            "break_even_epochs": self.break_even_epochs,
            "source": self.source,
            "notes": list(self.notes),
        }


def plan(asked: PlanConfig, reporter: Reporter = SILENT) -> Forecast:
    """What it would cost. Nothing is run but some seconds of the real thing, or with ``calibrate`` off nothing at all.

    Raises SpecError for what cannot be done as asked, or does not fit in memory, FingerprintMismatch for a teacher of
    other labels than the data's.
    """
    asked.check()
    try:
        return _plan(asked, reporter)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        advice = "Take smaller batches, or plan with --no-calibrate, which runs nothing."
        raise SpecError(f"expected a student and a teacher that fit in memory, found {why(error)}. {advice}") from None


def _plan(asked: PlanConfig, reporter: Reporter) -> Forecast:
    device = None if asked.calibrate else device_of(asked.work.device)
    on_paper = device is not None and flops.gpu(asked.work.device or "") is not None
    work = replace(asked.work, rows=asked.work.rows or SAMPLE, device="cpu" if on_paper else asked.work.device)
    ready = make_ready(replace(asked, work=work), reporter)
    ready = replace(ready, process=0) if on_paper else ready
    if device is not None:
        return forecast(asked, ready, from_flops(ready.work, device, ready.finetune), device)
    reporter.note("calibrating: some of the teacher's batches, some training steps")
    with Calibration(ready.work, ready.dumps[0], asked.seconds, ready.finetune) as calibration:
        return forecast(asked, ready, calibration.speeds(), None)


def device_of(name: str | None) -> Device:
    """What a device can do, by its maker: one of this machine, or a GPU's name. Raises SpecError where it is not in
    the table.
    """
    known = flops.gpu(name or "")
    if known is not None:
        return known
    if name == "cpu" or (name is None and not torch.cuda.is_available()):
        return flops.cpu(os.cpu_count() or 1)
    here = name is None or name.startswith("cuda")
    called = torch.cuda.get_device_name(name) if here and torch.cuda.is_available() else str(name)
    known = flops.gpu(called)
    if known is None:
        table = ", ".join(device.name for device in flops.GPUS.values())
        advice = "Name one of these with --device, or leave --no-calibrate out."
        raise SpecError(f"--no-calibrate: expected a device among cpu, {table}, found {called[:TOLD]!r}. {advice}")
    return known


def forecast(asked: PlanConfig, ready: Ready, speeds: Speeds, device: Device | None) -> Forecast:
    """What follows from the speeds of single things; ``device``: whose peak they were taken from."""
    sizes, runs = on_disk_of(ready), runs_of(asked, ready)
    dump, steps = dump_seconds(ready, speeds), step_costs(speeds)
    memory, more = memory_of(ready)
    methods = _methods(asked.methods, steps, runs, memory, more)
    finetuned = _finetuned(ready, speeds)
    study = total(steps, dump, runs, asked.methods)
    if finetuned is not None and "kd" in asked.methods:  # whoever answers, from a cache or in the loop
        study = study.plus(finetuned.seconds)
    kwh = None if speeds.watts is None else study.cached * speeds.watts / KWH
    price = asked.price_per_hour
    epoch = runs.epoch_steps("kd")
    return Forecast(
        setting=_setting(asked, ready, device),
        rows=ready.dumped,
        bytes=sizes,
        dump=Dumped(dump, ready.dumped / dump, memory.process + more, finetuned),
        methods=methods,
        total=Totals(
            epochs=asked.epochs,
            seeds=asked.seeds,
            seconds=study.cached,
            hours=study.cached / HOUR,
            online_hours=study.online / HOUR,
            kwh=kwh,
            money=None if price is None else price * study.cached / HOUR,
        ),
        break_even_epochs=break_even(dump, epoch * steps.online, epoch * steps.kd),
        source="flops" if device is not None else "calibrated",
        notes=tuple(_notes(asked, ready, device, first=finetuned is not None)),
    )


def on_disk_of(ready: Ready) -> dict[str, int]:
    """Bytes of all caches, by codec."""
    each = [on_disk(dump) for dump in ready.dumps]
    return {codec: sum(sizes[codec] for sizes in each) for codec in each[0]}


def runs_of(asked: PlanConfig, ready: Ready) -> Runs:
    folds = asked.finetune.folds
    return Runs(ready.labelled_rows, asked.work.batch_size, asked.epochs, asked.seeds, ready.taught_rows, folds)


def dump_seconds(ready: Ready, speeds: Speeds) -> float:
    """Of all dumps, and of what their report shows the teacher besides."""
    budget = int(ready.settings()["batch_tokens"])
    counts = [
        (each, len(dump.rows), dump.plan.shard_rows) for each, dump in zip(ready.lengths, ready.dumps, strict=True)
    ]
    told = speeds.dump(ready.lengths[0], ready.dev_rows, DEV_ROWS, budget) - speeds.write if ready.dev_rows else 0.0
    return told + sum(speeds.dump(lengths, rows, shard, budget) for lengths, rows, shard in counts)


def step_costs(speeds: Speeds) -> StepCosts:
    """A cached answer costs nothing that a calibration of some seconds could tell from label smoothing: `bench
    overhead` measures that.
    """
    same, online = speeds.step, speeds.step + speeds.teacher_forward
    return StepCosts(same, same, same, same, same, online, speeds.own_forward)


def _finetuned(ready: Ready, speeds: Speeds) -> Finetuned | None:
    if ready.finetune is None or speeds.finetune_step is None:
        return None
    steps = finetune_steps(ready.finetune, ready.all_labelled_rows)
    work, size = ready.work, ready.finetune.batch_size
    longest = int(work.teacher_rows.lengths().max())
    memory = Memory(shape_of(work.teacher.model), size, longest, "float32", ready.process).training()
    return Finetuned(steps, steps * speeds.finetune_step, memory)


def memory_of(ready: Ready) -> tuple[Memory, int]:
    """What trains, and what a teacher takes besides."""
    work, asked = ready.work, ready.work.asked
    longest, dtype = int(work.rows.lengths().max()), flops.DTYPES[asked.precision]
    together = asked.batch_size // asked.accumulate
    memory = Memory(shape_of(work.student), together, longest, dtype, ready.process)
    budget = int(ready.settings()["batch_tokens"])
    return memory, memory.answering(shape_of(work.teacher.model), asked.dtype, budget)


def _methods(names: Sequence[str], steps: StepCosts, runs: Runs, memory: Memory, more: int) -> dict[str, Costed]:
    """Of each method, and where kd is one of them, of kd with its teacher in the loop."""
    told = {}
    for name in (*names, *([ONLINE] if "kd" in names else [])):
        method, step = ("kd", steps.online) if name == ONLINE else (name, steps.of(name))
        held = memory.training() + (more if name == ONLINE else 0)
        told[name] = Costed(step, step * runs.epoch_steps(method), step * runs.run_steps(method), held)
    return told


def _setting(asked: PlanConfig, ready: Ready, device: Device | None) -> dict[str, Any]:
    work, plan = ready.work, ready.dumps[0].plan
    shapes = {"student": shape_of(work.student), "teacher": shape_of(work.teacher.model)}
    names = {"student": Path(asked.work.student).name, "teacher": work.teacher.name}
    told = {
        what: {"name": names[what], "parameters": shape.parameters, "embedding_parameters": shape.embeddings}
        for what, shape in shapes.items()
    }
    return {
        **told,
        "data": work.source,
        "rows": ready.dumped,
        "unlabelled_rows": ready.taught_rows,
        "classes": work.num_labels,
        "codec": asked.codec,
        "batch_size": asked.work.batch_size,
        "split": asked.split,
        "store": plan.store,
        "shard_rows": plan.shard_rows,
        "batch_tokens": plan.preparation["batch_tokens"],
        "max_length": plan.preparation["max_length"],
        "tokens": float(work.rows.lengths().mean()),
        "dtype": asked.work.dtype,
        "precision": asked.work.precision,
        "device": work.device if device is None else device.name,
        "price_per_hour": asked.price_per_hour,
        "shape_only": work.shape_only,
    }


def _notes(asked: PlanConfig, ready: Ready, device: Device | None, first: bool) -> list[str]:
    notes = []
    if device is not None:
        said = f"{device.share:.0%} of its peak is assumed, no time for tokens, files or Python"
        notes.append(f"nothing was measured: {device.name}, of which {said}")
    taught = "kd" in asked.methods
    if first and taught:
        notes.append("`in all` counts training the teacher; break-even does not, for any KD needs it")
    elif ready.finetune is not None and not first:
        notes.append("the teacher has no trained head: what training it first would take is not in here")
    elif ready.finetune is None and asked.finetune.folds is not None and taught:
        notes.append("--folds: this teacher has a trained head, so `dump` would ask for --finetune always")
    if ready.taught_rows and taught:
        notes.append(_of_unlabelled(ready))
    if ready.work.shape_only:
        notes.append("weights were drawn, and no text was tokenised for the teacher")
    return notes


def _of_unlabelled(ready: Ready) -> str:
    labelled = ready.work.teacher_rows.lengths().mean()
    return (
        f"steps were taken from labelled rows, of {labelled:.0f} tokens; all rows to be dumped have "
        f"{np.mean(np.concatenate(ready.lengths)):.0f} on average"
    )
