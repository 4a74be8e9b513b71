"""``logitcache train``: a run asked for by name, with its teacher's answers found, joined or (Self-KD) made."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from logitcache import identity
from logitcache.cache.cache import Cache
from logitcache.cache.joined import Joined, by_part, join, join_parts
from logitcache.config.methods import METHODS
from logitcache.config.teacher import DumpSettings
from logitcache.config.train import TrainConfig
from logitcache.data.division import stand_in
from logitcache.data.match import Kind, shown
from logitcache.data.source import Rows, Source
from logitcache.data.tasks.classification import Classification
from logitcache.errors import LogitCacheError, SpecError
from logitcache.models.load import quiet
from logitcache.ranks import alone_if_one, first_alone, is_first, meet, of_first, on_its_own
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.caches import Dump
from logitcache.stages.defaults import default_folder
from logitcache.stages.folder import CONTENT, OtherRun, cache_of, check_foreign, check_same, is_done
from logitcache.stages.job import Job, ready, with_tokenizer
from logitcache.stages.relabelled import check_gold_labels
from logitcache.stages.rows import check_unlabelled
from logitcache.stages.run import run
from logitcache.stages.stage import Stage, made
from logitcache.stages.workspace import find_cache, self_cache
from logitcache.store.columns import ROW
from logitcache.store.lock import Lock
from logitcache.teacher.asked import label_digest
from logitcache.teacher.dump import checked_plan
from logitcache.teacher.model import TeacherModel, load_teacher
from logitcache.teacher.panel import FoldTeachers, OneTeacher, Panel

ANSWERS = "the answers of this first copy"
FIRST_COPY = "first copy"  # what the reporter calls its training
WINDOWS = ". Its store is read by windows of rows, which is slow in another order: convert it to arrow"
R = TypeVar("R")


class Run(Stage[R]):
    """One student's training, with the answers that it learns from."""

    content = CONTENT

    def __init__(self, job: Job, teacher: Joined | None, name: str) -> None:
        """``name`` is what the reporter calls the training; a Self-KD has no ``teacher`` until it runs."""
        self.job = job
        self.teacher = teacher
        self.name = name
        self.place = job.out

    def asked(self) -> dict[str, Any]:
        return self.job.asked()

    def is_done(self) -> bool:
        return is_done(self.job)

    def found(self) -> str:
        return f"{self.place}: this run is there already"

    def run(self, reporter: Reporter, lock: Lock | None) -> None:
        job, teacher = self.job, self.teacher
        if job.self_taught:
            teacher = _self_taught(job, reporter)
            job = replace(job, cache_fingerprint=teacher.fingerprint)
            of_first(partial(check_same, job))  # a run that goes on must go on with the same answers
            job, teacher = _proved(job, teacher, reporter)
        if teacher is not None:
            _say_division(teacher, job, reporter)
        with quiet():
            run(job, teacher, reporter, self.name)


class Training(Run[Path]):
    """A training whose result is its folder."""

    def result(self) -> Path:
        return self.place


class FirstCopy(Run[TeacherModel]):
    """A base run of which Self-KD asks the student: loaded while nobody can replace it."""

    def result(self) -> TeacherModel:
        teacher = load_copy(self.job.config.seed, type(self.job.task), self.place)
        meet()  # of several ranks the first holds the folder, for all
        return teacher


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
    with alone_if_one():
        return made(Training(*prepared(config, source, reporter), "train"), reporter)


def prepared(config: TrainConfig, source: Source | None, reporter: Reporter) -> tuple[Job, Joined | None]:
    """A run made ready, and the answers that it is to learn from, found and proved. Nothing is written but a
    vocabulary that is learnt. Raises what :func:`train` raises.
    """
    job = ready(config, source, reporter)
    if job.unlabelled() is not None:
        check_unlabelled(job.source, config.unlabelled)
    teacher = _given(job, reporter)
    if teacher is not None:
        if teacher.match.kind is not Kind.SAME:
            reporter.note(shown(teacher.match))
        job = replace(job, cache_fingerprint=teacher.fingerprint)
        job = _placed_by_cache(job)
    check_foreign(job.out)
    if teacher is not None:
        job, teacher = _proved(job, teacher, reporter)
    return with_tokenizer(job, reporter), teacher


def _proved(job: Job, teacher: Joined, reporter: Reporter) -> tuple[Job, Joined]:
    """The run without the rows that a dump has skipped, and its teacher with every row located: proved by its hash to
    be one that the teacher answered. Raises SpecError, FingerprintMismatch, AlignmentError.
    """
    teacher = teacher.located(job.train.row_id, job.train.row_hash)
    job = _without_skipped(job, teacher, reporter)
    if job.stored:  # its rows are those of the cache
        return job, teacher
    check_gold_labels(teacher, job.train, reporter)
    _say_located(teacher, job, reporter)
    return job, teacher


def _placed_by_cache(job: Job) -> Job:
    """The run with its folder. Where caches are named and no folder is, another cache than the workspace's own is
    another folder, unless a run that learns from it has begun in the plain one.
    """
    fingerprint = job.cache_fingerprint
    if job.requested.out is not None or not job.requested.caches or cache_of(job.out) == fingerprint:
        return job
    if METHODS[job.config.method].reads_cache:
        with suppress(LogitCacheError):  # none is found, or several
            if _found(job, SILENT).fingerprint == fingerprint:
                return job
    out, settings = default_folder(job.requested, job.source, fingerprint)
    return replace(job, out=out, settings=settings)


def _given(job: Job, reporter: Reporter) -> Joined | None:
    """The caches that are named, or (for kd) found in the workspace."""
    config, starts = job.config, job.starts()
    if job.stored:
        taught = METHODS[config.method].needs_teacher
        if not taught:
            return None
        return join([job.stored["train"]], starts, task=job.task, label_map=config.label_map)
    if config.caches:
        caches = [Cache.open(folder) for folder in config.caches]
        return join(caches, starts, config.teachers, task=job.task, label_map=config.label_map, rows=job.train)
    return _found(job, reporter) if METHODS[config.method].reads_cache else None


def _found(job: Job, reporter: Reporter) -> Joined:
    """The one cache of each part of the rows in the workspace. Raises SpecError where there is none, or several."""
    config, starts = job.config, job.starts()
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
    """Whether a cache has the rows of a table with their labels, in any order; of words, the texts alone."""
    if len(cache) != len(table):
        return False
    row_hash = cache.row_hashes()
    if cache.level != ROW:
        return np.array_equal(np.sort(row_hash), np.sort(table.row_hash))
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
        panel = FoldTeachers([partial(load_copy, job.config.seed, type(job.task), copy) for copy in copies])
    starts = job.starts()
    return join([_answers(panel, job, split, reporter) for split in starts], starts, task=job.task)


def load_copy(seed: int, kind: type[Classification], folder: Path) -> TeacherModel:
    """A first copy, called alike wherever it lies: its answers are the same."""
    return replace(load_teacher(str(folder), kind=kind), name=f"base-seed{seed}")


def _answers(panel: Panel, job: Job, split: str, reporter: Reporter) -> Cache:
    """What the first copy says of one part of the rows."""
    settings = DumpSettings(max_length=job.config.max_length, sequences=job.config.sequences)
    weights = str(panel.identity()["weights"])
    place = self_cache(job.config.workspace, job.source, split, weights, settings.max_length)
    with first_alone():  # of several ranks the first asks, the others find what was answered
        if is_first():
            planned = checked_plan(panel, job.source, split, settings, own_classes=True, reporter=reporter)
            with on_its_own():
                made(Dump(planned, job.source, place, content=ANSWERS), reporter, wait=True)
    return Cache.open(place)


def _as_base(job: Job) -> TrainConfig:
    """The base run of the same settings, in its default folder."""
    of_self_kd: dict[str, Any] = dict.fromkeys(("alpha", "temperature", "tau_squared", "folds"))
    without = {**of_self_kd, "method": "base", "overwrite": False, "out": None}
    return replace(job.config, **without, revision=job.requested.revision)


def _first_copy(job: Job, reporter: Reporter) -> TeacherModel:
    """The base run of this seed: the one in its default place, unless that has other settings or is this run's own
    place; else one in a place of its own. One that another command is training is waited for.
    """
    base = _as_base(job)
    if default_folder(base, job.source)[0].resolve() != job.out.resolve():
        with suppress(OtherRun):
            return made(FirstCopy(*prepared(base, job.source, reporter), FIRST_COPY), reporter, wait=True)
    place = job.config.workspace.first_copy(identity.digest_json(job.asked()))
    copy = prepared(replace(base, out=place), job.source, reporter)
    return made(FirstCopy(*copy, FIRST_COPY), reporter, wait=True)


def _copy_without(job: Job, fold: tuple[int, int], reporter: Reporter) -> Path:
    """The first copy that never saw one fold's rows."""
    place = job.config.workspace.first_copy(identity.digest_json({**job.asked(), "without_fold": fold}))
    copy = prepared(replace(_as_base(job), without_fold=fold, out=place), job.source, reporter)
    return made(Training(*copy, FIRST_COPY), reporter, wait=True)
