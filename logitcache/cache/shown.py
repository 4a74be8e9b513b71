"""A cache as people look at it: one row's answer, all answers as a table, a notebook's view."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from logitcache.errors import visible
from logitcache.notebook import html_table
from logitcache.records import Array, Block, Float32, rows_of
from logitcache.store.columns import ROW

if TYPE_CHECKING:
    from logitcache.cache.cache import Cache

MOST_SHOWN = 5  # classes, in the order of their probability


@dataclass(frozen=True, eq=False)
class Answer:
    """What the teacher said at one kept position of a row."""

    row: int
    row_hash: str  # of its text, 16 hexadecimal digits
    position: int  # its number in the row; 0 where a row has one answer
    label: str | None  # the gold label when it was dumped
    class_names: tuple[str, ...]
    logits: Float32  # [K], largest 0

    @property
    def probabilities(self) -> dict[str, float]:
        """The probability of each class, in the order of the columns."""
        from scipy.special import softmax  # takes long to load

        shares = softmax(self.logits.astype(np.float64))
        return dict(zip(self.class_names, shares.tolist(), strict=True))

    def top(self, count: int = MOST_SHOWN) -> list[tuple[str, float]]:
        """The most probable classes, most probable first."""
        return sorted(self.probabilities.items(), key=operator.itemgetter(1), reverse=True)[:count]

    def __repr__(self) -> str:
        where = f"row {self.row}" + (f", position {self.position}" if self.position else "")
        shares = ", ".join(f"{name} {share:.4f}" for name, share in self.top())
        return visible(f"Answer({where}, hash {self.row_hash}, label {self.label}: {shares})")

    def _repr_html_(self) -> str:
        caption = (
            f"row {self.row}, position {self.position}, label {self.label}, hash {self.row_hash}"
        )
        return html_table(((name, f"{share:.4f}") for name, share in self.top()), caption=caption)


def answer_of(cache: Cache, row: int) -> Answer | list[Answer]:
    """The answer of a row; of rows with several positions, a list. A negative row counts from the
    end. Raises AlignmentError for a row that is not in the cache, or has no answer.
    """
    row = operator.index(row)
    row = row + len(cache) if row < 0 else row
    cache.take(np.array([row], np.int64))  # refuses what is not here
    (answers,) = _answers(cache, next(cache.blocks(row, row + 1))).values()
    return answers[0] if cache.level == ROW else answers


def _answers(cache: Cache, block: Block) -> dict[int, list[Answer]]:
    """The answers of a block by row."""
    names = class_names(cache)
    by_row: dict[int, list[Answer]] = {int(row): [] for row in block.row_id}
    for position, row_number in enumerate(rows_of(block.answers.indptr)):
        label = int(block.label[position])
        answer = Answer(
            row=int(block.row_id[row_number]),
            row_hash=f"{int(block.row_hash[row_number]) % 2**64:016x}",
            position=int(block.answers.index[position]),
            label=names[label] if label >= 0 else None,
            class_names=names,
            logits=block.answers.logits[position],
        )
        by_row[answer.row].append(answer)
    return by_row


def class_names(cache: Cache) -> tuple[str, ...]:
    """The names of the columns; their numbers where they have none."""
    return cache.label_names or tuple(map(str, range(cache.codec.width)))


def to_pandas(cache: Cache, rows: Sequence[int] | Array | None = None) -> Any:
    """A pandas DataFrame of one line for each answer: ``row``, ``row_hash``, ``position`` (where
    rows have several), ``label``, ``answer`` (the most probable class) and ``p(NAME)`` of each
    class. Rows without an answer are left out, and all but ``rows``.
    """
    import pandas

    names = np.array([*class_names(cache), None], dtype=object)  # last, at -1: no label
    row_id = np.arange(len(cache)) if rows is None else np.asarray(rows, np.int64)
    row_id = row_id[~np.isin(row_id, cache.skipped)]
    answers = cache.take(row_id)
    from scipy.special import softmax  # takes long to load

    shares = softmax(answers.logits.astype(np.float64), axis=1)
    rows_of_positions = rows_of(answers.indptr)
    columns: dict[str, Any] = {
        "row": row_id[rows_of_positions],
        "row_hash": answers.row_hash[rows_of_positions],
    }
    if cache.level != ROW:
        columns["position"] = answers.index
    columns["label"] = names[cache.labels(row_id)]
    columns["answer"] = names[shares.argmax(1)] if len(shares) else []
    columns |= {f"p({name})": shares[:, column] for column, name in enumerate(names[:-1])}
    return pandas.DataFrame(columns)


def html(cache: Cache) -> str:
    """What a notebook shows of a cache."""
    plan = cache.manifest.plan
    names = cache.label_names
    listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    codec = ", ".join(f"{name} {value}" for name, value in cache.codec.to_dict().items())
    if not cache.has_logits:
        codec = f"no logits, vectors alone: {', '.join(cache.signals)}"
    rows = (
        ("rows", f"{len(cache):,} of {plan.data.get('source')}/{plan.data.get('split')}"),
        ("classes", f"{len(names):,}: {listed}"),
        ("teacher", plan.teacher.get("name")),
        ("codec", codec),
        ("size", f"{cache.manifest.bytes / 1e6:,.1f} MB"),
        ("skipped", f"{len(cache.skipped):,} rows without an answer"),
        ("fingerprint", cache.fingerprint[:12]),
    )
    return html_table(rows, caption=f"Cache {cache.where}")
