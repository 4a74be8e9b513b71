"""One training run, resolved against its data: settings, task, rows and result folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from logitcache.cache.cache import Cache
from logitcache.cache.joined import Joined
from logitcache.cache.rows import stored_source
from logitcache.config.data import LANGUAGE
from logitcache.config.embedding import check_student as check_encoder
from logitcache.config.methods import METHODS
from logitcache.config.option import options_of
from logitcache.config.own import student_digest
from logitcache.config.student import check_precision
from logitcache.config.train import TrainConfig
from logitcache.cost.flops import DTYPES as DTYPE_OF_PRECISION
from logitcache.data.class_weights import class_weights
from logitcache.data.division import FEWEST
from logitcache.data.folds import check_folds
from logitcache.data.names import listed
from logitcache.data.source import UNLABELLED_SPLIT, Rows, Source
from logitcache.data.tasks.classification import Classification, check_metric
from logitcache.data.tasks.table import TASKS, own_metric
from logitcache.errors import SpecError
from logitcache.models.emulation import note_emulated
from logitcache.models.load import DTYPES, load_tokenizer
from logitcache.models.quiet import quiet
from logitcache.models.tokenizer import tokenizer_fingerprint
from logitcache.records import Float32
from logitcache.reporter import Reporter
from logitcache.stages.budget import budget_plan, budget_record, check_text
from logitcache.stages.defaults import (
    checkpoint_name,
    default_folder,
    optional_record,
    with_init,
    with_selection,
)
from logitcache.stages.layers import with_layers
from logitcache.stages.preflight import check_classes
from logitcache.stages.rows import selected_rows, trained_on
from logitcache.stages.stored import (
    caches_of,
    check_tokens_alike,
    check_vocabulary,
    stored_tokenizer,
    with_length,
)
from logitcache.stages.teachers import starts_of, unlabelled_of
from logitcache.student.budget import NOT_CHARGED, Charge
from logitcache.student.callbacks import check_report
from logitcache.student.methods import Objective, objective
from logitcache.student.model import commit_of, lacks_tokenizer, student_tokenizer
from logitcache.student.settings import FitSettings
from logitcache.student.term import OwnObjective
from logitcache.student.terms.objective import SumObjective

FORMAT = "logitcache-run/1"
# Paths, or recorded elsewhere in a result: not what makes two runs the same.
NOT_RECORDED = {
    "first_copy",
    *(declared.path[0] for declared in options_of(TrainConfig) if not declared.option.recorded),
}


@dataclass(frozen=True)
class Job:
    """A run with everything resolved that can be before it is trained."""

    config: TrainConfig  # with defaults that depend on student and data
    requested: TrainConfig  # as it was given
    source: Source
    task: Classification
    objective: Objective | OwnObjective | SumObjective
    # row_id as the student's teacher numbers it: unlabelled rows behind those of the train split
    train: Rows
    out: Path
    settings_name: str  # as in a folder's name
    # the named one, the checkpoint's own, or the one learnt from the rows: `with_tokenizer`
    tokenizer: Any = None
    # what the tokenizer does, and the length that it cuts rows to
    reads: Mapping[str, Any] | None = None
    # None without a teacher, and until a Self-KD has made its cache
    cache_fingerprint: str | None = None
    # by split: the caches that hold the rows
    stored: Mapping[str, Cache] = field(default_factory=dict)
    charge: Charge = NOT_CHARGED  # what a budget pays for the teacher's answers

    @cached_property
    def class_weight(self) -> Float32 | None:
        """The weight of each class in the loss, f32[K]. Raises SpecError for an unknown class."""
        return class_weights(self.config.class_weight, self.train.labels, self.task)

    @property
    def self_taught(self) -> bool:
        """Whether the run makes its teacher's answers itself."""
        return METHODS[self.objective.method].self_taught and not self.config.caches

    @property
    def max_length(self) -> int:
        """The longest row that the tokenizer gives, in tokens."""
        assert self.reads is not None
        return int(self.reads["max_length"])

    def unlabelled(self) -> Rows | None:
        """The rows of the ``unlabelled`` split, if the method learns from them."""
        return unlabelled_of(self.objective.method, self.source)

    def unscored(self) -> dict[str, Rows]:
        """The rows of held-out splits without a label, by split, if they are to be answered."""
        splits: dict[str, Rows] = {}
        if not self.config.predict:
            return splits
        for name, rows in self.source.splits.items():
            without_label = np.flatnonzero(rows.label < 0)
            if name not in ("train", UNLABELLED_SPLIT) and len(without_label):
                splits[name] = rows.select(without_label)
        return splits

    def starts(self) -> dict[str, int]:
        """The parts of the training set, and the row_id each begins with."""
        return starts_of(self.objective.method, self.source)

    def row_counts(self) -> tuple[int, int]:
        """How many rows of training have a label, and how many not; several masks count once."""
        unlabelled = int((self.train.label < 0).sum())
        return (len(self.train) - unlabelled) // self.source.views, unlabelled

    def record(self) -> dict[str, Any]:
        """The run's settings as its result records them: names and numbers, no paths."""
        return dict(self._record)

    @cached_property
    def _record(self) -> dict[str, Any]:
        """Computed once: a student's checkpoint and all rows are digested."""
        values = {}
        for member in fields(self.config):
            if member.name not in NOT_RECORDED:
                values[member.name] = getattr(self.config, member.name)
        for name in ("label_map", "class_weight"):
            if not values[name]:
                del values[name]
        source = student_digest(self.config.student)
        if source is not None:
            values["student_source"] = source
        tokenizer = self.config.tokenizer
        division = self.source.division
        unlabelled = self.unlabelled()
        return {
            **values,
            **self.objective.record(),
            "format": FORMAT,
            "student": checkpoint_name(self.config.student),
            "tokenizer": None if tokenizer is None else checkpoint_name(tokenizer),
            "tokenizer_fingerprint": self.reads,
            "data": self.source.digest(),
            "division": None if division is None else division.to_dict(),
            "label_names": self.task.label_names,
            "unlabelled": None if unlabelled is None else unlabelled.digest(),
            "cache": self.cache_fingerprint,
            **budget_record(self.config, self.charge),
            **optional_record(self.config),
        }


def resolve(
    config: TrainConfig, source: Source | None, reporter: Reporter, *, reads_stored: bool = True
) -> Job:
    """Resolve defaults and refuse what cannot be, before anything is written. Raises SpecError.
    With ``reads_stored=False`` rows of documents are always tokenised anew, also where a cache holds
    them; used when fine-tuning a teacher.
    """
    config.check()
    goal = objective(config.method, config.alpha, config.a, config.temperature, config.tau_squared)
    check_report(config.report_to)
    task_of_rows = config.columns.task if source is None else source.task
    check_encoder(task_of_rows, config.method, config.student)
    config = with_layers(config, task_of_rows)
    requested = config
    config = with_init(config)
    fit_settings(config).share()  # among the ranks
    check_precision(config.precision, torch.cuda.is_available())
    _note_precision(config.precision, reporter)
    config, source, stored, tokenizer = _rows_of_run(config, source, reporter, reads_stored)
    _note_evaluation(source, reporter)
    train = selected_rows(config, source, reporter)
    if source.views > 1 and (config.rows is not None or config.folds is not None):
        raise SpecError(
            expected="all rows, where each is stored under several masks",
            found="--rows or --folds",
            advice="Leave it out, or dump with --views 1.",
            where=source.name,
        )
    if config.folds is not None:
        check_folds(train, source, config.folds)
    task = _task(source, train, reporter)
    metric = config.metric or own_metric(source)
    config = replace(config, metric=check_metric(metric, task))
    config = with_selection(config, source)
    folder, settings_name = default_folder(requested, source)
    config = replace(config, revision=commit_of(config.student, config.revision))
    class_weights(config.class_weight, train.labels, task)  # refused before anything is written
    plan = budget_plan(config)
    if plan is not None:
        check_text(plan, config, train, source.views, source.name)
    return Job(
        config=config,
        requested=requested,
        source=source,
        task=task,
        objective=goal,
        train=train,
        out=config.out or folder,
        settings_name=settings_name,
        tokenizer=tokenizer,
        cache_fingerprint=stored["train"].fingerprint if stored else None,
        stored=stored,
    )


def _rows_of_run(
    config: TrainConfig, source: Source | None, reporter: Reporter, reads_stored: bool
) -> tuple[TrainConfig, Source, Mapping[str, Cache], Any]:
    """(config, source, stored caches by split, tokenizer). The source comes from the caches if they
    hold the rows; the tokenizer is None unless it was needed to make rows.
    """
    if config.columns.task in LANGUAGE and config.caches and source is None:
        stored = caches_of(config, None, reporter)
        return with_length(config, stored), _stored_rows(stored, reporter), stored, None
    source = trained_on(config, source, reporter)
    kind = TASKS[source.task]
    if not kind.self_contained:
        return config, source, {}, None
    if any(rows.tokens for rows in source.splits.values()):  # made before: of a teacher's own rows
        return config, source, {}, None
    if reads_stored and config.live is None:
        stored = caches_of(config, source, reporter)
        if stored:
            return with_length(config, stored), _stored_rows(stored, reporter), stored, None
    tokenizer = _tokenizer(config, source, reporter)
    limit = int(min(tokenizer.model_max_length, 2**31 - 1))
    tokenised = kind.tokenised(source, tokenizer, config.sequences, limit, reporter)
    longest = 0
    for rows in tokenised.splits.values():
        longest = max(longest, int(rows.tokens["labels"].lengths().max(initial=0)))
    return replace(config, max_length=longest), tokenised, {}, tokenizer


def _stored_rows(stored: Mapping[str, Cache], reporter: Reporter) -> Source:
    """The rows that caches hold, without those that have no answer, which is said."""
    source = stored_source(stored)
    for split, cache in stored.items():
        lost = len(cache) - len(source.splits[split])
        if lost:
            reporter.note(
                f"{cache.where}: {lost:,} rows are left out: the cache has no answer to them, as its dump skipped them"
            )
    return source


def with_tokenizer(job: Job, reporter: Reporter, teacher: Joined | None = None) -> Job:
    """The run with its tokenizer, loaded or learnt. A learnt one is written to the workspace, so
    whatever can be refused without it is refused before. Raises FingerprintMismatch where it does
    not fit the tokens of the teacher's caches.
    """
    tokenizer = job.tokenizer or _tokenizer(
        job.config, job.source, reporter, job.stored.get("train")
    )
    if job.stored:
        check_vocabulary(tokenizer, job.stored["train"], job.config.workspace, reporter)
    elif isinstance(job.objective, SumObjective) and job.objective.compares_tokens:
        for cache in () if teacher is None else teacher.caches:
            check_tokens_alike(tokenizer, cache)
    with quiet():
        parts = tokenizer_fingerprint(tokenizer)
    reads = {**parts, "max_length": int(min(job.config.max_length, tokenizer.model_max_length))}
    return replace(job, tokenizer=tokenizer, reads=reads)


def fit_settings(config: TrainConfig) -> FitSettings:
    """The options of the optimisation alone."""
    return FitSettings(**{field.name: getattr(config, field.name) for field in fields(FitSettings)})


def _tokenizer(
    config: TrainConfig, source: Source, reporter: Reporter, stored: Cache | None = None
) -> Any:
    if stored is not None and config.tokenizer is None and lacks_tokenizer(config.student):
        return load_tokenizer(str(stored_tokenizer(config.workspace, stored)))
    longest = max(config.max_length, config.sequences.seq_len or 0)  # of a learnt vocabulary
    name = config.tokenizer
    if name is None and config.live is not None and lacks_tokenizer(config.student):
        name = config.live
    return student_tokenizer(
        config.student,
        name,
        source.split("train"),
        config.vocabulary,
        longest,
        config.workspace.tokenizers,
        revision=config.revision,
        trust_remote_code=config.trust_remote_code,
        reporter=reporter,
    )


def _note_precision(precision: str, reporter: Reporter) -> None:
    """Note where a training is slower in its precision than in single precision."""
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    dtype = DTYPES[DTYPE_OF_PRECISION[precision]]
    note_emulated(f"--precision {precision}", dtype, device, reporter)


def _note_evaluation(source: Source, reporter: Reporter) -> None:
    """Note what weakens the scores of a run: no rows held out, or texts that are in train too."""
    if TASKS[source.task].self_contained and set(source.splits) == {"train"}:
        reporter.note(
            f"{source.name}: nothing is held out to score on: there are fewer than {FEWEST} documents, or the cache of "
            "dev is not beside that of train. Scores are measured on training rows, which says nothing about new data"
        )
    elif source.division is not None and not source.division.held_out:
        reporter.note(
            f"{source.name}: no labelled rows are given to score on, and there are too few to hold any out (fewer than "
            f"two classes with {FEWEST} rows, or with texts that differ): scores are measured on "
            "training rows, which says nothing about new data"
        )
    for split, shared in source.shared().items():
        reporter.note(
            f"{source.name}: {shared.rows:,} of {shared.of:,} {split} texts also stand in train (first: {split} row "
            f"{shared.first}): these rows do not measure generalisation"
        )


def _task(source: Source, train: Rows, reporter: Reporter) -> Classification:
    if TASKS[source.task].fixed_label is not None:
        return TASKS[source.task](source.num_labels, source.label_names)
    check_classes(train.labels, source)
    task = TASKS[source.task](source.num_labels, source.label_names)
    without = np.setdiff1d(np.arange(task.num_labels), train.labels).tolist()
    if without:
        class_names = source.label_names or range(source.num_labels)
        names = listed([str(class_names[number]) for number in without])
        reporter.note(
            f"{source.name}: {len(without)} of {task.num_labels} classes have no training row: {names}"
        )
    return task
