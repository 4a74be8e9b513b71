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


def variation(a: Sparse[Array], b: Sparse[Array]) -> Variation:
    """Two sparse targets of the same positions compared."""
    positions = len(a.rest)
    position_a, word_a, prob_a = _entries(a)
    position_b, word_b, prob_b = _entries(b)
    position = np.concatenate([position_a, position_b])
    word = np.concatenate([word_a, word_b])
    signed = np.concatenate([prob_a, -prob_b]).astype(np.float64)
    is_of_a = np.arange(len(position)) < len(position_a)

    # entries of the same word of the same position are one group
    keys = position * (int(word.max(initial=0)) + 1) + word
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    groups = len(first)
    difference = np.abs(np.bincount(group, signed, groups))
    in_a = np.bincount(group, is_of_a, groups) > 0
    in_b = np.bincount(group, ~is_of_a, groups) > 0

    owner = position[first]
    unlisted = np.abs(a.rest.astype(np.float64) - b.rest)
    largest = unlisted.copy()
    np.maximum.at(largest, owner, difference)
    return Variation(
        distance=(np.bincount(owner, difference, positions) + unlisted) / 2,
        largest=largest,
        entropy=np.abs(a.entropy.astype(np.float64) - b.entropy),
        other_words=np.bincount(owner[in_a != in_b], minlength=positions) > 0,
    )


def _entries(target: Sparse[Array]) -> tuple[Array, Array, Array]:
    """(position, word, probability) of each entry that counts."""
    position, slot = np.nonzero(target.prob > 0)
    return position, target.ids[position, slot], target.prob[position, slot]
