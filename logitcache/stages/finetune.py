"""Teachers. A checkpoint without a trained classification head is fine-tuned first, never used as
it is.

A fine-tuned teacher is kept in the workspace in a folder that is named by all of its settings: the
same command finds it again, and another one makes another.
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
from logitcache.data.folds import check_folds
from logitcache.data.source import Source
from logitcache.data.tasks.classification import Classification
from logitcache.data.tasks.table import TASKS
from logitcache.errors import SpecError, counted
from logitcache.models.emulation import note_emulated
from logitcache.models.load import DTYPES, UntrainedHead, check_device
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.job import Job, resolve, with_tokenizer
from logitcache.stages.stage import result_of
from logitcache.stages.train import Training, prepared
from logitcache.teacher.model import TeacherModel, load_teacher, saved_digest
from logitcache.teacher.panel import FoldTeachers, OneTeacher, Panel


class FineTuning(Training):
    """The training of a teacher; its result is the teacher's folder."""

    def done_note(self) -> str:
        return f"teacher: {self.folder} (fine-tuned before)"


def prepare_teacher(
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
    """The teacher as it is, or fine-tuned on the train split first; with folds, one for each. Waits
    for a teacher that another command is training.

    Raises UntrainedHead where it has to be fine-tuned and ``mode`` is never; SpecError for folds
    that cannot be, and where it would have to be fine-tuned although answers of an older cache are
    to be reused.
    """
    validate(finetune)
    device = check_device(spec.device)  # before a teacher is trained that could not be asked there
    note_emulated(f"--dtype {spec.dtype}", DTYPES[spec.dtype], device, reporter)
    kind = TASKS[source.task]
    trained = _trained_teacher(spec, finetune, kind)
    if finetune.folds is None and trained is not None:
        reporter.note(
            f"teacher: {spec.name}, {trained.columns_in_words()}, computing in {spec.dtype}"
        )
        return OneTeacher(trained)
    if trained is not None:
        raise SpecError(
            "--folds: it has a trained head, so it may have seen these rows already",
            advice="Start from a checkpoint that has not, or give --finetune always if it was trained on other rows.",
            where=spec.name,
        )
    config = _train_config(spec, finetune, max_length, workspace)
    if sequences is not None:
        config = replace(config, sequences=sequences)
    announce: Callable[[Job], None]
    if reuse is None:
        if finetune.mode == "always":
            reason = "it is to be fine-tuned"
        else:
            reason = f"it has no trained {kind.head} head"
        announce = partial(_note_training, reporter, f"{spec.name}: {reason}")
    else:
        announce = partial(_refuse_reuse, reuse, finetune.folds)
    train = partial(_train, source=source, announce=announce, reporter=reporter)
    if finetune.folds is None:
        return OneTeacher(_load(spec, train(config), kind))
    check_folds(source.split("train"), source, finetune.folds)
    loaders: list[Callable[[], TeacherModel]] = []
    for fold in range(finetune.folds):
        reporter.note(f"fold {fold + 1} of {finetune.folds}: a teacher that does not see its rows")
        folder = train(replace(config, without_fold=(fold, finetune.folds)))
        loaders.append(partial(_load, spec, folder, TASKS[source.task]))
    return FoldTeachers(loaders)


def _trained_teacher(
    spec: TeacherSpec, finetune: Finetune, kind: type[Classification]
) -> TeacherModel | None:
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
            pooling=spec.pooling,
        )
    except UntrainedHead:
        if finetune.mode == "never":
            raise
        return None


def _train_config(
    spec: TeacherSpec, finetune: Finetune, max_length: int, workspace: Workspace
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


def _note_training(reporter: Reporter, reason: str, job: Job) -> None:
    """Note how much a fine-tuning will do, before it begins."""
    config = job.config
    rows, _ = job.row_counts()
    steps = ceil(config.epochs * ceil(rows / config.batch_size))
    epochs = counted(config.epochs, "epoch")
    reporter.note(
        f"{reason}. Fine-tuning on {job.source.name}/train first: {epochs} over {rows:,} labelled "
        f"rows, {counted(steps, 'step')} of {config.batch_size}, into {job.out}"
    )


def _refuse_reuse(reuse: Cache, folds: int | None, job: Job) -> NoReturn:
    """Raises SpecError for ``--reuse`` before fine-tuning: no old answer is the new teacher's."""
    advice = "Dump again without --reuse."
    if folds is None:
        workspace = job.config.workspace
        teacher = (
            _teacher_of(reuse, workspace) or f"its folder (see {workspace.folder / 'teachers'})"
        )
        advice = f"Name the teacher of that cache: --teacher {teacher}; or dump without --reuse."
    raise SpecError(
        "--reuse: expected a teacher that is trained already, found one that would be fine-tuned on this data first: "
        "no answer of an older cache can be its own",
        advice=advice,
        where=reuse.where,
    )


def _teacher_of(cache: Cache, workspace: Workspace) -> Path | None:
    """The teacher of this workspace that gave a cache's answers: of its name and weights."""
    teacher = cache.manifest.plan.teacher
    name = escape(Path(str(teacher.get("name"))).name)
    dtype = teacher.get("dtype")
    # such a cache is refused where it is compared
    if not name or not isinstance(dtype, str) or dtype not in DTYPES:
        return None
    teachers = workspace.folder / "teachers"
    for folder in sorted([*teachers.glob(f"*-{name}-*"), *teachers.glob(name)]):
        if saved_digest(folder, dtype) == teacher.get("weights"):
            return folder
    return None


def _train(
    config: TrainConfig, source: Source, announce: Callable[[Job], None], reporter: Reporter
) -> Path:
    """Folder of the teacher with these settings, which is fine-tuned first unless that is done."""
    job = with_tokenizer(resolve(config, source, SILENT, reads_stored=False), SILENT)
    folder = config.workspace.teacher(
        source.name, config.student, identity.digest_json(job.record())[:12]
    )
    stage = FineTuning(replace(job, out=folder), None, "fine-tune")
    if not stage.is_done():
        announce(stage.job)
        config = replace(config, out=folder)
        stage = FineTuning(*prepared(config, source, reporter, reads_stored=False), "fine-tune")
    return result_of(stage, reporter, wait=True)


def _load(spec: TeacherSpec, folder: Path, kind: type[Classification]) -> TeacherModel:
    """A fine-tuned teacher, under the name of the checkpoint that it began as."""
    own_code = spec.trust_remote_code
    teacher = load_teacher(
        str(folder), spec.dtype, spec.device, kind=kind, trust_remote_code=own_code
    )
    path = Path(spec.name)
    return replace(teacher, name=path.name if path.exists() else spec.name)
