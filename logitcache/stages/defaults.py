"""Defaults of options that depend on the student or the data, and the default folder of a run."""

from __future__ import annotations

import re
from dataclasses import asdict, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from logitcache import identity
from logitcache.config.budget import STEPS_FILE
from logitcache.config.data import Columns
from logitcache.config.methods import METHODS
from logitcache.config.own import student_digest, usual_init
from logitcache.config.shapes import is_shape
from logitcache.config.train import TrainConfig
from logitcache.config.workspace import PREDICTIONS, RESULT, RUN
from logitcache.data.source import UNLABELLED_SPLIT, Source
from logitcache.data.tasks.table import own_metric
from logitcache.errors import FormatError, SpecError
from logitcache.models.gguf import is_gguf
from logitcache.stages.budget import budget_record
from logitcache.store.json_files import read_json
from logitcache.student.methods import objective

LEARNING_RATES = {"random": 5e-4, "pretrained": 2e-5}
SETTINGS = "settings"  # key in run.json: the name of the run's settings
NOT_OF_A_MODEL = {RUN, RESULT, PREDICTIONS, STEPS_FILE}
MODULE_FILES = "[0-9]*_*/*"  # of a sentence encoder: 1_Pooling/config.json
# Fields that are in the folder's name, are recorded by what follows from them or where they are
# given (`optional_record`), or do not change a student.
NOT_SETTINGS = {
    "method", "student", "seed", "data", "columns", "unlabelled", "alpha", "a", "temperature", "tau_squared", "cache",
    "tokenizer", "label_map", "out", "workspace", "overwrite", "report_to", "checkpoint_steps", "trust_remote_code",
    "first_copy", "pretraining", "live", "norm", "predict", "similarity",
}  # fmt: skip


def with_init(config: TrainConfig) -> TrainConfig:
    """The configuration with the weights to begin with, and the learning rate that fits them."""
    init = config.init or usual_init(config.student)
    return replace(config, init=init, learning_rate=config.learning_rate or LEARNING_RATES[init])


def with_selection(config: TrainConfig, source: Source) -> TrainConfig:
    """The configuration with the weights to keep. Raises SpecError where none can be told best."""
    dev = source.splits.get("dev")
    has_labels = dev is not None and bool((dev.label >= 0).any())
    if config.select == "best" and not has_labels:
        raise SpecError(
            "--select best needs a labelled dev split, found none",
            advice="Add one, or give --select last.",
            where=source.name,
        )
    keeps_last = not has_labels or config.pretraining.budget is not None
    return replace(config, select=config.select or ("last" if keeps_last else "best"))


def default_folder(
    config: TrainConfig, source: Source, cache: str | None = None
) -> tuple[Path, str]:
    """The default folder of a run, and the name of its settings. The first run of a method and a
    seed has ``METHOD-seedN``; other settings have the folder of their name.
    """
    own = run_folder(config, source, cache)
    first = config.workspace.run(source.name, config.method, config.seed)
    folder = own if own != first else first.with_name(f"{first.name}-default")
    if not folder.exists() and settings_in(first) in (None, own.name):
        folder = first
    return folder, own.name


def settings_in(folder: Path) -> str | None:
    """The name of the settings of the run in a folder; None for no run, or an unreadable one."""
    try:
        recorded = read_json(folder / RUN)
    except (OSError, FormatError):
        return None
    return str(recorded.get(SETTINGS, ""))


def run_folder(config: TrainConfig, source: Source, cache: str | None = None) -> Path:
    """The folder that is named by a run's settings: ``METHOD-seedN``, with the student's name where
    it is not the default. Where other options differ from their defaults, or a ``cache`` is named
    (by its fingerprint), a digest of these follows. The same settings always have the same folder.
    """
    default = TrainConfig()
    settings = _settings(config, source)
    plain = _settings(
        replace(default, method=config.method, student=config.student, seed=config.seed), source
    )
    differing = {name: value for name, value in settings.items() if value != plain.get(name)}
    checkpoint = student_digest(config.student)
    if checkpoint is None and not is_shape(config.student):
        checkpoint = _checkpoint_digest(config.student)
    if checkpoint is not None:
        differing["student"] = checkpoint
    if config.columns != Columns():
        differing["columns"] = repr(config.columns)
    if config.unlabelled is not None and METHODS[config.method].needs_teacher:
        differing["unlabelled"] = source.splits[UNLABELLED_SPLIT].digest()
    if cache is not None:
        differing["cache"] = cache
    student = "" if config.student == default.student else folder_name(config.student)
    digest = identity.digest_json(differing)[:6] if differing else ""
    return config.workspace.run(source.name, config.method, config.seed, student, digest)


def _settings(config: TrainConfig, source: Source) -> dict[str, Any]:
    """What decides a run's result beside data, method, student's name and seed, with defaults."""
    goal = objective(config.method, config.alpha, config.a, config.temperature, config.tau_squared)
    config = with_selection(
        with_init(replace(config, metric=config.metric or own_metric(source))), source
    )
    values = {}
    for field in fields(config):
        if field.name not in NOT_SETTINGS:
            values[field.name] = getattr(config, field.name)
    return {
        **values,
        **goal.record(),
        **budget_record(config),
        **optional_record(config),
        "sequences": asdict(config.sequences.recipe()),
        "label_map": config.label_map or None,
        "tokenizer": None if config.tokenizer is None else checkpoint_name(config.tokenizer),
    }


def optional_record(config: TrainConfig) -> dict[str, str]:
    """What a run records of options that are left out of its record where they are not given."""
    record = {}
    if config.live is not None:
        record["live"] = checkpoint_name(config.live)
    if config.norm is not None:
        record["norm"] = config.norm
    return record


def folder_name(student: str) -> str:
    """A student's name as part of a folder's name."""
    if not is_shape(student) and Path(student).exists():
        return Path(student).resolve().name
    return re.sub(r"[^\w.+-]", "-", student)


def checkpoint_name(path: str) -> str:
    """A checkpoint's name in a result: a hub name as it is; a folder, or a .gguf file, by its name
    and a digest of its content.

    Two folders of one name, or one folder before and after a training, are two checkpoints.
    """
    digest = _checkpoint_digest(path)
    return path if digest is None else f"{Path(path).resolve().name}@{digest}"


def _checkpoint_digest(path: str) -> str | None:
    """Digest of a checkpoint's files; None where the path is neither a folder nor a .gguf file."""
    folder = Path(path)
    if is_gguf(path) and folder.is_file():
        return _digest_of(folder)[:12]
    if not folder.is_dir():
        return None
    digests = {}
    for file in sorted([*folder.iterdir(), *folder.glob(MODULE_FILES)]):
        is_hidden = file.name.startswith(".")  # such as a lock
        if is_hidden or not file.is_file() or file.name in NOT_OF_A_MODEL:
            continue
        digests[file.relative_to(folder).as_posix()] = _digest_of(file)
    return identity.digest_json(digests)[:12]


def _digest_of(file: Path) -> str:
    """Digest of a file; it is read again only after a change."""
    status = file.stat()
    return _file_digest(file.resolve(), status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=1024)
def _file_digest(file: Path, size: int, changed: int, inode: int) -> str:
    return identity.digest_file(file)
