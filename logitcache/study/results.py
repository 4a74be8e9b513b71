"""Result folders: what `logitcache train` left behind, read back, checked, and proved to speak of the same rows.

A result folder holds ``result.json`` (format ``logitcache-result/1``) and ``predictions.parquet`` (one row per
evaluated row: ``split``, ``row_id``, ``label``, ``logits[K]``) beside the model. No model is loaded and torch is not
imported.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.errors import FingerprintMismatch, FormatError, SpecError
from logitcache.records import Float32, Int64

FORMAT = "logitcache-result/1"
RESULT, PREDICTIONS = "result.json", "predictions.parquet"

_NUMBER = (int, float)
MAX_POSITIONS = 1 << 20  # of a row
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "method": (str,),
    "seed": (int,),
    "metric": (str,),
    "metrics": (dict,),
    "label_names": (list, type(None)),
    "data": (dict,),
    "config": (dict,),
    "alpha": (*_NUMBER, type(None)),
    "a": (*_NUMBER, type(None)),
    "temperature": (*_NUMBER, type(None)),
    "soft_factor": (*_NUMBER, type(None)),
    "cache_fingerprint": (str, type(None)),
    "cache_rows": (int, type(None)),
    "rows_seen": (int,),
    "seconds_per_step": (*_NUMBER, type(None)),
}
_DATA_FIELDS: Mapping[str, tuple[type, ...]] = {
    "digest": (str,),
    "train_rows": (int,),
    "unlabelled_rows": (int,),
    "division": (dict, type(None)),
    "shared_texts": (dict,),
}
_CACHE_FIELDS: Mapping[str, tuple[type, ...]] = {"fingerprint": (str,), "rows": (int,), "weights": (str,)}
_DIVISION_FIELDS: Mapping[str, tuple[type, ...]] = {"rule": (str,), "held_out": (dict,)}
_SHARED_FIELDS: Mapping[str, tuple[type, ...]] = {"rows": (int,), "of": (int,), "first": (int,)}
_CACHE = ("cache_fingerprint", "cache_rows")
_AS_WRITTEN = ("method", "seed", "metric", "metrics", "rows_seen", "seconds_per_step", *_CACHE)
# Keys of a config that name this one run, or that the result says better: its cache's fingerprint, its training rows,
# how rows were held out.
_OWN = ("method", "seed", "out", "cache", "rows", "division")


@dataclass(frozen=True)
class Predictions:
    """A student's answers to one split, in the order of ``row_id``. R rows, K classes."""

    row_id: Int64  # [R], strictly increasing
    label: Int64  # [R], in [0, K)
    logits: Float32  # [R, K], finite; of a vocabulary none are kept: [R, 0]
    nll: Float32 | None = None  # [R] where there are no logits


@dataclass(frozen=True)
class SharedTexts:
    """Texts of a held-out split that stand in train too."""

    rows: int  # labelled rows of the split with such a text
    of: int  # labelled rows of the split
    first: int  # the row_id of the first of them


@dataclass(frozen=True)
class HeldOut:
    """How rows were held out of train, where nobody gave labelled rows to score on."""

    rule: str  # in words
    held_out: Mapping[str, int]  # rows by split; empty where there were too few to hold any out


@dataclass(frozen=True)
class Result:
    """One trained student: what was asked for, what it scored and what it answered."""

    folder: Path
    method: str
    seed: int
    metric: str  # the task's main metric
    metrics: Mapping[str, Mapping[str, float]]  # split: {metric: value}; fractions, nll in nats
    label_names: tuple[str, ...] | None
    data_digest: str
    train_rows: int  # with a label
    unlabelled_rows: int  # without one: learnt from the teacher's answers alone
    settings: Mapping[str, Any]  # what was asked for and came into force, but not who ran it: no method, seed or folder
    cache_fingerprint: str | None
    cache_rows: int | None  # rows of the cache: each saw the teacher once
    caches: Mapping[str, int]  # fingerprint: rows, of each cache that was joined
    teachers: tuple[str, ...]  # digests of their weights, each once, sorted; empty in results that do not say
    rows_seen: int  # rows x epochs, labelled or not
    seconds_per_step: float | None
    predictions: Mapping[str, Predictions]  # by split
    division: HeldOut | None = None
    shared: Mapping[str, SharedTexts] = field(default_factory=dict)  # by split, where there are any

    @property
    def splits(self) -> frozenset[str]:
        """Splits with both a score and the answers behind it."""
        return frozenset(self.metrics) & frozenset(self.predictions)


def find_results(paths: Sequence[Path]) -> list[Path]:
    """The result folders at or below these paths, each once, sorted. A folder inside a result is part of that result.

    Raises SpecError for a path that is no folder, or holds no result.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        below = sorted(_results_below(path))
        if not below:
            expected = f"expected a result folder (with {RESULT}) or a folder of such"
            what = "no result in it" if path.is_dir() else "a file" if path.exists() else "no such folder"
            raise SpecError(f"{expected}, found {what}. Make one with `logitcache train`.", where=path)
        for folder in below:
            found.setdefault(folder.resolve(), folder)
    return sorted(found.values())


def _results_below(path: Path) -> Iterator[Path]:
    for folder, inner, files in os.walk(path):
        if RESULT in files:
            inner.clear()
            yield Path(folder)


def read_result(folder: Path) -> Result:
    """Read one result folder whole.

    Raises SpecError if it holds no ``result.json``, FormatError (with the file's path) if a file is broken, foreign, or
    contradicts the other.
    """
    if not (folder / RESULT).is_file():
        raise SpecError(f"expected a result folder, found no {RESULT}. Make one with `logitcache train`.", where=folder)
    with _reading(folder / RESULT):
        document = _document(folder / RESULT)
    with _reading(folder / PREDICTIONS):
        predictions = _predictions(folder / PREDICTIONS, document["label_names"])
    return _result(folder, document, predictions)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say of every FormatError which file it is in and what to do."""
    try:
        yield
    except FormatError as error:
        error.advice = "Train this student again."
        raise error.at(path) from None


def _document(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:  # not JSON, or not UTF-8
        raise FormatError(expected="JSON", found=error) from None
    found = document.get("format") if isinstance(document, dict) else type(document).__name__
    if found != FORMAT:
        raise FormatError(expected=f"format {FORMAT!r}", found=repr(found))
    _check_fields(document, _FIELDS, "")
    _check_data(document["data"])
    for split, metrics in document["metrics"].items():
        _check_metrics(split, metrics)
    document.setdefault("caches", [])
    for cache in document["caches"] if isinstance(document["caches"], list) else [None]:
        if not isinstance(cache, dict):
            raise FormatError(f"`caches`: expected a list of caches, found {document['caches']!r}")
        _check_fields(cache, _CACHE_FIELDS, "caches.")
    return document


def _check_data(data: dict[str, Any]) -> None:
    """What is said of the rows. Older results say nothing of unlabelled rows, of rows held out and of shared texts."""
    older: dict[str, Any] = {"unlabelled_rows": 0, "division": None, "shared_texts": {}}
    data.update({name: value for name, value in older.items() if name not in data})
    _check_fields(data, _DATA_FIELDS, "data.")
    if data["division"] is not None:
        _check_fields(data["division"], _DIVISION_FIELDS, "data.division.")
        _check_fields(data["division"]["held_out"], dict.fromkeys(data["division"]["held_out"], (int,)), "held_out.")
    for split, shared in data["shared_texts"].items():
        if not isinstance(shared, dict):
            raise FormatError(f"`data.shared_texts.{split}`: expected numbers by name, found {shared!r}")
        _check_fields(shared, _SHARED_FIELDS, f"data.shared_texts.{split}.")


def _check_fields(document: Mapping[str, Any], fields: Mapping[str, tuple[type, ...]], prefix: str) -> None:
    for name, kinds in fields.items():
        if name not in document:
            raise FormatError(expected=f"a field `{prefix}{name}`", found="none")
        value = document[name]
        _check_size(f"{prefix}{name}", value)
        if not isinstance(value, kinds) or isinstance(value, bool):
            expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise FormatError(f"`{prefix}{name}`: expected {expected}, found {value!r}")


def _check_size(name: str, value: Any) -> None:
    if isinstance(value, int) and abs(value) >= 2**63:
        digits = len(hex(abs(value))) - 2
        raise FormatError(f"`{name}`: expected a number below 2**63, found one of {digits} hexadecimal digits")


def _check_metrics(split: str, metrics: Any) -> None:
    if not isinstance(metrics, dict):
        raise FormatError(f"`metrics.{split}`: expected names and values, found {metrics!r}")
    for name, value in metrics.items():
        _check_size(f"metrics.{split}.{name}", value)
        if isinstance(value, bool) or not isinstance(value, _NUMBER) or not math.isfinite(value):
            expected = "expected a finite number, found"
            raise FormatError(f"`metrics.{split}.{name}`: {expected} {value!r}")


def _predictions(path: Path, label_names: list[str] | None) -> dict[str, Predictions]:
    """Raises FormatError."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    types = {"split": pa.string(), "row_id": pa.int64(), "label": pa.int64(), "logits": pa.list_(pa.float32())}
    is_of_tokens = path.is_file() and _has_column(path, "nll")
    if is_of_tokens:
        del types["logits"]
        types["nll"] = pa.float32()
    schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in types.items()])
    try:
        table = pq.read_table(path, columns=schema.names).cast(schema).combine_chunks()
    except FileNotFoundError:
        raise FormatError(expected="the student's predictions", found="no such file") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError(expected="split, row_id, label and logits", found=str(error).splitlines()[0]) from None
    if any(column.null_count for column in table.columns):
        raise FormatError(expected="a value in every row", found="nulls")
    classes = 0
    if not is_of_tokens:
        classes = pc.max(pc.list_value_length(table["logits"])).as_py() if label_names is None else len(label_names)
    if "position" in pq.read_schema(path).names:  # results of before have one position a row
        positions = pq.read_table(path, columns=["position"])["position"].to_numpy()
        if positions.any():  # each is compared as a row is
            row_id = table["row_id"].to_numpy() * MAX_POSITIONS + positions
            table = table.set_column(1, "row_id", pa.array(row_id))
    splits = pc.unique(table["split"]).to_pylist()
    return {name: _of_split(name, table.filter(pc.equal(table["split"], name)), classes) for name in splits}


def _has_column(path: Path, name: str) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return name in pq.read_schema(path).names
    except (pa.ArrowException, OSError):
        return False  # refused where it is read


def _of_split(name: str, table: Any, classes: int) -> Predictions:
    row_id, label = table["row_id"].to_numpy(), table["label"].to_numpy()
    _check_all(np.unique(row_id, return_counts=True)[1] == 1, name, "each row_id once")
    if "nll" in table.column_names:
        nll = table["nll"].to_numpy()
        _check_all(np.isfinite(nll), name, "finite losses")
        order = np.argsort(row_id)
        return Predictions(row_id[order], label[order], np.empty((len(order), 0), np.float32), nll[order])
    lists = table["logits"].combine_chunks()
    _check_all((label >= -1) & (label < classes), name, f"labels 0 to {classes - 1}, or -1 for none")
    _check_all(lists.value_lengths().to_numpy() == classes, name, f"{classes} logits in each row")
    logits = lists.flatten().to_numpy().reshape(-1, classes)
    _check_all(np.isfinite(logits).all(axis=1), name, "finite logits")
    order = np.argsort(row_id)
    order = order[label[order] >= 0]  # a row without a label counts nowhere
    return Predictions(row_id[order], label[order], logits[order])


def _check_all(good: npt.NDArray[np.bool_], split: str, expected: str) -> None:
    if not good.all():
        raise FormatError(f"split {split}: expected {expected}, found {np.count_nonzero(~good)} rows otherwise")


def _result(folder: Path, document: dict[str, Any], predictions: dict[str, Predictions]) -> Result:
    in_force = {name: document[name] for name in ("alpha", "a", "temperature", "soft_factor")}
    asked = {name: value for name, value in document["config"].items() if name not in _OWN}
    data = document["data"]
    division = data["division"]
    rows = {name: data[name] for name in ("train_rows", "unlabelled_rows")}
    caches = {cache["fingerprint"]: cache["rows"] for cache in document["caches"]}
    if not caches and document["cache_fingerprint"]:  # results of before there were several do not list them
        caches = {document["cache_fingerprint"]: document["cache_rows"] or 0}
    return Result(
        folder=folder,
        **{name: document[name] for name in _AS_WRITTEN},
        label_names=None if document["label_names"] is None else tuple(map(str, document["label_names"])),
        data_digest=data["digest"],
        **rows,
        caches=caches,
        teachers=tuple(sorted({cache["weights"] for cache in document["caches"]})),
        settings={**asked, **in_force, **rows},
        predictions=predictions,
        division=None if division is None else HeldOut(division["rule"], division["held_out"]),
        shared={split: SharedTexts(**texts) for split, texts in data["shared_texts"].items()},
    )


def check_same_task(results: Sequence[Result]) -> None:
    """All results come from the same data and label names. Raises FingerprintMismatch: the two folders and values."""
    for other in results[1:]:
        for name in ("data_digest", "label_names"):
            _check_equal(results[0], other, name)


def _check_equal(one: Result, other: Result, field: str) -> None:
    first, second = getattr(one, field), getattr(other, field)
    if first != second:
        raise FingerprintMismatch(
            expected=f"{one.folder} and {other.folder} to share one {field}",
            found=f"{first} and {second}",
            advice="Compare students of the same data only.",
        )


def check_same_rows(results: Sequence[Result], split: str) -> None:
    """All results answered the same rows of a split, with the same labels. Raises FingerprintMismatch."""
    first = results[0]
    for other in results[1:]:
        difference = _difference(first.predictions[split], other.predictions[split])
        if difference is not None:
            raise FingerprintMismatch(
                expected=f"{first.folder} and {other.folder} to be evaluated on the same rows of {split}",
                found=difference,
                advice="Evaluate both on the same rows.",
            )


def _difference(one: Predictions, other: Predictions) -> str | None:
    """The first difference in row ids or labels, in words."""
    unpaired = np.setxor1d(one.row_id, other.row_id)
    if len(unpaired):
        return f"row {unpaired[0]} in the {'first' if unpaired[0] in one.row_id else 'second'} only"
    unlike = np.flatnonzero(one.label != other.label)
    if len(unlike):
        at = unlike[0]
        return f"row {one.row_id[at]} with label {one.label[at]} in the first and {other.label[at]} in the second"
    return None
