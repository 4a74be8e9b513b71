"""How dense the package is to read: Python tokens a code line, and how often some forms stand in a thousand of them.

    python benchmarks/surface.py [--width 120] [FOLDER ...]

With ``--width`` a copy is formatted to that width first, as the figures depend on where lines are wrapped.
"""

from __future__ import annotations

import argparse
import ast
import io
import shutil
import subprocess
import sys
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

COUNTED = (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
# Pronouns and participles that say little as names.
_VAGUE = (
    "told said asked found known given ready each here there place places asks tells says knows gives shown taken kept "
    "seen met made named wanted both other others whole rest which whose whom many some few more most one mine theirs "
    "ours yours this that these those"
)
VAGUE = frozenset(_VAGUE.split())


def code_lines(text: str) -> Iterator[int]:
    """The line of each token that is counted."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in COUNTED:
            yield token.start[0]


def bound_name(node: ast.AST) -> str | None:
    """The name that a node binds: of a variable, a parameter, a function or a class."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return node.id
    if isinstance(node, ast.arg):
        return node.arg
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name
    return None


def count(path: Path, counts: Counter[str]) -> None:
    """Add a file's tokens, lines and forms."""
    text = path.read_text("utf-8")
    lines = list(code_lines(text))
    counts["lines"] += text.count("\n")
    counts["tokens"] += len(lines)
    counts["code lines"] += len(set(lines))
    for node in ast.walk(ast.parse(text)):
        counts["ternaries"] += isinstance(node, ast.IfExp)
        counts["comprehensions"] += isinstance(node, COMPREHENSIONS)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
            counts["tuple assignments"] += isinstance(node.targets[0], ast.Tuple)
        name = bound_name(node)
        counts["names"] += name is not None
        counts["vague names"] += (name or "").strip("_") in VAGUE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("logitcache"), Path("cli")])
    parser.add_argument("--width", type=int, help="format a copy to so many characters a line")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        for number, folder in enumerate(options.folders):
            if options.width is not None:
                folder = shutil.copytree(folder, Path(name) / str(number))
                wrap = [sys.executable, "-m", "ruff", "format", "--quiet", "--isolated"]
                wrap += ["--config", "format.skip-magic-trailing-comma=true"]
                subprocess.run([*wrap, "--line-length", str(options.width), folder], check=True)
            for path in sorted(folder.rglob("*.py")):
                count(path, counts)
    per_line = counts["tokens"] / counts["code lines"]
    print(f"{counts['lines']:,} lines, {per_line:.2f} tokens a code line")
    for form in ("ternaries", "comprehensions", "tuple assignments"):
        print(f"{1000 * counts[form] / counts['code lines']:.0f} {form} per 1,000 code lines")
    print(f"{counts['vague names'] / counts['names']:.1%} of names are pronouns or participles")


if __name__ == "__main__":
    main()
