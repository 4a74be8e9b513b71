"""The estimators are unbiased, and varopt's variance is the least: exactly where it can be
computed, else by a seed.
"""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from logitcache.data.order import position_keys
from logitcache.targets import blocks
from logitcache.targets.dense import DenseCodec
from logitcache.targets.draws import Draw
from logitcache.targets.quantise import from_byte, grid, to_byte, to_half
from logitcache.targets.sampled import Sampled
from logitcache.targets.table import parse
from logitcache.targets.varopt import VarOpt
from tests.shortly import examples

WIDTH = 40


def draw(positions: int, seed: int = 0) -> Draw:
    row = np.arange(positions)
    return Draw(torch.from_numpy(position_keys(seed, "test", row, 0, row)))


def logits(seed: int, sharpness: float) -> torch.Tensor:
    return sharpness * torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(seed))


def expectation(codec: VarOpt, p: torch.Tensor) -> np.ndarray:
    """E[estimate] f64[V] over the one uniform number u of a position, exactly: the words that are
    drawn change only where u passes the fractional part of a cumulative sum, so it is a finite sum
    over the intervals between those.
    """
    top, ids = blocks.largest(p, codec.most)  # in the codec's order of equal words
    c = codec.own_c(p, top)
    pi_top = top.double() * c.double()
    others = (p.double() * c.double()).scatter_(1, ids, 0.0)
    reached = torch.cat([torch.where(pi_top >= 1, 0.0, pi_top), others], 1).cumsum(1)[0].numpy()
    edges = np.unique(np.concatenate([[0.0, 1.0], reached % 1.0]))
    lengths = np.diff(edges)
    middle = torch.from_numpy(edges[:-1] + lengths / 2)[:, None]
    drawn = codec.drawn(p.repeat(len(middle), 1), middle)
    slot = torch.arange(drawn.ids.shape[1])
    own = drawn.value.double()
    worth = torch.where(slot < drawn.certain[:, None], own, 1 / drawn.c.double()[:, None])
    worth = torch.where(slot < drawn.entries[:, None], worth, 0.0)
    worth *= torch.from_numpy(lengths)[:, None]
    total = torch.zeros(WIDTH, dtype=torch.float64)
    return total.scatter_add_(0, drawn.ids.reshape(-1), worth.reshape(-1)).numpy()


@pytest.mark.parametrize("block", [2, blocks.BLOCK])
@given(st.integers(0, 10_000), st.floats(0.0, 6.0), st.integers(1, 30), st.booleans())
@example(seed=0, sharpness=1.19e-7, mean=12, capped=True)  # of equal words any may be the largest
@settings(deadline=None, max_examples=examples(20, 40))
def test_the_expectation_of_varopt_is_the_distribution(
    block: int, seed: int, sharpness: float, mean: int, capped: bool
) -> None:
    """Whatever blocks the words are looked for in."""
    z = logits(seed, sharpness)
    codec = VarOpt(width=WIDTH, mean=float(mean)).calibrated([z, logits(seed + 1, 1.0)])
    if capped:
        codec = VarOpt(width=WIDTH, mean=1.0, cap=max(1, mean // 2), c=codec.c, values=codec.values)
    p = z.softmax(1)
    with patch.object(blocks, "BLOCK", block):
        expected = expectation(codec, p)
    np.testing.assert_allclose(expected, p[0].double().numpy(), rtol=0, atol=1e-12)


@given(st.integers(0, 10_000), st.floats(0.0, 6.0), st.integers(1, 60))
@settings(deadline=None, max_examples=examples(20, 60))
def test_varopt_varies_less_than_sampling_for_as_many_words(
    seed: int, sharpness: float, n: int
) -> None:
    z = logits(seed, sharpness)
    p = z.double().softmax(1)
    distinct = Sampled(width=WIDTH, n=n).calibrated([z]).distinct
    assert distinct is not None
    sampled = float((p * (1 - p) / n).sum())
    c = VarOpt(width=WIDTH, mean=min(max(1.0, distinct), WIDTH - 0.01)).calibrated([z]).c
    assert c is not None
    varopt = float((p / c - p * p).clamp(min=0)[p * c < 1].sum())
    assert varopt <= sampled * (1 + 1e-6) + 1e-9


@pytest.mark.parametrize("limit", [9.0, 22.5, 64.0, 79.0, 80.0])
def test_auto_takes_the_most_that_fits(limit: float) -> None:
    z = torch.cat([logits(seed, 0.1 * seed) for seed in range(60)])
    codec = parse(f"auto:bytes={limit}").codec(WIDTH).calibrated([z])
    if limit == 80.0:
        assert isinstance(codec, DenseCodec)
        return
    assert isinstance(codec, VarOpt)
    assert codec.bytes_per_position() <= limit
    more = VarOpt(width=WIDTH, mean=min(codec.mean * 1.2, WIDTH)).calibrated([z])
    assert more.bytes_per_position() > limit or codec.mean > 0.8 * WIDTH


def test_no_position_has_more_entries_than_the_codec_says() -> None:
    z = torch.cat([logits(seed, 0.1 * seed) for seed in range(60)])
    for cap in (9, 255):
        codec = VarOpt(width=WIDTH, mean=8.0, cap=cap).calibrated([z])
        entries = codec.reduce(z, draw(len(z)))["entries"]
        assert int(entries.max()) <= codec.most <= cap
    assert float(entries.double().mean()) == pytest.approx(8.0, abs=0.1)


def test_samples_are_of_the_teacher() -> None:
    z = logits(3, 1.0).expand(400, -1)
    codec = Sampled(width=WIDTH, n=50)
    target = codec.unpack(codec.pack(codec.reduce(z, draw(400))), {})
    drawn = np.bincount(target.ids.reshape(-1), (target.prob * 50).reshape(-1), minlength=WIDTH)
    assert drawn.sum() == pytest.approx(400 * 50)
    assert stats.chisquare(drawn, z[0].double().softmax(0).numpy() * drawn.sum()).pvalue > 1e-3


@pytest.mark.parametrize("value", [0.3, 1e-7, 3.2999, 0.0, 1.0])
def test_rounding_is_unbiased(value: float) -> None:
    values = torch.full((50_000,), value)
    uniform = draw(50_000).uniform(0, 1)[:, 0]
    half = to_half(values, uniform).double()
    within_byte = values.clamp(max=1)
    byte = torch.from_numpy(from_byte(to_byte(within_byte, 1e-3, uniform).numpy(), 1e-3)).double()
    for rounded, exact in ((half, values.double()), (byte, within_byte.double())):
        error = float((rounded - exact).std()) / 50_000**0.5
        assert abs(float((rounded - exact).mean())) <= 4 * error + 1e-12


def test_the_grid_reaches_from_nothing_to_one() -> None:
    table = grid(1e-3)
    assert (table[0], table[-1], len(table)) == (0, 1, 256)
    assert (np.diff(table) > 0).all()


def test_random_numbers_are_functions_of_their_position() -> None:
    key = position_keys(0, "codec", np.array([3, 5, 3]), np.array([0, 0, 1]), np.array([5, 3, 5]))
    assert len(np.unique(key)) == 3
    numbers = Draw(torch.from_numpy(key)).uniform(1, 4)
    assert (numbers[1] == Draw(torch.from_numpy(key[1:2])).uniform(1, 4)[0]).all()
    golden = position_keys(7, "codec", np.array([0, 1]), 0, np.array([0, 9]))
    assert golden.tolist() == GOLDEN


GOLDEN = [-4603078133181223708, -7131489814934773112]
