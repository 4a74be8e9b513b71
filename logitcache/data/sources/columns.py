"""Which columns of a table hold the texts and the labels, and what a user is told of the choice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from logitcache.config.data import Columns
from logitcache.data.label_values import MISSING_TEXTS
from logitcache.data.names import is_number
from logitcache.data.sources.endings import SPLIT_WORDS
from logitcache.data.sources.tables import Column, Peculiar, Table
from logitcache.data.spool import arrow_texts
from logitcache.errors import SpecError, short

TEXT_COLUMNS = ("text", "sentence", "content", "review", "document", "title")
PAIR_COLUMNS = (
    ("text", "text_pair"),
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "context"),
)
LABEL_COLUMNS = ("label", "labels", "class", "category", "target", "intent")
# Columns that number the rows: an index that pandas wrote, and the like.
_NUMBERING = re.compile(
    r"|\s+|unnamed: ?[0-9]+|__index_level_[0-9]+__|id|idx|index|row_?id", re.IGNORECASE
)
NO_HEADER = (
    "If the first line is a row, name the columns with --header, for example --header text,label."
)
LOOKED_AT = 1000  # rows of a column that may hold the labels
SPLIT_COLUMNS = ("split", "set", "partition", "subset")
_LABEL_WORDS = (
    "label",
    "class",
    "categ",
    "target",
    "intent",
    "sentiment",
    "rating",
    "stars",
    "score",
    "topic",
)


def column_names(tables: Sequence[Table], named_columns: Columns, where: Path | str) -> Columns:
    """Fill in the column names that were not given; refuse those that no file has. One file may
    lack what another has: a test split is often unlabelled. Usual names may be written in any case.
    """
    have = _names(tables)
    for flag, name in (
        ("--text", named_columns.text),
        ("--text-pair", named_columns.text_pair),
        ("--label", named_columns.label),
    ):
        if name is not None and name not in have:
            problem = f"no column {name!r} for {flag}, found {', '.join(have) or 'none'}"
            raise SpecError(problem, advice="Give one of these.", where=where)
    text, pair = named_columns.text, named_columns.text_pair
    if text is None and pair is None:
        pairs = ([_called(name, have) for name in names] for names in PAIR_COLUMNS)
        text, pair = next((names for names in pairs if None not in names), (None, None))
    if text is None:
        text = _first(TEXT_COLUMNS, have)
    if text is None:
        raise _no_text(have, where, typed=all(table.typed for table in tables))
    return replace(
        named_columns,
        text=text,
        text_pair=pair,
        label=named_columns.label or _first(LABEL_COLUMNS, have),
    )


def _called(name: str, have: Sequence[str]) -> str | None:
    """The column of this name, in whatever case it is written."""
    if name in have:
        return name
    return next((column for column in have if column.casefold() == name), None)


def _first(names: Sequence[str], have: Sequence[str]) -> str | None:
    columns = (_called(name, have) for name in names)
    return next((column for column in columns if column is not None), None)


def _no_text(have: Sequence[str], where: Path | str, *, typed: bool) -> SpecError:
    expected = f"a text column ({', '.join(TEXT_COLUMNS)})"
    if not have:
        return SpecError(
            expected=expected, found="an empty file", advice="Fetch or save it again.", where=where
        )
    advice = "Name it with --text (and --text-pair)."
    if not typed and len(have) == 1:
        advice += " If the lines hold several fields, say with --delimiter what separates them."
    if not typed:
        advice += f" {NO_HEADER}"
    return SpecError(
        expected=expected, found=", ".join(map(short, have)), advice=advice, where=where
    )


def looks_like_row(names: Sequence[str]) -> bool:
    """Whether names are rather the fields of a row: a number, or a sentence."""
    return any(is_number(name.strip()) or len(name.split()) > 4 for name in names)


def not_read(tables: Sequence[Table], chosen: Columns) -> tuple[str, ...]:
    """The columns that are neither texts nor labels, but those that only number the rows."""
    read = (chosen.text, chosen.text_pair, chosen.label)
    return tuple(
        name for name in _names(tables) if name not in read and not _NUMBERING.fullmatch(name)
    )


def choice_notes(tables: Sequence[Table], named_columns: Columns, chosen: Columns) -> list[str]:
    """What a user has to know of the columns that were taken, one line each: others that might have
    been meant, and texts that pandas would not read as such.
    """
    notes = [
        _other_texts(tables, named_columns, chosen),
        _other_labels(tables, named_columns, chosen),
    ]
    notes += [_split_column(tables, chosen), _rejected(tables, chosen)]
    for table in tables:
        if not table.typed:
            columns = [
                name
                for name in (chosen.text, chosen.text_pair)
                if name is not None and name in table.columns
            ]
            for name in columns:
                notes += [_missing_words(table, name), _empty_texts(table, name)]
    return [note for note in notes if note is not None]


def _names(tables: Sequence[Table]) -> list[str]:
    return list(dict.fromkeys(name for table in tables for name in table.columns))


def _other_texts(tables: Sequence[Table], named_columns: Columns, chosen: Columns) -> str | None:
    if named_columns.text is not None or named_columns.text_pair is not None:
        return None
    have = _names(tables)
    usual = dict.fromkeys([*TEXT_COLUMNS, *(name for pair in PAIR_COLUMNS for name in pair)])
    columns = [_called(name, have) for name in usual]
    alternatives = [name for name in columns if name not in (None, chosen.text, chosen.text_pair)]
    if not alternatives:
        return None
    texts = " and ".join(filter(None, (chosen.text, chosen.text_pair)))
    return f"columns: {texts} are read, {', '.join(alternatives)} not. Others: --text (and --text-pair)"


def _other_labels(tables: Sequence[Table], named_columns: Columns, chosen: Columns) -> str | None:
    if named_columns.label is not None:
        return None
    if chosen.label is not None:
        have = _names(tables)
        columns = [_called(name, have) for name in LABEL_COLUMNS]
        alternatives = [name for name in columns if name is not None and name != chosen.label]
        if not alternatives:
            return None
        unread_labels = ", ".join(alternatives)
        advice = f"Another: --label {alternatives[0]}"
        return f"labels: the column {chosen.label} is read, {unread_labels} not. {advice}"
    unread = not_read(tables, chosen)
    if not unread:
        return None
    plausible = [name for name in unread if any(_may_be_labels(table, name) for table in tables)]
    plausible.sort(key=lambda name: not any(word in name.lower() for word in _LABEL_WORDS))
    advice = "Name the column of the labels with --label"
    if plausible:
        advice = f"Name the column of the labels, for example --label {_quoted(plausible[0])}"
    return (
        f"labels: no column is called {', '.join(LABEL_COLUMNS[:-1])} or {LABEL_COLUMNS[-1]}, so no row has a label; "
        f"not read: {', '.join(unread)}. {advice}"
    )


def _may_be_labels(table: Table, name: str) -> bool:
    """Whether the first rows of a column repeat a few plain values, as classes do."""
    if name not in table.columns:
        return False
    column = table.columns[name][:LOOKED_AT]
    values = column if isinstance(column, list) else column.to_pylist()
    values = [value for value in values if value not in (None, "")]
    if any(isinstance(value, dict | list) for value in values):
        return False
    return 2 <= len(set(values)) <= max(2, len(values) // 2)


def _split_column(tables: Sequence[Table], chosen: Columns) -> str | None:
    """A note of a column that says which split each row belongs to, which is not read."""
    read = (chosen.text, chosen.text_pair, chosen.label)
    for table in tables:
        for name in SPLIT_COLUMNS:
            column = _called(name, list(table.columns))
            if column is None or column in read:
                continue
            values = set(_plain(table.columns[column]))
            if len(values) > 1 and all(str(value).lower() in SPLIT_WORDS for value in values):
                listed = ", ".join(sorted(map(str, values)))
                return (
                    f"{table.path}: the column {column} names splits ({listed}) and is not read, so rows of all of "
                    "them count as one table. To keep them apart, save each split as a file of its own"
                )
    return None


def _rejected(tables: Sequence[Table], chosen: Columns) -> str | None:
    """A note of annotations that somebody has rejected, as Prodigy writes them: the label is not
    the row's.
    """
    for table in tables:
        if "answer" not in table.columns or "answer" in (
            chosen.text,
            chosen.text_pair,
            chosen.label,
        ):
            continue
        column = table.columns["answer"]
        answers = Counter(column if isinstance(column, list) else column.to_pylist())
        rejected = answers["reject"] + answers["ignore"]
        if rejected and answers.keys() <= {"accept", "reject", "ignore"}:
            return (
                f"{table.path}: the column answer is reject or ignore in {rejected:,} rows and is not read: their "
                "labels are taken like all others. Leave these rows out if their labels are wrong"
            )
    return None


def _plain(column: Column) -> list[Any]:
    return column if isinstance(column, list) else column.unique().to_pylist()


def _quoted(name: str) -> str:
    """A column's name as a shell takes it."""
    return name if re.fullmatch(r"[\w.-]+", name) else f"'{name}'"


def _missing_words(table: Table, column: str) -> str | None:
    """A note of the fields of a text file that stay texts though pandas reads them as missing."""
    values = _strings(table, column)
    matches = pc.is_in(values, value_set=arrow_texts(sorted(MISSING_TEXTS)).cast(values.type))
    count = pc.sum(matches).as_py() or 0
    if not count:
        return None
    row = matches.to_pylist().index(True)
    return (
        f"{table.path}: column {column!r}: texts such as {values[row].as_py()!r}, which pandas reads as missing, stay "
        f"texts: {count:,} (first: {table.place(row)})"
    )


def _empty_texts(table: Table, column: str) -> str | None:
    """A note of empty texts, where there are more than rows without anything in them, which are
    said already.
    """
    empty = pc.match_substring_regex(_strings(table, column), r"\A\z")
    count = pc.sum(empty).as_py() or 0
    if count <= sum(remark.count for remark in table.remarks if remark.kind is Peculiar.EMPTY):
        return None
    first = table.place(empty.to_pylist().index(True))
    return f"{table.path}: column {column!r}: empty texts: {count:,} (first: {first})"


def _strings(table: Table, column: str) -> pa.Array | pa.ChunkedArray:
    values = table.columns[column]
    return pa.array(values, pa.large_string()) if isinstance(values, list) else values
