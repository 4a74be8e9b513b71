"""Which rows are held out of training where nobody gave any: some of each class, chosen by their texts.

A row's part depends on the hashes and labels of the table alone, not on the order of its rows. Equal texts stay
together, whatever their labels.
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
BIG = 2  # times a class's share of a split: a text that alone has more rows than that stays in train
RULE = f"by content, one row in {SHARE} of each class for each split, equal texts together"


@dataclass(frozen=True)
class Division:
    """Held-out splits that are selections of the training table."""

    rule: str  # in words
    held_out: dict[str, int]  # rows of each split; empty where there were too few to hold any out
    seed: int | None = None  # of a preset whose splits are drawn from one table

    def to_dict(self) -> dict[str, Any]:
        """As ``run.json`` and ``result.json`` record it."""
        return {"rule": self.rule, "held_out": self.held_out}


def divide(row_hash: Int64, label: Int64, names: Sequence[str], classes: int = 2) -> dict[str, Int64]:
    """The places of the labelled rows that each of ``names`` holds out, ascending. Empty where fewer than ``classes``
    classes have enough rows.

    The steps: a text counts for the rarest of its labels. The texts of a class are put in the order of a counter hash
    of their own hash, and each split takes them from the front until it has its share of the class's rows, so it has
    at most one text's rows too many. Cost: one sort of the labelled rows. ``row_hash`` i64[N]; ``label`` i64[N], -1
    where there is none.
    """
    labelled = np.flatnonzero(label >= 0)
    texts, text = np.unique(row_hash[labelled], return_inverse=True)
    size = np.bincount(text, minlength=len(texts))
    stratum = _rarest(label[labelled], text, len(texts))
    rows = np.bincount(stratum, size).astype(np.int64)
    share = np.where(rows < FEWEST, 0, (rows + SHARE // 2) // SHARE)
    big = size > BIG * share[stratum]
    order = np.lexsort((counter_hash(0, "held out", texts), big, stratum))
    start = np.cumsum(size[order]) - size[order] - (np.cumsum(rows) - rows)[stratum[order]]
    part = np.full(len(texts), -1)
    taken = np.zeros(len(rows), np.int64)
    for number in range(len(names)):
        end = (taken + share)[stratum[order]]
        chosen = order[~big[order] & (part[order] < 0) & (start < end)]
        part[chosen] = number
        if len(np.unique(stratum[chosen])) < classes:
            return {}
        taken += np.bincount(stratum[chosen], size[chosen], len(rows)).astype(np.int64)
    return {name: labelled[part[text] == number] for number, name in enumerate(names)}


def stand_in(row_hash: Int64, others: Int64) -> npt.NDArray[np.bool_]:
    """Which of these texts stand among others: bool[N]. Memory grows with N alone, not with the others."""
    texts, text = np.unique(row_hash, return_inverse=True)
    is_there = np.zeros(len(texts), bool)
    for start in range(0, len(others) if len(texts) else 0, BLOCK_ROWS):
        block = others[start : start + BLOCK_ROWS]
        place = np.minimum(np.searchsorted(texts, block), len(texts) - 1)
        is_there[place[texts[place] == block]] = True
    return np.asarray(is_there[text])


def _rarest(label: Int64, text: Int64, texts: int) -> Int64:
    """The rarest class among each text's labels, numbered by rarity: i64[texts]. ``text`` i64[N] numbers the texts."""
    _, classes, counts = np.unique(label, return_inverse=True, return_counts=True)
    rarity = np.empty(len(counts), np.int64)
    rarity[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    found = np.full(texts, len(counts))
    np.minimum.at(found, text, rarity[classes])
    return found
