"""Result folders: read back, checked, and proved to come from the same data and rows.

A result folder holds ``result.json`` (format ``logitcache-result/1``) and ``predictions.parquet``
(one row per evaluated row: ``split``, ``row_id``, ``label``, ``logits[K]``) beside the model. No
model is loaded and torch is not imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.config.answers import PREFIXES
from logitcache.config.workspace import PREDICTIONS, RESULT
from logitcache.data.division import Division, SharedTexts
from logitcache.errors import FingerprintMismatch, FormatError, SpecError
from logitcache.stages.result_file import read_document
from logitcache.study.predictions import Predictions as Predictions
from logitcache.study.predictions import read_predictions

TRAIN_AGAIN = "Train this student again, with --overwrite."
_READY = tuple(f"{prefix}:" for prefix in PREFIXES)  # names of answers that were there already
_OF_THE_TASK = ("data_digest", "label_names")
_COPIED = (
    "method",
    "seed",
    "metric",
    "metrics",
    "rows_seen",
    "seconds_per_step",
    "train_seconds",
    "cache_fingerprint",
    "cache_rows",
    "history",
    "versions",
)
# Keys of a config that name this one run, or that the result says better: its cache's fingerprint,
# its training rows, how rows were held out.
_OWN = ("method", "seed", "out", "cache", "rows", "division")


@dataclass(frozen=True)
class Result:
    """One trained student: its settings, its scores and its predictions."""

    folder: Path
    method: str
    seed: int
    metric: str  # the task's main metric
    metrics: Mapping[str, Mapping[str, float]]  # split: {metric: value}; fractions, nll in nats
    label_names: tuple[str, ...] | None
    data_digest: str
    train_rows: int  # with a label
    unlabelled_rows: int  # without one: learnt from the teacher's answers alone
    # what was asked for and came into force, but not who ran it: no method, seed or folder
    settings: Mapping[str, Any]
    cache_fingerprint: str | None
    cache_rows: int | None  # rows of the cache: each saw the teacher once
    caches: Mapping[str, int]  # fingerprint: rows, of each cache that was joined
    # digests of their weights, each once, sorted; empty in results that do not say
    teachers: tuple[str, ...]
    rows_seen: int  # rows x epochs, labelled or not
    seconds_per_step: float | None
    predictions: Mapping[str, Predictions]  # by split
    division: Division | None = None
    shared: Mapping[str, SharedTexts] = field(default_factory=dict)  # by split, where there are any
    source: str = ""  # name of the data
    teacher_names: tuple[str, ...] = ()  # of the caches, as they record them
    train_seconds: float | None = None
    history: Sequence[Mapping[str, float]] = ()  # "epoch", and the scores on dev after it
    versions: Mapping[str, str] = field(default_factory=dict)  # of logitcache and its libraries

    @property
    def splits(self) -> frozenset[str]:
        """Splits with both a score and the answers behind it."""
        return frozenset(self.metrics) & frozenset(self.predictions)

    @property
    def caches_of_columns(self) -> dict[str, int]:
        """Rows by fingerprint of the caches whose answers were there already: no teacher ran."""
        names = dict(zip(self.caches, self.teacher_names, strict=False))  # older results: no names
        return {key: self.caches[key] for key, name in names.items() if name.startswith(_READY)}

    @property
    def asked_caches(self) -> dict[str, int]:
        """Rows by fingerprint of the other caches: each row saw the teacher once."""
        ready = self.caches_of_columns
        return {key: rows for key, rows in self.caches.items() if key not in ready}


def find_results(paths: Sequence[Path]) -> list[Path]:
    """The result folders at or below these paths, each once, sorted. A folder inside a result is
    part of that result.

    Raises SpecError for a path that is no folder, or holds no result.
    """
    folders: dict[Path, Path] = {}
    for path in paths:
        below = sorted(_results_below(path))
        for folder in below:
            folders.setdefault(folder.resolve(), folder)
        if not below:
            problem = "no such folder"
            if path.exists():
                problem = "no result in it" if path.is_dir() else "a file"
            expected = f"a result folder (with {RESULT}) or a folder of such"
            raise SpecError(
                expected=expected,
                found=problem,
                advice="Make one with `logitcache train`.",
                where=path,
            )
    return sorted(folders.values())


def _results_below(path: Path) -> Iterator[Path]:
    for folder, inner, files in os.walk(path):
        if RESULT in files:
            inner.clear()
            yield Path(folder)


def read_result(folder: Path) -> Result:
    """Read one result folder whole.

    Raises SpecError if it holds no ``result.json``, FormatError (with the file's path) if a file is
    broken, foreign, or contradicts the other.
    """
    if not (folder / RESULT).is_file():
        raise SpecError(
            f"expected a result folder, found no {RESULT}. Make one with `logitcache train`.",
            where=folder,
        )
    with _reading(folder / RESULT):
        document = read_document(folder / RESULT)
    with _reading(folder / PREDICTIONS):
        predictions = read_predictions(folder / PREDICTIONS, document["label_names"])
    return _result(folder, document, predictions)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Add the file's path and advice to every FormatError."""
    try:
        yield
    except FormatError as error:
        error.advice = TRAIN_AGAIN
        raise error.at(path) from None


def _result(folder: Path, document: dict[str, Any], predictions: dict[str, Predictions]) -> Result:
    data = document["data"]
    rows = {name: data[name] for name in ("train_rows", "unlabelled_rows")}
    settings = {name: value for name, value in document["config"].items() if name not in _OWN}
    for name in ("alpha", "a", "temperature", "soft_factor"):  # as they came into force
        settings[name] = document[name]
    caches = {cache["fingerprint"]: cache["rows"] for cache in document["caches"]}
    if not caches and document["cache_fingerprint"]:  # older results do not list them
        caches = {document["cache_fingerprint"]: document["cache_rows"] or 0}
    names = document["label_names"]
    division = data["division"]
    return Result(
        folder=folder,
        **{name: document[name] for name in _COPIED},
        **rows,
        label_names=None if names is None else tuple(map(str, names)),
        data_digest=data["digest"],
        source=data["source"],
        teacher_names=tuple(str(cache.get("teacher")) for cache in document["caches"]),
        caches=caches,
        teachers=tuple(sorted({cache["weights"] for cache in document["caches"]})),
        settings={**settings, **rows},
        predictions=predictions,
        division=None if division is None else Division(division["rule"], division["held_out"]),
        shared={split: SharedTexts(**texts) for split, texts in data["shared_texts"].items()},
    )


def by_seed(results: Sequence[Result]) -> list[list[Result]]:
    """The results of each seed."""
    groups: dict[int, list[Result]] = {}
    for result in results:
        groups.setdefault(result.seed, []).append(result)
    return list(groups.values())


def check_same_task(results: Sequence[Result], names: Sequence[str] = _OF_THE_TASK) -> None:
    """Raises FingerprintMismatch, naming two folders, unless all have the same data and labels."""
    first = results[0]
    for second in results[1:]:
        for name in names:
            values = (getattr(first, name), getattr(second, name))
            if values[0] != values[1]:
                raise FingerprintMismatch(
                    expected=f"{first.folder} and {second.folder} to share one {name}",
                    found=f"{values[0]} and {values[1]}",
                    advice="Leave one of them out.",
                )


def check_same_rows(results: Sequence[Result], split: str) -> None:
    """Raises FingerprintMismatch unless all predict the same rows of a split and labels."""
    first = results[0]
    for second in results[1:]:
        difference = _difference(first.predictions[split], second.predictions[split])
        if difference is not None:
            raise FingerprintMismatch(
                expected=f"{first.folder} and {second.folder} to be evaluated on the same rows of {split}",
                found=difference,
                advice="Leave one of them out, or train both with the same --data.",
            )


def have_same_rows(results: Sequence[Result], split: str) -> bool:
    """Whether all have the same data and the same scored rows of a split."""
    first = results[0]
    for second in results[1:]:
        if second.data_digest != first.data_digest:
            return False
        if _difference(first.predictions[split], second.predictions[split]) is not None:
            return False
    return True


def _difference(first: Predictions, second: Predictions) -> str | None:
    """The first difference in row ids or labels, in words."""
    unpaired = np.setxor1d(first.row_id, second.row_id)
    if len(unpaired):
        owner = "first" if unpaired[0] in first.row_id else "second"
        return f"row {unpaired[0]} in the {owner} only"
    differing = np.flatnonzero(first.label != second.label)
    if len(differing):
        index = differing[0]
        labels = f"{first.label[index]} in the first and {second.label[index]} in the second"
        return f"row {first.row_id[index]} with label {labels}"
    return None
