"""The loss of a vocabulary's logits, in three executions of the same mathematics.

``plain`` computes all logits [P, V] and then the loss; ``fused`` computes the head, the loss and
the gradients of both for some positions at a time, so that no more than a chunk of logits is ever
held; ``torch`` is PyTorch's ``linear_cross_entropy`` (2.13), which knows gold labels alone. None
writes ``.grad``. Plain and fused form gradients in the forward pass and multiply them by what comes
from behind in the backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from logitcache.errors import SpecError
from logitcache.models.projection import head_logits
from logitcache.payloads import Head
from logitcache.student.losses.gradient import Gradient, Target, loss_and_gradient

PLAIN, FUSED, TORCH = "plain", "fused", "torch"
# Logits that are held at once: beyond so many the fused execution is chosen; and those of one of
# its chunks.
PLAIN_VALUES = {"cpu": 1 << 26, "cuda": 1 << 31}
CHUNK_VALUES = {"cpu": 1 << 25, "cuda": 1 << 28}


def logits_loss(logits: Tensor, target: Target) -> Tensor:
    """Loss of each position, f32[P], of logits f[P, V] (f64 of doubles)."""
    loss: Tensor = _OnLogits.apply(logits, target)
    return loss


def head_loss(
    hidden: Tensor, head: Head[Tensor], target: Target, weight: Tensor, execution: str | None = None
) -> Tensor:
    """The sum of the positions' losses times their ``weight`` f32[P], of head inputs f[P, d]."""
    if execution is None:
        execution = choose(hidden, head)
    if execution == PLAIN:
        return (logits_loss(head_logits(hidden, head), target) * weight).sum()
    if execution == TORCH:
        return _torch_loss(hidden, head, target, weight)
    loss: Tensor = _Fused.apply(hidden, head.weight, head.bias, head, target, weight)
    return loss


def choose(hidden: Tensor, head: Head[Tensor]) -> str:
    """The execution for what a head is given.

    Where the logits do not fit: fused. On a CPU it is also faster in single precision, once there
    are half as many positions as the head is wide: what it spares of passes over [P, V] is more
    than what it adds over [V, d]. PyTorch's own loss is slower than either (docs/performance.md).
    """
    positions, d = hidden.shape
    device = hidden.device.type
    limit = PLAIN_VALUES.get(device, PLAIN_VALUES["cuda"])
    if positions * len(head.weight) > limit:
        return FUSED
    is_single = _autocast_dtype(hidden) in (torch.float32, torch.float64)
    if device == "cpu" and is_single and 2 * positions >= d:
        return FUSED
    return PLAIN


def _torch_loss(hidden: Tensor, head: Head[Tensor], target: Target, weight: Tensor) -> Tensor:
    """PyTorch's own chunked loss. Its sum knows no weights of positions, so it gives each
    position's loss, and computes logits once more in the backward pass.
    """
    check_torch(head, target)
    dtype = _product_dtype(hidden)
    with torch.autocast(hidden.device.type, enabled=False):
        losses = functional.linear_cross_entropy(
            hidden.to(dtype),
            head.weight.to(dtype),
            target.labels,
            linear_bias=None if head.bias is None else head.bias.to(dtype),
            reduction="none",
            options=nn.LinearCrossEntropyOptions(),
        )
        return (_computed(losses) * weight).sum()


def check_torch(head: Head[Tensor], target: Target) -> None:
    """Raises SpecError where PyTorch's loss is not there, or not the target's."""
    where = "--loss-execution torch"
    if not hasattr(nn, "LinearCrossEntropyOptions"):
        raise SpecError(
            expected="PyTorch 2.13 or newer, with linear_cross_entropy",
            found=torch.__version__,
            advice="Use --loss-execution auto.",
            where=where,
        )
    weights = target.weights
    is_plain = isinstance(weights.label, float) and (weights.label, weights.uniform) == (1.0, 0.0)
    is_gold = target.payload is None and is_plain
    if not is_gold or head.scale != 1.0 or head.cap is not None:
        raise SpecError(
            expected="gold labels alone (--method base), and a head without a scale or a cap",
            found="smoothed, a teacher's or none" if not is_gold else "a scaled or capped head",
            advice="Use --loss-execution auto.",
            where=where,
        )


def _computed(values: Tensor) -> Tensor:
    """In single precision; doubles stay what they are."""
    return values.to(torch.float64 if values.dtype == torch.float64 else torch.float32)


class _OnLogits(torch.autograd.Function):
    """The loss of logits that are there; what is kept for the backward pass is the gradient."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Target) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            computed = _computed(logits)
            is_copy = computed is not logits
            loss, gradient = loss_and_gradient(computed, target, overwrite=is_copy)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(gradient.values.to(logits.dtype), gradient.scale)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, behind: Tensor) -> tuple[Tensor, None]:
        values, scale = ctx.saved_tensors
        return values * (behind * scale)[:, None].to(values.dtype), None


class _Fused(torch.autograd.Function):
    """Head and loss, chunk by chunk. Gradients of weights are added up in single precision."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        head: Head[Tensor],
        target: Target,
        position_weight: Tensor,
    ) -> Tensor:
        device = hidden.device.type
        dtype = _product_dtype(hidden)
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        with torch.autocast(device, enabled=False):
            states = hidden.detach().to(dtype)
            matrix = weight.detach().to(dtype)
            shift = None if bias is None else bias.detach().to(dtype)
            sums = _Sums.of(hidden, weight, bias, ctx.needs_input_grad, exact)
            total = torch.zeros((), dtype=exact, device=hidden.device)
            together = max(1, CHUNK_VALUES.get(device, CHUNK_VALUES["cuda"]) // len(weight))
            memory = torch.empty(
                min(together, len(hidden)), len(weight), dtype=dtype, device=hidden.device
            )
            for start in range(0, len(hidden), together):
                places = slice(start, start + together)
                logits = _projected(states[places], Head(matrix, shift, head.scale), memory)
                logits = _computed(logits)
                capped = None if head.cap is None else _cap(logits, head.cap)
                loss, gradient = loss_and_gradient(logits, target.select(places), overwrite=True)
                total += (loss * position_weight[places]).sum()
                gradient = Gradient(gradient.values, gradient.scale * position_weight[places])
                if capped is not None:
                    gradient.values.mul_(1 - capped.square_())
                sums.add(places, gradient, head.scale, states[places], matrix)
        ctx.save_for_backward(sums.hidden, sums.weight, sums.bias)
        ctx.dtypes = hidden.dtype, weight.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, behind: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_weight, of_bias = ctx.saved_tensors
        hidden, weight = ctx.dtypes
        return (
            None if of_hidden is None else (of_hidden * behind).to(hidden),
            None if of_weight is None else (of_weight * behind).to(weight),
            None if of_bias is None else (of_bias * behind).to(weight),
            None,
            None,
            None,
        )


@dataclass(frozen=True)
class _Sums:
    """The gradients of a head and of what it is given, as they are added up; None: not wanted."""

    hidden: Tensor | None  # f[P, d]
    weight: Tensor | None  # f[V, d]
    bias: Tensor | None  # f[V]

    @classmethod
    def of(
        cls,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        wanted: Sequence[bool],
        dtype: torch.dtype,
    ) -> _Sums:
        def zeros(values: Tensor | None, needed: bool) -> Tensor | None:
            return torch.zeros_like(values, dtype=dtype) if needed and values is not None else None

        return cls(zeros(hidden, wanted[0]), zeros(weight, wanted[1]), zeros(bias, wanted[2]))

    def add(
        self,
        places: slice,
        gradient: Gradient,
        factor: float,
        states: Tensor,
        matrix: Tensor,
    ) -> None:
        """Those of some positions: of logits ``factor (matrix states + bias)`` of this gradient."""
        values = gradient.values
        scale = gradient.scale[:, None] * factor
        # halves lose small gradients; products of bfloat16 that are wide and short are slow on a CPU
        product = values if matrix.dtype == torch.float16 else values.to(matrix.dtype)
        if self.hidden is not None:
            self.hidden[places] = (product @ matrix.to(product.dtype)) * scale
        if self.weight is not None:
            if values.device.type == "cpu":
                self.weight.addmm_(values.T, states.to(values.dtype) * scale)
            else:
                self.weight.add_(product.T @ (states * scale).to(product.dtype))
        if self.bias is not None:
            self.bias.addmv_(values.T, scale[:, 0])


def _product_dtype(hidden: Tensor) -> torch.dtype:
    """The dtype of the products of a head: autocast's, or that of what it is given. On a CPU halves
    are computed in single precision, but for bfloat16 where the processor multiplies it.
    """
    dtype = _autocast_dtype(hidden)
    if hidden.device.type != "cpu" or dtype == torch.float64:
        return dtype
    if dtype == torch.bfloat16 and torch.cpu._is_avx512_bf16_supported():
        return dtype
    return torch.float32


def _autocast_dtype(hidden: Tensor) -> torch.dtype:
    device = hidden.device.type
    is_autocast = torch.is_autocast_enabled(device)
    return torch.get_autocast_dtype(device) if is_autocast else hidden.dtype


def _projected(states: Tensor, head: Head[Tensor], memory: Tensor) -> Tensor:
    """``scale (W h + b)`` f[P, V] in the first rows of ``memory``."""
    logits = memory[: len(states)]
    if head.bias is None and head.scale == 1.0:
        return torch.mm(states, head.weight.T, out=logits)
    shift = logits.new_zeros(()) if head.bias is None else head.bias
    return torch.addmm(shift, states, head.weight.T, beta=head.scale, alpha=head.scale, out=logits)


def _cap(logits: Tensor, cap: float) -> Tensor:
    """Cap logits in place; the tanh of them, f[P, V], is given back."""
    tanh = logits.div_(cap).tanh_().clone()
    logits.mul_(cap)
    return tanh
