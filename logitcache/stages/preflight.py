"""What a dump or a training can be refused for by its options, its rows and the files on this
machine alone: before torch is loaded, which takes seconds, and before a teacher is asked.

Nothing is decided here otherwise than where it is used; what the files do not tell is left to that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from logitcache import hub
from logitcache.config.bench import DumpBenchConfig, WorkloadConfig
from logitcache.config.data import LANGUAGE
from logitcache.config.dump import DumpConfig
from logitcache.config.methods import METHODS
from logitcache.config.own import is_own
from logitcache.config.shapes import is_shape, parse_shape
from logitcache.config.signals import vector_signals
from logitcache.config.student import check_precision
from logitcache.config.teacher import DumpSettings
from logitcache.config.train import FROM, TrainConfig
from logitcache.config.workspace import check_folder
from logitcache.data.class_weights import class_weights
from logitcache.data.folds import check_folds
from logitcache.data.match import Match, match_labels
from logitcache.data.rows import Source
from logitcache.data.sources.endings import ending
from logitcache.data.sources.find import find
from logitcache.data.sources.reading import READERS
from logitcache.data.tasks.classification import check_metric
from logitcache.data.tasks.table import TASKS, own_metric
from logitcache.errors import FormatError, SpecError
from logitcache.models.described import Described, described
from logitcache.models.folders import fault_of
from logitcache.models.gguf import check_gguf, is_gguf
from logitcache.platforms import lacks_cuda
from logitcache.records import Int64
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.rows import (
    check_labelled,
    check_unlabelled,
    selected_rows,
    trained_on,
)
from logitcache.store.json_files import read_json
from logitcache.store.manifest import Plan, differences
from logitcache.targets.table import codec_of_logits
from logitcache.teacher.dump_job import occurring, task_of

ADVICE = {
    "teacher": "Give --teacher a folder that save_pretrained made, or a model's hub name.",
    "student": "Give --student a checkpoint's folder or hub name, or a shape such as 2x128.",
    "tokenizer": "Give --tokenizer a folder that a tokenizer was saved to, or leave it out.",
}


def check_dump(config: DumpConfig, source: Source, split: str, folder: Path) -> None:
    """Raises what the dump of a split into a folder would raise, as far as files tell it."""
    # Answers that exist already are read in moments, and no model is loaded for them.
    if config.teacher.answers is not None:
        return
    check_device(config.teacher.device)
    teacher = checkpoint("teacher", config.teacher.name, config.teacher.revision)
    depth = None if teacher is None else teacher.layers
    if is_shape(config.teacher.name):
        depth = parse_shape(config.teacher.name)[0]
    check_signal_layers(config.settings.signals, depth)
    if TASKS[source.task].self_contained:
        from logitcache.stages.preflight_language import check_documents

        check_documents(config, source)
    if TASKS[source.task].fixed_label is not None:  # no classes; or the teacher makes the rows
        return
    if (
        config.finetune.mode == "always"
        or config.finetune.folds is not None
        or is_shape(config.teacher.name)
    ):
        check_labels(source)
        is_trained = False
    else:
        match = teacher and teacher_match(teacher, source, config.label_map)
        is_trained = teacher is None or match is not None
    if not is_trained and source.num_labels:  # before hours are spent on that
        codec_of_logits(config.settings).codec(source.num_labels)
    # With --reuse, what is reused says more of the folder's own cache.
    if not config.overwrite and config.reuse is None:
        check_begun(source, split, config.settings, config.teacher.dtype, folder)


def check_signal_layers(signals: Sequence[str], depth: int | None) -> None:
    """Raises SpecError for a signal of a layer beyond a teacher's ``depth``; None: not known."""
    if depth is None:
        return
    for signal in vector_signals(signals):
        lowest = 0 if signal.kind == "hidden" else 1
        if signal.layer is None:
            continue
        number = signal.layer + depth + 1 if signal.layer < 0 else signal.layer
        if lowest <= number <= depth:
            continue
        raise SpecError(
            expected=f"a layer from {lowest} to {depth}, or from {lowest - depth - 1} to -1",
            found=signal.layer,
            advice=f"Name one that is there, such as {signal.kind}:-1.",
            where=f"--signal {signal.name}",
        )


def check_device(device: str | None) -> None:
    """Raises SpecError for a GPU where there surely is none."""
    if device is not None and device.startswith("cuda") and lacks_cuda():
        raise SpecError(
            f"{device!r} cannot be used: torch was built for CPUs, or CUDA_VISIBLE_DEVICES is empty",
            advice="Leave --device out, or name one this machine has, such as cpu.",
            where="--device",
        )


def training_rows(config: TrainConfig, source: Source | None, reporter: Reporter) -> Source | None:
    """The rows of a training: read, unless they are in memory, divided, and found to be such that
    it can begin; None where they lie in the caches that are named. Raises SpecError,
    FingerprintMismatch.
    """
    config.check()
    check_precision(config.precision, not lacks_cuda())
    if config.out is None:
        check_folder(config.workspace.folder)
    if source is None and config.caches and config.columns.task in LANGUAGE:
        from logitcache.stages.preflight_language import check_stored

        check_stored(config)
        return None
    source = trained_on(config, source, reporter)
    check_training(config, source)
    note_remark(source, reporter)
    return source


def note_remark(source: Source, reporter: Reporter) -> None:
    """One line on what is surely wrong with the rows; none where nothing is."""
    from logitcache.data.doctor import remark  # imports pyarrow.compute, which is slow

    line = remark(source)
    if line:
        reporter.note(line)


def check_training(config: TrainConfig, source: Source) -> None:
    """Raises what a training would raise, as far as files tell it."""
    check_student(config, source)
    if not TASKS[source.task].self_contained:
        check_teaching(config, source)


def check_student(config: TrainConfig, source: Source) -> None:
    """Raises what a training would raise of its rows and its student, as far as files tell it."""
    kind = TASKS[source.task]
    if config.predict and (kind.per_token or kind.fixed_label is not None):
        raise SpecError(
            expected="a task with one label a row",
            found=source.task,
            advice="Leave it out.",
            where="--predict",
        )
    if kind.fixed_label is None:
        check_labels(source)
    checkpoint("student", config.student.removeprefix(FROM), config.revision)
    if config.tokenizer is not None:
        checkpoint("tokenizer", config.tokenizer, None)
    task = kind(source.num_labels, source.label_names)
    check_metric(config.metric or own_metric(source), task)
    class_weights(config.class_weight, source.split("train").labels, task)


def check_teaching(config: TrainConfig, source: Source) -> None:
    """Raises what the search for a run's caches, or Self-KD's folds, raise; not for URLs."""
    if not METHODS[config.method].needs_teacher:
        return

    from logitcache.stages.teachers import teacher_of, unlabelled_of

    train = selected_rows(config, source, SILENT)
    if config.folds is not None:
        check_folds(train, source, config.folds)
    if unlabelled_of(config.method, source) is not None:
        check_unlabelled(source, config.unlabelled)
    if all(isinstance(cache, Path) for cache in config.caches):
        task = TASKS[source.task](source.num_labels, source.label_names)
        teacher_of(config, source, train, task, SILENT)


def check_labels(source: Source) -> None:
    """Raises SpecError unless some training rows have a label, of two classes or more."""
    check_labelled(source)
    check_classes(source.split("train").labels, source)


def check_classes(labels: Int64, source: Source) -> None:
    """Raises SpecError where labels of training rows are not of two classes or more."""
    if len(np.unique(labels[labels >= 0])) < 2:
        raise SpecError(
            expected="at least two classes in the training rows",
            found="one",
            advice="Give rows of another class too, or name the column of the classes with --label.",
            where=source.name,
        )


def checkpoint(what: str, name: str, revision: str | None) -> Described | None:
    """What the files of a checkpoint say of it; None where they are on the hub, and for a shape or
    a student of one's own.
    Raises SpecError where there is no such checkpoint. ``what`` it is to be: teacher, student or
    tokenizer.
    """
    if is_shape(name) or (what == "student" and is_own(name)):
        return None
    if is_gguf(name):
        check_gguf(name)
        return None
    fault = fault_of(Path(name)) if what != "tokenizer" and Path(name).is_dir() else None
    if fault is not None:
        problem = f"no {what} can be loaded: {fault.problem}"
        raise SpecError(problem, advice=fault.advice or ADVICE[what], where=name)
    model = described(name)
    if model is not None or Path(name).exists():
        return model
    if not hub.on_hub(name):
        raise no_checkpoint(what, name)
    try:
        hub.checkpoint(name, revision)
    except SpecError as error:
        raise no_checkpoint(what, name, error) from error
    return None


def check_timed(config: WorkloadConfig | DumpBenchConfig) -> None:
    """Raises SpecError where rows or models that are to be timed are nowhere. With --shape-only a
    name may be that of a well-known model.
    """
    if isinstance(config, WorkloadConfig) and config.device in (None, "cpu"):
        check_precision(config.precision, config.device is None and not lacks_cuda())
    check_device(config.device)
    path = Path(config.data)
    if ending(path) in READERS and not path.exists():
        find(config.data, config.workspace.data, SILENT)
    if config.shape_only:
        return
    checkpoint("teacher", config.teacher, config.revision)
    if isinstance(config, WorkloadConfig):
        checkpoint("student", config.student, None)


def no_checkpoint(what: str, name: str, on_hub: SpecError | None = None) -> SpecError:
    """The error over a checkpoint in no folder nor, for the reason ``on_hub``, on the hub."""
    problem = f"no {what} can be loaded: there is no such folder"
    if on_hub is None:
        return SpecError(problem, advice=ADVICE[what], where=name)
    return SpecError(
        f"{problem}; as a hub name: {on_hub.problem}",
        advice=on_hub.advice or ADVICE[what],
        where=name,
    )


def teacher_match(
    teacher: Described, source: Source, label_map: Mapping[str, str] | None
) -> Match | None:
    """How a teacher's columns answer for the classes; None where it has to be trained first, or
    files do not tell. Raises SpecError, FingerprintMismatch where it cannot answer for them.
    """
    if not teacher.is_trained_as(TASKS[source.task]):
        return None
    teacher.check_problem()
    name = Path(teacher.name).resolve().name if Path(teacher.name).exists() else teacher.name
    task = task_of(source, teacher.class_names)
    return match_labels(teacher.class_names, task, name, label_map, occurring=occurring(source))


def check_begun(
    source: Source, split: str, settings: DumpSettings, dtype: str, folder: Path
) -> None:
    """Raises FingerprintMismatch where a folder's cache was begun with other rows or settings."""
    path = folder / "plan.json"
    if not path.is_file():
        return

    from logitcache.store.lock import refuse_held
    from logitcache.store.writer import NAMES, check_same_plan

    try:
        begun = Plan.from_dict(read_json(path)).to_dict()
    except FormatError:  # whoever claims the folder says so
        return
    table = source.table(split)
    data = {"source": source.name, "split": split, "rows": len(table), "digest": table.digest()}
    preparation = {"batch_tokens": settings.batch_tokens, "on_nonfinite": settings.on_nonfinite}
    # The recorded length may be smaller, if the teacher takes no more.
    if begun["preparation"].get("max_length", 0) > settings.max_length:
        preparation["max_length"] = settings.max_length
    now = {
        **begun,
        "data": {**begun["data"], **data},
        "teacher": {**begun["teacher"], "dtype": dtype},
        "preparation": {**begun["preparation"], **preparation},
        "store": settings.store,
    }
    if all(name in NAMES for name, _, _ in differences(begun, now)):
        return  # what differs beside a name is known once the teacher is
    refuse_held(folder, "this cache")
    check_same_plan(folder, begun, now)
