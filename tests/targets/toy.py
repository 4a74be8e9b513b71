"""A codec as somebody else would write one: the most probable word and its probability, in single
precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from logitcache.payloads import Array, Sparse
from logitcache.targets.codec import Kept, Stored
from logitcache.targets.sparse import SparseCodec

if TYPE_CHECKING:
    from torch import Tensor

    from logitcache.targets.draws import Draw


@dataclass(frozen=True, kw_only=True)
class Top(SparseCodec):
    """Stores one word of each position."""

    kind: ClassVar[str] = "toy"

    def columns(self) -> tuple[Stored, ...]:
        return (self.ids_column(), Stored("prob", "float32"), Stored("entropy", "float16"))

    def reduce(self, vectors: Tensor, draw: Draw) -> Kept:
        p, entropy = self.distribution(vectors, draw)
        prob, ids = p.max(1)
        return {"ids": ids.int(), "prob": prob, "entropy": entropy}

    def unpack(self, columns: Mapping[str, Array], assets: Mapping[str, Array]) -> Sparse[Array]:
        prob, entropy = columns["prob"][:, None], columns["entropy"].astype(np.float32)
        return Sparse(
            columns["ids"][:, None].astype(np.int64), prob, np.zeros_like(entropy), entropy
        )
