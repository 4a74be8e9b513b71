"""A batch from places: one vectorised gather for the inputs, one for the targets, one comparison of hash columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from logitcache import identity
from logitcache.data.preprocess.padding import Padding, Side
from logitcache.data.preprocess.tokens import Prepared
from logitcache.data.tasks.classification import Classification
from logitcache.records import Answers, Array, Batch, Int64, Ragged, Target


class Teacher(Protocol):
    """Whoever answers for rows: a cache, several joined, or a live model."""

    def take(self, row_id: Int64, row_hash: Int64, view: Int64) -> Answers:
        """Answers for these rows, in this order: each i64[B]. A row is looked for at its place, and where that holds
        another text, by its hash. Raises AlignmentError naming the first row whose text was not answered.
        """


@dataclass(frozen=True)
class Collator:
    """Places in ``rows`` to a :class:`Batch`. Each target is joined by its teacher and proved by row_hash.

    A place below 0 is padding: it gives a row of weight 0 that has another row's fields. Raises AlignmentError naming
    the first row whose text is not the one its teacher answered.
    """

    rows: Prepared
    task: Classification
    teachers: Mapping[str, Teacher] = field(default_factory=dict)

    def __call__(self, places: Int64) -> Batch[Array]:
        rows, real = self.rows, places >= 0
        if not real.all():
            places = np.where(real, places, places[real][0] if real.any() else 0)
        labels = rows.label[places]
        view = np.zeros(len(places), np.int64)
        return Batch(
            row_id=rows.row_id[places],
            view=view,
            inputs=pad(rows, places),
            where=self.task.where(len(places)),
            labels=labels,
            weight=real.astype(np.float32),
            targets={name: self._ask(name, teacher, places, view) for name, teacher in self.teachers.items()},
        )

    def _ask(self, name: str, teacher: Teacher, places: Int64, view: Int64) -> Target[Array]:
        row_id = self.rows.row_id[places]
        row_hash = self.rows.row_hash[places]
        answers = teacher.take(row_id, row_hash, view)
        identity.check_rows(row_id, row_hash, answers.row_hash, name)
        return Target(self.task.where(len(places)), answers.payload)


def pad(rows: Prepared, places: Int64, padding: Padding | None = None) -> dict[str, Array]:
    """The model inputs of these rows, filled up to the longest: each [B, T], i64.

    ``padding`` is the rows' own by default. Where its side is none, the rows are filled on the right, and
    ``logitcache.models.call`` takes the filling away again. The attention mask is there in any case.
    """
    padding = padding or rows.padding
    starts = rows.ids.indptr[places]
    lengths = (rows.ids.indptr[places + 1] - starts)[:, None]
    width = lengths.max(initial=1)
    columns = np.arange(width)
    if padding.side is Side.LEFT:
        columns = columns - (width - lengths)
        mask = columns >= 0
    else:
        mask = columns < lengths
    gather = np.where(mask, starts[:, None] + columns, 0)
    inputs = {"input_ids": _gather(rows.ids, gather, mask, padding.token), "attention_mask": mask.astype(np.int64)}
    if rows.segment is not None:
        inputs["token_type_ids"] = _gather(rows.segment, gather, mask, padding.segment)
    return inputs


def _gather(column: Ragged, gather: Int64, mask: Array, fill: int) -> Array:
    return np.where(mask, column.values[gather], fill).astype(np.int64)
