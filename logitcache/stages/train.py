"""``logitcache train``: a run with its teacher's answers: found, joined or (Self-KD) made."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from logitcache import identity
from logitcache.cache.cache import Cache
from logitcache.cache.joined import Joined
from logitcache.cache.joining import join
from logitcache.config.methods import METHODS
from logitcache.config.teacher import DumpSettings
from logitcache.config.train import TrainConfig
from logitcache.data.division import stand_in
from logitcache.data.match import Kind, shown
from logitcache.data.source import Rows, Source
from logitcache.data.tasks.classification import Classification
from logitcache.errors import LogitCacheError, SpecError
from logitcache.models.quiet import quiet
from logitcache.ranks import (
    alone_if_one,
    check_launcher,
    first_alone,
    is_first,
    meet,
    of_first,
    on_its_own,
)
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.budget import budget_plan, charge_of
from logitcache.stages.caches import Dump
from logitcache.stages.defaults import default_folder
from logitcache.stages.folder import CONTENT, OtherRun, cache_of, check_foreign, check_same, is_done
from logitcache.stages.job import Job, resolve, with_tokenizer
from logitcache.stages.relabelled import check_gold_labels
from logitcache.stages.rows import check_unlabelled
from logitcache.stages.run import run
from logitcache.stages.stage import Stage, result_of
from logitcache.stages.stored import keep_tokenizer
from logitcache.stages.teachers import teacher_of, workspace_teacher
from logitcache.stages.workspace import self_cache
from logitcache.store.columns import ROW
from logitcache.store.lock import Lock
from logitcache.student.model import lacks_tokenizer
from logitcache.teacher.dump import checked_plan
from logitcache.teacher.dump_job import label_digest
from logitcache.teacher.model import TeacherModel, load_teacher
from logitcache.teacher.panel import FoldTeachers, OneTeacher, Panel

ANSWERS = "the answers of this first copy"
FIRST_COPY = "first copy"  # what the reporter calls its training
WINDOWS = (
    ". Its store is read by windows of rows, which is slow in another order: convert it to arrow"
)
R = TypeVar("R")


class Run(Stage[R]):
    """One student's training."""

    content = CONTENT

    def __init__(self, job: Job, teacher: Joined | None, name: str) -> None:
        """``name``: what the reporter calls the training. Self-KD first has no ``teacher``."""
        self.job = job
        self.teacher = teacher
        self.name = name
        self.folder = job.out

    def record(self) -> dict[str, Any]:
        return self.job.record()

    def is_done(self) -> bool:
        return is_done(self.job)

    def done_note(self) -> str:
        return f"{self.folder}: this run is there already"

    def run(self, reporter: Reporter, lock: Lock | None) -> None:
        job = self.job
        teacher = self.teacher
        if job.self_taught:
            teacher = _own_teacher(job, reporter)
            job = replace(job, cache_fingerprint=teacher.fingerprint)
            # a run that goes on must go on with the same answers
            of_first(partial(check_same, job))
            job, teacher = _proved(job, teacher, reporter)
        if teacher is not None:
            _note_division(teacher, job, reporter)
        with quiet():
            run(job, teacher, reporter, self.name)


class Training(Run[Path]):
    """A training whose result is its folder."""

    def result(self) -> Path:
        return self.folder


class FirstCopy(Run[TeacherModel]):
    """A base run whose student is Self-KD's teacher: loaded while no other command can replace it."""

    def result(self) -> TeacherModel:
        teacher = load_copy(self.job.config.seed, type(self.job.task), self.folder)
        meet()  # of several ranks the first holds the folder, for all
        return teacher


def train(
    config: TrainConfig,
    *,
    source: Source | None = None,
    reporter: Reporter = SILENT,
) -> Path:
    """Train one student; returns its result folder.

    A run that is done already is returned as it is; an interrupted one goes on. Of several ranks
    the first alone gives notes. Raises SpecError, FingerprintMismatch (labels or settings differ),
    AlignmentError (rows the teacher did not answer), Locked (another command is writing there).
    """
    check_launcher()
    if not is_first():
        reporter = SILENT
    with alone_if_one():
        return result_of(Training(*prepared(config, source, reporter), "train"), reporter)


def prepared(
    config: TrainConfig, source: Source | None, reporter: Reporter, *, reads_stored: bool = True
) -> tuple[Job, Joined | None]:
    """A run with its defaults resolved, and the answers that it is to learn from, located and
    proved. Nothing is written but a vocabulary that is learnt. Raises what :func:`train` raises.
    """
    job = resolve(config, source, reporter, reads_stored=reads_stored)
    if job.unlabelled() is not None:
        check_unlabelled(job.source, config.unlabelled)
    teacher = _teacher(job, reporter)
    if teacher is not None:
        if teacher.match.kind is not Kind.SAME:
            reporter.note(shown(teacher.match))
        job = _with_folder(replace(job, cache_fingerprint=teacher.fingerprint))
        job = replace(job, charge=charge_of(config, teacher, job.train.row_id))
        budget_plan(config, job.charge)
    check_foreign(job.out)
    if teacher is not None:
        job, teacher = _proved(job, teacher, reporter)
    return with_tokenizer(job, reporter, teacher), teacher


def _proved(job: Job, teacher: Joined, reporter: Reporter) -> tuple[Job, Joined]:
    """The run without the rows that a dump has skipped, and its teacher with every row located: its
    hash proves that the teacher answered it. Raises SpecError, FingerprintMismatch, AlignmentError.
    """
    teacher = teacher.located(job.train.row_id, job.train.row_hash)
    job = _without_skipped(job, teacher, reporter)
    if job.stored:  # its rows are those of the cache
        return job, teacher
    check_gold_labels(teacher, job.train, reporter)
    _note_moved(teacher, job, reporter)
    return job, teacher


def _with_folder(job: Job) -> Job:
    """The run with its folder. Where caches are named and no folder is, a cache other than the
    workspace's own has another folder, unless a run that learns from it has begun in the plain one.
    """
    fingerprint = job.cache_fingerprint
    if job.requested.out is not None or not job.requested.caches:
        return job
    if cache_of(job.out) == fingerprint:
        return job
    if METHODS[job.config.method].reads_cache:
        with suppress(LogitCacheError):  # none is found, or several
            usual = workspace_teacher(job.config, job.source, job.train, job.task, SILENT)
            if usual.fingerprint == fingerprint:
                return job
    out, settings = default_folder(job.requested, job.source, fingerprint)
    return replace(job, out=out, settings_name=settings)


def _teacher(job: Job, reporter: Reporter) -> Joined | None:
    """The caches that teach the run; None for a method without a teacher, and for Self-KD."""
    config = job.config
    if config.live is not None:  # it is loaded when the run is not done yet
        return None
    if not job.stored:
        return teacher_of(config, job.source, job.train, job.task, reporter)
    if not METHODS[config.method].needs_teacher:
        return None
    return join([job.stored["train"]], job.starts(), task=job.task, label_map=config.label_map)


def _without_skipped(job: Job, teacher: Joined, reporter: Reporter) -> Job:
    """The run without the rows that a dump has skipped. Raises SpecError where none is left."""
    answered = np.flatnonzero(teacher.answered(job.train.row_id))
    skipped = len(job.train) - len(answered)
    if not skipped:
        return job
    reporter.note(
        f"{teacher}: {skipped:,} rows are left out: the cache has no answer to them, as its dump skipped them"
    )
    if not len(answered):
        raise SpecError(
            expected="rows with an answer",
            found="none",
            advice="Check the teacher's weights for NaN or infinite values, and dump again.",
            where=str(teacher),
        )
    return replace(job, train=job.train.select(answered))


def _note_moved(teacher: Joined, job: Job, reporter: Reporter) -> None:
    """Note how many rows lie at another place in a cache than in the data."""
    for part, index in teacher.rows_by_part(job.train.row_id):
        row_id = job.train.row_id[index] - part.start
        for member in part.members:
            cache = member.cache
            rows = member.rows_of(row_id)
            moved = int((rows != row_id).sum())
            if moved:
                windows = "" if cache.window is None else WINDOWS
                reporter.note(
                    f"{cache.where}: of {len(row_id):,} {part.name} rows {moved:,} were found by content, "
                    f"the others at their places; each is proved by its hash{windows}"
                )


def _note_division(teacher: Joined, job: Job, reporter: Reporter) -> None:
    """Warn of caches that were dumped when other rows may have been held out."""
    source = job.source
    scored = []
    for name, rows in source.splits.items():
        if name in ("dev", "test"):
            scored.append(rows.row_hash[rows.label >= 0])
    texts = np.concatenate([np.empty(0, np.int64), *scored])
    # shared texts have a note of their own
    texts = texts[~stand_in(texts, source.split("train").row_hash)]
    for cache in next(part.caches for part in teacher.parts if part.name == "train"):
        if not _is_divided_otherwise(cache, source):
            continue
        count = int((cache.find(texts) >= 0).sum())
        if count:
            reporter.note(
                f"{cache.where}: dumped with other rows, other labels or another data seed, so other rows may have "
                f"been held out. {count:,} of the {len(texts):,} rows that are scored here are in it: a teacher that "
                "was fine-tuned for that dump may have been trained on them"
            )


def _is_divided_otherwise(cache: Cache, source: Source) -> bool:
    """Whether other rows may have been held out for a cache's dump, by its labels and rows."""
    division = source.division
    if division is not None and not division.held_out:
        return False
    table = source.table("train")
    data = cache.manifest.plan.data
    is_drawn = division is not None and division.seed is not None
    if not is_drawn or data.get("source") == source.name:
        if data.get("digest") == table.digest():
            is_same = division is None or data.get("labels") == label_digest(table)
        else:
            is_same = _has_same_rows(cache, table)
        if is_same:
            return False
    return bool((cache.labels(np.arange(len(cache))) >= 0).any())


def _has_same_rows(cache: Cache, table: Rows) -> bool:
    """Whether a cache has a table's rows with their labels, in any order; of words, the texts."""
    if len(cache) != len(table):
        return False
    row_hash = cache.row_hashes()
    if cache.level != ROW:
        return np.array_equal(np.sort(row_hash), np.sort(table.row_hash))
    rows = np.stack([row_hash, cache.labels(np.arange(len(cache)))])
    rows_of_table = np.stack([table.row_hash, table.label])
    order = np.lexsort(rows[::-1])
    order_of_table = np.lexsort(rows_of_table[::-1])
    return np.array_equal(rows[:, order], rows_of_table[:, order_of_table])


def _own_teacher(job: Job, reporter: Reporter) -> Joined:
    """Self-KD's teacher: the base run of this seed (trained now where it is missing) answers the
    rows that it was trained on; with folds, K runs each answer for the fold left out.
    """
    folds = job.config.folds
    panel: Panel
    if folds is None:
        panel = OneTeacher(_first_copy(job, reporter))
    else:
        loaders = []
        for fold in range(folds):
            reporter.note(f"fold {fold + 1} of {folds}: a first copy that does not see its rows")
            left_out = (fold, folds)
            name = identity.digest_json({**job.record(), "without_fold": left_out})
            folder = job.config.workspace.first_copy(name)
            base = replace(_as_base(job), without_fold=left_out, out=folder)
            training = Training(*prepared(base, job.source, reporter), FIRST_COPY)
            copy = result_of(training, reporter, wait=True)
            loaders.append(partial(load_copy, job.config.seed, type(job.task), copy))
        panel = FoldTeachers(loaders)
    starts = job.starts()
    return join([_answers(panel, job, split, reporter) for split in starts], starts, task=job.task)


def load_copy(seed: int, kind: type[Classification], folder: Path) -> TeacherModel:
    """A first copy under one name wherever its folder is, as its answers are the same."""
    return replace(load_teacher(str(folder), kind=kind), name=f"base-seed{seed}")


def _answers(panel: Panel, job: Job, split: str, reporter: Reporter) -> Cache:
    """The first copy's answers to one part of the rows."""
    settings = DumpSettings(max_length=job.config.max_length, sequences=job.config.sequences)
    weights = str(panel.identity()["weights"])
    folder = self_cache(job.config.workspace, job.source, split, weights, settings.max_length)
    with first_alone():  # of several ranks the first dumps, the others read
        if is_first():
            planned = checked_plan(
                panel, job.source, split, settings, own_classes=True, reporter=reporter
            )
            with on_its_own():
                result_of(Dump(planned, job.source, folder, content=ANSWERS), reporter, wait=True)
    return Cache.open(folder)


def _as_base(job: Job) -> TrainConfig:
    """The base run of the same settings, in its default folder."""
    names = ("alpha", "temperature", "tau_squared", "folds", "out", "first_copy")
    unset: dict[str, Any] = dict.fromkeys(names)
    config = replace(
        job.config, **unset, method="base", overwrite=False, revision=job.requested.revision
    )
    if job.task.self_contained and config.tokenizer is None and lacks_tokenizer(config.student):
        # its rows are tokens already, and hold no texts to learn a vocabulary from
        with first_alone():
            folder = keep_tokenizer(job.tokenizer, config.workspace)
        config = replace(config, tokenizer=str(folder))
    return config


def _first_copy(job: Job, reporter: Reporter) -> TeacherModel:
    """The base run of this seed: the one in its default folder (or the folder that is named),
    unless that has other settings or is this run's own folder; else one in a folder of its own.
    Waits for one that another command is training.
    """
    base = replace(_as_base(job), out=job.config.first_copy)
    folder = base.out or default_folder(base, job.source)[0]
    if folder.resolve() != job.out.resolve():
        with suppress(OtherRun):
            return result_of(
                FirstCopy(*prepared(base, job.source, reporter), FIRST_COPY), reporter, wait=True
            )
    folder = job.config.workspace.first_copy(identity.digest_json(job.record()))
    copy = prepared(replace(base, out=folder), job.source, reporter)
    return result_of(FirstCopy(*copy, FIRST_COPY), reporter, wait=True)
