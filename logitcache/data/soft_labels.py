"""Answers that lie in a table already, as people have them: one number for each class in every row.

In one column: a list of K numbers; a mapping from class to number; what ``pipeline(top_k=None)``
writes, a list of {label, score}, or pairs; {labels, scores} of a zero-shot pipeline; the answers of
several annotators by name, which are counted; one class name, which is one vote. In a text file
such a cell is written as JSON or as Python prints it. Or one column for each class.

What the numbers are is never guessed from some of them: rows that all sum to 1 are probabilities,
whole numbers from 0 are votes, and everything else has to be declared as logits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from logitcache.config.answers import AnswerSource
from logitcache.data.answer_cells import is_share, numbers_of_mapping, numbers_of_sequence, value_in
from logitcache.data.label_cells import TOLERANCE
from logitcache.data.names import LISTED, listed
from logitcache.data.sources.hints import similar
from logitcache.data.sources.nested import paths, with_paths
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError, short
from logitcache.records import Array, Float32

# The logit of probability 0, below the largest of its row: the lowest number that half precision
# has. Its softmax is exactly 0 in single precision at every temperature below 600, so a divergence
# at temperature 1 is exact.
ZERO = -65504.0
_SEPARATOR = re.compile(r"[_\-. :/]")

Float64: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Place: TypeAlias = Callable[[int], str]


class Kind(StrEnum):
    """What the numbers are."""

    PROBABILITIES = "probabilities"
    VOTES = "votes"
    LOGITS = "logits"


@dataclass(frozen=True)
class SoftLabels:
    """The numbers of each row and class as they were written."""

    values: Float64  # [N, K]; a row without an answer is NaN
    names: tuple[str, ...] | None  # of the K columns; None: they have numbers alone
    place: Place  # where a row stands

    def with_names(self, names: Sequence[str]) -> SoftLabels:
        """The same, with columns of zeros for these further classes, which no row mentions."""
        ordered = np.zeros((len(self.values), len(names)))
        ordered[np.isnan(self.values).all(axis=1)] = np.nan
        return SoftLabels(
            np.hstack([self.values, ordered]), (*(self.names or ()), *names), self.place
        )

    def logits(self, source: AnswerSource) -> tuple[Float32, Kind]:
        """f32[N, K], minus each row's maximum, and what the numbers were; NaN where a row has no
        answer. Raises SpecError naming the first row that is none of it.
        """
        values = self.values
        missing: Flags = np.asarray(np.isnan(values).all(axis=1))
        broken: Flags = np.asarray(np.isnan(values).any(axis=1) & ~missing)
        if broken.any():
            raise self._refused(
                broken,
                "a number for each class",
                "NaN or nothing for some of them",
                "Mend the row.",
            )
        if source.are_logits:
            kind = Kind.LOGITS
            self._check_logits(values)
        else:
            kind = self._kind(values, missing, source)
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.log(np.where(values.sum(axis=1, keepdims=True) > 0, values, np.nan))
        with np.errstate(invalid="ignore"):
            shifted = values - values.max(axis=1, keepdims=True)
        shifted[np.isneginf(shifted)] = ZERO
        return shifted.astype(np.float32), kind

    def _check_logits(self, values: Float64) -> None:
        infinite: Flags = np.asarray(
            np.isposinf(values).any(axis=1) | np.isneginf(values).all(axis=1)
        )
        if infinite.any():
            raise self._refused(
                infinite, "finite logits (or -inf for probability 0)", "infinity", "Mend the row."
            )

    def _kind(self, values: Float64, missing: Flags, source: AnswerSource) -> Kind:
        """What the numbers are by themselves; rows that are ``missing`` say nothing."""
        expected = "probabilities or votes"
        declare = f"If they are logits, say so: {source.as_logits}"
        negative: Flags = np.asarray(((values < 0) | np.isinf(values)).any(axis=1))
        if negative.any():
            raise self._refused(negative, expected, "a number below 0 or infinite", declare)
        total = values.sum(axis=1)
        off = ~missing & (np.abs(total - 1) > TOLERANCE)
        if not off.any():
            return Kind.PROBABILITIES
        if (values[~missing] == np.floor(values[~missing])).all():
            self._check_counts(values[~missing])
            return Kind.VOTES
        sums = f"numbers that sum to {total[off.argmax()]:.6g}"
        advice = (
            f"Give every class of every row, so that a row sums to 1, or counts of votes. {declare}"
        )
        raise self._refused(off, f"{expected} (each row sums to 1, or whole numbers)", sums, advice)

    def _check_counts(self, votes: Float64) -> None:
        """Raises SpecError where lists of whole numbers may as well be the class numbers that
        annotators chose: all are below K, and their sums differ.
        """
        sums = votes.sum(axis=1)
        if self.names is None and (votes < votes.shape[1]).all() and (sums != sums[0]).any():
            first = ", ".join(f"{value:.0f}" for value in votes[0][:8])
            raise SpecError(
                expected="counts of votes for each class",
                found=f"lists such as [{first}], which may as well be the class numbers that annotators chose",
                advice="Write counts by class name, as {'neg': 2, 'pos': 1}, or the chosen classes by their names.",
                where=self.place(0),
            )

    def _refused(self, rows: Flags, expected: str, found: str, advice: str) -> SpecError:
        first = int(rows.argmax())
        numbers = ", ".join(f"{value:.4g}" for value in self.values[first][:8])
        count = f"; {int(rows.sum()):,} such rows" if rows.sum() > 1 else ""
        return SpecError(
            expected=expected,
            found=f"{found} ({numbers}{count})",
            advice=advice,
            where=self.place(first),
        )


def read_array(file: str) -> SoftLabels:
    """An array [N, K] that numpy wrote; of an archive, the only one in it. Raises SpecError."""
    try:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            if len(loaded.files) != 1:
                raise SpecError(
                    expected="one array", found=listed(loaded.files), advice="Save one.", where=file
                )
            loaded = loaded[loaded.files[0]]
    except (OSError, ValueError, EOFError) as error:
        message = str(error).splitlines()[0]
        raise SpecError(
            expected="an array that numpy.save wrote",
            found=message,
            advice="Write it with numpy.save.",
            where=file,
        ) from None
    if loaded.ndim != 2 or loaded.dtype.kind not in "fiu" or loaded.shape[1] < 2:
        raise SpecError(
            expected="an array of numbers [rows, classes]",
            found=f"{loaded.dtype} {list(loaded.shape)}",
            advice="Save one row for each row of the data, and one column for each class.",
            where=file,
        )
    return SoftLabels(loaded.astype(np.float64), None, lambda row: f"{Path(file).name}, row {row}")


def read_columns(table: Table, columns: Sequence[str], absent: float = 0.0) -> SoftLabels:
    """The answers in these columns of a table: names, or one pattern. ``absent`` is the number of a
    class that a row does not name: no vote and no probability, but NaN of logits. Raises SpecError
    naming the first row that has none of the known shapes.
    """
    names = _matching(table, columns)
    table = with_paths(table, names)
    missing = [name for name in names if name not in table.columns]
    if missing or not names:
        wrong = (missing or columns)[0]
        close = similar(wrong, paths(table))
        raise SpecError(
            expected=f"the column {wrong!r} for --teacher",
            found=listed(list(map(short, paths(table))), LISTED),
            advice=f"Did you mean --teacher column:{close}?" if close else "Name one of these.",
            where=table.path,
        )
    if len(names) == 1:
        return _one_column(table, names[0], absent)
    numbers = [_numbers(table, name) for name in names]
    return SoftLabels(np.column_stack(numbers), parts_apart(names, columns), table.place)


def _matching(table: Table, columns: Sequence[str]) -> list[str]:
    """The columns that are meant, in the order of the table where a pattern says which."""
    if "*" not in columns[0]:
        return list(columns)
    before, _, after = columns[0].partition("*")
    long_enough = len(before) + len(after)
    matching = []
    for name in table.columns:
        if name.startswith(before) and name.endswith(after) and len(name) > long_enough:
            matching.append(name)
    return matching


def parts_apart(names: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """The classes that columns are called by: what stands in place of a pattern's *, or what is
    left of the names without the words that all begin or end with (p_neg, p_pos).
    """
    if "*" in columns[0]:
        before, _, after = columns[0].partition("*")
        return tuple(name[len(before) : len(name) - len(after)] for name in names)
    begin = _shared_words(names)
    end = _shared_words([name[begin:][::-1] for name in names])
    return tuple(name[begin : len(name) - end] for name in names)


def _shared_words(names: Sequence[str]) -> int:
    """How many characters all names begin with, up to the last that separates words."""
    shared = 0
    for number, characters in enumerate(zip(*names, strict=False), 1):
        if len(set(characters)) > 1:
            break
        if _SEPARATOR.match(characters[0]):
            shared = number
    return shared


def _numbers(table: Table, name: str) -> Float64:
    """A column of one number a row: f64[N], NaN where there is none."""
    values = table.columns[name]
    if not isinstance(values, list):
        if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
            return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
        values = values.to_pylist()
    try:
        return np.array([np.nan if value in (None, "") else value for value in values], np.float64)
    except (TypeError, ValueError):
        row = next(row for row, value in enumerate(values) if not _is_number(value))
        raise _no_answer(table, name, row, values[row], "a number") from None


def _is_number(value: Any) -> bool:
    try:
        return value in (None, "") or float(value) is not None
    except (TypeError, ValueError):
        return False


def _no_answer(table: Table, column: str, row: int, value: Any, expected: str) -> SpecError:
    found = short(repr(value))
    advice = "Mend the row, or name another column."
    if "%" in found:
        advice = "Write percentages as numbers, such as 0.92 for 92%."
    return SpecError(
        expected=f"{expected} in column {column!r}",
        found=found,
        advice=advice,
        where=table.place(row),
    )


def _one_column(table: Table, name: str, absent: float) -> SoftLabels:
    matrix = _matrix(table.columns[name])
    if matrix is not None:
        return SoftLabels(matrix, None, table.place)
    cells = table.columns[name]
    rows = [_answer(table, name, row, cell) for row, cell in enumerate(_listed(cells))]
    first_answer = next((answer for answer in rows if answer is not None), None)
    if first_answer is None:
        raise SpecError(
            expected=f"answers in column {name!r}", found="none in any row", where=table.path
        )
    for row, answer in enumerate(rows):
        if answer is not None and isinstance(answer, dict) != isinstance(first_answer, dict):
            expected = "a list of numbers"
            if isinstance(first_answer, dict):
                expected = "classes by name, as in the rows before"
            raise _no_answer(table, name, row, answer, expected)
    if isinstance(first_answer, dict):
        return _of_names(rows, table, absent)
    return _of_lists(rows, len(first_answer), table, name)


def _listed(column: Any) -> list[Any]:
    values: list[Any] = column if isinstance(column, list) else column.to_pylist()
    return values


def _matrix(column: Any) -> Float64 | None:
    """Lists of numbers that are all of one length, in one step; None where they have to be looked
    at one by one.
    """
    if isinstance(column, list):
        if not column or not isinstance(column[0], list | np.ndarray) or _holds_text(column[0]):
            return None
        try:
            matrix = np.array(column, np.float64)
        except (TypeError, ValueError):
            return None
        return matrix if matrix.ndim == 2 and matrix.shape[1] > 1 else None
    kind = column.type
    is_list = (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
    if not is_list or column.null_count or not len(column):
        return None
    inner = kind.value_type
    if not (pa.types.is_floating(inner) or pa.types.is_integer(inner)):
        return None
    lengths = pc.unique(pc.list_value_length(column))
    flat = pc.list_flatten(column)
    if len(lengths) != 1 or flat.null_count or lengths[0].as_py() < 2:
        return None
    numbers: Array = flat.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.asarray(numbers.reshape(len(column), -1), np.float64)


def _holds_text(cell: Iterable[Any]) -> bool:
    return any(isinstance(value, str) for value in cell)


def _answer(table: Table, name: str, row: int, cell: Any) -> dict[str, float] | list[float] | None:
    """One cell: numbers by class, numbers in order, or None where there is nothing."""
    value = value_in(cell) if isinstance(cell, str) else cell
    value = value.tolist() if isinstance(value, np.ndarray) else value
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, str) and not is_share(value):
        return {value: 1.0}
    if isinstance(value, str | int | float):
        raise _one_number(table, name, row, cell)
    try:
        answer = (
            numbers_of_mapping(value) if isinstance(value, Mapping) else numbers_of_sequence(value)
        )
    except (TypeError, ValueError):
        expected = "a list of numbers, numbers by class, {label, score} or names of classes"
        raise _no_answer(table, name, row, cell, expected) from None
    return answer or None


def _one_number(table: Table, column: str, row: int, value: Any) -> SpecError:
    """The error over one number where a number for each class is expected."""
    return SpecError(
        expected=f"a number for each class in column {column!r}",
        found=short(repr(value)),
        advice="Save the scores of all classes (of a pipeline: top_k=None), in a list or in one column for each class: "
        "--teacher column:A,B or column:PREFIX*",
        where=table.place(row),
    )


def _of_names(rows: Sequence[Any], table: Table, absent: float) -> SoftLabels:
    names = list(dict.fromkeys(name for answer in rows if answer is not None for name in answer))
    values = np.full((len(rows), len(names)), absent)
    column = {name: index for index, name in enumerate(names)}
    for row, answer in enumerate(rows):
        if answer is None:
            values[row] = np.nan
            continue
        for name, number in answer.items():
            values[row, column[name]] = number
    return SoftLabels(values, tuple(names), table.place)


def _of_lists(rows: Sequence[Any], width: int, table: Table, column: str) -> SoftLabels:
    values = np.full((len(rows), width), np.nan)
    for row, answer in enumerate(rows):
        if answer is None:
            continue
        if len(answer) != width:
            raise _no_answer(table, column, row, answer, f"{width} numbers, as in the rows before,")
        values[row] = answer
    return SoftLabels(values, None, table.place)
