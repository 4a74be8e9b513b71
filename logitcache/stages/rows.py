"""The rows that a run or a dump names. No torch: what is wrong with them is said before any of it
is loaded.
"""

from __future__ import annotations

from logitcache.config.check import CheckConfig
from logitcache.config.dump import DumpConfig
from logitcache.config.train import TrainConfig
from logitcache.data import source as sources
from logitcache.data.source import UNLABELLED_SPLIT, Source
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
            expected="unlabelled rows",
            found=f"none: {why}",
            advice="Name other rows, or leave --unlabelled out.",
            where=named or f"{source.name}, split {UNLABELLED_SPLIT}",
        )
