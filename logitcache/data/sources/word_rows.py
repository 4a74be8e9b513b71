"""Words and their labels as tables hold them: a word a row, or lists written as texts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from logitcache.config.data import Columns
from logitcache.data.literals import python_value
from logitcache.data.sources.advice import pandas_command
from logitcache.data.sources.columns import TEXT_COLUMNS, first_called
from logitcache.data.sources.hints import are_bio_tags, are_counted, are_tags, is_bio_tag, option
from logitcache.data.sources.nested import LOOKED_AT, first_values, listed_values
from logitcache.data.sources.tables import Table
from logitcache.data.values import are_all
from logitcache.errors import SpecError

TASK, CLASSIFICATION = "token-classification", "classification"
WORDS = ("words", "tokens")
TAGS = ("tags", "ner_tags", "labels", "label", "pos_tags", "chunk_tags")
_ONE_WORD = ("word", "token", "form")
_ONE_TAG = ("tag", "ner_tag", "ner", "iob", "bio", "pos", "upos")
_SPACE = re.compile(r"\s")
_PADDLE = "\x02"  # what PaddleNLP writes between words
_SENTENCE = re.compile(r"(sentence|sent)([\W_]*(#|id|idx|no|nr|num|number|index))?", re.IGNORECASE)


def with_lists(table: Table, named_columns: Columns) -> tuple[Table, str]:
    """The table with a list of words and a list of their labels in each row, and a note of how they
    were made. The table itself and an empty note where it has such lists already, or no words.

    Raises SpecError where labels are tags of words, but not one for each word of their text.
    """
    if named_columns.task not in (None, TASK, CLASSIFICATION):
        return table, ""
    divided = _divided(table, named_columns)
    if divided is not None:
        return divided
    tags = _column(table, named_columns.label, (*TAGS, *_ONE_TAG))
    texts = (
        TEXT_COLUMNS if named_columns.task != CLASSIFICATION and _are_of_words(table, tags) else ()
    )
    words = _column(table, named_columns.text, (*WORDS, *_ONE_WORD, *texts))
    if words is None or tags is None or words == tags:
        return table, ""
    if _writes_lists(table, words) and _writes_lists(table, tags):
        columns = dict(table.columns)
        for name in (words, tags):
            columns[name] = list(map(_list_in, listed_values(table, name)))
        return replace(table, columns=columns), f"the columns {words} and {tags} are read as lists"
    if named_columns.task == CLASSIFICATION and named_columns.text is not None:  # of single words
        return table, ""
    starts = _starts(table, words, tags, named_columns.task)
    if not starts:
        return table, ""
    names = {words: named_columns.text or WORDS[0], tags: named_columns.label or TAGS[0]}
    note = f"a word a row: read as {len(starts):,} sentences of {len(table):,} words"
    sentences = _grouped(table, starts, names)
    _check_words(table, sentences, names)
    return sentences, note


def _divided(table: Table, named_columns: Columns) -> tuple[Table, str] | None:
    """The table with lists of words and of their tags, and the note, where one of the columns, or
    both, is a text that spaces divide: JointBERT's seq.in and seq.out, a text with a list of tags;
    None for others. Raises SpecError where there are not as many tags as words.
    """
    names = [
        _column(table, named_columns.text, (*WORDS, *TEXT_COLUMNS, "text_a")),
        _column(table, named_columns.label, TAGS),
    ]
    if None in names or names[0] == names[1]:
        return None
    columns = [first_values(table.columns[str(name)], LOOKED_AT) for name in names]
    if all(map(_are_lists, columns)):
        return None
    rows = [row for row in zip(*columns, strict=False) if not any(map(_is_gap, row))]
    parts = [list(map(_parts, row)) for row in rows]
    tags = [tag for _, own in parts for tag in own]
    lengths = {len(own) for _, own in parts}
    is_of_words = all(len(words) == len(own) for words, own in parts)
    has_bio = are_bio_tags(tags) and any(len(tag) > 1 for tag in set(tags))
    is_any_tag = _are_lists(columns[1]) and is_of_words and len(lengths) > 1
    if not tags or lengths == {1} or not (has_bio or is_any_tag):
        return None
    texts, labels = (listed_values(table, str(name)) for name in names)
    columns = [
        [None if cell is None else _parts(cell) for cell in texts],
        [None if _is_gap(cell) else _parts(cell) for cell in labels],
    ]
    for row, (words, own) in enumerate(zip(*columns, strict=True)):
        if own is not None and words is not None and len(own) != len(words):
            raise SpecError(
                expected=f"a tag in {names[1]} for each word in {names[0]}, which spaces divide",
                found=f"{len(own)} for {len(words)}",
                advice="Correct the row; or save the words too, as a column words of lists.",
                where=table.place(row),
            )
    note = f"the columns {names[0]} and {names[1]} hold a tag for each word: read as lists of them"
    read = dict(
        zip((named_columns.text or WORDS[0], named_columns.label or TAGS[0]), columns, strict=True)
    )
    others = {name: column for name, column in table.columns.items() if name not in names}
    return replace(table, columns={**others, **read}, typed=True), note


def _are_lists(values: Sequence[Any]) -> bool:
    present = [value for value in values if not _is_gap(value)]
    return bool(present) and are_all(present, list)


def _parts(cell: Any) -> list[Any]:
    """The words of a text, or the texts and numbers of a list; none of another cell."""
    if isinstance(cell, str):
        return cell.replace(_PADDLE, " ").split()
    is_list = isinstance(cell, list) and are_all(cell, str | int)
    return cell if is_list else []


def _check_words(table: Table, sentences: Table, names: Mapping[str, str]) -> None:
    """Raises SpecError where the words are numbers that count them, or where each sentence begins
    with a comment. ``names``: the columns of words and tags, and what they are called in
    ``sentences``.
    """
    words, tags = names
    rows: list[list[str]] = listed_values(sentences, names[words])
    labels: list[list[str]] = listed_values(sentences, names[tags])
    if are_counted(rows):
        others = [name for name in table.columns if name not in (words, tags)]
        are_words = (name for name in others if not are_tags(_first(table, name)))
        example = next(are_words, None)
        advice = "" if example is None else f", for example {option('--text', example)}"
        raise SpecError(
            expected=f"words in the column {words}",
            found="numbers that count them",
            advice=f"Name the column of the words{advice}.",
            where=str(table.path),
        )
    heads = {own[0] for own in labels}
    others_labels = {label for own in labels for label in own[1:]}
    is_marked = len(rows) > 1 and all(own[0] == "#" for own in rows)
    if is_marked and heads.isdisjoint(others_labels):
        raise SpecError(
            expected="words",
            found=f"a line that begins with # before each of {len(rows):,} sentences",
            advice="Remove the lines; or name the file .conll if it has no header line and the label is last.",
            where=str(table.path),
        )


def _column(table: Table, column: str | None, usual: Sequence[str]) -> str | None:
    """The column that an option names, or the first of the usual names, in whatever case."""
    have = list(table.columns)
    if column is not None:
        return column if column in have else None
    return first_called(usual, have)


def _first(table: Table, name: str) -> list[Any]:
    """The first values of a column without gaps."""
    values = first_values(table.columns[name], LOOKED_AT)
    return [value for value in values if not _is_gap(value)]


def _is_gap(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value)


def _writes_lists(table: Table, name: str) -> bool:
    """Whether the values of a column are texts in square brackets."""
    values = _first(table, name)
    return bool(values) and all(map(_is_bracketed, values))


def _is_bracketed(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("[") and value.endswith("]")


def _list_in(cell: Any) -> Any:
    """The list that a text writes as JSON, Python or numpy does. A text that writes none is
    returned as it is: whoever reads the rows refuses it.
    """
    if _is_gap(cell):
        return None
    for parse in (json.loads, python_value):
        try:
            return parse(cell)
        except (ValueError, RecursionError):
            continue
    return cell


def _starts(table: Table, words: str, tags: str, task: str | None) -> list[int]:
    """The rows at which sentences begin; empty where the rows are not words. A column may number
    the sentences; else blank lines divide them, if the task is given or tags are such as B-PER.
    """
    if task is None and _has_texts(table, words):
        return []
    cells = [*_first(table, words), *_first(table, tags)]
    if not cells or not all(map(_is_word, cells)):
        return []
    for name in table.columns:
        if _numbers_sentences(name) and name != words:
            starts = _starts_by_number(listed_values(table, name))
            # a number for each row numbers no sentences
            return starts if len(starts) < len(table) else []
    if task is None and not any(map(_is_tag, _first(table, tags))):
        return []
    starts = _starts_by_blank_lines(table)
    if not starts and _has_bio(table, tags):
        raise _no_sentences(table, words, tags)
    return starts


def _no_sentences(table: Table, words: str, tags: str) -> SpecError:
    """The error over words and their tags without anything that says where a sentence begins."""
    blocks = {name: _starts_by_number(listed_values(table, name)) for name in table.columns}
    distinct = {name: len(set(_first(table, name))) for name in blocks}
    likely = (
        name for name, starts in blocks.items() if 1 < len(starts) == distinct[name] < len(table)
    )
    number = next(likely, None)
    advice = "Add such a column, or put empty lines between the sentences"
    if number is not None:
        renamed = f"t = t.rename(columns={{{number!r}: 'sentence_id'}})"
        advice = f"If {number} numbers them: {pandas_command(table.path, renamed) or renamed}"
    return SpecError(
        expected="a column sentence_id that numbers the sentences, for every row is a word and its tag",
        found=f"{', '.join(table.columns)}",
        advice=f"{advice}. To learn single words: {option('--text', words)} {option('--label', tags)} "
        "--task classification.",
        where=str(table.path),
    )


def _are_of_words(table: Table, tags: str | None) -> bool:
    """Whether labels are tags of words, though a column of a text's usual name may hold the words."""
    is_numbered = any(map(_numbers_sentences, set(table.columns) - set(TEXT_COLUMNS)))
    are_numbered = is_numbered and tags is not None and are_tags(_first(table, tags))
    return are_numbered or _has_bio(table, tags)


def _has_bio(table: Table, tags: str | None) -> bool:
    """Whether a column holds tags such as B-PER beside O."""
    values = [] if tags is None else _first(table, tags)
    return are_bio_tags(values) and any(value != "O" for value in values)


def _is_tag(label: str) -> bool:
    """Whether it is O or a tag such as B-PER: another letter alone may be any class."""
    return label == "O" or ("-" in label and is_bio_tag(label))


def _numbers_sentences(name: str) -> bool:
    return _SENTENCE.fullmatch(name.strip()) is not None


def _has_texts(table: Table, words: str) -> bool:
    """Whether there is a column of texts beside the words."""
    names = [name for name in table.columns if name != words and not _numbers_sentences(name)]
    return first_called(TEXT_COLUMNS, names) is not None


def _is_word(value: Any) -> bool:
    """Whether it is a text without spaces."""
    return isinstance(value, str) and _SPACE.search(value) is None


def _starts_by_number(numbers: Sequence[Any]) -> list[int]:
    """The rows whose number is another than that of the row before. A row without a number belongs
    to the sentence of the row before.
    """
    starts: list[int] = []
    current = None
    for row, number in enumerate(numbers):
        is_new = not _is_gap(number) and number != current
        if row == 0 or is_new:
            starts.append(row)
        if is_new:
            current = number
    return starts


def _starts_by_blank_lines(table: Table) -> list[int]:
    """The first row and those behind a gap in the line numbers; empty where there is no gap."""
    if table.unit != "line":
        return []
    steps = np.diff(np.asarray(table.lines))
    behind = (np.flatnonzero(steps > 1) + 1).tolist()
    return [0, *behind] if behind else []


def _grouped(table: Table, starts: list[int], names: Mapping[str, str]) -> Table:
    """The table with a row for each sentence: lists in the columns ``names`` (their new names by
    the old ones), in the others what stands beside its first word.
    """
    stops = [*starts[1:], len(table)]
    columns: dict[str, Any] = {}
    for name in table.columns:
        values = listed_values(table, name)
        if name in names:
            sentences = [values[start:stop] for start, stop in zip(starts, stops, strict=True)]
            columns[names[name]] = sentences
        else:
            columns[name] = [values[start] for start in starts]
    lines = np.asarray(table.lines)[starts]
    return replace(table, columns=columns, lines=lines, typed=True, parts=())
