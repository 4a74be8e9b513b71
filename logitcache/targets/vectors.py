"""Vectors as they are (hidden states, attention inputs, pooled embeddings), in one or two bytes.

``float16`` has a relative error of at most 2^-11, ``bfloat16`` of 2^-8. ``int8`` stores ``round(x /
s)`` with ``s = max |x| / 127`` of each vector in single precision: an error of at most s / 2 of each
number. Hidden states with a few large numbers make s large, so its error is measured: a vector whose
relative error ``|x' - x| / |x|`` is above ``error`` does not fit, and the row is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from logitcache.config.option import option
from logitcache.errors import FormatError
from logitcache.payloads import Array, Vectors
from logitcache.targets.codec import FixedCodec, Kept, Stored, typed_fields

if TYPE_CHECKING:
    from torch import Tensor

    from logitcache.targets.draws import Draw

# numpy has no bfloat16 (its bits), and a store no signed bytes (128 is 0)
STORED = {"float16": "float16", "bfloat16": "uint16", "int8": "uint8"}
ZERO, LARGEST = 128, 127.0
ERROR = 0.05


@dataclass(frozen=True, kw_only=True)
class VectorCodec(FixedCodec):
    """Stores f[P, width] in ``dtype``."""

    kind: ClassVar[str] = "vectors"
    width: int
    dtype: str = option("float16", "Type of a stored number.", choices=tuple(STORED))
    error: float = option(ERROR, "Largest relative error of an int8 vector.", above=0, below=1)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> VectorCodec:
        """The codec a manifest records. Raises FormatError where its fields are not a codec's."""
        recorded = typed_fields(value, {"width": int, "dtype": str, "error": float})
        if (
            recorded is None
            or recorded["dtype"] not in STORED
            or recorded["width"] < 1
            or not 0 < recorded["error"] < 1
        ):
            raise FormatError(
                f"vectors codec: expected width, dtype and error, found {dict(value)}."
            )
        return cls(**recorded)

    def columns(self) -> tuple[Stored, ...]:
        vector = Stored("vector", STORED[self.dtype], self.width)
        return (vector, Stored("scale", "float32")) if self.dtype == "int8" else (vector,)

    def fits(self, vectors: Tensor) -> Tensor:
        """Which of f[P, width] can be stored: bool[P]. Of one that is not finite, no."""
        if self.dtype == "int8":
            return relative_error(self.restored(vectors), vectors) <= self.error
        import torch

        largest = torch.finfo(getattr(torch, self.dtype)).max
        return (vectors.abs() <= largest).all(1)

    def restored(self, vectors: Tensor) -> Tensor:
        """What will be read, f32[P, width]."""
        reduced = self.reduce(vectors)
        if "scale" in reduced:
            return (reduced["vector"].float() - ZERO) * reduced["scale"][:, None]
        return reduced["vector"].float()

    def reduce(self, vectors: Tensor, draw: Draw | None = None) -> Kept:
        import torch

        if self.dtype != "int8":
            return {"vector": vectors.to(getattr(torch, self.dtype))}
        values = vectors.float()
        scale = values.abs().amax(1) / LARGEST
        codes = values / torch.where(scale > 0, scale, 1.0)[:, None]
        return {"vector": codes.round_().add_(ZERO).to(torch.uint8), "scale": scale}

    def pack(self, reduced: Kept) -> dict[str, Array]:
        import torch

        if self.dtype == "bfloat16":
            reduced = {"vector": reduced["vector"].view(torch.uint16)}
        return super().pack(reduced)

    def unpack(self, columns: Mapping[str, Array], assets: Mapping[str, Array]) -> Vectors[Array]:
        """f16, the bits of bfloat16 as u16, or f32 of bytes: [P, width]."""
        vector = columns["vector"]
        if self.dtype != "int8":
            return Vectors(vector)
        values = vector.astype(np.float32)
        values -= ZERO
        values *= columns["scale"][:, None]
        return Vectors(values)


def relative_error(restored: Tensor, vectors: Tensor) -> Tensor:
    """``|x' - x| / |x|`` of each vector, f32[P]; 0 where both are 0."""
    import torch

    exact = vectors.float()
    # of the largest number: squares of very small ones are 0 in single precision
    largest = exact.abs().amax(1, keepdim=True)
    largest = torch.where(largest > 0, largest, 1.0)
    size = torch.linalg.vector_norm(exact / largest, dim=1)
    off = torch.linalg.vector_norm((restored - exact) / largest, dim=1)
    relative: Tensor = off / torch.where(size > 0, size, 1.0)
    return relative
