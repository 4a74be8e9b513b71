"""Short questions about a sequence of values, whatever column they are of."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from types import UnionType
from typing import Any, TypeVar

H = TypeVar("H", bound=Hashable)


def are_all(values: Iterable[Any], kind: type | UnionType) -> bool:
    """Whether every value is of this type; true of no values."""
    return all(isinstance(value, kind) for value in values)


def has_any(values: Iterable[Any]) -> bool:
    """Whether some value is not None."""
    return any(value is not None for value in values)


def is_gap(value: Any) -> bool:
    """Whether a value is missing or an empty text."""
    return value is None or (isinstance(value, str) and not value)


def present(values: Iterable[Any]) -> list[Any]:
    """The values that are neither missing nor an empty text."""
    return [value for value in values if not is_gap(value)]


def distinct(values: Iterable[H]) -> list[H]:
    """Each value once, in the order in which they come first."""
    return list(dict.fromkeys(values))


def first_text(texts: Iterable[str]) -> str:
    """The first text that is not empty; empty where there is none."""
    return next(filter(None, texts), "")


def are_counted(sentences: Sequence[Sequence[str]]) -> bool:
    """Whether what stands for the words of sentences are numbers that count them from 1."""
    for words in sentences:
        numbers = map(str, range(1, len(words) + 1))
        if list(words) != list(numbers):
            return False
    return sum(map(len, sentences)) > 1
