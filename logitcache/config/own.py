"""Methods of one's own: a class or an object named as ``module:NAME``, or an object in memory.

The module is imported, from the current folder too. What makes two runs with such a method the same
is its name, its parameters and the text of its class.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logitcache import identity
from logitcache.errors import SpecError, short

NAMED = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<attribute>[A-Za-z_][\w.]*)")
OURS = Path(__file__).parents[1]
_IN_MEMORY: dict[str, Any] = {}  # by name


def is_own(name: str) -> bool:
    """Whether a name is that of a method of one's own."""
    return name in _IN_MEMORY or NAMED.fullmatch(name) is not None


def named(term: Any) -> str:
    """The name of a term in memory, for :func:`term_of`. Raises SpecError for what is none."""
    kind = type(term)
    if isinstance(term, type) or not callable(term):
        raise SpecError(
            expected="the name of a method, or a Term",
            found=short(repr(term)),
            advice="Give an object, such as MyTerm().",
            where="method",
        )
    values = ", ".join(f"{name}={value}" for name, value in parameters(term).items())
    name = f"{kind.__module__}:{kind.__qualname__}" + (f"({values})" if values else "")
    _IN_MEMORY[name] = term
    return name


def term_of(name: str) -> Any:
    """The term of a name; a class is made without arguments. Raises SpecError."""
    if name in _IN_MEMORY:
        return _IN_MEMORY[name]
    match = NAMED.fullmatch(name)
    if match is None:
        raise SpecError(expected="module:Class", found=repr(name), advice="Correct it.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        value: Any = importlib.import_module(match["module"])
        for part in match["attribute"].split("."):
            value = getattr(value, part)
        return value() if isinstance(value, type) else value
    except Exception as error:
        raise failure(name, error, "it cannot be imported or made") from error


def failure(name: str, error: Exception, what: str) -> SpecError:
    """The error over what a user's own code has raised, with its file and line."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename and not frame.filename.startswith(("<", str(OURS)))
    ]
    line = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    problem = f"{what}: {type(error).__name__}: {short(error)}{line}"
    return SpecError(problem, advice="Correct that code.", where=name)


def place_of(term: Any) -> str:
    """Where a term's class is written: its file and the line of ``__call__``; else its name."""
    try:
        line = inspect.getsourcelines(type(term).__call__)[1]
        return f"{inspect.getsourcefile(type(term))}:{line}"
    except (OSError, TypeError):
        return type(term).__qualname__


def parameters(term: Any) -> dict[str, str]:
    """What a term was made with, as text: its own attributes."""
    values: Mapping[str, Any] = getattr(term, "__dict__", {})
    return {name: short(repr(value)) for name, value in values.items() if not name.startswith("_")}


def record(term: Any) -> dict[str, Any]:
    """What a result records of a term: its parameters, and a digest of its class's text."""
    try:
        source: str | None = identity.digest_json(inspect.getsource(type(term)))[:12]
    except (OSError, TypeError):
        source = None
    return {"parameters": parameters(term), "source": source}
