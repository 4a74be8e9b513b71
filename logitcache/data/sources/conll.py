"""CoNLL files: a word a line with its columns, the label last; an empty line ends a row. In CoNLL-U
there are ten columns: the word is the second, and its label the fourth, its part of speech.
"""

from __future__ import annotations

import re

import numpy as np

from logitcache.data.sources.content import Content
from logitcache.data.sources.hints import are_bio_tags
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError

_DOCUMENT = "-DOCSTART-"
_ABSTRACT = "###"  # before the number of a document, as in JNLPBA
_UNIVERSAL_WIDTH = 10  # columns of CoNLL-U
_UNIVERSAL_WORD, _UNIVERSAL_TAG = 1, 3
_NO_WORD = re.compile(
    r"[0-9]+[-.][0-9]+"
)  # of CoNLL-U: several words written as one, or an ellipsis
_COMMENT = re.compile(r"# ?(id\b|newdoc\b|newpar\b|[\w.]+ ?=)")  # before the words of a row


def read_conllu(content: Content) -> Table:
    """Read a file of CoNLL-U as columns of lists, ``words`` and ``tags`` (its UPOS; ``_`` is no
    label). Raises SpecError naming a line that has not ten columns.
    """
    words: list[list[str]] = []
    tags: list[list[str | None]] = []
    lines: list[int] = []
    open_row = False
    with content.text() as file:
        for number, line in enumerate(file, 1):
            fields = line.strip("\r\n").split("\t")
            if not line.strip() or line.startswith("#"):
                open_row = open_row and bool(line.strip())
                continue
            if len(fields) != _UNIVERSAL_WIDTH:
                raise SpecError(
                    expected=f"{_UNIVERSAL_WIDTH} columns of CoNLL-U with tabs between them",
                    found=len(fields),
                    advice="Correct the line; or name it .conll if the word is the first and the label the last.",
                    where=f"{content.path} line {number}",
                )
            if _NO_WORD.fullmatch(fields[0]):
                continue
            if not open_row:
                words.append([])
                tags.append([])
                lines.append(number)
                open_row = True
            tag = fields[_UNIVERSAL_TAG]
            words[-1].append(fields[_UNIVERSAL_WORD])
            tags[-1].append(None if tag == "_" else tag)
    columns = {"words": words, "tags": tags}
    return Table(content.path, columns, np.array(lines, np.int64), typed=True)


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
            is_alone = len(fields) == 1 and fields[0].startswith(_ABSTRACT)
            if not open_row and (is_alone or _COMMENT.match(line)):
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
    firsts = [word for row in words for word in row]
    lasts = [tag for row in tags for tag in row]
    if are_bio_tags(firsts) and not are_bio_tags(lasts):
        raise SpecError(
            expected="words in the first column and their labels in the last",
            found="labels in the first",
            advice="Put the words first: awk '{print $2, $1}' FILE > OUT.conll.",
            where=content.path,
        )
    numbered = [row == [str(number) for number in range(1, len(row) + 1)] for row in words]
    if sum(map(len, words)) > 1 and all(numbered):
        raise SpecError(
            expected="words in the first column",
            found="numbers that count them",
            advice="Name it .conllu if it is CoNLL-U; else put the words first, and their labels last.",
            where=content.path,
        )
    return Table(
        content.path, {"words": words, "tags": tags}, np.array(lines, np.int64), typed=True
    )
