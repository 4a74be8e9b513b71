from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from logitcache.config.option import build
from logitcache.config.train import TrainConfig
from logitcache.data.tasks.classification import METRICS, Classification, check_metric, score
from logitcache.errors import SpecError
from logitcache.records import Examples, Padding, Side


def test_a_row_is_one_position() -> None:
    numbers = np.arange(5)
    rows = Examples(
        numbers, numbers, numbers, numbers % 3, {}, numbers < 0, Padding(Side.RIGHT, 0, 0)
    )
    found = Classification.positions(rows, np.array([4, 0, 4, 2]))
    assert found.indptr.tolist() == [0, 1, 2, 3, 4]
    assert found.label.tolist() == [1, 0, 1, 2]
    assert found.index.tolist() == found.token.tolist() == [0] * 4
    assert found.weight.tolist() == [1.0] * 4
    assert len(Classification.positions(rows, numbers[:0]).index) == 0


@pytest.mark.parametrize("metric", METRICS)
def test_known_metrics_pass(metric: str) -> None:
    assert check_metric(metric, Classification(2, None)) == metric


def test_unknown_metric_and_f1_of_three_classes_are_refused() -> None:
    with pytest.raises(
        SpecError, match=r"metric: expected one of accuracy, .*, ece, .*found 'auc'"
    ):
        build(TrainConfig, {"method": "base", "metric": "auc"})
    with pytest.raises(SpecError, match=r"two classes, found 3\. Use macro_f1"):
        check_metric("f1", Classification(3, None))


@given(st.integers(2, 5), st.integers(2, 30), st.integers(0, 2**32 - 1))
def test_scores_are_scikit_learns(width: int, n: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    logits, labels = draw.normal(0, 3, (n, width)).astype(np.float32), draw.integers(0, width, n)
    labels[0], labels[1] = 0, 1
    found, guess = score(logits, labels), logits.argmax(1)
    assert found["accuracy"] == pytest.approx((guess == labels).mean())
    assert found["mcc"] == pytest.approx(sklearn.metrics.matthews_corrcoef(labels, guess))
    f1 = sklearn.metrics.f1_score(
        labels, guess, average=None, labels=np.unique(labels), zero_division=0.0
    )
    assert found["macro_f1"] == pytest.approx(f1.mean())
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    assert found["nll"] == pytest.approx(
        sklearn.metrics.log_loss(labels, p, labels=np.arange(width))
    )
    assert ("f1" in found) == (width == 2)
    if width == 2:
        assert found["f1"] == pytest.approx(sklearn.metrics.f1_score(labels, guess))


def test_unlabelled_rows_count_nowhere() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [9.0, 0.0], [3.0, 1.0]], np.float32)
    labels = np.array([0, 1, -1, 1])
    assert score(logits, labels) == score(logits[[0, 1, 3]], labels[[0, 1, 3]])
    assert score(logits, np.full(4, -1)) == {}
    assert score(logits[:0], labels[:0]) == {}


@given(
    hnp.arrays(np.float32, (3, 3), elements=st.floats(-1e4, 1e4, width=32)), st.floats(-1e3, 1e3)
)
def test_a_constant_added_to_a_row_changes_no_score(logits: np.ndarray, shift: float) -> None:
    logits = np.round(logits)
    shifted = logits + np.float32(round(shift))
    labels = np.array([0, 1, 2])
    assert score(shifted, labels) == pytest.approx(score(logits, labels), abs=1e-6)


def test_a_confident_mistake_costs_what_its_logits_say() -> None:
    assert score(np.array([[0.0, 100.0]], np.float32), np.array([0]))["nll"] == pytest.approx(100.0)


@pytest.mark.parametrize(
    "logits", [[[2.0, 1.0], [5.0, 0.0]], [[1.0], [1.0]], [[2.0, 1.0, 0.0], [4.0, 0.0, 0.0]]]
)
def test_one_class_alone_is_scored_without_a_warning(logits: list[list[float]]) -> None:
    found = score(np.array(logits, np.float32), np.array([0, 0]))
    assert found["accuracy"] == 1.0
    assert found["mcc"] == 0.0
    assert all(np.isfinite(value) for value in found.values())
    assert all(not np.signbit(value) for value in found.values())
