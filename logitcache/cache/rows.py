"""The rows that a cache holds, as a data set: what every student of a language model reads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from logitcache.cache.cache import Cache
from logitcache.data.rows import Rows, Source


def stored_rows(cache: Cache) -> Rows:
    """Every row of a cache, token by token. Raises SpecError for a cache that does not hold its rows."""
    every = np.arange(len(cache))
    return Rows(
        text=pa.array([""] * len(cache), pa.large_string()),
        text_pair=None,
        label=np.zeros(len(cache), np.int64),
        row_id=every,
        row_hash=cache.row_hashes(),
        tokens=cache.tokens(every),
    )


def stored_source(caches: Mapping[str, Cache]) -> Source:
    """The splits that these caches hold, each a table of its own; the first one says what they are called."""
    first = next(iter(caches.values()))
    plan = first.manifest.plan
    return Source(
        name=str(plan.data["source"]),
        splits={split: stored_rows(cache) for split, cache in caches.items()},
        label_names=None,
        num_labels=first.codec.width,
        task=plan.task,
        documents=plan.data.get("documents"),
        views=int(plan.preparation["sequences"]["views"]),
    )
