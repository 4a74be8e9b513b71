"""Which caches' targets can be put together: the losses read all of them by one codec's settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logitcache.cache.cache import Cache
from logitcache.cache.joining import join
from logitcache.cache.layout import columns_of
from logitcache.data.tasks.classification import Classification
from logitcache.errors import SpecError
from logitcache.store.columns import ROW
from logitcache.store.writer import CacheWriter
from logitcache.targets.codec import Codec
from logitcache.targets.dense import DenseCodec
from logitcache.targets.topk import TopK
from tests.cache.split_caches import STARTS
from tests.fake_caches import CONDITIONS, SKETCHES
from tests.fake_caches import plan as make_plan


def stored(folder: Path, codec: Codec, split: str = "train", **changes: Any) -> Cache:
    """A cache of one split of a codec; nothing in it is read."""
    plan = make_plan(
        10, 20, targets={"logits": codec.to_dict()}, columns=columns_of(codec, ROW), **changes
    )
    plan = replace(plan, data={**plan.data, "split": split})
    with CacheWriter(folder / f"{split}-{plan.digest()[:8]}", plan) as writer:
        rows = {ROW: plan.rows}
        arrays = {
            column.name: np.zeros(column.shape(rows[column.level]), column.dtype)
            for column in plan.columns
        }
        writer.write(0, arrays, SKETCHES, CONDITIONS)
        writer.seal()
    return Cache.open(writer.folder)


@pytest.mark.parametrize("change", [{"tail": "drop"}, {"temperature": 2.0}, {"k": 1}])
def test_parts_that_a_loss_would_read_in_two_ways_are_refused(
    change: dict[str, Any], tmp_path: Path
) -> None:
    usual: dict[str, Any] = {"width": 3, "k": 2}
    first = stored(tmp_path, TopK(**usual))
    (name,) = change
    with pytest.raises(
        SpecError, match=f"of another {name}. Dump all parts with the same --codec, as topk:k=2"
    ):
        join([first, stored(tmp_path, TopK(**{**usual, **change}), "unlabelled")], STARTS)
    with pytest.raises(SpecError, match="of another kind"):
        join([first, stored(tmp_path, DenseCodec(3), "unlabelled")], STARTS)
    join([first, stored(tmp_path, TopK(**usual, bits="8"), "unlabelled")], STARTS)


def test_some_words_are_neither_averaged_nor_put_into_another_order(tmp_path: Path) -> None:
    codec = TopK(width=3, k=2)
    both = [stored(tmp_path, codec, preparation={"max_length": n}) for n in (128, 64)]
    with pytest.raises(
        SpecError, match=r"averaged, found topk:k=2. Dump with --codec float16, or leave"
    ):
        join(both, {"train": 0}, "mean")
    task = Classification(3, ("class 2", "class 0", "class 1"))
    with pytest.raises(
        SpecError, match=r"in the order of the data's classes.*Dump this data again"
    ):
        join(both[:1], {"train": 0}, task=task)
