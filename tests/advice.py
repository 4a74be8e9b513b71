"""Advice that is followed to the letter, and must arrive.

A case is a generator of two attempts: the first is refused with the advice, and between the two the
advice is followed. :func:`not_followed` finds the advice in the source of some rooms that no case
follows.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
import subprocess
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import logitcache
from logitcache.errors import LogitCacheError
from logitcache_cli.main import cli
from tests.source import functions_with, statements

PACKAGE = Path(logitcache.__file__).parent
ERRORS = {
    "SpecError",
    "FormatError",
    "CorruptShard",
    "FingerprintMismatch",
    "AlignmentError",
    "Locked",
    "IncompleteCache",
    "DiskError",
    "OutOfSpace",
}
_RESHAPE = re.compile(
    r"logitcache reshape (?:(?!logitcache reshape).)*? --out (\S+?)(?=[.;,]?(?:\s|$))"
)
CONSTANT = re.compile(r"^\s*_*[A-Z][A-Z0-9_]* = ", re.MULTILINE)
SHORTEST = 9  # characters of a piece of advice by which it is recognised
Attempts = Iterator[Callable[[], object]]


class Cases:
    """Cases by the advice that they follow."""

    def __init__(self) -> None:
        self.by_advice: list[tuple[str, Callable[..., Attempts]]] = []

    def follow(self, advice: str) -> Callable[[Callable[..., Attempts]], Callable[..., Attempts]]:
        """Declare that a function follows this advice."""

        def add(function: Callable[..., Attempts]) -> Callable[..., Attempts]:
            self.by_advice.append((advice, function))
            return function

        return add

    def parameters(self) -> list[Any]:
        """The cases as parameters of a test."""
        return [pytest.param(*case, id=case[1].__name__) for case in self.by_advice]

    @property
    def advice(self) -> list[str]:
        return [advice for advice, _ in self.by_advice]


def arrives(attempts: Attempts, advice: str) -> None:
    """The first attempt is refused with this advice, and the second is not refused."""
    with pytest.raises(LogitCacheError) as caught:
        next(attempts)()
    assert advice in str(caught.value), str(caught.value)
    next(attempts)()
    attempts.close()  # type: ignore[attr-defined]


def printed(code: str, folder: Path) -> str:
    """What ``python -c code`` prints in a folder, run in this process: one of its own would import
    what this one has.
    """
    program, out = compile(code, "-c", "exec"), io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        warnings.catch_warnings(action="ignore"),  # of files that the end of a process closes
    ):
        exec(program, {"__name__": "__main__"})
    return out.getvalue()


def followed(command: str, folder: Path) -> str:
    """What a command ``python -c "CODE"`` prints in a folder. A shell reads the words of the command,
    and this process runs the code.
    """
    shell = f'python() {{ printf %s "$2"; }}; {command}'
    read = subprocess.run(["bash", "-c", shell], check=True, capture_output=True, text=True)
    return printed(read.stdout, folder)


def reshaped(message: str, folder: Path) -> Path:
    """Run the commands ``logitcache reshape`` of a message in a folder; what they write: a file, or
    for several commands the folder of their files.
    """
    commands = list(_RESHAPE.finditer(message))
    assert commands, message
    for command in commands:
        with contextlib.chdir(folder):
            result = CliRunner().invoke(cli, shlex.split(command[0])[1:])
        assert result.exit_code == 0, result.stderr
    out = folder / commands[0][1]
    return out if len(commands) == 1 else out.parent


def not_followed(
    rooms: Iterable[str], advice: Iterable[str], reasons: Mapping[str, str]
) -> list[str]:
    """Advice in these rooms (or files of them) that is neither among ``advice``, nor in a function of
    ``reasons`` (``FILE:FUNCTION``) or a part of it.
    """
    known = [*advice, *reasons]
    constants = _constants()
    left = []
    for room in rooms:
        files = [PACKAGE / room] if room.endswith(".py") else (PACKAGE / room).rglob("*.py")
        for path in sorted(files):
            name = path.relative_to(PACKAGE).as_posix()
            for function, call in _calls(path):
                pieces = _pieces(call, constants)
                is_known = f"{name}:{function}" in reasons or _are_known(pieces, known)
                if pieces and not is_known:
                    left.append(f"{name}:{call.lineno} {function}: {' … '.join(pieces)}")
    return left


def _are_known(pieces: list[str], known: list[str]) -> bool:
    return any(piece in text or text in piece for piece in pieces for text in known)


def _calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """The calls that make an error, with the name of the function that they are in."""
    for function in functions_with(path, ERRORS):
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                if name in ERRORS:
                    yield function.name, node


def _pieces(call: ast.Call, constants: Mapping[str, list[str]]) -> list[str]:
    """The literal parts of an error's advice."""
    field = next((word.value for word in call.keywords if word.arg == "advice"), None)
    if field is None:
        return []
    literals = []
    for node in ast.walk(field):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            literals.append(node.value)
        elif isinstance(node, ast.Name):
            literals += constants.get(node.id, [])
    return [piece.strip() for piece in literals if len(piece.strip()) >= SHORTEST]


@cache
def _constants() -> dict[str, list[str]]:
    """The texts that names of the package are assigned to, wherever that is."""
    texts: dict[str, list[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        if not CONSTANT.search(path.read_text(encoding="utf-8")):
            continue
        for node in statements(path):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if name.isupper() or name.lstrip("_").isupper():
                    texts.setdefault(name, []).extend(
                        part.value
                        for part in ast.walk(node.value)
                        if isinstance(part, ast.Constant) and isinstance(part.value, str)
                    )
    return texts
