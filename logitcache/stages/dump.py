"""``logitcache dump``: data and teacher by name, the teacher made ready, its answers stored; the unlabelled rows too,
where there are any. torch is loaded where a model is asked, and not before.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from logitcache.cache.cache import Cache
from logitcache.config.dump import DumpConfig
from logitcache.data.selection import held_out
from logitcache.data.source import UNLABELLED_SPLIT, Source
from logitcache.data.tasks.table import TASKS
from logitcache.errors import SpecError
from logitcache.ranks import on_its_own
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.caches import Dump
from logitcache.stages.rows import check_unlabelled, load
from logitcache.stages.stage import made
from logitcache.stages.stored import keep_tokenizer
from logitcache.store.writer import check_place
from logitcache.targets.table import parse
from logitcache.teacher.asked import Asked
from logitcache.teacher.column import recorded
from logitcache.teacher.dump import checked_plan
from logitcache.teacher.report import DumpReport
from logitcache.teacher.reuse import Known

if TYPE_CHECKING:
    from logitcache.teacher.panel import Panel


def dump(
    config: DumpConfig,
    *,
    source: Source | None = None,
    reporter: Reporter = SILENT,
) -> DumpReport:
    """Make (or finish) the cache of one split, and of the unlabelled rows if there are any and the split is train.

    Raises SpecError, FingerprintMismatch, CorruptShard, Locked.
    """
    config.check()
    parse(config.settings.codec)  # refused before rows are read
    source = held_out(source or load(config, reporter), reporter)
    splits = [config.split]
    if config.split == "train" and UNLABELLED_SPLIT in source.splits:
        splits.append(UNLABELLED_SPLIT)
    if config.split == "train" and TASKS[source.task].self_contained:  # students are scored on what caches hold
        splits += [split for split in source.splits if split not in splits]
    check_unlabelled(source, config.unlabelled)
    for split in splits:  # refused before a teacher is trained
        source.split(split) if TASKS[source.task].self_contained else source.table(split)
        check_place(folder_of(config, source, split))
    reuse = _reused(config, source, splits)
    known = None if reuse is None else Known(reuse)
    source, plan = planner(config, source, known, reporter)
    reports = {split: _dump(config, plan(split), source, split, known, reporter) for split in splits}
    first = reports.pop(config.split)
    return replace(first, unlabelled=reports.pop(UNLABELLED_SPLIT, None), held_out=tuple(reports.values()))


def planner(
    config: DumpConfig, source: Source, known: Known | None = None, reporter: Reporter = SILENT
) -> tuple[Source, Callable[[str], Asked]]:
    """The source whose rows are asked about, and what makes the plan of a split's dump: the answers that the teacher's
    name says lie somewhere, or a model that is loaded, and trained first where it has to be. ``known`` are answers that
    are copied.
    """
    answers, settings, label_map = config.teacher.answers, config.settings, config.label_map
    if answers is not None:
        folder = config.workspace.data
        return source, lambda split: recorded(answers, source, split, settings, label_map, folder, reporter)
    panel = asked_teacher(config, source, reporter, None if known is None else known.cache)
    rows = panel.first.as_rows(source, settings, reporter)
    if panel.first.kind.self_contained:
        keep_tokenizer(panel.first.tokenizer, config.workspace)
    return rows, lambda split: checked_plan(
        panel, rows, split, settings, label_map=label_map, reuse=known, reporter=reporter
    )


def asked_teacher(
    config: DumpConfig,
    source: Source,
    reporter: Reporter = SILENT,
    reuse: Cache | None = None,
) -> Panel:
    """Whoever a dump asks, trained first where it has to be: of several parts that are started at once, one trains it
    and the others wait. Where answers of an older cache are to be reused nobody may train.
    """
    from logitcache.stages.finetune import ready_teacher

    spec, length = replace(config.teacher, device=_device(config)), config.settings.max_length
    with on_its_own():  # parts may be ranks of a launcher, but they share no training
        return ready_teacher(
            spec,
            config.finetune,
            source,
            length,
            config.workspace,
            reporter,
            reuse=reuse,
            sequences=config.settings.sequences,
        )


def _device(config: DumpConfig) -> str | None:
    """Where several GPUs are, each part takes the next one, unless one is named."""
    import torch

    if config.teacher.device is not None or config.part is None or torch.cuda.device_count() < 2:
        return config.teacher.device
    return f"cuda:{int(os.environ.get('LOCAL_RANK', config.part[0])) % torch.cuda.device_count()}"


def _dump(
    config: DumpConfig,
    asked: Asked,
    source: Source,
    split: str,
    known: Known | None,
    reporter: Reporter,
) -> DumpReport:
    place = folder_of(config, source, split)
    return made(Dump(asked, source, place, reuse=known, overwrite=config.overwrite, part=config.part), reporter)


def folder_of(config: DumpConfig, source: Source, split: str) -> Path:
    """Where a split's cache lies: the unlabelled rows' beside the one that was named."""
    if config.out is None:
        return config.workspace.cache(source.name, split, config.teacher.folder, config.finetune.folds)
    if split == config.split:
        return config.out
    named = config.out if config.out.name else config.out.resolve()  # the folder one stands in is "."
    return named.with_name(f"{named.name}-{split}")


def _reused(config: DumpConfig, source: Source, splits: list[str]) -> Cache | None:
    if config.reuse is None:
        return None
    for split in splits:
        new = folder_of(config, source, split)
        if isinstance(config.reuse, Path) and new.resolve() == config.reuse.resolve():
            raise SpecError(
                expected="another folder than the new cache's",
                found=f"the same, {new}",
                advice="Name a new --out.",
                where="--reuse",
            )
    return Cache.open(config.reuse)
