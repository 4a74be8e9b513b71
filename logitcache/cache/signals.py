"""The signals of a cache read: what it keeps of a teacher beside, or in place of, its logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from logitcache.cache.layout import StoredSignal
from logitcache.errors import SpecError
from logitcache.records import LOGITS, Array, Int64, Ragged
from logitcache.store.columns import ROW
from logitcache.targets.nothing import NoLogits

if TYPE_CHECKING:
    from logitcache.cache.cache import Cache


def vectors_of(
    cache: Cache, row_id: Int64, view: Int64 | int, names: Sequence[str]
) -> dict[str, Ragged]:
    """The vectors of these signals, by name: of every token of the rows, or one of each row. Raises
    SpecError for a signal that the cache does not keep.
    """
    vectors = {}
    for name in names:
        if name not in cache.signals:
            raise missing(cache, name)
        signal = cache.signals[name]
        indptr, columns = stored(cache, signal, row_id, view)
        vectors[name] = Ragged(signal.codec.unpack(columns, {}).vectors, indptr)
    return vectors


def stored(
    cache: Cache, signal: StoredSignal, row_id: Int64, view: Int64 | int = 0
) -> tuple[Int64, dict[str, Array]]:
    """A signal of these rows as it lies on disk: (indptr i64[n + 1], its codec's columns)."""
    records = cache.reader.places(row_id, view)
    indptr = np.arange(len(row_id) + 1)
    if signal.level != ROW:
        indptr, records = cache.reader.below(signal.level, records)
    names = {signal.column(column.name): column.name for column in signal.codec.columns()}
    columns = cache.reader.take(records, tuple(names))
    return indptr, {names[name]: values for name, values in columns.items()}


def missing(cache: Cache, *names: str) -> SpecError:
    """The refusal of signals that a cache lacks: what it has, and the options to dump them with."""
    stored_names = list(cache.signals)
    if not isinstance(cache.codec, NoLogits):
        stored_names.insert(0, LOGITS)
    options = " ".join(f"--signal {signal}" for signal in (*stored_names, *names))
    noun = "signal" if len(names) == 1 else "signals"
    return SpecError(
        expected=f"a cache of the {noun} {', '.join(names)}",
        found=f"one of {', '.join(stored_names)}",
        advice=f"Dump again with {options}, into a new --out.",
        where=cache.where,
    )


def check_logits(teacher: Any) -> None:
    """Raises SpecError for caches that keep no logits. A live teacher has them."""
    for cache in getattr(teacher, "caches", (teacher,)):
        if not getattr(cache, "has_logits", True):
            raise missing(cache, LOGITS)
