"""The codec for a number of bytes: all logits if they fit, else an unbiased sparse target."""

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

MARGIN = 0.02  # of the bytes, by which a codec of one sample may stay below them


@dataclass(frozen=True, kw_only=True)
class Auto:
    """A codec that is chosen by a sample of the teacher's vectors. What is exact goes first; of the
    rest, ``varopt`` varies least for its bytes, and top-k is biased however many it has.
    """

    kind: ClassVar[str] = "auto"
    is_calibrated: ClassVar[bool] = False
    width: int
    bytes: float = option(help="Bytes of a position, on average at most.", minimum=8)

    def allows(self, codec: Codec) -> bool:
        """Whether this codec, calibrated before, is one for these bytes."""
        if isinstance(codec, DenseCodec):
            return codec == DenseCodec(self.width) and codec.bytes_per_position() <= self.bytes
        usual = VarOpt(width=self.width, mean=1.0)
        if not isinstance(codec, VarOpt) or (codec.width, codec.cap) != (usual.width, usual.cap):
            return False
        if codec.temperature != usual.temperature or codec.c is None:
            return False
        # no other has more, or fewer
        is_bound = codec.c < 1 + MARGIN or codec.c > (codec.cap - 1) * (1 - MARGIN)
        size = codec.bytes_per_position()
        return is_bound or self.bytes * (1 - MARGIN) <= size <= self.bytes

    def calibrated(self, vectors: Iterable[Tensor]) -> Codec:
        """The codec of these bytes."""
        dense = DenseCodec(self.width)
        if dense.bytes_per_position() <= self.bytes:
            return dense
        return within(VarOpt(width=self.width, mean=1.0), self.bytes, vectors)
