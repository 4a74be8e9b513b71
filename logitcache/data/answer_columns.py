"""Answers in the columns of a table: one column for each class, or one column whose cells hold a
number for each class, in the shapes that :mod:`answer_cells` reads.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from logitcache.data.answer_cells import (
    LOGPROB,
    is_scored,
    is_share,
    numbers_of_mapping,
    numbers_of_sequence,
    value_in,
    with_numbers,
)
from logitcache.data.by_annotator import answers_of_annotators
from logitcache.data.label_cells import cast_votes, likely_key
from logitcache.data.label_values import check_not_joined
from logitcache.data.names import LISTED, is_number, listed
from logitcache.data.soft_labels import Float64, SoftLabels
from logitcache.data.sources.exported import LABEL, Export
from logitcache.data.sources.hints import (
    VOTES_OF_FUNCTIONS,
    is_identifier,
    is_labelling_function,
    similar,
)
from logitcache.data.sources.nested import LOOKED_AT, first_values, paths, with_paths
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError, short
from logitcache.records import Array

_LONGEST_NAME = 4  # words of a class's name
_SEPARATOR = re.compile(r"[_\-. :/]")
NAMES_BESIDE = {"scores": "labels", "score": "label"}  # what pipelines call numbers and their names


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
    if all(map(is_labelling_function, names)):
        found = listed(list(map(short, names)))
        raise SpecError(
            expected="answers", found=found, advice=f"{VOTES_OF_FUNCTIONS}.", where=table.path
        )
    if len(names) == 1:
        return _one_column(with_names_beside(table, names[0]), names[0], absent)
    if are_names_of_classes(table, names):
        votes = replace(table, columns={**table.columns, "votes": votes_of(table, names)})
        return _one_column(votes, "votes", absent)
    numbers = [_numbers(table, name) for name in names]
    return SoftLabels(np.column_stack(numbers), parts_apart(names, columns), table.place)


def are_names_of_classes(table: Table, names: Sequence[str]) -> bool:
    """Whether columns hold names of classes, as the answers of several annotators, and no numbers."""
    for name in names:
        values = first_values(table.columns[name], LOOKED_AT)
        present = [value for value in values if value not in (None, "")]
        if not all(isinstance(value, str) and not _is_amount(value) for value in present):
            return False
    return True


def _is_amount(text: str) -> bool:
    """Whether a text is a number or a percentage, alone or behind the name of a class."""
    return is_number(text.strip()) or is_scored(text.strip())


def votes_of(table: Table, names: Sequence[str]) -> list[list[str]]:
    """The answers of each row in these columns, one for each annotator: blank where none is given."""
    rows = zip(*(_listed(table.columns[name]) for name in names), strict=True)
    return list(map(list, rows))


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
    advice = "Mend the row, or name another column."
    names = ",".join(f"{column}.{key}" for key in _keys_of_names(value))
    written = value_in(value) if isinstance(value, str) else value
    values = list(written.values()) if isinstance(written, Mapping) else [value]
    texts = [text for text in values if isinstance(text, str)]
    if any(map(is_share, texts)):
        advice = "Write numbers with a point, such as 0.92 for 0,92 or 92%."
    elif names:
        advice = f"If the names in it are votes: --teacher column:{names}."
    elif isinstance(written, Mapping) and texts:
        path = shlex.quote(f"column:{column}.{likely_key(written)}")
        advice = f"Name a value in it, for example --teacher {path}"
    return SpecError(
        expected=f"{expected} in column {column!r}",
        found=short(repr(value)),
        advice=advice,
        where=table.place(row),
    )


def with_names_beside(table: Table, name: str) -> Table:
    """The table with numbers by class in place of a column of lists of numbers, or of their names,
    where both stand beside each other in lists of one length: these are often in the order of the
    numbers' sizes, not of the classes.
    """
    above, point, key = name.rpartition(".")
    usual = f"{above}{point}{NAMES_BESIDE.get(key, '')}"
    below = [path for path in paths(table) if point and path.startswith(f"{above}.")]
    for beside in dict.fromkeys([usual, *below]):
        table_of_both = with_paths(table, [beside])
        if beside == name or is_identifier(beside) or beside not in table_of_both.columns:
            continue
        columns = (_listed(table_of_both.columns[column]) for column in (name, beside))
        paired = [_paired(*cells) for cells in zip(*columns, strict=True)]
        if None not in paired and any(paired):
            return replace(table, columns={**table.columns, name: paired})
    return table


def of_zero_shot(table: Table) -> Export | None:
    """The numbers by class of a table that has them as zero-shot pipelines write them: ``labels``
    and ``scores``, the highest first; None of other tables.
    """
    paired = with_names_beside(table, "scores") if "scores" in table.columns else table
    if paired is table:
        return None
    cells = [numbers_of_mapping(cell) if cell else None for cell in paired.columns["scores"]]
    note = (
        "labels and scores, as zero-shot pipelines write them, are read as numbers by class, scores"
    )
    return Export(note, {"scores": cells}, ("labels",))


def _paired(cell: Any, other: Any) -> dict[str, list[Any]] | None:
    """Numbers and the names of their classes, of one list each; empty where there is neither, None
    for other cells.
    """
    if cell is None and other is None:
        return {}
    if not isinstance(cell, list) or not isinstance(other, list) or len(cell) != len(other):
        return None
    names, numbers = (cell, other) if _holds_text(cell) else (other, cell)
    are_names = all(isinstance(name, str) for name in names)
    are_numbers = all(isinstance(number, int | float) for number in numbers)
    return {"labels": names, "scores": numbers} if are_names and are_numbers else None


def _one_column(table: Table, name: str, absent: float) -> SoftLabels:
    matrix = _matrix(table.columns[name])
    if matrix is not None:
        return SoftLabels(matrix, None, table.place)
    values = _listed(table.columns[name])
    cells = answers_of_annotators(values) or with_numbers(values)
    rows = [_answer(table, name, row, cell) for row, cell in enumerate(cells)]
    blanks = sum(map(_blanks, cells))
    first_answer = next((answer for answer in rows if answer is not None), None)
    if first_answer is None:
        raise SpecError(
            expected=f"answers in column {name!r}", found="none in any row", where=table.path
        )
    for row, answer in enumerate(rows):
        if answer is not None and isinstance(answer, dict) != isinstance(first_answer, dict):
            expected = (
                "classes by name, as in the rows before"
                if isinstance(first_answer, dict)
                else "a list of numbers"
            )
            raise _no_answer(table, name, row, answer, expected)
    if isinstance(first_answer, dict):
        return replace(_of_names(rows, table, name, absent), blanks=blanks)
    return _of_lists(rows, len(first_answer), table, name)


def _blanks(cell: Any) -> int:
    """How many of the votes in a cell are blank."""
    are_votes = isinstance(cell, list) and any(isinstance(entry, str) for entry in cell)
    return len(cell) - len(cast_votes(cell)) if are_votes else 0


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

    import pyarrow.compute as pc

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
    if isinstance(value, str) and not is_scored(value):
        return {value: 1.0}
    if isinstance(value, str | int | float):
        raise _one_number(table, name, row, cell)
    if _are_tokens(value):
        raise SpecError(
            expected=f"a number for each class in column {name!r}",
            found="log-probabilities of tokens",
            advice="Save, by class, exp(logprob) of its tokens divided by their sum, as {'neg': 0.9, 'pos': 0.1}.",
            where=table.place(row),
        )
    try:
        answer = (
            numbers_of_mapping(value) if isinstance(value, Mapping) else numbers_of_sequence(value)
        )
    except (TypeError, ValueError):
        expected = "a list of numbers, numbers by class, {label, score} or names of classes"
        raise _no_answer(table, name, row, cell, expected) from None
    return answer or None


def _are_tokens(value: Any) -> bool:
    """Whether these are tokens with their log-probabilities, as OpenAI's interface lists them."""
    if not isinstance(value, list):
        return False
    return any(isinstance(entry, Mapping) and LOGPROB in entry for entry in value)


def _keys_of_names(value: Any) -> list[str]:
    """The keys under which a cell has names of classes: by annotator, or that of each one's label."""
    value = value_in(value) if isinstance(value, str) else value
    entries = value if isinstance(value, list) else []
    if entries and all(isinstance(entry, Mapping) and LABEL in entry for entry in entries):
        return [LABEL]
    are_names = isinstance(value, Mapping) and all(
        isinstance(name, str) and len(name.split()) <= _LONGEST_NAME and not _is_amount(name)
        for name in value.values()
    )
    return list(map(str, value)) if are_names else []


def _one_number(table: Table, column: str, row: int, value: Any) -> SpecError:
    """The error over one number where a number for each class is expected."""
    return SpecError(
        expected=f"a number for each class in column {column!r}",
        found=short(repr(value)),
        advice="Save the scores of all classes (of a pipeline: top_k=None), in a list or in one column for each class: "
        "--teacher column:A,B or column:PREFIX*",
        where=table.place(row),
    )


def _of_names(rows: Sequence[Any], table: Table, column: str, absent: float) -> SoftLabels:
    names = list(dict.fromkeys(name for answer in rows if answer is not None for name in answer))
    check_not_joined(names, column, table.path, table.place(0))
    values = np.full((len(rows), len(names)), absent)
    places = {name: index for index, name in enumerate(names)}
    for row, answer in enumerate(rows):
        if answer is None:
            values[row] = np.nan
            continue
        for name, number in answer.items():
            values[row, places[name]] = number
    return SoftLabels(values, tuple(names), table.place, is_unordered=True)


def _of_lists(rows: Sequence[Any], width: int, table: Table, column: str) -> SoftLabels:
    values = np.full((len(rows), width), np.nan)
    for row, answer in enumerate(rows):
        if answer is None:
            continue
        if len(answer) != width:
            raise _no_answer(table, column, row, answer, f"{width} numbers, as in the rows before,")
        values[row] = answer
    return SoftLabels(values, None, table.place)
