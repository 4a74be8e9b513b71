"""The loss of a vocabulary's logits, in two executions of the same mathematics.

``plain`` computes all logits [P, V] and then the loss; ``fused`` computes the head, the loss and
the gradients of both for some positions at a time, so that no more than a chunk of logits is ever
held. Plain is faster where the logits fit, above all on a GPU; fused keeps memory flat. Neither
writes ``.grad``: gradients are formed in the forward pass and multiplied by what comes from behind
in the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from logitcache.models.projection import head_logits, through_head
from logitcache.payloads import Head
from logitcache.student.losses.gradient import Target, loss_and_gradient

PLAIN, FUSED = "plain", "fused"
# Logits that are held at once: beyond so many the fused execution is chosen; and those of one of
# its chunks.
PLAIN_VALUES = {"cpu": 1 << 26, "cuda": 1 << 31}
CHUNK_VALUES = {"cpu": 1 << 24, "cuda": 1 << 28}


def logits_loss(logits: Tensor, target: Target) -> Tensor:
    """Loss of each position, f32[P], of logits f[P, V] (f64 of doubles)."""
    loss: Tensor = _OnLogits.apply(logits, target)
    return loss


def head_loss(
    hidden: Tensor, head: Head[Tensor], target: Target, weight: Tensor, execution: str | None = None
) -> Tensor:
    """The sum of the positions' losses, each times its ``weight`` f32[P], of what the head is
    given, f[P, d].
    """
    if execution is None:
        execution = choose(len(hidden), len(head.weight), hidden.device.type)
    if execution == PLAIN:
        return (logits_loss(head_logits(hidden, head), target) * weight).sum()
    loss: Tensor = _Fused.apply(hidden, head.weight, head.bias, head, target, weight)
    return loss


def choose(positions: int, width: int, device: str) -> str:
    """The execution for so many positions and words."""
    limit = PLAIN_VALUES.get(device, PLAIN_VALUES["cuda"])
    return PLAIN if positions * width <= limit else FUSED


def _computed(values: Tensor, *, copy: bool = False) -> Tensor:
    """In single precision; doubles stay what they are."""
    dtype = torch.float64 if values.dtype == torch.float64 else torch.float32
    return values.to(dtype, copy=copy)


class _OnLogits(torch.autograd.Function):
    """The loss of logits that are there; what is kept for the backward pass is the gradient."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Target) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            wanted = ctx.needs_input_grad[0]
            loss, gradient = loss_and_gradient(
                _computed(logits, copy=wanted), target, gradient=wanted
            )
        if wanted:
            ctx.save_for_backward(gradient.to(logits.dtype))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, behind: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * behind[:, None].to(gradient.dtype), None


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
        dtype = (
            torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        )
        if device == "cpu" and dtype != torch.float64:
            dtype = torch.float32  # products of halves are slower there
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        with torch.autocast(device, enabled=False):
            states, matrix = hidden.detach().to(dtype), weight.detach().to(dtype)
            shift = None if bias is None else bias.detach().to(dtype)
            own = Head(matrix, shift, head.scale, head.cap)
            exact = _computed(matrix[:0]).dtype
            total = torch.zeros((), dtype=exact, device=hidden.device)
            of_hidden = torch.zeros_like(hidden, dtype=exact) if needs_hidden else None
            of_weight = torch.zeros_like(weight, dtype=exact) if needs_weight else None
            of_bias = (
                torch.zeros_like(bias, dtype=exact) if needs_bias and bias is not None else None
            )
            together = max(1, CHUNK_VALUES.get(device, CHUNK_VALUES["cuda"]) // len(weight))
            for start in range(0, len(hidden), together):
                places = slice(start, start + together)
                logits = _computed(head_logits(states[places], own))
                capped = logits.clone() if head.cap is not None else logits
                wanted = any(ctx.needs_input_grad)
                loss, gradient = loss_and_gradient(logits, target.select(places), gradient=wanted)
                total += (loss * position_weight[places]).sum()
                if not wanted:
                    continue
                gradient = through_head(gradient.mul_(position_weight[places, None]), capped, head)
                product = (
                    gradient if dtype == torch.float16 else gradient.to(dtype)
                )  # halves lose small gradients
                if of_hidden is not None:
                    of_hidden[places] = product @ matrix.to(product.dtype)
                if of_weight is not None:
                    of_weight += product.T @ states[places].to(product.dtype)
                if of_bias is not None:
                    of_bias += gradient.sum(0)
        ctx.save_for_backward(of_hidden, of_weight, of_bias)
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
