"""The contract of a codec: vectors to columns and back, and how many bytes that takes.

A codec is a frozen dataclass recorded in the manifest; a reader takes no settings of its own. It knows nothing of
files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from logitcache.errors import FormatError
from logitcache.records import Array, Dense, Float32
from logitcache.targets.dense import DenseCodec, Kept

if TYPE_CHECKING:
    from torch import Tensor


class Codec(Protocol):
    """``unpack(pack(reduce(x)))`` is x up to the loss the codec states. Columns are named, each of one fixed width."""

    @property
    def width(self) -> int:
        """Values of a vector."""

    def columns(self) -> dict[str, tuple[str, int]]:
        """Name, dtype and width of each stored column."""

    @property
    def largest_gap(self) -> float:
        """How far below the largest of its vector a logit may be."""

    def reduce(self, vectors: Tensor) -> Kept:
        """f[P, W] to what is stored of it, on the same device: nothing waits for that."""

    def pack(self, kept: Kept) -> dict[str, Array]:
        """The columns of P rows. What lies on a device is waited for."""

    def encode(self, logits: Float32) -> dict[str, Array]:
        """The columns of f32[P, W]: both steps for numpy's arrays."""

    def unpack(self, columns: Mapping[str, Array]) -> Dense[Array]:
        """Columns of P rows to what the losses take."""

    def bytes_per_position(self) -> int: ...

    def to_dict(self) -> dict[str, Any]: ...


KINDS = {"dense": DenseCodec}


def codec_from_dict(value: Mapping[str, Any]) -> Codec:
    """The codec a manifest names. Raises FormatError for a kind that is not known here."""
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise FormatError(f"codec: expected one of {', '.join(KINDS)}, found {kind!r}. A newer logitcache may know it.")
    return KINDS[kind].from_dict(value)
