"""Random Sampling KD (arXiv 2503.16870): n words drawn from the teacher with replacement.

The estimate of p(v) is (times that v was drawn) / n: unbiased, with variance p (1 - p) / n. Equal
draws are one entry with its count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from logitcache.config.option import option
from logitcache.payloads import Array, Sparse
from logitcache.targets.blocks import interval_at, sums, word_at
from logitcache.targets.codec import Kept, Stored, filled
from logitcache.targets.ids import bytes_to_ids
from logitcache.targets.sparse import MOST_ENTRIES, WORDS, SparseCodec, check_sample

if TYPE_CHECKING:
    from torch import Tensor

    from logitcache.targets.draws import Draw


@dataclass(frozen=True, kw_only=True)
class Sampled(SparseCodec):
    """Stores the distinct words of ``n`` draws with their counts."""

    kind: ClassVar[str] = "sampled"
    n: int = option(help="Draws from the teacher at a position.", minimum=1, maximum=MOST_ENTRIES)
    # words of a position on average, as a sample of the teacher's vectors has it
    distinct: float | None = None

    def columns(self) -> tuple[Stored, ...]:
        return (
            Stored("entries", "uint8"),
            Stored("entropy", "float16"),
            self.ids_column("entries"),
            Stored("drawn", "uint8", 0, "entries"),
        )

    def entries_per_position(self) -> Mapping[str, float]:
        return {"entries": self.n if self.distinct is None else self.distinct}

    @property
    def is_calibrated(self) -> bool:
        return self.distinct is not None

    def calibrated(self, vectors: Iterable[Tensor]) -> Self:
        """With the mean number of distinct words: sum of 1 - (1 - p)^n."""
        import torch

        positions = 0
        distinct = 0.0
        for part in vectors:
            p = self.probabilities(part)
            is_drawn = -(self.n * (-p).log1p()).expm1()
            distinct += float(is_drawn.sum(dtype=torch.float64))
            positions += len(part)
        check_sample(positions)
        return replace(self, distinct=distinct / positions)

    def reduce(self, vectors: Tensor, draw: Draw) -> Kept:
        import torch

        p, entropy = self.distribution(vectors, draw)
        lengths = sums(p)
        ends = lengths.cumsum(1)
        points = draw.uniform(WORDS, self.n) * ends[:, -1:]
        block, distance = interval_at(lengths, ends, points)
        words = word_at(p, block, distance).sort(1).values
        ones = torch.ones_like(words)
        is_new = ones.clone()
        is_new[:, 1:] = words[:, 1:] != words[:, :-1]
        entry = is_new.cumsum(1) - 1
        ids = torch.zeros_like(words).scatter_(1, entry, words)
        drawn = torch.zeros_like(words).scatter_add_(1, entry, ones)
        return {
            "entries": entry[:, -1].add(1).to(torch.uint8),
            "entropy": entropy,
            "ids": ids.int(),
            "drawn": drawn.to(torch.uint8),
        }

    def unpack(self, columns: Mapping[str, Array], assets: Mapping[str, Array]) -> Sparse[Array]:
        entries = columns["entries"]
        entropy = columns["entropy"].astype(np.float32)
        ids = filled(bytes_to_ids(columns["ids"], self.width), entries)
        share = columns["drawn"].astype(np.float32) / np.float32(self.n)
        prob = filled(share, entries)
        zero_rest = np.zeros_like(entropy)
        return Sparse(ids, prob, zero_rest, entropy, self.temperature, is_drawn=True)
