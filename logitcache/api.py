"""The commands as functions, with the commands' own options: ``logitcache.dump``, ``train`` and ``compare``.

Every option is declared in ``logitcache.config``; the signatures here are made from the declarations
(``config/signatures.py``), so editors complete them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from logitcache.cache.cache import Cache
from logitcache.cache.diff import Difference, difference
from logitcache.config.data import LANGUAGE, Columns, RowsConfig
from logitcache.config.dump import AgainConfig, DumpConfig
from logitcache.config.option import build, local_path
from logitcache.config.report import CompareConfig
from logitcache.config.signatures import AgainOptions, CompareOptions, DumpOptions, RowsOptions, TrainOptions
from logitcache.config.train import TrainConfig
from logitcache.config.workspace import Workspace
from logitcache.data import source as sources
from logitcache.data.source import Data, Source
from logitcache.data.sources.memory import UNNAMED
from logitcache.errors import FingerprintMismatch, SpecError, short
from logitcache.report.plots import dots
from logitcache.reporter import NOTES, Notes, Reporter
from logitcache.stages import dump as dumping
from logitcache.stages.rows import load as load_rows
from logitcache.store.manifest import Plan
from logitcache.study import tables
from logitcache.study.tables import Comparison
from logitcache.teacher import repair as mending
from logitcache.teacher.asked import Asked, task_of
from logitcache.teacher.repair import RepairReport
from logitcache.teacher.report import DumpReport

if TYPE_CHECKING:
    from logitcache.teacher.live import Live

Place = str | os.PathLike[str]
MENDED_HERE = "a cache is mended here. Repair it where it was dumped, and copy it there again"


def load(
    data: Data = "docstrings",
    *,
    unlabelled: Data | None = None,
    name: str | None = None,
    reporter: Reporter = NOTES,
    notify: Callable[[str], object] | None = None,
    **options: Unpack[RowsOptions],
) -> Source:
    """The rows that ``--data`` (and ``--unlabelled``) name, with their splits, labels and identities.

    Or rows in memory: columns (``{"text": [...], "label": [...]}``), a pandas DataFrame, an arrow Table or a
    ``datasets.Dataset``, or such by split (``{"train": ..., "dev": ..., "unlabelled": ...}``, a ``DatasetDict``); one
    without splits is divided as a file is. ``name`` is what the source is called: in default places, and in results.
    Raises SpecError for whatever cannot be read as asked.
    """
    if name is not None and (not isinstance(name, str) or not name.strip(".") or {*name} & {"/", "\\"}):
        # it becomes a part of folders' names
        raise SpecError(f"name: expected a name without separators, found {name!r}. Correct it.")
    reporter = _listener(reporter, notify)
    config = build(RowsConfig, options)
    return sources.load(
        data,
        config.columns,
        config.workspace.data,
        reporter,
        unlabelled=unlabelled,
        seed=config.data_seed,
        name=name,
    )


def dump(
    teacher: Place,
    data: Data | Source = "docstrings",
    *,
    unlabelled: Data | None = None,
    reporter: Reporter = NOTES,
    notify: Callable[[str], object] | None = None,
    **options: Unpack[DumpOptions],
) -> DumpReport:
    """Ask a teacher about every row of one split, once, and store what it says: ``logitcache dump``.

    ``data`` is what :func:`load` takes, or what it gave; ``options`` are the command's by their names.
    ``reporter`` shows notes and progress; ``notify``, a function, gets the notes in its place. Raises the kinds of
    :class:`LogitCacheError` that the command ends with.
    """
    reporter = _listener(reporter, notify)
    config = build(DumpConfig, {**options, "teacher": teacher})
    config, source = _with_rows(config, data, unlabelled, reporter)
    with _told_of_names(source, config.workspace):
        return dumping.dump(config, source=source, reporter=reporter)


def repair(
    cache: Place,
    teacher: Place | None = None,
    data: Data | Source | None = None,
    *,
    unlabelled: Data | None = None,
    reporter: Reporter = NOTES,
    notify: Callable[[str], object] | None = None,
    **options: Unpack[AgainOptions],
) -> RepairReport:
    """Make the broken shards of a cache again, and only those: ``logitcache repair``.

    ``teacher``, ``data`` and ``options`` are those of :func:`dump` that say who was asked about which rows; by default
    what the cache names. They are only used where a shard is broken. Raises FingerprintMismatch where they are others.
    """
    reporter = _listener(reporter, notify)
    config = build(AgainConfig, {**options, "teacher": teacher})
    return repair_asked(cache, config, data, unlabelled, reporter=reporter)


def repair_asked(
    cache: Place,
    config: AgainConfig,
    data: Data | Source | None = None,
    unlabelled: Data | None = None,
    *,
    reporter: Reporter,
) -> RepairReport:
    """:func:`repair` with its options as a configuration; ``data`` and ``unlabelled`` go before what that names."""
    folder = local_path(cache, MENDED_HERE)

    def ask(plan: Plan) -> Asked:
        again = _asked_again(config, data, unlabelled, reporter, plan)
        again.check_same(plan)
        return again

    return mending.repair(folder, ask, reporter)


def verify_live(
    cache: Place,
    rows: int,
    teacher: Place | None = None,
    data: Data | Source | None = None,
    *,
    unlabelled: Data | None = None,
    seed: int = 0,
    reporter: Reporter = NOTES,
    notify: Callable[[str], object] | None = None,
    **options: Unpack[AgainOptions],
) -> Live:
    """Ask the teacher about some rows of a cache again, drawn by ``seed``: ``logitcache verify --live``.

    ``teacher``, ``data`` and ``options`` as for :func:`repair`. Raises FingerprintMismatch where they are not those the
    cache was made with.
    """
    reporter = _listener(reporter, notify)
    config = build(AgainConfig, {**options, "teacher": teacher})
    return verify_asked(cache, rows, config, data, unlabelled, seed=seed, reporter=reporter)


def verify_asked(
    cache: Place,
    rows: int,
    config: AgainConfig,
    data: Data | Source | None = None,
    unlabelled: Data | None = None,
    *,
    seed: int,
    reporter: Reporter,
) -> Live:
    """:func:`verify_live` with its options as a configuration."""
    from logitcache.teacher.live import live

    opened = Cache.open(cache)
    plan = opened.manifest.plan
    asked = _asked_again(config, data, unlabelled, reporter, plan)
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
    unlabelled: Data | None = None,
    reporter: Reporter = NOTES,
    notify: Callable[[str], object] | None = None,
    **options: Unpack[TrainOptions],
) -> Path:
    """Train one student and return its result folder: ``logitcache train``.

    ``data`` is what :func:`load` takes, or what it gave. ``options`` are the command's by their names: ``student``,
    ``seed``, ``alpha``, ``epochs``, ... ``cache`` is a folder, a URL or a :class:`Cache`, or several. ``reporter``
    and ``notify`` as there.
    Raises the kinds of :class:`LogitCacheError` that the command ends with.
    """
    from logitcache.stages import train as training

    reporter = _listener(reporter, notify)
    values: dict[str, Any] = {**options, "method": method}
    if "cache" in values:
        values["cache"] = _cache_places(values["cache"])
    config = build(TrainConfig, values)
    config, source = _with_rows(config, data, unlabelled, reporter)
    with _told_of_names(source, config.workspace):
        return training.train(config, source=source, reporter=reporter)


def compare(*results: Place, **options: Unpack[CompareOptions]) -> Comparison:
    """Set result folders (or folders of such) side by side: ``logitcache compare``. ``comparison.verdict`` is the one
    sentence it ends with, ``plot`` a picture's file (png or svg).

    Raises SpecError for what is no result folder, or a metric, split or baseline that they do not have.
    """
    config = build(CompareConfig, options)
    if not results:
        raise SpecError("compare: expected result folders, found none. Give what train returned, or a folder of such.")
    folders = [local_path(result) for result in results if _is_path(result)]
    comparison = tables.compare(
        folders,
        metric=config.metric,
        split=config.split,
        baseline=config.baseline,
        resamples=config.bootstrap,
    )
    if config.plot is not None:
        dots(comparison, config.plot)
    return comparison


def _is_path(value: Any) -> bool:
    if not isinstance(value, str | os.PathLike):
        raise SpecError(f"results: expected a path, found {short(repr(value))}. Correct it.")
    return True


def _listener(reporter: Reporter, notify: Callable[[str], object] | None) -> Reporter:
    """Whoever is told notes and progress: the reporter, or a function that gets the notes. Raises SpecError."""
    if notify is not None:
        if not callable(notify):
            raise SpecError(expected="a function", found=short(repr(notify)), advice="Correct it.", where="notify")
        return Notes(notify)
    if not isinstance(reporter, Reporter):
        raise SpecError(
            expected="a Reporter (such as logitcache.Notes(print))",
            found=short(repr(reporter)),
            advice="Correct it.",
            where="reporter",
        )
    return reporter


def _cache_places(value: Any) -> Any:
    """Open caches as the places they were opened from."""
    if isinstance(value, Cache):
        return value.where
    if isinstance(value, str | os.PathLike) or not hasattr(value, "__iter__"):
        return value
    return tuple(each.where if isinstance(each, Cache) else each for each in value)


def _asked_again(
    config: AgainConfig,
    data: Data | Source | None,
    unlabelled: Data | None,
    reporter: Reporter,
    plan: Plan,
) -> Asked:
    """Whoever answered for the rows of a cache, and those rows: named here, or as the cache's plan names them."""
    from logitcache.stages.again import rows_of
    from logitcache.teacher.plan import Said, planned, recorded_map

    said = Said.of(plan)
    data = config.data if data is None else data
    asked = replace(config.asked(said.teacher, said.source, said.dtype), split=said.split, settings=said.settings)
    if plan.task in LANGUAGE and asked.columns.task is None:  # nothing else would tell that of texts
        asked = replace(asked, columns=replace(asked.columns, task=plan.task))
    asked.check()
    asked, source = _with_rows(asked, said.source if data is None else data, unlabelled, reporter)
    if source is None:
        source = rows_of(said, asked, reporter) if data is None else load_rows(asked, reporter)
    if asked.teacher.answers is not None:
        return dumping.planner(asked, source, reporter=reporter)[1](said.split)
    panel = dumping.asked_teacher(asked, source, reporter)
    label_map = recorded_map(plan, panel.first.label_names, task_of(source, panel.first.label_names))
    source = panel.first.as_rows(source, said.settings, reporter)
    return planned(panel, source, said.split, said.settings, label_map)


@contextmanager
def _told_of_names(source: Source | None, workspace: Workspace) -> Iterator[None]:
    """Two sets in memory may meet in one place, for nobody named them: where that goes wrong, how to name them."""
    try:
        yield
    except FingerprintMismatch as error:
        if source is not None and source.name == UNNAMED and Path(error.where or "").is_relative_to(workspace.folder):
            error.advice += f" Rows in memory are all called {UNNAMED}: name these with load(..., name=...)."
        raise


R = TypeVar("R", DumpConfig, TrainConfig)


def _with_rows(config: R, data: Data | Source, unlabelled: Data | None, reporter: Reporter) -> tuple[R, Source | None]:
    """The configuration with its rows named, and the source, where rows are in memory already: names are looked up
    later, when the rest of what is asked has been found to be good.
    """
    if isinstance(data, Source):
        if config.columns != Columns() or unlabelled is not None or config.data_seed:
            raise SpecError(
                expected="a Source alone",
                found="columns, labels, unlabelled or data_seed beside it",
                advice="Give them to logitcache.load.",
                where=data.name,
            )
        return replace(config, data=data.name), data
    if isinstance(data, str | os.PathLike) and isinstance(unlabelled, str | os.PathLike | None):
        more = None if unlabelled is None else os.fspath(unlabelled)
        return replace(config, data=os.fspath(data), unlabelled=more), None
    source = sources.load(
        data, config.columns, config.workspace.data, reporter, unlabelled=unlabelled, seed=config.data_seed
    )
    return replace(config, data=source.name), source
