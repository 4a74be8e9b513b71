"""Relations, scores and hidden states: the papers' formulas written out, and their gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from logitcache.models.attention import Factors
from logitcache.student.losses import relations
from logitcache.student.losses.relations import (
    relation_divergence,
    relation_factors,
    scores_error,
    states_error,
)

HEADS, TOKENS, LENGTHS = 2, 6, (6, 4)


def written_kl(teacher: Tensor, student: Tensor, heads: int) -> Tensor:
    """MiniLM v2's loss of one row without padding, as eqs. 3 to 5 have it: f64[T, d] each."""
    total = torch.zeros((), dtype=torch.float64)
    tokens = len(teacher)
    for head in range(heads):
        relations = []
        for vectors in (teacher, student):
            size = vectors.shape[1] // heads
            part = vectors[:, head * size : (head + 1) * size]
            relations.append(torch.log_softmax(part @ part.T / size**0.5, 1))
        for token in range(tokens):
            log_p, log_q = relations[0][token], relations[1][token]
            total = total + (log_p.exp() * (log_p - log_q)).sum()
    return total / (heads * tokens)


def padded(width: int, seed: int) -> Tensor:
    """f64[2, T, d]: what stands behind a row's end is large, as it has no part."""
    draw = torch.Generator().manual_seed(seed)
    vectors = torch.randn(2, TOKENS, width, generator=draw, dtype=torch.float64)
    for row, length in enumerate(LENGTHS):
        vectors[row, length:] = 1e3
    return vectors


def is_token() -> Tensor:
    return torch.arange(TOKENS) < torch.tensor(LENGTHS)[:, None]


def everywhere(mask: Tensor) -> Tensor:
    return mask[:, None, None, :].expand(-1, 1, TOKENS, TOKENS)


@pytest.mark.parametrize(("heads", "width"), [(1, 8), (2, 8), (4, 8), (48, 192), (64, 192)])
def test_relations_are_those_of_the_paper_and_so_are_their_gradients(
    heads: int, width: int
) -> None:
    """Widths differ; padding has no part, and no gradient. 48 and 64 heads are the paper's."""
    mask = is_token()
    teacher = padded(width, 0)
    student = padded(2 * width, 1).requires_grad_()
    found = relation_divergence(
        relation_factors(teacher, heads), relation_factors(student, heads), everywhere(mask), mask
    )
    expected = torch.stack(
        [
            written_kl(teacher[row, :length], student[row, :length], heads)
            for row, length in enumerate(LENGTHS)
        ]
    )
    torch.testing.assert_close(found, expected)
    weight = torch.tensor([0.3, 2.0], dtype=torch.float64)
    gradients = [
        torch.autograd.grad((loss * weight).sum(), student)[0] for loss in (found, expected)
    ]
    torch.testing.assert_close(*gradients)
    assert gradients[0][1, LENGTHS[1] :].abs().max() == 0


def test_a_query_that_sees_nothing_counts_nothing() -> None:
    """Of a causal layer, in a row that is padded on the left."""
    mask = is_token().flip(1)
    sees = everywhere(mask) & torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    teacher = padded(8, 0).flip(1)
    student = padded(16, 1).flip(1).requires_grad_()
    losses = []
    for row, length in enumerate(LENGTHS):
        real = slice(TOKENS - length, TOKENS)
        vectors = [
            relation_factors(side[row : row + 1, real], HEADS) for side in (teacher, student)
        ]
        part = sees[row : row + 1, :, real, real]
        losses.append(relation_divergence(*vectors, part, mask[row : row + 1, real]))
    scores = [relation_factors(side, HEADS) for side in (teacher, student)]
    whole = relation_divergence(*scores, sees, mask)
    torch.testing.assert_close(whole, torch.cat(losses))
    gradients = [torch.autograd.grad(one.sum(), student)[0] for one in (whole, torch.cat(losses))]
    torch.testing.assert_close(*gradients)
    assert gradients[0][~mask].abs().max() == 0


def test_errors_are_means_over_what_is_real() -> None:
    mask = is_token()
    teacher, student = padded(8, 0), padded(8, 1).requires_grad_()
    scores = [relation_factors(vectors, HEADS) for vectors in (teacher, student)]
    found = scores_error(*scores, everywhere(mask), mask), states_error(teacher, student, mask)
    for row, length in enumerate(LENGTHS):
        maps = [one.product()[row, :, :length, :length] for one in scores]
        torch.testing.assert_close(found[0][row], ((maps[0] - maps[1]) ** 2).mean())
        states = teacher[row, :length] - student[row, :length]
        torch.testing.assert_close(found[1][row], (states**2).mean())
    (gradient,) = torch.autograd.grad(sum(one.sum() for one in found), student)
    assert gradient[1, LENGTHS[1] :].abs().max() == 0


def plain_divergence(teacher: Tensor, student: Tensor, sees: Tensor, is_token: Tensor) -> Tensor:
    """``relation_divergence`` of whole scores, one query after the other."""
    losses = []
    for row, real in enumerate(is_token):
        total = student.new_zeros(()) + 0 * student.sum()
        for query in real.nonzero().flatten().tolist():
            keys = sees[row, 0, query]
            log_p = teacher[row, :, query, keys].log_softmax(-1)
            log_q = student[row, :, query, keys].log_softmax(-1)
            total = total + (log_p.exp() * (log_p - log_q)).sum()
        losses.append(total / (student.shape[1] * max(1, int(real.sum()))))
    return torch.stack(losses)


def plain_error(teacher: Tensor, student: Tensor, sees: Tensor, is_token: Tensor) -> Tensor:
    """``scores_error`` of whole scores."""
    is_pair = sees & is_token[:, None, :, None]
    squared = (teacher - student).square() * is_pair
    return squared.sum((1, 2, 3)) / (student.shape[1] * is_pair.sum((1, 2, 3)).clamp(min=1))


@given(
    seed=st.integers(0, 1000),
    lengths=st.lists(st.integers(0, TOKENS), min_size=1, max_size=5),
    is_left_padded=st.booleans(),
    is_causal=st.booleans(),
    documents=st.integers(1, 3),
    together=st.sampled_from([1, 2 * HEADS * TOKENS**2, 1 << 18]),
)
def test_gradients_are_those_of_autograd_whatever_is_seen(
    seed: int,
    lengths: list[int],
    is_left_padded: bool,
    is_causal: bool,
    documents: int,
    together: int,
) -> None:
    """Rows of one real token or none, causal layers, documents kept apart, and rows that are
    computed in several parts.
    """
    draw = torch.Generator().manual_seed(seed)
    rows = len(lengths)
    is_real = torch.arange(TOKENS) < torch.tensor(lengths)[:, None]
    if is_left_padded:
        is_real = is_real.flip(1)
    document = torch.arange(TOKENS) % documents
    sees = is_real[:, None, None, :] & (document[:, None] == document)
    if is_causal:
        sees = sees & torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    shape = (rows, HEADS, TOKENS, 3)
    vectors = [torch.randn(shape, generator=draw, dtype=torch.float64) for _ in range(4)]
    teacher = Factors(*vectors[:2])
    student = Factors(*(one.requires_grad_() for one in vectors[2:]))
    weight = torch.rand(rows, generator=draw, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(relations.TOGETHER, "cpu", together)
        for compare, plain in (
            (relation_divergence, plain_divergence),
            (scores_error, plain_error),
        ):
            found = compare(teacher, student, sees, is_real)
            expected = plain(teacher.product(), student.product(), sees, is_real)
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
            gradients = [
                torch.autograd.grad((loss * weight).sum(), (student.left, student.right))
                for loss in (found, expected)
            ]
            torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)
