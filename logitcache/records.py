"""What crosses between rooms: frozen records, with shapes where a field is declared.

Sizes: N rows, B rows of one batch, T tokens (padded), P kept positions, W width of a vector (K
classes, V words, d hidden). A record of arrays is generic in its array type: numpy from the data
rooms, torch in the student. ``map`` carries one to the other.

A *position* is where a row is asked for a vector. Each has a number in its row, by which teacher
and student are joined, and a token, where the vector stands in the row as one model reads it: two
tokenizers may differ in that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import reduce
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from logitcache.errors import SpecError
from logitcache.payloads import Dense as Dense
from logitcache.payloads import Payload, Replay, joined

A = TypeVar("A")
C = TypeVar("C")
Int64: TypeAlias = npt.NDArray[np.int64]
Float32: TypeAlias = npt.NDArray[np.float32]
Array: TypeAlias = npt.NDArray[Any]

LOGITS = "logits"  # the payload that the methods learn from
_IN_ROW = 1 << 32  # more positions than any row has


def chosen(indptr: Int64, rows: Int64) -> tuple[Int64, Int64]:
    """Where the entries of these rows stand in a ragged column: (indptr of the chosen rows i64[n +
    1], the ``indptr[-1]`` places). Rows may repeat.
    """
    starts = indptr[rows]
    lengths = indptr[rows + 1] - starts
    return stretches(starts, lengths)


def stretches(starts: Int64, lengths: Int64) -> tuple[Int64, Int64]:
    """The places of stretches of a column, in turn: (indptr i64[n + 1], places i64[indptr[-1]])."""
    indptr = ends_of(lengths)
    return indptr, np.repeat(starts - indptr[:-1], lengths) + np.arange(indptr[-1])


def ends_of(lengths: npt.ArrayLike) -> Int64:
    """The indptr of rows of these lengths, i64[n + 1]: 0, and where each row ends."""
    ends = np.zeros(np.size(lengths) + 1, np.int64)
    np.cumsum(lengths, dtype=np.int64, out=ends[1:])
    return ends


def numbers_in_rows(indptr: Int64) -> Int64:
    """The number of each entry of a ragged column within its row, from 0: i64[P]."""
    return np.arange(indptr[-1]) - np.repeat(indptr[:-1], np.diff(indptr))


def evenly_spaced(n: int, count: int) -> Int64:
    """At most ``count`` of the numbers below n, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, n - 1, count).astype(np.int64))


def row_ids(rows: Int64 | int, count: int) -> Int64:
    """The numbers of rows as an array: i64[n]. One number is an array of one, and where it is
    negative it counts from the end of ``count`` rows.
    """
    number = np.asarray(rows, np.int64)
    return number if number.ndim else np.where(number < 0, number + count, number).reshape(1)


def rows_of(indptr: Int64) -> Int64:
    """The row of each entry of a ragged column: i64[P]."""
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))


@dataclass(frozen=True)
class Ragged:
    """Rows of unequal length: row i is ``values[indptr[i]:indptr[i + 1]]``."""

    values: Array  # [S, ...]
    indptr: Int64  # [N + 1]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def lengths(self) -> Int64:
        return np.diff(self.indptr)

    def followed_by(self, tail: Ragged) -> Ragged:
        """These rows and then more."""
        indptr = np.concatenate([self.indptr, tail.indptr[1:] + self.indptr[-1]])
        return Ragged(np.concatenate([self.values, tail.values]), indptr)

    def select(self, rows: Int64) -> Ragged:
        """The rows at these places, in this order; places may repeat."""
        indptr, index = chosen(self.indptr, rows)
        return Ragged(self.values[index], indptr)


class Side(StrEnum):
    """Where a batch is filled. ``NONE``: nowhere; rows of equal length are asked together."""

    RIGHT = "right"
    LEFT = "left"
    NONE = "none"


class Documents(StrEnum):
    """How a row's documents are kept apart: by positions alone, or by a mask of token pairs."""

    POSITIONS = "positions"
    MASK = "mask"


@dataclass(frozen=True)
class Padding:
    """How a batch is filled, and what the model is shown of that.

    Nothing says for certain how a model was trained to be padded: tokenizers and configurations
    differ, and some models read a filled position as text. So ``logitcache.models.probe`` chooses
    by evidence; this is what it chooses.
    """

    side: Side
    token: int  # id of the filling
    segment: int  # token type of the filling
    mask: bool = True  # the model gets an attention mask
    # the model names no padding token: any that no row of the batch ends in will do
    free: bool = False
    documents: Documents | None = None  # where rows hold several that are kept apart

    @classmethod
    def of(cls, tokenizer: Any) -> Padding:
        """The tokenizer's own."""
        mask = "attention_mask" in tokenizer.model_input_names
        return cls(
            Side(tokenizer.padding_side), tokenizer.pad_token_id, tokenizer.pad_token_type_id, mask
        )

    def to_dict(self) -> dict[str, Any]:
        """What a plan records."""
        recorded = {
            "side": str(self.side),
            "token": None if self.free else self.token,
            "mask": self.mask,
        }
        if self.documents is None:
            return recorded
        return {**recorded, "documents": str(self.documents)}


@dataclass(frozen=True)
class Examples:
    """Rows of one split (or a selection) as a model reads them, unpadded, to make batches of."""

    row_id: Int64  # [N]
    view: Int64  # [N]
    row_hash: Int64  # [N]
    label: Int64  # [N]; -1 where there is none
    inputs: Mapping[str, Ragged]  # input_ids, and what else the model takes of each token
    cut: Array  # bool[N]; rows that lost tokens at max_length
    padding: Padding  # how they become a batch: the tokenizer's own way, unless another was chosen
    # what a task has to know of parts of a row
    units: Mapping[str, Ragged] = field(default_factory=dict)
    views: int = 1  # rows i * views to (i + 1) * views - 1 are one row under several masks: one of them in an epoch

    def __len__(self) -> int:
        return len(self.row_id)

    def lengths(self) -> Int64:
        """Tokens of each row: i64[N]."""
        return self.inputs["input_ids"].lengths()

    @property
    def labels(self) -> Int64:
        """Every label, in order: of rows, or of their units. Of tokens, -1 where none is learnt."""
        units = self.units.get("labels")
        return self.label if units is None else units.values

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return len(self.inputs["input_ids"].values)

    def select(self, index: Int64) -> Examples:
        """The rows at these places, in this order; places may repeat."""
        return Examples(
            row_id=self.row_id[index],
            view=self.view[index],
            row_hash=self.row_hash[index],
            label=self.label[index],
            inputs={name: column.select(index) for name, column in self.inputs.items()},
            cut=self.cut[index],
            padding=self.padding,
            units={name: column.select(index) for name, column in self.units.items()},
        )


@dataclass(frozen=True)
class Positions:
    """The kept positions of some rows: those of row i are ``indptr[i]`` to ``indptr[i + 1]``, in
    ascending order of their numbers.
    """

    indptr: Int64  # [N + 1]
    index: Int64  # [P] number in its row
    token: Int64  # [P] where the vector stands in the row as the model reads it, padding aside
    label: Int64  # [P]; -1 where there is none
    weight: Float32  # [P]

    def select(self, index: Int64) -> Positions:
        """Only these positions, in ascending order: i64[n] of 0 to P - 1."""
        indptr = np.searchsorted(index, self.indptr)
        return Positions(
            indptr, self.index[index], self.token[index], self.label[index], self.weight[index]
        )


@dataclass(frozen=True)
class Answers:
    """What a teacher (a cache, or a live one) says of some rows at their kept positions, with the
    proof that these are the rows it was asked about. The positions of row i are ``indptr[i]`` to
    ``indptr[i + 1]``, in ascending order of their numbers.
    """

    row_hash: Int64  # [B]
    indptr: Int64  # [B + 1]
    index: Int64  # [P] number in its row
    payloads: Mapping[str, Payload[Array]]  # by target, of P positions each
    # signals of each token [S, d] or row [B, d]: halves, the bits of bfloat16, or f32
    vectors: Mapping[str, Ragged] = field(default_factory=dict)

    @property
    def logits(self) -> Float32:
        """Its full vectors of ``logits``: f32[P, W]. Raises SpecError where a codec keeps less."""
        payload = self.payload
        if isinstance(payload, Replay):
            return payload.replayed()
        if not isinstance(payload, Dense):
            raise SpecError(
                expected="full vectors of logits",
                found=f"targets that are {type(payload).__name__.lower()}",
                advice="Read `.payload`, or dump with --codec float16.",
            )
        full: Float32 = payload.logits
        return full

    @property
    def payload(self) -> Any:
        """The target ``logits``: :data:`Payload`. Raises SpecError where a cache keeps none."""
        if LOGITS not in self.payloads:
            raise SpecError(
                expected="a cache of logits",
                found=f"one of {', '.join(self.vectors) or 'other signals'}",
                advice="Dump with --signal logits too.",
            )
        return self.payloads[LOGITS]

    def with_logits(self, logits: Float32) -> Answers:
        """The same positions with other logits, f32[P, W']."""
        return replace(self, payloads={LOGITS: Dense(logits)})

    def rows(self, rows: Int64) -> Answers:
        """The answers for the rows at these places, in this order; places may repeat."""
        indptr, positions = chosen(self.indptr, rows)
        return Answers(
            self.row_hash[rows],
            indptr,
            self.index[positions],
            self._payloads(positions),
            {name: signal.select(rows) for name, signal in self.vectors.items()},
        )

    def select(self, index: Int64) -> Answers:
        """Only these positions, in ascending order: i64[n] of 0 to P - 1."""
        return Answers(
            self.row_hash,
            np.searchsorted(index, self.indptr),
            self.index[index],
            self._payloads(index),
            self.vectors,
        )

    def _payloads(self, index: Int64) -> dict[str, Payload[Array]]:
        return {name: payload.select(index) for name, payload in self.payloads.items()}


def end_to_end(several: Sequence[Answers]) -> Answers:
    """The answers of the first, then those of the second, and so on."""
    first = several[0]
    payloads = {}
    for name in first.payloads:
        payloads[name] = joined([answers.payloads[name] for answers in several])
    vectors = {}
    for name in first.vectors:
        vectors[name] = reduce(Ragged.followed_by, [answers.vectors[name] for answers in several])
    counts = np.concatenate([np.diff(answers.indptr) for answers in several])
    return Answers(
        np.concatenate([answers.row_hash for answers in several]),
        ends_of(counts),
        np.concatenate([answers.index for answers in several]),
        payloads,
        vectors,
    )


def same_positions(a: Positions | Answers, b: Positions | Answers) -> bool:
    """Whether two have the same positions of the same rows."""
    if len(a.index) != len(b.index):
        return False
    return not ((a.indptr != b.indptr).any() or (a.index != b.index).any())


def common_positions(*several: Positions | Answers) -> list[Int64]:
    """The places, in each of them, of the positions that all have: arrays of one length, ascending."""
    keys = [rows_of(answers_of.indptr) * _IN_ROW + answers_of.index for answers_of in several]
    shared = keys[0]
    for key in keys[1:]:
        shared = np.intersect1d(shared, key, assume_unique=True)
    return [np.searchsorted(key, shared) for key in keys]


@dataclass(frozen=True)
class Block:
    """Rows of one view with their answers and labels."""

    row_id: Int64  # [n]
    view: int
    answers: Answers
    label: Int64  # [P] of each position; -1 where there is none

    @property
    def row_hash(self) -> Int64:
        """The hash of each row's texts: i64[n]."""
        return self.answers.row_hash

    @property
    def logits(self) -> Any:
        """The target ``logits`` of P positions: :data:`Payload`."""
        return self.answers.payload

    def select(self, rows: Array) -> Block:
        """Only these rows: bool[n]."""
        return self.rows(np.flatnonzero(rows))

    def rows(self, index: Int64) -> Block:
        """The rows at these places, in this order."""
        label = self.label[chosen(self.answers.indptr, index)[1]]
        return Block(self.row_id[index], self.view, self.answers.rows(index), label)


@dataclass(frozen=True)
class Batch(Generic[A]):
    """One step's rows, as the student's forward takes it. A position of weight 0 does not count."""

    row_id: A  # i64[B]
    view: A  # i64[B]
    inputs: Mapping[str, A]  # exactly what the tokenizer's model_input_names ask for, each [B, T]
    where: A  # i64[P, 2]  (row in batch, column of the inputs)
    label: A  # i64[P]
    weight: A  # f32[P]
    targets: Mapping[str, Payload[A]]  # of P positions each
    # the teacher's signals: f[B, T, d] of tokens, 0 where a row is filled, or f[B, d] of rows
    vectors: Mapping[str, A] = field(default_factory=dict)

    @property
    def teacher(self) -> Payload[A] | None:
        """Its target, where it has one."""
        return next(iter(self.targets.values()), None)

    def map(self, f: Callable[[A], C]) -> Batch[C]:
        """The same batch with ``f`` applied to every array."""
        return Batch(
            row_id=f(self.row_id),
            view=f(self.view),
            inputs={k: f(v) for k, v in self.inputs.items()},
            where=f(self.where),
            label=f(self.label),
            weight=f(self.weight),
            targets={k: t.map(f) for k, t in self.targets.items()},
            vectors={k: f(v) for k, v in self.vectors.items()},
        )

    def to(self, *args: Any, **kwargs: Any) -> Batch[Any]:
        """Move every tensor (what accelerate calls to bring a batch to its device)."""
        return self.map(lambda x: x.to(*args, **kwargs))  # type: ignore[attr-defined]

    def pin_memory(self, *args: Any, **kwargs: Any) -> Batch[Any]:
        """Pin every tensor (what the DataLoader calls)."""
        return self.map(lambda x: x.pin_memory(*args, **kwargs))  # type: ignore[attr-defined]
