"""The loss of vocabulary logits against autograd in double precision, in every execution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from logitcache.config.methods import Mixture
from logitcache.errors import SpecError
from logitcache.payloads import Dense, Head, Payload, Replay, Sparse, Tail
from logitcache.student.losses import Weights
from logitcache.student.losses import vocabulary as executions
from logitcache.student.losses.gradient import Target, divergence
from logitcache.student.losses.vocabulary import FUSED, PLAIN, TORCH, choose, head_loss, logits_loss

P, V, D, M = 7, 23, 5, 4
needs_torch_loss = pytest.mark.skipif(
    not hasattr(torch.nn, "LinearCrossEntropyOptions"), reason="PyTorch 2.13 has it"
)
KD, LS, BASE = Mixture(0.3, 0.0, 0.7), Mixture(0.9, 0.1), Mixture(1.0)


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def labels() -> Tensor:
    found = torch.arange(P) * 5 % V
    found[2] = -1
    return found


def teacher() -> Tensor:
    return numbers(P, V, seed=1, scale=2.0)


def sparse(tail: Tail, temperature: float) -> Sparse[Tensor]:
    """The most probable words; a word listed twice and filling where entries are an estimate."""
    p = (teacher() / temperature).softmax(1)
    prob, ids = p.topk(M, dim=1)
    unigram = numbers(V, seed=2).softmax(0) if tail is Tail.UNIGRAM else None
    if tail is Tail.NONE:
        ids[3, 1] = ids[3, 0]
        ids[4, 2:], prob[4, 2:] = 0, 0.0
        prob = prob * 1.2  # an estimate adds up to 1 in expectation only
    rest = torch.zeros(P, dtype=torch.float64) if tail is Tail.NONE else 1 - prob.sum(1)
    return Sparse(ids, prob, rest, torch.special.entr(p).sum(1), temperature, tail, unigram)


def replay() -> Replay[Tensor]:
    head = Head(numbers(V, 3, seed=4), numbers(V, seed=5), 1.5, 6.0)
    return Replay(numbers(P, 3, seed=6), head)


PAYLOADS: dict[str, Callable[[float], Payload[Tensor] | None]] = {
    "gold": lambda temperature: None,
    "dense": lambda temperature: Dense(teacher()),
    "replay": lambda temperature: replay(),
    **{str(tail): lambda temperature, tail=tail: sparse(tail, temperature) for tail in Tail},  # type: ignore[misc]
}


def reference(z: Tensor, target: Target) -> Tensor:
    """The definition, with every distribution written out: f64[P]."""
    weights, payload = target.weights, target.payload
    label, uniform, soft = (
        torch.as_tensor(part, dtype=torch.float64).expand(P, 1)
        for part in (weights.label, weights.uniform, weights.teacher)
    )
    hard = label * torch.nn.functional.one_hot(target.labels.clamp(min=0), V) + uniform / V
    loss = -(hard * z.log_softmax(1)).sum(1)
    if payload is None:
        return loss
    log_q = (z / target.temperature).log_softmax(1)
    if isinstance(payload, Sparse):
        p = torch.zeros(P, V, dtype=torch.float64).scatter_add_(1, payload.ids, payload.prob)
        outside = torch.ones(P, V, dtype=torch.float64).scatter_(1, payload.ids, 0.0)
        if payload.tail is Tail.BUCKET:
            loss = (
                loss
                - target.soft_factor
                * soft[:, 0]
                * payload.rest
                * (log_q.exp() * outside).sum(1).log()
            )
        elif payload.tail is Tail.UNIFORM:
            p = p + payload.rest[:, None] * outside / (V - M)
        elif payload.tail is Tail.UNIGRAM:
            assert payload.unigram is not None
            p = p + payload.rest[:, None] * payload.unigram
    elif isinstance(payload, Dense):
        p = (payload.logits / target.temperature).softmax(1)
    else:
        head = payload.head
        assert head.bias is not None
        assert head.cap is not None
        made = head.cap * torch.tanh(
            head.scale * (payload.hidden @ head.weight.T + head.bias) / head.cap
        )
        p = (made / target.temperature).softmax(1)
    return loss - target.soft_factor * soft[:, 0] * (p * log_q).sum(1)


def target_of(name: str, temperature: float = 1.0, mixture: Mixture | None = None) -> Target:
    payload = PAYLOADS[name](temperature)
    mixture = mixture or (LS if payload is None else KD)
    weights = Weights.of(mixture, labels())
    if payload is None:
        weights = Weights(mixture.label, mixture.uniform, 0.0)
        return Target(labels().clamp(min=0), weights)
    return Target(labels(), weights, payload, temperature, temperature**2)


def single(target: Target) -> Target:
    """The same in single precision, as a batch has it."""

    def as_float(values: Tensor) -> Tensor:
        return values.float() if values.is_floating_point() else values

    payload = None if target.payload is None else target.payload.map(as_float)
    return replace(target, payload=payload)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("name", PAYLOADS)
def test_loss_and_gradient_are_those_of_the_definition(name: str, temperature: float) -> None:
    target = target_of(name, temperature)
    z = numbers(P, V, seed=7, scale=3.0).requires_grad_()
    weight = torch.arange(P, dtype=torch.float64)
    (expected,) = torch.autograd.grad((reference(z, target) * weight).sum() * 3, z)
    found = logits_loss(z, target)
    torch.testing.assert_close(found, reference(z, target), rtol=1e-12, atol=1e-12)
    (gradient,) = torch.autograd.grad((found * weight).sum() * 3, z)
    torch.testing.assert_close(gradient, expected, rtol=1e-11, atol=1e-12)
    # without a gradient
    torch.testing.assert_close(logits_loss(z.detach(), target), found.detach())


@pytest.mark.parametrize("execution", [PLAIN, FUSED])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("bias", "scale", "cap"), [(False, 1.0, None), (True, 0.7, None), (True, 1.3, 4.0)]
)
@pytest.mark.parametrize("name", ["gold", "none", "dense", "bucket"])
def test_gradients_of_a_head(
    name: str, bias: bool, scale: float, cap: float | None, dtype: torch.dtype, execution: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # three positions at a time, and one at the end
    monkeypatch.setitem(executions.CHUNK_VALUES, "cpu", 3 * V)
    target, weight = target_of(name), torch.arange(P, dtype=torch.float64)
    hidden, matrix, shift = numbers(P, D, seed=8), numbers(V, D, seed=9), numbers(V, seed=10)
    inputs = [
        each.requires_grad_() for each in ([hidden, matrix, shift] if bias else [hidden, matrix])
    ]
    z = scale * (hidden @ matrix.T + (shift if bias else 0.0))
    z = z if cap is None else cap * torch.tanh(z / cap)
    expected_loss = (reference(z, target) * weight).sum() * 3
    expected = torch.autograd.grad(expected_loss, inputs)
    given = [each.detach().to(dtype).requires_grad_() for each in inputs]
    head = Head(given[1], given[2] if bias else None, scale, cap)
    used = target if dtype == torch.float64 else single(target)
    loss = head_loss(given[0], head, used, weight.to(dtype), execution) * 3
    tight = (
        {"rtol": 1e-10, "atol": 1e-11} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 2e-5}
    )
    torch.testing.assert_close(loss.double(), expected_loss, **tight)
    for found, wanted in zip(torch.autograd.grad(loss, given), expected, strict=True):
        torch.testing.assert_close(found.double(), wanted, **tight)


@pytest.mark.parametrize("execution", [PLAIN, FUSED])
def test_gradcheck(execution: str) -> None:
    hidden, matrix = numbers(P, D, seed=8).requires_grad_(), numbers(V, D, seed=9).requires_grad_()
    weight = torch.ones(P, dtype=torch.float64)
    for name in ("gold", "unigram"):
        target = target_of(name)
        assert torch.autograd.gradcheck(
            lambda h, w, target=target: head_loss(h, Head(w), target, weight, execution),
            (hidden, matrix),
        )


@needs_torch_loss
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
def test_pytorchs_own_loss_of_gold_labels(bias: bool, dtype: torch.dtype) -> None:
    target = Target(labels().clamp(min=0), Weights.of(BASE))
    inputs = [numbers(P, D, seed=8), numbers(V, D, seed=9), *([numbers(V, seed=10)] * bias)]
    weight = torch.arange(P, dtype=torch.float64)

    def loss(execution: str, used: torch.dtype) -> tuple[Tensor, ...]:
        parts = [values.to(used).requires_grad_() for values in inputs]
        head = Head(parts[1], parts[2] if bias else None)
        found = head_loss(parts[0], head, target, weight.to(used), execution) * 3
        return found.detach().double(), *torch.autograd.grad(found, parts)

    rounding = {torch.float64: 1e-11, torch.float32: 1e-4, torch.bfloat16: 0.1}[dtype]
    for found, expected in zip(loss(TORCH, dtype), loss(FUSED, torch.float64), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=rounding, atol=rounding)


@needs_torch_loss
@pytest.mark.parametrize(
    ("name", "head", "found"),
    [
        ("none", {}, "smoothed, a teacher's or none"),
        ("bucket", {}, "smoothed, a teacher's or none"),
        ("base", {"scale": 0.5}, "a scaled or capped head"),
        ("base", {"cap": 30.0}, "a scaled or capped head"),
    ],
)
def test_pytorchs_own_loss_is_refused_for_others(
    name: str, head: dict[str, float], found: str
) -> None:
    target = target_of("gold", mixture=BASE) if name == "base" else target_of(name)
    matrix = Head(numbers(V, D), None, **head)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=found):
        head_loss(numbers(P, D), matrix, target, torch.ones(P), TORCH)


@pytest.mark.parametrize("execution", [PLAIN, FUSED])
@pytest.mark.parametrize("name", ["gold", "bucket"])
def test_no_position_gives_nothing(name: str, execution: str) -> None:
    target = target_of(name).select(slice(0, 0))
    hidden, matrix = torch.zeros(0, D, requires_grad=True), torch.randn(V, D, requires_grad=True)
    loss = head_loss(hidden, Head(matrix), target, torch.zeros(0), execution)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert matrix.grad is not None
    assert not matrix.grad.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("execution", [PLAIN, FUSED])
def test_autocast_changes_roundings_alone(dtype: torch.dtype, execution: str) -> None:
    """Weights stay single, and so do their gradients; tied embeddings get both of their gradients."""
    target, weight = single(target_of("bucket")), torch.ones(P)
    matrix = numbers(V, D, seed=9).float().requires_grad_()
    ids = torch.arange(P)

    def loss(*, autocast: bool) -> Tensor:
        with torch.autocast("cpu", dtype=dtype, enabled=autocast):
            hidden = torch.tanh(matrix[ids] @ torch.eye(D))
            return head_loss(hidden, Head(matrix), target, weight, execution)

    (exact,) = torch.autograd.grad(loss(autocast=False), matrix)
    (rounded,) = torch.autograd.grad(loss(autocast=True) * 1024, matrix)  # a scaler's factor
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded / 1024, exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("positions", "d", "words", "dtype", "expected"),
    [
        (512, 768, 50_257, torch.float32, FUSED),
        (128, 768, 50_257, torch.float32, PLAIN),  # a gradient of [V, d] costs more than it spares
        (512, 768, 50_257, torch.bfloat16, PLAIN),  # its weight's gradient is a product of halves
        (4096, 768, 50_257, torch.bfloat16, FUSED),  # the logits are too many
    ],
)
def test_the_execution_that_is_chosen(
    positions: int, d: int, words: int, dtype: torch.dtype, expected: str
) -> None:
    hidden = torch.zeros(1, 1, dtype=dtype).expand(positions, d)
    assert choose(hidden, Head(torch.zeros(1, 1).expand(words, d))) == expected


def test_halves_of_a_batch_add_up() -> None:
    target, weight = target_of("bucket"), torch.ones(P, dtype=torch.float64)
    hidden, matrix = numbers(P, D, seed=8), numbers(V, D, seed=9).requires_grad_()
    whole = head_loss(hidden, Head(matrix), target, weight, FUSED)
    cuts = (slice(0, 3), slice(3, P))
    parts = sum(
        head_loss(hidden[cut], Head(matrix), target.select(cut), weight[cut], FUSED) for cut in cuts
    )
    assert isinstance(parts, Tensor)
    torch.testing.assert_close(*(torch.autograd.grad(loss, matrix)[0] for loss in (whole, parts)))


def test_another_temperature_is_refused() -> None:
    target = replace(target_of("bucket", 2.0), temperature=1.0)
    with pytest.raises(SpecError, match=r"made for \(2\), found 1. Use --temperature 2"):
        logits_loss(numbers(P, V), target)


def test_the_reported_distance_is_nothing_where_the_student_is_the_teacher() -> None:
    p = teacher().softmax(1)
    prob, ids = p.topk(M, dim=1)
    dropped = Sparse(ids, prob, 1 - prob.sum(1), torch.special.entr(p).sum(1))
    for payload in (Dense(teacher()), sparse(Tail.BUCKET, 1.0), sparse(Tail.BUCKET, 2.0), dropped):
        torch.testing.assert_close(
            divergence(teacher(), payload), torch.zeros(P), check_dtype=False, atol=1e-6, rtol=0
        )
    student = numbers(P, V, seed=7)
    everything = Sparse(
        torch.arange(V).expand(P, V), p, torch.zeros(P), torch.special.entr(p).sum(1)
    )
    torch.testing.assert_close(
        divergence(student, everything),
        divergence(student, Dense(teacher())),
        check_dtype=False,
        atol=1e-5,
        rtol=1e-5,
    )
