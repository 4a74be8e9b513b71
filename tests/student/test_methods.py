"""Each method's loss and gradient against its formula (Kobyzev et al. 2023, eqs. 1-6), written out
in double precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from logitcache.config.methods import METHODS
from logitcache.errors import SpecError
from logitcache.student.methods import Objective, objective

Formula = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Objective], torch.Tensor]


def divergence(p: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """D_KL(p || softmax(z)), p > 0."""
    return (p * (p.log() - z.log_softmax(1))).sum(1)


def hard(z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return -z.log_softmax(1)[torch.arange(len(z)), labels]


def base(
    z: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor, o: Objective
) -> torch.Tensor:
    return hard(z, labels)


def ls(z: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor, o: Objective) -> torch.Tensor:
    u = torch.full_like(z, 1 / z.shape[1])
    return (1 - o.alpha) * hard(z, labels) + o.alpha * divergence(u, z)


def tf_reg(
    z: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor, o: Objective
) -> torch.Tensor:
    assert o.a is not None
    p = torch.full_like(z, (1 - o.a) / (z.shape[1] - 1))
    p[torch.arange(len(z)), labels] = o.a
    return (1 - o.alpha) * hard(z, labels) + o.alpha * divergence(p, z)


def kd(z: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor, o: Objective) -> torch.Tensor:
    soft = divergence((teacher / o.temperature).softmax(1), z / o.temperature)
    return (1 - o.alpha) * hard(z, labels) + o.alpha * o.soft_factor * soft


FORMULAS: dict[str, Formula] = {"base": base, "ls": ls, "tf-reg": tf_reg, "self-kd": kd, "kd": kd}


def entropy(p: torch.Tensor) -> torch.Tensor:
    return torch.special.entr(p).sum(1)


def constant(o: Objective, labels: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """By what the loss exceeds the paper's: alpha f H(p)."""
    width = teacher.shape[1]
    if o.method == "ls":
        p = torch.full((len(labels), width), 1 / width, dtype=torch.float64)
    elif o.method == "tf-reg":
        assert o.a is not None
        p = torch.full((len(labels), width), (1 - o.a) / (width - 1), dtype=torch.float64)
        p[torch.arange(len(labels)), labels] = o.a
    else:
        p = (teacher / o.temperature).softmax(1)
    return o.alpha * o.soft_factor * entropy(p)


def draw_rows(seed: int, width: int, n: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(student logits, labels, teacher logits), in double precision."""
    g = torch.Generator().manual_seed(seed)
    z, teacher = (3 * torch.randn(n, width, generator=g, dtype=torch.float64) for _ in range(2))
    return z, torch.randint(width, (n,), generator=g), teacher


def ours(
    o: Objective, z: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """(loss, gradient) as computed in single precision."""
    z = z.float().requires_grad_()
    loss = o.loss(z, labels, teacher.float() if METHODS[o.method].needs_teacher else None)
    loss.sum().backward()
    assert z.grad is not None
    return loss.detach(), z.grad


def test_every_method_has_its_formula() -> None:
    assert set(FORMULAS) == set(METHODS)


def objectives(method: str, alpha: float, a: float, temperature: float, squared: bool) -> Objective:
    if method == "base":
        return objective("base")
    if METHODS[method].needs_teacher:
        return objective(method, alpha, temperature=temperature, tau_squared=squared)
    return objective(method, alpha, a if method == "tf-reg" else None)


@pytest.mark.parametrize("method", METHODS)
@given(
    seed=st.integers(0, 999),
    width=st.sampled_from([2, 3, 5, 64]),
    alpha=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    a=st.sampled_from([0.5, 0.95, 0.99]),
    temperature=st.sampled_from([0.5, 1.0, 2.0, 10.0, 20.0]),
    squared=st.booleans(),
)
def test_loss_and_gradient_are_the_papers(
    method: str, seed: int, width: int, alpha: float, a: float, temperature: float, squared: bool
) -> None:
    o = objectives(method, alpha, a, temperature, squared)
    z, labels, teacher = draw_rows(seed, width)
    loss, gradient = ours(o, z, labels, teacher)
    z.requires_grad_()
    expected = FORMULAS[method](z, labels, teacher, o)
    expected.sum().backward()
    scale = max(1.0, o.soft_factor)
    above = constant(o, labels, teacher) if method != "base" else 0
    np.testing.assert_allclose(loss.double(), (expected + above).detach(), atol=2e-5 * scale)
    np.testing.assert_allclose(gradient.double(), z.grad, atol=2e-6 * scale)


@given(st.integers(0, 99), st.sampled_from([2, 3, 5, 64]), st.floats(0.01, 1), st.floats(0.5, 0.99))
def test_tf_reg_is_label_smoothing_with_less_of_it(
    seed: int, width: int, alpha: float, a: float
) -> None:
    z, labels, teacher = draw_rows(seed, width)
    same = alpha * (1 - a) * width / (width - 1)
    left, right = (
        ours(o, z, labels, teacher) for o in (objective("tf-reg", alpha, a), objective("ls", same))
    )
    np.testing.assert_allclose(left[0], right[0], atol=2e-5)
    np.testing.assert_allclose(left[1], right[1], atol=2e-6)


@pytest.mark.parametrize("method", ["ls", "tf-reg", "kd", "self-kd"])
def test_without_alpha_every_method_is_base(method: str) -> None:
    rows = draw_rows(1, 4)
    for left, right in zip(
        ours(objective(method, 0.0), *rows), ours(objective("base"), *rows), strict=True
    ):
        assert torch.equal(left, right)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
def test_a_teacher_that_only_says_the_label_teaches_base(alpha: float) -> None:
    z, labels, _ = draw_rows(2, 4)
    certain = torch.full((len(z), 4), -65504.0, dtype=torch.float64)
    certain[torch.arange(len(z)), labels] = 0
    left, right = (
        ours(objective("kd", alpha), z, labels, certain),
        ours(objective("base"), z, labels, certain),
    )
    np.testing.assert_allclose(left[0], right[0], atol=1e-6)
    np.testing.assert_allclose(left[1], right[1], atol=1e-6)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
def test_a_teacher_that_knows_nothing_smooths_labels(alpha: float) -> None:
    z, labels, teacher = draw_rows(3, 5)
    left = ours(objective("kd", alpha), z, labels, torch.zeros_like(teacher))
    right = ours(objective("ls", alpha), z, labels, teacher)
    np.testing.assert_allclose(left[0], right[0], atol=1e-6)
    np.testing.assert_allclose(left[1], right[1], atol=1e-6)


@pytest.mark.parametrize("method", ["kd", "self-kd"])
@given(
    seed=st.integers(0, 999),
    alpha=st.floats(0, 1),
    temperature=st.sampled_from([0.5, 1.0, 2.0, 10.0]),
    squared=st.booleans(),
)
def test_rows_without_a_label_learn_from_the_teacher_alone(
    method: str, seed: int, alpha: float, temperature: float, squared: bool
) -> None:
    """Half of the rows lose their labels: loss and gradient are the papers' with alpha 1 for them."""
    o = objective(method, alpha, temperature=temperature, tau_squared=squared)
    z, labels, teacher = draw_rows(seed, 3, n=8)
    bare = torch.arange(8) % 2 == 0
    x = z.float().requires_grad_()
    loss = o.loss(x, labels.masked_fill(bare, -1), teacher.float(), some_unlabelled=True)
    loss.sum().backward()
    z.requires_grad_()
    labelled, taught = (
        kd(z, labels, teacher, each) + constant(each, labels, teacher)
        for each in (o, replace(o, alpha=1.0))
    )
    expected = torch.where(bare, taught, labelled)
    expected.sum().backward()
    scale = max(1.0, o.soft_factor)
    np.testing.assert_allclose(loss.detach().double(), expected.detach(), atol=2e-5 * scale)
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.double(), z.grad, atol=2e-6 * scale)


@given(
    seed=st.integers(0, 999),
    width=st.sampled_from([2, 5, 64]),
    alpha=st.floats(0, 1),
    temperature=st.sampled_from([1.0, 2.0, 7.0]),
)
def test_where_every_row_has_its_label_it_does_not_matter_that_some_might_not(
    seed: int, width: int, alpha: float, temperature: float
) -> None:
    """But for the last bit: 1 - alpha is computed in single precision there."""
    o = objective("kd", alpha, temperature=temperature)
    z, labels, teacher = (t.float() if t.is_floating_point() else t for t in draw_rows(seed, width))
    plain, aware = (o.loss(z, labels, teacher, some_unlabelled=some) for some in (False, True))
    np.testing.assert_allclose(aware, plain, rtol=1e-6, atol=1e-6)


def test_the_squared_temperature_scales_the_gradient_not_the_report_alone() -> None:
    z, labels, teacher = draw_rows(4, 3)
    plain, squared = (
        ours(objective("kd", 1.0, temperature=4.0, tau_squared=s), z, labels, teacher)
        for s in (False, True)
    )
    np.testing.assert_allclose(squared[0], 16 * plain[0], rtol=1e-6)
    np.testing.assert_allclose(squared[1], 16 * plain[1], rtol=1e-5, atol=1e-7)


def test_defaults_are_the_papers() -> None:
    found = {method: objective(method) for method in METHODS}
    assert {m: o.alpha for m, o in found.items()} == {
        "base": 0,
        "ls": 0.1,
        "tf-reg": 0.5,
        "self-kd": 0.5,
        "kd": 0.5,
    }
    assert {m: o.a for m, o in found.items() if o.a is not None} == {"tf-reg": 0.95}
    assert all((o.temperature, o.soft_factor) == (1, 1) for o in found.values())
    assert objective("kd", temperature=3.0).soft_factor == 9
    assert objective("kd", temperature=3.0, tau_squared=False).soft_factor == 1


@pytest.mark.parametrize(
    ("method", "numbers", "named"),
    [
        ("nonsense", {}, "base, ls, tf-reg, self-kd, kd"),
        ("base", {"alpha": 0.5}, "--alpha"),
        ("kd", {"alpha": -0.1}, "--alpha"),
        ("kd", {"alpha": 1.1}, "--alpha"),
        ("kd", {"alpha": float("nan")}, "--alpha"),
        ("ls", {"a": 0.9}, "--a"),
        ("tf-reg", {"a": 0.0}, "--a"),
        ("tf-reg", {"a": 1.0}, "--a"),
        ("tf-reg", {"a": float("nan")}, "--a"),
        ("kd", {"temperature": 0.0}, "--temperature"),
        ("kd", {"temperature": -2.0}, "--temperature"),
        ("kd", {"temperature": float("inf")}, "--temperature"),
        ("kd", {"temperature": float("nan")}, "--temperature"),
        *((method, {"temperature": 2.0}, "--temperature") for method in ("base", "ls", "tf-reg")),
        *((method, {"tau_squared": False}, "--tau-squared") for method in ("base", "ls", "tf-reg")),
    ],
)
def test_numbers_out_of_range_or_without_a_use_are_refused(
    method: str, numbers: dict[str, float], named: str
) -> None:
    with pytest.raises(SpecError, match=named):
        objective(method, **numbers)  # type: ignore[arg-type]
