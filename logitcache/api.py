"""The commands as functions, with the commands' own options: ``logitcache.dump``, ``train`` and ``compare``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from logitcache.data import source as sources
from logitcache.data.source import Columns, Data, Source
from logitcache.errors import SpecError
from logitcache.pipeline import dump as dumping
from logitcache.pipeline import train as training
from logitcache.pipeline.finetune import Finetune, TeacherSpec
from logitcache.report.plots import dots
from logitcache.student.job import TrainConfig
from logitcache.student.run import OnStep
from logitcache.study import tables
from logitcache.study.tables import RESAMPLES, Comparison
from logitcache.teacher.dump import DumpSettings
from logitcache.teacher.panel import Progress
from logitcache.teacher.report import DumpReport
from logitcache.workspace import DEFAULT, Workspace

Place = str | os.PathLike[str]
_PARAMETERS = {"method", "data", "columns", "unlabelled", "data_seed", "out", "workspace"}  # of train, by themselves
SETTINGS = {field.name for field in fields(TrainConfig)} - _PARAMETERS
# What the command line refuses while it reads its options, a function has to refuse by itself.
CHOICES = {
    "finetune": ("auto", "always", "never"),
    "dtype": ("float32", "bfloat16", "float16"),
    "codec": ("float16", "float32"),
    "method": ("base", "ls", "tf-reg", "self-kd", "kd"),
    "init": ("pretrained", "random"),
    "teachers": ("mean",),
    "precision": ("fp32", "bf16", "fp16"),
    "select": ("best", "last"),
}
LEAST: dict[str, int | None] = {  # whole numbers
    **dict.fromkeys(("seed", "data_seed", "finetune_seed")),
    **dict.fromkeys(("batch_size", "finetune_batch_size", "accumulate", "batch_tokens", "shard_rows"), 1),
    **dict.fromkeys(("folds", "max_length", "rows"), 2),
    "vocabulary": 100,
}
NUMBERS = {
    *("alpha", "a", "temperature", "epochs", "learning_rate", "weight_decay", "warmup"),
    *("finetune_epochs", "finetune_learning_rate"),
}


def say(message: str) -> None:
    """A note on stderr: where notes go unless ``notify`` says otherwise."""
    print(message, file=sys.stderr)


def load(
    data: Data = "docstrings",
    *,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    labels: Sequence[str] | None = None,
    unlabelled: Data | None = None,
    data_seed: int = 0,
    workspace: Place = DEFAULT,
    name: str | None = None,
    notify: Callable[[str], None] = say,
) -> Source:
    """The rows that ``--data`` (and ``--unlabelled``) name, with their splits, labels and identities.

    Or rows in memory: columns (``{"text": [...], "label": [...]}``), a pandas DataFrame, an arrow Table or a
    ``datasets.Dataset``, or such by split (``{"train": ..., "dev": ..., "unlabelled": ...}``, a ``DatasetDict``); one
    without splits is divided as a file is. ``name`` is what the source is called: in default places, and in results.
    Raises SpecError for whatever cannot be read as asked.
    """
    columns, folder = _columns(text, text_pair, label, labels), Workspace(Path(workspace)).data
    return sources.load(data, columns, folder, notify, unlabelled=unlabelled, seed=data_seed, name=name)


def dump(
    teacher: Place,
    data: Data | Source = "docstrings",
    *,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    labels: Sequence[str] | None = None,
    unlabelled: Data | None = None,
    data_seed: int = 0,
    split: str = "train",
    out: Place | None = None,
    workspace: Place = DEFAULT,
    revision: str | None = None,
    trust_remote_code: bool = False,
    finetune: str = "auto",
    finetune_epochs: float = 3.0,
    finetune_learning_rate: float | None = None,
    finetune_batch_size: int = 32,
    finetune_seed: int = 0,
    folds: int | None = None,
    reuse: Place | None = None,
    dtype: str = "float32",
    codec: str = "float16",
    max_length: int = 128,
    batch_tokens: int = 4096,
    shard_rows: int | None = None,
    device: str | None = None,
    overwrite: bool = False,
    notify: Callable[[str], None] = say,
    begin: Callable[[int], Progress] = lambda rows: lambda rows, tokens: None,
    on_step: OnStep = lambda step, of: None,
) -> DumpReport:
    """Ask a teacher about every row of one split, once, and store what it says: ``logitcache dump``.

    ``data`` is what :func:`load` takes, or what it gave. ``begin`` is told how many rows a cache will have and gives
    what takes (rows, tokens) just done; ``on_step`` gets the steps (done, in all) of a fine-tuning. Raises the kinds of
    :class:`LogitCacheError` that the command ends with.
    """
    _check(finetune=finetune, finetune_epochs=finetune_epochs, finetune_learning_rate=finetune_learning_rate)
    _check(finetune_batch_size=finetune_batch_size, finetune_seed=finetune_seed, folds=folds, data_seed=data_seed)
    _check(dtype=dtype, codec=codec, max_length=max_length, batch_tokens=batch_tokens, shard_rows=shard_rows)
    columns = _columns(text, text_pair, label, labels)
    rows, more, source = _rows(data, columns, unlabelled, data_seed, workspace, notify)
    config = dumping.DumpConfig(
        teacher=TeacherSpec(os.fspath(teacher), dtype, device, revision, trust_remote_code),
        data=rows,
        columns=columns,
        unlabelled=more,
        data_seed=data_seed,
        split=split,
        out=None if out is None else Path(out),
        finetune=Finetune(finetune, finetune_epochs, finetune_learning_rate, finetune_batch_size, finetune_seed, folds),
        reuse=None if reuse is None else Path(reuse),
        settings=DumpSettings(max_length, batch_tokens, codec, shard_rows),
        workspace=Workspace(Path(workspace)),
        overwrite=overwrite,
    )
    return dumping.dump(config, source=source, notify=notify, begin=begin, on_step=on_step)


def train(
    method: str,
    data: Data | Source = "docstrings",
    *,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    labels: Sequence[str] | None = None,
    unlabelled: Data | None = None,
    data_seed: int = 0,
    out: Place | None = None,
    workspace: Place = DEFAULT,
    notify: Callable[[str], None] = say,
    on_step: OnStep = lambda step, of: None,
    **settings: Any,
) -> Path:
    """Train one student and return its result folder: ``logitcache train``.

    ``data`` is what :func:`load` takes, or what it gave. ``settings`` are the other fields of :class:`TrainConfig`,
    named as the command's options: ``student``, ``seed``, ``alpha``, ``epochs``, ``cache``, ... Raises the kinds of
    :class:`LogitCacheError` that the command ends with.
    """
    unknown = sorted(set(settings) - SETTINGS)
    if unknown:
        found = ", ".join(unknown)
        raise SpecError(f"train: expected settings among {', '.join(sorted(SETTINGS))}, found {found}. Correct them.")
    _check(method=method, data_seed=data_seed, **settings)
    columns = _columns(text, text_pair, label, labels)
    rows, more, source = _rows(data, columns, unlabelled, data_seed, workspace, notify)
    config = TrainConfig(
        method=method,
        data=rows,
        columns=columns,
        unlabelled=more,
        data_seed=data_seed,
        out=None if out is None else Path(out),
        workspace=Workspace(Path(workspace)),
    )
    named = {key: _name(value) if key in ("student", "tokenizer") else value for key, value in settings.items()}
    return training.train(replace(config, **named), source=source, notify=notify, on_step=on_step)


def compare(
    *results: Place,
    metric: str | None = None,
    split: str | None = None,
    baseline: str = "base",
    bootstrap: int = RESAMPLES,
    plot: Place | None = None,
) -> Comparison:
    """Set result folders (or folders of such) side by side: ``logitcache compare``. ``comparison.verdict`` is the one
    sentence it ends with, ``plot`` a picture's file (png or svg).

    Raises SpecError for what is no result folder, or a metric, split or baseline that they do not have.
    """
    folders = [Path(result) for result in results]
    comparison = tables.compare(folders, metric=metric, split=split, baseline=baseline, resamples=bootstrap)
    if plot is not None:
        dots(comparison, Path(plot))
    return comparison


def _check(**given: Any) -> None:
    """Raises SpecError for a value that the option of that name would not take. None is a default."""
    for name, value in given.items():
        if value is None:
            continue
        least = LEAST.get(name)
        if name in CHOICES and value not in CHOICES[name]:
            expected = " or ".join(CHOICES[name])
        elif name in LEAST and (type(value) is not int or (least is not None and value < least)):
            expected = "a whole number" if least is None else f"a whole number from {least}"
        elif name in NUMBERS and type(value) not in (int, float):
            expected = "a number"
        else:
            continue
        raise SpecError(f"{name}: expected {expected}, found {value!r}. Correct it.")


def _rows(
    data: Data | Source,
    columns: Columns,
    unlabelled: Data | None,
    data_seed: int,
    workspace: Place,
    notify: Callable[[str], None],
) -> tuple[str, str | None, Source | None]:
    """What data and unlabelled rows are called, and the source, where rows are here already: names are looked up later,
    when the rest of what is asked has been found to be good.
    """
    if isinstance(data, Source):
        if columns != Columns() or unlabelled is not None or data_seed:
            raise SpecError(
                "expected a Source alone, found columns, labels, unlabelled or data_seed beside it. Give them to "
                "logitcache.load.",
                where=data.name,
            )
        return data.name, None, data
    if isinstance(data, str | os.PathLike) and isinstance(unlabelled, str | os.PathLike | None):
        return os.fspath(data), None if unlabelled is None else os.fspath(unlabelled), None
    folder = Workspace(Path(workspace)).data
    source = sources.load(data, columns, folder, notify, unlabelled=unlabelled, seed=data_seed)
    return source.name, None, source


def _name(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _columns(text: str | None, text_pair: str | None, label: str | None, labels: Sequence[str] | None) -> Columns:
    if isinstance(labels, str):  # as the command line writes them
        labels = [name.strip() for name in labels.split(",")]
    return Columns(text, text_pair, label, None if labels is None else tuple(labels))
