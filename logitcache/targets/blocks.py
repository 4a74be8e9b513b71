"""The words of a vocabulary in blocks: which are the most probable, and on which one a point falls.

A sort or a running sum of all V numbers of a position costs more than a teacher's forward pass leaves
room for. In blocks of :data:`BLOCK` words one pass takes the largest number or the sum of each block,
and then only the blocks that matter are looked into. Both results are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 64  # words; the last block of a vocabulary may have fewer


def largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(the k largest of each position in falling order f[P, k], their words i64[P, k]) of f[P, V].

    Each of the k blocks with the largest maxima has a number that is no smaller than the k-th
    largest maximum, so the k largest numbers lie in those blocks.
    """
    if 2 * k * BLOCK >= values.shape[1]:
        top = values.topk(k, dim=1)
        return top.values, top.indices
    maxima = _of_blocks(values, lambda blocks: blocks.amax(2))
    words, inside = _looked_into(values, maxima.topk(k, dim=1).indices, float("-inf"))
    top = inside.flatten(1).topk(k, dim=1)
    return top.values, words.flatten(1).gather(1, top.indices)


def likeliest(values: Tensor) -> tuple[Tensor, Tensor]:
    """(the largest number of each position f[P, 1], its word, the first of equal ones, i64[P, 1])
    of f[P, V].
    """
    block = _of_blocks(values, lambda blocks: blocks.amax(2)).argmax(1, keepdim=True)
    words, inside = _looked_into(values, block, float("-inf"))
    top, place = inside.flatten(1).max(1, keepdim=True)
    return top, words.flatten(1).gather(1, place)


def sums(weights: Tensor) -> Tensor:
    """The sum of each block: f64[P, B] of f[P, V]."""
    import torch

    return _of_blocks(weights, lambda blocks: blocks.sum(2, dtype=torch.float64))


def word_at(weights: Tensor, block: Tensor, point: Tensor) -> Tensor:
    """The word of ``block`` i64[P, n] on which ``point`` f64[P, n] falls, where the block's words lie
    end to end by number, each as long as its weight: i64[P, n]. A word of weight 0 is taken only in
    a block of such words.
    """
    words, inside = _looked_into(weights, block, 0.0)
    reached = inside.double().cumsum(2)
    # a point may lie before the first word, or behind the last one, by a rounding
    passed = (reached <= point.clamp(min=0)[..., None]).sum(2)
    last = (reached < reached[..., -1:]).sum(2)
    return words.gather(2, passed.minimum(last)[..., None])[..., 0]


def _of_blocks(values: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """What ``reduce`` makes of blocks [P, B, BLOCK], f[P, B] of f[P, V]."""
    import torch

    count = values.shape[1] // BLOCK
    whole = count * BLOCK
    reduced = reduce(values[:, :whole].reshape(len(values), count, BLOCK))
    if whole == values.shape[1]:
        return reduced
    return torch.cat([reduced, reduce(values[:, None, whole:])], 1)


def _looked_into(values: Tensor, block: Tensor, filling: float) -> tuple[Tensor, Tensor]:
    """(words i64[P, n, BLOCK], their values f[P, n, BLOCK]) of blocks i64[P, n]; behind the last word
    of a vocabulary there is ``filling``.
    """
    import torch

    last = values.shape[1] - 1
    words = block[..., None] * BLOCK + torch.arange(BLOCK, device=values.device)
    is_filling = words > last
    words = words.clamp(max=last)
    inside = values.gather(1, words.flatten(1)).view(words.shape)
    return words, inside.masked_fill(is_filling, filling)
