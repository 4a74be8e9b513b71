"""A run's result folder: its files, and the run that it belongs to."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from logitcache.config.budget import STEPS_FILE
from logitcache.config.workspace import PREDICTIONS, RESULT, RUN
from logitcache.errors import FingerprintMismatch, FormatError, Locked, SpecError, short
from logitcache.stages.defaults import SETTINGS
from logitcache.stages.job import FORMAT, Job
from logitcache.stages.result_file import read_document
from logitcache.store import files
from logitcache.store.json_files import read_json, write_json
from logitcache.store.manifest import differences

CONTENT = "this result folder"
TRAIN_AGAIN = "Give --overwrite to train this student again."
PRINTED = (
    "method",
    "seed",
    "metrics",
    "seconds_per_step",
    "peak_memory_bytes",
    "cache_fingerprint",
)
LOGS = "runs/**/events.out.tfevents.*"  # of `--report-to tensorboard`; other files in that folder may be the user's
OWN_FILES = (
    RESULT,
    PREDICTIONS,
    STEPS_FILE,
    "model*.safetensors*",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "checkpoints",
    LOGS,
    RUN,
)


class OtherRun(FingerprintMismatch):
    """A result folder that holds a run with another record."""

    kind = "FingerprintMismatch"


def is_done(job: Job) -> bool:
    """Whether this very run is in its folder, complete.

    Raises SpecError where the folder holds something else, FingerprintMismatch where it holds
    another run, or one without the answers to rows without a label that are asked for, FormatError
    where its result is not whole; Locked where a default folder was free when it was chosen, and
    another command has begun a run of other settings there since.
    """
    recorded = _recorded(job.out)
    if recorded is None:
        return False
    if job.config.overwrite:
        is_chosen = job.requested.out is None
        if is_chosen and recorded.get(SETTINGS, job.settings_name) != job.settings_name:
            raise Locked(
                "another command has begun a run of other settings here",
                advice="Run the same command again: it takes another folder.",
                where=job.out,
            )
        return False
    check_same(job, recorded)
    if not (job.out / RESULT).is_file():
        return False
    read_result(job.out)
    _check_answers(job)
    return True


def _check_answers(job: Job) -> None:
    """Raises FingerprintMismatch where a complete run has not answered rows that are to be."""
    unscored = job.unscored()
    if not unscored:
        return
    path = job.out / PREDICTIONS
    without_label = pc.field("label") < 0
    answered = set(
        pq.read_table(path, columns=["split"], filters=without_label)["split"].to_pylist()
    )
    lacking = [split for split in unscored if split not in answered]
    if lacking:
        raise FingerprintMismatch(
            expected=f"answers to the rows of {', '.join(lacking)} without a label",
            found="a run that was made without --predict",
            advice=TRAIN_AGAIN,
            where=path,
        )


def read_result(out: Path) -> dict[str, Any]:
    """The content of a run's ``result.json``. Raises FormatError where it is not whole, or a value
    is of another type.
    """
    path = out / RESULT
    try:
        return read_document(path)
    except FormatError as error:
        error.advice = TRAIN_AGAIN
        raise error.at(path) from None


def _recorded(out: Path) -> dict[str, Any] | None:
    """The record of the run in a folder; None for no files. Raises SpecError for other files."""
    if not out.exists():
        return None
    names = [out.name]
    recorded: dict[str, Any] = {}
    if out.is_dir():
        names = sorted(path.name for path in out.iterdir() if not _is_left_over(path.name))
        if not names:
            return None
        with suppress(FileNotFoundError):
            recorded = read_json(out / RUN)
    if recorded.get("format") != FORMAT:
        raise SpecError(
            expected="a result folder or an empty one",
            found=", ".join(names[:3]),
            advice="Choose another --out.",
            where=out,
        )
    return recorded


def _is_left_over(name: str) -> bool:
    """Whether a file is a lock, or the rest of a write that was killed."""
    return name.startswith(".") and name.endswith((".tmp", ".lock"))


def cache_of(out: Path) -> str | None:
    """The fingerprint of the cache of the run that was begun in this folder. Raises SpecError."""
    recorded = _recorded(out)
    cache: str | None = None if recorded is None else recorded.get("cache")
    return cache


def check_foreign(out: Path) -> None:
    """Raises SpecError where a folder holds something that is no run."""
    _recorded(out)


def check_same(job: Job, recorded: dict[str, Any] | None = None) -> None:
    """Raises FingerprintMismatch where the run that was begun in this folder has other settings or
    another teacher. The answers that a Self-KD learns from are compared when they have been made.
    """
    recorded = _recorded(job.out) if recorded is None else recorded
    if recorded is None or job.config.overwrite:
        return
    record = json.loads(json.dumps(job.record()))
    without = [SETTINGS]
    if job.self_taught and job.cache_fingerprint is None:
        without.append("cache")
    for name, before, after in differences(recorded, record, without=without):
        raise OtherRun(
            f"this run was made with {name} = {short(before)}, now it is {short(after)}",
            advice="Choose another --out, or give --overwrite to replace it.",
            where=job.out,
        )


def claim(job: Job) -> None:
    """Write the run's record into its folder; ``--overwrite`` removes an earlier run first."""
    if job.config.overwrite:
        forget(job.out)
    job.out.mkdir(parents=True, exist_ok=True)
    for path in job.out.glob(files.TEMPORARY):
        files.remove(job.out, path.name)
    write_json(job.out / RUN, {**job.record(), SETTINGS: job.settings_name})


def forget(out: Path) -> None:
    """Remove the files of a run alone, ``run.json`` last: after a kill it is still a run's."""
    for pattern in OWN_FILES:
        for path in out.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        if pattern == LOGS:
            _remove_empty(out / "runs")


def _remove_empty(folder: Path) -> None:
    """Remove a folder and those below it, as far as they are empty."""
    if not folder.is_dir() or folder.is_symlink():
        return
    for path in folder.iterdir():
        _remove_empty(path)
    with suppress(OSError):
        folder.rmdir()
