"""The weight of each class: scikit-learn's balance, or what somebody has said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from logitcache.config.labels import weights_of
from logitcache.data.class_weights import class_weights, weights_by_name
from logitcache.data.tasks.causal_lm import CausalLM
from logitcache.data.tasks.classification import Classification
from logitcache.errors import SpecError

NAMED = Classification(3, ("neg", "neu", "pos"))


@given(
    st.lists(st.integers(-1, 4), min_size=1, max_size=40).filter(lambda labels: max(labels) >= 0)
)
def test_balanced_is_scikit_learns(values: list[int]) -> None:
    labels = np.array(values)
    weights = class_weights("balanced", labels, Classification(5, None))
    known = labels[labels >= 0]
    classes = np.unique(known)
    expected = compute_class_weight("balanced", classes=classes, y=known)
    assert weights is not None
    np.testing.assert_allclose(weights[classes], expected, rtol=1e-6)
    np.testing.assert_allclose(weights[known].sum(), len(known), rtol=1e-5)


@pytest.mark.parametrize("written", ["Neg=1,pos=3", '{"neg": 1, "pos": 3}', {"neg": 1, "pos": 3.0}])
def test_a_class_that_is_left_out_weighs_one(written: Any) -> None:
    weights = class_weights(weights_of(written), np.array([0, 1, 2]), NAMED)
    assert weights is not None
    assert weights_by_name(weights, NAMED) == {"neg": 1.0, "neu": 1.0, "pos": 3.0}


def test_a_class_that_the_data_lacks_is_refused() -> None:
    with pytest.raises(
        SpecError,
        match=r"--class-weight: expected a class of the data \(neg, neu, pos\), found 'bad'",
    ):
        class_weights(weights_of("bad=2"), np.array([0, 1, 2]), NAMED)


def test_a_class_in_two_spellings_is_refused() -> None:
    with pytest.raises(
        SpecError, match="--class-weight: expected each class once, found 'pos' twice"
    ):
        class_weights(weights_of({"Pos": 3, "pos": 2}), np.array([0, 1, 2]), NAMED)


def test_tokens_have_no_class_weight() -> None:
    with pytest.raises(
        SpecError, match="--class-weight: expected data of classes, found causal-lm"
    ):
        class_weights("balanced", np.array([0, 1]), CausalLM(2, None))


@pytest.mark.parametrize(
    "written",
    [
        "even",
        "neg=0",
        "neg=-1",
        "neg=x",
        "neg=nan",
        "neg=1,neg=2",
        "=3",
        "",
        {},
        3,
        "{bad",
        '{"a": 1, "a": 5}',
    ],
)
def test_what_is_no_weight_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match=r"NAME(=|: )WEIGHT"):
        weights_of(written)
