"""Who answers for which rows: one teacher for all of them, or one for each fold, so that no row is answered by a
teacher trained on it.

The fold of a row is its ``row_hash`` (unsigned) modulo the number of folds: equal texts share a fold, and whoever
holds a cache can tell every row's fold from the hashes in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from logitcache import identity
from logitcache.data.order import token_batches
from logitcache.data.preprocess.padding import Padding
from logitcache.data.preprocess.tokens import Prepared
from logitcache.errors import SpecError, short
from logitcache.models.call import out_of_memory
from logitcache.models.load import quiet
from logitcache.models.tokenizer import tokenizer_fingerprint
from logitcache.records import Array, Float32, Int64
from logitcache.reporter import Stage
from logitcache.store.manifest import differences
from logitcache.teacher.model import TeacherModel

_ALIKE = "Train the teachers of all folds alike."


def folds_of(row_hash: Int64, folds: int) -> Int64:
    """The fold of each row, 0 to folds - 1: i64[N]."""
    return (row_hash.view(np.uint64) % np.uint64(folds)).astype(np.int64)


class Panel(Protocol):
    """Whoever answers a dump's rows."""

    @property
    def first(self) -> TeacherModel:
        """A teacher that stands for all: their tokenizer, labels, size and precision are the same."""

    def identity(self) -> dict[str, Any]:
        """What a plan records of who answers, besides names and precision: the weights."""

    def assign(self, rows: Prepared) -> Iterator[tuple[TeacherModel, Int64]]:
        """Each teacher that has something to answer, and the places in ``rows`` that it answers for."""

    def in_order(self, order: Int64 | None) -> Panel:
        """The same, answering with its columns in the data's order."""

    def padded(self, padding: Padding) -> Panel:
        """The same, asked in batches made like this."""


@dataclass(frozen=True)
class OneTeacher:
    """One teacher answers for every row."""

    first: TeacherModel

    def identity(self) -> dict[str, Any]:
        return {"weights": self.first.weights_digest(), **self.first.arithmetic()}

    def assign(self, rows: Prepared) -> Iterator[tuple[TeacherModel, Int64]]:
        yield self.first, np.arange(len(rows))

    def in_order(self, order: Int64 | None) -> OneTeacher:
        return OneTeacher(replace(self.first, order=order))

    def padded(self, padding: Padding) -> OneTeacher:
        return OneTeacher(replace(self.first, padding=padding))


class FoldTeachers:
    """One teacher for each fold. ``loaders[k]`` gives the one that was trained without fold k; at most one is held at
    a time besides the first. Raises SpecError where they differ in more than their weights.
    """

    def __init__(self, loaders: list[Callable[[], TeacherModel]]) -> None:
        self.loaders = loaders
        self.held: dict[int, TeacherModel] = {}  # one at most; shared by those that answer in another order
        self.first = loaders[0]()
        with quiet():
            self.weights = [self._checked(fold) for fold in range(len(loaders))]

    def _checked(self, fold: int) -> str:
        """The digest of a fold's teacher, once it is seen to be of the first one's kind."""
        teacher, first = self._teacher(fold), self.first
        for name, expected, found in differences(_kind(first), _kind(teacher)):
            difference = f"expected a teacher with {name} {short(expected)}, as fold 0's, found {short(found)}"
            raise SpecError(f"fold {fold}: {difference}. {_ALIKE}", where=first.name)
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
        return {"weights": identity.digest_json(self.weights), **self.first.arithmetic(), "folds": folds}

    def assign(self, rows: Prepared) -> Iterator[tuple[TeacherModel, Int64]]:
        fold = folds_of(rows.row_hash, len(self.loaders))
        for k in np.unique(fold):
            yield self._teacher(int(k)), np.flatnonzero(fold == k)

    def in_order(self, order: Int64 | None) -> FoldTeachers:
        other = copy(self)
        other.first = replace(self.first, order=order)
        return other

    def padded(self, padding: Padding) -> FoldTeachers:
        other = copy(self)
        other.first = replace(self.first, padding=padding)
        return other


def _kind(teacher: TeacherModel) -> dict[str, Any]:
    """What the teachers of all folds have in common: all but their weights."""
    names = ("label_names", "dtype", "max_length", "parameters")
    shared = {name: getattr(teacher, name) for name in names}
    return {**shared, **teacher.arithmetic(), "tokenizer": tokenizer_fingerprint(teacher.tokenizer)}


def answer(panel: Panel, rows: Prepared, batch_tokens: int, stage: Stage | None = None) -> tuple[Float32, int]:
    """The panel's logits for these rows, in their order, f32[N, K], and the token budget they were computed with.

    ``stage`` is told of the rows and tokens that are done. Where a batch does not fit in memory, all rows are computed
    again with half the budget, and so on. Raises SpecError where a single row does not fit.
    """
    stage = stage or Stage("answer", "rows")
    while True:
        before = (stage.done, stage.tokens)
        try:
            return _all(panel, rows, batch_tokens, stage), batch_tokens
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        stage.advance(before[0] - stage.done, before[1] - stage.tokens)
        longest = int(rows.ids.lengths().max())
        if batch_tokens <= longest:  # the longest row goes first, and went alone
            raise _no_room(f"a single row of {longest} tokens", panel.first)
        batch_tokens //= 2


def answer_some(panel: Panel, rows: Prepared, batch_tokens: int, wanted: Int64) -> Float32:
    """The logits of the rows at these places, f32[n, K], computed in the very batches that :func:`answer` makes of all
    rows; batches without one of them are left out.
    """
    logits = np.full((len(rows), len(panel.first.label_names)), np.nan, np.float32)
    for teacher, places in panel.assign(rows):
        here = np.isin(places, wanted)
        if here.any():
            logits[places] = _ask(teacher, rows.select(places), batch_tokens, Stage("answer", "rows"), here)
        del teacher
    return logits[wanted]


def answer_alone(panel: Panel, rows: Prepared, times: int = 1) -> Float32:
    """The logits of rows that are each asked alone, f32[N, K]: the reference, with no padding anywhere. With ``times``,
    each in a batch of so many copies of itself.
    """
    logits = np.empty((len(rows), len(panel.first.label_names)), np.float32)
    for teacher, places in panel.assign(rows):
        for place in places:
            logits[place] = teacher.answers(rows, np.repeat(place, times))[0].cpu().numpy()
        del teacher
    return logits


def _all(panel: Panel, rows: Prepared, batch_tokens: int, stage: Stage) -> Float32:
    logits = np.empty((len(rows), len(panel.first.label_names)), np.float32)
    for teacher, places in panel.assign(rows):
        logits[places] = _ask(teacher, rows.select(places), batch_tokens, stage)
        del teacher  # or it would still be held while the next one is loaded
    return logits


def _ask(
    teacher: TeacherModel, rows: Prepared, batch_tokens: int, stage: Stage, wanted: Array | None = None
) -> Float32:
    """One teacher's logits, computed longest first in batches of a token budget; NaN for batches without a row that is
    ``wanted`` (bool[N]), where that is said.
    """
    lengths = rows.ids.lengths()
    batches = token_batches(lengths, batch_tokens)
    if wanted is not None:
        batches = [places for places in batches if wanted[places].any()]
    parts = []
    for places in batches:
        parts.append(teacher.answers(rows, places, stage.reporter))
        stage.advance(len(places), int(lengths[places].sum()))
    computed = torch.cat(parts).cpu().numpy()
    logits = np.full((len(rows), computed.shape[1]), np.nan, np.float32)
    logits[np.concatenate(batches)] = computed
    return logits


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
    return SpecError(f"out of memory on {what}. {advice}", where=teacher.name)
