"""Losses of queries, keys, values, scores and hidden states: one number for each row, over its real
tokens. Padding has no part in any of them. Teacher and student have one dtype, f32 in a training.

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
# The score of a key that is not seen. It is finite: a query that is padding may see no key at all,
# and the softmax of infinities would be NaN, in the gradients too.
UNSEEN = -1e9
# (teacher's scores, student's scores, bool[b, 1, T, T] keys that queries see, bool[b, T] real
# tokens) -> (loss of each row f[b], its slope by the student's scores f[b, A, T, T]). Both scores,
# f[b, A, T, T], may be overwritten.
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
    return _score_loss(teacher, student, sees, is_token, _divergence)


def scores_error(teacher: Factors, student: Factors, sees: Tensor, is_token: Tensor) -> Tensor:
    """Mean squared difference of scores before softmax, over heads, queries, seen keys: f[B]."""
    return _score_loss(teacher, student, sees, is_token, _squared_error)


def states_error(teacher: Tensor, student: Tensor, is_token: Tensor) -> Tensor:
    """Mean squared difference of hidden states f[B, T, d] of each row: f[B]."""
    squared = (student - teacher).square().mean(-1)
    total = squared.masked_fill(~is_token, 0.0).sum(1)
    return total / _count(is_token)


def _count(is_token: Tensor) -> Tensor:
    """Real tokens of each row, at least 1: i64[b] of bool[b, T]."""
    return is_token.sum(1).clamp(min=1)


def _divergence(
    teacher: Tensor, student: Tensor, sees: Tensor, is_token: Tensor
) -> tuple[Tensor, Tensor]:
    """The comparison of :func:`relation_divergence`. With ``p`` and ``q`` of teacher and student,
    the slope of a query's divergence is ``q - p``.
    """
    is_unseen = ~sees
    log_p = teacher.masked_fill_(is_unseen, UNSEEN).log_softmax(-1)
    log_q = student.masked_fill_(is_unseen, UNSEEN).log_softmax(-1)
    p = log_p.exp()
    heads = student.shape[1]
    weight = is_token.to(student.dtype) / (heads * _count(is_token))[:, None]  # of a query, f[b, T]
    # a key that is not seen adds nothing: p is 0, or (of a query without any) p equals q
    divergence = log_p.sub_(log_q).mul_(p).sum(-1)
    loss = (divergence * weight[:, None]).sum((1, 2))
    slope = log_q.exp_().sub_(p)
    return loss, slope.mul_(weight[:, None, :, None])


def _squared_error(
    teacher: Tensor, student: Tensor, sees: Tensor, is_token: Tensor
) -> tuple[Tensor, Tensor]:
    """The comparison of :func:`scores_error`."""
    is_pair = sees & is_token[:, None, :, None]
    difference = student.sub_(teacher).masked_fill_(~is_pair, 0.0)
    heads = student.shape[1]
    pairs = is_pair.sum((1, 2, 3)).clamp(min=1)
    count = (heads * pairs).to(student.dtype)
    loss = difference.square().sum((1, 2, 3)) / count
    slope_factor = 2 / count
    return loss, difference.mul_(slope_factor[:, None, None, None])


def _score_loss(
    teacher: Factors, student: Factors, sees: Tensor, is_token: Tensor, comparison: Comparison
) -> Tensor:
    """A comparison of scores in parts of some rows, with a gradient for the student: f[B]."""
    loss: Tensor = _ScoreLoss.apply(
        student.left, student.right, teacher, sees, is_token, comparison
    )
    return loss


class _ScoreLoss(torch.autograd.Function):
    """The loss of each row by both factors of the student's scores ``left right^T``: with slope G
    by the scores, the gradient is ``G right`` by left and ``G^T left`` by right.
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
        student = Factors(left, right)
        loss = left.new_empty(len(left))
        left_slope = torch.empty_like(left)
        right_slope = torch.empty_like(right)
        for rows in _parts(left):
            teacher_scores = teacher.rows(rows).product()
            student_scores = student.rows(rows).product()
            loss[rows], slope = comparison(
                teacher_scores, student_scores, sees[rows], is_token[rows]
            )
            torch.matmul(slope, right[rows], out=left_slope[rows])
            torch.matmul(slope.mT, left[rows], out=right_slope[rows])
        ctx.save_for_backward(left_slope, right_slope)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        left_slope, right_slope = ctx.saved_tensors
        weight = gradient[:, None, None, None]
        return left_slope * weight, right_slope * weight, None, None, None, None


def _parts(left: Tensor) -> Iterator[slice]:
    """Slices of rows whose scores are computed at once, of f[B, A, T, r]."""
    rows, heads, tokens, _ = left.shape
    scores = TOGETHER.get(left.device.type, TOGETHER["cuda"])
    together = max(1, scores // (heads * tokens * tokens))
    for start in range(0, rows, together):
        yield slice(start, start + together)
