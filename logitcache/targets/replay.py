"""Replay: the inputs of the teacher's last linear map, in its own dtype; the map is kept once.

The teacher's logits follow at any temperature, up to rounding, from d numbers in place of V.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from logitcache.errors import FormatError
from logitcache.payloads import Array, Head, Replay
from logitcache.targets.codec import FixedCodec, Kept, Stored, typed_fields

if TYPE_CHECKING:
    from torch import Tensor

    from logitcache.targets.draws import Draw

# numpy has no bfloat16: its bits
STORED = {"float32": "float32", "float16": "float16", "bfloat16": "uint16"}
WEIGHT, BIAS = "head_weight", "head_bias"


@dataclass(frozen=True, kw_only=True)
class ReplayCodec(FixedCodec):
    """Stores f[P, hidden] in ``dtype``. Calibration gives what it needs of the teacher's head."""

    kind: ClassVar[str] = "replay"
    width: int
    hidden: int | None = None
    dtype: str = "float32"
    scale: float = 1.0
    cap: float | None = None

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ReplayCodec:
        """The codec a manifest records. Raises FormatError where its fields are not a codec's."""
        cap = value.get("cap")
        kinds = {"width": int, "hidden": int, "dtype": str, "scale": float}
        recorded = typed_fields(value, {**kinds, "cap": float if cap is not None else type(None)})
        if (
            recorded is None
            or recorded["dtype"] not in STORED
            or min(recorded["width"], recorded["hidden"]) < 1
            or (cap is not None and not cap > 0)
        ):
            raise FormatError(
                f"replay codec: expected width, hidden, dtype, scale and cap, found {dict(value)}."
            )
        return cls(**recorded)

    @property
    def is_calibrated(self) -> bool:
        """It follows from the head: :func:`logitcache.teacher.replaying.replaying`."""
        return self.hidden is not None

    def columns(self) -> tuple[Stored, ...]:
        assert self.hidden is not None
        return (Stored("hidden", STORED[self.dtype], self.hidden),)

    def reduce(self, vectors: Tensor, draw: Draw) -> Kept:
        import torch

        own = vectors.to(getattr(torch, self.dtype))
        return {"hidden": own.view(torch.uint16) if self.dtype == "bfloat16" else own}

    def unpack(self, columns: Mapping[str, Array], assets: Mapping[str, Array]) -> Replay[Array]:
        return Replay(columns["hidden"], self.head(assets))

    def head(self, assets: Mapping[str, Array]) -> Head[Array]:
        """The teacher's last linear map, of the tensors that the cache keeps."""
        return _head(self, id(assets), assets)


# A head is one object, by which a device knows that it has it: also where batches are taken from
# several caches in turn.
_HEADS: dict[int, Head[Array]] = {}
MOST_HEADS = 4  # that are remembered


def _head(codec: ReplayCodec, key: int, assets: Mapping[str, Array]) -> Head[Array]:
    head = _HEADS.get(key)
    if head is None or head.weight is not assets[WEIGHT]:
        head = Head(assets[WEIGHT], assets.get(BIAS), codec.scale, codec.cap)
        if len(_HEADS) >= MOST_HEADS:
            _HEADS.pop(next(iter(_HEADS)))  # the oldest
        _HEADS[key] = head
    return head
