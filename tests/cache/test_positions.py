"""Rows with any number of positions, in any view: read, joined, averaged and compared as rows with
one are.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache as once
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from logitcache.cache.cache import Cache
from logitcache.cache.diff import difference
from logitcache.cache.inspect import row_of
from logitcache.cache.joining import join
from logitcache.cache.layout import LEVEL, columns_of
from logitcache.config.data import Columns
from logitcache.errors import AlignmentError
from logitcache.records import Answers
from logitcache.store.writer import CacheWriter
from logitcache.targets.dense import DenseCodec
from tests.fake_caches import CONDITIONS, SKETCHES, plan

ROWS, VIEWS, WIDTH, WORDS = 11, 2, 3, 6
CODEC = DenseCodec(WIDTH, "float32")
Vectors = dict[int, list[float]]  # of a row in one view, by the number of the position


def vectors(seed: int, row: int, view: int, kept: int = WORDS) -> Vectors:
    """What one teacher says of a row: of some of its words, or of none. It reads the first ``kept``
    of them.
    """
    draw = np.random.default_rng((row, view))
    words = np.flatnonzero(draw.random(WORDS) < 0.6)
    logits = np.random.default_rng((seed, row, view)).integers(-9, 0, (WORDS, WIDTH))
    logits[:, seed % WIDTH] = 0
    return {int(word): logits[word].tolist() for word in words if word < kept}


def made(folder: Path, seed: int = 0, kept: int = WORDS, rows: int = ROWS, **data: Any) -> Cache:
    """A cache in shards of four rows."""
    of = plan(
        rows,
        4,
        WIDTH,
        columns=columns_of(CODEC, LEVEL),
        views=VIEWS,
        targets={"logits": CODEC.to_dict()},
    )
    of = replace(of, data={**of.data, "seed": seed, **data})
    with CacheWriter(folder, of) as writer:
        for index, (start, stop) in enumerate(of.shards()):
            records = [
                vectors(seed, row, view, kept)
                for row in range(start, stop)
                for view in range(VIEWS)
            ]
            said = [values for record in records for values in record.values()]
            words = [word for record in records for word in record]
            arrays = {
                "row_hash": np.repeat(np.arange(start, stop) * 7, VIEWS),
                "logits_end": np.cumsum([len(record) for record in records]),
                "position": np.array(words, np.int32),
                "label": np.array(words, np.int64) % WIDTH,
                "logits": np.array(said, np.float32).reshape(-1, WIDTH),
            }
            writer.write(index, arrays, SKETCHES, CONDITIONS)
        writer.seal()
    return Cache.open(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("positions")


@pytest.fixture(scope="module")
def caches(folder: Path) -> list[Cache]:
    """The second teacher reads four words of a row."""
    return [made(folder / "one"), made(folder / "two", 1, 4)]


def as_dicts(answers: Answers) -> list[Vectors]:
    bounds = zip(answers.indptr[:-1], answers.indptr[1:], strict=True)
    return [
        dict(zip(answers.index[a:b].tolist(), answers.logits[a:b].tolist(), strict=True))
        for a, b in bounds
    ]


ASKED = st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(0, VIEWS - 1)), max_size=20)


@settings(deadline=None)
@given(ASKED)
def test_what_was_written_is_taken(caches: list[Cache], asked: list[tuple[int, int]]) -> None:
    rows, views = np.array(asked, np.int64).reshape(-1, 2).T
    taken = caches[0].take(rows, rows * 7, views.copy())
    assert as_dicts(taken) == [vectors(0, row, view) for row, view in asked]
    assert taken.row_hash.tolist() == (rows * 7).tolist()


def test_blocks_are_all_rows_of_all_views(caches: list[Cache]) -> None:
    (first, second) = caches[0]
    for block in (first, second):
        assert block.row_id.tolist() == list(range(ROWS))
        assert as_dicts(block.answers) == [vectors(0, row, block.view) for row in range(ROWS)]
        assert block.label.tolist() == (block.answers.index % WIDTH).tolist()
    assert (first.view, second.view) == (0, 1)


def test_another_view_is_refused(caches: list[Cache]) -> None:
    for view in (VIEWS, -1, np.array([0, VIEWS]), np.array([-1, 0])):
        with pytest.raises(AlignmentError, match="expected views 0 to 1"):
            caches[0].take(np.arange(2), view=view)


@settings(deadline=None)
@given(ASKED)
def test_teachers_are_averaged_where_all_have_answered(
    caches: list[Cache], asked: list[tuple[int, int]]
) -> None:
    rows, views = np.array(asked, np.int64).reshape(-1, 2).T
    found = as_dicts(join(caches, {"train": 0}, "mean").take(rows, rows * 7, views.copy()))
    for said, (row, view) in zip(found, asked, strict=True):
        one, two = vectors(0, row, view), vectors(1, row, view, 4)
        assert list(said) == list(two)
        for word, logits in said.items():
            expected = (
                softmax(np.array(one[word], float)) + softmax(np.array(two[word], float))
            ) / 2
            np.testing.assert_allclose(softmax(logits), expected, atol=1e-6)


@once
def _parts(folder: Path) -> list[Cache]:
    return [made(folder / "train"), made(folder / "more", 2, rows=5, split="unlabelled")]


@settings(deadline=None)
@given(st.lists(st.integers(0, ROWS + 4), max_size=20))
def test_two_parts_are_one(folder: Path, rows: list[int]) -> None:
    joined = join(_parts(folder), {"train": 0, "unlabelled": ROWS})
    hashes = np.array([row * 7 if row < ROWS else (row - ROWS) * 7 for row in rows], np.int64)
    expected = [vectors(0, row, 0) if row < ROWS else vectors(2, row - ROWS, 0) for row in rows]
    assert (
        as_dicts(joined.take(np.array(rows, np.int64), hashes, np.zeros(len(rows), np.int64)))
        == expected
    )


def test_caches_are_compared_where_both_have_answered(caches: list[Cache]) -> None:
    one, two = caches
    assert difference(one, one).identical
    found = difference(one, two)
    counts = [
        sum(len(vectors(0, r, v, kept)) for r in range(ROWS) for v in range(VIEWS))
        for kept in (WORDS, 4)
    ]
    assert (found.rows, found.positions_a, found.positions_b) == (ROWS, counts[0] - counts[1], 0)
    assert not found.identical


def test_a_row_is_shown_position_by_position(caches: list[Cache], tmp_path: Path) -> None:
    shown = row_of(caches[0], 3, None, Columns(), tmp_path)
    assert [each["position"] for each in shown["positions"]] == list(vectors(0, 3, 0))
    assert all(len(each["top"]) == WIDTH for each in shown["positions"])
