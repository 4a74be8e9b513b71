"""The rows that a cache holds, as a data set: what every student of a language model reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from logitcache.cache.cache import Cache
from logitcache.data.rows import Rows, Source
from logitcache.data.spool import Spool, token_blocks
from logitcache.records import Int64, Ragged, ends_of


def stored_rows(cache: Cache) -> Rows:
    """The answered rows of a cache, token by token; ``row_id`` is their place in it. Of a row under
    several masks all are left out where one has no answer, for every method alike. Raises SpecError
    for a cache that does not hold its rows.
    """
    views = views_of(cache)
    is_answered = ~np.isin(np.arange(len(cache)), cache.skipped)
    in_all_views = is_answered.reshape(-1, views).all(axis=1)
    rows = np.flatnonzero(np.repeat(in_all_views, views))
    return Rows(
        text=pa.array([""] * len(rows), pa.large_string()),
        text_pair=None,
        label=np.zeros(len(rows), np.int64),
        row_id=rows,
        row_hash=cache.row_hashes(rows),
        tokens=_tokens(cache, rows),
    )


def _tokens(cache: Cache, rows: Int64) -> dict[str, Ragged]:
    """The tokens of these rows, in mapped files. Read by blocks: a token takes dozens of bytes."""
    columns: defaultdict[str, Spool] = defaultdict(lambda: Spool(np.int32))
    lengths = Spool(np.int64)
    for block in token_blocks(len(rows)):
        tokens = cache.tokens(rows[block])
        lengths.add(tokens["labels"].lengths())
        for name, column in tokens.items():
            columns[name].add(column.values)
    indptr = ends_of(lengths.finish())
    return {name: Ragged(column.finish(), indptr) for name, column in columns.items()}


def views_of(cache: Cache) -> int:
    """Under how many masks each row is stored."""
    return int(cache.manifest.plan.preparation.get("sequences", {}).get("views", 1))


def stored_source(caches: Mapping[str, Cache]) -> Source:
    """The splits that these caches hold, each a table of its own, named by the first cache."""
    first = next(iter(caches.values()))
    plan = first.manifest.plan
    return Source(
        name=str(plan.data["source"]),
        splits={split: stored_rows(cache) for split, cache in caches.items()},
        label_names=None,
        num_labels=first.codec.width,
        task=plan.task,
        documents=plan.data.get("documents"),
        views=views_of(first),
    )
