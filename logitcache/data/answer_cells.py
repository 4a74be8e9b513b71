"""One cell of a table of answers: numbers by class, or numbers in order.

A cell is a value of a column of lists or mappings, or a text that holds one as JSON, Python or
numpy prints it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
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
    written = object_in(text)
    if written is not None:
        return written
    is_enclosed = _ENCLOSED.fullmatch(text) is not None
    for parse in (json.loads, python_value) if is_enclosed else ():
        try:
            return parse(text)
        except (ValueError, RecursionError):
            continue
    inner = text.strip("[]()")
    if _NUMBERS.fullmatch(inner) is not None:
        words = _BETWEEN.split(inner)
        if is_enclosed or not all(map(str.isdecimal, words)):  # 2,3 may be two classes
            return list(map(float, words))
    return _by_name(text) or text or None


def _by_name(text: str) -> dict[str, float]:
    """Several names with their numbers, ``pos: 0.9, neg: 0.1``."""
    pairs = list(map(_PAIR.fullmatch, re.split("[,;|]", text)))
    numbers = {pair[1]: float(pair[2]) for pair in pairs if pair is not None}
    return numbers if len(numbers) == len(pairs) > 1 else {}


def numbers_of_mapping(value: Mapping[Any, Any]) -> dict[str, float]:
    """The numbers by class of a mapping. Raises ValueError or TypeError where it holds something else."""
    # as `datasets` turns a list of mappings round
    for names, numbers in (("labels", "scores"), ("label", "score")):
        if isinstance(value.get(names), list) and isinstance(value.get(numbers), list):
            return _once(zip(value[names], value[numbers], strict=True))
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
    if len(values) == 1 and isinstance(values[0], Mapping) and "label" not in values[0]:
        return numbers_of_mapping(values[0])
    if values and are_all(values, Mapping):
        name, number = _name_and_number(values)
        return _once((entry.get(name), entry.get(number)) for entry in values)
    if values and are_all(values, str | None):
        votes = Counter(cast_votes(values))
        return {name: float(count) for name, count in votes.items()}
    likelihoods = list(map(_log_likelihood, values))
    if values and None not in likelihoods:
        return [float(number) for number in likelihoods if number is not None]
    if values and all(isinstance(entry, list | tuple) and len(entry) == 2 for entry in values):
        return _once(values)
    return [np.nan if number is None else float(number) for number in values]


def with_numbers(cells: Sequence[Any]) -> Sequence[Any]:
    """The cells of a column with numbers in place of lists of their texts, where some are not whole:
    these are no names of classes.
    """
    written = [cell if _are_written(cell) else [] for cell in cells]
    if all(float(number).is_integer() for cell in written for number in cell):
        return cells
    return [list(map(float, n)) if n else cell for cell, n in zip(cells, written, strict=True)]


def _are_written(cell: Any) -> bool:
    if not isinstance(cell, list) or not are_all(cell, str):
        return False
    return all(re.fullmatch(_NUMBER, entry.strip()) for entry in cell)


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
