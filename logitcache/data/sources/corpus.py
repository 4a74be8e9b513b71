"""Running text for language models: text files, folders of them, and the built-in corpus.

A text file is cut at empty lines into documents of about 8,000 characters, so that some can be held
out; one without empty lines is cut at the ends of lines, and a line of more than 64,000 behind white
space. Lines of an end token alone (``<|endoftext|>``) end documents, and are no text. ``corpus`` is
the docstrings of the installed packages, one document each.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.data.names import listed
from logitcache.data.sources import docstrings
from logitcache.data.sources.content import Content, Reading, undecodable
from logitcache.data.sources.endings import ending, stem
from logitcache.data.sources.files import data_files, split_of
from logitcache.data.sources.find import Origin
from logitcache.data.sources.tables import Peculiar, Remark, Table, joined
from logitcache.errors import counted
from logitcache.reporter import Reporter
from logitcache.store.files import write_atomic

NAME = "corpus"
PLAIN = Reading()
ENDINGS = (".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".org", ".adoc")
# source code, of which a file is as good a document
_OF_CODE = (
    *(".py", ".pyi", ".js", ".jsx", ".ts", ".tsx", ".java", ".kt", ".scala", ".go", ".rs", ".rb"),
    *(
        ".c",
        ".h",
        ".cc",
        ".cpp",
        ".hpp",
        ".cs",
        ".swift",
        ".php",
        ".pl",
        ".lua",
        ".r",
        ".jl",
        ".sh",
    ),
)
DOCUMENT = 8_000  # characters, from which an empty line ends a document
LONGEST = 4 * DOCUMENT  # from which any line does
END_TOKENS = ("<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "</s>", "<eos>")
_SPACE = re.compile(r"\s+")
MIN_CHARACTERS = 200  # of a docstring that is a document


def find(data: Any, cache: Path, reporter: Reporter, reading: Reading = PLAIN) -> Origin | None:
    """The text files that a name stands for, or the built-in corpus; None where it is neither, or
    the files are tables with a delimiter or a header.
    """
    if not isinstance(data, str | os.PathLike):
        return None
    if data == NAME:
        return Origin(
            NAME, NAME, {None: partial(_built_in, cache, reporter)}, "the built-in corpus"
        )
    if reading.delimiter is not None or reading.header is not None:
        return None
    path = Path(data)
    if path.is_file() and _is_text(path):
        return Origin(
            stem(path),
            path,
            {_split_of(path): partial(_read, [path], path.parent, reading)},
        )
    if not path.is_dir() or not all(map(_is_text, data_files(path))):
        return None
    files = sorted(p for p in path.rglob("*") if _is_text(p) and not _is_hidden(p, path))
    if not files:
        return None
    splits: dict[str | None, list[Path]] = {}
    for file in files:
        splits.setdefault(_split_of(file), []).append(file)
    if None in splits and len(splits) > 1:
        ignored = ", ".join(file.name for file in splits.pop(None)[:5])
        reporter.note(f"{path}: not read, for their names tell no split: {ignored}")
    elif None in splits:
        reporter.note(
            f"{path}: {counted(len(files), 'text file')}: {listed([str(file.relative_to(path)) for file in files])}"
        )
    tables = {split: partial(_read, several, path, reading) for split, several in splits.items()}
    return Origin(path.resolve().name, path, tables)


def _split_of(path: Path) -> str | None:
    """The split that a file's name says; none of source code, where a test is another thing."""
    return None if ending(path) in _OF_CODE else split_of(path)


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _is_text(path: Path) -> bool:
    return ending(path) in (*ENDINGS, *_OF_CODE)


def _read(files: list[Path], folder: Path, reading: Reading) -> Table:
    tables = [read_text(file, reading) for file in files]
    return tables[0] if len(tables) == 1 else joined(tables, folder / f"*{files[0].suffix}")


def read_text(path: Path, reading: Reading = PLAIN) -> Table:
    """The documents of a text file, as a column ``text``. Raises SpecError where it cannot be
    decoded.
    """
    content = Content.of(path, reading)
    try:
        with content.text() as file:
            text = file.read()
    except UnicodeError:
        raise undecodable(content) from None
    split_lines = text.splitlines(keepends=True)
    ends = [number for number, line in enumerate(split_lines, 1) if _is_end(line)]
    documents = list(_documents(split_lines, has_ends=bool(ends)))
    lines = np.array([line for line, _ in documents], np.int64)
    table = Table(path, {"text": [document for _, document in documents]}, lines, typed=True)
    if ends:
        remark = Remark(Peculiar.END_TOKENS, "Each ends a document", len(ends), f"line {ends[0]}")
        table = table.with_remarks((remark,))
    return table.with_remarks(content.remarks(len(table)))


def _is_end(line: str) -> bool:
    return line.strip() in END_TOKENS


def _documents(lines: list[str], *, has_ends: bool) -> Iterator[tuple[int, str]]:
    """(number of the first line, text) of each document; where some lines are end tokens, empty
    lines end none.
    """
    parts: list[str] = []
    size, first = 0, 1
    for number, line in _pieces(lines):
        is_end = _is_end(line)
        if not is_end:
            first = first if parts else number
            parts.append(line)
            size += len(line)
        is_long = size >= DOCUMENT and not line.strip() and not has_ends
        if size >= LONGEST or is_end or is_long:
            yield from _whole(first, parts)
            parts, size = [], 0
    yield from _whole(first, parts)


def _whole(first: int, parts: list[str]) -> Iterator[tuple[int, str]]:
    text = "".join(parts).strip("\n")
    if text.strip():
        yield first, text


def _pieces(lines: list[str]) -> Iterator[tuple[int, str]]:
    """(number, text) of each line; of one that is too long for a document, of its pieces."""
    for number, line in enumerate(lines, 1):
        start = 0
        while len(line) - start > 2 * LONGEST:
            space = _SPACE.search(line, start + LONGEST, start + 2 * LONGEST)
            stop = space.end() if space else start + LONGEST
            yield number, line[start:stop]
            start = stop
        yield number, line[start:]


def _built_in(cache: Path, reporter: Reporter) -> Table:
    """The docstrings of the installed packages, read once for each set of their versions."""
    path = cache / f"{NAME}-{docstrings.versions_digest()}-{MIN_CHARACTERS}.json"
    if path.is_file():
        texts: list[str] = json.loads(path.read_text(encoding="utf-8"))
    else:
        texts = docstrings.running_text(MIN_CHARACTERS)
        cache.mkdir(parents=True, exist_ok=True)
        write_atomic(path, memoryview(json.dumps(texts).encode()))
        reporter.note(f"{NAME}: {len(texts):,} docstrings of the installed packages")
    return Table(NAME, {"text": texts}, range(len(texts)), typed=True, unit="docstring")
