"""Methods and students of one's own: named as ``module:NAME``, or in memory.

The module is imported, from the current folder too. What makes two runs with such a method the same
is its name, its parameters and the text of its class; of a student, see ``models/own.py``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from logitcache.config.shapes import FROM, is_shape
from logitcache.errors import SpecError, short

NAMED = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<attribute>[A-Za-z_][\w.]*)")
OURS = Path(__file__).parents[1]
_IN_MEMORY: dict[str, Any] = {}  # by name


def is_own(name: str) -> bool:
    """Whether a name is that of a method or a student of one's own."""
    return name in _IN_MEMORY or (
        NAMED.fullmatch(name) is not None and not name.startswith(FROM) and not Path(name).exists()
    )


def usual_init(student: str) -> str:
    """What ``--init`` is where it is not given: ``random`` for a student without weights to begin
    with (a shape, or what makes a module), else ``pretrained``.
    """
    if is_own(student):
        value = load(student)
        is_fresh = isinstance(value, type) or not hasattr(value, "state_dict")
    else:
        is_fresh = is_shape(student)
    return "random" if is_fresh else "pretrained"


def check_student(student: str, init: str | None, revision: str | None) -> None:
    """Raises SpecError for a student of one's own that cannot be imported, or has no weights of
    this kind, or no revision.
    """
    if not is_own(student):
        return
    weights = usual_init(student)
    if init not in (None, weights):
        raise SpecError(
            expected=f"{weights} weights, which are all that {student} has",
            found=init,
            advice="Leave --init out.",
            where="--init",
        )
    if revision is not None:
        raise SpecError(
            expected=f"a hub name beside --revision {revision}",
            found="a student of your own",
            advice="Leave --revision out.",
            where=student,
        )


def check_importable(names: Iterable[str]) -> None:
    """Raises SpecError for a name that another process cannot import."""
    for name in names:
        if name in _IN_MEMORY:
            raise SpecError(
                expected="module:NAME, which each worker imports",
                found="an object of this process",
                advice="Write it in a module and name it so, or leave the workers out.",
                where=name,
            )


def named(term: Any) -> str:
    """The name of a term in memory, by which :func:`own_term` finds it. Raises SpecError."""
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
    return keep(name, term)


def keep(name: str, value: Any) -> str:
    """Keep an object of this process under a name, under which :func:`load` gives it back."""
    _IN_MEMORY[name] = value
    return name


def load(name: str) -> Any:
    """What a name stands for. Raises SpecError where it cannot be imported."""
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
        return value
    except ModuleNotFoundError as error:
        if error.name != match["module"]:
            raise failure(name, error, "it cannot be imported") from error
        raise SpecError(
            expected=f"a module {error.name}, here or installed",
            found="none",
            advice=f"Run the command in the folder of {error.name}.py, or correct the name.",
            where=name,
        ) from error
    except Exception as error:
        raise failure(name, error, "it cannot be imported") from error


def own_term(name: str) -> Any:
    """The term of a name; of a class, an object made without arguments. Raises SpecError."""
    value = load(name)
    if not isinstance(value, type):
        return value
    try:
        return value()
    except Exception as error:
        raise failure(name, error, "it cannot be made") from error


def failure(name: str, error: Exception, what: str) -> SpecError:
    """The error over what a user's own code has raised, with its file and line."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename
        and not frame.filename.startswith(("<", str(OURS), str(Path(importlib.__file__).parent)))
    ]
    line = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    problem = f"{what}: {type(error).__name__}: {short(error)}{line}"
    return SpecError(problem, advice="Correct that code.", where=name)


def place_of(term: Any, function: str = "__call__") -> str:
    """Where a function of an object's class is written: file and line; else the class's name."""
    try:
        line = inspect.getsourcelines(getattr(type(term), function))[1]
        return f"{inspect.getsourcefile(type(term))}:{line}"
    except (OSError, TypeError):
        return type(term).__qualname__


def parameters(term: Any) -> dict[str, str]:
    """What a term was made with, as text: its own attributes."""
    values: Mapping[str, Any] = getattr(term, "__dict__", {})
    own = (name for name in values if not name.startswith("_"))
    return {name: short(repr(values[name])) for name in own}


def record(term: Any) -> dict[str, Any]:
    """What a result records of a term: its parameters, and a digest of its class's text."""
    return {"parameters": parameters(term), "source": source_digest(type(term))}


def student_digest(student: str) -> str | None:
    """Digest of the text of a student of one's own; None for any other one."""
    if not is_own(student):
        return None
    value = load(student)
    if isinstance(value, functools.partial):
        value = value.func
    return source_digest(
        value if inspect.isclass(value) or inspect.isroutine(value) else type(value)
    )


def source_digest(value: Any) -> str | None:
    """Digest of the text of a class or a function; None where there is none."""
    try:
        from logitcache.identity import digest_json  # numpy, which `--help` has no need of

        return digest_json(inspect.getsource(value))[:12]
    except (OSError, TypeError):
        return None
