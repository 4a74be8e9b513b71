"""The codec for a number of bytes: all logits where they fit, else the unbiased target of least variance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from logitcache.config.option import option
from logitcache.targets.codec import Codec
from logitcache.targets.dense import DenseCodec
from logitcache.targets.varopt import VarOpt, within

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Auto:
    """A codec that is chosen when a sample of the teacher's vectors is there. What is exact goes first; of the rest,
    ``varopt`` varies least for its bytes, and top-k is biased however many it has.
    """

    kind: ClassVar[str] = "auto"
    is_calibrated: ClassVar[bool] = False
    width: int
    bytes: float = option(help="Bytes of a position, on average at most.", minimum=8)

    def calibrated(self, vectors: Iterable[Tensor]) -> Codec:
        """The codec of these bytes."""
        dense = DenseCodec(self.width)
        if dense.bytes_per_position() <= self.bytes:
            return dense
        return within(VarOpt(width=self.width, mean=1.0), self.bytes, vectors)
