"""The contract of a codec: vectors to columns and back, and how many bytes that takes.

A codec is a frozen dataclass recorded in the manifest; a reader takes no settings of its own. It
knows nothing of files. One that keeps a varying number of entries at a position has columns of
*entries* beside those of positions; a column of positions counts them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeAlias

import numpy as np

from logitcache.errors import FormatError
from logitcache.payloads import Array, Payload

if TYPE_CHECKING:
    from torch import Tensor

    from logitcache.targets.draws import Draw

# the columns of a codec, on the device where they were computed
Kept: TypeAlias = "Mapping[str, Tensor]"


def typed_fields(value: Mapping[str, Any], kinds: Mapping[str, type]) -> dict[str, Any] | None:
    """The fields of a codec's record, without its kind; None where they are not these, each of its
    type.
    """
    fields = {name: entry for name, entry in value.items() if name != "kind"}
    if set(fields) != set(kinds):
        return None
    is_typed = all(type(fields[name]) is kind for name, kind in kinds.items())
    return fields if is_typed else None


@dataclass(frozen=True)
class Stored:
    """A column of a codec: ``width`` values of ``dtype`` for each position (0: one bare value).
    With ``count``, for each of as many entries as the column of positions of that name says.
    """

    name: str
    dtype: str
    width: int = 0
    count: str = ""

    @property
    def bytes(self) -> int:
        """Of one record."""
        return np.dtype(self.dtype).itemsize * max(1, self.width)


class Codec(Protocol):
    """``unpack(pack(reduce(x)))`` is x up to the loss the codec states, or an unbiased estimate of
    it. A codec is made of a width and of the settings that it declares as ``option(...)`` fields;
    settings that do not fit raise SpecError.
    """

    kind: ClassVar[str]  # its name in a manifest and in KINDS of :mod:`logitcache.targets.table`

    def __init__(self, *, width: int, **settings: Any) -> None: ...

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The codec that :meth:`to_dict` recorded. Raises FormatError for fields of no codec."""

    @property
    def width(self) -> int:
        """Values of a vector."""

    @property
    def temperatures(self) -> tuple[float, ...] | None:
        """The temperatures that its targets hold for; None: all."""

    def columns(self) -> tuple[Stored, ...]:
        """The stored columns: of positions first, then of entries."""

    @property
    def largest_gap(self) -> float:
        """How far below the largest of its vector a logit may be."""

    @property
    def is_calibrated(self) -> bool:
        """Whether it can reduce: some codecs need a number from a sample of the vectors."""

    def calibrated(self, vectors: Iterable[Tensor]) -> Codec:
        """The codec with that number, from vectors f[P, W] each."""

    def reduce(self, vectors: Tensor, draw: Draw) -> Kept:
        """f[P, W] to what is stored of it, on the same device: nothing waits for that. Entries f[P,
        M] are filled up behind those that count.
        """

    def pack(self, reduced: Kept) -> dict[str, Array]:
        """The columns of P positions. What lies on a device is waited for."""

    def unpack(self, columns: Mapping[str, Array], assets: Mapping[str, Array]) -> Payload[Array]:
        """What losses take, of the columns of P positions. ``assets`` are the tensors that the cache
        keeps once.
        """

    def bytes_per_position(self) -> float:
        """Stored bytes of a position, on average where their number varies."""

    def entries_per_position(self) -> Mapping[str, float]:
        """Mean number of a position's entries, by the column that counts them; may be empty."""

    def to_dict(self) -> dict[str, Any]:
        """What a manifest records of it: its kind and its fields."""


@dataclass(frozen=True)
class FixedCodec:
    """What codecs have in common whose settings say all: full vectors, one record a position."""

    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    @property
    def temperatures(self) -> tuple[float, ...] | None:
        return None

    @property
    def largest_gap(self) -> float:
        return float(np.finfo(np.float32).max)

    @property
    def is_calibrated(self) -> bool:
        return True

    def calibrated(self, vectors: Iterable[Tensor]) -> Self:
        return self

    def columns(self) -> tuple[Stored, ...]:
        return ()

    def entries_per_position(self) -> Mapping[str, float]:
        return {}

    def bytes_per_position(self) -> float:
        entries = self.entries_per_position()
        return float(sum(column.bytes * entries.get(column.count, 1) for column in self.columns()))

    def pack(self, reduced: Kept) -> dict[str, Array]:
        return {name: tensor.cpu().numpy() for name, tensor in reduced.items()}


def of_positions(codec: Codec) -> tuple[Stored, ...]:
    """The columns with one record for each position."""
    return tuple(column for column in codec.columns() if not column.count)


def of_entries(codec: Codec) -> dict[str, tuple[Stored, ...]]:
    """The columns of entries, by the column that counts them."""
    columns: dict[str, tuple[Stored, ...]] = {}
    for column in codec.columns():
        if column.count:
            columns[column.count] = (*columns.get(column.count, ()), column)
    return columns


def without_filling(reduced: Mapping[str, Array], codec: Codec) -> dict[str, Array]:
    """Columns of entries [P, M, ...] as stored, position after position: [sum of counts, ...]."""
    packed = {column.name: reduced[column.name] for column in of_positions(codec)}
    for count, columns in of_entries(codec).items():
        for column in columns:
            is_entry = np.arange(reduced[column.name].shape[1]) < reduced[count][:, None]
            packed[column.name] = reduced[column.name][is_entry]
    return packed


def filled(entries: Array, counts: Array) -> Array:
    """Stored entries as [P, M, ...] again, filled up with zeros behind each position's own. Raises
    FormatError where the counts do not add up to the entries.
    """
    total = int(counts.sum(dtype=np.int64))
    if total != len(entries):
        raise FormatError(expected=f"{total} entries, as their positions count", found=len(entries))
    widest = int(counts.max(initial=0))
    padded = np.zeros((len(counts), widest, *entries.shape[1:]), entries.dtype)
    padded[np.arange(widest) < counts[:, None]] = entries
    return padded
