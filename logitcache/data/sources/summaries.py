"""Docstrings of a package's sources, and the summary of one as plain text.

Sources are parsed, never imported. Every step is a pure function of the files.
"""

from __future__ import annotations

import ast
import gc
import inspect
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIN_WORDS, MAX_WORDS, MIN_CHARACTERS = 5, 60, 25
_ALIASES = {
    "matplotlib": ("mpl", "plt", "pyplot", "pylab"),
    "networkx": ("nx",),
    "pandas": ("pd",),
    "sklearn": ("scikit", "skl"),
    "transformers": ("hf", "huggingface", "hugging face"),
}

_Docstring = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_SKIPPED_FOLDER = re.compile(
    r"_?(op)?test(s|ing)?([_-].*)?|backcompat|_?externals?|_?vendor(ed)?(_.*)?|third_party|array_api_.*"
)
_SKIPPED_FILE = re.compile(r"conftest\.py|test_.*|.*_tests?\.py")
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
# A line that begins something else than prose: doctest, directive, field, rule or fence, section,
# parameter, bullet.
_NOT_PROSE = re.compile(
    r"""\s*(?: >>> | \.\.(?:\s|$) | :\w[^:`]*:(?:\s|$) | @\w+ | ([-=~*\#^"`_+])\1\1
    | (?:Args?|Arguments|Parameters?|Params|Inputs?|Outputs?|Returns?|Yields?|Raises
        |Examples?|Attributes|Usage|Shapes?|Notes?)\s*(?::|$)
    | [*]{0,2}\w+\ \(.*\)\s*: | [*\w]+(?:,\s[*\w]+)*\ :\s | [-*+•]\s | \d+[.)]\s )""",
    re.VERBOSE,
)
_MARKUP = re.compile(
    r":[a-zA-Z][\w:+-]*:(?=`)|\s*<[^<>`]*>(?=`)|(?<=`)_{1,2}(?!\w)|\[(?=`)|(?<=`)\](?:\([^()\s]*\))?"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)\s+(?=[A-Z])")


def summaries(name: str, source: Path) -> list[str]:
    """The summaries under one folder of sources that do not name their package."""
    own_name = _own_name(name)
    with garbage_collection_paused():
        texts = [
            _summary(docstring) for path in sources(source) for docstring in docstrings_of(path)
        ]
    return [text for text in dict.fromkeys(texts) if text and not own_name.search(text)]


def sources(source: Path) -> Iterator[Path]:
    for path in sorted(source.rglob("*.py")):
        *folders, file = path.relative_to(source).parts
        if (
            not any(map(_SKIPPED_FOLDER.fullmatch, folders))
            and not _SKIPPED_FILE.fullmatch(file)
            and path.is_file()
        ):
            yield path


def docstrings_of(path: Path) -> list[str]:
    """The docstrings of a file's module, classes and functions; none if it is not Python of this
    version.
    """
    try:
        # other people's invalid escapes are not our user's concern
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return []
    docstrings = (ast.get_docstring(node, clean=False) for node in _definitions(tree))
    return [docstring for docstring in docstrings if docstring]


def _definitions(tree: ast.Module) -> Iterator[_Docstring]:
    """Every node that may have a docstring. Statements only: expressions are most of a tree and
    hold no definition.
    """
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, _Docstring):
            yield node
        children = ast.iter_child_nodes(node)
        todo.extend(
            child
            for child in children
            if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case)
        )


@contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Syntax trees are many small objects without a cycle: collecting costs a fifth more time and
    frees nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _own_name(name: str) -> re.Pattern[str]:
    """Matches a text that names the package: a long name anywhere (PyTorch, torch.nn), a short one
    as a word (np).
    """
    names = (name, *_ALIASES.get(name, ()))
    forms = (
        re.escape(form) if len(form) > 3 else rf"(?<![^\W_]){re.escape(form)}(?![^\W_])"
        for form in names
    )
    return re.compile("|".join(forms), re.IGNORECASE)


def _summary(docstring: str) -> str | None:
    """The first paragraph as plain text on one line, at most MAX_WORDS long; None if it is no
    English prose.
    """
    lines = _PARAGRAPH.split(inspect.cleandoc(docstring), maxsplit=1)[0].splitlines()
    prose = next((lines[:i] for i, line in enumerate(lines) if _NOT_PROSE.match(line)), lines)
    text = _shorten(" ".join(_plain(" ".join(prose)).split()))
    return text if _is_english(text) else None


def _plain(text: str) -> str:
    """Without the markup of reStructuredText and Markdown, which would tell packages apart by house
    style alone.
    """
    return _MARKUP.sub("", text).replace("`", "").replace("**", "").replace("~", "")


def _shorten(text: str) -> str:
    """The first sentences that make at most MAX_WORDS; nothing if the first alone is longer."""
    if len(text.split()) <= MAX_WORDS:
        return text
    length = 0
    for end in _SENTENCE_END.finditer(text):
        if len(text[: end.start()].split()) <= MAX_WORDS:
            length = end.start()
    return text[:length]


def _is_english(text: str) -> bool:
    if (
        len(text) < MIN_CHARACTERS
        or len(text.split()) < MIN_WORDS
        or not text[0].isalnum()
        or not text.isprintable()
    ):
        return False
    letters, spaces = sum(map(str.isalpha, text)), text.count(" ")
    return letters >= 0.75 * (len(text) - spaces)  # less is a formula, a signature or a table
