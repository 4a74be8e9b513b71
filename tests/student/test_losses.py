"""The mathematics against double precision and against itself."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import rel_entr, softmax

from logitcache.config.methods import Mixture
from logitcache.student.losses import (
    Weights,
    cross_entropy,
    distillation_loss,
    kl_divergence,
    mixed_target,
    mixture_loss,
)

WIDTHS = st.integers(2, 7)
HALVES = st.floats(-12, 12, width=32)


def taught(alpha: float, labels: torch.Tensor | None = None) -> Weights:
    """KD's weights; with ``labels``, positions may lack one."""
    return Weights.of(Mixture(label=1 - alpha, teacher=alpha), labels)


@st.composite
def logit_rows(draw: st.DrawFn, count: int = 1) -> list[torch.Tensor]:
    """``count`` matrices of logits of one shape [P, K]."""
    shape = (draw(st.integers(1, 5)), draw(WIDTHS))
    return [
        torch.from_numpy(draw(arrays(np.float32, shape, elements=HALVES))) for _ in range(count)
    ]


@given(logit_rows())
def test_the_divergence_of_a_distribution_from_itself_is_exactly_zero(
    rows: list[torch.Tensor],
) -> None:
    assert (kl_divergence(rows[0], rows[0]) == 0).all()


@given(logit_rows(2))
def test_the_divergence_is_that_of_scipy_and_never_negative(rows: list[torch.Tensor]) -> None:
    p, q = (softmax(z.double().numpy(), axis=1) for z in rows)
    found = kl_divergence(*rows)
    assert (found >= -1e-6).all()
    np.testing.assert_allclose(found, rel_entr(p, q).sum(1), atol=2e-5)


@given(logit_rows(), st.floats(-50, 50))
def test_an_offset_of_all_logits_changes_no_divergence(
    rows: list[torch.Tensor], offset: float
) -> None:
    np.testing.assert_allclose(kl_divergence(rows[0], rows[0] + offset), 0, atol=1e-4)


def test_a_divergence_in_half_precision_is_computed_in_single() -> None:
    z = torch.tensor([[0.0, -8.0, -30.0]], dtype=torch.float16)
    assert kl_divergence(z, z.flip(1)).dtype == torch.float32


@given(logit_rows(), st.floats(0, 1))
def test_soft_targets_are_distributions(rows: list[torch.Tensor], alpha: float) -> None:
    labels = torch.arange(len(rows[0])) % rows[0].shape[1]
    target = mixed_target(labels, rows[0].softmax(1), taught(alpha), rows[0].shape[1])
    np.testing.assert_allclose(target.sum(1), 1, atol=1e-5)
    assert (target >= 0).all()


def test_a_soft_target_leaves_the_teachers_probabilities_alone() -> None:
    p = torch.full((2, 3), 1 / 3)
    mixed_target(torch.tensor([0, 2]), p, taught(1.0), 3)
    mixed_target(torch.tensor([0, 2]), p, taught(0.3), 3)
    assert (p == 1 / 3).all()


@given(logit_rows(2))
def test_cross_entropy_is_entropy_plus_divergence(rows: list[torch.Tensor]) -> None:
    z, teacher = rows
    p = teacher.softmax(1)
    entropy = torch.special.entr(p.double()).sum(1)
    np.testing.assert_allclose(cross_entropy(z, p), entropy + kl_divergence(teacher, z), atol=5e-5)


def test_cross_entropy_is_that_of_torch() -> None:
    z, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    expected = torch.nn.functional.cross_entropy(z, labels, reduction="none")
    np.testing.assert_allclose(
        cross_entropy(z, mixed_target(labels, None, Weights(1.0, 0.0, 0.0), 4)), expected, atol=1e-6
    )


def test_far_logits_overflow_nothing() -> None:
    z = torch.tensor([[0.0, -65504.0], [300.0, -300.0]])
    loss = distillation_loss(z, torch.tensor([0, 0]), z.softmax(1), 0.5, 1.0, 1.0)
    assert torch.equal(loss, torch.zeros(2))
    assert kl_divergence(z, z.flip(1)).isfinite().all()


def test_temperature_one_is_one_cross_entropy_and_the_sum_of_two() -> None:
    """The short way (one log-sum-exp) and the long way agree: a temperature just above 1 must not
    jump.
    """
    torch.manual_seed(0)
    z, teacher, labels = torch.randn(5, 3), torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    short = distillation_loss(z, labels, teacher.softmax(1), 0.4, 1.0, 1.0)
    long = distillation_loss(z, labels, teacher.softmax(1), 0.4, 1.0, math.nextafter(1.0, 2.0))
    np.testing.assert_allclose(short, long, atol=1e-6)


@st.composite
def some_unlabelled(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
    """(student logits, teacher logits, labels of which any may be -1, alpha)."""
    z, teacher = draw(logit_rows(2))
    labels = draw(arrays(np.int64, len(z), elements=st.integers(-1, z.shape[1] - 1)))
    return z, teacher, torch.from_numpy(labels), draw(st.floats(0, 1))


@given(some_unlabelled())
def test_without_a_label_the_target_is_the_teachers_alone(
    batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor, float],
) -> None:
    z, teacher, labels, alpha = batch
    p, bare = teacher.softmax(1), labels < 0
    before = p.clone()
    target = mixed_target(labels.clamp(min=0), p, taught(alpha, labels), z.shape[1])
    assert torch.equal(p, before)
    assert torch.equal(target[bare], p[bare])
    np.testing.assert_allclose(target.sum(1), 1, atol=1e-5)
    assert (target >= 0).all()
    plain = mixed_target(labels[~bare], p[~bare], taught(alpha), z.shape[1])
    # 1 - alpha is rounded before, not after
    np.testing.assert_allclose(target[~bare], plain, rtol=0, atol=1.2e-7)


@pytest.mark.parametrize(
    ("temperature", "factor"), [(1.0, 1.0), (2.0, 4.0), (4.0, 1.0), (0.5, 0.25)]
)
@given(some_unlabelled())
def test_a_batch_of_both_kinds_is_each_kind_alone(
    temperature: float, factor: float, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]
) -> None:
    """Loss and gradient: labelled rows those of the plain form, the others those of alpha 1
    whatever their label.
    """
    z, teacher, labels, alpha = batch
    p, bare = (teacher / temperature).softmax(1), labels < 0
    weights = taught(alpha, labels)
    loss, gradient = with_gradient(
        z, lambda x: mixture_loss(x, labels, p, weights, temperature, factor)
    )
    for rows, weight, known in ((~bare, alpha, labels), (bare, 1.0, torch.zeros_like(labels))):
        expected = with_gradient(
            z[rows],
            lambda x, m=rows, w=weight, y=known: distillation_loss(
                x, y[m], p[m], w, temperature, factor
            ),
        )
        np.testing.assert_allclose(loss[rows], expected[0], rtol=2e-6, atol=2e-6)
        np.testing.assert_allclose(gradient[rows], expected[1], rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_missing_label_that_nobody_spoke_of_is_refused(temperature: float) -> None:
    """It must not pass for a class."""
    z, labels = torch.zeros(2, 3), torch.tensor([0, -1])
    with pytest.raises(RuntimeError, match="out of bounds"):
        distillation_loss(z, labels, z.softmax(1), 0.5, temperature, 1.0)


def with_gradient(
    z: torch.Tensor, f: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    z = z.clone().requires_grad_()
    loss = f(z)
    loss.sum().backward()
    assert z.grad is not None
    return loss.detach(), z.grad


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_far_logits_without_a_label_overflow_nothing(temperature: float) -> None:
    z = torch.tensor([[0.0, -65504.0], [-65504.0, 0.0]])
    labels = torch.tensor([-1, -1])
    loss, gradient = with_gradient(
        z, lambda x: mixture_loss(x, labels, z.softmax(1), taught(0.3, labels), temperature, 1.0)
    )
    assert torch.equal(loss, torch.zeros(2))
    assert torch.equal(gradient, torch.zeros(2, 2))
