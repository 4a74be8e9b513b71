"""A student's answers, read back from ``predictions.parquet``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.config.train import ENTITY_F1
from logitcache.data.tasks.table import TASKS
from logitcache.data.tasks.token_classification import EntityScores, TokenClassification
from logitcache.errors import FormatError
from logitcache.records import Float32, Int64

MAX_POSITIONS = 1 << 20  # of a row
# columns that stand for answers in results of tasks without logits
_NOT_LOGITS = frozenset(name for kind in TASKS.values() for name in kind.recorded_names)


@dataclass(frozen=True)
class Predictions:
    """A student's answers to one split, in order of ``row_id``: R rows or positions, K classes."""

    row_id: Int64  # [R], strictly increasing; of positions, one number for each
    label: Int64  # [R], in [0, K)
    logits: Float32  # [R, K], finite; [R, 0] of tasks that record something else
    nll: Float32 | None = None  # [R] where a task records losses in place of logits
    are_positions: bool = False  # of rows that have several
    # of tags of words: gold entities, answered ones and both, of each row with a labelled word
    entities: Int64 | None = None  # [rows, 3]

    def units(self, metric: str) -> int:
        """How many rows, or positions of rows, a metric counts."""
        rows = self.entities if metric == ENTITY_F1 else self.label
        return 0 if rows is None else len(rows)

    @property
    def are_constant(self) -> bool:
        """Whether all rows got one class although their labels are of several."""
        if not self.logits.size or len(np.unique(self.label)) < 2:
            return False
        return len(np.unique(self.logits.argmax(axis=1))) == 1


def read_predictions(path: Path, label_names: list[str] | None) -> dict[str, Predictions]:
    """The answers by split. ``label_names`` gives the number of classes. Raises FormatError."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    columns = _columns(path)
    types = {"split": pa.string(), "row_id": pa.int64(), "label": pa.int64()}
    has_logits = _NOT_LOGITS.isdisjoint(columns)
    if has_logits:
        types["logits"] = pa.list_(pa.float32())
    elif "nll" in columns:
        types["nll"] = pa.float32()
    fields = [pa.field(name, kind, nullable=False) for name, kind in types.items()]
    schema = pa.schema(fields)
    try:
        table = pq.read_table(path, columns=schema.names).cast(schema).combine_chunks()
    except FileNotFoundError:
        raise FormatError(expected="the student's predictions", found="no such file") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError(
            expected="split, row_id, label and logits", found=str(error).splitlines()[0]
        ) from None
    if not table.num_rows:
        raise FormatError(expected="predictions of some rows", found="none")
    if any(column.null_count for column in table.columns):
        raise FormatError(expected="a value in every row", found="nulls")
    classes = 0
    if has_logits:
        if label_names is None:
            classes = pc.max(pc.list_value_length(table["logits"])).as_py()
        else:
            classes = len(label_names)
    are_positions = False
    if "position" in columns:  # older results have one position a row
        positions = pq.read_table(path, columns=["position"])["position"].to_numpy()
        if positions.any():  # each is compared as a row is
            row_id = table["row_id"].to_numpy() * MAX_POSITIONS + positions
            table = table.set_column(1, "row_id", pa.array(row_id))
            are_positions = True
    splits = pc.unique(table["split"]).to_pylist()
    predictions = {}
    for name in splits:
        part = table.filter(pc.equal(table["split"], name))
        answers = _split_predictions(name, part, classes, are_positions)
        if are_positions and has_logits and label_names is not None:
            answers = replace(answers, entities=_entities(part, label_names))
        predictions[name] = answers
    return predictions


def read_answers(path: Path, split: str) -> tuple[Int64, Int64] | None:
    """The row_id and the likeliest class of each row of a split without a label, in the order of
    rows; None where there are none. Raises FormatError.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["split", "row_id", "label", "logits"])
    except (pa.ArrowException, OSError) as error:
        found = str(error).splitlines()[0]
        raise FormatError(
            expected="split, row_id, label and logits", found=found, where=path
        ) from None
    rows = table.filter(pc.equal(table["split"], split))
    rows = rows.filter(pc.less(rows["label"], 0))
    if not rows.num_rows:
        return None
    row_id = rows["row_id"].to_numpy()
    order = np.argsort(row_id, kind="stable")
    logits = np.array(rows["logits"].to_pylist(), np.float32)
    return row_id[order], logits.argmax(axis=1)[order]


def _columns(path: Path) -> frozenset[str]:
    """The names of a file's columns; none of a file that cannot be read, which is refused later."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return frozenset(pq.read_schema(path).names)
    except (pa.ArrowException, OSError):
        return frozenset()


def _split_predictions(name: str, table: Any, classes: int, are_positions: bool) -> Predictions:
    row_id = table["row_id"].to_numpy()
    label = table["label"].to_numpy()
    _check_all(np.unique(row_id, return_counts=True)[1] == 1, name, "each row_id once")
    order = np.argsort(row_id)
    if "logits" not in table.column_names:
        nll = None
        if "nll" in table.column_names:
            nll = table["nll"].to_numpy()[order]
            _check_all(np.isfinite(nll), name, "finite losses")
        no_logits = np.empty((len(order), 0), np.float32)
        return Predictions(row_id[order], label[order], no_logits, nll, are_positions)
    lists = table["logits"].combine_chunks()
    _check_all(
        (label >= -1) & (label < classes), name, f"labels 0 to {classes - 1}, or -1 for none"
    )
    _check_all(lists.value_lengths().to_numpy() == classes, name, f"{classes} logits in each row")
    logits = lists.flatten().to_numpy().reshape(-1, classes)
    _check_all(np.isfinite(logits).all(axis=1), name, "finite logits")
    order = order[label[order] >= 0]  # a row without a label counts nowhere
    return Predictions(row_id[order], label[order], logits[order], None, are_positions)


def _entities(table: Any, label_names: list[str]) -> Int64 | None:
    """Those of a split's rows; None where its labels are no tags of entities."""
    scores = TokenClassification(len(label_names), tuple(label_names)).scores()
    if not isinstance(scores, EntityScores):
        return None
    word = table["row_id"].to_numpy()
    order = np.argsort(word)
    row = word[order] // MAX_POSITIONS
    label = table["label"].to_numpy()[order]
    logits = table["logits"].combine_chunks().flatten().to_numpy().reshape(len(word), -1)
    guesses = np.where(label < 0, -1, logits.argmax(1)[order])
    starts = np.flatnonzero(np.append(True, row[1:] != row[:-1]))
    has_label = np.maximum.reduceat(label, starts) >= 0
    return scores.of_rows(label, guesses, np.append(starts, len(row)))[has_label]


def _check_all(good: npt.NDArray[np.bool_], split: str, expected: str) -> None:
    if not good.all():
        raise FormatError(
            f"split {split}: expected {expected}, found {np.count_nonzero(~good)} rows otherwise"
        )
