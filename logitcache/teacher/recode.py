"""A cache's answers in another codec, as a dump would have kept them; no teacher is asked.

One cache of full answers (``float16``, ``float32`` or ``replay``) serves every other codec:

1. A codec that depends on a sample of the answers is calibrated on the rows that a dump would draw.
2. Each shard is read and checked, its logits are computed for a few positions at a time, and what
   the codec keeps of them takes the place of what was stored.

Random numbers are those of a dump: the same up to the rounding of the stored logits. Cost: one pass
over the cache, and of ``replay`` the product with the head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from logitcache.cache.cache import Cache
from logitcache.cache.convert import Conversion, arrays_of, conversion
from logitcache.cache.layout import (
    HASH,
    LABEL,
    POSITION,
    columns_of,
    columns_of_signals,
    inputs_of,
)
from logitcache.cache.rows import stored_rows
from logitcache.data.tasks.table import TASKS
from logitcache.errors import SpecError
from logitcache.records import Array
from logitcache.store.columns import ROW, ends
from logitcache.store.tensors import decode, encode
from logitcache.store.writer import CacheWriter
from logitcache.targets.codec import Codec, of_positions
from logitcache.targets.replay import BIAS, WEIGHT
from logitcache.targets.table import parse
from logitcache.targets.topk import UNIGRAM, TopK
from logitcache.teacher.calibration import drawn_rows, unigram_of
from logitcache.teacher.shards import Assembly, Layout
from logitcache.teacher.summary import Summary

if TYPE_CHECKING:
    from torch import Tensor

TOGETHER = 1 << 24  # logits that are computed at once: the head is read once for all of them


def recode(place: Path | str, out: Path, codec: str, store: str | None = None) -> Conversion:
    """Write the answers of a complete cache with the codec that ``codec`` names, into the store of
    the cache or another one. Running it again goes on where it stopped.

    Raises SpecError for a cache whose answers are not full, or a codec that needs the teacher;
    CorruptShard for damage, FingerprintMismatch where ``out`` holds another cache.
    """
    if isinstance(place, Path) and out.resolve() == place.resolve():
        raise SpecError(
            expected="another folder than the cache's own",
            found="the same",
            advice="Name one that is not there yet.",
            where=out,
        )
    spec = parse(codec)
    cache = Cache.open(place)
    if not cache.has_logits:
        raise SpecError(
            expected="a cache of logits",
            found=f"one of {', '.join(cache.signals)}",
            advice="Leave --codec out: --to copies vectors into another store.",
            where=cache.where,
        )
    if cache.codec.temperatures is not None:
        raise SpecError(
            expected="a cache of full answers (float16, float32 or replay)",
            found=str(cache.codec.to_dict()["kind"]),
            advice=f"Dump with --codec {codec}.",
            where=cache.where,
        )
    spec.check_answers(are_words_counted=cache.holds_rows)
    new_codec = spec.codec(cache.codec.width)
    if not new_codec.is_calibrated:
        new_codec = new_codec.calibrated(_sample(cache))
    tensors = dict(cache.assets)
    for name in (WEIGHT, BIAS):  # of the old codec
        tensors.pop(name, None)
    if isinstance(new_codec, TopK) and new_codec.tail == UNIGRAM:
        tensors[UNIGRAM] = unigram_of(stored_rows(cache), new_codec.width)
    file = None
    data = None
    if tensors:
        file, data = encode(tensors)
    plan = cache.manifest.plan
    columns = columns_of(new_codec, cache.level, inputs_of(plan))
    plan = replace(
        plan,
        targets={**plan.targets, "logits": new_codec.to_dict()},
        columns=columns + columns_of_signals(list(cache.signals.values())),
        tensors=file,
        store=store or plan.store,
    )
    assets = {} if data is None else decode(data)
    with CacheWriter(out, plan, tensors=data) as writer:
        missing = [index for index in writer.own if not writer.holds(index)]
        for index in missing:
            _write(cache, new_codec, writer, index, assets)
        writer.seal()
        return conversion(out, len(missing))


def _sample(cache: Cache) -> list[Tensor]:
    """The finite logits of the rows that a dump would calibrate a codec with, f[P, V] each."""
    rows = drawn_rows(len(cache), lambda drawn: int(cache.positions(drawn)[0][-1]))
    parts = _logits(cache, cache.stored(rows))
    return [logits[logits.isfinite().all(dim=1)] for logits in parts]


def _logits(cache: Cache, columns: Mapping[str, Array]) -> Iterator[Tensor]:
    """The logits f32[P, V] of the stored columns of positions, a few positions at a time."""
    import torch

    from logitcache.models.projection import full_logits

    positions = len(next(iter(columns.values())))
    together = max(1, TOGETHER // cache.codec.width)
    # rows without a position have one empty part
    for start in range(0, max(1, positions), together):
        part = {name: array[start : start + together] for name, array in columns.items()}
        yield full_logits(cache.codec.unpack(part, cache.assets).map(torch.from_numpy))


def _write(
    cache: Cache, codec: Codec, writer: CacheWriter, index: int, assets: Mapping[str, Array]
) -> None:
    """Write a shard: the columns of the answers are replaced, all others stay as they are."""
    import torch

    plan = cache.manifest.plan
    receipt = cache.manifest.receipts[index]
    arrays = arrays_of(cache.reader, index)
    stored = {column.name: arrays.pop(column.name) for column in of_positions(cache.codec)}
    layout = _layout(arrays, cache.level, plan.shard(index)[0])
    task = TASKS[plan.task](codec.width, None)
    summary = Summary.of_table(len(cache), task, plan.data.get("split"))
    shard = Assembly(layout, codec, summary, assets)
    starts = layout.indptr
    first = 0
    while first < len(layout.row_id):
        last = int(np.searchsorted(starts, starts[first] + TOGETHER // codec.width, "right")) - 1
        last = max(first + 1, last)
        part = slice(int(starts[first]), int(starts[last]))
        columns = {name: array[part] for name, array in stored.items()}
        shard.add(np.arange(first, last), torch.cat(list(_logits(cache, columns))))
        first = last
    arrays |= {**shard.columns, **shard.entries()}
    conditions = {**receipt.conditions, "recoded": cache.fingerprint}
    writer.write(index, arrays, shard.sketches(), conditions)


def _layout(arrays: Mapping[str, Array], level: str, first: int) -> Layout:
    """The rows of a shard, of its columns; ``first`` is the number of its first row."""
    row_hash = arrays[HASH.name]
    count = len(row_hash)
    row_id = np.arange(first, first + count)
    first_view = np.zeros(count, np.int64)  # full answers have one: nothing is drawn of them
    if level == ROW:
        index = np.zeros(count, np.int64)
        return Layout(
            row_id=row_id,
            row_hash=row_hash,
            indptr=np.arange(count + 1),
            index=index,
            label=arrays[LABEL],
            view=first_view,
        )
    indptr = np.concatenate([np.zeros(1, np.int64), arrays[ends(level).name]])
    index = arrays[POSITION].astype(np.int64)
    label = arrays[LABEL].astype(np.int64)
    return Layout(
        row_id=row_id,
        row_hash=row_hash,
        indptr=indptr,
        index=index,
        label=label,
        view=first_view,
    )
