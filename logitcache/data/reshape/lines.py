"""Kinds of text files with a row a line: where the label of each line stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import zip_longest

from logitcache.data.reshape.kind import Row
from logitcache.data.sources.content import Content
from logitcache.data.sources.endings import stem
from logitcache.errors import SpecError

_PREFIX = "__label__"  # fastText's
_LABELLED_NODE = re.compile(r"\(\S+ ")
_TREE = re.compile(r"\((\S+) (.+)\)")


def numbered_lines(content: Content) -> Iterator[tuple[str, str]]:
    """Each line of a file that is not blank, without the spaces around it, and where it stands."""
    with content.text() as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{content.path} line {number}", line.strip()


def first_word(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Lines of a label and a text, which the first space or tab divides."""
    for content in files:
        for where, line in numbered_lines(content):
            label, *text = line.split(maxsplit=1)
            yield {"text": _one(text, where), "label": label.removeprefix(_PREFIX)}


def last_word(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Lines of a text and a label, which the last space or tab divides."""
    for content in files:
        for where, line in numbered_lines(content):
            *text, label = line.rsplit(maxsplit=1)
            yield {"text": _one(text, where), "label": label.removeprefix(_PREFIX)}


def _one(text: Sequence[str], where: str) -> str:
    if not text:
        raise SpecError(
            expected="a label and a text", found="one word", advice="Mend the line.", where=where
        )
    return text[0]


def trees(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Lines of a tree in brackets, as the Stanford Sentiment Treebank has them: the label is that of
    the root, the text the words of all leaves.
    """
    for content in files:
        for where, line in numbered_lines(content):
            tree = _TREE.fullmatch(line)
            if tree is None:
                raise SpecError(
                    expected="a tree such as (3 (2 The) (4 film))",
                    found=repr(line[:40]),
                    advice="Mend the line.",
                    where=where,
                )
            words = _LABELLED_NODE.sub("", tree[2]).replace(")", "")
            yield {"text": words.strip(), "label": tree[1]}


def label_by_comma(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """A csv of a text and a label whose texts hold commas without quotes around them. ``columns``
    names both in the order of the file: the label is behind the last comma, or before the first.
    """
    is_label_first = columns[0] == "label"
    for content in files:
        lines = numbered_lines(content)
        next(lines, None)  # the header
        for where, line in lines:
            before, comma, behind = line.partition(",") if is_label_first else line.rpartition(",")
            if not comma:
                raise SpecError(
                    expected="a comma between text and label",
                    found="none",
                    advice="Mend the line.",
                    where=where,
                )
            yield dict(zip(columns, (before.strip(), behind.strip()), strict=True))


def class_files(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """A file for each class, called by its name, with a text a line."""
    for content in files:
        for _, line in numbered_lines(content):
            yield {"text": line, "label": stem(content.path)}


def parallel_lines(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Files of which line i is about row i: one or two of texts, the last one of labels. Tabs divide
    the fields of a line. With ``columns`` words,tags the lines are words and their tags.
    """
    if not columns:
        columns = ("text", "label") if len(files) == 2 else ("text", "text_pair", "label")
    are_words = tuple(columns) == ("words", "tags")
    with ExitStack() as opened:
        handles = [opened.enter_context(content.text()) for content in files]
        for number, lines in enumerate(zip_longest(*handles), 1):
            shorter = next(
                (c.path for c, line in zip(files, lines, strict=True) if line is None), None
            )
            if shorter is not None:
                raise SpecError(
                    expected="files of equally many lines",
                    found=f"{number - 1:,} lines",
                    advice="Give the files that belong together.",
                    where=shorter,
                )
            fields = [field.strip() for line in lines for field in line.rstrip("\r\n").split("\t")]
            if len(fields) != len(columns):
                raise SpecError(
                    expected=f"a field for each of the columns {', '.join(columns)}",
                    found=len(fields),
                    advice="Name all of them by --columns.",
                    where=f"{files[0].path} line {number}",
                )
            values = [field.split() for field in fields] if are_words else fields
            yield dict(zip(columns, values, strict=True))
