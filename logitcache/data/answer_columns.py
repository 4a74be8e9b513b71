"""Answers in the columns of a table: one column for each class, or one column whose cells hold a
number for each class, in the shapes that :mod:`answer_cells` reads.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
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
from logitcache.data.names import LISTED, is_number, listed_short
from logitcache.data.soft_labels import Float64, SoftLabels
from logitcache.data.sources.advice import reshape
from logitcache.data.sources.exported import LABEL, Export
from logitcache.data.sources.hints import (
    VOTES_OF_FUNCTIONS,
    is_identifier,
    is_labelling_function,
    similar,
)
from logitcache.data.sources.nested import LOOKED_AT, first_values, listed_values, paths, with_paths
from logitcache.data.sources.tables import Table
from logitcache.data.values import are_all, distinct, present
from logitcache.errors import SpecError, short

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
            found=listed_short(paths(table), LISTED),
            advice=f"Did you mean --teacher column:{close}?" if close else "Name one of these.",
            where=table.path,
        )
    if all(map(is_labelling_function, names)):
        raise SpecError(
            expected="answers",
            found=listed_short(names),
            advice=f"{VOTES_OF_FUNCTIONS}.",
            where=table.path,
        )
    if len(names) == 1:
        return _one_column(with_names_beside(table, names[0]), names[0], absent)
    if are_names_of_classes(table, names):
        votes = table.with_columns({"votes": votes_of(table, names)})
        return _one_column(votes, "votes", absent)
    numbers = [_numbers(table, name) for name in names]
    return SoftLabels(np.column_stack(numbers), parts_apart(names, columns), table.place)


def are_names_of_classes(table: Table, names: Sequence[str]) -> bool:
    """Whether columns hold names of classes, as the answers of several annotators, and no numbers."""
    for name in names:
        values = present(first_values(table.columns[name], LOOKED_AT))
        if not are_all(values, str) or any(map(_is_amount, values)):
            return False
    return True


def _is_amount(text: str) -> bool:
    """Whether a text is a number or a percentage, alone or behind the name of a class."""
    text = text.strip()
    return is_number(text) or is_scored(text)


def votes_of(table: Table, names: Sequence[str]) -> list[list[str]]:
    """The answers of each row in these columns, one for each annotator: blank where none is given."""
    columns = [listed_values(table, name) for name in names]
    return list(map(list, zip(*columns, strict=True)))


def _matching(table: Table, columns: Sequence[str]) -> list[str]:
    """The columns that are meant, in the order of the table where a pattern says which."""
    if "*" not in columns[0]:
        return list(columns)
    before, _, after = columns[0].partition("*")
    pattern = re.compile(f"{re.escape(before)}.+{re.escape(after)}", re.DOTALL)
    return list(filter(pattern.fullmatch, table.columns))


def parts_apart(names: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """The classes that columns are called by: what stands in place of a pattern's *, or what is
    left of the names without the words that all begin or end with (p_neg, p_pos).
    """
    if "*" in columns[0]:
        before, _, after = columns[0].partition("*")
        begin = len(before)
        end = len(after)
    else:
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
    column = table.columns[name]
    if not isinstance(column, list) and _is_numeric(column.type):
        return _numpy(column)
    numbers = np.full(len(table), np.nan)
    for row, value in enumerate(listed_values(table, name)):
        if value in (None, ""):
            continue
        try:
            numbers[row] = float(value)
        except (TypeError, ValueError):
            raise _no_answer(table, name, row, value, "a number") from None
    return numbers


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _numpy(column: pa.Array | pa.ChunkedArray) -> Float64:
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _no_answer(table: Table, column: str, row: int, value: Any, expected: str) -> SpecError:
    advice = "Mend the row, or name another column."
    names = [f"{column}.{key}" for key in _keys_of_names(value)]
    written = value_in(value) if isinstance(value, str) else value
    values = written.values() if isinstance(written, Mapping) else [value]
    texts = [text for text in values if isinstance(text, str)]
    if any(map(is_share, texts)):
        advice = "Write numbers with a point, such as 0.92 for 0,92 or 92%."
    elif names:
        advice = f"If the names in it are votes: --teacher column:{','.join(names)}."
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
    candidates = [f"{above}{point}{NAMES_BESIDE.get(key, '')}"]
    if point:
        candidates += [path for path in paths(table) if path.startswith(f"{above}.")]
    for beside in distinct(candidates):
        with_beside = with_paths(table, [beside])
        if beside == name or is_identifier(beside) or beside not in with_beside.columns:
            continue
        cells = listed_values(table, name)
        cells_beside = listed_values(with_beside, beside)
        paired = list(map(_paired, cells, cells_beside))
        if None not in paired and any(paired):
            return table.with_columns({name: paired})
    return table


def of_zero_shot(table: Table) -> Export | None:
    """The numbers by class of a table that has them as zero-shot pipelines write them: ``labels``
    and ``scores``, the highest first; None of other tables.
    """
    paired = with_names_beside(table, "scores") if "scores" in table.columns else table
    if paired is table:
        return None
    cells = []
    for cell in paired.columns["scores"]:
        cells.append(numbers_of_mapping(cell) if cell else None)
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
    paired = {"labels": other, "scores": cell}
    if _holds_text(cell):
        paired = {"labels": cell, "scores": other}
    if are_all(paired["labels"], str) and are_all(paired["scores"], int | float):
        return paired
    return None


def _one_column(table: Table, name: str, absent: float) -> SoftLabels:
    matrix = _matrix(table.columns[name])
    if matrix is not None:
        return SoftLabels(matrix, None, table.place)
    values = listed_values(table, name)
    cells = answers_of_annotators(values) or with_numbers(values)
    rows = [_answer(table, name, row, cell) for row, cell in enumerate(cells)]
    answers = {row: answer for row, answer in enumerate(rows) if answer is not None}
    if not answers:
        raise SpecError(
            expected=f"answers in column {name!r}", found="none in any row", where=table.path
        )
    first_answer = next(iter(answers.values()))
    kind = type(first_answer)
    expected = "classes by name, as in the rows before" if kind is dict else "a list of numbers"
    for row, answer in answers.items():
        if type(answer) is not kind:
            raise _no_answer(table, name, row, answer, expected)
    if kind is dict:
        blanks = sum(map(_blanks, cells))
        return replace(_of_names(rows, table, name, absent), blanks=blanks)
    return _of_lists(rows, len(first_answer), table, name)


def _blanks(cell: Any) -> int:
    """How many of the votes in a cell are blank."""
    if not isinstance(cell, list) or not _holds_text(cell):
        return 0
    return len(cell) - len(cast_votes(cell))


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
    if not _is_numeric(kind.value_type):
        return None

    import pyarrow.compute as pc

    lengths = pc.unique(pc.list_value_length(column))
    flat = pc.list_flatten(column)
    if len(lengths) != 1 or flat.null_count or lengths[0].as_py() < 2:
        return None
    return _numpy(flat).reshape(len(column), -1)


def _holds_text(cell: Iterable[Any]) -> bool:
    return any(isinstance(value, str) for value in cell)


def _shares_of_tokens(table: Table, name: str) -> str:
    """How to write the log-probabilities of tokens as shares of classes."""
    if not isinstance(table.path, Path):
        return "Save, by class, exp(logprob) of its tokens divided by their sum, as {'neg': 0.9, 'pos': 0.1}."
    command = reshape("token-logprobs", [table.path], [name, "CLASS", "CLASS"])
    return f"Write shares of the classes: {command}, with the classes for CLASS, and give --teacher column:probs."


def _answer(table: Table, name: str, row: int, cell: Any) -> dict[str, float] | list[float] | None:
    """One cell: numbers by class, numbers in order, or None where there is nothing."""
    value = value_in(cell) if isinstance(cell, str) else cell
    if isinstance(value, np.ndarray):
        value = value.tolist()
    is_missing = value is None or (isinstance(value, float) and np.isnan(value))
    if is_missing:
        return None
    if isinstance(value, str) and not is_scored(value):
        return {value: 1.0}
    if isinstance(value, str | int | float):
        raise _one_number(table, name, row, cell)
    if _are_tokens(value):
        raise SpecError(
            expected=f"a number for each class in column {name!r}",
            found="log-probabilities of tokens",
            advice=_shares_of_tokens(table, name),
            where=table.place(row),
        )
    read = numbers_of_mapping if isinstance(value, Mapping) else numbers_of_sequence
    try:
        return read(value) or None
    except (TypeError, ValueError):
        expected = "a list of numbers, numbers by class, {label, score} or names of classes"
        raise _no_answer(table, name, row, cell, expected) from None


def _are_tokens(value: Any) -> bool:
    """Whether these are tokens with their log-probabilities, as OpenAI's interface lists them."""
    if not isinstance(value, list):
        return False
    return any(isinstance(entry, Mapping) and LOGPROB in entry for entry in value)


def _keys_of_names(value: Any) -> list[str]:
    """The keys under which a cell has names of classes: by annotator, or that of each one's label."""
    if isinstance(value, str):
        value = value_in(value)
    if isinstance(value, list) and value and are_all(value, Mapping):
        return [LABEL] if all(LABEL in entry for entry in value) else []
    if isinstance(value, Mapping) and all(map(_is_name, value.values())):
        return list(map(str, value))
    return []


def _is_name(value: Any) -> bool:
    """Whether a value may be the name of a class: a few words, and no number."""
    if not isinstance(value, str) or _is_amount(value):
        return False
    return len(value.split()) <= _LONGEST_NAME


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
    names = distinct(chain.from_iterable(filter(None, rows)))
    check_not_joined(names, column, table.path, table.place(0))
    values = np.full((len(rows), len(names)), absent)
    class_index = {name: index for index, name in enumerate(names)}
    for row, answer in enumerate(rows):
        if answer is None:
            values[row] = np.nan
            continue
        for name, number in answer.items():
            values[row, class_index[name]] = number
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
