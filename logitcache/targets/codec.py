"""The contract of a codec: vectors to columns and back, and how many bytes that takes.

A codec is a frozen dataclass recorded in the manifest; a reader takes no settings of its own. It knows nothing of
files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from logitcache.errors import FormatError
from logitcache.records import Array, Dense, Float32
from logitcache.targets.dense import DenseCodec


class Codec(Protocol):
    """``decode(encode(x))`` is x up to the loss the codec states. Columns are named, each of one fixed width."""

    @property
    def width(self) -> int:
        """Values of a vector."""

    def columns(self) -> dict[str, tuple[str, int]]:
        """Name, dtype and width of each stored column."""

    def encode(self, logits: Float32) -> dict[str, Array]:
        """f32[P, W] to columns of P rows."""

    def decode(self, columns: Mapping[str, Array]) -> Dense[Array]:
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
