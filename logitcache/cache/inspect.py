"""What `logitcache inspect` says of a cache, from its manifest alone; and one row, decoded. No torch, no download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.cache.cache import Cache
from logitcache.config.data import Columns
from logitcache.data import source
from logitcache.data.source import Rows
from logitcache.data.sources import docstrings
from logitcache.data.sources.find import lying_here
from logitcache.errors import FormatError, SpecError, short
from logitcache.payloads import Dense, Payload, Sparse
from logitcache.records import Array
from logitcache.reporter import SILENT
from logitcache.store.columns import ROW
from logitcache.store.manifest import QUANTILES, Receipt

SKETCHES = ("entropy", "top_probability")
APART = ("cut", "reused", "skipped")  # shown for the whole cache, not among the conditions of its shards
HUGE = 1e300  # no sketch has more
POINTS = 8  # that stand for the rows between two quantiles of a shard
TOP = 5


def describe(cache: Cache) -> dict[str, Any]:
    """The document of ``logitcache inspect --json``, but for ``row``. Raises FormatError for receipts that no dump
    writes.
    """
    manifest, plan = cache.manifest, cache.manifest.plan
    receipts = manifest.receipts
    return {
        "cache": cache.where,
        "fingerprint": manifest.digest,
        "rows": plan.rows,
        "views": plan.views,
        "positions": manifest.positions,
        "records": {
            level: sum(r.records[level] for r in receipts) for level in (receipts[0].records if receipts else ())
        },
        "bytes": manifest.bytes,
        "shards": len(receipts),
        "shard_rows": plan.shard_rows,
        "store": plan.store,
        "columns": [column.to_dict() for column in plan.columns],
        "codecs": dict(plan.targets),
        "teacher": _teacher(plan.teacher, cache.where),
        "task": plan.task,
        "preprocessor": dict(plan.preprocessor),
        "data": dict(plan.data),
        "preparation": dict(plan.preparation),
        "conditions": conditions(receipts),
        "skipped": cache.skipped.tolist(),
        "reused_rows": sum(receipt.conditions.get("reused", {"rows": 0})["rows"] for receipt in receipts),
        "quantiles": quantiles(receipts, cache.where),
    }


def conditions(receipts: Sequence[Receipt]) -> list[dict[str, Any]]:
    """The different conditions that shards were made under, each with the ranges (first, last) of its shards."""
    found: dict[str, tuple[dict[str, Any], list[int]]] = {}
    for index, receipt in enumerate(receipts):
        shared = {name: value for name, value in receipt.conditions.items() if name not in APART}
        found.setdefault(str(sorted(shared.items())), (shared, []))[1].append(index)
    return [{**shared, "shards": _ranges(indices)} for shared, indices in found.values()]


def _ranges(indices: list[int]) -> list[list[int]]:
    groups = groupby(enumerate(indices), key=lambda pair: pair[1] - pair[0])
    runs = [[index for _, index in run] for _, run in groups]
    return [[run[0], run[-1]] for run in runs]


def _teacher(said: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a plan says of its teacher; what is shown of it is of the type that a dump writes."""
    order, folds = said.get("label_order"), said.get("folds")
    if order is not None and not (isinstance(order, list) and all(type(place) is int for place in order)):
        raise FormatError(expected="the teacher's label order as places", found=short(repr(order)), where=where)
    if folds is not None and not (isinstance(folds, dict) and type(folds.get("count")) is int):
        raise FormatError(expected="the teacher's folds with their count", found=short(repr(folds)), where=where)
    return dict(said)


def quantiles(receipts: Sequence[Receipt], where: str) -> dict[str, dict[str, list[float]]]:
    """The quantiles over all rows of what every shard has a sketch of: ``at`` (shares), ``value``, and ``low`` and
    ``high``, between which the rows' own quantile lies. Raises FormatError for what is no sketch.
    """
    found = {}
    for name in SKETCHES:
        sketches = [_sketch(receipt.sketches.get(name), index, where) for index, receipt in enumerate(receipts)]
        answered = [
            (rows, sketch)
            for receipt, sketch in zip(receipts, sketches, strict=True)
            if sketch and (rows := receipt.rows - len(receipt.conditions.get("skipped", ()))) > 0
        ]
        if answered and all(name in receipt.sketches for receipt in receipts):
            found[name] = combine([rows for rows, _ in answered], np.array([sketch for _, sketch in answered]))
    return found


def _sketch(value: Any, index: int, where: str) -> list[float]:
    numbers = isinstance(value, list) and all(type(v) in (int, float) and -HUGE < v < HUGE for v in value)
    if value is None or value == []:  # none was made; or no row of the shard has an answer
        return []
    if not numbers or len(value) != len(QUANTILES) or sorted(value) != value:
        found = short(repr(value))
        raise FormatError(expected=f"{len(QUANTILES)} quantiles of shard {index}", found=found, where=where)
    return list(map(float, value))


def combine(rows: Sequence[int], sketches: Array) -> dict[str, list[float]]:
    """The QUANTILES of all rows from those of each shard: sketches f[S, 9], rows of each.

    A shard's sketch says how many of its rows lie between two of its quantiles, not where. ``value`` takes them as
    spread evenly; ``low`` and ``high`` are the bounds that no spread can leave (but for one row of each shard, and the
    six digits of a sketch). They meet where there is one shard, and where shards are alike they are close.
    """
    at, weights = np.array(QUANTILES), np.array(rows, np.float64)
    share = np.diff(at) * (weights / weights.sum())[:, None]  # of all rows, between two quantiles of a shard
    spread = (np.arange(POINTS) + 0.5) / POINTS
    points = sketches[:, :-1, None] + np.diff(sketches)[:, :, None] * spread
    value = _reach(points, np.repeat(share[:, :, None] / POINTS, POINTS, 2), at - 1e-9)
    low = _reach(sketches[:, :-1], share, at + 1e-9)  # every row as small as its shard's sketch allows
    high = _reach(sketches[:, 1:], share, at - 1e-9)
    low[-1], high[0] = high[-1], low[0] = sketches.max(), sketches.min()
    found = {"at": at, "value": np.clip(value, low, high), "low": low, "high": high}
    return {name: np.round(each, 6).tolist() for name, each in found.items()}


def _reach(values: Array, weights: Array, at: Array) -> Array:
    """The smallest values up to which these shares of the weight lie."""
    order = np.argsort(values, axis=None, kind="stable")
    total = np.cumsum(weights.reshape(-1)[order])
    return values.reshape(-1)[order][np.minimum(np.searchsorted(total, at), len(order) - 1)]


def row_of(cache: Cache, number: int, data: str | None, columns: Columns, workspace: Path) -> dict[str, Any]:
    """What the cache holds of one row, and its text where the source can be opened here and is the one that the
    teacher saw. ``data`` names the source; None: what the manifest calls it, if that lies here. Raises SpecError for a
    row that there is none of, or ``data`` that cannot be read here.
    """
    if not 0 <= number < len(cache):
        raise SpecError(f"--row: expected one of 0 to {len(cache) - 1}, found {number}.", where=cache.where)
    block = next(cache.blocks(number, number + 1))
    row_hash = int(block.answers.row_hash[0])
    skipped = number in cache.skipped
    positions = []
    for place, label in enumerate(block.label.tolist()):
        payload = None if skipped else block.answers.payload.select(slice(place, place + 1))
        positions.append(_position(label, payload, cache.label_names))
    if cache.level == ROW:
        said = positions[0]
    else:
        numbers = block.answers.index.tolist()
        said = {"positions": [{"position": n, **each} for n, each in zip(numbers, positions, strict=True)]}
    return {
        "row_id": number,
        "row_hash": _hex(row_hash),
        "skipped": skipped,
        **said,
        **_text(cache, number, row_hash, data, columns, workspace),
    }


def _position(label: int, payload: Payload[Array] | None, labels: Sequence[str]) -> dict[str, Any]:
    """One position: its label and the teacher's answer, None where there is none."""
    name = labels[label] if 0 <= label < len(labels) else None
    answer = {"entropy": None, "top": []} if payload is None else _answer(payload, labels)
    return {"label": label, "label_name": name, **answer}


def _answer(payload: Payload[Array], labels: Sequence[str]) -> dict[str, Any]:
    """Entropy in nats, and the most probable classes, of one position."""
    if isinstance(payload, Dense):
        logits = payload.logits[0]
        exp = np.exp((logits - logits.max()).astype(np.float64))
        p = exp / exp.sum()
        classes = np.arange(len(p))
        entropy = float(-(p[p > 0] * np.log(p[p > 0])).sum())
    else:
        assert isinstance(payload, Sparse)
        entry = payload.prob[0] > 0
        classes, p, entropy = payload.ids[0][entry], payload.prob[0][entry], float(payload.entropy[0])
    top = np.argsort(-p, kind="stable")[:TOP]
    shown = [{"class": int(classes[i]), "label": labels[classes[i]], "probability": float(p[i])} for i in top]
    return {"entropy": entropy, "top": shown}


def _hex(row_hash: int) -> str:
    return f"{row_hash % 2**64:016x}"


def _text(
    cache: Cache, number: int, row_hash: int, data: str | None, columns: Columns, workspace: Path
) -> dict[str, str | None]:
    """The row's text, or why it is not shown."""
    recorded = cache.manifest.plan.data
    name = str(data or recorded.get("source"))
    split = str(recorded.get("split"))
    note = f"the cache calls its rows {short(repr(name))}, and nothing of that name lies here: name them with --data"
    for path in _paths(name, workspace, data is not None):
        try:
            loaded = source.load(str(path), columns, workspace, SILENT)
        except SpecError as error:
            if data is not None:
                raise
            note = str(error)
            continue
        rows = loaded.dumped.get(split)
        index = None if rows is None else _index_of(rows, number, row_hash)
        if rows is not None and index is not None:
            texts, pairs = rows.texts(index, index + 1)
            return {"text": texts[0], "text_pair": pairs[0] if pairs else None, "text_note": None}
        note = f"{path}: no row of {split} has this text (hash {_hex(row_hash)})"
    return {"text": None, "text_pair": None, "text_note": note}


def _index_of(rows: Rows, number: int, row_hash: int) -> int | None:
    """Where a text stands among rows: at the row's own number, or the first row that has it; None where none has."""
    if number < len(rows) and rows.row_hash[number] == row_hash:
        return number
    matches = np.flatnonzero(rows.row_hash == row_hash)
    return int(matches[0]) if len(matches) else None


def _paths(name: str, workspace: Path, named: bool) -> list[Path]:
    """Where a source may lie on this disk. Raises SpecError for a ``named`` one that lies nowhere."""
    if name in docstrings.NAMES:  # as it has been built here; building takes a while
        return sorted(workspace.glob(f"{name}-*"))
    if not named:
        return lying_here(name)
    if not Path(name).exists():
        raise SpecError(expected="a file or folder of rows that lies here", found="none", where=f"--data {name}")
    return [Path(name)]
