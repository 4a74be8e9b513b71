"""The dense codec: every logit of a row, minus the row's maximum, in half or single precision.

Subtracting the maximum changes no probability at any temperature and puts the precision where the
probability is: decoded with a single-precision log-softmax, half precision costs a KL of about 4e-7
nats (raw halves: 1.7e-6, and 4e-5 at an offset of +40).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from logitcache.config.option import option
from logitcache.errors import FormatError, SpecError
from logitcache.records import Array, Dense, Float32
from logitcache.targets.codec import FixedCodec, Kept, Stored

if TYPE_CHECKING:
    from torch import Tensor

    from logitcache.targets.draws import Draw

NO_ASSETS: Mapping[str, Array] = MappingProxyType({})
DTYPES = ("float16", "float32")
_MANY = 16_384
_SHIFT, _KEEP = np.array(13, np.int32), np.array(0x8FFFE000, np.uint32).view(np.int32)
_SCALE = np.array(2.0**112, np.float32)  # the difference of the two exponents' biases


@dataclass(frozen=True)
class DenseCodec(FixedCodec):
    """Stores f[P, width] as one column ``logits`` of ``dtype``. Exact at every temperature."""

    kind: ClassVar[str] = "dense"
    width: int
    dtype: str = option("float16", "Floating-point type of a stored logit.", choices=DTYPES)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise SpecError(
                f"dense codec: expected a dtype among {', '.join(DTYPES)}, found {self.dtype!r}."
            )
        if self.width < 1:
            raise SpecError(f"dense codec: expected a width of at least 1, found {self.width}.")

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> DenseCodec:
        """The codec a manifest records. Raises FormatError where its fields are not a codec's."""
        width = value.get("width")
        dtype = value.get("dtype")
        if type(width) is not int or width < 1 or dtype not in DTYPES:
            raise FormatError(
                f"dense codec: expected a width and a dtype among {', '.join(DTYPES)}, found {dict(value)}."
            )
        return cls(width, str(dtype))

    def columns(self) -> tuple[Stored, ...]:
        return (Stored("logits", self.dtype, self.width),)

    @property
    def largest_gap(self) -> float:
        """How far below the largest of its vector a logit may be."""
        return float(np.finfo(self.dtype).max)

    def reduce(self, vectors: Tensor, draw: Draw | None = None) -> Kept:
        """f32[P, width] to ``{"logits": dtype[P, width]}`` on the same device. A gap too wide for
        half precision is stored as its largest finite one.

        That gap (65,504) is a probability of exactly 0 in a loss, at every temperature below 600.
        """
        import torch

        # a gap beyond single precision is -inf for a moment
        shifted = vectors - vectors.amax(dim=1, keepdim=True)
        return {"logits": shifted.clamp_(min=-self.largest_gap).to(getattr(torch, self.dtype))}

    def encode(self, logits: Float32) -> dict[str, Array]:
        """``reduce`` and ``pack`` for numpy's arrays; the same bytes, without torch."""
        # as in ``reduce``; a vector that is not finite stays so
        with np.errstate(over="ignore", invalid="ignore"):
            shifted = logits - logits.max(axis=1, keepdims=True)
            return {"logits": np.maximum(shifted, np.float32(-self.largest_gap)).astype(self.dtype)}

    def unpack(
        self, columns: Mapping[str, Array], assets: Mapping[str, Array] = NO_ASSETS
    ) -> Dense[Array]:
        """``logits`` as f32[P, width], row maximum 0."""
        return Dense(_single(columns["logits"]))


def _single(values: Array) -> Float32:
    """As single precision. Many halves by shifting bits, three times as fast as numpy."""
    if values.dtype != np.float16 or values.size < _MANY:
        return values.astype(np.float32)
    bits = values.view(np.int16).astype(np.int32)  # the sign is carried along
    bits <<= _SHIFT
    bits &= _KEEP
    result = bits.view(np.float32)
    result *= _SCALE
    finite = result.max() < 65536 and result.min() > -65536  # infinities and NaN have no such scale
    return result if finite else values.astype(np.float32)
