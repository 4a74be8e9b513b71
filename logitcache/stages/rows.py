"""The rows that a run or a dump names. No torch: errors in them come before it is loaded."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TypeAlias, TypeVar

import numpy as np

from logitcache.config.bench import DumpBenchConfig, WorkloadConfig
from logitcache.config.check import CheckConfig
from logitcache.config.data import Columns
from logitcache.config.dump import DumpConfig
from logitcache.config.methods import METHODS
from logitcache.config.train import TrainConfig
from logitcache.data import source as sources
from logitcache.data.folds import folds_of
from logitcache.data.order import subset
from logitcache.data.selection import held_out
from logitcache.data.similarity import with_pairs
from logitcache.data.source import UNLABELLED_SPLIT, Data, Rows, Source
from logitcache.data.sources.content import Reading
from logitcache.data.tasks.table import TASKS
from logitcache.errors import SpecError
from logitcache.records import Int64
from logitcache.reporter import Reporter

NamesRows: TypeAlias = CheckConfig | DumpConfig | TrainConfig | WorkloadConfig | DumpBenchConfig


def load(config: CheckConfig | DumpConfig | TrainConfig, reporter: Reporter) -> Source:
    """The rows that a command names."""
    if isinstance(config, CheckConfig):
        config = replace(config, columns=replace(config.columns, says_columns=True))
    keep = isinstance(config, DumpConfig) and config.teacher.answers is not None
    return named_rows(config, config.unlabelled, reporter, keep=keep)


def named_rows(
    config: NamesRows, unlabelled: Data | None, reporter: Reporter, *, keep: bool = False
) -> Source:
    """A configuration's rows, and unlabelled ones; with ``keep`` their tables stay in memory."""
    return sources.load(
        config.data,
        config.columns,
        config.workspace.data,
        reporter,
        unlabelled=unlabelled,
        seed=config.data_seed,
        keep=keep,
    )


def trained_on(
    config: DumpConfig | TrainConfig, source: Source | None, reporter: Reporter
) -> Source:
    """The rows that a command names, unless they are in memory, as they are trained on and scored."""
    source = held_out(source or load(config, reporter), reporter)
    has_pairs = source.label_names is not None
    if config.similarity is None or has_pairs:
        return source
    columns = config.columns
    reading = Reading(columns.encoding, columns.delimiter, columns.header)
    return with_pairs(source, config.similarity, config.workspace.data, reporter, reading)


def check_unlabelled(source: Source, name: str | None) -> None:
    """Raises SpecError for an unlabelled set without rows. ``name``: where it was to come from."""
    if UNLABELLED_SPLIT in source.splits and not len(source.splits[UNLABELLED_SPLIT]):
        held_out_splits = [
            split for split in source.splits if split not in ("train", UNLABELLED_SPLIT)
        ]
        held = " or ".join(held_out_splits)
        why = f"it is empty, or all of its texts stand in {held}" if held else "it is empty"
        raise SpecError(
            expected="unlabelled rows",
            found=f"none: {why}",
            advice="Name other rows, or leave --unlabelled out.",
            where=name or f"{source.name}, split {UNLABELLED_SPLIT}",
        )


def check_labelled(source: Source) -> None:
    """Raises SpecError where there are no training rows, or none of them has a label."""
    if "train" not in source.splits:
        raise SpecError(
            expected="training rows",
            found=f"{' and '.join(source.splits)} alone, as names of files or splits tell",
            advice="Give a folder with a train file too, or a copy of the file whose name has no word for a split: "
            "some of its rows are held out then.",
            where=source.name,
        )
    if (source.split("train").label >= 0).any() or TASKS[source.task].fixed_label is not None:
        return
    raise SpecError(
        expected="labelled training rows",
        found="none with a label",
        advice=f"{source.label_advice or 'Name the column that holds the labels with --label'}.",
        where=source.name,
    )


def selected_rows(config: TrainConfig, source: Source, reporter: Reporter) -> Rows:
    """The rows a method is trained on: labelled ones, and unlabelled ones if a teacher answers."""
    rows = source.split("train")
    check_labelled(source)
    without_label = np.flatnonzero(rows.label < 0)
    labelled = np.flatnonzero(rows.label >= 0)
    if TASKS[source.task].fixed_label is not None:  # all rows are alike
        labelled, without_label = np.arange(len(rows)), np.arange(0)
    if config.rows is not None:
        labelled = labelled[subset(len(labelled), config.rows)]
    if config.without_fold is not None:
        fold, folds = config.without_fold
        labelled = labelled[folds_of(rows.row_hash[labelled], folds) != fold]
    unlabelled = source.splits.get(UNLABELLED_SPLIT)
    count = len(without_label)
    if unlabelled is not None:
        count += len(unlabelled)
    if not METHODS[config.method].needs_teacher:
        if count:
            reporter.note(
                f"{source.name}: {count:,} unlabelled rows are left out: {config.method} learns from labels alone"
            )
        selected = _selected(rows, labelled)
        lost = int((selected.labels < 0).sum())
        if selected.tags is not None and lost:
            reporter.note(
                f"{source.name}: {lost:,} of {len(selected.labels):,} words have no label and are left out: "
                f"{config.method} learns from labels alone"
            )
        return selected
    if count:
        reporter.note(
            f"{source.name}: {count:,} unlabelled rows beside {len(labelled):,} labelled ones (alpha = 1 for them)"
        )
    selected = _selected(rows, np.sort(np.concatenate([labelled, without_label])))
    if unlabelled is None:
        return selected
    return selected.followed_by(unlabelled, len(source.table("train")))


def _selected(rows: Rows, index: Int64) -> Rows:
    return rows if len(index) == len(rows) else rows.select(index)


R = TypeVar("R", CheckConfig, DumpConfig, TrainConfig)


def with_rows(
    config: R, data: Data | Source, unlabelled: Data | None, reporter: Reporter
) -> tuple[R, Source | None]:
    """The configuration with its rows named, and the source of rows in memory. Names are loaded
    later, when the rest of the configuration has been checked.
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
        if unlabelled is not None:
            unlabelled = os.fspath(unlabelled)
        return replace(config, data=os.fspath(data), unlabelled=unlabelled), None
    source = sources.load(
        data,
        config.columns,
        config.workspace.data,
        reporter,
        unlabelled=unlabelled,
        seed=config.data_seed,
    )
    return replace(config, data=source.name), source
