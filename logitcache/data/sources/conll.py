"""CoNLL files: a word a line with its columns, the label last; an empty line ends a row."""

from __future__ import annotations

import re

import numpy as np

from logitcache.data.sources.content import Content
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError

_DOCUMENT = "-DOCSTART-"
_COMMENT = re.compile(r"# ?(id\b|newdoc\b|newpar\b|[\w.]+ ?=)")  # before the words of a row


def read_conll(content: Content) -> Table:
    """Read a file as columns of lists, ``words`` and ``tags``. Lines that begin a document, and
    comments before a row, are no words. Raises SpecError naming a line that has no label, or where
    the first column counts.
    """
    words: list[list[str]] = []
    tags: list[list[str]] = []
    lines: list[int] = []
    open_row = False
    with content.text() as file:
        for number, line in enumerate(file, 1):
            fields = [
                field for field in line.strip("\r\n").split("\t" if "\t" in line else " ") if field
            ]
            if not fields or fields[0] == _DOCUMENT:
                open_row = False
                continue
            if not open_row and _COMMENT.match(line):
                continue
            if len(fields) < 2:
                raise SpecError(
                    expected="a word and its label, with spaces or tabs between them",
                    found=repr(fields[0])[:60],
                    advice="Correct or remove the line.",
                    where=f"{content.path} line {number}",
                )
            if not open_row:
                words.append([])
                tags.append([])
                lines.append(number)
                open_row = True
            words[-1].append(fields[0])
            tags[-1].append(fields[-1])
    numbered = [row == [str(number) for number in range(1, len(row) + 1)] for row in words]
    if sum(map(len, words)) > 1 and all(numbered):
        raise SpecError(
            expected="words in the first column",
            found="numbers that count them",
            advice="Put the words first, and their labels last.",
            where=content.path,
        )
    return Table(
        content.path, {"words": words, "tags": tags}, np.array(lines, np.int64), typed=True
    )
