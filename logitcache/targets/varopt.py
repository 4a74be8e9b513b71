"""VarOpt: the unbiased sparse target of the least variance for its number of entries.

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
Cost: two passes over V numbers, and a look into the blocks of words that are taken
(:mod:`logitcache.targets.blocks`).
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
from logitcache.targets.blocks import interval_at, largest, sums, word_at
from logitcache.targets.codec import Kept, Stored, filled
from logitcache.targets.ids import bytes_to_ids
from logitcache.targets.quantise import from_byte, to_byte
from logitcache.targets.sparse import MOST_ENTRIES, VALUES, WORDS, SparseCodec, check_sample

if TYPE_CHECKING:
    from torch import Tensor

    from logitcache.targets.draws import Draw

HALVINGS = 60  # of the interval that c is looked for in
# The most probable words of a position, which are evaluated exactly. No more can have c p >= 1, since
# a position has at most MOST_ENTRIES entries.
WATCHED = MOST_ENTRIES + 1
NEARLY = 1e-6  # below a whole number of expected entries: rounding must not make one more


@dataclass(frozen=True)
class Drawn:
    """What was drawn of P positions, at most M words each. The certain words come first."""

    c: Tensor  # f32[P]
    certain: Tensor  # i64[P] number of leading ids kept with probability 1 (value p)
    entries: Tensor  # i64[P] number of ids drawn, certain ones included
    ids: Tensor  # i64[P, M]
    value: Tensor  # f32[P, M] the probabilities of the certain words, and others behind them


@dataclass(frozen=True, kw_only=True)
class VarOpt(SparseCodec):
    """Stores ``mean`` words of a position on average; ``cap`` is the most that one position has."""

    kind: ClassVar[str] = "varopt"
    mean: float = option(help="Entries of a position on average.", minimum=1, maximum=MOST_ENTRIES)
    cap: int = option(MOST_ENTRIES, "Most entries of a position.", minimum=1, maximum=MOST_ENTRIES)
    c: float | None = None  # once calibrated
    # entries of a position on average that have a value of their own, once calibrated
    values: float | None = None

    def check(self) -> None:
        limit = min(self.width, self.cap)
        if self.mean > limit:
            raise SpecError(
                expected=f"at most {limit}, the smaller of vocabulary size and cap",
                found=self.mean,
                where="--codec varopt: mean",
            )
        if (self.c is None) != (self.values is None):
            raise SpecError("varopt: expected c and values, or neither, found one of them.")
        if self.c is not None and not 1 <= self.c < math.inf:
            raise SpecError(expected="a number from 1", found=self.c, where="--codec varopt: c")

    @property
    def is_capped(self) -> bool:
        """Whether some position may have a smaller c of its own, which is stored then."""
        assert self.c is not None
        return math.ceil(self.c) + 1 > self.cap

    @property
    def most(self) -> int:
        """A position's entries: at most c words have c p >= 1, and all pi add up to c at most."""
        assert self.c is not None
        return min(math.ceil(self.c) + 1, self.cap, self.width)

    def columns(self) -> tuple[Stored, ...]:
        columns = [
            Stored("entries", "uint8"),
            Stored("kept", "uint8"),
            Stored("entropy", "float16"),
        ]
        if self.is_capped:
            columns.append(Stored("own_c", "float32"))
        columns.append(self.ids_column("entries"))
        columns.append(Stored("value", "uint8", 0, "kept"))
        return tuple(columns)

    def entries_per_position(self) -> Mapping[str, float]:
        assert self.values is not None
        return {"entries": self.mean, "kept": self.values}

    @property
    def is_calibrated(self) -> bool:
        return self.c is not None

    def calibrated(self, vectors: Iterable[Tensor]) -> VarOpt:
        """With the c that gives ``mean`` entries on average, by halving: it is monotonic."""
        curve = Curve.of(self, vectors)
        low = 1.0
        high = 2.0
        while high < 2.0**40 and curve.entries(high) < self.mean:
            low = high
            high = 2 * high
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            if curve.entries(middle) < self.mean:
                low = middle
            else:
                high = middle
        return replace(curve.codec(float(np.float32(high))), mean=self.mean)

    def reduce(self, vectors: Tensor, draw: Draw) -> Kept:
        import torch

        p, entropy = self.distribution(vectors, draw)
        drawn = self.drawn(p, draw.uniform(WORDS, 1))
        rounding = draw.uniform(VALUES, self.most)
        stored = {
            "entries": drawn.entries.to(torch.uint8),
            "kept": drawn.certain.to(torch.uint8),
            "entropy": entropy,
            "ids": drawn.ids.int(),
            "value": to_byte(drawn.value, self.smallest, rounding),
        }
        if self.is_capped:
            stored["own_c"] = drawn.c
        return stored

    def drawn(self, p: Tensor, u: Tensor) -> Drawn:
        """The words kept of probabilities f32[P, V], by one uniform number each, f64[P, 1]. ``p`` is
        overwritten.

        Intervals lie end to end: the pi of the ``most`` most probable words, 0 for a certain one,
        then the summed pi of the other words of each block. A slot holds one entry: the first ones
        a certain word each, the next the word that its point falls on.
        """
        import torch

        top, top_ids = largest(p, self.most)
        c = self.own_c(p, top)
        factor = c[:, None].double()
        pi_top = top.double() * factor
        is_certain = pi_top >= 1
        certain = is_certain.sum(1)
        other_words = p.scatter_(1, top_ids, 0.0)  # a copy would be the most that a draw costs
        pi_uncertain = torch.where(is_certain, 0.0, pi_top)
        pi_blocks = sums(other_words) * factor
        lengths = torch.cat([pi_uncertain, pi_blocks], 1)
        ends = lengths.cumsum(1)

        slot = torch.arange(self.most, device=p.device)
        takes_certain = slot < certain[:, None]
        points = u + (slot - certain[:, None])
        interval, distance = interval_at(lengths, ends, points)
        block = (interval - self.most).clamp(min=0)
        from_block = word_at(other_words, block, distance / factor)
        interval = torch.where(takes_certain, slot, interval)
        from_top = top_ids.gather(1, interval.clamp(max=self.most - 1))
        ids = torch.where(interval < self.most, from_top, from_block)

        is_entry = (points < ends[:, -1:]) & ~takes_certain
        return Drawn(c, certain, certain + is_entry.sum(1), ids, top)

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
        top = top.double()
        before = torch.zeros_like(top)
        before[:, 1:] = top.cumsum(1)[:, :-1]
        total = p.sum(1, keepdim=True, dtype=torch.float64)
        candidate = room / (total - before).clamp(min=1e-300)
        is_below = candidate * top < 1
        first = is_below.int().argmax(1, keepdim=True)
        return torch.minimum(c, candidate.gather(1, first)[:, 0].float())

    @property
    def smallest(self) -> float:
        """The least probability that has a value of its own."""
        assert self.c is not None
        return 1 / self.c

    def unpack(self, columns: Mapping[str, Array], assets: Mapping[str, Array]) -> Sparse[Array]:
        entropy = columns["entropy"].astype(np.float32)
        entries = columns["entries"]
        certain = columns["kept"]
        ids = filled(bytes_to_ids(columns["ids"], self.width), entries)
        slot = np.arange(ids.shape[1])
        c = np.full(len(entries), self.c, np.float32)
        if self.is_capped:
            c = columns["own_c"]
        is_entry = slot < entries[:, None]
        prob = np.where(is_entry, 1 / c[:, None], 0).astype(np.float32)
        value = filled(from_byte(columns["value"], self.smallest), certain)
        with_value = slice(0, value.shape[1])
        has_value = slot[with_value] < certain[:, None]
        prob[:, with_value] = np.where(has_value, value, prob[:, with_value])
        zero_rest = np.zeros_like(entropy)
        return Sparse(ids, prob, zero_rest, entropy, self.temperature, is_drawn=True)


@dataclass(frozen=True)
class Curve:
    """Mean number of entries of a position as a function of c: the sum of min(1, c p) over words. The
    ``WATCHED`` most probable words of each position are evaluated exactly, the others as one sum.
    """

    uncalibrated: VarOpt
    positions: int
    p: Array  # f64[n] of the watched words of all positions, in rising order
    reached: Array  # f64[n + 1] their sums
    behind: float  # the probability of all others

    @classmethod
    def of(cls, codec: VarOpt, vectors: Iterable[Tensor]) -> Curve:
        """From vectors f[P, V]. Raises SpecError where there is no position."""
        tops = []
        total = 0.0
        for part in vectors:
            p = codec.probabilities(part)
            tops.append(largest(p, min(WATCHED, codec.width))[0].cpu().numpy())
            total += float(sums(p).sum())
        positions = sum(map(len, tops))
        check_sample(positions)
        watched = np.sort(np.concatenate(tops).ravel()).astype(np.float64)
        reached = np.concatenate([[0.0], watched.cumsum()])
        return cls(codec, positions, watched, reached, max(0.0, total - reached[-1]))

    def certain(self, c: float) -> int:
        """Words with c p >= 1, of all positions."""
        return len(self.p) - int(np.searchsorted(self.p, 1 / c))

    def entries(self, c: float) -> float:
        """Mean number of entries of a position."""
        certain = self.certain(c)
        uncertain = self.reached[len(self.p) - certain] + self.behind
        return float(certain + c * uncertain) / self.positions

    def codec(self, c: float) -> VarOpt:
        """The codec calibrated to this c."""
        mean = max(1.0, self.entries(c))
        return replace(self.uncalibrated, mean=mean, c=c, values=self.certain(c) / self.positions)


def within(codec: VarOpt, limit: float, vectors: Iterable[Tensor]) -> VarOpt:
    """The codec of the most entries within ``limit`` mean bytes, from vectors f[P, V] each."""
    curve = Curve.of(codec, vectors)
    low = 1.0
    high = float(codec.cap - 1)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if curve.codec(middle).bytes_per_position() <= limit:
            low = middle
        else:
            high = middle
    below = np.nextafter(np.float32(low), np.float32(0))  # a single-precision number is recorded
    return curve.codec(max(1.0, float(below)))
