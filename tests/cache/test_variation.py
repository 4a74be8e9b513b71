"""The distance of two sparse targets is that of the vectors they stand for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from logitcache.cache.variation import variation
from logitcache.payloads import Array, Sparse

WIDTH = 9


def written_out(target: Sparse[Array]) -> Array:
    whole: Array = np.zeros((len(target.rest), WIDTH))
    np.add.at(whole, (np.arange(len(whole))[:, None], target.ids), target.prob)
    return whole


def drawn(seed: int, positions: int, entries: int) -> Sparse[Array]:
    draw = np.random.default_rng(seed)
    ids = np.array([draw.permutation(WIDTH)[:entries] for _ in range(positions)], np.int64)
    prob = draw.random((positions, entries)).astype(np.float32)
    prob[draw.random(prob.shape) < 0.3] = 0
    rest, entropy = draw.random((2, positions)).astype(np.float32)
    return Sparse(ids.reshape(positions, entries), prob, rest, entropy)


@given(st.integers(0, 999), st.integers(1, 6), st.integers(1, 5), st.integers(1, 5))
def test_it_is_that_of_the_vectors(seed: int, positions: int, one: int, other: int) -> None:
    a, b = drawn(seed, positions, one), drawn(seed + 1, positions, other)
    found = variation(a, b)
    off = np.abs(written_out(a) - written_out(b))
    rest = np.abs(a.rest.astype(np.float64) - b.rest)
    np.testing.assert_allclose(found.distance, (off.sum(1) + rest) / 2, rtol=1e-6)
    np.testing.assert_allclose(found.largest, np.maximum(off.max(1), rest), rtol=1e-6)
    listed = (written_out(a) > 0) != (written_out(b) > 0)
    assert found.other_words.tolist() == listed.any(1).tolist()
    assert variation(a, a).is_equal.all()
    assert not found.is_equal.any()
