"""A batch from row numbers: one vectorised gather for inputs, one for targets, one comparison of
hash columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from logitcache import identity
from logitcache.config.signals import POOLED
from logitcache.data.tasks.classification import Classification
from logitcache.errors import AlignmentError
from logitcache.payloads import Payload
from logitcache.records import (
    LOGITS,
    Answers,
    Array,
    Batch,
    Examples,
    Float32,
    Int64,
    Padding,
    Positions,
    Side,
    common_positions,
    rows_of,
    same_positions,
)


class Teacher(Protocol):
    """Whoever answers for rows: a cache, several joined, or a live model."""

    def take(
        self, row_id: Int64, row_hash: Int64, view: Int64, signals: Sequence[str] = ()
    ) -> Answers:
        """Answers for these rows, in this order: each i64[B]; with these signals of theirs. A row
        is looked for at its place, and where that holds another text, by its hash. Raises
        AlignmentError naming the first row whose text was not answered.
        """


@dataclass(frozen=True)
class Collator:
    """Indices into ``rows`` to a :class:`Batch`. Each target is joined by its teacher and proved by
    row_hash; vectors are joined by the number of the position in its row, and positions without an
    answer are left out.

    An index below 0 is padding: it gives a row of weight 0 that has another row's fields. Raises
    AlignmentError naming the first row whose text is not the one its teacher answered.
    """

    rows: Examples
    task: Classification
    teachers: Mapping[str, Teacher] = field(default_factory=dict)
    # [K] by which a labelled position's weight is multiplied; None: all 1
    class_weight: Float32 | None = None
    labelled_only: bool = False  # leave out positions without a label
    signals: tuple[str, ...] = ()  # of the teacher, that a batch is to have

    def __call__(self, index: Int64) -> Batch[Array]:
        """The batch of the rows at these places, i64[B], in any order and number: padded inputs
        [B, T], labels i64[P] and each teacher's target of P kept positions.
        """
        rows = self.rows
        is_row = index >= 0
        if not is_row.all():
            index = np.where(is_row, index, index.max(initial=0))
        positions = self.task.positions(rows, index)
        if self.labelled_only:
            positions = positions.select(np.flatnonzero(positions.label >= 0))
        answers = {name: self._ask(name, teacher, index) for name, teacher in self.teachers.items()}
        positions, targets = _joined(positions, answers)
        inputs = pad(rows, index)
        where = where_of(positions, inputs, rows.padding.side)
        weight = positions.weight
        if self.class_weight is not None:
            weight = weight * np.where(
                positions.label < 0, np.float32(1), self.class_weight[positions.label]
            )
        return Batch(
            row_id=rows.row_id[index],
            view=rows.view[index],
            inputs=inputs,
            where=where,
            label=positions.label,
            weight=weight * is_row[where[:, 0]],
            targets=targets,
            vectors=self._vectors(answers, inputs, row_id=rows.row_id[index]),
        )

    def _vectors(
        self, answers: Mapping[str, Answers], inputs: Mapping[str, Array], row_id: Int64
    ) -> dict[str, Array]:
        """The teacher's signals as the inputs are padded: [B, T, d], or [B, d] of those of rows.
        Raises AlignmentError for a row whose tokens are not as many as its vectors.
        """
        vectors = {}
        is_token = inputs["attention_mask"] == 1
        for answer in answers.values():
            for name, signal in answer.vectors.items():
                if name.startswith(POOLED):
                    vectors[name] = signal.values
                    continue
                off = np.flatnonzero(signal.lengths() != is_token.sum(1))
                if len(off):
                    raise AlignmentError(
                        f"row {row_id[off[0]]} has {is_token[off[0]].sum()} tokens here, and "
                        f"{signal.lengths()[off[0]]} vectors of {name}",
                        advice="Give --tokenizer the teacher's, and the --max-length of its dump.",
                    )
                padded = np.zeros((*is_token.shape, signal.values.shape[1]), signal.values.dtype)
                padded[is_token] = signal.values
                vectors[name] = padded
        return vectors

    def _ask(self, name: str, teacher: Teacher, index: Int64) -> Answers:
        row_id = self.rows.row_id[index]
        row_hash = self.rows.row_hash[index]
        signals = {"signals": self.signals} if self.signals else {}
        answers = teacher.take(row_id, row_hash, self.rows.view[index], **signals)
        identity.check_rows(row_id, row_hash, answers.row_hash, name)
        return answers


def _joined(
    positions: Positions, answers: Mapping[str, Answers]
) -> tuple[Positions, dict[str, Payload[Array]]]:
    """The positions that every teacher has answered, and each teacher's vectors there."""
    if not all(same_positions(positions, answer) for answer in answers.values()):
        shared, *shared_in_answers = common_positions(positions, *answers.values())
        positions = positions.select(shared)
        parts = zip(answers.items(), shared_in_answers, strict=True)
        answers = {name: answer.select(index) for (name, answer), index in parts}
    payloads = {
        name: answer.payloads[LOGITS]
        for name, answer in answers.items()
        if LOGITS in answer.payloads
    }
    return positions, payloads


def where_of(positions: Positions, inputs: Mapping[str, Array], side: Side) -> Int64:
    """(row in batch, column of the padded inputs) of each position: i64[P, 2]."""
    row = rows_of(positions.indptr)
    where = np.empty((len(row), 2), np.int64)
    where[:, 0] = row
    where[:, 1] = positions.token
    if side is Side.LEFT:
        mask = inputs["attention_mask"]
        where[:, 1] += (mask.shape[1] - mask.sum(axis=1))[row]
    return where


def pad(rows: Examples, index: Int64, padding: Padding | None = None) -> dict[str, Array]:
    """The model inputs of these rows, filled up to the longest: each [B, T], i64.

    ``padding`` is the rows' own by default. Where its side is none, the rows are filled on the
    right, and ``logitcache.models.call`` takes the filling away again. The attention mask is there
    in any case.
    """
    padding = padding or rows.padding
    indptr = rows.inputs["input_ids"].indptr
    starts = indptr[index]
    lengths = (indptr[index + 1] - starts)[:, None]
    width = lengths.max(initial=1)
    columns = np.arange(width)
    if padding.side is Side.LEFT:
        columns = columns - (width - lengths)
        mask = columns >= 0
    else:
        mask = columns < lengths
    gather = np.where(mask, starts[:, None] + columns, 0)
    fill = {"input_ids": padding.token, "token_type_ids": padding.segment, "position_ids": 0}
    inputs: dict[str, Array] = {}
    for name, column in rows.inputs.items():
        inputs[name] = np.where(mask, column.values[gather], fill[name]).astype(np.int64)
    return {"input_ids": inputs.pop("input_ids"), "attention_mask": mask.astype(np.int64), **inputs}
