"""Top-k: the k most probable words with their probabilities, and the rest as one number.

Truncation is biased: the words behind the k-th have no probability of their own. What becomes of it
is the ``tail``: one outcome more (the loss is the KL divergence over k + 1 outcomes, zero at p = q
and never above the full one), nothing, an even spread, or the corpus's own distribution of words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from logitcache.config.option import option
from logitcache.errors import SpecError
from logitcache.payloads import Array, Sparse, Tail
from logitcache.targets.blocks import largest
from logitcache.targets.codec import Kept, Stored
from logitcache.targets.ids import bytes_to_ids, stored_as
from logitcache.targets.quantise import from_byte, to_byte, to_half
from logitcache.targets.sparse import REST, VALUES, SparseCodec

if TYPE_CHECKING:
    from torch import Tensor

    from logitcache.targets.draws import Draw

TAILS = {"bucket": Tail.BUCKET, "drop": Tail.NONE, "uniform": Tail.UNIFORM, "unigram": Tail.UNIGRAM}
SMALLEST = 2.0**-20  # of a probability in 8 bits, 0 apart
UNIGRAM = "unigram"


@dataclass(frozen=True, kw_only=True)
class TopK(SparseCodec):
    """Stores ``k`` words and probabilities, and the probability of all others."""

    kind: ClassVar[str] = "topk"
    k: int = option(help="Words kept at a position.", minimum=1, maximum=65536)
    tail: str = option(
        "bucket", "What becomes of the other words' probability.", choices=tuple(TAILS)
    )
    bits: str = option("16", "Bits of a stored probability.", choices=("8", "16"))

    def check(self) -> None:
        if self.k > self.width:
            raise SpecError(
                expected=f"at most {self.width} (the number of words, or of classes)",
                found=self.k,
                advice="Choose a smaller one; of a few classes keep all logits (--codec float16).",
                where="--codec topk: k",
            )

    @property
    def id_bytes(self) -> int:
        """Values of the column for one word: 3 where its bytes are stored one by one."""
        return max(1, stored_as(self.width)[1])

    def columns(self) -> tuple[Stored, ...]:
        ids = Stored("ids", stored_as(self.width)[0], self.k * self.id_bytes)
        prob = Stored("prob", "uint8" if self.bits == "8" else "float16", self.k)
        return (ids, prob, Stored("rest", "float16"), Stored("entropy", "float16"))

    def reduce(self, vectors: Tensor, draw: Draw) -> Kept:
        p, entropy = self.distribution(vectors, draw)
        prob, ids = largest(p, self.k)
        tail = (1 - prob.sum(1, dtype=prob.double().dtype)).clamp(min=0).float()
        if self.k == self.width:  # no word is left, whatever the roundings add up to
            tail.zero_()
        uniform = draw.uniform(VALUES, self.k)
        stored = to_byte(prob, SMALLEST, uniform) if self.bits == "8" else to_half(prob, uniform)
        return {
            "ids": ids.int(),
            "prob": stored,
            "rest": to_half(tail, draw.uniform(REST, 1)[:, 0]),
            "entropy": entropy,
        }

    def ids_as_stored(self, ids: Array) -> Array:
        return super().ids_as_stored(ids).reshape(len(ids), self.k * self.id_bytes)

    def unpack(self, columns: Mapping[str, Array], assets: Mapping[str, Array]) -> Sparse[Array]:
        ids = columns["ids"]
        prob = columns["prob"]
        if self.id_bytes > 1:
            ids = ids.reshape(len(ids), self.k, self.id_bytes)
        return Sparse(
            bytes_to_ids(ids, self.width),
            from_byte(prob, SMALLEST) if self.bits == "8" else prob.astype(np.float32),
            columns["rest"].astype(np.float32),
            columns["entropy"].astype(np.float32),
            self.temperature,
            TAILS[self.tail],
            assets[UNIGRAM] if self.tail == "unigram" else None,
        )
