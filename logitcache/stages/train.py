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
from logitcache.cache.joined import Joined, by_part, join, join_parts
from logitcache.config.teacher import DumpSettings
from logitcache.config.train import TrainConfig
from logitcache.data.division import stand_in
from logitcache.data.match import Kind, shown
from logitcache.data.source import UNLABELLED_SPLIT, Rows, Source
from logitcache.errors import SpecError
from logitcache.models.load import quiet
from logitcache.ranks import alone_if_one, first_alone, is_first, meet, of_first
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
    with alone_if_one(), trained(config, source=source, reporter=reporter) as out:
        return out


WINDOWS = ". Its store is read by windows of rows, which is slow in another order: convert it to arrow"


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
        job, teacher = _proved(job, teacher, reporter)
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
        job, teacher = _proved(job, teacher, reporter)
    if teacher is not None:
        _say_division(teacher, job, reporter)
    with quiet():
        run(job, teacher, reporter, name)


def _proved(job: Job, teacher: Joined, reporter: Reporter) -> tuple[Job, Joined]:
    """The run without the rows that a dump has skipped, and its teacher with every row located: proved by its hash to
    be one that the teacher answered. Raises SpecError, FingerprintMismatch, AlignmentError.
    """
    teacher = teacher.located(job.train.row_id, job.train.row_hash)
    job = _without_skipped(job, teacher, reporter)
    check_gold_labels(teacher, job.train, reporter)
    _say_located(teacher, job, reporter)
    return job, teacher


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
        return join(caches, starts, config.teachers, task=job.task, label_map=config.label_map, rows=job.train)
    if config.method != "kd":
        return None
    division, source = job.source.division, job.source
    # a teacher fine-tuned on another seed's draw has been trained on rows that this one holds out
    called = None if division is None or division.seed is None else source.name
    answering = {}
    for name, (_, texts) in by_part(job.train, starts).items():
        cache = find_cache(config.workspace, source.table(name), name, called, texts)
        reporter.note(f"teacher: {cache!r}")
        answering[name] = [cache]
    return join_parts(answering, starts, task=job.task, label_map=config.label_map)


def _without_skipped(job: Job, teacher: Joined, reporter: Reporter) -> Job:
    """The run without the rows that a dump has skipped. Raises SpecError where none is left."""
    kept = np.flatnonzero(teacher.answered(job.train.row_id))
    if len(kept) == len(job.train):
        return job
    reporter.note(
        f"{teacher}: {len(job.train) - len(kept):,} rows are left out: the teacher's answers to them were not finite"
    )
    if not len(kept):
        raise SpecError(
            expected="rows with an answer", found="none", advice="Mend the teacher and dump again.", where=str(teacher)
        )
    return replace(job, train=job.train.select(kept))


def _say_located(teacher: Joined, job: Job, reporter: Reporter) -> None:
    """Say how many rows lie elsewhere in a cache than in the data."""
    for part, index in teacher.rows_by_part(job.train.row_id):
        row_id = job.train.row_id[index] - part.start
        for cache, _, rows in part.rows_in_caches(row_id):
            moved = int((rows != row_id).sum())
            if moved:
                windows = "" if cache.window is None else WINDOWS
                reporter.note(
                    f"{cache.where}: of {len(row_id):,} {part.name} rows {moved:,} were found by content, "
                    f"the others at their places; each is proved by its hash{windows}"
                )


def _say_division(teacher: Joined, job: Job, reporter: Reporter) -> None:
    """Warn of caches that were dumped when other rows may have been held out."""
    source = job.source
    scored = [rows.row_hash[rows.label >= 0] for name, rows in source.splits.items() if name in ("dev", "test")]
    texts = np.concatenate([np.empty(0, np.int64), *scored])
    texts = texts[~stand_in(texts, source.split("train").row_hash)]  # those are spoken of already
    for cache in next(part.caches for part in teacher.parts if part.name == "train"):
        if not _is_divided_otherwise(cache, source):
            continue
        seen = int((cache.find(texts) >= 0).sum())
        if seen:
            reporter.note(
                f"{cache.where}: dumped with other rows, other labels or another data seed, so other rows may have "
                f"been held out. {seen:,} of the {len(texts):,} rows that are scored here are in it: a teacher that "
                "was fine-tuned for that dump may have been trained on them"
            )


def _is_divided_otherwise(cache: Cache, source: Source) -> bool:
    """Whether other rows may have been held out when a cache was dumped, which tells by labels and rows alone."""
    division = source.division
    if division is not None and not division.held_out:
        return False
    table = source.table("train")
    data = cache.manifest.plan.data
    other_draw = division is not None and division.seed is not None and data.get("source") != source.name
    if not other_draw:
        if data.get("digest") == table.digest():
            same = division is None or data.get("labels") == label_digest(table)
        else:
            same = _same_rows(cache, table)
        if same:
            return False
    was_labelled = bool((cache.labels(np.arange(len(cache))) >= 0).any())
    return was_labelled


def _same_rows(cache: Cache, table: Rows) -> bool:
    """Whether a cache has the rows of a table with their labels, in any order."""
    if len(cache) != len(table):
        return False
    row_hash = cache.row_hashes()
    label = cache.labels(np.arange(len(cache)))
    theirs = np.lexsort((label, row_hash))
    ours = np.lexsort((table.label, table.row_hash))
    same_texts = np.array_equal(row_hash[theirs], table.row_hash[ours])
    return same_texts and np.array_equal(label[theirs], table.label[ours])


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
