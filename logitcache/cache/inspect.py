"""The document of `logitcache inspect`: a cache from its manifest alone, and one row. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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
from logitcache.payloads import Dense, Payload, Replay, Sparse
from logitcache.records import Array
from logitcache.reporter import SILENT
from logitcache.store.columns import ROW
from logitcache.store.manifest import QUANTILES, Receipt

SKETCHES = ("entropy", "top_probability")
# shown for the whole cache, not among the conditions of its shards
APART = ("cut", "reused", "skipped")
HUGE = 1e300  # no sketch has more
POINTS = 8  # that stand for the rows between two quantiles of a shard
TOP = 5


def describe(cache: Cache) -> dict[str, Any]:
    """The document of ``inspect --json`` but for ``row``. Raises FormatError for odd receipts."""
    manifest = cache.manifest
    plan = manifest.plan
    receipts = manifest.receipts
    records: Counter[str] = Counter()
    reused_rows = 0
    for receipt in receipts:
        records.update(receipt.records)
        reused_rows += receipt.conditions.get("reused", {"rows": 0})["rows"]
    return {
        "cache": cache.where,
        "fingerprint": manifest.digest,
        "rows": plan.rows,
        "views": plan.views,
        "positions": manifest.positions,
        "records": dict(records),
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
        "reused_rows": reused_rows,
        "quantiles": quantiles(receipts, cache.where),
    }


def conditions(receipts: Sequence[Receipt]) -> list[dict[str, Any]]:
    """The conditions that shards were made under, with the ranges (first, last) of shards."""
    different: dict[str, dict[str, Any]] = {}
    for index, receipt in enumerate(receipts):
        own = {name: value for name, value in receipt.conditions.items() if name not in APART}
        entry = different.setdefault(str(sorted(own.items())), {**own, "shards": []})
        ranges = entry["shards"]
        if ranges and ranges[-1][1] == index - 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    return list(different.values())


def _teacher(recorded: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a plan records of its teacher. Raises FormatError for a shown field of another type."""
    order = recorded.get("label_order")
    folds = recorded.get("folds")
    is_order = isinstance(order, list) and {int}.issuperset(map(type, order))
    if order is not None and not is_order:
        raise FormatError(
            expected="the teacher's label order as places", found=short(repr(order)), where=where
        )
    has_count = isinstance(folds, dict) and type(folds.get("count")) is int
    if folds is not None and not has_count:
        raise FormatError(
            expected="the teacher's folds with their count", found=short(repr(folds)), where=where
        )
    return dict(recorded)


def quantiles(receipts: Sequence[Receipt], where: str) -> dict[str, dict[str, list[float]]]:
    """Quantiles over all rows of each quantity that every shard has a sketch of: ``at`` (shares),
    ``value``, and bounds ``low`` and ``high`` of the exact quantile. Raises FormatError for an
    invalid sketch.
    """
    combined = {}
    for name in SKETCHES:
        rows = []
        sketches = []
        for index, receipt in enumerate(receipts):
            sketch = _sketch(receipt.sketches.get(name), index, where)
            answered = receipt.rows - len(receipt.conditions.get("skipped", ()))
            if sketch and answered > 0:
                rows.append(answered)
                sketches.append(sketch)
        if rows and all(name in receipt.sketches for receipt in receipts):
            combined[name] = combine(rows, np.array(sketches))
    return combined


def _sketch(value: Any, index: int, where: str) -> list[float]:
    if value is None or value == []:  # none was made; or no row of the shard has an answer
        return []
    valid = (
        isinstance(value, list)
        and len(value) == len(QUANTILES)
        and all(type(number) in (int, float) and -HUGE < number < HUGE for number in value)
        and sorted(value) == value
    )
    if not valid:
        expected = f"{len(QUANTILES)} quantiles of shard {index}"
        raise FormatError(expected=expected, found=short(repr(value)), where=where)
    return list(map(float, value))


def combine(rows: Sequence[int], sketches: Array) -> dict[str, list[float]]:
    """The QUANTILES of all rows from those of each shard: sketches f[S, 9], rows of each.

    A shard's sketch says how many of its rows lie between two of its quantiles, not where.
    ``value`` takes them as spread evenly; ``low`` and ``high`` are the bounds that no spread can
    leave (but for one row of each shard, and the six digits of a sketch). They meet where there is
    one shard, and where shards are alike they are close.
    """
    at = np.array(QUANTILES)
    share_of_shard = np.array(rows, np.float64) / sum(rows)
    share = np.diff(at) * share_of_shard[:, None]  # of all rows, between two quantiles of a shard
    offsets = (np.arange(POINTS) + 0.5) / POINTS
    points = sketches[:, :-1, None] + np.diff(sketches)[:, :, None] * offsets
    share_of_point = np.repeat(share[:, :, None] / POINTS, POINTS, 2)
    value = _weighted_quantiles(points, share_of_point, at - 1e-9)
    # every row as small as its shard's sketch allows
    low = _weighted_quantiles(sketches[:, :-1], share, at + 1e-9)
    high = _weighted_quantiles(sketches[:, 1:], share, at - 1e-9)
    low[0] = high[0] = sketches.min()
    low[-1] = high[-1] = sketches.max()
    quantiles = {"at": at, "value": np.clip(value, low, high), "low": low, "high": high}
    return {name: np.round(column, 6).tolist() for name, column in quantiles.items()}


def _weighted_quantiles(values: Array, weights: Array, at: Array) -> Array:
    """The smallest values up to which these shares of the weight lie."""
    order = np.argsort(values, axis=None, kind="stable")
    total = np.cumsum(weights.reshape(-1)[order])
    index = np.minimum(np.searchsorted(total, at), len(order) - 1)
    return values.reshape(-1)[order[index]]


def row_of(
    cache: Cache, number: int, data: str | None, columns: Columns, workspace: Path
) -> dict[str, Any]:
    """One row: its answer, and its text if the source can be opened on this machine and is the one
    that the teacher saw. ``data`` names the source; None: the name in the manifest, if it is on
    this machine. Raises SpecError for a row that does not exist, or ``data`` that cannot be read.
    """
    if not 0 <= number < len(cache):
        raise SpecError(
            f"--row: expected one of 0 to {len(cache) - 1}, found {number}.", where=cache.where
        )
    block = next(cache.blocks(number, number + 1))
    answers = block.answers
    row_hash = int(answers.row_hash[0])
    skipped = number in cache.skipped
    positions = []
    for position, label in enumerate(block.label.tolist()):
        name = cache.label_names[label] if 0 <= label < len(cache.label_names) else None
        answer: dict[str, Any] = {"entropy": None, "top": []}
        if not skipped and answers.payloads:
            payload = answers.payload.select(slice(position, position + 1))
            answer = _answer(payload, cache.label_names)
        entry = {"label": label, "label_name": name, **answer}
        if cache.level != ROW:
            entry = {"position": int(answers.index[position]), **entry}
        positions.append(entry)
    content: dict[str, Any] = positions[0] if cache.level == ROW else {"positions": positions}
    return {
        "row_id": number,
        "row_hash": _hex(row_hash),
        "skipped": skipped,
        **content,
        **_text(cache, number, row_hash, data, columns, workspace),
    }


def _answer(payload: Payload[Array], labels: Sequence[str]) -> dict[str, Any]:
    """Entropy in nats, and the most probable classes, of one position."""
    from scipy.special import entr, softmax  # takes long to load

    if isinstance(payload, Sparse):
        is_listed = payload.prob[0] > 0
        classes = payload.ids[0][is_listed]
        p = payload.prob[0][is_listed]
        entropy = float(payload.entropy[0])
    else:
        assert isinstance(payload, Dense | Replay)
        logits = payload.replayed() if isinstance(payload, Replay) else payload.logits
        p = softmax(logits[0].astype(np.float64))
        classes = np.arange(len(p))
        entropy = float(entr(p).sum())
    entries = []
    for i in np.argsort(-p, kind="stable")[:TOP]:
        number = int(classes[i])
        label = labels[number] if labels else str(number)
        entries.append({"class": number, "label": label, "probability": float(p[i])})
    return {"entropy": entropy, "top": entries}


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
    """Where a text stands among rows: at the row's own number, or at the first with it; or None."""
    if number < len(rows) and rows.row_hash[number] == row_hash:
        return number
    matches = np.flatnonzero(rows.row_hash == row_hash)
    return int(matches[0]) if len(matches) else None


def _paths(name: str, workspace: Path, is_given: bool) -> list[Path]:
    """The paths of a source on this disk. Raises SpecError for an ``is_given`` one without."""
    if name in docstrings.NAMES:  # as it has been built here; building takes a while
        return sorted(workspace.glob(f"{name}-*"))
    if not is_given:
        return lying_here(name)
    if not Path(name).exists():
        raise SpecError(
            expected="a file or folder of rows that lies here", found="none", where=f"--data {name}"
        )
    return [Path(name)]
