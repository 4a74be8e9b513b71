"""The cost of a dump and a study before either is begun: disk, time, memory, energy and money."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.bench.memory import why
from logitcache.bench.models import model_figures
from logitcache.config.bench import ONLINE, PlanConfig
from logitcache.config.data import EMBEDDING
from logitcache.config.methods import METHODS
from logitcache.cost import flops
from logitcache.cost.costs import HOUR, KWH, Runs, StepCosts, break_even, total
from logitcache.cost.flops import Device, shape_of
from logitcache.data.tasks.classification import DEV_ROWS
from logitcache.data.tasks.embedding import SentenceEmbedding
from logitcache.errors import SpecError
from logitcache.forecast.calibrate import Calibration, Speeds, from_flops
from logitcache.forecast.devices import device_of
from logitcache.forecast.encoders import EncoderCalibration, load_encoders
from logitcache.forecast.finetuning import finetune_steps
from logitcache.forecast.language import load_language
from logitcache.forecast.setup import SAMPLE, Inputs, load_inputs
from logitcache.forecast.sizes import Memory, on_disk
from logitcache.forecast.token_speeds import TokenCalibration, tokens_from_flops
from logitcache.models.call import out_of_memory
from logitcache.reporter import SILENT, Reporter
from logitcache.student.losses.vocabulary import CHUNK_VALUES, PLAIN_VALUES
from logitcache.targets.table import codec_of_logits


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
    """What all runs take with the dump, and ``online_hours`` with teachers in the loop instead."""

    epochs: float
    seeds: int
    seconds: float
    hours: float
    online_hours: float
    kwh: float | None
    money: float | None


@dataclass(frozen=True)
class Forecast:
    """What was found: ``bytes`` by codec, of ``rows`` rows; ``source`` is calibrated or flops.
    ``announced`` are the bytes by which a codec stores one position.
    """

    setting: Mapping[str, Any]
    rows: int
    bytes: Mapping[str, int]
    announced: Mapping[str, float]
    dump: Dumped
    methods: Mapping[str, Costed]
    total: Totals
    break_even_epochs: float | None
    source: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The document of ``plan --json``."""
        sizes = {}
        for codec, size in self.bytes.items():
            sizes[codec] = {
                "bytes": size,
                "bytes_per_row": size / self.rows,
                "bytes_per_position": self.announced[codec],
            }
        return {
            "setting": dict(self.setting),
            "bytes": sizes,
            "dump": asdict(self.dump),
            "methods": {name: dict(vars(costed)) for name, costed in self.methods.items()},
            "total": dict(vars(self.total)),
            "break_even_epochs": self.break_even_epochs,
            "source": self.source,
            "notes": list(self.notes),
        }


def plan(config: PlanConfig, reporter: Reporter = SILENT) -> Forecast:
    """The forecast. It runs some seconds of the real work, or nothing with ``calibrate`` off.

    Raises SpecError for what cannot be done, or does not fit in memory, FingerprintMismatch for a
    teacher of other labels than the data's.
    """
    config.check()
    codec_of_logits(config.settings)  # refused before rows are read
    try:
        return _plan(config, reporter)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise SpecError(
            expected="a student and a teacher that fit in memory",
            found=why(error),
            advice="Take smaller batches, or plan with --no-calibrate, which runs nothing.",
        ) from None


def _plan(config: PlanConfig, reporter: Reporter) -> Forecast:
    if config.is_encoder:
        config = replace(config, signals=SentenceEmbedding.settings(config.settings).signals)
    work = config.work
    device = None if config.calibrate else device_of(work.device)
    is_elsewhere = device is not None and flops.gpu(work.device or "") is not None
    if is_elsewhere:  # the GPU that is named need not be in this machine
        work = replace(work, device="cpu")
    if config.is_language:
        inputs = load_language(replace(config, work=work), reporter)
    elif config.is_encoder:
        work = replace(work, rows=work.rows or SAMPLE)
        inputs = load_encoders(replace(config, work=work), reporter)
    else:
        work = replace(work, rows=work.rows or SAMPLE)
        inputs = load_inputs(replace(config, work=work), reporter)
    if is_elsewhere:
        inputs = replace(inputs, process=0)
    if device is not None:
        if config.is_language:
            speeds = tokens_from_flops(inputs, device)
        else:
            speeds = from_flops(inputs.work, device, inputs.finetune)
        return forecast(config, inputs, speeds, device)
    reporter.note("calibrating: some of the teacher's batches, some training steps")
    with calibration(config, inputs) as measured:
        return forecast(config, inputs, measured.speeds(), None)


def calibration(config: PlanConfig, inputs: Inputs) -> Calibration:
    """The timing of a workload."""
    if config.is_language:
        return TokenCalibration(config, inputs)
    kind = EncoderCalibration if config.is_encoder else Calibration
    return kind(inputs.work, inputs.dumps[0], config.seconds, inputs.finetune)


def forecast(config: PlanConfig, inputs: Inputs, speeds: Speeds, device: Device | None) -> Forecast:
    """What follows from the speeds of single things; ``device``: whose peak they were taken from."""
    folds = config.finetune.folds
    runs = Runs(
        rows=inputs.labelled_rows,
        batch_size=config.work.batch_size,
        epochs=config.epochs,
        seeds=config.seeds,
        unlabelled=inputs.unlabelled_rows,
        folds=folds,
    )
    dump = dump_seconds(inputs, speeds)
    steps = step_costs(speeds)
    methods = config.costed
    memory, teacher_memory = memory_of(inputs)
    finetuned = _finetuned(inputs, speeds)
    study = total(steps, dump, runs, methods)
    # whoever answers, from a cache or in the loop
    if finetuned is not None and _reads_cache(methods):
        study = study.plus(finetuned.seconds)
    kwh = None if speeds.watts is None else study.cached * speeds.watts / KWH
    price = config.price_per_hour
    epoch = runs.epoch_steps("kd")
    return Forecast(
        setting=_setting(config, inputs, device),
        rows=inputs.dumped,
        bytes=on_disk_of(inputs),
        announced={name: codec.bytes_per_position() for name, codec in inputs.codecs.items()},
        dump=Dumped(dump, inputs.dumped / dump, memory.process + teacher_memory, finetuned),
        methods=_named(config, _methods(methods, steps, runs, memory, teacher_memory)),
        total=Totals(
            epochs=config.epochs,
            seeds=config.seeds,
            seconds=study.cached,
            hours=study.cached / HOUR,
            online_hours=study.online / HOUR,
            kwh=kwh,
            money=None if price is None else price * study.cached / HOUR,
        ),
        break_even_epochs=break_even(dump, epoch * steps.online, epoch * steps.methods["kd"]),
        source="flops" if device is not None else "calibrated",
        notes=tuple(_notes(config, inputs, device, first=finetuned is not None)),
    )


def on_disk_of(inputs: Inputs) -> dict[str, int]:
    """Bytes of all caches, by codec."""
    sizes: Counter[str] = Counter()
    for dump, density in zip(inputs.dumps, inputs.densities, strict=True):
        sizes.update(on_disk(dump, inputs.codecs, density))
        sizes.update(inputs.once)
    return dict(sizes)


def dump_seconds(inputs: Inputs, speeds: Speeds) -> float:
    """Of all dumps, and of the dev rows that their report asks the teacher about."""
    budget = inputs.batch_tokens
    seconds = 0.0
    for lengths, dump in zip(inputs.lengths, inputs.dumps, strict=True):
        seconds += speeds.dump(lengths, dump.plan.rows, dump.plan.shard_rows, budget)
    if inputs.dev_rows:  # they are not written
        seconds += speeds.dump(inputs.lengths[0], inputs.dev_rows, DEV_ROWS, budget) - speeds.write
    return seconds


def _reads_cache(methods: Sequence[str]) -> bool:
    """Whether one of these methods learns from a cache that a dump makes."""
    return any(METHODS[method].reads_cache for method in methods)


def step_costs(speeds: Speeds) -> StepCosts:
    """Costs of a step by method. A cached answer adds nothing that a calibration of some seconds
    could measure; `bench overhead` measures it.
    """
    step = speeds.step
    return StepCosts(
        dict.fromkeys(METHODS, step), step + speeds.teacher_forward, speeds.own_forward
    )


def _finetuned(inputs: Inputs, speeds: Speeds) -> Finetuned | None:
    if inputs.finetune is None or speeds.finetune_step is None:
        return None
    steps = finetune_steps(inputs.finetune, inputs.all_labelled_rows)
    longest = int(inputs.work.teacher_rows.lengths().max())
    teacher = shape_of(inputs.work.teacher.model)
    memory = Memory(teacher, inputs.finetune.batch_size, longest, "float32", inputs.process)
    return Finetuned(steps, steps * speeds.finetune_step, memory.training())


def memory_of(inputs: Inputs) -> tuple[Memory, int]:
    """What a training takes, and bytes that a teacher takes besides."""
    work = inputs.work
    config = work.config
    rows = config.batch_size // config.accumulate
    longest = int(work.rows.lengths().max())
    logits = 0
    if work.task.self_contained:
        density = inputs.densities[0]
        positions = rows * longest * density.positions / max(1.0, density.tokens)
        logits = held_logits(positions * work.num_labels, work.device)
    memory = Memory(
        shape_of(work.student),
        rows,
        longest,
        flops.DTYPES[config.precision],
        inputs.process,
        logits,
    )
    return memory, memory.answering(shape_of(work.teacher.model), config.dtype, inputs.batch_tokens)


def held_logits(values: float, device: str) -> int:
    """Logits that a training holds at once, with gradients: all of a batch, or of a chunk."""
    kind = "cpu" if device == "cpu" else "cuda"
    if kind == "cpu" or values > PLAIN_VALUES[kind]:
        values = min(values, CHUNK_VALUES[kind])
    return 2 * round(values)


def _methods(
    names: Sequence[str], steps: StepCosts, runs: Runs, memory: Memory, teacher: int
) -> dict[str, Costed]:
    """Of each method; beside kd, of kd with its teacher in the loop, ``teacher`` bytes more."""

    def costed(method: str, step: float, held: int) -> Costed:
        return Costed(step, step * runs.epoch_steps(method), step * runs.run_steps(method), held)

    methods = {name: costed(name, steps.methods[name], memory.training()) for name in names}
    if "kd" in names:
        methods[ONLINE] = costed("kd", steps.online, memory.training() + teacher)
    return methods


def _named(config: PlanConfig, methods: dict[str, Costed]) -> dict[str, Costed]:
    """By the names of a sentence encoder's methods, where it is one."""
    if not config.is_encoder:
        return methods
    return {EMBEDDING: methods["kd"], f"{EMBEDDING}-online": methods[ONLINE]}


def _setting(config: PlanConfig, inputs: Inputs, device: Device | None) -> dict[str, Any]:
    work = inputs.work
    plan = inputs.dumps[0].plan
    return {
        "student": model_figures(Path(config.work.student).name, work.student),
        "teacher": model_figures(work.teacher.name, work.teacher.model),
        "data": work.source,
        "rows": inputs.dumped,
        "unlabelled_rows": inputs.unlabelled_rows,
        "classes": work.num_labels,
        "codec": config.stored,
        "batch_size": config.work.batch_size,
        "split": config.split,
        "store": plan.store,
        "shard_rows": plan.shard_rows,
        "batch_tokens": plan.preparation["batch_tokens"],
        "max_length": plan.preparation["max_length"],
        "tokens": float(work.rows.lengths().mean()),
        "dtype": config.work.dtype,
        "precision": config.work.precision,
        "device": work.device if device is None else device.name,
        "price_per_hour": config.price_per_hour,
        "shape_only": work.shape_only,
        **_language_setting(config, inputs),
    }


def _language_setting(config: PlanConfig, inputs: Inputs) -> dict[str, Any]:
    """What a language model's setting has besides."""
    if not config.is_language:
        return {}
    return {
        "task": config.work.columns.task,
        "views": config.sequences.recipe().views,
        "positions": inputs.positions,
    }


def _notes(config: PlanConfig, inputs: Inputs, device: Device | None, first: bool) -> list[str]:
    notes = []
    if device is not None:
        assumed = f"{device.share:.0%} of its peak is assumed, no time for tokens, files or Python"
        notes.append(f"nothing was measured: {device.name}, of which {assumed}")
    with_teacher = _reads_cache(config.costed)
    if first and with_teacher:
        notes.append(
            "`in all` counts training the teacher; break-even does not, for any KD needs it"
        )
    elif inputs.finetune is not None and not first:
        notes.append(
            "the teacher has no trained head: what training it first would take is not in here"
        )
    elif inputs.finetune is None and config.finetune.folds is not None and with_teacher:
        notes.append(
            "--folds: this teacher has a trained head, so `dump` would ask for --finetune always"
        )
    if inputs.unlabelled_rows and with_teacher:
        labelled = inputs.work.teacher_rows.lengths().mean()
        all_rows = np.mean(np.concatenate(inputs.lengths))
        notes.append(
            f"steps were taken from labelled rows, of {labelled:.0f} tokens; all rows to be dumped have {all_rows:.0f} "
            "on average"
        )
    if inputs.work.shape_only:
        notes.append("weights were drawn, and no text was tokenised for the teacher")
    return [*notes, *inputs.notes]
