"""The commands as functions, with the commands' own options: ``logitcache.dump``, ``train`` and ``compare``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from inspect import signature
from pathlib import Path
from typing import Any

from logitcache.cache import Cache
from logitcache.data import source as sources
from logitcache.data.memory import UNNAMED
from logitcache.data.names import parse_names
from logitcache.data.source import Columns, Data, Source
from logitcache.errors import FingerprintMismatch, SpecError, visible
from logitcache.pipeline import dump as dumping
from logitcache.pipeline import train as training
from logitcache.pipeline.again import rows_of
from logitcache.pipeline.checks import part_of, path_of, plain, unexpected
from logitcache.pipeline.finetune import Finetune, TeacherSpec
from logitcache.report.plots import dots
from logitcache.store.manifest import Plan
from logitcache.student.job import TrainConfig
from logitcache.student.run import OnStep
from logitcache.study import tables
from logitcache.study.tables import RESAMPLES, Comparison
from logitcache.teacher import repair as mending
from logitcache.teacher.diff import Difference, difference
from logitcache.teacher.live import Live, live
from logitcache.teacher.panel import Progress
from logitcache.teacher.plan import DumpSettings, Planned, Said, planned, recorded_map, task_of
from logitcache.teacher.repair import RepairReport
from logitcache.teacher.report import DumpReport
from logitcache.workspace import DEFAULT, Workspace, here

Place = str | os.PathLike[str]
_PARAMETERS = {"method", "data", "columns", "unlabelled", "data_seed", "out", "workspace"}  # of train, by themselves
_PARAMETERS |= {"without_fold"}  # of folds: what their teachers are trained on
SETTINGS = {field.name for field in fields(TrainConfig)} - _PARAMETERS
# Options of dump that do not decide who is asked.
_OF_A_CACHE = {"split", "out", "reuse", "codec", "batch_tokens", "shard_rows", "on_nonfinite", "format", "overwrite"}
_OF_A_CACHE |= {"label_map"}


def say(message: str) -> None:
    """A note on stderr: where notes go unless ``notify`` says otherwise."""
    print("\n".join(map(visible, message.split("\n"))), file=sys.stderr)


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
    given = plain(locals())
    if name is not None and (not name.strip(".") or {*name} & {"/", "\\"}):  # it becomes a part of folders' names
        raise SpecError(f"name: expected a name without separators, found {name!r}. Correct it.")
    columns, folder = _columns(given), Workspace(given["workspace"]).data
    return sources.load(data, columns, folder, notify, unlabelled=unlabelled, seed=given["data_seed"], name=name)


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
    label_map: Mapping[str, str] | str | None = None,
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
    on_nonfinite: str = "stop",
    format: str = "arrow",
    device: str | None = None,
    part: str | tuple[int, int] | None = None,
    overwrite: bool = False,
    notify: Callable[[str], None] = say,
    begin: Callable[[int], Progress] = lambda rows: lambda rows, tokens: None,
    on_step: OnStep = lambda step, of: None,
) -> DumpReport:
    """Ask a teacher about every row of one split, once, and store what it says: ``logitcache dump``.

    ``data`` is what :func:`load` takes, or what it gave. ``label_map`` names the teacher's class for classes of the
    data. ``begin`` is told how many rows a cache will have and gives
    what takes (rows, tokens) just done; ``on_step`` gets the steps (done, in all) of a fine-tuning. Raises the kinds of
    :class:`LogitCacheError` that the command ends with.
    """
    given = plain(locals())
    config, source = _teaching(**{name: given[name] for name in signature(_teaching).parameters})
    config = replace(
        config,
        split=split,
        out=given["out"],
        label_map=given["label_map"],
        reuse=given["reuse"],
        settings=DumpSettings(
            given["max_length"], given["batch_tokens"], codec, given["shard_rows"], on_nonfinite, format
        ),
        overwrite=overwrite,
        part=part_of(part),
    )
    with _told_of_names(source, config.workspace):
        return dumping.dump(config, source=source, notify=notify, begin=begin, on_step=on_step)


def ready_to_dump(
    *,
    max_length: int,
    notify: Callable[[str], None] = say,
    on_step: OnStep = lambda step, of: None,
    **options: Any,
) -> None:
    """Train (or find) the teacher that :func:`dump` would ask with these options, before several parts need it."""
    given = {name: value for name, value in options.items() if name not in _OF_A_CACHE}
    config, source = _teaching(**given, notify=notify)
    config = replace(config, settings=DumpSettings(max_length))
    dumping.asked_teacher(config, source or dumping.load(config, notify), notify, on_step)


def repair(
    cache: Place,
    teacher: Place | None = None,
    data: Data | Source | None = None,
    *,
    notify: Callable[[str], None] = say,
    begin: Callable[[int], Progress] = lambda rows: lambda rows, tokens: None,
    on_step: OnStep = lambda step, of: None,
    **options: Any,
) -> RepairReport:
    """Make the broken shards of a cache again, and only those: ``logitcache repair``.

    ``teacher``, ``data`` and ``options`` are those of :func:`dump` that say who was asked about which rows; by default
    what the cache names. They are only used where a shard is broken. Raises FingerprintMismatch where they are others.
    """

    def ask(plan: Plan) -> Planned:
        again = _asked_again(teacher, data, plan, notify=notify, on_step=on_step, **options)
        again.check_same(plan)
        return again

    advice = "a cache is mended here. Repair it where it was dumped, and copy it there again"
    return mending.repair(here(cache, advice) if isinstance(cache, str) else Path(cache), ask, notify, begin)


def verify_live(
    cache: Place,
    rows: int,
    teacher: Place | None = None,
    data: Data | Source | None = None,
    *,
    seed: int = 0,
    notify: Callable[[str], None] = say,
    on_step: OnStep = lambda step, of: None,
    **options: Any,
) -> Live:
    """Ask the teacher about some rows of a cache again, drawn by ``seed``: ``logitcache verify --live``.

    ``teacher``, ``data`` and ``options`` as for :func:`repair`. Raises FingerprintMismatch where they are not those the
    cache was made with.
    """
    opened = Cache.open(cache)
    plan = opened.manifest.plan
    asked = _asked_again(teacher, data, plan, notify=notify, on_step=on_step, **options)
    asked.check_same(plan, padding=False)  # rows asked alone tell whether its batches were made as they should be
    return live(opened, asked, rows, seed)


def diff(one: Place, other: Place) -> Difference:
    """How far two caches of the same rows differ: ``logitcache diff``. Raises FingerprintMismatch where their labels
    or texts are not the same, SpecError where no row has an answer in both.
    """
    return difference(Cache.open(one), Cache.open(other))


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

    ``data`` is what :func:`load` takes, or what it gave. ``settings`` are the command's other options by their names:
    ``student``, ``seed``, ``alpha``, ``epochs``, ... ``cache`` is a folder, a URL or a :class:`Cache`, or several.
    Raises the kinds of :class:`LogitCacheError` that the command ends with.
    """
    unknown = sorted(set(settings) - SETTINGS)
    if unknown:
        found = ", ".join(unknown)
        raise SpecError(f"train: expected settings among {', '.join(sorted(SETTINGS))}, found {found}. Correct them.")
    given = plain({**locals(), **settings})
    columns, work = _columns(given), Workspace(given["workspace"])
    rows, more, source = _rows(data, columns, unlabelled, given["data_seed"], work, notify)
    config = TrainConfig(
        method=method,
        data=rows,
        columns=columns,
        unlabelled=more,
        data_seed=given["data_seed"],
        out=given["out"],
        workspace=work,
    )
    with _told_of_names(source, work):
        asked = replace(config, **{name: given[name] for name in settings})
        return training.train(asked, source=source, notify=notify, on_step=on_step)


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
    given = plain({"metric": metric, "baseline": baseline, "bootstrap": bootstrap, "plot": plot})
    if split is not None:
        given |= plain({"split": split})
    if not results:
        raise SpecError("compare: expected result folders, found none. Give what train returned, or a folder of such.")
    folders = [path_of("results", result) for result in results]
    comparison = tables.compare(folders, metric=metric, split=split, baseline=baseline, resamples=given["bootstrap"])
    if plot is not None:
        dots(comparison, given["plot"])
    return comparison


def _asked_again(
    teacher: Place | None,
    data: Data | Source | None,
    plan: Plan,
    *,
    notify: Callable[[str], None],
    on_step: OnStep,
    **options: Any,
) -> Planned:
    """Whoever answered for the rows of a cache, and those rows: named here, or as the cache's plan names them."""
    said = Said.of(plan)
    who, rows = said.teacher if teacher is None else teacher, said.source if data is None else data
    config, source = _teaching(who, rows, **options, dtype=said.dtype, notify=notify)
    config = replace(config, split=said.split, settings=said.settings)
    if source is None:
        source = rows_of(said, config, notify) if data is None else dumping.load(config, notify)
    panel = dumping.asked_teacher(config, source, notify, on_step)
    label_map = recorded_map(plan, panel.first.label_names, task_of(source, panel.first.label_names))
    return planned(panel, source, said.split, said.settings, label_map)


def _teaching(
    teacher: Place,
    data: Data | Source,
    *,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    labels: Sequence[str] | None = None,
    unlabelled: Data | None = None,
    data_seed: int = 0,
    workspace: Place = DEFAULT,
    revision: str | None = None,
    trust_remote_code: bool = False,
    finetune: str = "auto",
    finetune_epochs: float = 3.0,
    finetune_learning_rate: float | None = None,
    finetune_batch_size: int = 32,
    finetune_seed: int = 0,
    folds: int | None = None,
    dtype: str = "float32",
    device: str | None = None,
    notify: Callable[[str], None] = say,
) -> tuple[dumping.DumpConfig, Source | None]:
    """Who is asked about which rows; the rows too, where they are here already. Raises SpecError."""
    given = plain(locals())
    columns, work = _columns(given), Workspace(given["workspace"])
    rows, more, source = _rows(data, columns, unlabelled, given["data_seed"], work, notify)
    training = ("finetune_epochs", "finetune_learning_rate", "finetune_batch_size", "finetune_seed", "folds")
    config = dumping.DumpConfig(
        teacher=TeacherSpec(given["teacher"], dtype, device, revision, trust_remote_code),
        data=rows,
        columns=columns,
        unlabelled=more,
        data_seed=given["data_seed"],
        finetune=Finetune(finetune, *(given[name] for name in training)),
        workspace=work,
    )
    return config, source


@contextmanager
def _told_of_names(source: Source | None, workspace: Workspace) -> Iterator[None]:
    """Two sets in memory may meet in one place, for nobody named them: where that goes wrong, how to name them."""
    try:
        yield
    except FingerprintMismatch as error:
        if source is not None and source.name == UNNAMED and Path(error.where or "").is_relative_to(workspace.folder):
            error.message += f" Rows in memory are all called {UNNAMED}: name these with load(..., name=...)."
        raise


def _rows(
    data: Data | Source,
    columns: Columns,
    unlabelled: Data | None,
    data_seed: int,
    workspace: Workspace,
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
    source = sources.load(data, columns, workspace.data, notify, unlabelled=unlabelled, seed=data_seed)
    return source.name, None, source


def _columns(given: Mapping[str, Any]) -> Columns:
    labels = given["labels"]
    if isinstance(labels, str):  # as the command line writes them
        labels = parse_names(labels)
    names = tuple(labels) if isinstance(labels, Iterable) else None
    if labels is not None and (names is None or not all(isinstance(name, str) for name in names)):
        raise unexpected("labels", "names, in label order", labels)
    return Columns(given["text"], given["text_pair"], given["label"], names)
