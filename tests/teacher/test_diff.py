"""Two caches side by side: how far apart, where most, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax

from logitcache.cache import diff as module
from logitcache.cache.cache import Cache
from logitcache.cache.diff import difference
from logitcache.cache.distance import Spread, kl
from logitcache.config.teacher import DumpSettings
from logitcache.data.source import Rows, Source
from logitcache.errors import AlignmentError, FingerprintMismatch, SpecError
from logitcache.identity import row_hashes
from logitcache.store.writer import CacheWriter
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import TeacherModel, load_teacher
from logitcache_cli.diff import render

SETTINGS = DumpSettings(max_length=48, batch_tokens=200, codec="float32", shard_rows=25)
LOGITS = arrays(np.float32, (5, 3), elements=st.floats(-50, 50, width=32))


@given(LOGITS, LOGITS)
def test_kl_is_what_it_is_called(one: np.ndarray, other: np.ndarray) -> None:
    p, q = (log_softmax(each.astype(np.float64), axis=1) for each in (one, other))
    np.testing.assert_allclose(kl(one, other), (np.exp(p) * (p - q)).sum(axis=1), atol=1e-9)
    assert (kl(one, one) == 0).all()
    assert (kl(one, other) >= 0).all()


@given(
    st.lists(
        st.lists(st.floats(0, 1e4).filter(lambda x: x == 0 or x > 1e-11), max_size=30),
        min_size=1,
        max_size=4,
    )
)
def test_a_spread_is_that_of_all_values(blocks: list[list[float]]) -> None:
    spread, values = Spread(), np.array([value for block in blocks for value in block])
    for block in blocks:
        spread.add(np.array(block, np.float64))
    found = spread.result()
    assert found["max"] == values.max(initial=0)
    assert found["mean"] == pytest.approx(values.mean() if len(values) else 0)
    for q, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99")):
        if len(values):
            exact = np.quantile(values, q, method="inverted_cdf")
            assert exact / 1.0101 <= found[name] <= exact * 1.0001


@pytest.fixture(scope="module")
def one(
    teacher: TeacherModel, train_only: Source, tmp_path_factory: pytest.TempPathFactory
) -> Cache:
    folder = tmp_path_factory.mktemp("one") / "c"
    dump_split(teacher, train_only, "train", folder, SETTINGS)
    return Cache.open(folder)


def test_a_cache_does_not_differ_from_itself(one: Cache) -> None:
    told = difference(one, one)
    assert (told.identical, told.rows, told.fields, told.conditions, told.worst) == (
        True,
        60,
        {},
        {},
        [],
    )
    assert set(told.kl_ab.values()) == {0.0}


def test_another_store_of_the_same_answers(
    one: Cache, teacher: TeacherModel, train_only: Source, tmp_path: Path
) -> None:
    dump_split(
        teacher, train_only, "train", tmp_path / "c", replace(SETTINGS, shard_rows=10), reuse=one
    )
    told = difference(one, Cache.open(tmp_path / "c"))
    assert told.identical
    assert told.fields == {"shard_rows": [25, 10]}
    assert set(told.conditions) == {"reused"}


def test_every_figure_is_that_of_all_rows(
    one: Cache,
    checkpoint: Callable[..., Path],
    train_only: Source,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = load_teacher(str(checkpoint("bert", ("neg", "pos"), 0.5)), device="cpu")
    head = other.model.classifier  # type: ignore[union-attr]
    head.weight.data.neg_()  # type: ignore[union-attr, operator]
    dump_split(other, train_only, "train", tmp_path / "c", replace(SETTINGS, max_length=20))
    two = Cache.open(tmp_path / "c")
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    told = difference(one, two)
    left, right = (cache.take(np.arange(60)).logits for cache in (one, two))
    forth, back = kl(left, right), kl(right, left)
    assert told.kl_ab["mean"] == pytest.approx(forth.mean())
    assert (told.kl_ab["max"], told.kl_ba["max"]) == (forth.max(), back.max())
    assert told.disagreement == (left.argmax(1) != right.argmax(1)).mean()
    assert told.largest_difference == np.abs(left - right).max()
    worst = np.argsort(-np.maximum(forth, back), kind="stable")[:5]
    assert [row["row"] for row in told.worst] == worst.tolist()
    assert not told.identical
    assert told.fields["preparation.max_length"] == [48, 20]
    assert "teacher.weights" in told.fields


def test_caches_of_the_same_answers_to_fewer_rows_are_not_identical(
    one: Cache, tmp_path: Path
) -> None:
    """Rows that one of them has skipped (``--on-nonfinite skip``)."""
    some, others = (
        skipping(one, tmp_path / "a", range(5, 30)),
        skipping(one, tmp_path / "b", range(20, 32)),
    )
    told = difference(one, some)
    assert (told.identical, told.rows, told.skipped, told.skipped_a, told.skipped_b) == (
        False,
        35,
        25,
        0,
        25,
    )
    assert "same to the last stored bit in the rows compared" in render(vars(told))
    assert "35 compared; 25 answered in A alone" in render(vars(told))
    told = difference(some, others)
    assert (told.identical, told.rows, told.skipped, told.skipped_a, told.skipped_b) == (
        False,
        33,
        27,
        15,
        2,
    )
    assert "15 answered in B alone; 2 answered in A alone; 10 answered in neither" in render(
        vars(told)
    )
    told = difference(some, some)
    assert (told.identical, told.rows, told.skipped, told.skipped_a, told.skipped_b) == (
        True,
        35,
        25,
        0,
        0,
    )
    nobody = skipping(one, tmp_path / "c", range(60))
    with pytest.raises(SpecError, match=r"found none of 60: .*60 have no answer"):
        difference(one, nobody)


def skipping(cache: Cache, folder: Path, skipped: range) -> Cache:
    """The cache, had its dump skipped these rows."""
    plan = cache.manifest.plan
    with CacheWriter(folder, plan) as writer:
        for index, receipt in enumerate(cache.manifest.receipts):
            rows = np.arange(*plan.shard(index))
            arrays = cache.reader.take(cache.reader.places(rows), ("row_hash", "label", "logits"))
            arrays["logits"][np.isin(rows, skipped)] = np.nan
            said = {"skipped": [int(row) for row in rows if row in skipped]}
            writer.write(index, arrays, receipt.sketches, {**receipt.conditions, **said})
        writer.seal()
    return Cache.open(folder)


def test_rows_are_compared_by_their_texts(
    one: Cache, teacher: TeacherModel, train_only: Source, tmp_path: Path
) -> None:
    """Two rows swapped, ten fewer; then a word changed at every place."""
    rows = train_only.split("train")
    places = np.array([0, 2, 1, *range(3, 50)])
    moved = replace(rows.select(places), row_id=np.arange(50))
    dump_split(
        teacher, replace(train_only, splits={"train": moved}), "train", tmp_path / "c", SETTINGS
    )
    two = Cache.open(tmp_path / "c")
    told = difference(one, two)
    # rows 58 and 59 have the text of row 0
    assert (told.rows, told.moved, told.only_a, told.only_b) == (52, 4, 8, 0)
    assert (told.identical, told.disagreement) == (False, 0)
    assert told.largest_difference < 1e-5
    assert "data.digest" in told.fields
    assert "52 compared; 4 of these at another place in B; 8 only in A" in render(vars(told))
    back = difference(two, one)
    assert (back.rows, back.moved, back.only_a, back.only_b) == (50, 2, 0, 8)
    texts = ["unheard of", "not a word", "of these"]
    numbers = np.arange(3)
    others = Rows(pa.array(texts, pa.large_string()), None, numbers % 2, numbers, row_hashes(texts))
    dump_split(
        teacher, replace(train_only, splits={"train": others}), "train", tmp_path / "d", SETTINGS
    )
    with pytest.raises(
        AlignmentError, match="both caches answer, found none of 60: the texts of 60 are not in B"
    ):
        difference(one, Cache.open(tmp_path / "d"))


def test_labels_in_another_order_are_the_same_labels(
    one: Cache, teacher: TeacherModel, train_only: Source, tmp_path: Path
) -> None:
    turned = replace(train_only, label_names=("pos", "neg"))
    dump_split(teacher, turned, "train", tmp_path / "c", SETTINGS)
    told = difference(one, Cache.open(tmp_path / "c"))
    assert (told.largest_difference, told.disagreement) == (0, 0)
    assert "teacher.label_names" in told.fields


def test_other_labels_are_refused(
    one: Cache,
    checkpoint: Callable[..., Path],
    pairs_data: Path,
    load_source: Callable[[Path], Source],
    tmp_path: Path,
) -> None:
    source = load_source(pairs_data)
    other = load_teacher(str(checkpoint("bert", source.label_names)), device="cpu")
    dump_split(other, source, "train", tmp_path / "c", SETTINGS)
    with pytest.raises(FingerprintMismatch, match=r"expected the labels of .*neg, pos"):
        difference(one, Cache.open(tmp_path / "c"))


def test_vectors_of_tokens_in_one_cache_alone_are_no_other_tokens(
    teacher: TeacherModel, train_only: Source, tmp_path: Path
) -> None:
    caches = []
    for index, others in enumerate([(), ("hidden:-1",)]):
        settings = replace(SETTINGS, signals=("pooled:mean", *others))
        dump_split(teacher, train_only, "train", tmp_path / str(index), settings)
        caches.append(Cache.open(tmp_path / str(index)))
    told = difference(*caches)
    assert set(told.signals) == {"pooled:mean"}
    assert told.signals["pooled:mean"]["max"] == 0
    assert "preprocessor.map" in told.fields
