"""One cell of a table of answers: numbers by class, or numbers in order.

A cell is a value of a column of lists or mappings, or a text that holds one as JSON, Python or
numpy prints it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np

from logitcache.data.label_cells import cast_votes
from logitcache.data.literals import object_in, python_value
from logitcache.data.values import are_all

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_ENCLOSED = re.compile(r"[\[{(].*|(?:\w+\.)?(?:array|tensor)\(.*", re.DOTALL)
_BETWEEN = re.compile(r"\s*[,;|]\s*|\s+")
_NUMBERS = re.compile(rf"{_NUMBER}(?:(?:{_BETWEEN.pattern}){_NUMBER})+")
_PAIR = re.compile(rf"\s*['\"]?([^:=,;|]+?)['\"]?\s*[:=]\s*({_NUMBER})\s*")
_SHARE = re.compile(r"0?[.,]\d+|\d+(?:[.,]\d+)?\s*%")
_SCORED = re.compile(rf"(?:\S.*[\s:(])?(?:{_SHARE.pattern}|1[.,]0+)\)?")
LOGPROB = "logprob"  # of a token, in the answers of OpenAI's interface


def is_share(text: str) -> bool:
    """Whether a text is a number between 0 and 1 or a percentage, and so no class name."""
    return _SHARE.fullmatch(text) is not None


def is_scored(text: str) -> bool:
    """Whether a text is one number, or one class with its number: ``pos (0.93)``."""
    return _SCORED.fullmatch(text) is not None


def value_in(text: str) -> Any:
    """What a text says: a list or a mapping as JSON, Python, numpy or torch prints it, with or
    without brackets, a JSON object with words around it; else the text, None if it is empty.
    """
    text = text.strip()
    json_object = object_in(text)
    if json_object is not None:
        return json_object
    is_enclosed = _ENCLOSED.fullmatch(text) is not None
    if is_enclosed:
        with suppress(ValueError, RecursionError):
            return json.loads(text)
        with suppress(ValueError, RecursionError):
            return python_value(text)
    inner = text.strip("[]()")
    if _NUMBERS.fullmatch(inner) is not None:
        words = _BETWEEN.split(inner)
        may_be_classes = all(map(str.isdecimal, words))  # 2,3
        if is_enclosed or not may_be_classes:
            return list(map(float, words))
    return _by_name(text) or text or None


def _by_name(text: str) -> dict[str, float]:
    """Several names with their numbers, ``pos: 0.9, neg: 0.1``."""
    parts = re.split("[,;|]", text)
    numbers = {}
    for pair in filter(None, map(_PAIR.fullmatch, parts)):
        numbers[pair[1]] = float(pair[2])
    return numbers if len(numbers) == len(parts) > 1 else {}


def numbers_of_mapping(value: Mapping[Any, Any]) -> dict[str, float]:
    """The numbers by class of a mapping. Raises ValueError or TypeError where it holds something else."""
    # as `datasets` turns a list of mappings round
    for label, score in (("labels", "scores"), ("label", "score")):
        names = value.get(label)
        numbers = value.get(score)
        if isinstance(names, list) and isinstance(numbers, list):
            return _once(zip(names, numbers, strict=True))
    if {"label", "score"} <= set(value):
        return _once([(value["label"], value["score"])])
    return _once((name, number) for name, number in value.items() if number is not None)


def numbers_of_sequence(value: Any) -> dict[str, float] | list[float]:
    """The numbers of a list, by class where it names them; names alone are counted as votes, and an
    empty one is no vote. Raises ValueError or TypeError where it holds something else.
    """
    values = list(value)
    if len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    if not values:
        return []
    if len(values) == 1 and isinstance(values[0], Mapping) and "label" not in values[0]:
        return numbers_of_mapping(values[0])
    if are_all(values, Mapping):
        name, number = _name_and_number(values)
        return _once((entry.get(name), entry.get(number)) for entry in values)
    if are_all(values, str | None):
        votes = Counter(cast_votes(values))
        return {name: float(count) for name, count in votes.items()}
    likelihoods = [number for number in map(_log_likelihood, values) if number is not None]
    if len(likelihoods) == len(values):
        return likelihoods
    if are_all(values, list | tuple) and set(map(len, values)) == {2}:
        return _once(values)
    return [np.nan if number is None else float(number) for number in values]


def with_numbers(cells: Sequence[Any]) -> Sequence[Any]:
    """The cells of a column with numbers in place of lists of their texts, where some are not whole:
    these are no names of classes.
    """
    numbers = list(map(_numbers_in, cells))
    if all(map(float.is_integer, chain.from_iterable(numbers))):
        return cells
    return [row or cell for row, cell in zip(numbers, cells, strict=True)]


def _numbers_in(cell: Any) -> list[float]:
    """The numbers of a list of their texts; none of another cell."""
    if not isinstance(cell, list) or not are_all(cell, str):
        return []
    if not all(re.fullmatch(_NUMBER, entry.strip()) for entry in cell):
        return []
    return list(map(float, cell))


def _log_likelihood(entry: Any) -> float | None:
    """The log-likelihood of a choice as lm-evaluation-harness saves it, with whether the model would
    have said it first: ``["-1.25", "False"]``, perhaps in a list; None of anything else.
    """
    if isinstance(entry, list) and len(entry) == 1:
        entry = entry[0]
    if not isinstance(entry, list) or len(entry) != 2 or str(entry[1]) not in ("True", "False"):
        return None
    try:
        return float(entry[0])
    except (TypeError, ValueError):
        return None


def _name_and_number(entries: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The keys of a class and of its number in each of these objects: ``label`` and ``score``, or
    the only ones that hold a text and a number. Raises ValueError where several do.
    """
    if {"label", "score"} <= set(entries[0]):
        return "label", "score"
    names = [key for key, value in entries[0].items() if isinstance(value, str)]
    numbers = [key for key, value in entries[0].items() if isinstance(value, int | float)]
    if len(names) != 1 or len(numbers) != 1:
        raise ValueError(entries)
    return names[0], numbers[0]


def _once(pairs: Any) -> dict[str, float]:
    """Numbers by name. Raises ValueError where a name stands there twice, TypeError where one is no
    name.
    """
    numbers: dict[str, float] = {}
    for name, number in pairs:
        if not isinstance(name, str | int) or str(name) in numbers:
            raise ValueError(name)
        numbers[str(name)] = float(number)
    return numbers
