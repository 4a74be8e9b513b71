"""Families of parameters of which `make test` tries a covering choice, and `make test-all` all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import settings


def fast(values: Iterable[Any], *chosen: Any) -> list[Any]:
    """All values for ``parametrize``; those that are not among the chosen ones are slow."""
    every = list(values)
    missing = [value for value in chosen if value not in every]
    assert not missing, f"expected choices of {every}, found {missing}"
    return some(every, lambda value: value in chosen)


def some(values: Iterable[Any], is_fast: Callable[[Any], bool]) -> list[Any]:
    """All values for ``parametrize``; those of which ``is_fast`` is false are slow."""
    return [value if is_fast(value) else slow(value) for value in values]


def slow(value: Any) -> Any:
    """One value, or the tuple of several names' values, that is left to `make test-all`."""
    values = value if isinstance(value, tuple) else (value,)
    return pytest.param(*values, marks=pytest.mark.slow)


def examples(few: int, whole: int = 100) -> int:
    """How many examples of a property are tried: few in `make test`, for those that take long."""
    is_short = settings.default.max_examples == settings.get_profile("short").max_examples
    return few if is_short else whole
