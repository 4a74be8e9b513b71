"""What crosses between rooms: frozen records, each with its shapes written where a field is declared.

Sizes: N rows, B rows of one batch, T tokens (padded), P kept positions, W width of a vector (K classes, V words, d
hidden). A record of arrays is generic in its array type: numpy from the data rooms, torch in the student. ``map``
carries one to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

A = TypeVar("A")
C = TypeVar("C")
Int32: TypeAlias = npt.NDArray[np.int32]
Int64: TypeAlias = npt.NDArray[np.int64]
Float32: TypeAlias = npt.NDArray[np.float32]
Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Ragged:
    """Rows of unequal length: row i is ``values[indptr[i]:indptr[i + 1]]``."""

    values: Array  # [S, ...]
    indptr: Int64  # [N + 1]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def lengths(self) -> Int64:
        return np.diff(self.indptr)

    def select(self, rows: Int64) -> Ragged:
        """The rows at these places, in this order; places may repeat."""
        lengths = self.lengths()[rows]
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        places = np.repeat(self.indptr[rows] - indptr[:-1], lengths) + np.arange(indptr[-1])
        return Ragged(self.values[places], indptr)


@dataclass(frozen=True)
class Dense(Generic[A]):
    """A full vector of logits at each kept position, minus its maximum."""

    logits: A  # f32[P, W]

    def map(self, f: Callable[[A], C]) -> Dense[C]:
        return Dense(f(self.logits))


@dataclass(frozen=True)
class Target(Generic[A]):
    """What one teacher said: ``where`` gives (row in batch, position) of each payload vector."""

    where: A  # i64[P, 2]
    payload: Dense[A]

    def map(self, f: Callable[[A], C]) -> Target[C]:
        return Target(f(self.where), self.payload.map(f))


@dataclass(frozen=True)
class Answers:
    """What a teacher (a cache, or a live one) says of some rows, with the proof that these are the rows it was asked
    about.
    """

    row_hash: Int64  # [B]
    counts: Int64  # [B] kept positions of each row
    payload: Dense[Array]  # P = counts.sum()


@dataclass(frozen=True)
class Batch(Generic[A]):
    """One step's worth of rows, as the student's forward takes it. A row of weight 0 is padding and counts nowhere."""

    row_id: A  # i64[B]
    view: A  # i64[B]
    inputs: Mapping[str, A]  # exactly what the tokenizer's model_input_names ask for, each [B, T]
    where: A  # i64[P, 2]  (row in batch, position)
    labels: A  # i64[P]
    weight: A  # f32[P]
    targets: Mapping[str, Target[A]]

    def map(self, f: Callable[[A], C]) -> Batch[C]:
        """The same batch with ``f`` applied to every array."""
        return Batch(
            f(self.row_id),
            f(self.view),
            {k: f(v) for k, v in self.inputs.items()},
            f(self.where),
            f(self.labels),
            f(self.weight),
            {k: t.map(f) for k, t in self.targets.items()},
        )

    def to(self, *args: Any, **kwargs: Any) -> Batch[Any]:
        """Move every tensor (what accelerate calls to bring a batch to its device)."""
        return self.map(lambda x: x.to(*args, **kwargs))  # type: ignore[attr-defined]

    def pin_memory(self, *args: Any, **kwargs: Any) -> Batch[Any]:
        """Pin every tensor (what the DataLoader calls)."""
        return self.map(lambda x: x.pin_memory(*args, **kwargs))  # type: ignore[attr-defined]
