"""Losses of queries, keys, values, scores and hidden states: one number for each row, over its real
tokens. Padding has no part in any of them.

Sizes: B rows, T tokens, A relation heads, d_r numbers of a head.
"""

from __future__ import annotations

from torch import Tensor


def relation_scores(vectors: Tensor, heads: int) -> Tensor:
    """``A A^T / sqrt(d_r)`` of f[B, T, A d_r], split into ``heads`` (Wang et al. 2021, eq. 4): f[B,
    A, T, T].
    """
    split = vectors.unflatten(2, (heads, -1)).transpose(1, 2)
    scaled = split * split.shape[-1] ** -0.5  # fewer numbers than the scores
    scores: Tensor = scaled @ split.transpose(2, 3)
    return scores


def relation_divergence(teacher: Tensor, student: Tensor, sees: Tensor, is_token: Tensor) -> Tensor:
    """``1 / (A n) sum_a sum_t KL(softmax(teacher) || softmax(student))`` of each row, f[B]: of
    scores f[B, A, T, T], over the keys that each query ``sees``, bool[B, 1, T, T], and the n real
    tokens t, ``is_token`` bool[B, T].
    """
    # not -inf: a query that is padding may see nothing, and its NaN would reach gradients
    lowest = -1e9 if student.element_size() > 2 else -3e4
    log_p = teacher.to(student.dtype).masked_fill(~sees, lowest).log_softmax(-1)
    log_q = student.masked_fill(~sees, lowest).log_softmax(-1)
    # keys that are not seen count nothing: p is 0 there, or p and q are uniform
    divergence = (log_p.exp() * (log_p - log_q)).sum(-1).mean(1)
    return _mean_over_tokens(divergence, is_token)


def scores_error(teacher: Tensor, student: Tensor, sees: Tensor, is_token: Tensor) -> Tensor:
    """Mean squared difference of scores before the softmax, f[B, A, T, T], of each row over its
    heads, queries and the keys that they see: f[B].
    """
    pairs = sees & is_token[:, None, :, None]
    squared = (student - teacher.to(student.dtype)).square().mean(1, keepdim=True)
    total = squared.masked_fill(~pairs, 0.0).sum((1, 2, 3))
    return total / pairs.sum((1, 2, 3)).clamp(min=1)


def states_error(teacher: Tensor, student: Tensor, is_token: Tensor) -> Tensor:
    """Mean squared difference of hidden states f[B, T, d] of each row: f[B]."""
    squared = (student - teacher.to(student.dtype)).square().mean(-1)
    return _mean_over_tokens(squared, is_token)


def _mean_over_tokens(values: Tensor, is_token: Tensor) -> Tensor:
    """f[B] of f[B, T]."""
    total = values.masked_fill(~is_token, 0.0).sum(1)
    return total / is_token.sum(1).clamp(min=1)
