"""Who answers for which rows: one teacher for all of them, or one for each fold, so that no row is
answered by a teacher trained on it.

The fold of a row is its ``row_hash`` (unsigned) modulo the number of folds: equal texts share a
fold, and whoever holds a cache can tell every row's fold from the hashes in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Protocol

import numpy as np
import torch

from logitcache import identity
from logitcache.data.folds import folds_of
from logitcache.data.order import token_batches
from logitcache.errors import SpecError, short
from logitcache.models.call import out_of_memory
from logitcache.models.projection import Projected, Projector
from logitcache.models.quiet import quiet
from logitcache.models.signals import HEAD_INPUT, LOGITS, Signal
from logitcache.models.tokenizer import tokenizer_fingerprint
from logitcache.payloads import Head
from logitcache.records import Examples, Float32, Int64, Padding, Positions, chosen
from logitcache.reporter import Meter
from logitcache.store.manifest import differences
from logitcache.teacher.dump_job import R, Receiver
from logitcache.teacher.model import TeacherModel
from logitcache.teacher.signals import TeacherOutput

_ALIKE = "Train the teachers of all folds alike."


class Panel(Protocol):
    """Whoever answers a dump's rows."""

    @property
    def first(self) -> TeacherModel:
        """A teacher that stands for all: their tokenizer, labels, size and precision are the same."""

    def identity(self) -> dict[str, Any]:
        """What a plan records of who answers, besides names and precision: the weights."""

    def assign(self, rows: Examples) -> Iterator[tuple[TeacherModel, Int64]]:
        """Each teacher with something to answer, and its places in ``rows``."""

    def in_order(self, order: Int64 | None) -> Panel:
        """The same, answering with its columns in the data's order."""

    def padded(self, padding: Padding) -> Panel:
        """The same, asked in batches made like this."""

    def watching(self, signal: Signal | None, signals: tuple[Signal, ...] = ()) -> Panel:
        """The same, answering with this signal at kept positions, and with ``signals`` of all
        tokens and rows. Raises SpecError for the inputs of several heads.
        """


@dataclass(frozen=True)
class OneTeacher:
    """One teacher answers for every row."""

    first: TeacherModel

    def identity(self) -> dict[str, Any]:
        return {"weights": self.first.weights_digest(), **self.first.arithmetic()}

    def assign(self, rows: Examples) -> Iterator[tuple[TeacherModel, Int64]]:
        yield self.first, np.arange(len(rows))

    def in_order(self, order: Int64 | None) -> OneTeacher:
        return OneTeacher(replace(self.first, order=order))

    def padded(self, padding: Padding) -> OneTeacher:
        return OneTeacher(replace(self.first, padding=padding))

    def watching(self, signal: Signal | None, signals: tuple[Signal, ...] = ()) -> OneTeacher:
        return OneTeacher(replace(self.first, signal=signal, signals=signals))


class FoldTeachers:
    """One teacher for each fold. ``loaders[k]`` gives the one that was trained without fold k; at
    most one is held at a time besides the first. Raises SpecError where more than weights differ.
    """

    def __init__(self, loaders: Sequence[Callable[[], TeacherModel]]) -> None:
        self.loaders = loaders
        # one at most; shared by those that answer in another order
        self.held: dict[int, TeacherModel] = {}
        self.first = loaders[0]()
        with quiet():
            self.weights = list(map(self._checked, range(len(loaders))))

    def _checked(self, fold: int) -> str:
        """The digest of a fold's teacher, once it is seen to be of the first one's kind."""
        teacher, first = self._teacher(fold), self.first
        for name, expected, value in differences(_kind(first), _kind(teacher)):
            difference = f"expected a teacher with {name} {short(expected)}, as fold 0's, found {short(value)}"
            raise SpecError(f"fold {fold}: {difference}", advice=_ALIKE, where=first.name)
        return teacher.weights_digest()

    def _teacher(self, fold: int) -> TeacherModel:
        if fold == 0:
            return self.first
        if fold not in self.held:
            self.held.clear()  # before the next is loaded: two large teachers may not fit
            self.held[fold] = self.loaders[fold]()
        return replace(self.held[fold], order=self.first.order, padding=self.first.padding)

    def identity(self) -> dict[str, Any]:
        folds = {"count": len(self.weights), "fold": "row_hash mod count", "weights": self.weights}
        return {
            "weights": identity.digest_json(self.weights),
            **self.first.arithmetic(),
            "folds": folds,
        }

    def assign(self, rows: Examples) -> Iterator[tuple[TeacherModel, Int64]]:
        fold = folds_of(rows.row_hash, len(self.loaders))
        for k in np.unique(fold):
            yield self._teacher(int(k)), np.flatnonzero(fold == k)

    def in_order(self, order: Int64 | None) -> FoldTeachers:
        panel = copy(self)
        panel.first = replace(self.first, order=order)
        return panel

    def padded(self, padding: Padding) -> FoldTeachers:
        panel = copy(self)
        panel.first = replace(self.first, padding=padding)
        return panel

    def watching(self, signal: Signal | None, signals: tuple[Signal, ...] = ()) -> FoldTeachers:
        if signal is LOGITS:
            return self
        advice = "Leave --folds out, or dump with another --codec."
        raise SpecError(
            expected="one teacher", found="one for each fold", advice=advice, where="--codec replay"
        )


def _kind(teacher: TeacherModel) -> dict[str, Any]:
    """What the teachers of all folds have in common: all but their weights."""
    names = ("label_names", "dtype", "max_length", "parameters")
    shared = {name: getattr(teacher, name) for name in names}
    return {**shared, **teacher.arithmetic(), "tokenizer": tokenizer_fingerprint(teacher.tokenizer)}


def ask_all(
    panel: Panel,
    rows: Examples,
    batch_tokens: int,
    begin: Callable[[], R],
    stage: Meter | None = None,
) -> tuple[R, int]:
    """Ask about these rows, batch by batch: a receiver that ``begin`` has made, which was given all
    answers, and the token budget they were computed with.

    ``stage`` counts the rows and tokens that are done. Where a batch does not fit in memory,
    all rows are computed again with half the budget and a new receiver, and so on. Raises SpecError
    where a single row does not fit.
    """
    stage = stage or Meter("answer", "rows")
    while True:
        before = (stage.done, stage.tokens)
        receiver = begin()
        try:
            for teacher, index in panel.assign(rows):
                _ask(teacher, rows, index, batch_tokens, receiver, stage)
                del teacher  # or it would still be held while the next one is loaded
            return receiver, batch_tokens
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        stage.advance(before[0] - stage.done, before[1] - stage.tokens)
        longest = int(rows.lengths().max())
        if batch_tokens <= longest:  # the longest row goes first, and went alone
            raise _no_room(f"a single row of {longest} tokens", panel.first)
        batch_tokens //= 2


def ask_logits(
    panel: Panel,
    head: Head[torch.Tensor] | None,
    rows: Examples,
    batch_tokens: int,
    begin: Callable[[], R],
    stage: Meter | None = None,
) -> tuple[R, int]:
    """The same for logits, where ``head`` may be the map that makes them of its inputs: then they
    are computed of the kept positions alone, and as they are read.
    """
    if head is None:
        return ask_all(panel, rows, batch_tokens, begin, stage)
    projector = Projector(head)
    receiver, fits = ask_all(
        panel.watching(HEAD_INPUT, panel.first.signals),
        rows,
        batch_tokens,
        lambda: Projecting(begin(), projector),
        stage,
    )
    return receiver.receiver, fits


def answer(
    panel: Panel, rows: Examples, batch_tokens: int, stage: Meter | None = None
) -> tuple[Float32, int]:
    """The panel's logits at the kept positions of these rows, in their order, f32[P, K], and their
    token budget. Raises SpecError where a single row does not fit in memory.
    """
    indptr = positions_of(panel, rows).indptr
    vectors, fits = ask_all(panel, rows, batch_tokens, partial(Vectors, indptr), stage)
    return vectors.logits(), fits


def answer_some(panel: Panel, rows: Examples, batch_tokens: int, selection: Int64) -> Float32:
    """The logits of the rows at these places, f32[P, K], computed in the very batches that
    :func:`answer` makes of all rows; batches without one of them are left out.
    """
    vectors = Vectors(positions_of(panel, rows).indptr)
    for teacher, index in panel.assign(rows):
        _ask(teacher, rows, index, batch_tokens, vectors, Meter("answer", "rows"), selection)
        del teacher
    return vectors.logits()[chosen(vectors.indptr, selection)[1]]


def answer_alone(panel: Panel, rows: Examples, times: int = 1) -> Float32:
    """The logits of rows that are each asked alone, f32[P, K]: the reference, with no padding
    anywhere. With ``times``, each in a batch of so many copies of itself.
    """
    vectors = Vectors(positions_of(panel, rows).indptr)
    for teacher, index in panel.assign(rows):
        for row in index:
            copies = teacher.answers(rows, np.repeat(row, times))
            vectors.add(row[None], copies[: len(copies) // times])
        del teacher
    return vectors.logits()


def positions_of(panel: Panel, rows: Examples) -> Positions:
    """The kept positions of all of these rows, as the panel's tokenizer has them."""
    return panel.first.kind.positions(rows, np.arange(len(rows)))


@dataclass(frozen=True)
class Projecting(Generic[R]):
    """Hands a receiver the logits of the vectors that it is given, as they are read."""

    receiver: R
    projector: Projector

    def add(self, index: Int64, vectors: torch.Tensor | TeacherOutput) -> None:
        if isinstance(vectors, TeacherOutput):
            assert isinstance(vectors.logits, torch.Tensor)
            projected = Projected(vectors.logits, self.projector)
            self.receiver.add(index, replace(vectors, logits=projected))
            return
        self.receiver.add(index, Projected(vectors, self.projector))


class Vectors:
    """Keeps all answers. ``indptr`` i64[N + 1] says how many positions each row has."""

    def __init__(self, indptr: Int64) -> None:
        self.indptr = indptr
        self._places: list[Int64] = []
        self._vectors: list[torch.Tensor] = []

    def add(self, index: Int64, vectors: torch.Tensor) -> None:
        self._places.append(chosen(self.indptr, index)[1])
        self._vectors.append(vectors)

    def logits(self) -> Float32:
        """f32[P, K]; NaN for rows that were not asked about."""
        computed = torch.cat(self._vectors).cpu().numpy()
        logits = np.full((self.indptr[-1], computed.shape[1]), np.nan, np.float32)
        logits[np.concatenate(self._places)] = computed
        return logits


def _ask(
    teacher: TeacherModel,
    rows: Examples,
    index: Int64,
    batch_tokens: int,
    receiver: Receiver,
    stage: Meter,
    selection: Int64 | None = None,
) -> None:
    """Ask one teacher about the rows at these places, longest first in batches of a token budget;
    not in batches without a row that is ``selection``, where that is said.
    """
    lengths = rows.lengths()
    for batch in token_batches(lengths[index], batch_tokens):
        rows_of_batch = index[batch]
        if selection is not None and not np.isin(rows_of_batch, selection).any():
            continue
        ask = teacher.output if teacher.signals else teacher.answers
        receiver.add(rows_of_batch, ask(rows, rows_of_batch, stage.reporter))
        stage.advance(len(rows_of_batch), int(lengths[rows_of_batch].sum()))


@contextmanager
def room_for(what: str, teacher: TeacherModel) -> Iterator[None]:
    """Raises SpecError naming ``what`` where memory does not suffice for it."""
    try:
        yield
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise _no_room(what, teacher) from None


def _no_room(what: str, teacher: TeacherModel) -> SpecError:
    advice = "Lower --max-length, or compute in bfloat16 (--dtype), or on another --device."
    return SpecError(f"out of memory on {what}", advice=advice, where=teacher.name)
