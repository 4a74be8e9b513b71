"""A run's result folder: what it holds, and whose it is."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from logitcache.errors import FingerprintMismatch, FormatError, SpecError, short
from logitcache.stages.defaults import SETTINGS
from logitcache.stages.job import FORMAT, Job
from logitcache.store import files
from logitcache.store.manifest import differences, read_json, write_json

CONTENT = "this result folder"
POLL = 0.2  # seconds
TRAIN_AGAIN = "Give --overwrite to train this student again."
PRINTED = ("method", "seed", "metrics", "seconds_per_step", "peak_memory_bytes", "cache_fingerprint")
LOGS = "runs/**/events.out.tfevents.*"  # of `--report-to tensorboard`; other files in that folder are not ours
OWN_FILES = (
    "result.json",
    "predictions.parquet",
    "model*.safetensors*",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "checkpoints",
    LOGS,
    "run.json",
)


class OtherRun(FingerprintMismatch):
    """A result folder that holds a run which was asked something else."""

    kind = "FingerprintMismatch"


def is_done(job: Job) -> bool:
    """Whether this very run is there already.

    Raises SpecError where the folder holds something else, FingerprintMismatch where it holds another run, FormatError
    where its result is not whole.
    """
    recorded = _recorded(job.out)
    if recorded is None or job.config.overwrite:
        return False
    check_same(job, recorded)
    if not (job.out / "result.json").is_file():
        return False
    read_result(job.out)
    return True


def read_result(out: Path) -> dict[str, Any]:
    """The content of a run's ``result.json``. Raises FormatError where it is not whole."""
    path = out / "result.json"
    try:
        result = read_json(path)
    except FormatError as error:
        error.advice = TRAIN_AGAIN
        raise
    missing = [name for name in PRINTED if name not in result]
    if missing:
        raise FormatError(expected=f"a field `{missing[0]}`", found="none", advice=TRAIN_AGAIN, where=path)
    return result


def _recorded(out: Path) -> dict[str, Any] | None:
    """What a run that is there, or was begun there, was asked. None for an empty folder, or none. Raises SpecError."""
    if not out.exists():
        return None
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else [out.name]
    names = [name for name in names if not _is_left_over(name)]
    if not names:
        return None
    recorded: dict[str, Any] = {}
    with suppress(FileNotFoundError):
        recorded = read_json(out / "run.json") if out.is_dir() else {}
    if recorded.get("format") != FORMAT:
        expected = f"expected a result folder or an empty one, found {', '.join(names[:3])}."
        raise SpecError(f"{expected} Choose another --out.", where=out)
    return recorded


def _is_left_over(name: str) -> bool:
    """A lock, or what a kill has left of a write."""
    return name.startswith(".") and name.endswith((".tmp", ".lock"))


def cache_of(out: Path) -> str | None:
    """The fingerprint of the cache that a run learns from which was begun in this folder. Raises SpecError."""
    recorded = _recorded(out)
    cache: str | None = None if recorded is None else recorded.get("cache")
    return cache


def check_foreign(out: Path) -> None:
    """Raises SpecError where a folder holds something that is no run."""
    _recorded(out)


def check_same(job: Job, recorded: dict[str, Any] | None = None) -> None:
    """Raises FingerprintMismatch where a run was begun in this folder that was asked something else, or learnt from
    another teacher. What a Self-KD learns from is compared when it is known.
    """
    recorded = _recorded(job.out) if recorded is None else recorded
    if recorded is None or job.config.overwrite:
        return
    asked = json.loads(json.dumps(job.asked()))
    unknown = ("cache", SETTINGS) if job.self_taught and job.cache_fingerprint is None else (SETTINGS,)
    for name, before, now in differences(recorded, asked, without=unknown):
        raise OtherRun(
            f"this run was made with {name} = {short(before)}, now it is {short(now)}. "
            "Choose another --out, or give --overwrite to replace it.",
            where=job.out,
        )


def claim(job: Job) -> None:
    """Make the run's folder this run's; with ``--overwrite`` the run that ``is_done`` found there is lost."""
    if job.config.overwrite:
        forget(job.out)
    job.out.mkdir(parents=True, exist_ok=True)
    for path in job.out.glob(files.TEMPORARY):
        files.remove(job.out, path.name)
    write_json(job.out / "run.json", {**job.asked(), SETTINGS: job.settings})


def forget(out: Path) -> None:
    """Remove what a run consists of and nothing else, ``run.json`` last: what a kill leaves is still known as ours."""
    for pattern in OWN_FILES:
        for path in out.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        if pattern == LOGS:
            _remove_empty(out / "runs")


def _remove_empty(folder: Path) -> None:
    """Remove a folder, and those below it, where nothing lies in them."""
    if not folder.is_dir() or folder.is_symlink():
        return
    for path in folder.iterdir():
        _remove_empty(path)
    with suppress(OSError):
        folder.rmdir()
