"""Losses of queries, keys, values, scores and hidden states: one number for each row, over its real
tokens. Padding has no part in any of them.

Sizes: B rows, T tokens, A heads, r numbers of a head. Scores f[B, A, T, T] would be the largest
tensors of a training step, so they are never held: a few rows are computed at a time, with their
loss and the slope of that loss by the scores, whose products with the vectors are what the backward
pass needs. On a CPU so many rows as its cache holds take half the time of all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from logitcache.models.attention import Factors

# scores that are computed at once: of a CPU as its second cache holds
TOGETHER = {"cpu": 1 << 18, "cuda": 1 << 26}
# of scores of teacher and student (which may be overwritten), the keys that queries see and the real
# tokens: the loss of each row f[b], and its slope by the student's scores f[b, A, T, T]
Comparison: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def relation_factors(vectors: Tensor, heads: int) -> Factors:
    """``A A^T / sqrt(d_r)`` of f[B, T, A d_r], split into ``heads`` (Wang et al. 2021, eq. 4)."""
    split = vectors.unflatten(2, (heads, -1)).transpose(1, 2).contiguous()
    return Factors(split * split.shape[-1] ** -0.5, split)


def relation_divergence(
    teacher: Factors, student: Factors, sees: Tensor, is_token: Tensor
) -> Tensor:
    """``1 / (A n) sum_a sum_t KL(softmax(teacher) || softmax(student))`` of each row, f[B]: of
    scores over the keys that each query ``sees``, bool[B, 1, T, T], and the n real tokens t,
    ``is_token`` bool[B, T].
    """
    return _compared(teacher, student, sees, is_token, _divergence)


def scores_error(teacher: Factors, student: Factors, sees: Tensor, is_token: Tensor) -> Tensor:
    """Mean squared difference of scores before the softmax of each row over its heads, queries and
    the keys that they see: f[B].
    """
    return _compared(teacher, student, sees, is_token, _squared_error)


def states_error(teacher: Tensor, student: Tensor, is_token: Tensor) -> Tensor:
    """Mean squared difference of hidden states f[B, T, d] of each row: f[B]."""
    squared = (student - teacher.to(student.dtype)).square().mean(-1)
    total = squared.masked_fill(~is_token, 0.0).sum(1)
    return total / is_token.sum(1).clamp(min=1)


def _divergence(
    teacher: Tensor, student: Tensor, sees: Tensor, is_token: Tensor
) -> tuple[Tensor, Tensor]:
    # not -inf: a query that is padding may see nothing, and its NaN would reach gradients
    lowest = -1e9 if student.element_size() > 2 else -3e4
    log_p = teacher.masked_fill_(~sees, lowest).log_softmax(-1)
    log_q = student.masked_fill_(~sees, lowest).log_softmax(-1)
    p = log_p.exp()
    share = is_token / (student.shape[1] * is_token.sum(1, keepdim=True).clamp(min=1))
    # keys that are not seen count nothing: p is 0 there, or p and q are uniform
    divergence = log_p.sub_(log_q).mul_(p).sum(-1)
    loss = (divergence * share[:, None, :]).sum((1, 2))
    slope = log_q.exp_().sub_(p).mul_(share[:, None, :, None])
    return loss.to(student.dtype), slope


def _squared_error(
    teacher: Tensor, student: Tensor, sees: Tensor, is_token: Tensor
) -> tuple[Tensor, Tensor]:
    pairs = sees & is_token[:, None, :, None]
    difference = student.sub_(teacher).masked_fill_(~pairs, 0.0)
    count = student.shape[1] * pairs.sum((1, 2, 3)).clamp(min=1)
    loss = difference.square().sum((1, 2, 3)) / count
    return loss, difference.mul_((2 / count)[:, None, None, None])


def _compared(
    teacher: Factors, student: Factors, sees: Tensor, is_token: Tensor, comparison: Comparison
) -> Tensor:
    loss: Tensor = _Compared.apply(student.left, student.right, teacher, sees, is_token, comparison)
    return loss


class _Compared(torch.autograd.Function):
    """A comparison of scores, in parts of some rows. The gradient of ``left right^T`` with slope G
    is ``G right`` and ``G^T left``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        left: Tensor,
        right: Tensor,
        teacher: Factors,
        sees: Tensor,
        is_token: Tensor,
        comparison: Comparison,
    ) -> Tensor:
        loss = left.new_empty(len(left))
        slopes = (torch.empty_like(left), torch.empty_like(right))
        for rows in _parts(left):
            student = left[rows] @ right[rows].mT
            expected = (teacher.left[rows] @ teacher.right[rows].mT).to(student.dtype)
            loss[rows], slope = comparison(expected, student, sees[rows], is_token[rows])
            torch.matmul(slope, right[rows], out=slopes[0][rows])
            torch.matmul(slope.mT, left[rows], out=slopes[1][rows])
        ctx.save_for_backward(*slopes)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight = gradient[:, None, None, None]
        left, right = (slope * weight for slope in ctx.saved_tensors)
        return left, right, None, None, None, None


def _parts(left: Tensor) -> Iterator[slice]:
    """Slices of rows whose scores are computed at once, of f[B, A, T, r]."""
    rows, heads, tokens, _ = left.shape
    most = max(1, TOGETHER.get(left.device.type, TOGETHER["cuda"]) // (heads * tokens * tokens))
    for start in range(0, rows, most):
        yield slice(start, min(start + most, rows))
