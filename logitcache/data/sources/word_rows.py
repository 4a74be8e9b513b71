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
from logitcache.data.sources.hints import are_bio_tags, are_tags, is_bio_tag, option
from logitcache.data.sources.nested import LOOKED_AT, first_values, listed_values
from logitcache.data.sources.tables import Table
from logitcache.data.values import are_all, are_counted, is_gap, present
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
    usual = [*WORDS, *_ONE_WORD]
    if named_columns.task != CLASSIFICATION and _are_of_words(table, tags):
        usual += TEXT_COLUMNS
    words = _column(table, named_columns.text, usual)
    if words is None or tags is None or words == tags:
        return table, ""
    if _writes_lists(table, words) and _writes_lists(table, tags):
        lists = {}
        for name in (words, tags):
            lists[name] = list(map(_list_in, listed_values(table, name)))
        return table.with_columns(lists), f"the columns {words} and {tags} are read as lists"
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
    words = _column(table, named_columns.text, (*WORDS, *TEXT_COLUMNS, "text_a"))
    tags = _column(table, named_columns.label, TAGS)
    if words is None or tags is None or words == tags or not _are_divided(table, words, tags):
        return None
    texts = listed_values(table, words)
    labels = listed_values(table, tags)
    word_lists = [None if text is None else _parts(text) for text in texts]
    tag_lists = [None if is_gap(label) else _parts(label) for label in labels]
    for row, (row_words, row_tags) in enumerate(zip(word_lists, tag_lists, strict=True)):
        if row_words is None or row_tags is None or len(row_words) == len(row_tags):
            continue
        raise SpecError(
            expected=f"a tag in {tags} for each word in {words}, which spaces divide",
            found=f"{len(row_tags)} for {len(row_words)}",
            advice="Correct the row; or save the words too, as a column words of lists.",
            where=table.place(row),
        )
    columns = dict(table.columns)
    del columns[words], columns[tags]
    columns[named_columns.text or WORDS[0]] = word_lists
    columns[named_columns.label or TAGS[0]] = tag_lists
    note = f"the columns {words} and {tags} hold a tag for each word: read as lists of them"
    return replace(table, columns=columns, typed=True), note


def _are_divided(table: Table, words: str, tags: str) -> bool:
    """Whether a column of tags, or that of the words, or both, are texts that spaces divide: the
    tags are such as B-PER, or lists with as many tags as their text has words.
    """
    texts = first_values(table.columns[words], LOOKED_AT)
    labels = first_values(table.columns[tags], LOOKED_AT)
    if _are_lists(texts) and _are_lists(labels):
        return False
    values: list[Any] = []
    lengths = set()
    is_of_words = True
    for text, label in zip(texts, labels, strict=False):
        if is_gap(text) or is_gap(label):
            continue
        row_tags = _parts(label)
        values += row_tags
        lengths.add(len(row_tags))
        is_of_words = is_of_words and len(row_tags) == len(_parts(text))
    if not values or lengths == {1}:
        return False
    has_bio = are_bio_tags(values) and max(map(len, values)) > 1
    return has_bio or (_are_lists(labels) and is_of_words and len(lengths) > 1)


def _are_lists(values: Sequence[Any]) -> bool:
    cells = present(values)
    return bool(cells) and are_all(cells, list)


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
        example = ""
        for name in table.columns:
            if name not in names and not are_tags(_first(table, name)):
                example = f", for example {option('--text', name)}"
                break
        raise SpecError(
            expected=f"words in the column {words}",
            found="numbers that count them",
            advice=f"Name the column of the words{example}.",
            where=str(table.path),
        )
    is_marked = len(rows) > 1 and all(sentence[0] == "#" for sentence in rows)
    first_labels = {sentence[0] for sentence in labels}
    further_labels = {label for sentence in labels for label in sentence[1:]}
    if is_marked and first_labels.isdisjoint(further_labels):
        raise SpecError(
            expected="words",
            found=f"a line that begins with # before each of {len(rows):,} sentences",
            advice="Remove the lines; or name the file .conll if it has no header line and the label is last.",
            where=str(table.path),
        )


def _column(table: Table, column: str | None, usual: Sequence[str]) -> str | None:
    """The column that an option names, or the first of the usual names, in whatever case."""
    if column is None:
        return first_called(usual, list(table.columns))
    return column if column in table.columns else None


def _first(table: Table, name: str) -> list[Any]:
    """The first values of a column without gaps."""
    return present(first_values(table.columns[name], LOOKED_AT))


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
    if is_gap(cell):
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
    advice = "Add such a column, or put empty lines between the sentences"
    for name in table.columns:
        sentences = len(_starts_by_number(listed_values(table, name)))
        numbers = len(set(_first(table, name)))
        if 1 < sentences == numbers < len(table):
            renamed = f"t = t.rename(columns={{{name!r}: 'sentence_id'}})"
            advice = f"If {name} numbers them: {pandas_command(table.path, renamed) or renamed}"
            break
    return SpecError(
        expected="a column sentence_id that numbers the sentences, for every row is a word and its tag",
        found=", ".join(table.columns),
        advice=f"{advice}. To learn single words: {option('--text', words)} {option('--label', tags)} "
        "--task classification.",
        where=str(table.path),
    )


def _are_of_words(table: Table, tags: str | None) -> bool:
    """Whether labels are tags of words, though a column of a text's usual name may hold the words."""
    if tags is None:
        return False
    others = set(table.columns) - set(TEXT_COLUMNS)
    if any(map(_numbers_sentences, others)) and are_tags(_first(table, tags)):
        return True
    return _has_bio(table, tags)


def _has_bio(table: Table, tags: str) -> bool:
    """Whether a column holds tags such as B-PER beside O."""
    values = _first(table, tags)
    return are_bio_tags(values) and set(values) != {"O"}


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
        is_new = not is_gap(number) and number != current
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
    sentences = list(map(slice, starts, [*starts[1:], len(table)]))
    columns: dict[str, Any] = {}
    for name in table.columns:
        values = listed_values(table, name)
        if name in names:
            columns[names[name]] = [values[sentence] for sentence in sentences]
        else:
            columns[name] = [values[start] for start in starts]
    lines = np.asarray(table.lines)[starts]
    return replace(table, columns=columns, lines=lines, typed=True, parts=())
