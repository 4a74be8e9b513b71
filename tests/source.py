"""Python files as their statements."""

from __future__ import annotations

import ast
from collections.abc import Iterator
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
