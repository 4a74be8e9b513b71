"""What a dump says of a vocabulary's answers: the same whatever codec keeps them, and for any number of positions that
are read at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from logitcache.cache.cache import Cache
from logitcache.data.tasks.table import TASKS
from logitcache.records import Float32, rows_of
from logitcache.targets.table import parse
from logitcache.teacher.shards import Assembly, Layout
from logitcache.teacher.summary import EACH, TOGETHER, Summary
from tests.shortly import fast


def summary_of(cache: Cache) -> Summary:
    task = TASKS[cache.manifest.plan.task](cache.codec.width, None)
    summary = Summary.of_table(len(cache), task, None)
    summary.add_shards(cache, range(cache.manifest.plan.shard_count))
    return summary


def labels_of(cache: Cache) -> Float32:
    labels = cache.tokens(np.arange(len(cache)))["labels"].values
    return labels[labels >= 0]


@pytest.mark.parametrize("together", fast([1, 7 * 48, 1 << 22], 7 * 48))
@pytest.mark.parametrize("codec", ["float32", "replay"])
def test_full_answers_are_summed_up_as_by_hand(
    dumps: dict[str, Any], codec: str, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOGETHER, "cpu", together)
    cache = dumps["caches"][codec]
    logits = cache.take(np.arange(len(cache))).logits.astype(np.float64)
    log_p = log_softmax(logits, axis=1)
    label = labels_of(cache)
    summary = summary_of(cache)
    assert (summary.answered, summary.positions) == (len(cache), len(label))
    entropy = -(np.exp(log_p) * log_p).sum(1)
    assert summary.entropy == pytest.approx(entropy.sum(), rel=1e-5)
    scores = summary.scores.result()
    assert scores["nll"] == pytest.approx(-log_p[np.arange(len(label)), label].mean(), rel=1e-5)
    assert scores["token_accuracy"] == pytest.approx((log_p.argmax(1) == label).mean(), abs=1e-9)
    assert summary.train is summary.scores


def test_receipts_say_the_same_of_replayed_and_of_stored_answers(dumps: dict[str, Any]) -> None:
    stored, replayed = (dumps["caches"][codec].manifest.receipts for codec in ("float32", "replay"))
    for one, other in zip(stored, replayed, strict=True):
        for name, quantiles in one.sketches.items():
            np.testing.assert_allclose(quantiles, other.sketches[name], atol=1e-4)


@pytest.mark.parametrize("codec", ["float32", "replay"])
def test_of_a_large_shard_some_positions_stand_for_all(
    dumps: dict[str, Any], codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which ones follows from the rows, so whoever adds a shard up looks at the same."""
    monkeypatch.setattr("logitcache.teacher.summary.WHOLE", 8)
    cache = dumps["caches"][codec]
    whole = summary_of(cache)
    task = TASKS[cache.manifest.plan.task](cache.codec.width, None)
    some, again = (Summary(task, whole.is_dev, whole.is_dev, samples=True) for _ in range(2))
    shards = range(cache.manifest.plan.shard_count)
    some.add_shards(cache, shards)
    for index in shards:
        block = next(cache.blocks(*cache.manifest.plan.shard(index)))
        record = block.row_id[rows_of(block.answers.indptr)]
        is_scored = again.scored_positions(record, block.answers.index, len(record))
        assert is_scored is not None
        entropy, _ = again.add(block, is_scored=is_scored)
        assert (np.isfinite(entropy) == is_scored).all()
    assert some.positions == again.positions
    assert some.scores.result() == pytest.approx(again.scores.result())
    assert some.positions == pytest.approx(whole.positions / EACH, rel=0.4)
    assert some.answered == whole.answered
    mean = [summary.entropy / summary.positions for summary in (some, whole)]
    assert mean[0] == pytest.approx(mean[1], rel=0.1)
    assert whole.scored_positions(record, block.answers.index, 10**6) is None  # of dev and test


@pytest.mark.parametrize("repeats_row", [True, False])
def test_some_positions_are_scored_of_rows_that_are_all_one_text(
    repeats_row: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one position each; as rows of a table, and as the views of its rows."""
    monkeypatch.setattr("logitcache.teacher.summary.WHOLE", 8)
    rows = 400
    row = np.arange(rows)
    view = np.zeros_like(row) if repeats_row else row % 4
    layout = Layout(row, np.full(rows, 17), np.arange(rows + 1), row * 0, row * 0, view)
    nothing = np.zeros(rows, np.bool_)
    summary = Summary(TASKS["causal-lm"](64, None), nothing, nothing, samples=True)
    is_scored = Assembly(layout, parse("float16").codec(64), summary)._is_scored
    assert is_scored is not None
    assert is_scored.mean() == pytest.approx(1 / EACH, abs=0.1)
    assert all(is_scored[view == number].any() for number in np.unique(view))


@pytest.mark.parametrize("codec", ["float16", "float32", "topk:k=4", "sampled:n=8"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_not_finite_is_noticed_where_nothing_is_scored(
    codec: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong target would be stored, and no figure of the report would show it."""
    monkeypatch.setattr("logitcache.teacher.summary.WHOLE", 8)
    rows, width, each = 4, 64, 10
    task = TASKS["causal-lm"](width, None)
    row = np.arange(rows)
    indptr = np.arange(rows + 1) * each
    index = np.tile(np.arange(each), rows)
    layout = Layout(row, row * 17 + 3, indptr, index, index, np.zeros_like(row))
    of_vocabulary = parse(codec).codec(width)
    for is_tensor in (True, False):
        nothing = np.zeros(rows, np.bool_)
        shard = Assembly(layout, of_vocabulary, Summary(task, nothing, nothing, samples=True))
        is_scored = shard._is_scored
        assert is_scored is not None
        position = int(np.flatnonzero(~is_scored)[-1])
        logits = np.random.default_rng(0).normal(size=(rows * each, width)).astype(np.float32)
        logits[position, 5] = value
        shard.add(row, torch.from_numpy(logits) if is_tensor else logits)
        shard.finish()
        assert np.flatnonzero(shard.not_finite).tolist() == [position // each]
        assert (shard.skipped == shard.not_finite).all()
        assert all(np.isfinite(values).all() for values in shard.sketches().values())
