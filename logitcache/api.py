"""The commands as functions, with the commands' own options: ``logitcache.dump``, ``train`` and ``compare``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from os import PathLike
from pathlib import Path
from typing import Any

from logitcache.data import source as sources
from logitcache.data.source import Columns, Source
from logitcache.errors import SpecError
from logitcache.pipeline import dump as dumping
from logitcache.pipeline import train as training
from logitcache.pipeline.finetune import Finetune, TeacherSpec
from logitcache.student.job import TrainConfig
from logitcache.student.run import OnStep
from logitcache.study import tables
from logitcache.study.tables import RESAMPLES, Comparison
from logitcache.teacher.dump import DumpSettings
from logitcache.teacher.panel import Progress
from logitcache.teacher.report import DumpReport
from logitcache.workspace import DEFAULT, Workspace

Place = str | PathLike[str]


def say(message: str) -> None:
    """A note on stderr: where notes go unless ``notify`` says otherwise."""
    print(message, file=sys.stderr)


def load(
    data: str = "docstrings",
    *,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    labels: Sequence[str] | None = None,
    unlabelled: str | None = None,
    data_seed: int = 0,
    workspace: Place = DEFAULT,
    notify: Callable[[str], None] = say,
) -> Source:
    """The rows that ``--data`` (and ``--unlabelled``) name, with their splits, labels and identities. Raises SpecError
    for whatever cannot be read as asked.
    """
    columns, folder = _columns(text, text_pair, label, labels), Workspace(Path(workspace)).data
    return sources.load(data, columns, folder, notify, unlabelled=unlabelled, seed=data_seed)


def dump(
    teacher: str,
    data: str | Source = "docstrings",
    *,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    labels: Sequence[str] | None = None,
    unlabelled: str | None = None,
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

    ``data`` is what ``--data`` takes, or a :class:`Source`. ``begin`` is told how many rows a cache will have and gives
    what takes (rows, tokens) just done; ``on_step`` gets the steps (done, in all) of a fine-tuning. Raises the kinds of
    :class:`LogitCacheError` that the command ends with.
    """
    config = dumping.DumpConfig(
        teacher=TeacherSpec(teacher, dtype, device, revision, trust_remote_code),
        data=data if isinstance(data, str) else data.name,
        columns=_columns(text, text_pair, label, labels),
        unlabelled=unlabelled,
        data_seed=data_seed,
        split=split,
        out=None if out is None else Path(out),
        finetune=Finetune(finetune, finetune_epochs, finetune_learning_rate, finetune_batch_size, finetune_seed, folds),
        reuse=None if reuse is None else Path(reuse),
        settings=DumpSettings(max_length, batch_tokens, codec, shard_rows),
        workspace=Workspace(Path(workspace)),
        overwrite=overwrite,
    )
    source = None if isinstance(data, str) else data
    return dumping.dump(config, source=source, notify=notify, begin=begin, on_step=on_step)


def train(
    method: str,
    data: str | Source = "docstrings",
    *,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    labels: Sequence[str] | None = None,
    out: Place | None = None,
    workspace: Place = DEFAULT,
    notify: Callable[[str], None] = say,
    on_step: OnStep = lambda step, of: None,
    **settings: Any,
) -> Path:
    """Train one student and return its result folder: ``logitcache train``.

    ``settings`` are the other fields of :class:`TrainConfig`, named as the command's options: ``student``, ``seed``,
    ``alpha``, ``epochs``, ``cache``, ... Raises the kinds of :class:`LogitCacheError` that the command ends with.
    """
    known = {field.name for field in fields(TrainConfig)} - {"method", "data", "columns", "workspace", "out"}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise SpecError(f"train: expected settings among {', '.join(sorted(known))}, found {', '.join(unknown)}.")
    config = TrainConfig(
        method=method,
        data=data if isinstance(data, str) else data.name,
        columns=_columns(text, text_pair, label, labels),
        out=None if out is None else Path(out),
        workspace=Workspace(Path(workspace)),
    )
    source = None if isinstance(data, str) else data
    return training.train(replace(config, **settings), source=source, notify=notify, on_step=on_step)


def compare(
    *results: Place,
    metric: str | None = None,
    split: str | None = None,
    baseline: str = "base",
    bootstrap: int = RESAMPLES,
) -> Comparison:
    """Set result folders (or folders of such) side by side: ``logitcache compare``. ``comparison.verdict`` is the one
    sentence it ends with.
    """
    folders = [Path(result) for result in results]
    return tables.compare(folders, metric=metric, split=split, baseline=baseline, resamples=bootstrap)


def _columns(text: str | None, text_pair: str | None, label: str | None, labels: Sequence[str] | None) -> Columns:
    if isinstance(labels, str):  # as the command line writes them
        labels = [name.strip() for name in labels.split(",")]
    return Columns(text, text_pair, label, None if labels is None else tuple(labels))
