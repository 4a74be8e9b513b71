"""What a dump and a study would cost, before either is begun: disk, time, memory, energy and money."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from logitcache.cost import flops
from logitcache.cost.calibrate import SECONDS, Calibration, Speeds, from_flops
from logitcache.cost.costs import HOUR, KWH, METHODS, Runs, StepCosts, break_even, check_methods, check_price, total
from logitcache.cost.flops import Device, shape_of
from logitcache.cost.machine import peak_memory
from logitcache.cost.sizes import Memory, UnreadTeacher, on_disk
from logitcache.cost.workload import Asked, Workload, load
from logitcache.data import source as sources
from logitcache.data.prepare import Prepared
from logitcache.data.source import UNLABELLED_SPLIT, Rows, Source
from logitcache.errors import SpecError
from logitcache.records import Int64
from logitcache.targets.dense import DenseCodec
from logitcache.teacher.plan import DumpSettings, Planned, planned
from logitcache.teacher.report import DEV_ROWS

SAMPLE = 2048  # rows whose lengths stand for all
ONLINE = "kd-online"
TOLD = 120  # characters of a device's name in an error


@dataclass(frozen=True)
class PlanAsked:
    """What somebody wants to do."""

    work: Asked
    unlabelled: str | None = None
    codec: str = "float16"
    batch_tokens: int = 4096
    epochs: float = 5.0
    seeds: int = 1
    methods: tuple[str, ...] = METHODS
    price_per_hour: float | None = None
    calibrate: bool = True
    seconds: float = SECONDS  # of calibrating a dump, and again a training

    def check(self) -> None:
        """Raises SpecError for what cannot be, before anything is loaded."""
        Runs(1, self.work.batch_size, self.epochs, self.seeds)
        check_methods(self.methods)
        check_price(self.price_per_hour)
        DenseCodec(2, self.codec)
        if self.unlabelled is not None and self.work.tokens is not None:
            raise SpecError("--unlabelled: expected rows of data beside it, found --tokens. Leave one out.")


@dataclass(frozen=True)
class Costed:
    """What one method takes: seconds of steps (evaluation apart), and bytes on its device."""

    step_seconds: float
    epoch_seconds: float
    run_seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Dumped:
    """What the dump takes."""

    seconds: float
    rows_per_second: float
    memory_bytes: int


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
            "dump": dict(vars(self.dump)),
            "methods": {name: dict(vars(costed)) for name, costed in self.methods.items()},
            "total": dict(vars(self.total)),
            "break_even_epochs": self.break_even_epochs,
            "source": self.source,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Rehearsed(Planned):
    """A dump whose rows were never texts: tokens are drawn, and the sample's stand for all."""

    drawn: Prepared | None = None

    def prepare(self, start: int, stop: int, places: Int64 | None = None) -> Prepared:
        assert self.drawn is not None
        rows = np.arange(start, stop) if places is None else start + places
        return self.drawn.select(rows % len(self.drawn))


@dataclass(frozen=True)
class Ready:
    """What is planned for: a sample of the rows with both models, the dumps there would be, and all rows' numbers."""

    work: Workload
    dumps: tuple[Planned, ...]  # of the train split; of unlabelled rows
    dev_rows: int  # that the dump's report shows the teacher
    taught_rows: int  # unlabelled ones, which methods with a teacher learn from too
    labelled_rows: int
    process: int  # bytes that the process held before

    @property
    def dumped(self) -> int:
        return sum(len(each.rows) for each in self.dumps)

    def settings(self) -> Mapping[str, Any]:
        """How the first dump puts its rows to the teacher."""
        return self.dumps[0].plan.preparation


def plan(asked: PlanAsked, notify: Callable[[str], None] = lambda _: None) -> Forecast:
    """What it would cost. Nothing is run but some seconds of the real thing, or with ``calibrate`` off nothing at all.

    Raises SpecError for what cannot be done as asked, FingerprintMismatch for a teacher of other labels than the
    data's.
    """
    asked.check()
    if asked.work.rows is not None and asked.work.tokens is None:
        raise SpecError("--rows: a plan is of all rows there are. Leave it out, or give --tokens too.")
    device = None if asked.calibrate else device_of(asked.work.device)
    on_paper = device is not None and flops.gpu(asked.work.device or "") is not None
    work = replace(asked.work, rows=asked.work.rows or SAMPLE, device="cpu" if on_paper else asked.work.device)
    ready = make_ready(replace(asked, work=work), notify)
    ready = replace(ready, process=0) if on_paper else ready
    if device is not None:
        return forecast(asked, ready, from_flops(ready.work, device), device)
    notify("calibrating: some of the teacher's batches, some training steps")
    with Calibration(ready.work, ready.dumps[0], asked.seconds) as calibration:
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


def make_ready(asked: PlanAsked, notify: Callable[[str], None], *, only: int | None = None) -> Ready:
    """Load what is asked for, and lay out the dumps: of ``only`` so many train rows, evenly spread, where that is
    said.
    """
    process = peak_memory()
    work = load(asked.work, notify)
    source = _source(asked, work)
    if only is not None:
        source = _few(source, only)
    settings = DumpSettings(asked.work.max_length, asked.batch_tokens, asked.codec)
    splits = [split for split in ("train", UNLABELLED_SPLIT) if split in source.splits]
    dumps = tuple(_planned(work, source, split, settings) for split in splits)
    labelled = int((source.split("train").label >= 0).sum())
    dev = min(DEV_ROWS, len(source.splits["dev"])) if "dev" in source.splits else 0
    taught = sum(len(each.rows) for each in dumps) - labelled
    return Ready(work, dumps, dev, taught, labelled, process if work.device == "cpu" else 0)


def _source(asked: PlanAsked, work: Workload) -> Source:
    """All rows: those of the data, or as many as were drawn."""
    given = asked.work
    if given.tokens is None:
        folder, seed = given.workspace.data, given.data_seed
        return sources.load(given.data, given.columns, folder, lambda _: None, unlabelled=asked.unlabelled, seed=seed)
    text = pa.array([""] * len(work.rows), pa.large_string())
    rows = Rows(text, None, work.rows.label, work.rows.row_id, work.rows.row_hash)
    return Source(work.source, {"train": rows}, work.task.label_names, work.num_labels)


def _few(source: Source, rows: int) -> Source:
    whole = source.split("train")
    some = whole.select(np.unique(np.linspace(0, len(whole) - 1, rows).astype(np.int64)))
    return replace(source, splits={"train": replace(some, row_id=np.arange(len(some)))})


def _planned(work: Workload, source: Source, split: str, settings: DumpSettings) -> Planned:
    made = planned(UnreadTeacher(work.teacher), source, split, settings)
    drawn = work.teacher_rows if work.shape_only else None
    return made if drawn is None else Rehearsed(**vars(made), drawn=drawn)


def forecast(asked: PlanAsked, ready: Ready, speeds: Speeds, device: Device | None) -> Forecast:
    """What follows from the speeds of single things; ``device``: whose peak they were taken from."""
    sizes, runs = on_disk_of(ready), runs_of(asked, ready)
    dump, steps = dump_seconds(ready, speeds), step_costs(speeds)
    memory, more = _memory(ready)
    methods = _methods(asked.methods, steps, runs, memory, more)
    study = total(steps, dump, runs, asked.methods)
    kwh = None if speeds.watts is None else study.cached * speeds.watts / KWH
    price = asked.price_per_hour
    epoch = runs.epoch_steps("kd")
    return Forecast(
        setting=_setting(asked, ready, device),
        rows=ready.dumped,
        bytes=sizes,
        dump=Dumped(dump, ready.dumped / dump, memory.process + more),
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
        notes=tuple(_notes(ready, device)),
    )


def on_disk_of(ready: Ready) -> dict[str, int]:
    """Bytes of all caches, by codec."""
    each = [on_disk(dump) for dump in ready.dumps]
    return {codec: sum(sizes[codec] for sizes in each) for codec in each[0]}


def runs_of(asked: PlanAsked, ready: Ready) -> Runs:
    return Runs(ready.labelled_rows, asked.work.batch_size, asked.epochs, asked.seeds, ready.taught_rows)


def dump_seconds(ready: Ready, speeds: Speeds) -> float:
    """Of all dumps, and of what their report shows the teacher besides."""
    lengths, budget = ready.work.teacher_rows.ids.lengths(), int(ready.settings()["batch_tokens"])
    counts = [(len(each.rows), each.plan.shard_rows) for each in ready.dumps]
    told = speeds.dump(lengths, ready.dev_rows, DEV_ROWS, budget) - speeds.write if ready.dev_rows else 0.0
    return told + sum(speeds.dump(lengths, rows, shard, budget) for rows, shard in counts)


def step_costs(speeds: Speeds) -> StepCosts:
    """A cached answer costs nothing that a calibration of some seconds could tell from label smoothing: `bench
    overhead` measures that.
    """
    same, online = speeds.step, speeds.step + speeds.teacher_forward
    return StepCosts(same, same, same, same, same, online, speeds.own_forward)


def _memory(ready: Ready) -> tuple[Memory, int]:
    """What trains, and what a teacher takes besides."""
    work, asked = ready.work, ready.work.asked
    longest, dtype = int(work.rows.ids.lengths().max()), flops.DTYPES[asked.precision]
    memory = Memory(shape_of(work.student), asked.batch_size, longest, dtype, ready.process)
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


def _setting(asked: PlanAsked, ready: Ready, device: Device | None) -> dict[str, Any]:
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
        "batch_tokens": plan.preparation["batch_tokens"],
        "max_length": plan.preparation["max_length"],
        "tokens": float(work.rows.ids.lengths().mean()),
        "dtype": asked.work.dtype,
        "precision": asked.work.precision,
        "device": work.device if device is None else device.name,
        "price_per_hour": asked.price_per_hour,
        "shape_only": work.shape_only,
    }


def _notes(ready: Ready, device: Device | None) -> list[str]:
    notes = []
    if device is not None:
        said = f"{device.share:.0%} of its peak is assumed, no time for tokens, files or Python"
        notes.append(f"nothing was measured: {device.name}, of which {said}")
    if ready.work.random_head and not ready.work.shape_only:
        notes.append("the teacher has no trained head: what training it first would take is not in here")
    if ready.work.shape_only:
        notes.append("weights were drawn, and no text was tokenised for the teacher")
    return notes
