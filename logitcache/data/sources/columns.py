"""Which columns of a table hold the texts and the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from logitcache.config.data import UNLABELLED_TASKS, Columns
from logitcache.data.names import LISTED, listed_short
from logitcache.data.sources.advice import (
    by_first_word,
    fields_advice,
    header_advice,
    joined_tags_advice,
    lists_advice,
    pandas_command,
)
from logitcache.data.sources.content import AS_ROWS
from logitcache.data.sources.hints import (
    NUMBERING,
    SENTENCE,
    are_names,
    is_called_as_labels,
    is_constant,
    likely_labels,
    likely_pair,
    likely_texts,
    looks_like_row,
    mean_size,
    option,
    samples,
    shared_out,
    similar,
)
from logitcache.data.sources.nested import LOOKED_AT, first_values, holds, paths_of
from logitcache.data.sources.parted import word_spans_advice
from logitcache.data.sources.tables import Table, names_of
from logitcache.data.values import first_text, present
from logitcache.errors import SpecError, short

TITLE = "title"
TEXT_COLUMNS = ("text", "sentence", "content", "review", "document", TITLE)
PAIR_COLUMNS = (
    ("text", "text_pair"),
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "context"),
    ("question", "passage"),
    ("context", "hypothesis"),
)
# what both texts of a pair may be answers to
PROMPT_COLUMNS = ("prompt", "instruction", "question", "query", "context")
MESSAGES = "messages"
CATS = "cats"  # of spaCy: a number for each class
LABEL_COLUMNS = ("label", "labels", "class", "category", "target", "intent")
# the first columns of what Google Forms and other forms export; the others are called by questions
_FIRST_OF_FORMS = ("timestamp", "start date", "submission date", "respondent id", "response id")


def column_names(tables: Sequence[Table], named_columns: Columns, where: Path | str) -> Columns:
    """Fill in the column names that were not given; refuse those that no file has. One file may
    lack what another has: a test split is often unlabelled. Usual names may be written in any case.
    """
    have = names_of(tables)
    named_columns = replace(
        named_columns,
        text=_named("--text", named_columns.text, have, tables, where),
        text_pair=_named("--text-pair", named_columns.text_pair, have, tables, where),
        label=_named("--label", named_columns.label, have, tables, where),
        split_column=_named("--split-column", named_columns.split_column, have, tables, where),
    )
    text = named_columns.text
    pair = named_columns.text_pair
    if text is None and pair is None:
        for names in PAIR_COLUMNS:
            first, second = [called(name, have) for name in names]
            if first is not None and second is not None:
                text = first
                pair = second
                break
    if text is None:
        text = usual_text(tables, have)
    if text is None:
        raise _no_text(tables, where, named_columns)
    label = named_columns.label or first_called(LABEL_COLUMNS, have) or _cats(tables)
    chosen = replace(named_columns, text=text, text_pair=pair, label=label)
    _check_once(tables, chosen)
    return chosen


def _check_once(tables: Sequence[Table], chosen: Columns) -> None:
    """Raises SpecError where a column that is read has a name that repeats in its header."""
    label = None if chosen.task in UNLABELLED_TASKS else chosen.label
    names = (chosen.text, chosen.text_pair, label, chosen.split_column)
    flags = ("--text", "--text-pair", "--label", "--split-column")
    for table in tables:
        for flag, name in zip(flags, names, strict=True):
            if name in table.repeated:
                raise SpecError(
                    expected=f"each column that is read once, for {flag}",
                    found=f"several called {name!r}",
                    advice=f"Name another column with {flag}, or rename them in the header.",
                    where=table.path,
                )


def _named(
    flag: str, name: str | None, have: Sequence[str], tables: Sequence[Table], where: Path | str
) -> str | None:
    """The column that an option names; runs of whitespace compare equal, because messages collapse
    them. Raises SpecError where there is none.
    """
    if name is None or name in have:
        return name
    column = next((other for other in have if other.split() == name.split()), None)
    if column is not None:
        return column
    names = paths_of(tables)
    close = similar(name, names)
    raise SpecError(
        f"no column {name!r} for {flag}, found {listed_short(names, LISTED) or 'none'}",
        advice=f"Did you mean {option(flag, close)}?" if close else "Give one of these.",
        where=where,
    )


def _cats(tables: Sequence[Table]) -> str | None:
    """The column in which spaCy has a number for each class."""
    return next((CATS for table in tables if holds(table, CATS, Mapping)), None)


def called(name: str, have: Sequence[str]) -> str | None:
    """The column of this name, in whatever case it is written."""
    if name in have:
        return name
    return next((column for column in have if column.casefold() == name), None)


def first_called(names: Sequence[str], have: Sequence[str]) -> str | None:
    """The first of these names that a column has, in whatever case it is written."""
    for name in names:
        column = called(name, have)
        if column is not None:
            return column
    return None


def usual_text(tables: Sequence[Table], have: Sequence[str]) -> str | None:
    """The column of texts by its usual name; not one that says the same in every row, as the title
    of a task for annotators, and not titles of a word or two, or that some rows lack, where another
    column holds sentences that differ. Two rows may be alike by chance.
    """
    names = [called(name, have) for name in TEXT_COLUMNS]
    usual = [name for name in names if name is not None]
    if not usual:
        return None
    differing = [name for name in usual if not _is_constant(tables, name)]
    column = differing[0] if differing else usual[0]
    if differing and column.casefold() != TITLE:
        return column
    values = samples(tables)
    titles = values.get(column, [])
    is_everywhere = len(present(titles)) == len(titles)
    if differing and is_everywhere and mean_size(titles)[0] >= SENTENCE:
        return column
    others = [name for name in likely_texts(values) if name not in usual]
    return None if others else column


def _is_constant(tables: Sequence[Table], name: str) -> bool:
    """Whether a column says the same in its first rows, three at least."""
    columns = {id(table): table.columns[name] for table in tables if name in table.columns}
    heads = [first_values(column, LOOKED_AT) for column in columns.values()]
    values = [value for head in heads for value in head]
    return len(values) > 2 and is_constant(values)


def _no_text(tables: Sequence[Table], where: Path | str, named_columns: Columns) -> SpecError:
    """The error over tables without a column of a usual name, with the likeliest one."""
    expected = f"a text column ({', '.join(TEXT_COLUMNS)})"
    have = names_of(tables)
    if not have:
        return SpecError(
            expected=expected, found="an empty file", advice="Fetch or save it again.", where=where
        )
    values = samples(tables)
    advice = _text_advice(tables, have, values, named_columns)
    found = listed_short(values, LISTED)
    return SpecError(expected=expected, found=found, advice=advice, where=where)


def _text_advice(
    tables: Sequence[Table],
    have: Sequence[str],
    values: Mapping[str, Sequence[Any]],
    named_columns: Columns,
) -> str:
    """What to do about these columns, ``values`` being their first rows by path: the delimiter
    decides before the header, and the header before the columns.
    """
    if named_columns.delimiter == " ":
        return f"{by_first_word(tables[0].path)}, and leave --delimiter out."
    texts = likely_texts(values)
    advice = "" if texts else _lists_advice(tables, values)
    advice = advice or _chat_advice(tables, values)
    advice = advice or _column_advice(tables, values, texts, named_columns.label)
    if any(table.typed for table in tables):
        return advice
    head = samples(tables[:1])  # another file's first line has other names
    first_column = [have[0], *map(str, head[have[0]])]
    marked = [cell for cell in first_column if cell.startswith("#")]
    if len(marked) > 1 and len(have) > 1:
        return (
            "If the lines that begin with # are comments and each other line is a word and its label, name the file "
            f".conll; else remove them: grep -v '^#' FILE > OUT.tsv. {advice}"
        )
    if len(have) == 1:
        joined = joined_tags_advice(list(map(str.split, first_column)), tables[0].path)
        if joined:
            return joined
    columns = [[name, *map(str, head[name])] for name in head]
    header = header_advice(columns)
    if len(have) == 1:
        header = fields_advice(first_column) or header
    if looks_like_row(have) and have[0].strip().casefold() not in _FIRST_OF_FORMS:
        return header
    if len(have) == 1:
        return f"{advice} If the lines hold several fields, say with --delimiter what separates them. {header}"
    is_header = any(is_called_as_labels(name) and " " not in name.strip() for name in have)
    if is_header or are_names(columns):
        return advice
    return f"{advice} {header}"


def _lists_advice(tables: Sequence[Table], values: Mapping[str, Sequence[Any]]) -> str:
    """Where a column holds lists of texts: of words, or of texts that are rows; else empty."""
    spans = first_text(map(word_spans_advice, tables))
    if spans:
        return f"{spans}."
    have = names_of(tables)
    path = tables[0].path
    advice = (lists_advice(name, values[name], path) for name in values if name in have)
    return first_text(advice)


def _chat_advice(tables: Sequence[Table], values: Mapping[str, Sequence[Any]]) -> str:
    """Where the columns hold chats; else empty."""
    if any(holds(table, MESSAGES, list) for table in tables):
        return "To learn chats: --task causal-lm. To classify, save a text and a label for each."
    if any(name.endswith(".role") for name in values):
        return (
            f"To learn chats, save them as a column {MESSAGES} of lists of role and content, and give --task "
            "causal-lm. To classify, save a text and a label for each."
        )
    return ""


def _column_advice(
    tables: Sequence[Table],
    values: Mapping[str, Sequence[Any]],
    texts: Sequence[str],
    label: str | None,
) -> str:
    """The options that name the columns, with the likeliest ones; ``label`` is named already."""
    have = names_of(tables)
    advice = "Name it with --text (and --text-pair)"
    constant = first_called(TEXT_COLUMNS, have)
    if constant is not None:
        titles = values.get(constant, [])
        fault = "holds no sentences that differ"
        if len(present(titles)) < len(titles):
            fault = "is empty in some rows"
        advice = f"{constant!r} {fault}: name the texts with --text"
    left_out = None
    if texts:
        pair = likely_pair(texts) or _usual_pair(texts)
        if pair is None:
            advice += f", for example {option('--text', texts[0])}"
        else:
            first, second = pair
            advice += f", for example {option('--text', first)} {option('--text-pair', second)}"
            left_out = first_called(PROMPT_COLUMNS, [name for name in texts if name not in pair])
        unread = {name: v for name, v in values.items() if name not in texts}
        shares = shared_out(unread)
        labels = [",".join(shares)] if shares else likely_labels(unread, tables)
        usual = label or first_called(LABEL_COLUMNS, have)
        if labels and usual is None:
            advice += f" {option('--label', labels[0])}"
        elif label is None and usual is not None and usual.casefold() not in LABEL_COLUMNS[:2]:
            others = [name for name in labels if name != usual and is_called_as_labels(name)]
            if others:
                another = option("--label", others[0])
                advice += f"; the label is then {usual}, by its usual name (another: {another})"
    if left_out is not None:
        advice += f". {short(left_out)} is left out then"
        command = pandas_command(
            tables[0].path, f"t[{first!r}] = t[{left_out!r}] + chr(10) + t[{first!r}]"
        )
        advice += f"; to put it before the first text: {command}" if command else ""
    return f"{advice}." if texts else f"{advice}; or save the rows {AS_ROWS}."


def _usual_pair(texts: Sequence[str]) -> tuple[str, str] | None:
    """Two paths that end in usual names of a pair: example.premise and example.hypothesis."""
    for first, second in PAIR_COLUMNS:
        for path in texts:
            before, point, name = path.rpartition(".")
            other = f"{before}{point}{second}"
            if name == first and other in texts:
                return path, other
    return None


def not_read(tables: Sequence[Table], chosen: Columns) -> tuple[str, ...]:
    """Columns that are not read as text or label, excluding row-number columns; by path where a
    column holds objects.
    """
    return tuple(
        name
        for name in paths_of(tables)
        if name not in chosen.columns and not NUMBERING.fullmatch(name)
    )
