"""Python files as their statements."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")


def statements(path: Path) -> Iterator[ast.AST]:
    """The statements of a file, however deep in others, from the first line on. What is inside of
    expressions is left out: that is most of a file.
    """
    left: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while left:
        node = left.pop()
        yield node
        for block in reversed(BLOCKS):
            left += reversed(getattr(node, block, []))


def functions_with(path: Path, names: Iterable[str]) -> Iterator[ast.FunctionDef]:
    """The functions of a file, inner ones too, in whose lines one of these names is called."""
    called = re.compile(rf"\b({'|'.join(names)})\(")
    lines = path.read_text(encoding="utf-8").splitlines()
    at = [number for number, line in enumerate(lines, 1) if called.search(line)]
    for node in statements(path) if at else ():
        if isinstance(node, ast.FunctionDef):
            last = node.end_lineno or 0
            inside = [number for number in at if node.lineno <= number <= last]
            if inside:
                yield node
