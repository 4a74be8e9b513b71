"""What a target is at P positions, as the losses take it: full vectors, listed words, or what the
head was given.

A payload is generic in its array type: numpy from a cache, torch in a student. ``map`` carries one
to the other. Sizes: P positions, W width of a vector (K classes, V words), M entries of a sparse
target, d width of a hidden state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from logitcache.errors import SpecError

A = TypeVar("A")
C = TypeVar("C")
Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Dense(Generic[A]):
    """A full vector of logits at each kept position, minus its maximum."""

    logits: A  # f32[P, W]

    def map(self, f: Callable[[A], C]) -> Dense[C]:
        return Dense(f(self.logits))

    def select(self, index: Any) -> Dense[A]:
        """Only these positions."""
        return self.map(lambda vectors: vectors[index])  # type: ignore[index]

    def likeliest(self) -> Any:
        """The most probable class of each position: i64[P]."""
        return self.logits.argmax(1)  # type: ignore[attr-defined]


class Tail(StrEnum):
    """What becomes of the probability of the words that a sparse target does not list."""

    NONE = "none"  # it enters no loss: the listed entries are an unbiased estimate, or the tail is dropped
    BUCKET = "bucket"  # one outcome of its own
    UNIFORM = "uniform"  # spread evenly over the words that are not listed
    UNIGRAM = "unigram"  # spread over all words as the corpus has them


@dataclass(frozen=True)
class Sparse(Generic[A]):
    """The listed words of each kept position with their probabilities, at one temperature. A
    position with fewer than M entries is filled up with word 0 at probability 0. A word may be
    listed twice: its probabilities add up.
    """

    ids: A  # i64[P, M]
    prob: A  # f32[P, M]
    rest: A  # f32[P] the probability of all words that are not listed; 0 where the entries are an estimate of all
    entropy: A  # f32[P] of the whole distribution, in nats
    temperature: float = 1.0
    tail: Tail = Tail.NONE
    unigram: A | None = None  # f32[V], with Tail.UNIGRAM
    is_drawn: bool = False  # the entries are random, and right on average alone

    def map(self, f: Callable[[A], C]) -> Sparse[C]:
        return Sparse(
            f(self.ids),
            f(self.prob),
            f(self.rest),
            f(self.entropy),
            self.temperature,
            self.tail,
            None if self.unigram is None else f(self.unigram),
            self.is_drawn,
        )

    def select(self, index: Any) -> Sparse[A]:
        """Only these positions."""
        columns = replace(self, unigram=None).map(lambda column: column[index])  # type: ignore[index]
        return replace(columns, unigram=self.unigram)

    def likeliest(self) -> Any:
        """The most probable of the listed words of each position: i64[P]."""
        if self.ids.shape[1] == 0:  # type: ignore[attr-defined]
            return self.ids.sum(1)  # type: ignore[attr-defined]
        first = self.prob.argmax(1)[:, None]  # type: ignore[attr-defined]
        if isinstance(self.ids, np.ndarray):
            return np.take_along_axis(self.ids, first, 1)[:, 0]
        return self.ids.gather(1, first)[:, 0]  # type: ignore[attr-defined]


@dataclass(frozen=True, eq=False)
class Head(Generic[A]):
    """A model's last linear map and what follows it: ``z = cap tanh(scale (W h + b) / cap)``."""

    weight: A  # f[V, d]
    bias: A | None = None  # f[V]
    scale: float = 1.0
    cap: float | None = None

    def map(self, f: Callable[[A], C]) -> Head[C]:
        return Head(
            f(self.weight), None if self.bias is None else f(self.bias), self.scale, self.cap
        )


@dataclass(frozen=True)
class Replay(Generic[A]):
    """What the teacher's last linear map was given at each kept position, and that map. The bits of
    bfloat16 are u16. The map is the cache's: it is not carried about with the positions of a batch.
    """

    hidden: A  # f[P, d]
    head: Head[Any]

    def map(self, f: Callable[[A], C]) -> Replay[C]:
        return Replay(f(self.hidden), self.head)

    def replayed(self) -> Array:
        """The teacher's logits minus their maximum, f32[P, V], of numpy's arrays."""
        weight = single(self.head.weight)
        hidden = single(self.hidden)  # type: ignore[arg-type]
        logits = hidden @ weight.T
        if self.head.bias is not None:
            logits += single(self.head.bias)
        logits *= self.head.scale
        if self.head.cap is not None:
            logits = self.head.cap * np.tanh(logits / self.head.cap)
        shifted: Array = logits - logits.max(1, keepdims=True)
        return shifted

    def likeliest(self) -> Any:
        """The most probable word of each position: i64[P], of numpy's arrays."""
        return self.replayed().argmax(1)

    def select(self, index: Any) -> Replay[A]:
        """Only these positions."""
        return replace(self, hidden=self.hidden[index])  # type: ignore[index]


@dataclass(frozen=True)
class Vectors(Generic[A]):
    """Vectors as they are: hidden states, attention inputs, embeddings; bfloat16 as bits (u16)."""

    vectors: A  # f[P, d]

    def map(self, f: Callable[[A], C]) -> Vectors[C]:
        return Vectors(f(self.vectors))

    def select(self, index: Any) -> Vectors[A]:
        """Only these positions."""
        return self.map(lambda vectors: vectors[index])  # type: ignore[index]

    def likeliest(self) -> Any:
        """Where each vector is largest: i64[P], of numpy's arrays."""
        return single(self.vectors).argmax(1)  # type: ignore[arg-type]


def single(values: Array) -> Array:
    """In single precision: halves, and the bits of bfloat16 (u16)."""
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32, copy=False)


Payload: TypeAlias = Dense[A] | Sparse[A] | Replay[A] | Vectors[A]


def joined(payloads: Sequence[Payload[Array]]) -> Payload[Array]:
    """The positions of the first payload, then those of the second, and so on; all of one kind.
    Raises SpecError where they are targets of different kinds.
    """
    first = payloads[0]
    if any(type(payload) is not type(first) for payload in payloads):
        kinds = ", ".join(sorted({type(payload).__name__.lower() for payload in payloads}))
        raise SpecError(
            expected="targets of one codec",
            found=kinds,
            advice="Dump all parts with the same --codec.",
        )
    if isinstance(first, Dense):
        return Dense(_stacked(payloads, "logits"))
    if isinstance(first, Replay):
        return replace(first, hidden=_stacked(payloads, "hidden"))
    if isinstance(first, Vectors):
        return Vectors(_stacked(payloads, "vectors"))
    widest = max(payload.ids.shape[1] for payload in payloads)  # type: ignore[union-attr]
    widened = []
    for payload in payloads:
        assert isinstance(payload, Sparse)
        room = ((0, 0), (0, widest - payload.ids.shape[1]))
        ids = np.pad(payload.ids, room)
        widened.append(replace(payload, ids=ids, prob=np.pad(payload.prob, room)))
    return replace(
        first,
        ids=_stacked(widened, "ids"),
        prob=_stacked(widened, "prob"),
        rest=_stacked(widened, "rest"),
        entropy=_stacked(widened, "entropy"),
    )


def _stacked(payloads: Sequence[Payload[Array]], name: str) -> Array:
    """An array of all payloads, by the name of its field: f[P1 + P2 + ..., ...]."""
    return np.concatenate([getattr(payload, name) for payload in payloads])
