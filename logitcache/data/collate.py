"""A batch from row numbers: one vectorised gather for inputs, one for targets, one comparison of
hash columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from logitcache import identity
from logitcache.data.tasks.classification import Classification
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

    def take(self, row_id: Int64, row_hash: Int64, view: Int64) -> Answers:
        """Answers for these rows, in this order: each i64[B]. A row is looked for at its place, and
        where that holds another text, by its hash. Raises AlignmentError naming the first row whose
        text was not answered.
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

    def __call__(self, index: Int64) -> Batch[Array]:
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
        )

    def _ask(self, name: str, teacher: Teacher, index: Int64) -> Answers:
        row_id = self.rows.row_id[index]
        row_hash = self.rows.row_hash[index]
        answers = teacher.take(row_id, row_hash, self.rows.view[index])
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
    return positions, {name: answer.payloads[LOGITS] for name, answer in answers.items()}


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
