"""The training stage: one method, one seed, one result folder.

The folder holds the student (as `transformers` loads it), ``predictions.parquet``, and, written last, ``result.json``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.cache import Cache
from logitcache.data import source as sources
from logitcache.data.order import subset
from logitcache.data.prepare import Prepared, prepare
from logitcache.data.source import Columns, Notify, Rows, Source
from logitcache.data.task import Classification, check_metric
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.store.manifest import read_json, write_json
from logitcache.student.fit import FitSettings, Fitted, fit
from logitcache.student.methods import METHODS, Objective, objective
from logitcache.student.model import build_student, is_shape, student_tokenizer
from logitcache.student.outcome import result_dict, write_predictions
from logitcache.teacher.dump import DumpSettings, dump
from logitcache.teacher.model import load_teacher
from logitcache.workspace import Workspace

OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class TrainConfig:
    """Everything that is asked of one training run."""

    method: str = "base"
    data: str = "docstrings"
    columns: Columns = Columns()
    student: str = "2x128"  # a checkpoint, or LAYERSxWIDTH
    init: str | None = None  # pretrained or random; None: random for a shape, else pretrained
    tokenizer: str | None = None
    vocabulary: int = 8000
    seed: int = 0
    alpha: float | None = None
    a: float | None = None
    temperature: float | None = None
    tau_squared: bool | None = None
    epochs: float = 5.0
    learning_rate: float | None = None  # None: 2e-5 for pretrained weights, 5e-4 for random ones
    batch_size: int = 32
    accumulate: int = 1  # micro-batches a batch is cut into
    weight_decay: float = 0.01
    warmup: float = 0.06  # share of steps
    max_length: int = 128  # tokens
    rows: int | None = None  # train on that many rows only, the same for every method and seed
    precision: str = "fp32"
    select: str | None = None  # best or last; None: best where there is a dev split
    metric: str = "accuracy"
    report_to: str = "none"
    cache: Path | None = None
    out: Path | None = None
    workspace: Workspace = Workspace()
    overwrite: bool = False


NOT_ASKED = {
    "out",
    "workspace",
    "overwrite",
    "cache",
    "data",
    "columns",
    "tau_squared",
}  # places, or said elsewhere in the result


@dataclass(frozen=True)
class Job:
    """A run made ready: what was asked, resolved against the data."""

    config: TrainConfig
    source: Source
    task: Classification
    objective: Objective
    train: Rows
    out: Path

    def asked(self) -> dict[str, Any]:
        """The run's settings as its result records them: names and numbers, no places."""
        values = {f.name: getattr(self.config, f.name) for f in fields(self.config) if f.name not in NOT_ASKED}
        student = values["student"]
        return {
            **values,
            **asdict(self.objective),
            "student": student if is_shape(student) or not Path(student).exists() else Path(student).name,
            "tokenizer": None if values["tokenizer"] is None else Path(values["tokenizer"]).name,
            "data": self.source.digest(),
        }


def train(
    config: TrainConfig,
    *,
    source: Source | None = None,
    notify: Notify = lambda _: None,
    on_step: OnStep = lambda step, of: None,
) -> Path:
    """Train one student; returns its result folder. A run that is there already is returned as it is; a broken-off one goes on.

    Raises SpecError, FingerprintMismatch (labels or settings that differ), AlignmentError (rows the teacher did not answer).
    """
    job = _ready(config, source, notify)
    if _is_done(job):
        notify(f"{job.out}: this run is there already")
        return job.out
    cache = _teacher_cache(job, notify, on_step) if METHODS[config.method].needs_teacher else None
    if cache is not None:
        _check_cache(cache, job, notify)
    _claim(job)
    run(job, cache, notify, on_step)
    return job.out


def _ready(config: TrainConfig, source: Source | None, notify: Notify) -> Job:
    """Resolve defaults and refuse what cannot be, before anything is written."""
    goal = objective(config.method, config.alpha, config.a, config.temperature, config.tau_squared)
    shape = is_shape(config.student)
    init = config.init or ("random" if shape else "pretrained")
    if shape and init == "pretrained":
        raise SpecError(
            f"a shape ({config.student}) has no pretrained weights. Give --init random, or a checkpoint as --student."
        )
    if config.batch_size < 1 or config.batch_size % config.accumulate:
        raise SpecError(
            f"expected a batch size divisible by --accumulate, found {config.batch_size} and {config.accumulate}."
        )
    source = source or sources.load(config.data, config.columns, config.workspace.data, notify)
    train_rows = source.split("train")
    task = _task(source, train_rows)
    check_metric(config.metric, task.num_labels)
    if config.rows is not None:
        train_rows = train_rows.select(subset(len(train_rows), config.rows))
    dev = source.splits.get("dev")
    select = config.select or ("best" if dev is not None and len(dev) else "last")
    if select == "best" and (dev is None or not len(dev)):
        raise SpecError(
            "--select best needs a dev split, found none. Add one, or give --select last.", where=source.name
        )
    rate = config.learning_rate or (5e-4 if init == "random" else 2e-5)
    resolved = replace(config, init=init, select=select, learning_rate=rate)
    out = config.out or config.workspace.run(source.name, config.method, config.seed)
    return Job(resolved, source, task, goal, train_rows, out)


def _task(source: Source, train_rows: Rows) -> Classification:
    unlabelled = np.flatnonzero(train_rows.label < 0)
    if len(unlabelled):
        row = train_rows.row_id[unlabelled[0]]
        raise SpecError(
            f"train row {row} has no label ({len(unlabelled)} have none). Training needs one a row.", where=source.name
        )
    if len(np.unique(train_rows.label)) < 2:
        raise SpecError("expected at least two classes in the train split, found one.", where=source.name)
    return Classification(source.num_labels, source.label_names)


def _is_done(job: Job) -> bool:
    """Whether this very run is there already. Raises where the folder holds something else."""
    if job.config.overwrite or not job.out.exists():
        return False
    found = sorted(p.name for p in job.out.iterdir()) if job.out.is_dir() else [job.out.name]
    if not found:
        return False
    if "run.json" not in found:
        raise SpecError(
            f"expected a result folder or an empty one, found {', '.join(found[:3])}. Choose another --out.",
            where=job.out,
        )
    asked, before = json.loads(json.dumps(job.asked())), read_json(job.out / "run.json")
    for key in sorted(set(asked) | set(before)):
        if asked.get(key) != before.get(key):
            raise FingerprintMismatch(
                f"this run was made with {key} = {before.get(key)}, now it is {asked.get(key)}. "
                "Choose another --out, or give --overwrite to lose what is there.",
                where=job.out,
            )
    return (job.out / "result.json").is_file()


def _claim(job: Job) -> None:
    if job.config.overwrite and job.out.exists():
        if job.out.is_dir() and (job.out / "run.json").is_file():
            shutil.rmtree(job.out)
        elif not job.out.is_dir() or any(job.out.iterdir()):
            raise SpecError(
                "--overwrite is for result folders; this holds something else. Choose another --out.", where=job.out
            )
    job.out.mkdir(parents=True, exist_ok=True)
    write_json(job.out / "run.json", job.asked())


def _teacher_cache(job: Job, notify: Notify, on_step: OnStep) -> Cache:
    """The cache a method learns from: the one named, the one found, or (Self-KD) one made from the first copy of this seed."""
    if job.config.cache is not None:
        return Cache.open(job.config.cache)
    if job.config.method == "kd":
        cache = job.config.workspace.find_cache(job.source.split("train"))
        notify(f"teacher: {cache!r}")
        return cache
    return _self_cache(job, notify, on_step)


def _self_cache(job: Job, notify: Notify, on_step: OnStep) -> Cache:
    """Self-KD: the base run of this seed (trained now if it is not there) answers for the rows it was trained on."""
    base = replace(
        job.config, method="base", alpha=None, a=None, temperature=None, tau_squared=None, overwrite=False, cache=None,
        out=job.out.with_name(f"base-seed{job.config.seed}"),
    )  # fmt: skip
    try:
        first = train(base, source=job.source, notify=notify, on_step=on_step)
    except (
        FingerprintMismatch,
        SpecError,
    ):  # the base run there has other settings: this run's copy gets a place of its own
        first = train(
            replace(base, out=job.out.with_name(f"{job.out.name}-first-copy")),
            source=job.source,
            notify=notify,
            on_step=on_step,
        )
    folder = job.out.with_name(f"{job.out.name}-cache")
    settings = DumpSettings(max_length=job.config.max_length)
    dump(load_teacher(str(first)), job.source, "train", folder, settings, overwrite=True, notify=notify)
    return Cache.open(folder)


def _check_cache(cache: Cache, job: Job, notify: Notify) -> None:
    """Label names in order, and every row by its hash; before anything is written."""
    names = job.task.label_names
    if len(cache.label_names) != job.task.num_labels or (names is not None and names != cache.label_names):
        if (
            not all(n == f"LABEL_{i}" for i, n in enumerate(cache.label_names))
            or len(cache.label_names) != job.task.num_labels
        ):
            raise FingerprintMismatch(
                f"the cache's labels are {', '.join(cache.label_names)}; the data has "
                f"{', '.join(names) if names else f'{job.task.num_labels} unnamed ones'}. Dump this data, or choose another --cache.",
                where=cache.folder,
            )
    cache.check(job.train.row_id, job.train.row_hash)
    mine, theirs = job.source.split("train").digest(), cache.manifest.plan.data.get("digest")
    if mine != theirs:
        notify(
            f"{cache.folder}: dumped from other rows (digest {theirs}, here {mine}); every row used here is in it, checked by hash"
        )


def run(job: Job, cache: Cache | None, notify: Notify, on_step: OnStep) -> None:
    """Train, evaluate, and write the result folder. ``result.json`` comes last."""
    config = job.config
    tokenizer = student_tokenizer(
        config.student,
        config.tokenizer,
        job.source.split("train"),
        config.vocabulary,
        config.max_length,
        config.workspace.tokenizers,
    )
    max_length = min(config.max_length, int(min(tokenizer.model_max_length, 2**31 - 1)))
    splits = {name: rows for name, rows in job.source.splits.items() if name != "train" and (rows.label >= 0).any()}
    prepared: dict[str, Prepared] = {"train": prepare(tokenizer, job.train, max_length)}
    prepared |= {name: prepare(tokenizer, rows, max_length) for name, rows in splits.items()}
    student = build_student(config.student, config.init or "random", job.task, tokenizer, max_length, config.seed)
    assert config.learning_rate is not None and config.select is not None
    settings = FitSettings(
        epochs=config.epochs, learning_rate=config.learning_rate, batch_size=config.batch_size, accumulate=config.accumulate,
        weight_decay=config.weight_decay, warmup=config.warmup, seed=config.seed, precision=config.precision, select=config.select,
        metric=config.metric, report_to=config.report_to,
    )  # fmt: skip
    fitted: Fitted = fit(student, tokenizer, job.objective, job.task, prepared, cache, settings, job.out, on_step)
    write_predictions(job.out / "predictions.parquet", fitted.predictions)
    result = result_dict(job.asked(), job.objective, job.source, job.task, fitted, cache, config.metric, config.select)
    write_json(job.out / "result.json", result)
    shutil.rmtree(job.out / "checkpoints", ignore_errors=True)
    scores = ", ".join(f"{split} {values[config.metric]:.4f}" for split, values in fitted.scores.items())
    notify(f"{job.out}: {config.metric} {scores}")
