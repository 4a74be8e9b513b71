"""Plain text files (.txt): fields with a delimiter that was asked for, else lines as fastText has
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TextIO

from logitcache.data.sources.advice import (
    OF_BRAT,
    File,
    by_first_word,
    fields_advice,
    joined_tags_advice,
    reshape,
    separator,
    slot_lines_advice,
)
from logitcache.data.sources.content import AS_ROWS, Content
from logitcache.data.sources.delimited import read_csv
from logitcache.data.sources.field_errors import LOOKED_AHEAD
from logitcache.data.sources.growing import Growing
from logitcache.data.sources.hints import are_tags
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError

PREFIX = "__label__"
_WORD_AND_TAG = re.compile(r"-DOCSTART-.*|\S+(\s+\S+)*\s+([BI]-\S+|O)")
# of the Stanford Sentiment Treebank: (3 (2 The) (4 film)); a parse is written so, too
_TREE = re.compile(r"\([^\s()]+ .*\)")
_LABEL_LAST = re.compile(rf"\S.* {PREFIX}\S+")
_FEATURES = re.compile(r"[-+.\d]+( \d+:[-+.\deE]+)+")
_MARKED = re.compile(r"<(\w+)>[^<>]+</\1>")  # a part of a text between the marks of its label
_OF_R = re.compile(r'"[^"]*"( "[^"]*")*')  # quoted names, and rows that begin with one
_PUBTATOR = re.compile(r"\w+\|[ta]\|.*")
_COMMENT = re.compile("#+|%+")


def read_txt(content: Content) -> Table:
    """Read lines such as ``__label__pos a warm film``; with a delimiter that was asked for, a csv.

    Raises SpecError for other lines.
    """
    annotations = content.path.with_suffix(".ann")
    if annotations.is_file():
        raise SpecError(
            expected=f"lines that begin with {PREFIX}, as fastText has them",
            found=f"a text that {annotations.name} annotates",
            advice=f"{OF_BRAT}.",
            where=content.path,
        )
    if content.reading.delimiter is not None:
        return read_csv(content)
    lines: list[int] = []
    texts: list[str] = []
    labels: list[str] = []
    with content.text() as file:
        for number, label, text in _labelled(content, file):
            lines.append(number)
            texts.append(text)
            labels.append(label)
    columns = Growing()
    if lines:
        columns.add({"text": texts, "label": labels}, len(lines))
    return Table(content.path, columns.finish(), lines, typed=False)


def _labelled(content: Content, file: TextIO) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(file, 1):
        words = line.strip("\r\n \t")
        if not words:
            continue
        label, _, text = words.partition(" ")
        where = f"{content.path} line {number}"
        if not label.startswith(PREFIX):
            raise _unlabelled(content, line, list(islice(file, LOOKED_AHEAD))).at(where)
        if PREFIX in text:
            raise SpecError(
                expected="one label a row",
                found="several",
                advice="Keep one label a row.",
                where=where,
            )
        yield number, label.removeprefix(PREFIX), text.lstrip()


def _unlabelled(content: Content, first: str, further: Sequence[str]) -> SpecError:
    """The error over a line that is no labelled text; ``further`` are lines below it."""
    error = SpecError(
        expected=f"lines that begin with {PREFIX}, as fastText has them",
        found=repr(first.strip("\r\n \t")[:40]),
        advice=line_advice(content, first, further),
    )
    mark = separator(first)
    if mark and not _shape_advice(content, first, further):
        error.suggested = {"delimiter": mark}
    return error


def holds_labels(path: File, lines: Sequence[str]) -> bool:
    """Whether these lines are rows with labels (of fastText, of fields, behind a first word that
    repeats, of a known shape), and not running text or the texts of one class.
    """
    if len(lines) < 2:
        return False
    mark = separator(lines[0])
    first_words = [line.partition(" ")[0] for line in lines]
    return (
        (mark != "" and len({line.count(mark) for line in lines}) == 1)
        or 1 < len(set(first_words)) <= len(lines) // 4
        or _shape_advice(path, lines[0], lines[1:]) != ""
    )


def line_advice(path: File, first: str, further: Sequence[str]) -> str:
    """What may be done where a line is no labelled text: it may be of a known shape, fields, or
    running text. ``further`` are lines below it.
    """
    shape = _shape_advice(path, first, further)
    if shape:
        return shape
    fields = fields_advice([line.strip("\r\n") for line in (first, *further)]).rstrip(".")
    if not fields and " " in first.strip():
        fields = f"{by_first_word(path)}. Else save the rows {AS_ROWS}"
    elif not fields:
        fields = f"Give --delimiter if the lines are fields, or save the rows {AS_ROWS}"
    return f"{fields}; to learn running text, give --task causal-lm or masked-lm."


def _shape_advice(path: File, first: str, further: Sequence[str]) -> str:
    """What may be done where lines are of a known shape, such as words and their tags; else empty."""
    lines = [text.strip("\r\n \t") for text in (first, *further)]
    line = lines[0]
    comment = _COMMENT.match(line)
    if comment is not None:
        mark = comment[0]
        rows = [text for text in lines if text and not text.startswith(mark)]
        then = f" Then: {line_advice(path, rows[0], rows[1:])}" if rows else ""
        return f"Remove the lines that begin with {mark}: grep -v '^{mark}' FILE > OUT.txt.{then}"
    if all(_LABEL_LAST.fullmatch(text) for text in lines if text):
        return f"If the label of each line is its last word, write: {reshape('last-word', [path])}."
    if _FEATURES.fullmatch(line):
        return "These are numbers of features, as of libsvm: give the texts that they were made of."
    if _PUBTATOR.fullmatch(line):
        return (
            f"If it is of PubTator, write each text with its parts: {reshape('pubtator', [path])}."
        )
    if all(_MARKED.search(text) for text in lines if text):
        return f"If labels stand around parts of the texts, as <PER>Ada</PER>, write: {reshape('marks', [path])}."
    if _TREE.fullmatch(line):
        return (
            f"If each line is a tree whose root has the label, write: {reshape('trees', [path])}."
        )
    slots = slot_lines_advice([text.split("\t") for text in lines if text], path)
    if slots:
        return slots
    if _OF_R.fullmatch(line) and all(_OF_R.match(text) for text in lines if text):
        return f"If R wrote it (write.table), convert it: {reshape('r-table', [path])}."
    words = [text.split() for text in lines]
    are_tagged = "" in lines and all(len(fields) == len(words[0]) > 1 for fields in words if fields)
    if _WORD_AND_TAG.fullmatch(line) or (
        are_tagged and are_tags([fields[-1] for fields in words if fields])
    ):
        return "If each line is a word and its tag, name the files .conll."
    return joined_tags_advice([fields for fields in words if fields], path)
