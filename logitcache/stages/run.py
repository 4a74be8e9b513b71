"""One run made ready: a student trained, scored and written into its result folder, which the caller holds.

The folder holds the student (as `transformers` loads it), ``predictions.parquet``, and, written last, ``result.json``.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from logitcache.cache.joined import Joined
from logitcache.data.class_weights import weights_by_name
from logitcache.data.names import listed
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import UNLABELLED_SPLIT
from logitcache.errors import SpecError
from logitcache.models.load import longest_input, quiet
from logitcache.models.probe import find_padding, padding_remark
from logitcache.ranks import first_alone, is_first, meet
from logitcache.records import Examples, Padding, Side
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.folder import claim, forget
from logitcache.stages.job import Job, fit_settings
from logitcache.stages.outcome import result_dict, write_predictions
from logitcache.store.manifest import write_json
from logitcache.student import checkpoints
from logitcache.student.fit import Diverged, fit
from logitcache.student.model import build_student
from logitcache.student.trainer import disk


def run(job: Job, teacher: Joined | None, reporter: Reporter, name: str = "train") -> None:
    """Train, evaluate, and write the result folder. ``result.json`` comes last. ``teacher`` answers for every training
    row of a method that has one. ``name`` is what the stage of its steps is called. Of several ranks the first alone
    writes and speaks.
    """
    config, settings = job.config, fit_settings(job.config)
    if not is_first():
        reporter = SILENT
    tokenizer, max_length = job.tokenizer, job.max_length
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
    )
    weights = "fresh weights" if config.init == "random" else "its own weights"
    size = f"{sum(p.numel() for p in student.parameters()) / 1e6:.1f} M parameters"
    reporter.note(f"student: {config.student}, {size}, {weights}; {config.method}, seed {config.seed}, on {_rows(job)}")
    if job.class_weight is not None:
        pairs = weights_by_name(job.class_weight, job.task).items()
        bare = "; rows without a label weigh 1" if (job.train.labels < 0).any() else ""
        reporter.note(f"class weights: {listed([f'{name} {weight:g}' for name, weight in pairs])}{bare}")
    max_length = min(max_length, longest_input(student, tokenizer))
    padding = _padding(job, student, tokenizer, max_length, reporter)
    rows = _prepare(job, tokenizer, max_length, reporter)
    prepared = {split: replace(part, padding=padding) for split, part in rows.items()}
    prepared["train"] = replace(prepared["train"], views=job.source.views)
    with first_alone():
        if is_first():
            claim(job)
            _sweep(job.out / "checkpoints", reporter)
    try:
        with disk(job.out), reporter.stage(name, "steps") as stage:
            fitted = fit(
                student,
                tokenizer,
                job.objective,
                job.task,
                prepared,
                teacher,
                settings,
                job.out,
                stage,
                job.class_weight,
                job.stored,
            )
    except SpecError as error:
        diverged = isinstance(error, Diverged)
        begun = checkpoints.last(job.out / "checkpoints") is not None
        if is_first() and (diverged or not begun):  # what can be gone on with is kept
            forget(job.out)
        raise error.at(config.student) from error.__cause__
    if is_first():
        write_predictions(job.out / "predictions.parquet", fitted.predictions, job.task.evidence_names)
        write_json(job.out / "result.json", result_dict(job, fitted, teacher))
        _clear(job.out)
    meet()
    scores = ", ".join(f"{split} {values[config.metric or 'accuracy']:.4f}" for split, values in fitted.scores.items())
    reporter.note(f"{job.out}: {config.metric} {scores}")


def _padding(job: Job, student: Any, tokenizer: Any, max_length: int, reporter: Reporter) -> Padding:
    """How the student's batches are made; the tokenizer that is saved beside it says the same of the side."""
    own = Padding.of(tokenizer)
    with quiet():
        try:
            padding = find_padding(
                student, tokenizer, own, job.train, max_length, torch.float32, per_token=job.task.per_token
            )
        except SpecError as error:
            raise error.at(job.config.student) from error.__cause__
    if note := padding_remark(padding, own):
        reporter.note(f"{job.config.student}: {note}")
    if padding.side is not Side.NONE:
        tokenizer.padding_side = str(padding.side)
    return padding


def _sweep(folder: Path, reporter: Reporter) -> None:
    """Say what a kill has cost, if it cost a checkpoint."""
    torn = checkpoints.sweep(folder)
    if torn:
        last = checkpoints.last(folder)
        goes_on = "this run begins anew" if last is None else f"this run goes on from {last.name}"
        reporter.note(f"{folder}: {', '.join(torn)} was not written whole, and is removed; {goes_on}")


def _rows(job: Job) -> str:
    bare = int((job.train.label < 0).sum())
    return f"{len(job.train) - bare:,} labelled rows" + (f" and {bare:,} unlabelled ones" if bare else "")


def _clear(out: Path) -> None:
    """Leave no checkpoints behind, but the logs that `--report-to tensorboard` wrote among them."""
    logs = out / "checkpoints" / "runs"
    if logs.is_dir():
        logs.replace(out / "runs")
    shutil.rmtree(out / "checkpoints", ignore_errors=True)


def _prepare(job: Job, tokenizer: object, max_length: int, reporter: Reporter) -> dict[str, Examples]:
    """Tokenise the rows trained on, and every held-out split that has labels."""
    prepared = {"train": prepare(tokenizer, job.train, max_length)}
    for name, rows in job.source.splits.items():
        labelled = (rows.label >= 0).nonzero()[0]
        if name in ("train", UNLABELLED_SPLIT):
            continue
        if len(labelled) < len(rows):
            bare = len(rows) - len(labelled)
            reporter.note(f"{job.source.name}/{name}: {bare} of {len(rows)} rows have no label: not evaluated")
        if len(labelled):
            prepared[name] = prepare(tokenizer, rows.select(labelled), max_length)
    for name, part in prepared.items():
        if note := job.task.left_out(part):
            reporter.note(f"{job.source.name}/{name}: {note}")
    return prepared
