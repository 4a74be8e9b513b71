"""Rows of words, each with a label of its own: read from columns of lists, and made into tokens.

A row's text is its words joined by newlines, which no word has: so its hash is one of the words and
of nothing else. What teacher and student are joined by is the word; each keeps it at its first
piece, in whichever tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from logitcache.config.data import Columns
from logitcache.data.rows import Rows
from logitcache.data.sources.advice import lists_advice, pandas_command
from logitcache.data.sources.columns import LABEL_COLUMNS, TEXT_COLUMNS
from logitcache.data.sources.endings import ending
from logitcache.data.sources.nested import listed_values
from logitcache.data.sources.tables import Opened, Table
from logitcache.data.sources.word_rows import TAGS, WORDS
from logitcache.data.spool import BLOCK_ROWS, arrow_texts
from logitcache.data.values import are_all
from logitcache.errors import SpecError, short
from logitcache.records import Array, Examples, Int64, Padding, Ragged, ends_of

SEPARATOR = "\n"
UNFIT = re.compile("[\n\ud800-\udfff]")
_OF_LISTS = (".json", ".jsonl", ".parquet")  # endings of files whose columns may be lists
NO_WORD = -1  # the token of a word that the tokenizer has cut away


def columns_of(tables: Sequence[Table], named_columns: Columns) -> Columns | None:
    """The columns of words and of their labels, both of lists; None where there are none.

    Where no task is named, many a data set has the words of a text beside the text and its one
    label: then it is a text that is classified, as are words without labels.
    """
    words = _first_of_lists(tables, named_columns.text, WORDS)
    tags = _first_of_lists(tables, named_columns.label, TAGS)
    if words is None:
        return None
    if named_columns.task is None and (tags is None or _has_texts(tables, named_columns)):
        return None
    return replace(named_columns, text=words, label=named_columns.label or tags)


def _first_of_lists(tables: Sequence[Table], named: str | None, usual: Sequence[str]) -> str | None:
    """The column that is named, or the first one of the usual names, that holds lists."""
    for name in usual if named is None else [named]:
        if any(_is_lists(table, name) for table in tables):
            return name
    return None


def _has_texts(tables: Sequence[Table], columns: Columns) -> bool:
    """Whether there is a column of texts, and one of a label for each, where nobody has named a
    column.
    """
    if columns.text is not None or columns.label is not None:
        return False
    plain = {name for table in tables for name in table.columns if not _is_lists(table, name)}
    return not plain.isdisjoint(TEXT_COLUMNS) and not plain.isdisjoint(LABEL_COLUMNS)


def _is_lists(table: Table, name: str) -> bool:
    column = table.columns.get(name, [])
    if isinstance(column, list):
        return any(isinstance(value, list | tuple | np.ndarray) for value in column[:BLOCK_ROWS])
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(column.type) for is_kind in kinds)


def opened(table: Table, names: Columns) -> Opened:
    """The rows and the words of a table. Raises SpecError naming a row whose words are none, or
    that has not as many labels as words.
    """
    assert names.text is not None
    if names.text not in table.columns:
        raise SpecError(
            expected=f"a column of words {names.text!r}, as in the other files",
            found=", ".join(table.columns) or "none",
            advice="Give it the same name.",
            where=table.path,
        )
    words = _lists(table, names.text)
    if names.label not in table.columns:
        labels = [None] * len(table)
    else:
        labels = _lists(table, str(names.label))
    flat_labels: list[Any] = []
    for row, (row_words, row_labels) in enumerate(zip(words, labels, strict=True)):
        _check(row_words, row_labels, table, row, names)
        if any(map(_is_unfit, row_words)):
            raise _unfit(table, row, words, names)
        flat_labels += [None] * len(row_words) if row_labels is None else row_labels
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    row_of_word = np.repeat(np.arange(len(words)), lengths)
    units = replace(
        table,
        columns={} if names.label is None else {names.label: flat_labels},
        lines=np.asarray(table.lines, np.int64)[row_of_word],
        parts=(),
    )
    columns = {name: column for name, column in table.columns.items() if name != names.label}
    columns[names.text] = arrow_texts(list(map(SEPARATOR.join, words)))
    return Opened(replace(table, columns=columns), units, ends_of(lengths))


def _lists(table: Table, name: str) -> list[Any]:
    values = listed_values(table, name)
    return [value.tolist() if isinstance(value, np.ndarray) else value for value in values]


def _check(words: Any, tags: Any, table: Table, row: int, names: Columns) -> None:
    """Raises SpecError for what is no list of words, or has not a label for each."""
    advice = "Correct the row or leave it out."
    if not isinstance(words, list | tuple):
        raise SpecError(
            expected="a list of words",
            found=short(repr(words)),
            advice=advice,
            where=table.place(row),
        )
    are_tags = isinstance(tags, list | tuple)
    if tags is None or (are_tags and len(tags) == len(words)):
        return
    if row == 0:  # the labels of all rows may be of texts
        advice = f"{advice} {lists_advice(str(names.text), [list(words)], table.path)}"
    raise SpecError(
        expected=f"a label for each of {len(words)} words",
        found=len(tags) if are_tags else short(repr(tags)),
        advice=advice.rstrip(),
        where=table.place(row),
    )


def _is_unfit(word: Any) -> bool:
    return not isinstance(word, str) or not word or UNFIT.search(word) is not None


def _unfit(table: Table, row: int, words: Sequence[Any], names: Columns) -> SpecError:
    """The error over a row with words that are none, and how to leave them out."""
    rows = []
    are_spaces = True
    for cell in words:
        unfit = list(filter(_is_unfit, cell)) if isinstance(cell, list | tuple) else []
        rows.append(unfit)
        are_spaces = are_spaces and are_all(unfit, str) and not any(map(str.strip, unfit))
    advice = "Correct the row or leave it out."
    if are_spaces:
        advice = f"Leave such words out, with their labels{_without_spaces(table, names)}."
    if any(isinstance(word, list) for word in rows[row]):
        advice = lists_advice(str(names.text), words, table.path) or advice
    count = sum(map(bool, rows))
    return SpecError(
        expected="words, none empty, none with a newline and none with half a character",
        found=f"{short(repr(rows[row][0]))} in row {row} (counted from 0), such words in {count:,} "
        f"of {len(words):,} rows",
        advice=advice,
        where=table.place(row),
    )


def _without_spaces(table: Table, names: Columns) -> str:
    """A command that leaves words of nothing but spaces out; empty where pandas reads no such file."""
    columns = [name for name in (names.label, names.text) if name in table.columns]
    are_lists = ending(Path(table.path)) in _OF_LISTS
    if not are_lists or not all(str(name).isidentifier() for name in columns):
        return ""
    text = repr(names.text)
    lines = []
    if names.label in table.columns:
        lines.append(
            f"t[{names.label!r}] = [[y for w, y in zip(*r) if w.strip()] "
            f"for r in zip(t[{text}], t[{names.label!r}])]"
        )
    lines.append(f"t[{text}] = [[w for w in r if w.strip()] for r in t[{text}]]")
    command = pandas_command(table.path, "; ".join(lines))
    return f": {command}" if command else ""


def rarest(labels: Ragged) -> Int64:
    """The rarest label of each row's words, -1 where none has one: what a row counts for where rows
    are held out.
    """
    classes = labels.values[labels.values >= 0]
    counts = np.bincount(classes, minlength=1)
    order = np.argsort(counts, kind="stable")
    rank = np.empty(len(counts), np.int64)
    rank[order] = np.arange(len(counts))
    rarest_class = np.full(len(labels), len(counts))
    row = np.repeat(np.arange(len(labels)), labels.lengths())
    labelled = labels.values >= 0
    np.minimum.at(rarest_class, row[labelled], rank[labels.values[labelled]])
    label: Int64 = np.append(order, -1)[rarest_class]
    return label


def prepare(tokenizer: Any, rows: Rows, max_length: int, start: int, stop: int) -> Examples:
    """Tokenise rows start..stop, word by word, cut to ``max_length`` tokens the way the tokenizer
    truncates. Raises SpecError for a tokenizer that does not tell which word a token is of.
    """
    assert rows.tags is not None
    if not tokenizer.is_fast:
        raise SpecError(
            expected="a tokenizer that tells which word a token is of",
            found=f"{type(tokenizer).__name__}, which does not",
            advice="Use a checkpoint with a tokenizer.json.",
        )
    ids = []
    types = []
    firsts = []
    cut = np.zeros(stop - start, np.bool_)
    for begin, texts, _ in rows.text_blocks(start, stop):
        words = [text.split(SEPARATOR) if text else [] for text in texts]
        encoded = _encoded(tokenizer, words, max_length)
        for row, row_words in enumerate(words):
            is_cut = bool(encoded.encodings[row].overflowing)
            cut[begin - start + row] = is_cut
            ids.append(np.array(encoded["input_ids"][row], np.int32))
            if "token_type_ids" in encoded:
                types.append(np.array(encoded["token_type_ids"][row], np.uint8))
            first_is_cut = is_cut and tokenizer.truncation_side == "left"
            firsts.append(_first_pieces(encoded.word_ids(row), len(row_words), first_is_cut))
    inputs = {"input_ids": _ragged(ids, np.int32)}
    if types:
        inputs["token_type_ids"] = _ragged(types, np.uint8)
    units = {
        "first": _ragged(firsts, np.int64),
        "labels": rows.tags.select(np.arange(start, stop)),
    }
    return examples(tokenizer, rows, start, stop, inputs, cut, units)


def examples(
    tokenizer: Any,
    rows: Rows,
    start: int,
    stop: int,
    inputs: dict[str, Ragged],
    cut: Array,
    units: dict[str, Ragged] | None = None,
) -> Examples:
    """The inputs of rows start..stop beside their identities; ``cut`` bool[N]."""
    part = slice(start, stop)
    return Examples(
        row_id=rows.row_id[part],
        view=np.zeros(stop - start, np.int64),
        row_hash=rows.row_hash[part],
        label=rows.label[part],
        inputs=inputs,
        cut=cut,
        padding=Padding.of(tokenizer),
        units=units or {},
    )


def _encoded(tokenizer: Any, words: list[list[str]], max_length: int) -> Any:
    try:
        return tokenizer(
            words,
            is_split_into_words=True,
            truncation=True,
            max_length=max_length,
            padding=False,
            return_attention_mask=False,
        )
    except (
        AssertionError,
        ValueError,
    ) as error:  # a byte-level tokenizer that was saved without a space before words
        raise SpecError(
            expected="a tokenizer that takes words",
            found=f"{type(tokenizer).__name__}: {short(str(error))}",
            advice='Set "add_prefix_space": true in its tokenizer_config.json, as token classifiers have it.',
        ) from None


def _first_pieces(word_of_token: list[int | None], words: int, first_is_cut: bool) -> Int64:
    """The token of each word's first piece, or NO_WORD where it is cut away or has none:
    i64[words].
    """
    word = np.array([NO_WORD if number is None else number for number in word_of_token], np.int64)
    token = np.flatnonzero(word >= 0)[::-1]  # backwards: the first piece of a word is written last
    first = np.full(words, NO_WORD)
    first[word[token]] = token
    if first_is_cut and len(token):
        first[word[token[-1]]] = NO_WORD  # what is left of it may not be its beginning
    return first


def _ragged(rows: list[Array], dtype: Any) -> Ragged:
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    values = np.concatenate([np.empty(0, dtype), *rows])
    return Ragged(values, ends_of(lengths))
