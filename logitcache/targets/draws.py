"""Random numbers of positions: each is a pure function of the position's key and a counter.

The keys come from ``logitcache.data.order.position_keys``, which hashes (seed, purpose, row, view,
position). Here splitmix64's finaliser goes on from them, on whatever device the vectors are:
integer arithmetic, so the numbers are the same on all of them, in any batch, in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)
_ROUNDS = ((30, 0xBF58476D1CE4E5B9 - (1 << 64)), (27, 0x94D049BB133111EB - (1 << 64)))
_STREAM_BITS = 32  # more numbers than one purpose takes at a position


def _shifted(values: Tensor, bits: int) -> Tensor:
    """A logical shift to the right of i64: torch's own keeps the sign."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


@dataclass(frozen=True)
class Draw:
    """The random numbers of P positions. ``key`` i64[P], on the device of the vectors."""

    key: Tensor

    def uniform(self, stream: int, count: int) -> Tensor:
        """``count`` numbers for each position in independent streams, f64[P, count] in [0, 1)."""
        import torch

        counter = torch.arange(count, device=self.key.device) + ((stream << _STREAM_BITS) + 1)
        mixed = self.key[:, None] + counter * _GAMMA  # int64 wraps around, as the hash has it
        for bits, factor in _ROUNDS:
            mixed = (mixed ^ _shifted(mixed, bits)) * factor
        mixed = mixed ^ _shifted(mixed, 31)
        return _shifted(mixed, 11).double() * 2.0**-53

    def select(self, index: slice) -> Draw:
        """The draws of some of the positions."""
        return Draw(self.key[index])
