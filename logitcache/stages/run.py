"""A run: a student is trained, scored and written into its folder, which the caller has locked.

The folder holds the student, ``predictions.parquet``, and, written last, ``result.json``.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from logitcache.cache.joined import Joined
from logitcache.config.budget import STEPS_FILE
from logitcache.config.workspace import PREDICTIONS, RESULT
from logitcache.data.class_weights import weights_by_name
from logitcache.data.names import listed
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import UNLABELLED_SPLIT
from logitcache.data.tasks.classification import Classification
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.models.load import longest_input
from logitcache.models.probe import find_padding, padding_remark
from logitcache.models.quiet import quiet
from logitcache.ranks import first_alone, is_first, meet
from logitcache.records import Examples, Padding, Side
from logitcache.reporter import Reporter
from logitcache.stages.budget import budget_plan, clock, most_passes
from logitcache.stages.folder import claim, forget
from logitcache.stages.job import Job, fit_settings
from logitcache.stages.outcome import result_dict, write_predictions
from logitcache.stages.tokenised import tokenised
from logitcache.store.json_files import write_json
from logitcache.student import checkpoints
from logitcache.student.budget import BudgetClock, Spent
from logitcache.student.fit import Diverged, Fitted, fit
from logitcache.student.model import build_student
from logitcache.teacher.model import LiveTeacher, TeacherModel, load_teacher


def run(job: Job, teacher: Joined | None, reporter: Reporter, name: str = "train") -> None:
    """Train, evaluate, and write the result folder, ``result.json`` last. ``teacher`` answers every
    training row of a method that has one. ``name`` is what the reporter calls the steps. Of several
    ranks the first alone writes.
    """
    config = job.config
    settings = fit_settings(config)
    tokenizer = job.tokenizer
    max_length = job.max_length
    assert config.init is not None
    student = build_student(
        config.student,
        config.init,
        job.task,
        tokenizer,
        max_length,
        config.seed,
        revision=config.revision,
        trust_remote_code=config.trust_remote_code,
        norm=config.norm,
    )
    weights = "fresh weights" if config.init == "random" else "its own weights"
    size = f"{sum(p.numel() for p in student.parameters()) / 1e6:.1f} M parameters"
    run_name = f"{config.method}, seed {config.seed}"
    reporter.note(
        f"student: {config.student}, {size}, {weights}; {run_name}, on {_row_counts(job)}"
    )
    if job.class_weight is not None:
        weights_of = weights_by_name(job.class_weight, job.task)
        text = listed([f"{label} {weight:g}" for label, weight in weights_of.items()])
        unlabelled = "; rows without a label weigh 1" if (job.train.labels < 0).any() else ""
        reporter.note(f"class weights: {text}{unlabelled}")
    max_length = min(max_length, longest_input(student, tokenizer))
    padding = _padding(job, student, tokenizer, max_length, reporter)
    prepared = _prepare(job, tokenizer, max_length, reporter)
    prepared = {split: replace(rows, padding=padding) for split, rows in prepared.items()}
    prepared["train"] = replace(prepared["train"], views=job.source.views)
    unscored = _unscored(job, tokenizer, max_length, padding)
    plan = budget_plan(config, job.charge)
    in_the_loop = None
    if config.live is not None:
        in_the_loop = _live_teacher(job, prepared["train"], reporter)
    budget = None
    if plan is not None:
        budget = clock(plan, student, job.objective, in_the_loop, teacher, reporter)
        settings = replace(settings, epochs=most_passes(config))
    with first_alone():
        if is_first():
            claim(job)
            _remove_torn(job.out / "checkpoints", reporter)
    try:
        with checkpoints.disk(job.out), reporter.stage(name, "steps") as stage:
            fitted = fit(
                student,
                tokenizer,
                job.objective,
                job.task,
                prepared,
                in_the_loop or teacher,
                settings,
                job.out,
                stage,
                job.class_weight,
                job.stored,
                unscored,
                budget,
            )
    except SpecError as error:
        can_go_on = checkpoints.last(job.out / "checkpoints") is not None and not isinstance(
            error, Diverged | Spent
        )
        if is_first() and not can_go_on:
            forget(job.out)
        raise error.at(config.student) from error.__cause__
    if is_first():
        _write(job, fitted, teacher, budget, reporter)
    meet()
    metric = config.metric or "accuracy"
    scores = [f"{split} {values[metric]:.4f}" for split, values in fitted.scores.items()]
    reporter.note(f"{job.out}: {config.metric} {', '.join(scores) or 'not measured: no rows'}")


def _write(
    job: Job,
    fitted: Fitted,
    teacher: Joined | None,
    budget: BudgetClock | None,
    reporter: Reporter,
) -> None:
    """The files of a result, ``result.json`` last."""
    write_predictions(
        job.out / PREDICTIONS,
        fitted.predictions,
        fitted.unscored,
        job.task,
    )
    if budget is not None:
        budget.write_steps(job.out / STEPS_FILE)
        reporter.note(f"{job.out}: {budget.in_words()}")
    write_json(job.out / RESULT, result_dict(job, fitted, teacher, budget))
    # logs of `--report-to tensorboard` are moved out
    logs = job.out / "checkpoints" / "runs"
    if logs.is_dir():
        logs.replace(job.out / "runs")
    shutil.rmtree(job.out / "checkpoints", ignore_errors=True)


def _padding(
    job: Job, student: Any, tokenizer: Any, max_length: int, reporter: Reporter
) -> Padding:
    """How the student's batches are padded; its saved tokenizer is set to the same side."""
    own = Padding.of(tokenizer)
    with quiet():
        try:
            padding = find_padding(
                student,
                tokenizer,
                own,
                job.train,
                max_length,
                torch.float32,
                per_token=job.task.per_token,
            )
        except SpecError as error:
            raise error.at(job.config.student) from error.__cause__
    note = padding_remark(padding, own)
    if note:
        reporter.note(f"{job.config.student}: {note}")
    if padding.side is not Side.NONE:
        tokenizer.padding_side = str(padding.side)
    return padding


def _remove_torn(folder: Path, reporter: Reporter) -> None:
    """Remove checkpoints that a kill has left half written, with a note."""
    torn = checkpoints.sweep(folder)
    if torn:
        last = checkpoints.last(folder)
        goes_on = "this run begins anew" if last is None else f"this run goes on from {last.name}"
        reporter.note(
            f"{folder}: {', '.join(torn)} was not written whole, and is removed; {goes_on}"
        )


def _row_counts(job: Job) -> str:
    labelled, unlabelled = job.row_counts()
    if job.task.fixed_label is not None:
        return f"{labelled + unlabelled:,} rows"
    text = f"{labelled:,} labelled rows"
    return f"{text} and {unlabelled:,} unlabelled ones" if unlabelled else text


def _unscored(
    job: Job, tokenizer: object, max_length: int, padding: Padding
) -> dict[str, Examples]:
    """The rows of held-out splits without a label as the student reads them, if answered."""
    splits = {}
    for name, rows in job.unscored().items():
        examples = tokenised(tokenizer, job.reads or {}, rows, max_length)
        splits[name] = replace(examples, padding=padding)
    return splits


def _prepare(
    job: Job, tokenizer: object, max_length: int, reporter: Reporter
) -> dict[str, Examples]:
    """Tokenise the rows trained on, and every held-out split that has labels."""
    reads = job.reads or {}
    prepared = {"train": tokenised(tokenizer, reads, job.train, max_length)}
    for name, rows in job.source.splits.items():
        labelled = (rows.label >= 0).nonzero()[0]
        if name in ("train", UNLABELLED_SPLIT):
            continue
        if len(labelled) < len(rows):
            unlabelled = len(rows) - len(labelled)
            reporter.note(
                f"{job.source.name}/{name}: {unlabelled} of {len(rows)} rows have no label: not evaluated"
            )
        if len(labelled):
            prepared[name] = tokenised(tokenizer, reads, rows.select(labelled), max_length)
    for name, examples in prepared.items():
        note = job.task.left_out(examples)
        if note:
            reporter.note(f"{job.source.name}/{name}: {note}")
    return prepared


def _live_teacher(job: Job, rows: Examples, reporter: Reporter) -> LiveTeacher:
    """The teacher that a run names, asked in every step about its training rows. Raises SpecError
    where there is none, FingerprintMismatch where it gives other numbers to the tokens.
    """
    assert job.config.live is not None
    kind: type[Classification] = type(job.task)
    teacher = load_teacher(
        job.config.live, kind=kind, trust_remote_code=job.config.trust_remote_code
    )
    _check_tokens(job, teacher)
    reporter.note(f"teacher: {teacher.name}, asked in every step: {teacher.columns_in_words()}")
    read = prepare(teacher.tokenizer, job.train, teacher.max_length)
    return LiveTeacher(teacher, replace(read, padding=teacher.padding, views=rows.views))


def _check_tokens(job: Job, teacher: TeacherModel) -> None:
    tokens = job.tokenizer.get_vocab()
    teacher_tokens = teacher.tokenizer.get_vocab()
    if tokens == teacher_tokens:
        return
    raise FingerprintMismatch(
        expected=f"a tokenizer with the {len(teacher_tokens):,} tokens of the teacher",
        found=f"one with {len(tokens):,}, or other numbers",
        advice=f"Give --tokenizer {job.config.live}.",
        where=f"--live {job.config.live}",
    )
