"""Checks of the JSON objects that a cache's files hold."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, get_origin, get_type_hints

COUNTS = range(2**62)
_JSON: dict[Any, type] = {Mapping: dict, tuple: list}


def has_fields(value: Any, record: Any, **extra: type) -> bool:
    """Whether a JSON value has the fields of a dataclass, and more, each of just its type."""
    types = {**_json_types(record), **extra}
    if not isinstance(value, Mapping) or set(value) != set(types):
        return False
    return all(type(value[name]) is kind for name, kind in types.items())


@cache
def _json_types(record: Any) -> dict[str, type]:
    """The JSON type of each field of a dataclass that is always there: that may not be None."""
    hints = get_type_hints(record)
    hints = {name: hint for name, hint in hints.items() if get_origin(hint) is not UnionType}
    return {name: _JSON.get(get_origin(hint), hint) for name, hint in hints.items()}


def is_integer(value: Any, allowed: range = COUNTS) -> bool:
    """Whether a JSON value is a whole number in this range."""
    return type(value) is int and value in allowed
