"""The training stage: one method, one seed, one result folder.

The folder holds the student (as `transformers` loads it), ``predictions.parquet``, and, written last, ``result.json``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

from logitcache.cache import Cache
from logitcache.data.prepare import Prepared, prepare
from logitcache.data.source import Notify, Source
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.store.manifest import write_json
from logitcache.student.fit import fit
from logitcache.student.job import Job, TrainConfig, claim, forget, is_done, ready
from logitcache.student.model import build_student, student_tokenizer
from logitcache.student.outcome import result_dict, write_predictions
from logitcache.student.trainer import FitSettings, disk
from logitcache.teacher.dump import DumpSettings, dump
from logitcache.teacher.model import load_teacher, longest_input, quiet

OnStep = Callable[[int, int], None]


def train(
    config: TrainConfig,
    *,
    source: Source | None = None,
    notify: Notify = lambda _: None,
    on_step: OnStep = lambda step, of: None,
) -> Path:
    """Train one student; returns its result folder.

    A run that is there already is returned as it is; a broken-off one goes on. ``on_step`` gets steps done and in all.
    Raises SpecError, FingerprintMismatch (labels or settings differ), AlignmentError (rows the teacher did not answer).
    """
    job = ready(config, source, notify)
    cache = _given_cache(job, notify)
    if cache is not None:
        job = replace(job, cache_fingerprint=cache.fingerprint)
    if is_done(job):
        notify(f"{job.out}: this run is there already")
        return job.out
    if cache is None and config.method == "self-kd":
        cache = _self_cache(job, notify, on_step)
    if cache is not None:
        _check_cache(cache, job, notify)
    with quiet():
        _run(job, cache, notify, on_step)
    return job.out


def _given_cache(job: Job, notify: Notify) -> Cache | None:
    """The cache that is named, or (for kd) found in the workspace."""
    if job.config.method not in ("kd", "self-kd"):
        return None
    if job.config.cache is not None:
        return Cache.open(job.config.cache)
    if job.config.method == "self-kd":
        return None
    cache = job.config.workspace.find_cache(job.source.split("train"))
    notify(f"teacher: {cache!r}")
    return cache


def _self_cache(job: Job, notify: Notify, on_step: OnStep) -> Cache:
    """Self-KD: the base run of this seed (trained now if it is not there) answers for the rows it was trained on."""
    base = replace(
        job.config,
        method="base",
        alpha=None,
        temperature=None,
        tau_squared=None,
        overwrite=False,
        out=job.config.workspace.run(job.source.name, "base", job.config.seed),
    )
    try:
        first = train(base, source=job.source, notify=notify, on_step=on_step)
    except FingerprintMismatch:  # the base run there has other settings: this run's first copy gets a place of its own
        copy = replace(base, out=job.config.workspace.first_copy(job.asked()))
        first = train(copy, source=job.source, notify=notify, on_step=on_step)
    teacher = load_teacher(str(first))
    settings = DumpSettings(max_length=job.config.max_length)
    rows = job.source.split("train")
    folder = job.config.workspace.self_cache(rows, teacher.weights_digest(), settings.max_length)
    dump(teacher, job.source, "train", folder, settings, notify=notify)
    return Cache.open(folder)


def _check_cache(cache: Cache, job: Job, notify: Notify) -> None:
    """Label names in order, and every row by its hash; before anything is written."""
    names, theirs = job.task.label_names, cache.label_names
    unnamed = names is None or all(name == f"LABEL_{i}" for i, name in enumerate(theirs))
    if len(theirs) != job.task.num_labels or not (unnamed or names == theirs):
        mine = ", ".join(names) if names else f"{job.task.num_labels} unnamed ones"
        raise FingerprintMismatch(
            f"the cache's labels are {', '.join(theirs)}; the data's {mine}. Dump this data, or choose another cache.",
            where=cache.folder,
        )
    if unnamed:
        notify(f"{cache.folder}: labels without names, matched by index ({', '.join(theirs[:8])})")
    cache.check(job.train.row_id, job.train.row_hash)
    here, there = job.source.split("train").digest(), cache.manifest.plan.data.get("digest")
    if here != there:
        notify(
            f"{cache.folder}: dumped from other rows (digest {there}, here {here}); "
            "every row used here is in it, proved by its hash"
        )


def _run(job: Job, cache: Cache | None, notify: Notify, on_step: OnStep) -> None:
    """Train, evaluate, and write the result folder. ``result.json`` comes last."""
    config, whole = job.config, job.source.split("train")
    tokenizer = student_tokenizer(
        config.student, config.tokenizer, whole, config.vocabulary, config.max_length, config.workspace.tokenizers
    )
    assert config.init is not None
    max_length = min(config.max_length, tokenizer.model_max_length)
    student = build_student(config.student, config.init, job.task, tokenizer, max_length, config.seed)
    prepared = _prepare(job, tokenizer, min(max_length, longest_input(student, tokenizer)), notify)
    claim(job)
    try:
        with disk(job.out):
            settings = _settings(config)
            fitted = fit(student, tokenizer, job.objective, job.task, prepared, cache, settings, job.out, on_step)
    except SpecError:  # a diverged run is nothing to go on with
        forget(job.out)
        raise
    write_predictions(job.out / "predictions.parquet", fitted.predictions)
    write_json(job.out / "result.json", result_dict(job, fitted, cache))
    _clear(job.out)
    scores = ", ".join(f"{split} {values[config.metric]:.4f}" for split, values in fitted.scores.items())
    notify(f"{job.out}: {config.metric} {scores}")


def _clear(out: Path) -> None:
    """Leave no checkpoints behind, but the logs that `--report-to tensorboard` wrote among them."""
    logs = out / "checkpoints" / "runs"
    if logs.is_dir():
        logs.replace(out / "runs")
    shutil.rmtree(out / "checkpoints", ignore_errors=True)


def _prepare(job: Job, tokenizer: object, max_length: int, notify: Notify) -> dict[str, Prepared]:
    """Tokenise the rows trained on, and every held-out split that has labels."""
    prepared = {"train": prepare(tokenizer, job.train, max_length)}
    for name, rows in job.source.splits.items():
        labelled = (rows.label >= 0).nonzero()[0]
        if name == "train":
            continue
        if len(labelled) < len(rows):
            bare = len(rows) - len(labelled)
            notify(f"{job.source.name}/{name}: {bare} of {len(rows)} rows have no label: not evaluated")
        if len(labelled):
            prepared[name] = prepare(tokenizer, rows.select(labelled), max_length)
    return prepared


def _settings(config: TrainConfig) -> FitSettings:
    """The optimiser's side of what was asked."""
    return FitSettings(**{field.name: getattr(config, field.name) for field in fields(FitSettings)})
