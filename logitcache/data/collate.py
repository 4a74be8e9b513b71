"""A batch from places: one vectorised gather for the inputs, one for the targets, one comparison of hash columns."""

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
    Ragged,
    Side,
    common_positions,
    rows_of,
    same_positions,
)


class Teacher(Protocol):
    """Whoever answers for rows: a cache, several joined, or a live model."""

    def take(self, row_id: Int64, row_hash: Int64, view: Int64) -> Answers:
        """Answers for these rows, in this order: each i64[B]. A row is looked for at its place, and where that holds
        another text, by its hash. Raises AlignmentError naming the first row whose text was not answered.
        """


@dataclass(frozen=True)
class Collator:
    """Places in ``rows`` to a :class:`Batch`. Each target is joined by its teacher and proved by row_hash; its vectors
    are joined by the number of the position in its row, and positions without an answer are left out.

    A place below 0 is padding: it gives a row of weight 0 that has another row's fields. Raises AlignmentError naming
    the first row whose text is not the one its teacher answered.
    """

    rows: Examples
    task: Classification
    teachers: Mapping[str, Teacher] = field(default_factory=dict)
    class_weight: Float32 | None = None  # [K] by which a labelled position's weight is multiplied; None: all 1

    def __call__(self, places: Int64) -> Batch[Array]:
        rows, real = self.rows, places >= 0
        if not real.all():
            places = np.where(real, places, places[real][0] if real.any() else 0)
        positions = self.task.positions(rows, places)
        answers = {name: self._ask(name, teacher, places) for name, teacher in self.teachers.items()}
        positions, targets = _joined(positions, answers)
        inputs = pad(rows, places)
        where = where_of(positions, inputs, rows.padding.side)
        weight = positions.weight
        if self.class_weight is not None:
            weight = weight * np.where(positions.label < 0, np.float32(1), self.class_weight[positions.label])
        return Batch(
            row_id=rows.row_id[places],
            view=rows.view[places],
            inputs=inputs,
            where=where,
            label=positions.label,
            weight=weight * real[where[:, 0]],
            targets=targets,
        )

    def _ask(self, name: str, teacher: Teacher, places: Int64) -> Answers:
        row_id = self.rows.row_id[places]
        row_hash = self.rows.row_hash[places]
        answers = teacher.take(row_id, row_hash, self.rows.view[places])
        identity.check_rows(row_id, row_hash, answers.row_hash, name)
        return answers


def _joined(positions: Positions, answers: Mapping[str, Answers]) -> tuple[Positions, dict[str, Payload[Array]]]:
    """The positions that every teacher has answered, and each teacher's vectors there."""
    if all(same_positions(positions, each) for each in answers.values()):
        return positions, {name: each.payloads[LOGITS] for name, each in answers.items()}
    kept, *places = common_positions(positions, *answers.values())
    parts = zip(answers.items(), places, strict=True)
    return positions.select(kept), {name: each.select(at).payloads[LOGITS] for (name, each), at in parts}


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


def pad(rows: Examples, places: Int64, padding: Padding | None = None) -> dict[str, Array]:
    """The model inputs of these rows, filled up to the longest: each [B, T], i64.

    ``padding`` is the rows' own by default. Where its side is none, the rows are filled on the right, and
    ``logitcache.models.call`` takes the filling away again. The attention mask is there in any case.
    """
    padding = padding or rows.padding
    indptr = rows.inputs["input_ids"].indptr
    starts = indptr[places]
    lengths = (indptr[places + 1] - starts)[:, None]
    width = lengths.max(initial=1)
    columns = np.arange(width)
    if padding.side is Side.LEFT:
        columns = columns - (width - lengths)
        mask = columns >= 0
    else:
        mask = columns < lengths
    gather = np.where(mask, starts[:, None] + columns, 0)
    fill = {"input_ids": padding.token, "token_type_ids": padding.segment, "position_ids": 0}
    inputs = {name: _gather(column, gather, mask, fill[name]) for name, column in rows.inputs.items()}
    return {"input_ids": inputs.pop("input_ids"), "attention_mask": mask.astype(np.int64), **inputs}


def _gather(column: Ragged, gather: Int64, mask: Array, fill: int) -> Array:
    return np.where(mask, column.values[gather], fill).astype(np.int64)
