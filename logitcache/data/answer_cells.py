"""One cell of a table of answers: numbers by class, or numbers in order.

A cell is a value of a column of lists or mappings, or a text that holds one as JSON, Python or
numpy prints it.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

_SHARE = re.compile(r"0?[.,]\d+|\d+(?:[.,]\d+)?\s*%")


def is_share(text: str) -> bool:
    """Whether a text is a number between 0 and 1 or a percentage, and so no class name."""
    return _SHARE.fullmatch(text) is not None


def value_in(text: str) -> Any:
    """A list or mapping as JSON, Python or numpy prints it; else the text, None if empty."""
    text = text.strip()
    if not text or text[0] not in "[{(":
        return text or None
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            continue
    words = text.strip("[]()").replace(",", " ").split()
    try:
        return [float(word) for word in words]
    except ValueError:
        return text


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
    """The numbers of a list, by class where it names them; names alone are counted as votes. Raises
    ValueError or TypeError where it holds something else.
    """
    values = list(value)
    if len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    if values and all(isinstance(entry, Mapping) for entry in values):
        return _once((entry.get("label"), entry.get("score")) for entry in values)
    if values and all(isinstance(entry, str) for entry in values):
        return {name: float(count) for name, count in Counter(values).items()}
    if values and all(isinstance(entry, list | tuple) and len(entry) == 2 for entry in values):
        return _once(values)
    return [np.nan if number is None else float(number) for number in values]


def _once(pairs: Any) -> dict[str, float]:
    """Numbers by name. Raises ValueError for a name twice, TypeError for what is no name."""
    numbers: dict[str, float] = {}
    for name, number in pairs:
        if not isinstance(name, str | int) or str(name) in numbers:
            raise ValueError(name)
        numbers[str(name)] = float(number)
    return numbers
