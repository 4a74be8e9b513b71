"""What one cell of a label column holds, where it is more than a name or a number: a list, choices
of Label Studio, or a number for each class.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from logitcache.data.literals import object_in, python_value
from logitcache.data.names import is_number
from logitcache.data.sources.exported import LABEL, OF_SPANS
from logitcache.data.values import are_all, present
from logitcache.errors import SpecError, short

SEPARATORS = (",", ";", "|", " ")  # between several labels of a row
_ONES, _ZEROS = ("1", "1.0", "1."), ("0", "0.0", "0.")
TOLERANCE = 0.01  # by which probabilities may miss 1: people round them
_NUMBERS_LIST = re.compile(r"\[\s*[-+.\d]+(?:[\s,]+[-+.\d]+)*\s*,?\s*\]")  # numpy writes [0 1 0]


def single_label(cell: Any, column: str | None, are_votes: bool) -> tuple[Any, bool]:
    """The one label in a cell, None where it has none; and whether it is certain, or the likeliest
    of several. Raises SpecError, without a place, for several labels.
    """
    if isinstance(cell, Mapping):
        return _likeliest(_probabilities(cell, column))
    if not isinstance(cell, list | tuple):
        return cell, True
    if are_votes:
        votes = Counter(cast_votes(cell))
        return _likeliest({name: count / votes.total() for name, count in votes.items()})
    if not cell:
        return None, True
    if are_all(cell, Mapping) and not any(map(_is_span, cell)):
        are_annotations = LABEL in cell[0] and not _are_scores(cell)
        if len(cell) == 1 or are_annotations:
            raise _object(cell[0], column)
    if len(cell) > 1 or isinstance(cell[0], list | tuple | dict):
        raise several_labels(cell, column)
    return cell[0], True


def _likeliest(probabilities: Mapping[Any, float]) -> tuple[Any, bool]:
    """The class of the largest probability, None where several have it or all are 0; and whether
    that is certain.
    """
    largest = max(probabilities.values(), default=0)
    names = [name for name, number in probabilities.items() if number == largest]
    is_one = largest > 0 and len(names) == 1
    return names[0] if is_one else None, largest in (0, 1)


def several_labels(
    elements: Sequence[Any], column: str | None, where: str | None = None
) -> SpecError:
    """The error over a cell that holds several labels, or those of parts of a text."""
    advice = (
        "Keep one label a row, or train one class at a time: save it as a column of 0 and 1, and "
        "name that with --label."
    )
    found = f"{short(repr(elements))}: several labels a row (multi-label), which are not trained"
    if any(map(_is_span, elements)) or any(map(_holds_spans, elements)):
        found = f"{short(repr(elements))}: labels of parts of a text"
        advice = f"{OF_SPANS}."
    elif _are_scores(elements):
        found = f"{short(repr(elements))}: a number for each class"
        advice = f"Give a teacher's answers by dump --teacher {shlex.quote(f'column:{column}')}"
    return SpecError(
        expected=f"one label a row in column {column!r}", found=found, advice=advice, where=where
    )


def _are_scores(elements: Sequence[Any]) -> bool:
    """Whether they are probabilities of classes, or classes with a score each, as of a model."""
    if elements and are_all(elements, Mapping):
        return all(map(_has_score, elements))
    if not are_all(elements, float) or 1.0 in elements:
        return False
    return min(elements, default=0) >= 0 and abs(sum(elements) - 1) <= TOLERANCE


def _has_score(element: Mapping[Any, Any]) -> bool:
    return any(str(key).lower() == "score" for key in element)


def _is_span(element: Any) -> bool:
    """Whether it says where in a text a label stands: [0, 4, "PER"], or an object with a start."""
    if isinstance(element, dict):
        return any(str(key).startswith("start") for key in element)
    return isinstance(element, list | tuple) and len(element) > 2


def _holds_spans(value: Any) -> bool:
    """Whether an object holds lists of starts and ends, as {"name": {"Ann": [[0, 3]]}}."""
    if isinstance(value, Mapping):
        return any(map(_holds_spans, value.values()))
    if not isinstance(value, list):
        return False
    pairs = [pair for pair in value if isinstance(pair, list) and len(pair) == 2]
    kinds = {type(number) for pair in pairs for number in pair}
    return kinds == {int}


def is_of_votes(cells: Iterable[Any]) -> bool:
    """Whether these are lists of names of which some name a class twice: they are votes, not
    several labels. Blanks are no votes.
    """
    is_repeated = False
    for cell in cells:
        if not isinstance(cell, list | tuple):
            continue
        if not are_all(cell, str | None) or any(map(is_number, present(cell))):
            return False
        votes = cast_votes(cell)
        is_repeated = is_repeated or len(set(votes)) < len(votes)
    return is_repeated


def cast_votes(votes: Iterable[str | None]) -> list[str]:
    """The votes that are not blank."""
    return [name for name in votes if name is not None and name.strip()]


def places_of_one(cells: Sequence[Any]) -> list[int | None] | None:
    """The place of the 1 in each of these lists, where all are of one length and 0 elsewhere (one-hot
    vectors); None where a cell is another. A missing cell stays missing.
    """
    places: list[int | None] = []
    widths = set()
    for cell in cells:
        if cell is None or cell == "":
            places.append(None)
            continue
        if not isinstance(cell, list | tuple) or len(cell) < 2:
            return None
        is_one = [str(number) in _ONES for number in cell]
        is_zero = [str(number) in _ZEROS for number in cell]
        if sum(is_one) != 1 or sum(is_one) + sum(is_zero) < len(cell):
            return None
        widths.add(len(cell))
        places.append(is_one.index(True))
    return places if len(widths) == 1 else None


def unwrapped(value: Any) -> Any:
    """What a cell writes as a JSON object, as a csv of nested values has it: Label Studio's choices
    as a list, any other as a mapping. Another value as it is, an array as a list.
    """
    if hasattr(value, "tolist"):  # of numpy and torch
        return value.tolist()
    if isinstance(value, str):
        value = object_in(value) or value
    if isinstance(value, Mapping) and isinstance(value.get("choices"), list):
        return value["choices"]
    return value


def _probabilities(cell: Mapping[Any, Any], column: str | None) -> dict[Any, float]:
    """The probability of each class in a cell, all 0 where there is no label. Raises SpecError for
    other objects, and where numbers do not sum to 1.
    """
    if len(cell) == 1 and str(next(iter(cell))).startswith("$"):  # a value of MongoDB with its type
        raise _object(cell, column)
    try:
        numbers = {name: float(number or 0) for name, number in cell.items()}
    except (TypeError, ValueError):
        raise _object(cell, column) from None
    total = sum(numbers.values())
    is_negative = min(numbers.values(), default=0) < 0
    if not is_negative and (total == 0 or abs(total - 1) <= TOLERANCE):
        return numbers
    if set(numbers.values()) <= {0, 1}:
        names = [name for name, number in numbers.items() if number]
        error = several_labels(names, column)
        error.advice = f"Train one class at a time: {_option(f'{column}.{names[0]}')}"
        raise error
    raise SpecError(
        expected=f"one class, or probabilities that sum to 1, in column {column!r}",
        found=f"{short(repr(cell))}, which sums to {total:.4g}",
        advice=f"Name another column with --label; as votes or logits of a teacher: dump --teacher column:{column}",
    )


def _object(cell: Mapping[Any, Any], column: str | None) -> SpecError:
    """The error over an object that is no label, with the value in it that is likeliest one."""
    if _holds_spans(cell):
        return several_labels([cell], column)
    return SpecError(
        expected=f"one label a row in column {column!r}",
        found=f"an object, {short(repr(cell))}",
        advice=f"Name a value in it, for example {_option(f'{column}.{likely_key(cell)}')}",
    )


def likely_key(cell: Mapping[Any, Any]) -> Any:
    """The key of an object under which its label is likely to stand."""
    for key in ("name", "label"):
        if key in cell:
            return key
    texts = [key for key, value in cell.items() if isinstance(value, str)]
    return next(iter([*texts, *cell]), "")


def joined_names(names: Collection[str]) -> dict[str, list[str]]:
    """The names that are several others with a separator between them ("2,3" of "2" and "3")."""
    distinct_names = set(names)
    joined = {}
    for name in names:
        for separator in SEPARATORS:
            parts = _parts(name, separator)
            if len(parts) > 1 and distinct_names.issuperset(parts):
                joined[name] = parts
    return joined


def _parts(name: str, separator: str) -> list[str]:
    return list(map(str.strip, name.split(separator)))


def votes_joined_by(names: Collection[str]) -> str:
    """The separator that joins several votes to each of these names ("1,1,0" and "0,0,1"); empty
    where they are names of one class each.
    """
    for separator in SEPARATORS[:-1]:
        votes = [_parts(name, separator) for name in names]
        repeated = sum(len(set(row)) < len(row) for row in votes)
        are_joined = min(map(len, votes), default=0) > 1
        if are_joined and 2 * repeated >= len(votes):
            return separator
    return ""


def _option(path: str) -> str:
    return f"--label {shlex.quote(path)}"


def list_in(text: str) -> list[Any] | None:
    """The list that a text writes, as pandas and numpy write one into a csv; None where it writes
    none.
    """
    stripped = text.strip()
    if not (stripped.startswith("[") and stripped.endswith("]")):
        return None
    if _NUMBERS_LIST.fullmatch(stripped):
        return stripped[1:-1].replace(",", " ").split()
    try:
        value = python_value(stripped)
    except ValueError:
        return None
    return value if isinstance(value, list) else None
