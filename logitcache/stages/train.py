"""``logitcache train``: a run asked for by name, with its teacher's answers found, joined or (Self-KD) made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from logitcache import identity
from logitcache.cache.cache import Cache
from logitcache.cache.joined import Joined, join
from logitcache.config.teacher import DumpSettings
from logitcache.config.train import TrainConfig
from logitcache.data.match import Kind, shown
from logitcache.data.source import UNLABELLED_SPLIT, Source
from logitcache.errors import SpecError
from logitcache.models.load import quiet
from logitcache.ranks import first_alone, is_first, meet, of_first
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.folder import OtherRun, check_foreign, check_same, held
from logitcache.stages.job import Job, ready, with_tokenizer
from logitcache.stages.relabelled import check_gold_labels
from logitcache.stages.run import run
from logitcache.stages.workspace import find_cache, self_cache
from logitcache.store.lock import lock_folder
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import TeacherModel, load_teacher
from logitcache.teacher.panel import FoldTeachers, OneTeacher, Panel
from logitcache.teacher.plan import label_digest

FIRST_COPY = "first copy"  # what the reporter calls its training


def train(
    config: TrainConfig,
    *,
    source: Source | None = None,
    reporter: Reporter = SILENT,
) -> Path:
    """Train one student; returns its result folder.

    A run that is there already is returned as it is; a broken-off one goes on.
    Raises SpecError, FingerprintMismatch (labels or settings differ), AlignmentError (rows the teacher did not answer),
    Locked (another command is writing there).
    """
    with trained(config, source=source, reporter=reporter) as out:
        return out


@contextmanager
def trained(
    config: TrainConfig,
    *,
    source: Source | None = None,
    reporter: Reporter = SILENT,
    name: str = "train",
    wait: bool = False,
) -> Iterator[Path]:
    """The result folder of :func:`train`, which nobody else writes to while the context lasts. ``name`` is what the
    reporter calls the training. Where another command is making this very run, ``wait`` for it instead of raising
    Locked.
    """
    job = ready(config, source, reporter)
    if job.unlabelled() is not None:
        check_unlabelled(job.source, config.unlabelled)
    teacher = _given(job, reporter)
    if teacher is not None:
        if teacher.match.kind is not Kind.SAME:
            reporter.note(shown(teacher.match))
        job = replace(job, cache_fingerprint=teacher.fingerprint)
    check_foreign(job.out)
    if teacher is not None:
        job = _proved(job, teacher, reporter)
    job = with_tokenizer(job, reporter)
    with held(job, wait=wait, reporter=reporter) as done:
        if done:
            reporter.note(f"{job.out}: this run is there already")
        else:
            _train(job, teacher, reporter, name)
        yield job.out


def _train(job: Job, teacher: Joined | None, reporter: Reporter, name: str) -> None:
    if job.self_taught:
        teacher = _self_taught(job, reporter)
        job = replace(job, cache_fingerprint=teacher.fingerprint)
        of_first(partial(check_same, job))  # a run that goes on must go on with the same answers
        job = _proved(job, teacher, reporter)
    if teacher is not None:
        _say_division(teacher, job, reporter)
    with quiet():
        run(job, teacher, reporter, name)


def _proved(job: Job, teacher: Joined, reporter: Reporter) -> Job:
    """The run without the rows that a dump has skipped; every other row is proved to be the one its teacher answered.
    Raises SpecError, FingerprintMismatch, AlignmentError.
    """
    job = _without_skipped(job, teacher, reporter)
    _check_teacher(teacher, job, reporter)
    return job


def check_unlabelled(source: Source, named: str | None) -> None:
    """Raises SpecError for an unlabelled set without rows. ``named``: where it was to come from."""
    if UNLABELLED_SPLIT in source.splits and not len(source.splits[UNLABELLED_SPLIT]):
        held = " or ".join(split for split in source.splits if split not in ("train", UNLABELLED_SPLIT))
        why = f"it is empty, or all of its texts stand in {held}" if held else "it is empty"
        raise SpecError(
            f"expected unlabelled rows, found none: {why}. Name other rows, or leave --unlabelled out.",
            where=named or f"{source.name}, split {UNLABELLED_SPLIT}",
        )


def _given(job: Job, reporter: Reporter) -> Joined | None:
    """The caches that are named, or (for kd) found in the workspace."""
    config, starts = job.config, job.starts()
    if config.caches:
        caches = [Cache.open(folder) for folder in config.caches]
        return join(caches, starts, config.teachers, task=job.task, label_map=config.label_map)
    if config.method != "kd":
        return None
    division, source = job.source.division, job.source
    # a teacher fine-tuned on another seed's draw has been trained on rows that this one holds out
    called = None if division is None or division.seed is None else source.name
    caches = [find_cache(config.workspace, source.table(name), name, called) for name in starts]
    for cache in caches:
        reporter.note(f"teacher: {cache!r}")
    return join(caches, starts, task=job.task, label_map=config.label_map)


def _without_skipped(job: Job, teacher: Joined, reporter: Reporter) -> Job:
    """The run without the rows that a dump has skipped. Raises SpecError where none is left."""
    kept = np.flatnonzero(~np.isin(job.train.row_id, teacher.skipped))
    if len(kept) == len(job.train):
        return job
    reporter.note(
        f"{teacher}: {len(job.train) - len(kept):,} rows are left out: the teacher's answers to them were not finite"
    )
    if not len(kept):
        raise SpecError(
            "expected rows with an answer, found none. Mend the teacher and dump again.", where=str(teacher)
        )
    return replace(job, train=job.train.select(kept))


def _check_teacher(teacher: Joined, job: Job, reporter: Reporter) -> None:
    """Every row by its hash, and the labels of classes; before anything is written."""
    teacher.check(job.train.row_id, job.train.row_hash)
    check_gold_labels(teacher, job.train, reporter)
    for part in teacher.parts:
        here = job.source.table(part.name).digest()
        for cache in part.caches:
            there = cache.manifest.plan.data.get("digest")
            if here != there:
                reporter.note(
                    f"{cache.where}: dumped from other rows (digest {there}, here {here}); "
                    "every row used here is in it, proved by its hash"
                )


def _say_division(teacher: Joined, job: Job, reporter: Reporter) -> None:
    """Warn of caches that were dumped when other rows of their table were held out."""
    division, source = job.source.division, job.source
    if division is None or not division.held_out:
        return
    labels = label_digest(source.table("train"))
    for cache in next(part.caches for part in teacher.parts if part.name == "train"):
        data = cache.manifest.plan.data
        if not (cache.labels(source.table("train").row_id) >= 0).any():  # it was dumped without labels
            continue
        other_draw = division.seed is not None and data.get("source") != source.name
        if other_draw or data.get("labels") != labels:
            reporter.note(
                f"{cache.where}: dumped with other labels or another data seed, so other rows may have been held out. "
                "A teacher that was fine-tuned for that dump may have been trained on rows that are scored here"
            )


def _self_taught(job: Job, reporter: Reporter) -> Joined:
    """Self-KD: the base run of this seed (trained now if it is not there) answers for the rows it was trained on; with
    folds, K runs that each left one fold out answer for that fold.
    """
    folds = job.config.folds
    panel: Panel
    if folds is None:
        panel = OneTeacher(_first_copy(job, reporter))
    else:
        copies = []
        for fold in range(folds):
            reporter.note(f"fold {fold + 1} of {folds}: a first copy that does not see its rows")
            copies.append(_copy_without(job, (fold, folds), reporter))
        panel = FoldTeachers([partial(_load, job, copy) for copy in copies])
    settings, starts = DumpSettings(max_length=job.config.max_length), job.starts()
    return join([_self_cache(panel, job, name, settings, reporter) for name in starts], starts, task=job.task)


def _load(job: Job, folder: Path) -> TeacherModel:
    """A first copy, called alike wherever it lies: its answers are the same."""
    return replace(load_teacher(str(folder)), name=f"base-seed{job.config.seed}")


def _self_cache(panel: Panel, job: Job, split: str, settings: DumpSettings, reporter: Reporter) -> Cache:
    digest = str(panel.identity()["weights"])
    folder = self_cache(job.config.workspace, job.source, split, digest, settings.max_length)
    with first_alone():  # of several ranks the first asks, the others find what was answered
        if is_first():
            content = "the answers of this first copy"
            lock = lock_folder(folder, wait=math.inf, content=content, reporter=reporter)
            try:
                dump_split(panel, job.source, split, folder, settings, own_classes=True, lock=lock, reporter=reporter)
            finally:
                lock.release()
    return Cache.open(folder)


def _as_base(job: Job) -> TrainConfig:
    return replace(
        job.config,
        method="base",
        alpha=None,
        temperature=None,
        tau_squared=None,
        folds=None,
        overwrite=False,
        out=job.config.workspace.run(job.source.name, "base", job.config.seed),
    )


def _first_copy(job: Job, reporter: Reporter) -> TeacherModel:
    """The base run of this seed: the one in its default place, unless that has other settings or is this run's own
    place; else one in a place of its own.
    """
    base = _as_base(job)
    assert base.out is not None
    if base.out.resolve() != job.out.resolve():
        with suppress(OtherRun):
            return _copy(job, base, reporter)
    return _copy(job, replace(base, out=job.config.workspace.first_copy(identity.digest_json(job.asked()))), reporter)


def _copy(job: Job, config: TrainConfig, reporter: Reporter) -> TeacherModel:
    """A first copy, loaded while nobody can replace it. One that another command is training is waited for."""
    with trained(config, source=job.source, reporter=reporter, name=FIRST_COPY, wait=True) as folder:
        teacher = _load(job, folder)
        meet()  # of several ranks the first holds the folder, for all
        return teacher


def _copy_without(job: Job, fold: tuple[int, int], reporter: Reporter) -> Path:
    """The first copy that never saw one fold's rows."""
    place = job.config.workspace.first_copy(identity.digest_json({**job.asked(), "without_fold": fold}))
    copy = replace(_as_base(job), without_fold=fold, out=place)
    with trained(copy, source=job.source, reporter=reporter, name=FIRST_COPY, wait=True) as folder:
        return folder
