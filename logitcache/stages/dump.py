"""``logitcache dump``: data and teacher are loaded by name, the teacher is fine-tuned where it has
to be, and its answers are stored, those to the unlabelled rows too. torch is imported only where a
model is asked; what checks and writes a cache only once the rows are read, so that a wrong file or
column is refused at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from logitcache.config.dump import DumpConfig
from logitcache.data.source import UNLABELLED_SPLIT, Source
from logitcache.data.tasks.table import TASKS
from logitcache.errors import SpecError
from logitcache.ranks import on_its_own
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.rows import check_unlabelled, trained_on
from logitcache.targets.table import codec_of_logits

if TYPE_CHECKING:
    from logitcache.cache.cache import Cache
    from logitcache.targets.codec import Codec
    from logitcache.teacher.dump_job import DumpJob
    from logitcache.teacher.panel import Panel
    from logitcache.teacher.plan import Planned
    from logitcache.teacher.report import DumpReport
    from logitcache.teacher.reuse import OlderCache


def dump(
    config: DumpConfig,
    *,
    source: Source | None = None,
    also: Sequence[str] = (),
    reporter: Reporter = SILENT,
) -> DumpReport:
    """Make (or finish) the cache of one split, and of the unlabelled rows if there are any and the
    split is train. ``also`` names splits to dump beside it, each into a cache of its own.

    Raises SpecError, FingerprintMismatch, CorruptShard, Locked.
    """
    config.check()
    codec_of_logits(config.settings)  # refused before rows are read
    source = trained_on(config, source, reporter)
    config = replace(config, settings=TASKS[source.task].settings(config.settings))

    from logitcache.stages.preflight import check_dump, note_remark
    from logitcache.store.destination import check_place

    is_language = TASKS[source.task].self_contained
    splits = _splits_of(config, source, also)
    check_unlabelled(source, config.unlabelled)
    for split in splits:  # refused before a teacher is trained
        source.split(split) if is_language else source.table(split)
        folder = folder_of(config, source, split)
        check_place(folder)
        check_dump(config, source, split, folder)

    from logitcache.stages.caches import Dump
    from logitcache.stages.stage import result_of
    from logitcache.teacher.dump import begun_codec
    from logitcache.teacher.reuse import OlderCache

    note_remark(source, reporter)
    reuse = _reused(config, source, splits)
    older = None if reuse is None else OlderCache(reuse)
    source, plan = planner(config, source, older, reporter)
    plans: dict[str, DumpJob] = {}
    codecs: list[Codec] = []  # of this dump, and of what was begun: one is calibrated once
    begun = [] if config.overwrite else splits
    if is_language:  # a split that is dumped alone is one of the same dump
        begun = [*begun, *(split for split in source.splits if split not in splits)]
    for split in begun:
        codecs += begun_codec(folder_of(config, source, split))
    for split in splits:  # all are refused before anything is written
        plans[split] = plan(split, codecs)
        codecs = [*codecs, plans[split].codec]
    workspace = config.workspace if is_language else None  # a budget may be charged with a dump
    reports = {}
    for split, planned in plans.items():
        folder = folder_of(config, source, split)
        stage = Dump(
            planned, source, folder, older, config.overwrite, config.part, workspace=workspace
        )
        reports[split] = result_of(stage, reporter)
    first = reports.pop(config.split)
    return replace(
        first, unlabelled=reports.pop(UNLABELLED_SPLIT, None), held_out=tuple(reports.values())
    )


def _splits_of(config: DumpConfig, source: Source, also: Sequence[str]) -> list[str]:
    """The named split, what is dumped with it, and those of ``also`` that are not among these."""
    splits = [config.split]
    if config.split == "train":
        if UNLABELLED_SPLIT in source.splits:
            splits.append(UNLABELLED_SPLIT)
        if TASKS[source.task].self_contained:  # students are scored on what caches hold
            also = tuple(source.splits)
    return [*splits, *(split for split in also if split not in splits)]


def planner(
    config: DumpConfig, source: Source, older: OlderCache | None = None, reporter: Reporter = SILENT
) -> tuple[Source, Callable[[str, Sequence[Codec]], DumpJob]]:
    """The source as its rows are put to the teacher, and a function that plans the dump of a split:
    of answers that exist already, where the teacher's name says so, or of a model, which is loaded
    (and trained first where needed) by this call. ``older`` are answers that are copied. The
    function is also given codecs of dumps that belong to it, one of which is taken where it has
    these settings.
    """
    settings = config.settings
    label_map = config.label_map
    answers = config.teacher.answers
    if answers is not None:
        from logitcache.teacher.column import recorded

        folder = config.workspace.data
        reused = [] if older is None else [older.cache.codec]
        return source, lambda split, codecs: recorded(
            answers, source, split, settings, label_map, folder, reporter, [*codecs, *reused]
        )

    from logitcache.stages.stored import keep_tokenizer
    from logitcache.teacher.dump import checked_plan

    panel = load_panel(config, source, reporter, None if older is None else older.cache)
    rows = panel.first.as_rows(source, settings, reporter)
    if panel.first.kind.self_contained:
        keep_tokenizer(panel.first.tokenizer, config.workspace)
    first: list[Planned] = []  # what is learnt of the teacher there holds for the other splits

    def plan(split: str, codecs: Sequence[Codec]) -> DumpJob:
        planned = checked_plan(
            panel,
            rows,
            split,
            settings,
            label_map=label_map,
            reuse=older,
            codecs=codecs,
            like=first[0] if first else None,
            reporter=reporter,
        )
        if len(planned.rows):
            first.append(planned)
        return planned

    return rows, plan


def load_panel(
    config: DumpConfig,
    source: Source,
    reporter: Reporter = SILENT,
    reuse: Cache | None = None,
) -> Panel:
    """The teacher of a dump, or those of its folds, trained first where needed: of several parts
    that are started at once, one trains it and the others wait. Raises SpecError for a teacher that
    would have to be trained although answers of an older cache are to be reused.
    """
    from logitcache.stages.finetune import prepare_teacher

    teacher = replace(config.teacher, device=_device(config))
    max_length = config.settings.max_length
    with on_its_own():  # parts may be ranks of a launcher, but they share no training
        return prepare_teacher(
            teacher,
            config.finetune,
            source,
            max_length,
            config.workspace,
            reporter,
            reuse=reuse,
            sequences=config.settings.sequences,
        )


def _device(config: DumpConfig) -> str | None:
    """The named device; of several GPUs, the next one for each part."""
    import torch

    if config.teacher.device is not None or config.part is None or torch.cuda.device_count() < 2:
        return config.teacher.device
    return f"cuda:{int(os.environ.get('LOCAL_RANK', config.part[0])) % torch.cuda.device_count()}"


def folder_of(config: DumpConfig, source: Source, split: str) -> Path:
    """Folder of a split's cache; that of unlabelled rows is beside the one that ``--out`` names."""
    if config.out is None:
        return config.workspace.cache(
            source.name, split, config.teacher.folder, config.finetune.folds
        )
    if split == config.split:
        return config.out
    folder = config.out if config.out.name else config.out.resolve()  # the current folder is "."
    return folder.with_name(f"{folder.name}-{split}")


def _reused(config: DumpConfig, source: Source, splits: list[str]) -> Cache | None:
    if config.reuse is None:
        return None

    from logitcache.cache.cache import Cache

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
