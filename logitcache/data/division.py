"""Rows that are held out of training where the user gave none: some of each class, chosen by their
texts.

The split of a row depends on the hashes and labels of the table alone, not on the order of its
rows. Equal texts stay together, whatever their labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.data.order import counter_hash
from logitcache.data.spool import BLOCK_ROWS
from logitcache.records import Int64

SHARE = 10  # one row in so many of a class goes to each held-out split
FEWEST = 10  # labelled rows of a class, below which none of it is held out
# times a class's share of a split: a text that alone has more rows than that stays in train
BIG = 2
RULE = f"by content, one row in {SHARE} of each class for each split, equal texts together"


@dataclass(frozen=True)
class Division:
    """Held-out splits that are selections of the training table."""

    rule: str  # in words
    held_out: dict[str, int]  # rows of each split; empty where there were too few to hold any out
    seed: int | None = None  # of a preset whose splits are drawn from one table
    is_given: bool = False  # by a column of the table: nobody chose the rows

    def to_dict(self) -> dict[str, Any] | None:
        """As ``run.json`` and ``result.json`` record it; None where the rows of each split were
        given.
        """
        return None if self.is_given else {"rule": self.rule, "held_out": self.held_out}


@dataclass(frozen=True)
class SharedTexts:
    """Texts of a held-out split that are trained on too."""

    rows: int  # labelled rows of the split whose text is in train
    of: int  # labelled rows of the split
    first: int  # the row_id of the first such row


def divide(
    row_hash: Int64, label: Int64, names: Sequence[str], classes: int = 2
) -> dict[str, Int64]:
    """The places of the labelled rows that each of ``names`` holds out, ascending. Empty where
    fewer than ``classes`` classes have enough rows.

    The steps: a text counts for the rarest of its labels. The texts of a class are put in the order
    of a counter hash of their own hash, and each split takes them from the front until it has its
    share of the class's rows, so it has at most one text's rows too many. Cost: one sort of the
    labelled rows. ``row_hash`` i64[N]; ``label`` i64[N], -1 where there is none.
    """
    labelled = np.flatnonzero(label >= 0)
    hashes, text = np.unique(row_hash[labelled], return_inverse=True)
    size = np.bincount(text, minlength=len(hashes))  # rows of each text
    rank = _rarity(label[labelled])  # class of each row
    stratum = _rarest(rank, text, len(hashes))  # class of each text
    classes_of_labels = int(rank.max(initial=-1)) + 1
    rows = np.bincount(stratum, size, classes_of_labels).astype(np.int64)  # of each class
    # a text of many labels that stays in train counts for each of them
    stays = size > BIG * _share(np.bincount(rank))[stratum]
    counted = np.where(stays[text], rank, stratum[text])
    share = _share(np.bincount(counted, minlength=len(rows)))
    is_big = size > BIG * share[stratum]
    order = np.lexsort((counter_hash(0, "held out", hashes), is_big, stratum))  # of the texts
    stratum_in_order = stratum[order]
    rows_before_class = np.cumsum(rows) - rows
    start = np.cumsum(size[order]) - size[order] - rows_before_class[stratum_in_order]
    is_free = ~is_big[order]
    end = np.zeros(len(rows), np.int64)  # of each class, the rows that splits have got
    held_out = {}
    for name in names:
        is_chosen = is_free & (start < (end + share)[stratum_in_order])
        texts = order[is_chosen]
        if len(np.unique(stratum[texts])) < classes:
            return {}
        is_free &= ~is_chosen
        end += np.bincount(stratum[texts], size[texts], len(rows)).astype(np.int64)
        is_held_out = np.zeros(len(hashes), bool)
        is_held_out[texts] = True
        held_out[name] = labelled[is_held_out[text]]
    return held_out


def stand_in(row_hash: Int64, held_out: Int64) -> npt.NDArray[np.bool_]:
    """Which of these texts are held out: bool[N], in memory that grows with N alone."""
    hashes, text = np.unique(row_hash, return_inverse=True)
    if not len(hashes):
        return np.zeros(0, bool)
    is_among = np.zeros(len(hashes), bool)
    for start in range(0, len(held_out), BLOCK_ROWS):
        block = held_out[start : start + BLOCK_ROWS]
        nearest = np.minimum(np.searchsorted(hashes, block), len(hashes) - 1)
        is_among[nearest[hashes[nearest] == block]] = True
    return np.asarray(is_among[text])


def _share(rows: Int64) -> Int64:
    """The rows of each class that a split holds out, of so many."""
    return np.where(rows < FEWEST, 0, (rows + SHARE // 2) // SHARE)


def _rarity(label: Int64) -> Int64:
    """The class of each label, numbered by rarity: i64[N]."""
    _, classes, counts = np.unique(label, return_inverse=True, return_counts=True)
    rarity = np.empty(len(counts), np.int64)
    rarity[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    return np.asarray(rarity[classes])


def _rarest(rank: Int64, text: Int64, texts: int) -> Int64:
    """The rarest class among each text's labels: i64[texts]. ``rank`` i64[N] numbers classes by
    rarity; ``text`` i64[N] numbers the texts.
    """
    rarest = np.full(texts, np.iinfo(np.int64).max)
    np.minimum.at(rarest, text, rank)
    return rarest
