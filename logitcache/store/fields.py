"""Checks of the JSON objects that a cache's files hold."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, get_origin, get_type_hints

COUNTS = range(2**62)
_JSON: dict[Any, type] = {Mapping: dict, tuple: list}


@cache
def json_types(record: type) -> dict[str, type]:
    """The JSON type of each field of a dataclass."""
    return {name: _JSON.get(get_origin(hint), hint) for name, hint in get_type_hints(record).items()}


def has_fields(value: Any, types: Mapping[str, type]) -> bool:
    """Whether a JSON value is an object with exactly these fields, each of just this type: true is no number."""
    if not isinstance(value, Mapping) or set(value) != set(types):
        return False
    return all(type(value[name]) is kind for name, kind in types.items())


def is_integer(value: Any, allowed: range = COUNTS) -> bool:
    """Whether a JSON value is a whole number in this range."""
    return type(value) is int and value in allowed
