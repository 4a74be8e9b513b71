"""What sparse codecs share: one temperature, entropy beside entries, word numbers in few bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from logitcache.config.option import checked, option, options_of
from logitcache.errors import FormatError, SpecError
from logitcache.payloads import Array
from logitcache.targets.codec import FixedCodec, Kept, Stored, without_filling
from logitcache.targets.ids import LONGEST, ids_to_bytes, stored_as
from logitcache.targets.quantise import to_half

if TYPE_CHECKING:
    from torch import Tensor

    from logitcache.targets.draws import Draw

# Streams of random numbers at one position.
WORDS, VALUES, ENTROPY, REST = range(4)
MOST_ENTRIES = np.iinfo(np.uint8).max  # of a position: a count is a byte


@dataclass(frozen=True, kw_only=True)
class SparseCodec(FixedCodec):
    """Stores some words of each position with probabilities at one temperature, and the entropy."""

    kind: ClassVar[str]
    width: int
    temperature: float = option(
        1.0, "Temperature that the teacher's logits are divided by.", above=0, maximum=1000
    )

    def __post_init__(self) -> None:
        if type(self.width) is not int or not 1 <= self.width <= LONGEST:
            raise SpecError(
                f"{self.kind}: expected a width from 1 to {LONGEST:,}, found {self.width!r}."
            )
        for declared in options_of(type(self)):
            object.__setattr__(self, declared.path[-1], checked(declared, declared.value_in(self)))
        self.check()

    def check(self) -> None:
        """Raises SpecError for settings that do not fit the width."""

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The codec a manifest records. Raises FormatError where its fields are not a codec's."""
        recorded = {name: entry for name, entry in value.items() if name != "kind"}
        names = {entry.name for entry in fields(cls)}
        if set(recorded) != names:
            expected = ", ".join(sorted(names))
            raise FormatError(
                f"{cls.kind} codec: expected the fields {expected}, found {', '.join(sorted(recorded))}."
            )
        try:
            return cls(**recorded)
        except (SpecError, TypeError) as error:
            raise FormatError(f"{cls.kind} codec: {error}") from None

    @property
    def temperatures(self) -> tuple[float, ...]:
        return (self.temperature,)

    def ids_column(self, count: str = "") -> Stored:
        """The column of one word at each entry."""
        dtype, width = stored_as(self.width)
        return Stored("ids", dtype, width, count)

    def probabilities(self, vectors: Tensor) -> Tensor:
        """softmax(vectors / temperature): f32[P, V]."""
        scaled = vectors.float() if self.temperature == 1.0 else vectors.float() / self.temperature
        return scaled.softmax(1)

    def distribution(self, vectors: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """softmax(vectors / temperature), f32[P, V], and its entropy in nats, rounded at random:
        f16[P]. With the logits' largest one taken off, entropy = log(sum of exp) - sum of p z, and
        the largest p is 1 / sum of exp.
        """
        import torch

        scaled = vectors.float() if self.temperature == 1.0 else vectors.float() / self.temperature
        scaled = scaled - scaled.amax(1, keepdim=True)
        p = scaled.softmax(1)
        nats = -p.amax(1).log() - torch.linalg.vecdot(p, scaled)
        return p, to_half(nats.clamp(min=0), draw.uniform(ENTROPY, 1)[:, 0])

    def pack(self, reduced: Kept) -> dict[str, Array]:
        packed = without_filling(super().pack(reduced), self)  # type: ignore[arg-type]
        packed["ids"] = self.ids_as_stored(packed["ids"])
        return packed

    def ids_as_stored(self, ids: Array) -> Array:
        """Word numbers in the bytes of their column."""
        return ids_to_bytes(ids, self.width)


def check_sample(positions: int) -> None:
    """Raises SpecError where a codec is to be calibrated on a sample without a position."""
    if not positions:
        raise SpecError(
            expected="finite answers to calibrate the codec with",
            found="none",
            advice="Try --dtype float32, or check the teacher's weights for NaN or infinite values.",
            where="--codec",
        )
