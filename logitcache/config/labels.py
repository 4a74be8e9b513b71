"""Class names as typed: ``--labels A,B``, ``--label-map A=B``, ``--class-weight NAME=WEIGHT``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Set
from typing import Any

from logitcache.errors import SpecError


def names_of(value: Any) -> tuple[str, ...]:
    """Names, from a sequence of them or as they are typed. Raises ValueError for what is neither."""
    names = parse_names(value) if isinstance(value, str) else value
    # the order of a set is another in each process
    is_ordered = isinstance(names, Iterable) and not isinstance(names, Set | Mapping)
    names = tuple(names) if is_ordered else (None,)
    if not all(isinstance(name, str) for name in names):
        raise ValueError("names separated by commas, or a list of them")
    return names


def class_names_of(value: Any) -> tuple[str, ...]:
    """Class names in label order, from a sequence of them, from a mapping between names and numbers
    (``id2label`` or ``label2id``), or as they are typed. Raises ValueError for what is none of these.
    """
    try:
        names = parse_names(value) if isinstance(value, str) else value
        return names_of(_by_number(names) if isinstance(names, Mapping) else names)
    except ValueError:
        raise ValueError("names in label order, or the number of each name, from 0") from None


def _by_number(names: Mapping[Any, Any]) -> list[Any]:
    """The names of a mapping from or to their numbers. Raises ValueError where the numbers are not
    0, 1, 2, ...
    """
    by_number = {str(number): name for number, name in names.items()}
    if all(type(number) is int for number in names.values()):
        by_number = {str(number): name for name, number in names.items()}
    numbers = list(map(str, range(len(names))))
    if set(by_number) != set(numbers):
        raise ValueError(numbers)
    return [by_number[number] for number in numbers]


def map_of(value: Any) -> dict[str, str]:
    """A label map, from a mapping or as typed; class numbers are names too. Raises ValueError."""
    if isinstance(value, str):
        return parse_map(value)
    if not isinstance(value, Mapping) or not all(
        isinstance(name, str | int) for pair in value.items() for name in pair
    ):
        raise ValueError("a mapping of the data's classes to the teacher's")
    return {str(data): str(teacher) for data, teacher in value.items()}


BALANCED = "balanced"


def weights_of(value: Any) -> str | dict[str, float]:
    """``balanced``, or weights by class, from a mapping or typed. Raises ValueError, SpecError."""
    if value == BALANCED:
        return BALANCED
    expected = f"{BALANCED}, or NAME=WEIGHT,... with weights above 0"
    if isinstance(value, str) and "=" not in value and not value.lstrip().startswith("{"):
        raise ValueError(expected)
    pairs = _typed_weights(value) if isinstance(value, str) else value
    if not isinstance(pairs, Mapping) or not pairs:
        raise ValueError(expected)
    try:
        weights = {str(name): float(weight) for name, weight in pairs.items()}
    except (TypeError, ValueError):
        raise ValueError(expected) from None
    if not all(math.isfinite(weight) and weight > 0 for weight in weights.values()):
        raise ValueError(expected)
    return weights


def _typed_weights(text: str) -> Any:
    if text.lstrip().startswith("{"):
        try:
            pairs = json.loads(text, object_pairs_hook=list)
        except (ValueError, RecursionError):
            raise ValueError("a JSON object of NAME: WEIGHT") from None
    else:
        pairs = [part.rpartition("=")[::2] for part in text.split(",")]
    names = [name.strip() for name, _ in pairs]
    if len(set(names)) < len(names) or not all(names):
        raise ValueError("each class once, as NAME=WEIGHT,...")
    return dict(zip(names, (weight for _, weight in pairs), strict=True))


def parse_names(text: str) -> Any:
    """Names separated by commas, or what a JSON list or object holds. Raises ValueError for JSON
    that is none.
    """
    if not text.lstrip().startswith(("[", "{")):
        return [name.strip() for name in text.split(",")]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("names separated by commas, or JSON") from None


def parse_map(text: str) -> dict[str, str]:
    """``DATA=TEACHER,...`` or a JSON object as a mapping.

    Raises SpecError for what is neither, or names a class of the data twice.
    """
    pairs: list[tuple[str, str]] = []
    if text.lstrip().startswith("{"):
        pairs = _json_pairs(text)
    else:
        for part in text.split(","):
            data, equals, teacher = part.partition("=")
            if not (equals and data.strip() and teacher.strip()):
                raise _no_map(part)
            pairs.append((data.strip(), teacher.strip()))
    names = [data for data, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SpecError(
            f"--label-map: expected each class of the data once, found {twice!r} twice. Leave one out."
        )
    return dict(pairs)


def _json_pairs(text: str) -> list[tuple[str, str]]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        raise _no_map(text) from None
    if not isinstance(pairs, list) or not all(
        isinstance(word, str) and word for pair in pairs for word in pair
    ):
        raise _no_map(text)
    return pairs


def _no_map(text: str) -> SpecError:
    example = "such as negative=NEG,positive=POS, or a JSON object"
    return SpecError(
        f"--label-map: expected DATA=TEACHER,..., {example}, found {text!r}. Correct it."
    )
