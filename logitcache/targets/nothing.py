"""The codec of a cache without logits: one that keeps signals alone (``--signal`` without
``logits``). Its positions and their labels are stored all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from logitcache.errors import FormatError, SpecError
from logitcache.payloads import Array, Payload
from logitcache.targets.codec import FixedCodec, Kept

if TYPE_CHECKING:
    from torch import Tensor

    from logitcache.targets.draws import Draw


@dataclass(frozen=True, kw_only=True)
class NoLogits(FixedCodec):
    """Stores no column of logits f[P, width]."""

    kind: ClassVar[str] = "none"
    width: int

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> NoLogits:
        """The codec a manifest records. Raises FormatError where its fields are not a codec's."""
        width = value.get("width")
        if set(value) != {"kind", "width"} or type(width) is not int or width < 1:
            raise FormatError(f"none codec: expected a width, found {dict(value)}.")
        return cls(width=width)

    @property
    def temperatures(self) -> tuple[float, ...]:
        return ()

    def reduce(self, vectors: Tensor, draw: Draw) -> Kept:
        return {}

    def unpack(self, columns: Mapping[str, Array], assets: Mapping[str, Array]) -> Payload[Array]:
        """Raises SpecError: no logits were stored."""
        raise SpecError(
            expected="a cache of logits",
            found="one of vectors alone",
            advice="Dump with --signal logits too.",
        )
