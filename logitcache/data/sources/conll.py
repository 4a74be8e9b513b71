"""CoNLL files: a word a line with its columns, the label last; an empty line ends a row. In CoNLL-U
there are ten columns: the word is the second, and its label the fourth, its part of speech.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from logitcache.data.sources.advice import (
    joined_tags_advice,
    reshape,
    slot_lines_advice,
    words_first,
)
from logitcache.data.sources.content import PACKINGS, Content
from logitcache.data.sources.hints import are_bio_tags, is_bio_tag
from logitcache.data.sources.tables import Peculiar, Remark, Table
from logitcache.data.values import are_counted
from logitcache.errors import SpecError

_DOCUMENT = "-DOCSTART-"
_ADDRESS = "://"  # in what begins a document in some corpora: its source
_ABSTRACT = "###"  # before the number of a document, as in JNLPBA
_UNIVERSAL_WIDTH = 10  # columns of CoNLL-U
_LOOKED_AT = 1000  # lines
_UNIVERSAL_WORD, _UNIVERSAL_TAG = 1, 3
_NO_WORD = re.compile(
    r"[0-9]+[-.][0-9]+"
)  # of CoNLL-U: several words written as one, or an ellipsis
# before the words of a row; in CoNLL-2012, of a document too
_COMMENT = re.compile(r"# ?(id\b|newdoc\b|newpar\b|[\w.]+ ?=|(begin|end) document\b)")


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
                if len(fields) < _UNIVERSAL_WIDTH and not line.endswith("\n"):
                    raise _cut(content, number, _UNIVERSAL_WIDTH, len(fields))
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


def _cut(content: Content, number: int, width: int, count: int) -> SpecError:
    """The error over a file whose last line ends before its label."""
    return SpecError(
        expected=f"{width} fields in each line",
        found=f"{count} in the last one: the file is cut there",
        advice="Fetch or save it again, or remove the line.",
        where=f"{content.path} line {number}",
    )


@dataclass(frozen=True)
class _Marked:
    """A line that is a comment, or a word with its label: it begins with #, or has no tab where
    others have.
    """

    row: int
    position: int  # in its row
    line: int
    shape: tuple[bool, int]
    tag: str
    has_address: bool


@dataclass
class _Rows:
    """Words and their labels by row, and the lines among them that may be comments."""

    words: list[list[str]] = field(default_factory=list)
    tags: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    marked: list[_Marked] = field(default_factory=list)
    untabbed: list[_Marked] = field(default_factory=list)  # lines without a tab behind one with it
    shapes: set[tuple[bool, int]] = field(default_factory=set)  # of the other lines
    has_tabs: bool = False
    sample: list[list[str]] = field(default_factory=list)  # the fields of the first other lines
    width: int = 0  # fields of the first other line of the open row
    uneven: tuple[int, int, int] | None = None  # the first line of another width: line, both widths

    def open_row(self, line: int) -> None:
        self.width = 0
        self.words.append([])
        self.tags.append([])
        self.lines.append(line)

    def add(self, line: int, fields: list[str], has_tab: bool, width: int) -> None:
        """Add a line's word and label; ``width`` counts empty fields before the label too."""
        word = fields[0]
        own = self.words[-1]
        shape = (has_tab, len(fields))
        is_mark = word[0] == "#" and word.lstrip("#")[:1] in ("", " ")
        if is_mark or (not has_tab and (self.has_tabs or _ADDRESS in word)):
            lines = self.marked if is_mark else self.untabbed
            row = len(self.words) - 1
            lines.append(_Marked(row, len(own), line, shape, fields[-1], _ADDRESS in word))
        else:
            self.has_tabs = self.has_tabs or has_tab
            self.shapes.add(shape)
            self.width = self.width or width
            if width != self.width and self.uneven is None:
                self.uneven = (line, self.width, width)
            if len(self.sample) < _LOOKED_AT:
                self.sample.append(fields)
        own.append(word)
        self.tags[-1].append(fields[-1])

    def without_comments(self) -> tuple[Remark, ...]:
        """Take the comments out, and the rows of nothing else; returns the note of them."""
        comments = self._comments()
        if not comments:
            return ()
        for comment in reversed(comments):
            del self.words[comment.row][comment.position]
            del self.tags[comment.row][comment.position]
            if comment.position == 0:
                self.lines[comment.row] += 1
        kept = [row for row, words in enumerate(self.words) if words]
        self.words = [self.words[row] for row in kept]
        self.tags = [self.tags[row] for row in kept]
        self.lines = [self.lines[row] for row in kept]
        first = f"line {comments[0].line}"
        return (Remark(Peculiar.COMMENTS, "They are no words", len(comments), first),)

    def _comments(self) -> list[_Marked]:
        """The lines with another number of fields than the others; and those before a row's words
        whose last field is no label: the others are BIO tags, or no other line has it, and every
        row has such a line or each of these lines has a last field of its own.
        """
        if not (self.marked or self.untabbed) or not self.shapes:
            return []
        counts = Counter(chain.from_iterable(self.tags))
        counts.subtract(marked.tag for marked in self.marked)
        labels = {tag for tag, count in counts.items() if count > 0}
        comments = self._sources(counts)
        shapes = self.shapes | {line.shape for line in self.untabbed}
        has_bio = are_bio_tags(list(labels))
        heads = [marked for marked in self.marked if marked.position == 0]
        last_fields = {marked.tag for marked in heads}
        is_regular = len(heads) == len(self.words) or len(heads) == len(last_fields)
        is_new = len(heads) > 1 and is_regular and labels.isdisjoint(last_fields)
        for marked in self.marked:
            is_head = marked.position == 0
            is_label = not is_new and (not has_bio or are_bio_tags([marked.tag, "O"]))
            if marked.shape not in shapes or (is_head and not is_label):
                comments.append(marked)
        return sorted(comments, key=lambda comment: comment.line)

    def _sources(self, counts: Counter[str]) -> list[_Marked]:
        """The lines without a tab before a row's words, where all others have tabs and no other
        line has their last field, that begin with an address or whose last field is no BIO tag, as
        those of others are. ``counts`` are those of the last fields.
        """
        if not all(has_tab for has_tab, _ in self.shapes):
            return []
        labels = counts - Counter(line.tag for line in self.untabbed)
        has_bio = are_bio_tags(list(labels))
        sources = []
        for line in self.untabbed:
            is_other = line.has_address or (has_bio and not is_bio_tag(line.tag))
            if line.position == 0 and line.tag not in labels and is_other:
                sources.append(line)
        return sources


def _lone_words_advice(content: Content) -> str:
    """What to do with lines of one word: several may all name the class of their row."""
    with content.text() as file:
        count = sum(len(line.split()) == 1 for line in file)
    if count < 2 or content.path.suffix.lower() in PACKINGS:
        return "Correct or remove the line."
    return (
        f"Correct or remove such lines ({count:,}). To leave out all: "
        f"awk 'NF != 1' {shlex.quote(str(content.path))} > OUT.conll"
    )


def read_conll(content: Content) -> Table:
    """Read a file as columns of lists, ``words`` and ``tags``. Lines that begin a document, and
    comments, are no words. Raises SpecError naming a line that has no label, or where the first
    column counts.
    """
    rows = _Rows()
    is_open = False
    with content.text() as file:
        for number, line in enumerate(file, 1):
            has_tab = "\t" in line
            mark = content.reading.delimiter or ("\t" if has_tab else " ")
            fields = [part for part in line.strip("\r\n").split(mark) if part]
            if not fields or fields[0] == _DOCUMENT:
                is_open = False
                continue
            is_alone = len(fields) == 1 and (fields[0] == "#" or fields[0].startswith(_ABSTRACT))
            if not is_open and (is_alone or _COMMENT.match(line)):
                continue
            if not line.endswith("\n"):
                _check_whole(content, number, rows, len(fields))
            if len(fields) < 2:
                advice = joined_tags_advice([*rows.sample, fields], content) or _lone_words_advice(
                    content
                )
                raise SpecError(
                    expected="a word and its label, with spaces or tabs between them",
                    found=repr(fields[0])[:60],
                    advice=advice,
                    where=f"{content.path} line {number}",
                )
            if not is_open:
                rows.open_row(number)
                is_open = True
            width = len(fields) if mark == " " else len(line.rstrip().split(mark))
            rows.add(number, fields, has_tab, width)
    remarks = rows.without_comments()
    _check_columns(content, rows)
    return Table(
        content.path,
        {"words": rows.words, "tags": rows.tags},
        np.array(rows.lines, np.int64),
        typed=True,
        remarks=remarks,
    )


def _check_whole(content: Content, number: int, rows: _Rows, count: int) -> None:
    """Raises SpecError where the last line, which no line feed ends, has fewer fields than every
    other.
    """
    width = min((width for _, width in rows.shapes), default=2)
    if count < width:
        raise _cut(content, number, width, count)


def _check_columns(content: Content, rows: _Rows) -> None:
    """Raises SpecError where the first column holds labels, or counts the words, and where the lines
    of a row have not as many fields: then the last of some is no label, or a word holds a space.
    """
    advice = joined_tags_advice(rows.sample, content)
    advice = advice or slot_lines_advice(rows.sample, content)
    if advice:
        found = "lines of words that hold their labels"
        raise SpecError(
            expected="a word and its label in each line",
            found=found,
            advice=advice,
            where=content.path,
        )
    has_tags_first = are_bio_tags(list(chain.from_iterable(rows.words)))
    if has_tags_first and not are_bio_tags(list(chain.from_iterable(rows.tags))):
        raise SpecError(
            expected="words in the first column and their labels in the last",
            found="labels in the first",
            advice=f"Put the words first: {reshape('word-columns', [content], ['2', '1'])}.",
            where=content.path,
        )
    if rows.uneven is not None:
        line, width, count = rows.uneven
        raise SpecError(
            expected=f"{width} fields, as in the lines before it",
            found=count,
            advice="Correct the line: its word is the first field, its label the last, and a word holds no space "
            "where spaces divide.",
            where=f"{content.path} line {line}",
        )
    longest = max(map(len, rows.words), default=0)
    is_repeated = longest > 2 and all(len(set(own)) == 1 for own in rows.words)
    if is_repeated or are_counted(rows.words):
        advice = "Name it .conllu if it is CoNLL-U; else put the words first, and their labels last"
        if is_repeated:
            advice = "Put the words first, and their labels last"
        command = words_first(rows.sample, content)
        raise SpecError(
            expected="words in the first column",
            found="the same in every line of a row" if is_repeated else "numbers that count them",
            advice=f"{advice}: {command}." if command else f"{advice}.",
            where=content.path,
        )
