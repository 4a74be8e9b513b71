"""A teacher that is not one yet: a checkpoint without a trained classification head is fine-tuned first, never used as
it is.

What was fine-tuned lies in the workspace under a name made of everything that was asked for, so the same command finds
it again and another one makes another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from glob import escape
from math import ceil
from pathlib import Path
from typing import NoReturn

from logitcache import identity
from logitcache.cache.cache import Cache
from logitcache.config.option import validate
from logitcache.config.sequences import Sequences
from logitcache.config.shapes import is_shape
from logitcache.config.teacher import Finetune, TeacherSpec
from logitcache.config.train import TrainConfig
from logitcache.config.workspace import Workspace
from logitcache.data.source import Source
from logitcache.data.tasks.classification import Classification
from logitcache.data.tasks.table import TASKS
from logitcache.errors import SpecError
from logitcache.models.load import DTYPES, UntrainedHead, check_device
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.job import Job, check_folds, ready, with_tokenizer
from logitcache.stages.stage import made
from logitcache.stages.train import Training, prepared
from logitcache.teacher.model import TeacherModel, load_teacher, saved_digest
from logitcache.teacher.panel import FoldTeachers, OneTeacher, Panel


class FineTuning(Training):
    """A training whose result is a teacher's folder."""

    def found(self) -> str:
        return f"teacher: {self.place} (fine-tuned before)"


def ready_teacher(
    spec: TeacherSpec,
    finetune: Finetune,
    source: Source,
    max_length: int,
    workspace: Workspace,
    reporter: Reporter = SILENT,
    *,
    reuse: Cache | None = None,
    sequences: Sequences | None = None,
) -> Panel:
    """The teacher as it is, or fine-tuned on the train split first; with folds, one for each. One that another command
    is just training is waited for.

    Raises UntrainedHead where it has to be fine-tuned and ``mode`` is never, SpecError for folds that cannot be, or
    where it would have to be fine-tuned now and answers of an older cache are to be reused.
    """
    validate(finetune)
    check_device(spec.device)  # before a teacher is trained that could not be asked there
    kind = TASKS[source.task]
    trained = _as_it_is(spec, finetune, kind)
    if finetune.folds is None and trained is not None:
        reporter.note(f"teacher: {spec.name}, {trained.columns_in_words()}, computing in {spec.dtype}")
        return OneTeacher(trained)
    if trained is not None:
        raise SpecError(
            "--folds: it has a trained head, so it may have seen these rows already. Start from a checkpoint that has "
            "not, or give --finetune always if it was trained on other rows.",
            where=spec.name,
        )
    config = _config(spec, finetune, source, max_length, workspace)
    if sequences is not None:
        config = replace(config, sequences=sequences)
    why = "it is to be fine-tuned" if finetune.mode == "always" else "it has no trained classification head"
    say = partial(_say, reporter, f"{spec.name}: {why}") if reuse is None else partial(_refuse, reuse, finetune.folds)
    train = partial(_train, source=source, say=say, reporter=reporter)
    if finetune.folds is None:
        return OneTeacher(_load(spec, train(config), kind))
    return _fold_teachers(spec, finetune.folds, config, source, train, reporter)


def _as_it_is(spec: TeacherSpec, finetune: Finetune, kind: type[Classification]) -> TeacherModel | None:
    """The teacher, where it needs no training; None where it does."""
    finetune.check(spec.name)
    if is_shape(spec.name) or finetune.mode == "always":
        return None
    try:
        return load_teacher(
            spec.name,
            spec.dtype,
            spec.device,
            kind=kind,
            revision=spec.revision,
            trust_remote_code=spec.trust_remote_code,
            tokenizer=spec.tokenizer,
        )
    except UntrainedHead:
        if finetune.mode == "never":
            raise
        return None


def _config(
    spec: TeacherSpec, finetune: Finetune, source: Source, max_length: int, workspace: Workspace
) -> TrainConfig:
    return TrainConfig(
        student=spec.name,
        tokenizer=spec.tokenizer,
        revision=spec.revision,
        trust_remote_code=spec.trust_remote_code,
        epochs=finetune.epochs,
        learning_rate=finetune.learning_rate,
        batch_size=finetune.batch_size,
        seed=finetune.seed,
        max_length=max_length,
        group_by_length=True,
        workspace=workspace,
    )


def _say(reporter: Reporter, why: str, job: Job) -> None:
    """The plan of a fine-tuning, before it begins."""
    config, rows = job.config, len(job.train)
    steps = ceil(config.epochs * ceil(rows / config.batch_size))
    reporter.note(
        f"{why}. Fine-tuning on {job.source.name}/train first: {config.epochs:g} epochs over {rows:,} labelled rows, "
        f"{steps:,} steps of {config.batch_size}, into {job.out}"
    )


def _refuse(reuse: Cache, folds: int | None, job: Job) -> NoReturn:
    """Instead of the plan of a fine-tuning, where answers are to be reused: none of them can be the new teacher's."""
    if folds is None:
        known = _teacher_of(reuse, job.config.workspace)
        place = known or f"its folder (see {job.config.workspace.folder / 'teachers'})"
        advice = f"Name the teacher of that cache: --teacher {place}; or dump without --reuse."
    else:
        advice = "Dump again without --reuse."
    raise SpecError(
        "--reuse: expected a teacher that is trained already, found one that would be fine-tuned on this data first: "
        f"no answer of an older cache can be its own. {advice}",
        where=reuse.where,
    )


def _teacher_of(cache: Cache, workspace: Workspace) -> Path | None:
    """The teacher fine-tuned in this workspace that gave a cache's answers: of those called alike, the one that has
    the weights.
    """
    teacher = cache.manifest.plan.teacher
    name, dtype = escape(Path(str(teacher.get("name"))).name), teacher.get("dtype")
    found = sorted(f for called in (f"*-{name}-*", name) for f in (workspace.folder / "teachers").glob(called))
    if not name or not isinstance(dtype, str) or dtype not in DTYPES:  # such a cache is refused where it is compared
        return None
    return next((f for f in found if saved_digest(f, dtype) == teacher.get("weights")), None)


def _train(config: TrainConfig, source: Source, say: Callable[[Job], None], reporter: Reporter) -> Path:
    """Fine-tune (or find) a teacher under the name of what is asked."""
    job = with_tokenizer(ready(config, source, SILENT), SILENT)
    place = config.workspace.teacher(source.name, config.student, identity.digest_json(job.asked())[:12])
    stage = FineTuning(replace(job, out=place), None, "fine-tune")
    if not stage.is_done():
        say(stage.job)
        stage = FineTuning(*prepared(replace(config, out=place), source, reporter), "fine-tune")
    return made(stage, reporter, wait=True)


def _load(spec: TeacherSpec, folder: Path, kind: type[Classification]) -> TeacherModel:
    """A fine-tuned teacher, called by the name of the checkpoint it began as."""
    own_code = spec.trust_remote_code
    teacher = load_teacher(str(folder), spec.dtype, spec.device, kind=kind, trust_remote_code=own_code)
    return replace(teacher, name=Path(spec.name).name if Path(spec.name).exists() else spec.name)


def _fold_teachers(
    spec: TeacherSpec,
    folds: int,
    config: TrainConfig,
    source: Source,
    train: Callable[[TrainConfig], Path],
    reporter: Reporter,
) -> FoldTeachers:
    check_folds(source.split("train"), source, folds)
    folders = []
    for fold in range(folds):
        reporter.note(f"fold {fold + 1} of {folds}: a teacher that does not see its rows")
        folders.append(train(replace(config, without_fold=(fold, folds))))
    return FoldTeachers([_loader(spec, folder, TASKS[source.task]) for folder in folders])


def _loader(spec: TeacherSpec, folder: Path, kind: type[Classification]) -> Callable[[], TeacherModel]:
    return lambda: _load(spec, folder, kind)
