"""``logitcache dump``: data and teacher by name, the teacher made ready, its answers stored; the unlabelled rows too,
where there are any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from logitcache.cache import Cache
from logitcache.data import source as sources
from logitcache.data.source import UNLABELLED_SPLIT, Columns, Notify, Source
from logitcache.errors import SpecError
from logitcache.pipeline.finetune import Finetune, TeacherSpec, ready_teacher
from logitcache.pipeline.train import check_unlabelled
from logitcache.store.writer import LEFT_OVER, OWN_NAMES, PLAN
from logitcache.student.run import OnStep
from logitcache.teacher.dump import DumpSettings, dump_split
from logitcache.teacher.panel import Panel, Progress
from logitcache.teacher.report import DumpReport
from logitcache.workspace import Workspace


@dataclass(frozen=True)
class DumpConfig:
    """Everything that is asked of one dump."""

    teacher: TeacherSpec
    data: str = "docstrings"
    columns: Columns = Columns()
    unlabelled: str | None = None  # more rows, without labels, dumped into a cache of their own
    data_seed: int = 0  # of presets that are drawn from a larger set (fewrel)
    split: str = "train"
    out: Path | None = None
    finetune: Finetune = field(default_factory=Finetune)
    reuse: Path | None = None  # a cache of the same teacher: rows it has are copied
    settings: DumpSettings = field(default_factory=DumpSettings)
    workspace: Workspace = Workspace()
    overwrite: bool = False


def dump(
    config: DumpConfig,
    *,
    source: Source | None = None,
    notify: Notify = lambda _: None,
    begin: Callable[[int], Progress] = lambda rows: lambda rows, tokens: None,
    on_step: OnStep = lambda step, of: None,
) -> DumpReport:
    """Make (or finish) the cache of one split, and of the unlabelled rows if there are any and the split is train.

    ``begin`` is told how many rows a cache will have and gives what takes its progress; ``on_step`` gets the steps of a
    fine-tuning. Raises SpecError, FingerprintMismatch, CorruptShard.
    """
    source = source or sources.load(
        config.data,
        config.columns,
        config.workspace.data,
        notify,
        unlabelled=config.unlabelled,
        seed=config.data_seed,
    )
    splits = [config.split]
    if config.split == "train" and UNLABELLED_SPLIT in source.splits:
        splits.append(UNLABELLED_SPLIT)
    check_unlabelled(source, config.unlabelled)
    for split in splits:  # refused before a teacher is trained
        source.split(split)
        _check_place(_folder(config, source, split))
    reuse = _reused(config, source, splits)
    length, work = config.settings.max_length, config.workspace
    panel = ready_teacher(config.teacher, config.finetune, source, length, work, notify, on_step, reuse)
    reports = [_dump(config, panel, source, split, reuse, notify, begin) for split in splits]
    return replace(reports[0], unlabelled=reports[1] if len(reports) > 1 else None)


def _dump(
    config: DumpConfig,
    panel: Panel,
    source: Source,
    split: str,
    reuse: Cache | None,
    notify: Notify,
    begin: Callable[[int], Progress],
) -> DumpReport:
    return dump_split(
        panel,
        source,
        split,
        _folder(config, source, split),
        config.settings,
        reuse=reuse,
        overwrite=config.overwrite,
        notify=notify,
        progress=begin(len(source.split(split))),
    )


def _folder(config: DumpConfig, source: Source, split: str) -> Path:
    """Where a split's cache lies: the unlabelled rows' beside the one that was named."""
    if config.out is None:
        return config.workspace.cache(source.name, split, config.teacher.name, config.finetune.folds)
    if split == config.split:
        return config.out
    named = config.out if config.out.name else config.out.resolve()  # the folder one stands in is "."
    return named.with_name(f"{named.name}-{split}")


def _check_place(folder: Path) -> None:
    """Raises SpecError for a place that the writer would refuse whatever the plan. Nothing is claimed yet."""
    here = folder if folder.exists() else next((p for p in folder.parents if p.exists()), Path())
    if not here.is_dir():
        raise SpecError("expected a folder, found a file. Choose another --out.", where=here)
    found = {path.name for path in folder.iterdir()} - LEFT_OVER if here == folder else set()
    other = sorted(found - OWN_NAMES)
    if other or (found and PLAN not in found):
        what = ", ".join(other[:3]) or f"{', '.join(sorted(found))} without {PLAN}"
        advice = "Choose another --out, or an empty folder."
        raise SpecError(f"expected a cache or an empty folder, found {what}. {advice}", where=folder)


def _reused(config: DumpConfig, source: Source, splits: list[str]) -> Cache | None:
    if config.reuse is None:
        return None
    if len(splits) > 1:
        advice = f"Dump one at a time: --split train without --unlabelled, then --split {UNLABELLED_SPLIT}."
        raise SpecError(f"--reuse: expected one split to dump, found {' and '.join(splits)}. {advice}")
    new = _folder(config, source, config.split)
    if new.resolve() == config.reuse.resolve():
        raise SpecError(
            "--reuse: expected another folder than the new cache's, found the same. Name a new --out.", where=new
        )
    return Cache.open(config.reuse)
