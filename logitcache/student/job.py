"""What is asked of one training run, resolved against the data, and the folder it claims."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from logitcache import identity
from logitcache.data import source as sources
from logitcache.data.division import FEWEST
from logitcache.data.order import subset
from logitcache.data.source import UNLABELLED_SPLIT, Columns, Notify, Rows, Source
from logitcache.data.task import Classification, check_metric
from logitcache.data.tokenizer import tokenizer_fingerprint
from logitcache.errors import SpecError
from logitcache.store.remote import place
from logitcache.student.methods import METHODS, Objective, objective
from logitcache.student.model import commit_of, is_shape, parse_shape, student_tokenizer
from logitcache.student.trainer import FitSettings, check_report
from logitcache.teacher.model import quiet
from logitcache.teacher.panel import folds_of
from logitcache.workspace import Workspace

FORMAT = "logitcache-run/1"
MAX_FOLDS = 100  # one model is trained for each
NOT_OF_A_MODEL = {"run.json", "result.json", "predictions.parquet"}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that is asked of one training run."""

    method: str = "base"
    data: str = "docstrings"
    columns: Columns = Columns()
    unlabelled: str | None = None  # more rows, without labels: methods with a teacher learn from its answers alone
    data_seed: int = 0  # of presets that are drawn from a larger set (fewrel)
    student: str = "2x128"  # a checkpoint, or LAYERSxWIDTH
    revision: str | None = None  # of a hub checkpoint
    trust_remote_code: bool = False
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
    rows: int | None = None  # train on that many labelled rows only, the same for every method and seed
    without_fold: tuple[int, int] | None = None  # (k, K): leave out the rows of fold k of K
    precision: str = "fp32"
    select: str | None = None  # best or last; None: best where there is a dev split
    metric: str | None = None  # None: the data's own
    report_to: str = "none"
    checkpoint_steps: int | None = None  # steps after which a checkpoint is taken too; None: after each epoch alone
    group_by_length: bool = False  # rows of like length share a batch: less padding
    cache: Path | str | Sequence[Path | str] | None = None  # several: of labelled and unlabelled rows, or of teachers
    label_map: Mapping[str, str] | None = None  # the cache's class for classes of the data
    teachers: str | None = None  # mean: several caches of the same rows are averaged
    folds: int | None = None  # self-kd: so many first copies, each answering for rows it was not trained on
    out: Path | None = None
    workspace: Workspace = Workspace()
    overwrite: bool = False

    @property
    def caches(self) -> tuple[Path | str, ...]:
        """The folders, or URLs, of ``cache``."""
        if self.cache is None:
            return ()
        return tuple(map(place, [self.cache] if isinstance(self.cache, str | Path) else self.cache))


# Places, or said elsewhere in a result: not what makes two runs the same.
NOT_ASKED = {
    *("out", "workspace", "overwrite", "cache", "data", "columns", "data_seed"),
    *("trust_remote_code", "tau_squared", "report_to", "checkpoint_steps"),
}


@dataclass(frozen=True)
class Job:
    """A run made ready."""

    config: TrainConfig
    source: Source
    task: Classification
    objective: Objective
    train: Rows  # row_id as the student's teacher numbers it: unlabelled rows behind those of the train split
    out: Path
    tokenizer: Any  # the named one, the checkpoint's own, or the one learnt from the rows
    reads: Mapping[str, Any]  # what the tokenizer does, and the length that it cuts rows to
    cache_fingerprint: str | None = None  # None without a teacher, and until a Self-KD has made its cache

    @property
    def self_taught(self) -> bool:
        """Whether the run makes its teacher's answers itself."""
        return self.objective.method == "self-kd" and not self.config.caches

    @property
    def max_length(self) -> int:
        """The longest row that the tokenizer gives, in tokens."""
        return int(self.reads["max_length"])

    def unlabelled(self) -> Rows | None:
        """The rows of the ``unlabelled`` split, if the method learns from them."""
        taught = METHODS[self.objective.method].needs_teacher
        return self.source.splits.get(UNLABELLED_SPLIT) if taught else None

    def starts(self) -> dict[str, int]:
        """The parts of the training set, and the row_id each begins with."""
        parts = {"train": 0}
        return parts if self.unlabelled() is None else {**parts, UNLABELLED_SPLIT: len(self.source.table("train"))}

    def asked(self) -> dict[str, Any]:
        """The run's settings as its result records them: names and numbers, no places."""
        values = {f.name: getattr(self.config, f.name) for f in fields(self.config) if f.name not in NOT_ASKED}
        if not self.config.label_map:
            del values["label_map"]
        student, unlabelled = self.config.student, self.unlabelled()
        return {
            **values,
            **asdict(self.objective),
            "format": FORMAT,
            "student": student if is_shape(student) else _checkpoint(student),
            "tokenizer": None if self.config.tokenizer is None else _checkpoint(self.config.tokenizer),
            "tokenizer_fingerprint": self.reads,
            "data": self.source.digest(),
            "division": None if self.source.division is None else self.source.division.to_dict(),
            "label_names": self.task.label_names,
            "unlabelled": None if unlabelled is None else unlabelled.digest(),
            "cache": self.cache_fingerprint,
        }


def _checkpoint(path: str) -> str:
    """What a checkpoint is called in a result: a hub name as it is, a folder by its name and a digest of its files.

    Two folders of one name, or one folder before and after a training, are two checkpoints.
    """
    folder = Path(path)
    if not folder.is_dir():
        return path
    files = [p for p in sorted(folder.iterdir()) if p.is_file() and p.name not in NOT_OF_A_MODEL]
    files = [p for p in files if not p.name.startswith(".")]  # such as the lock of whoever looks at it
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
    fit_settings(config).share()  # among the ranks
    if config.precision == "fp16" and not torch.cuda.is_available():
        raise SpecError("--precision fp16 needs a GPU, found none. Give bf16 or fp32.")
    _check_teaching(config)
    source = source or load(config, notify)
    config = replace(config, metric=config.metric or source.metric)
    _say_held_out(source, notify)
    train = _rows_seen(config, source, notify)
    if config.folds is not None:
        check_folds(train, source, config.folds)
    task = _task(source, train, notify)
    check_metric(config.metric or "", task.num_labels)
    out = config.out or config.workspace.run(source.name, config.method, config.seed)
    config = _with_selection(config, source)
    tokenizer = _tokenizer(config, source, notify)
    config = replace(config, revision=commit_of(config.student, config.revision))
    return Job(config, source, task, goal, train, out, tokenizer, _reads(tokenizer, config))


def fit_settings(config: TrainConfig) -> FitSettings:
    """The optimiser's side of what was asked."""
    return FitSettings(**{field.name: getattr(config, field.name) for field in fields(FitSettings)})


def _tokenizer(config: TrainConfig, source: Source, notify: Notify) -> Any:
    return student_tokenizer(
        config.student,
        config.tokenizer,
        source.split("train"),
        config.vocabulary,
        config.max_length,
        config.workspace.tokenizers,
        revision=config.revision,
        trust_remote_code=config.trust_remote_code,
        notify=notify,
    )


def _reads(tokenizer: Any, config: TrainConfig) -> dict[str, Any]:
    with quiet():
        parts = tokenizer_fingerprint(tokenizer)
    return {**parts, "max_length": int(min(config.max_length, tokenizer.model_max_length))}


def load(config: TrainConfig, notify: Notify) -> Source:
    """The data that a run names."""
    return sources.load(
        config.data,
        config.columns,
        config.workspace.data,
        notify,
        unlabelled=config.unlabelled,
        seed=config.data_seed,
    )


def _check_teaching(config: TrainConfig) -> None:
    """Refuse what only a method with a teacher has a use for."""
    taught = METHODS[config.method].needs_teacher
    if config.caches and not taught:
        raise SpecError(f"--cache: {config.method} has no teacher. Leave it out, or choose kd.")
    if config.label_map and not (config.caches or config.method == "kd"):
        raise SpecError(f"--label-map: {config.method} reads no cache. Leave it out, or choose kd.")
    if config.teachers is not None and (config.teachers != "mean" or len(config.caches) < 2):
        raise SpecError("--teachers: expected mean, and several caches to average (--cache A --cache B).")
    if config.folds is not None and (config.method != "self-kd" or config.caches or config.folds < 2):
        raise SpecError(
            "--folds: expected self-kd without --cache, and 2 folds or more. For kd, give --folds to `logitcache dump`."
        )
    if config.without_fold is not None and not 0 <= config.without_fold[0] < config.without_fold[1]:
        fold, folds = config.without_fold
        raise SpecError(f"without_fold: expected (k, K) with k from 0 to K - 1, found ({fold}, {folds}).")


def check_folds(rows: Rows, source: Source, folds: int) -> None:
    """Whoever is trained without one fold must still be trained on every class that there is. Raises SpecError."""
    if not 2 <= folds <= MAX_FOLDS:
        raise SpecError(f"--folds: expected from 2 to {MAX_FOLDS}, found {folds}.")
    fold, labels = folds_of(rows.row_hash, folds), rows.label
    for label in np.unique(labels[labels >= 0]):
        counts = np.bincount(fold[labels == label], minlength=folds)
        if counts.max() == counts.sum():
            name = source.label_names[label] if source.label_names else str(label)
            raise SpecError(
                f"--folds {folds}: expected rows of every class outside each fold, found all {counts.sum()} of "
                f"{name!r} in fold {int(counts.argmax())}: its teacher would never see that class. Give more rows of "
                "it, or another number of folds.",
                where=source.name,
            )


def _say_held_out(source: Source, notify: Notify) -> None:
    """Say what the scores of a run cannot speak of: rows that are trained on, or texts that stand in train too."""
    if source.division is not None and not source.division.held_out:
        notify(
            f"{source.name}: no labelled rows are given to score on, and there are too few to hold any out (fewer than "
            f"two classes with {FEWEST} rows): scores are of training rows and cannot speak of quality"
        )
    for split, shared in source.shared().items():
        notify(
            f"{source.name}: {shared.rows:,} of {shared.of:,} {split} texts also stand in train (first: {split} row "
            f"{shared.first}): their score is no test"
        )


def _rows_seen(config: TrainConfig, source: Source, notify: Notify) -> Rows:
    """The rows a method is trained on: labelled ones, and where a teacher answers for them, those without a label."""
    whole = source.split("train")
    bare, labelled = np.flatnonzero(whole.label < 0), np.flatnonzero(whole.label >= 0)
    if not len(labelled):
        message = "expected labelled training rows, found none with a label."
        if source.unread:
            columns = ", ".join(source.unread)
            message = f"{message} Columns not read: {columns}. Name the one that holds the labels with --label."
        raise SpecError(message, where=source.name)
    if config.rows is not None:
        labelled = labelled[subset(len(labelled), config.rows)]
    if config.without_fold is not None:
        fold, folds = config.without_fold
        labelled = labelled[folds_of(whole.row_hash[labelled], folds) != fold]
    more = source.splits.get(UNLABELLED_SPLIT)
    count = len(bare) + (0 if more is None else len(more))
    if not METHODS[config.method].needs_teacher:
        if count:
            notify(f"{source.name}: {count:,} unlabelled rows are left out: {config.method} learns from labels alone")
        return whole if len(labelled) == len(whole) else whole.select(labelled)
    if count:
        notify(f"{source.name}: {count:,} unlabelled rows beside {len(labelled):,} labelled ones (alpha = 1 for them)")
    places = np.sort(np.concatenate([labelled, bare]))
    rows = whole if len(places) == len(whole) else whole.select(places)
    return rows if more is None else rows.followed_by(more, len(source.table("train")))


def _check_numbers(config: TrainConfig) -> None:
    if not 0 <= config.seed < 2**32:
        raise SpecError(f"--seed: expected a number from 0 to 4294967295, found {config.seed}.")
    for flag, value in (("--epochs", config.epochs), ("--learning-rate", config.learning_rate)):
        if value is not None and not 0 < value < math.inf:
            raise SpecError(f"{flag}: expected a positive number, found {value}.")
    if config.checkpoint_steps is not None and config.checkpoint_steps < 1:
        raise SpecError(f"--checkpoint-steps: expected a number of steps from 1, found {config.checkpoint_steps}.")
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
    if len(np.unique(train.label[train.label >= 0])) < 2:
        raise SpecError("expected at least two classes in the training rows, found one.", where=source.name)
    task = Classification(source.num_labels, source.label_names)
    without = sorted(set(range(task.num_labels)) - set(train.label.tolist()))
    if without:
        names = ", ".join(source.label_names[i] if source.label_names else str(i) for i in without[:8])
        notify(f"{source.name}: {len(without)} of {task.num_labels} classes have no training row: {names}")
    return task
