"""The rows that a run or a dump names. No torch: what is wrong with them is said before any of it
is loaded.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TypeVar

from logitcache.config.check import CheckConfig
from logitcache.config.data import Columns
from logitcache.config.dump import DumpConfig
from logitcache.config.train import TrainConfig
from logitcache.data import source as sources
from logitcache.data.source import UNLABELLED_SPLIT, Data, Source
from logitcache.errors import SpecError
from logitcache.reporter import Reporter


def load(config: CheckConfig | DumpConfig | TrainConfig, reporter: Reporter) -> Source:
    """The rows that a command names."""
    return sources.load(
        config.data,
        config.columns,
        config.workspace.data,
        reporter,
        unlabelled=config.unlabelled,
        seed=config.data_seed,
        keep=isinstance(config, DumpConfig) and config.teacher.answers is not None,
    )


def check_unlabelled(source: Source, named: str | None) -> None:
    """Raises SpecError for an unlabelled set without rows. ``named``: where it was to come from."""
    if UNLABELLED_SPLIT in source.splits and not len(source.splits[UNLABELLED_SPLIT]):
        held = " or ".join(
            split for split in source.splits if split not in ("train", UNLABELLED_SPLIT)
        )
        why = f"it is empty, or all of its texts stand in {held}" if held else "it is empty"
        raise SpecError(
            f"expected unlabelled rows, found none: {why}. Name other rows, or leave --unlabelled out.",
            where=named or f"{source.name}, split {UNLABELLED_SPLIT}",
        )


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
