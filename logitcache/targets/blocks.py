"""The words of a vocabulary in blocks: the most probable words, and the word that a point falls on.

A sort or a running sum of all V numbers of a position costs more than a teacher's forward pass.
Here one pass takes the largest number or the sum of each block of :data:`BLOCK` words, and after
that only the numbers of a few blocks are read. Results are those of all V numbers, exactly.

Shapes: P positions, V words, B blocks, n blocks chosen at a position.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 64  # words; the last block of a vocabulary may have fewer


@dataclass(frozen=True)
class Words:
    """The words of chosen blocks, side by side."""

    ids: Tensor  # i64[P, n, BLOCK]
    values: Tensor  # f[P, n, BLOCK]; a filling where the last block has no word

    def top(self, k: int) -> tuple[Tensor, Tensor]:
        """The k largest values of a position, falling, f[P, k], and their ids, i64[P, k]."""
        ids = self.ids.flatten(1)
        values = self.values.flatten(1)
        top = values.topk(k, dim=1)
        return top.values, ids.gather(1, top.indices)

    def first_largest(self) -> tuple[Tensor, Tensor]:
        """The largest value of a position, f[P, 1], and the first id that has it, i64[P, 1]."""
        ids = self.ids.flatten(1)
        values = self.values.flatten(1)
        largest_value, column = values.max(1, keepdim=True)
        return largest_value, ids.gather(1, column)


def largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest values of each position in falling order, f[P, k], and their words, i64[P, k],
    of f[P, V].

    Each of the k blocks with the largest maxima has a value that is no smaller than the k-th
    largest maximum, so the k largest values lie in those blocks.
    """
    words_read = k * BLOCK
    if 2 * words_read >= values.shape[1]:  # a search in blocks would read half of them or more
        top = values.topk(k, dim=1)
        return top.values, top.indices
    maxima = _maxima(values)
    blocks = maxima.topk(k, dim=1).indices
    return _words(values, blocks, float("-inf")).top(k)


def likeliest(values: Tensor) -> tuple[Tensor, Tensor]:
    """The largest value of each position, f[P, 1], and its (first) word, i64[P, 1], of f[P, V]."""
    maxima = _maxima(values)
    block = maxima.argmax(1, keepdim=True)
    return _words(values, block, float("-inf")).first_largest()


def sums(weights: Tensor) -> Tensor:
    """The sum of each block in double precision: f64[P, B] of f[P, V]."""
    return _reduced(weights, _sum_of_words)


def interval_at(lengths: Tensor, ends: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
    """The interval that each point falls on, i64[P, n], and the distance of the point from the
    start of the interval, f64[P, n].

    Intervals of ``lengths``, f64[P, B], lie end to end; ``ends`` is their running sum. A ``point``,
    f64[P, n], behind the last interval is counted to it.
    """
    import torch

    last = lengths.shape[1] - 1
    interval = torch.searchsorted(ends, point, right=True).clamp(max=last)
    end = ends.gather(1, interval)
    start = end - lengths.gather(1, interval)
    return interval, point - start


def word_at(weights: Tensor, block: Tensor, point: Tensor) -> Tensor:
    """The word that each point falls on: i64[P, n].

    The words of ``block``, i64[P, n], lie end to end by number, each as long as its weight in
    f[P, V]; ``point``, f64[P, n], is counted from the start of the block. By a rounding a point may
    lie before the first word or behind the last one: the nearest word with a weight is taken. A
    word of weight 0 is taken only in a block that has no other words.
    """
    words = _words(weights, block, 0.0)
    ends = words.values.double().cumsum(2)
    block_end = ends[..., -1:]
    distance = point.clamp(min=0)[..., None]
    words_before = (ends <= distance).sum(2)
    last_with_weight = (ends < block_end).sum(2)
    column = words_before.minimum(last_with_weight)
    return words.ids.gather(2, column[..., None])[..., 0]


def _maxima(values: Tensor) -> Tensor:
    """The largest value of each block: f[P, B] of f[P, V]."""
    return _reduced(values, lambda blocks: blocks.amax(2))


def _sum_of_words(blocks: Tensor) -> Tensor:
    import torch

    return blocks.sum(2, dtype=torch.float64)


def _reduced(values: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """One number for each block, f[P, B] of f[P, V]. ``reduce`` makes f[P, B] of f[P, B, words]."""
    import torch

    positions, width = values.shape
    whole_blocks = width // BLOCK
    words = whole_blocks * BLOCK
    full = values[:, :words].reshape(positions, whole_blocks, BLOCK)
    reduced = reduce(full)
    if words == width:
        return reduced
    last_block = values[:, None, words:]
    return torch.cat([reduced, reduce(last_block)], 1)


def _words(values: Tensor, blocks: Tensor, filling: float) -> Words:
    """The words of ``blocks``, i64[P, n], and their values; ``filling`` behind the last word."""
    import torch

    first = blocks[..., None] * BLOCK
    ids = first + torch.arange(BLOCK, device=values.device)
    last = values.shape[1] - 1
    is_filling = ids > last
    ids = ids.clamp(max=last)
    inside = values.gather(1, ids.flatten(1)).view(ids.shape)
    return Words(ids, inside.masked_fill(is_filling, filling))
