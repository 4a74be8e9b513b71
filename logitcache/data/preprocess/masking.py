"""Masks of a masked language model: which tokens are hidden, and what stands in their place.

A token is hidden with probability ``rate``. Of the hidden ones 80 % are replaced by the mask token,
10 % by a random token, 10 % stay (Devlin et al. 2019, section 3.1). What happens at a token is a
pure function of (seed, row, view, position); the row counts by the hash of its tokens, so order and
selection change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.data.order import counter_hash
from logitcache.data.spool import Spool, part_of, token_blocks
from logitcache.errors import SpecError
from logitcache.records import Array, Int64, Ragged

REPLACED, RANDOM = 0.8, 0.9  # below: the mask token; below: a random token; else the token itself
_CONTINUES = "##"  # a piece of WordPiece that is not a word's first
_BEGINS = ("Ġ", "▁")  # a piece of byte-level BPE or Unigram that begins a word


@dataclass(frozen=True)
class Vocabulary:
    """What masks have to know of a tokenizer's vocabulary."""

    mask: int
    ordinary: Int64  # ids that are no special tokens
    is_ordinary: npt.NDArray[np.bool_]  # [V]
    continues: npt.NDArray[np.bool_]  # [V] whether a piece belongs to the word before it

    @classmethod
    def of(cls, tokenizer: Any) -> Vocabulary:
        """Raises SpecError for a tokenizer without a mask token."""
        if tokenizer.mask_token_id is None:
            raise SpecError(
                expected="a tokenizer with a mask token",
                found=f"{type(tokenizer).__name__} without one",
                advice="Use the tokenizer of a masked language model, or --task causal-lm.",
            )
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        size = max(vocabulary.values()) + 1
        is_ordinary = np.zeros(size, np.bool_)
        is_ordinary[list(vocabulary.values())] = True
        is_ordinary[tokenizer.all_special_ids] = False
        continues = np.zeros(size, np.bool_)
        pieces = any(token.startswith(_CONTINUES) for token in vocabulary)
        for token, number in vocabulary.items():
            if pieces:
                continues[number] = token.startswith(_CONTINUES)
            else:
                continues[number] = not token.startswith(_BEGINS)
        return cls(
            int(tokenizer.mask_token_id),
            np.flatnonzero(is_ordinary),
            is_ordinary,
            continues & is_ordinary,
        )


def masked(
    ids: Ragged,
    row_hash: Int64,
    view: int,
    vocabulary: Vocabulary,
    rate: float,
    seed: int,
    whole_words: bool,
) -> tuple[Ragged, Ragged]:
    """The rows with their masks, and the hidden token at each masked place (-1 elsewhere): i32
    each. Made block by block: a token takes about 60 bytes while its mask is drawn.
    """
    inputs = Spool(np.int32)
    labels = Spool(np.int32)
    for rows in token_blocks(len(ids)):
        block = part_of(ids, rows.start, rows.stop)
        hidden = _masked(block, row_hash[rows], view, vocabulary, rate, seed, whole_words)
        inputs.add(hidden[0])
        labels.add(hidden[1])
    return Ragged(inputs.finish(), ids.indptr), Ragged(labels.finish(), ids.indptr)


def _masked(
    ids: Ragged,
    row_hash: Int64,
    view: int,
    vocabulary: Vocabulary,
    rate: float,
    seed: int,
    whole_words: bool,
) -> tuple[Array, Array]:
    """The same of some rows: their tokens, and the hidden ones."""
    row = np.repeat(np.arange(len(ids)), ids.lengths())
    position = np.arange(len(ids.values)) - ids.indptr[row]
    decides = _first_pieces(ids, position, vocabulary) if whole_words else position
    key = counter_hash(seed, f"mask/{view}", row_hash)
    hidden = (_uniform(seed, "hidden", key[row], decides) < rate) & vocabulary.is_ordinary[
        ids.values
    ]
    how = _uniform(seed, "how", key[row], position)
    inputs = ids.values.copy()
    inputs[hidden & (how < REPLACED)] = vocabulary.mask
    is_random = hidden & (how >= REPLACED) & (how < RANDOM)
    drawn = _uniform(seed, "which", key[row][is_random], position[is_random])
    inputs[is_random] = vocabulary.ordinary[(drawn * len(vocabulary.ordinary)).astype(np.int64)]
    return inputs, np.where(hidden, ids.values, -1)


def _uniform(seed: int, purpose: str, key: Array, position: Int64) -> npt.NDArray[np.float64]:
    """Numbers from 0 to 1, one for each (key, position)."""
    with np.errstate(over="ignore"):
        bits = counter_hash(seed, f"mask/{purpose}", key + position.astype(np.uint64))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _first_pieces(ids: Ragged, position: Int64, vocabulary: Vocabulary) -> Int64:
    """The position of the first piece of each token's word: i64[S]."""
    begins = ~vocabulary.continues[ids.values]
    begins[position == 0] = True
    last = np.maximum.accumulate(np.where(begins, np.arange(len(position)), 0))
    first: Int64 = position[last]
    return first
