"""How far two sparse targets of the same positions are apart: targets that keep some words each.

The distance is the total variation: half the sum over all words of the difference of their
probabilities, a word that is not listed having none, and of what is left for all others. Draws are a
pure function of a row's text, so equal teachers give equal targets, and targets of two teachers are
drawn with the same numbers. Cost: one sort of all entries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from logitcache.cache.distance import Float64
from logitcache.payloads import Sparse
from logitcache.records import Array


@dataclass(frozen=True)
class Variation:
    """Of P positions, each f64[P] or bool[P]."""

    distance: Float64  # total variation
    largest: Float64  # difference of one word's probability
    entropy: Float64  # difference of the entropies, in nats
    other_words: npt.NDArray[np.bool_]  # whether one lists a word that the other does not

    @property
    def is_equal(self) -> npt.NDArray[np.bool_]:
        """Whether a position's target is the same to the last bit."""
        is_equal: npt.NDArray[np.bool_]
        is_equal = (self.distance == 0) & (self.entropy == 0) & ~self.other_words
        return is_equal


def variation(one: Sparse[Array], other: Sparse[Array]) -> Variation:
    """Two sparse targets of the same positions compared."""
    positions = len(one.rest)
    parts = [_entries(one, 0), _entries(other, 1)]
    position, word, prob, side = (
        np.concatenate([part[field] for part in parts]) for field in range(4)
    )
    signed = np.where(side == 0, prob, -prob).astype(np.float64)
    keys = position * (int(word.max(initial=0)) + 1) + word
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    off = np.abs(np.bincount(group, signed, len(first)))
    in_one = np.bincount(group, side == 0, len(first)) > 0
    in_other = np.bincount(group, side == 1, len(first)) > 0
    owner = position[first]
    rest = np.abs(one.rest.astype(np.float64) - other.rest)
    largest = rest.copy()
    np.maximum.at(largest, owner, off)
    unequal = np.bincount(owner[in_one != in_other], minlength=positions) > 0
    return Variation(
        (np.bincount(owner, off, positions) + rest) / 2,
        largest,
        np.abs(one.entropy.astype(np.float64) - other.entropy),
        unequal,
    )


def _entries(target: Sparse[Array], side: int) -> tuple[Array, Array, Array, Array]:
    """(position, word, probability, side) of each entry that counts."""
    position, slot = np.nonzero(target.prob > 0)
    word = target.ids[position, slot]
    return position, word, target.prob[position, slot], np.full(len(position), side)
