from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax

from logitcache.errors import FormatError, SpecError
from logitcache.records import Array
from logitcache.targets.dense import DTYPES, DenseCodec

LOGITS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 8), st.integers(1, 12)),
    elements=st.floats(-1e3, 1e3, width=32),
)


def there_and_back(logits: Array, dtype: str = "float16") -> Array:
    codec = DenseCodec(logits.shape[1], dtype)
    return codec.unpack(codec.encode(logits)).logits


def divergence(p: Array, q: Array, temperature: float = 1.0) -> Array:
    """KL(softmax(p / T) || softmax(q / T)) of each row in nats."""
    lp, lq = (log_softmax(z.astype(np.float64) / temperature, axis=1) for z in (p, q))
    total: Array = (np.exp(lp) * (lp - lq)).sum(1)
    return total


@pytest.mark.parametrize("width", [2, 8, 100, 1000])
def test_half_precision_costs_less_than_a_millionth_of_a_nat(width: int) -> None:
    logits = np.random.default_rng(width).normal(0, 5, (2000, width)).astype(np.float32)
    for offset in (0.0, 40.0):
        assert divergence(logits, there_and_back(logits + np.float32(offset))).mean() < 1e-6
    for temperature in (0.5, 2.0, 10.0):
        assert divergence(logits, there_and_back(logits), temperature).mean() < 2e-6


@settings(deadline=None)
@given(LOGITS)
def test_columns_are_what_the_codec_declares(logits: Array) -> None:
    for dtype in DTYPES:
        codec = DenseCodec(logits.shape[1], dtype)
        columns = codec.encode(logits)
        (stored,) = codec.columns()
        assert set(columns) == {stored.name}
        assert columns[stored.name].dtype == stored.dtype
        assert columns[stored.name].shape == (len(logits), stored.width)
        written = sum(array.nbytes for array in columns.values())
        assert written == len(logits) * codec.bytes_per_position()
        assert codec.unpack(columns).logits.dtype == np.float32


@given(LOGITS)
def test_single_precision_is_the_subtraction(logits: Array) -> None:
    np.testing.assert_array_equal(
        there_and_back(logits, "float32"), logits - logits.max(1, keepdims=True)
    )


@given(LOGITS)
def test_half_precision_rounds_to_the_nearest_and_keeps_the_first(logits: Array) -> None:
    decoded, exact = there_and_back(logits), logits - logits.max(1, keepdims=True)
    np.testing.assert_allclose(decoded, exact, rtol=2**-11, atol=2**-25)
    assert (decoded.max(1) == 0).all()
    assert (decoded[np.arange(len(logits)), logits.argmax(1)] == 0).all()


@given(LOGITS, st.integers(-1000, 1000))
def test_a_constant_added_to_a_row_is_forgotten(logits: Array, shift: int) -> None:
    logits = np.round(logits)  # so that the sum is exact
    for dtype in DTYPES:
        np.testing.assert_array_equal(
            there_and_back(logits + np.float32(shift), dtype), there_and_back(logits, dtype)
        )


@given(LOGITS)
def test_what_was_decoded_is_stored_as_it_is(logits: Array) -> None:
    once = there_and_back(logits)
    np.testing.assert_array_equal(there_and_back(once), once)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("low", [-7e4, -1e30, float(np.finfo(np.float32).min)])
def test_a_huge_gap_stays_finite_and_is_no_probability(dtype: str, low: float) -> None:
    high = 3e38 if low < -1e38 else 3.0
    decoded = there_and_back(np.array([[low, high, low]], np.float32), dtype)
    assert np.isfinite(decoded).all()
    assert decoded[0, 1] == 0
    for temperature in (1, 100, 600):
        exp = np.exp(decoded / np.float32(temperature))
        assert exp.tolist() == [[0, 1, 0]]


def test_a_record_of_itself() -> None:
    for dtype in DTYPES:
        codec = DenseCodec(7, dtype)
        assert codec.to_dict() == {"kind": "dense", "width": 7, "dtype": dtype}
        assert DenseCodec.from_dict(codec.to_dict()) == codec


@pytest.mark.parametrize(
    ("width", "dtype", "said"),
    [(3, "float64", "'float64'"), (3, "f2", "'f2'"), (0, "float16", "0")],
)
def test_a_codec_that_cannot_be_is_refused(width: int, dtype: str, said: object) -> None:
    with pytest.raises(SpecError, match=f"dense codec: expected .*found {said}"):
        DenseCodec(width, dtype)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": None},
        {"width": "3"},
        {"width": 0},
        {"width": -1},
        {"dtype": None},
        {"dtype": "int8"},
        {"dtype": 2},
    ],
)
def test_a_record_that_is_no_codec_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(
        FormatError, match="dense codec: expected a width and a dtype among float16, float32"
    ):
        DenseCodec.from_dict({"kind": "dense", "width": 3, "dtype": "float16", **changes})


def test_many_halves_are_decoded_to_the_bits_that_numpy_gives() -> None:
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    finite = np.where(np.isfinite(every), every, np.float16(0)).reshape(64, 1024)
    for halves in (finite, every.reshape(64, 1024)):
        found = DenseCodec(1024).unpack({"logits": halves}).logits
        assert found.dtype == np.float32
        assert np.array_equal(found.view(np.uint32), halves.astype(np.float32).view(np.uint32))
