"""What is asked of one training run, resolved against the data, and the folder it claims."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from logitcache import identity
from logitcache.data import source as sources
from logitcache.data.order import subset
from logitcache.data.source import Columns, Notify, Rows, Source
from logitcache.data.task import Classification, check_metric
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.store.manifest import read_json, write_json
from logitcache.student.methods import Objective, objective
from logitcache.student.model import is_shape, parse_shape
from logitcache.student.trainer import check_report
from logitcache.workspace import Workspace

FORMAT = "logitcache-run/1"
OWN_FILES = (
    "result.json",
    "predictions.parquet",
    "model*.safetensors*",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "checkpoints",
    "runs",
    "run.json",
)
NOT_OF_A_MODEL = {"run.json", "result.json", "predictions.parquet"}


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
    group_by_length: bool = False  # rows of like length share a batch: less padding
    cache: Path | None = None
    out: Path | None = None
    workspace: Workspace = Workspace()
    overwrite: bool = False


# Places, or said elsewhere in a result: not what makes two runs the same.
NOT_ASKED = {"out", "workspace", "overwrite", "cache", "data", "columns", "tau_squared", "report_to"}


@dataclass(frozen=True)
class Job:
    """A run made ready."""

    config: TrainConfig
    source: Source
    task: Classification
    objective: Objective
    train: Rows
    out: Path
    cache_fingerprint: str | None = None  # of the cache that was named or found; None where the run makes its own

    def asked(self) -> dict[str, Any]:
        """The run's settings as its result records them: names and numbers, no places."""
        values = {f.name: getattr(self.config, f.name) for f in fields(self.config) if f.name not in NOT_ASKED}
        student = self.config.student
        return {
            **values,
            **asdict(self.objective),
            "format": FORMAT,
            "student": student if is_shape(student) else _checkpoint(student),
            "tokenizer": None if self.config.tokenizer is None else _checkpoint(self.config.tokenizer),
            "data": self.source.digest(),
            "label_names": self.task.label_names,
            "cache": self.cache_fingerprint,
        }


def _checkpoint(path: str) -> str:
    """What a checkpoint is called in a result: a hub name as it is, a folder by its name and a digest of its files.

    Two folders of one name, or one folder before and after a training, are two checkpoints.
    """
    folder = Path(path)
    if not folder.is_dir():
        return path
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name not in NOT_OF_A_MODEL)
    return f"{folder.resolve().name}@{identity.digest_json({p.name: identity.digest_file(p) for p in files})[:12]}"


def ready(config: TrainConfig, source: Source | None, notify: Notify) -> Job:
    """Resolve defaults and refuse what cannot be, before anything is written. Raises SpecError."""
    goal = objective(config.method, config.alpha, config.a, config.temperature, config.tau_squared)
    _check_numbers(config)
    check_report(config.report_to)
    config = _with_init(config)
    if config.batch_size < 1 or config.batch_size % config.accumulate:
        sizes = f"{config.batch_size} and {config.accumulate}"
        raise SpecError(f"expected a batch size divisible by --accumulate, found {sizes}.")
    if config.precision == "fp16" and not torch.cuda.is_available():
        raise SpecError("--precision fp16 needs a GPU, found none. Give bf16 or fp32.")
    source = source or sources.load(config.data, config.columns, config.workspace.data, notify)
    train = source.split("train")
    if config.rows is not None:
        train = train.select(subset(len(train), config.rows))
    task = _task(source, train, notify)
    check_metric(config.metric, task.num_labels)
    out = config.out or config.workspace.run(source.name, config.method, config.seed)
    return Job(_with_selection(config, source), source, task, goal, train, out)


def _check_numbers(config: TrainConfig) -> None:
    if not 0 <= config.seed < 2**32:
        raise SpecError(f"--seed: expected a number from 0 to 4294967295, found {config.seed}.")
    for flag, value in (("--epochs", config.epochs), ("--learning-rate", config.learning_rate)):
        if value is not None and not 0 < value < math.inf:
            raise SpecError(f"{flag}: expected a positive number, found {value}.")
    if not 0 <= config.weight_decay < math.inf:
        raise SpecError(f"--weight-decay: expected a number from 0, found {config.weight_decay}.")
    if not 0 <= config.warmup < 1:
        raise SpecError(f"--warmup: expected a share of the steps, from 0 to below 1, found {config.warmup}.")


def _with_init(config: TrainConfig) -> TrainConfig:
    shape = is_shape(config.student)
    init = config.init or ("random" if shape else "pretrained")
    if shape and init == "pretrained":
        advice = "Give --init random, or a checkpoint as --student."
        raise SpecError(f"a shape ({config.student}) has no pretrained weights. {advice}")
    if shape:
        parse_shape(config.student)
    return replace(config, init=init, learning_rate=config.learning_rate or (5e-4 if init == "random" else 2e-5))


def _with_selection(config: TrainConfig, source: Source) -> TrainConfig:
    dev = source.splits.get("dev")
    can = dev is not None and bool((dev.label >= 0).any())
    if config.select == "best" and not can:
        advice = "Add one, or give --select last."
        raise SpecError(f"--select best needs a labelled dev split, found none. {advice}", where=source.name)
    return replace(config, select=config.select or ("best" if can else "last"))


def _task(source: Source, train: Rows, notify: Notify) -> Classification:
    unlabelled = np.flatnonzero(train.label < 0)
    if len(unlabelled):
        row, count = train.row_id[unlabelled[0]], len(unlabelled)
        raise SpecError(
            f"train row {row} has no label ({count} have none). Training needs one a row.", where=source.name
        )
    if len(np.unique(train.label)) < 2:
        raise SpecError("expected at least two classes in the training rows, found one.", where=source.name)
    task = Classification(source.num_labels, source.label_names)
    without = sorted(set(range(task.num_labels)) - set(train.label.tolist()))
    if without:
        names = ", ".join(source.label_names[i] if source.label_names else str(i) for i in without[:8])
        notify(f"{source.name}: {len(without)} of {task.num_labels} classes have no training row: {names}")
    return task


def is_done(job: Job) -> bool:
    """Whether this very run is there already.

    Raises SpecError where the folder holds something else, FingerprintMismatch where it holds another run.
    """
    if not job.out.exists():
        return False
    found = sorted(p.name for p in job.out.iterdir()) if job.out.is_dir() else [job.out.name]
    if not found:
        return False
    before = read_json(job.out / "run.json") if (job.out / "run.json").is_file() else {}
    if before.get("format") != FORMAT:
        expected = f"expected a result folder or an empty one, found {', '.join(found[:3])}."
        raise SpecError(f"{expected} Choose another --out.", where=job.out)
    if job.config.overwrite:
        return False
    asked = json.loads(json.dumps(job.asked()))
    for key in sorted(set(asked) | set(before)):
        if asked.get(key) != before.get(key):
            raise FingerprintMismatch(
                f"this run was made with {key} = {before.get(key)}, now it is {asked.get(key)}. "
                "Choose another --out, or give --overwrite to lose what is there.",
                where=job.out,
            )
    return (job.out / "result.json").is_file()


def claim(job: Job) -> None:
    """Make the run's folder this run's; with ``--overwrite`` the run that ``is_done`` found there is lost."""
    if job.config.overwrite:
        forget(job.out)
    job.out.mkdir(parents=True, exist_ok=True)
    write_json(job.out / "run.json", job.asked())


def forget(out: Path) -> None:
    """Remove what a run consists of and nothing else, ``run.json`` last: what a kill leaves is still known as ours."""
    for pattern in OWN_FILES:
        for path in out.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
