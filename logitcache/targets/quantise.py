"""Probabilities in few bits, rounded up or down at random so that the expectation is the value.

With ``x`` between two neighbours ``low <= x <= high`` of a grid, ``high`` is taken with probability
``(x - low) / (high - low)``. Then ``E[stored] = x`` exactly, whatever the grid; the variance is
``(x - low) (high - x)``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from logitcache.records import Array, Float32

if TYPE_CHECKING:
    from torch import Tensor

CODES = 256


def to_half(values: Tensor, uniform: Tensor) -> Tensor:
    """f16 of values f32[...] from 0 to 65,504, rounded by ``uniform`` f64[...] in [0, 1)."""
    import torch

    nearest = values.half()
    # the bits of positive halves are in the order of their values
    is_above = nearest.float() > values
    below = nearest.view(torch.int16) - is_above.short()
    low = below.view(torch.float16).double()
    high = (below + 1).view(torch.float16).double()
    goes_up = uniform < (values.double() - low) / (high - low)
    return (below + goes_up.short()).view(torch.float16)


@cache
def grid(smallest: float) -> Float32:
    """The 256 values of a byte: 0, and equal ratios from ``smallest`` to 1. f32[256], ascending."""
    ratios = np.linspace(np.log(smallest), 0.0, CODES - 1)
    return np.concatenate([[0.0], np.exp(ratios)]).astype(np.float32)


def to_byte(values: Tensor, smallest: float, uniform: Tensor) -> Tensor:
    """u8 codes of values f32[...] from 0 to 1 on :func:`grid`, rounded by ``uniform`` f64[...]."""
    import torch

    table = torch.from_numpy(grid(smallest)).to(values.device)
    below = torch.bucketize(values.contiguous(), table, right=True).clamp_(1, CODES - 1) - 1
    low = table[below].double()
    high = table[below + 1].double()
    goes_up = uniform < (values.double() - low) / (high - low)
    return (below + goes_up).to(torch.uint8)


def from_byte(codes: Array, smallest: float) -> Float32:
    """The values of u8 codes: f32 of their shape."""
    return grid(smallest)[codes]
