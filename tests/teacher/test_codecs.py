"""A dump with a sparse codec: calibrated before it, the same when it is repeated, copied when it is
reused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from logitcache.cache.cache import Cache
from logitcache.cache.inspect import describe, row_of
from logitcache.config.data import Columns
from logitcache.config.teacher import DumpSettings
from logitcache.data.source import Source
from logitcache.errors import SpecError
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import TeacherModel
from tests.fake_caches import tree
from tests.shortly import fast


def settings(codec: str) -> DumpSettings:
    return DumpSettings(max_length=32, codec=codec, shard_rows=7)


def test_replay_is_refused_for_a_teacher_without_a_vocabulary(
    teacher: TeacherModel, train_only: Source, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match="--codec replay: expected a language model"):
        dump_split(teacher, train_only, "train", tmp_path / "cache", settings("replay"))
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "codec", fast(["topk:k=2", "sampled:n=30", "varopt:mean=1.5"], "varopt:mean=1.5")
)
def test_a_dump_with_a_sparse_codec(
    teacher: TeacherModel, train_only: Source, tmp_path: Path, codec: str
) -> None:
    dense, one, other = tmp_path / "dense", tmp_path / "one", tmp_path / "other"
    dump_split(teacher, train_only, "train", dense, settings("float32"))
    report = dump_split(teacher, train_only, "train", one, settings(codec))
    again = dump_split(teacher, train_only, "train", one, settings(codec))
    dump_split(teacher, train_only, "train", other, settings(codec), reuse=Cache.open(one))
    cache = Cache.open(one)
    rows = np.arange(len(cache))
    assert (report.positions, again.teacher_rows) == (len(rows), 0)
    shards = {name: data for name, data in tree(one).items() if name.endswith(".arrow")}
    assert shards == {name: data for name, data in tree(other).items() if name.endswith(".arrow")}

    target, exact = cache.take(rows).payload, softmax(Cache.open(dense).take(rows).logits, axis=1)
    estimate = np.zeros_like(exact)
    np.add.at(estimate, (rows[:, None], target.ids), target.prob)
    assert abs(estimate.mean(0) - exact.mean(0)).max() < 0.2
    if codec == "topk:k=2":
        np.testing.assert_allclose(estimate, exact, atol=1e-3)
    assert describe(cache)["codecs"]["logits"]["kind"] == codec.partition(":")[0]
    shown = row_of(cache, 3, None, Columns(), tmp_path)
    assert shown["top"][0]["class"] == target.ids[3, target.prob[3].argmax()]
    assert not cache.verify()
