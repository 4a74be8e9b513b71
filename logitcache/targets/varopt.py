"""VarOpt: the unbiased sparse target whose summed variance is least for its expected number of
entries.

Word v is kept with probability ``pi = min(1, c p)`` and is then worth ``p / pi``: p itself where c
p >= 1, and 1 / c for every other word, so that the entry of such a word is its number alone. Among
all estimates with E[estimate] = p and the same expected number of entries this has the least sum of
variances (Cohen et al. 2009, "Stream sampling for variance-optimal estimation of subset sums");
single words may vary more than under another. ``c`` is one number for the whole cache, so a
position has the entries that its distribution needs. The estimates of a position add up to 1 in
expectation only and must never be renormalised.

Steps for one position: (1) the words with c p >= 1, which are at most c many, are kept; (2) the pi
of the others are laid end to end, the most probable first, then the rest by number; (3) of the
points u, u + 1, u + 2, … with one uniform u each takes the word it falls on (systematic sampling).
Cost: one partial sort and one cumulative sum of V numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from logitcache.config.option import option
from logitcache.errors import SpecError
from logitcache.payloads import Array, Sparse
from logitcache.targets.codec import Kept, Stored, filled
from logitcache.targets.ids import bytes_to_ids
from logitcache.targets.quantise import from_byte, to_byte
from logitcache.targets.sparse import MOST_ENTRIES, VALUES, WORDS, SparseCodec

if TYPE_CHECKING:
    from torch import Tensor

    from logitcache.targets.draws import Draw

HALVINGS = 60  # of the interval that c is looked for in
WATCHED = 2048  # words of a position whose c p is looked at one by one
NEARLY = 1e-6  # below a whole number of expected entries: rounding must not make one more


@dataclass(frozen=True, kw_only=True)
class VarOpt(SparseCodec):
    """Stores ``mean`` words of a position on average; ``cap`` is the most that one position has."""

    kind: ClassVar[str] = "varopt"
    mean: float = option(help="Entries of a position on average.", minimum=1, maximum=MOST_ENTRIES)
    cap: int = option(MOST_ENTRIES, "Most entries of a position.", minimum=1, maximum=MOST_ENTRIES)
    c: float | None = None  # once calibrated
    values: float | None = (
        None  # entries of a position on average that have a value of their own, once calibrated
    )

    def check(self) -> None:
        if self.mean > min(self.width, self.cap):
            limit = f"at most {min(self.width, self.cap)} (words, and the cap)"
            raise SpecError(expected=limit, found=self.mean, where="varopt: mean")
        if (self.c is None) != (self.values is None):
            raise SpecError("varopt: expected c and values, or neither, found one of them.")
        if self.c is not None and not 1 <= self.c < math.inf:
            raise SpecError(expected="a number from 1", found=self.c, where="varopt: c")

    @property
    def is_capped(self) -> bool:
        """Whether some position may have a smaller c of its own, which is stored then."""
        assert self.c is not None
        return math.ceil(self.c) + 1 > self.cap

    @property
    def most(self) -> int:
        """Entries of one position: at most c words have c p >= 1, and the pi of all add up to c at
        most.
        """
        assert self.c is not None
        return min(math.ceil(self.c) + 1, self.cap, self.width)

    def columns(self) -> tuple[Stored, ...]:
        own = (Stored("own_c", "float32"),) if self.is_capped else ()
        positions = (
            Stored("entries", "uint8"),
            Stored("kept", "uint8"),
            Stored("entropy", "float16"),
            *own,
        )
        return (*positions, self.ids_column("entries"), Stored("value", "uint8", 0, "kept"))

    def bytes_per_position(self) -> float:
        assert self.values is not None
        positions = sum(column.bytes for column in self.columns() if not column.count)
        return positions + self.mean * self.ids_column().bytes + self.values

    @property
    def is_calibrated(self) -> bool:
        return self.c is not None

    def calibrated(self, vectors: Iterable[Tensor]) -> VarOpt:
        """With the c that gives ``mean`` entries on average: sum of min(1, c p) grows with c, so
        halving finds it. A word behind the ``WATCHED`` most probable ones has c p < 1 for every c
        in use, so only those are held.
        """
        p = [_watched(self.probabilities(part)) for part in vectors]
        positions = sum(len(part) for part in p)
        low, high = 1.0, 2.0
        while high < 2.0**40 and _entries(p, high) < self.mean * positions:
            low, high = high, high * 2
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            if _entries(p, middle) < self.mean * positions:
                low = middle
            else:
                high = middle
        return replace(_of(self, p, positions, float(np.float32(high))), mean=self.mean)

    def reduce(self, vectors: Tensor, draw: Draw) -> Kept:
        import torch

        p = self.probabilities(vectors)
        c, kept, entries, index, ids = self.drawn(p, draw.uniform(WORDS, 1))
        value = p.gather(1, ids)
        stored = {
            "entries": entries.to(torch.uint8),
            "kept": kept.to(torch.uint8),
            "entropy": self.entropy(p, draw),
            "ids": ids.int(),
            "value": to_byte(value, self.smallest, draw.uniform(VALUES, index.shape[1])),
        }
        return {**stored, "own_c": c} if self.is_capped else stored

    def drawn(self, p: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(c f32[P], words with a value of their own i64[P], entries i64[P], places of the entries
        in the order of the draw i64[P, M], words i64[P, M]) of probabilities f32[P, V] and one
        uniform number each, f64[P, 1].
        """
        import torch

        top, top_ids = p.topk(self.most, dim=1)
        c = self.own_c(p, top)
        pi_top = top.double() * c[:, None].double()
        kept = (pi_top >= 1).sum(1)
        others = p.double() * c[:, None].double()
        others.scatter_(1, top_ids, 0.0)
        pi = torch.cat([torch.where(pi_top >= 1, 0.0, pi_top), others], 1)
        reached = pi.cumsum(1)
        slot = torch.arange(self.most, device=p.device)
        points = u + (slot - kept[:, None])
        place = torch.searchsorted(reached, points, right=True).clamp(max=reached.shape[1] - 1)
        is_kept = slot < kept[:, None]
        place = torch.where(is_kept, slot, place)
        entries = kept + ((points < reached[:, -1:]) & ~is_kept).sum(1)
        from_top = top_ids.gather(1, place.clamp(max=self.most - 1))
        return c, kept, entries, place, torch.where(place < self.most, from_top, place - self.most)

    def own_c(self, p: Tensor, top: Tensor) -> Tensor:
        """The c of each position, f32[P]: the cache's, or the one that gives ``cap`` entries where
        that gives more.

        With the j most probable words kept, sum of min(1, c p) = j + c (1 - their probability), so
        c = (cap - j) / (1 - their probability); the right j is the first for which the next word
        has c p < 1.
        """
        import torch

        c = p.new_full((len(p),), float(self.c or 1))
        if not self.is_capped:
            return c
        room = self.cap - NEARLY - torch.arange(self.most, device=p.device)
        before = torch.nn.functional.pad(top.double().cumsum(1), (1, 0))[:, :-1]
        candidate = room / (p.sum(1, keepdim=True, dtype=torch.float64) - before).clamp(min=1e-300)
        first = (candidate * top.double() < 1).int().argmax(1, keepdim=True)
        return torch.minimum(c, candidate.gather(1, first)[:, 0].float())

    @property
    def smallest(self) -> float:
        """The least probability that has a value of its own."""
        assert self.c is not None
        return 1 / self.c

    def unpack(self, columns: Mapping[str, Array], assets: Mapping[str, Array]) -> Sparse[Array]:
        entropy = columns["entropy"].astype(np.float32)
        entries, kept = columns["entries"], columns["kept"]
        ids = filled(bytes_to_ids(columns["ids"], self.width), entries)
        c = columns["own_c"] if self.is_capped else np.full(len(entries), self.c, np.float32)
        slot = np.arange(ids.shape[1])
        prob = np.where(slot < entries[:, None], 1 / c[:, None], np.float32(0)).astype(np.float32)
        value = filled(from_byte(columns["value"], self.smallest), kept)
        prob[:, : value.shape[1]] = np.where(
            slot[: value.shape[1]] < kept[:, None], value, prob[:, : value.shape[1]]
        )
        return Sparse(ids, prob, np.zeros_like(entropy), entropy, self.temperature)


def within(codec: VarOpt, limit: float, vectors: Iterable[Tensor]) -> VarOpt:
    """The codec of the most entries whose positions take at most ``limit`` bytes on average, from
    vectors f[P, V] each.
    """
    p = [_watched(codec.probabilities(part)) for part in vectors]
    positions = sum(len(part) for part in p)
    low, high = 1.0, float(codec.cap - 1)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _of(codec, p, positions, middle).bytes_per_position() <= limit:
            low = middle
        else:
            high = middle
    below = np.nextafter(np.float32(low), np.float32(0))  # a single-precision number is recorded
    return _of(codec, p, positions, max(1.0, float(below)))


def _of(codec: VarOpt, p: list[Tensor], positions: int, c: float) -> VarOpt:
    """The codec of this c."""
    own_values = sum(int((part[:, :-1] * c >= 1).sum()) for part in p)
    return replace(
        codec, mean=max(1.0, _entries(p, c) / positions), c=c, values=own_values / positions
    )


def _watched(p: Tensor) -> Tensor:
    """The most probable words of each position, f64[P, WATCHED], and the sum of the others behind
    them.
    """
    import torch

    top = p.topk(min(WATCHED, p.shape[1]), dim=1).values.double()
    behind = (p.sum(1, dtype=torch.float64) - top.sum(1)).clamp(min=0)
    return torch.cat([top, behind[:, None]], 1)


def _entries(p: list[Tensor], c: float) -> float:
    """The expected entries of all positions: sum of min(1, c p)."""
    return sum(float((part[:, :-1] * c).clamp(max=1).sum() + part[:, -1].sum() * c) for part in p)
