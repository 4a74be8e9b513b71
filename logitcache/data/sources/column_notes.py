"""What a user is told of the columns that were taken: others that might have been meant, and texts
that pandas would not read as such.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from logitcache.config.data import LANGUAGE, UNLABELLED_TASKS, Columns
from logitcache.data.label_cells import is_of_votes
from logitcache.data.label_values import MISSING_TEXTS
from logitcache.data.names import LISTED, collapsed, is_number, listed, listed_short
from logitcache.data.sources.columns import (
    CATS,
    LABEL_COLUMNS,
    MESSAGES,
    PAIR_COLUMNS,
    TEXT_COLUMNS,
    called,
    not_read,
)
from logitcache.data.sources.exported import OF_SPANS
from logitcache.data.sources.hints import (
    VOTES_OF_FUNCTIONS,
    Samples,
    alike,
    are_scores,
    bits,
    is_called_as_labels,
    is_labelling_function,
    likely_labels,
    likely_texts,
    looks_like_row,
    option,
    samples,
    shared_out,
    tags_among,
    tallied,
    voters,
)
from logitcache.data.sources.joins import advice_beside, foreign_keys
from logitcache.data.sources.nested import LOOKED_AT, first_values
from logitcache.data.sources.parted import parts_by_text_advice, word_spans_advice
from logitcache.data.sources.split_columns import split_column
from logitcache.data.sources.tables import Peculiar, Table, names_of
from logitcache.data.sources.uncounted import uncounted_notes
from logitcache.data.spool import arrow_texts
from logitcache.data.values import distinct, first_text, present
from logitcache.errors import short

WITHIN = 0.8  # share of rows whose text holds what a column says
FEWEST_LETTERS = 3
_ASPECT = re.compile(r"aspect|term|target|entity", re.IGNORECASE)
_OF_TEXTS = re.compile(  # in the name of a key
    r"article|body|comment|context|document|\bdoc|essay|page|paragraph|passage|post|question|review|sentence|story|text|tweet",
    re.IGNORECASE,
)
_END = re.compile(r"end$", re.IGNORECASE)  # of a column that says where a part of a text ends
_SPAN_START = re.compile(r"\.start(_\w+|Offset)?$")  # of a label within a text


def choice_notes(
    tables: Sequence[Table], named_columns: Columns, chosen: Columns, whole_tables: Sequence[Table]
) -> list[str]:
    """What a user has to know of the columns that were chosen, one line each: others that might have
    been meant, and texts that pandas would not read as such. ``whole_tables`` hold all that was read,
    ``tables`` may hold no more than the task asks for.
    """
    other_labels = _other_labels(tables, named_columns, chosen)
    notes = [_other_texts(whole_tables, named_columns, chosen), other_labels]
    if named_columns.says_columns or (other_labels is None and _is_guessed(named_columns, chosen)):
        notes.append(_taken(tables, named_columns, chosen))
    notes += [_otherwise_called(table, tables, chosen) for table in tables]
    notes.append(_split_column(tables, chosen))
    notes.append(_tagged_words(tables, chosen))
    notes += [_keys(table, chosen) for table in tables]
    notes.append(_positions(tables, chosen))
    notes.append(_parts_in_texts(tables, chosen))
    for table in tables:
        notes += uncounted_notes(table, named_columns, chosen)
    for table in tables:
        if not table.typed:
            for name in chosen.texts:
                if name not in table.columns:
                    continue
                notes += [_missing_words(table, name), _empty_texts(table, name)]
    return [note for note in notes if note is not None]


def _other_texts(tables: Sequence[Table], named_columns: Columns, chosen: Columns) -> str | None:
    are_named = named_columns.text is not None or named_columns.text_pair is not None
    if are_named or chosen.text == MESSAGES:
        return None
    have = names_of(tables)
    usual = distinct([*TEXT_COLUMNS, *chain.from_iterable(PAIR_COLUMNS)])
    columns = [called(name, have) for name in usual]
    sentences = likely_texts(samples(tables))
    columns += [name for name in sentences if name in have and not looks_like_row([name])]
    others = [name for name in distinct(columns) if name is not None and name not in chosen.columns]
    if not others:
        return None
    named = listed_short(others)
    if chosen.text_pair is not None:
        pair = f"{chosen.text} and {chosen.text_pair}"
        return f"columns: {pair} are read, {named} not. Others: --text (and --text-pair)"
    text = str(chosen.text)
    alone = option("--text", others[0])
    both = f"; both: {option('--text', text)} {option('--text-pair', others[0])}"
    if chosen.task in LANGUAGE:
        both = ""
    return f"columns: {text} is read, {named} not. Another: {alone}{both}"


def _other_labels(tables: Sequence[Table], named_columns: Columns, chosen: Columns) -> str | None:
    if named_columns.label is not None:
        return None
    if chosen.label is not None:
        have = names_of(tables)
        columns = [called(name, have) for name in LABEL_COLUMNS]
        values = samples(tables)
        before = f"{chosen.label.casefold()}_"
        longer = [name for name in have if name.casefold().startswith(before)]
        columns += [name for name in longer if not are_scores(values.get(name, []))]
        others = [name for name in columns if name is not None and name != chosen.label]
        if chosen.label.casefold() not in LABEL_COLUMNS[:2]:  # a category may be of anything
            others += [name for name in likely_labels(values, tables) if is_called_as_labels(name)]
        others = [name for name in distinct(others) if name not in chosen.columns]
        if not others:
            return None
        another = option("--label", others[0])
        return f"labels: the column {chosen.label} is read, {', '.join(others)} not. Another: {another}"
    unread = not_read(tables, chosen)
    if not unread:
        return None
    return (
        f"labels: no column is called {', '.join(LABEL_COLUMNS[:-1])} or {LABEL_COLUMNS[-1]}, so no row has a label; "
        f"not read: {listed_short(collapsed(unread), LISTED)}. {label_advice(tables, chosen)}"
    )


def _otherwise_called(table: Table, tables: Sequence[Table], chosen: Columns) -> str | None:
    """A note of a table without the label column that another has, where a column that is not read
    is called like labels.
    """
    label = chosen.label
    is_elsewhere = label in names_of(tables) and chosen.task not in UNLABELLED_TASKS
    if label is None or label in table.columns or not is_elsewhere:
        return None
    unread = set(table.columns) - {*chosen.texts, chosen.split_column}
    others = [name for name in table.columns if name in unread and is_called_as_labels(name)]
    if not others:
        return None
    return (
        f"{table.path}: no column {short(label)}, so its rows have no label; not read: {listed_short(others)}. "
        f"If these are their labels, rename the column to {short(label)}"
    )


def _is_guessed(named_columns: Columns, chosen: Columns) -> bool:
    """Whether the label may be another column than the one of a usual name: only the texts were
    named, or the name is a plural or in capitals, as that of free tags.
    """
    label = chosen.label
    if named_columns.label is not None or named_columns.task in UNLABELLED_TASKS:
        return False
    if label in (None, CATS):
        return False
    are_texts_named = named_columns.text is not None or named_columns.text_pair is not None
    return are_texts_named or label == LABEL_COLUMNS[1] or label not in LABEL_COLUMNS


def _taken(tables: Sequence[Table], named_columns: Columns, chosen: Columns) -> str | None:
    """Which columns are read, and of a label that nobody named, which one may be meant instead;
    None of one called label, where no other may be.
    """
    note = f"columns: the text is {' with '.join(map(short, chosen.texts))}"
    if chosen.label is None or named_columns.task in UNLABELLED_TASKS:
        return note
    note += f"; the label is {short(chosen.label)}"
    if not _is_guessed(named_columns, chosen):
        return note
    others = {
        name: values for name, values in samples(tables).items() if name not in chosen.columns
    }
    total, *tallies = tallied(others) or [""]
    likely = [
        name
        for name in likely_labels(others, tables)
        if name not in (total, *tallies) and not name.startswith(f"{chosen.label}.")
    ]
    if not likely and chosen.label == LABEL_COLUMNS[0] and not named_columns.says_columns:
        return None
    another = f". Another: {option('--label', likely[0])}" if likely else ""
    votes = ""
    if tallies:
        teacher = option("--teacher", f"column:{','.join(tallies)}")
        votes = f". If {listed(tallies)}, which sum to {total}, are votes: dump {teacher}"
    return f"{note}, found by its usual name{another}{votes}"


def label_advice(tables: Sequence[Table], chosen: Columns) -> str:
    """How the column of the labels is named, with the likeliest one."""
    advice = ""
    if chosen.task not in UNLABELLED_TASKS:
        advice = first_text(map(advice_beside, tables))
    advice = advice or first_text(map(word_spans_advice, tables))
    if not advice and chosen.text is not None:
        advice = first_text(parts_by_text_advice(table, chosen.text) for table in tables)
    if advice:
        return advice
    unread = not_read(tables, chosen)
    if any(map(_SPAN_START.search, unread)):
        return OF_SPANS
    values = {name: cells for name, cells in samples(tables).items() if name in unread}
    shares = shared_out(values)
    if shares:
        classes = ",".join(shares)
        return (
            f"If {listed_short(shares)} are numbers for each class, name them all: "
            f"{option('--label', classes)} (probabilities as a teacher: the same --label, and dump "
            f"{option('--teacher', f'column:{classes}')})"
        )
    plausible = likely_labels(values, tables)
    votes = voters(values)
    if votes and plausible and _classes(values[plausible[0]]) == _classes(values[votes[0]]):
        columns = ",".join(votes)
        label = columns if plausible[0] in votes else plausible[0]
        return (
            f"Name the column of the labels, for example {option('--label', plausible[0])}; if {listed(votes)} are "
            f"votes of annotators: {option('--label', label)}, and dump {option('--teacher', f'column:{columns}')}"
        )
    flags = [name for name in bits(values) if name in plausible]
    if len(flags) > 1 and plausible[0] in flags:
        advice = (
            f"The columns of 0 and 1 ({listed_short(flags)}) are several labels a row (multi-label), which are not "
            f"trained: take one class at a time, for example {option('--label', flags[0])}"
        )
        workers = alike(values, flags[0])
        if workers:
            advice += (
                ". If they are votes of annotators, write the names of the classes in place of 0 and 1, and give "
                f"{option('--label', ','.join(workers))}"
            )
        return advice
    if plausible:
        return f"Name the column of the labels, for example {option('--label', plausible[0])}"
    return _unlikely_label_advice(values, tables, chosen)


def _unlikely_label_advice(values: Samples, tables: Sequence[Table], chosen: Columns) -> str:
    """The same where no column is likely to hold labels."""
    for name, cells in values.items():
        if is_of_votes(cells):
            majority = option("--label", name)
            return f"Votes are labels by majority, and a teacher: {majority}, dump --teacher column:{name}"
    if any(map(is_labelling_function, values)):
        return VOTES_OF_FUNCTIONS
    if chosen.text_pair is not None and any(map(are_scores, values.values())):
        scored = option("--similarity", str(tables[0].path))
        return (
            f"Scores of pairs are no classes. For a sentence encoder: train --task embedding {scored}; else name the "
            "column of the labels with --label"
        )
    return "Name the column of the labels with --label"


def _classes(values: Sequence[Any]) -> set[str]:
    return set(map(str, present(values)))


def _split_column(tables: Sequence[Table], chosen: Columns) -> str | None:
    """A note of a column that says which split each row belongs to, which is not read."""
    if chosen.split_column is not None:
        return None
    for table in tables:
        split = split_column(table, chosen.columns)
        if split is not None:
            name, values = split
            return (
                f"{table.path}: the column {short(name)} names splits ({listed(values)}) and is not read, so rows of "
                f"all of them count as one table. To keep them apart: {option('--split-column', name)}"
            )
    return None


def _tagged_words(tables: Sequence[Table], chosen: Columns) -> str | None:
    """A note of rows that are single words with tags, read as texts."""
    if chosen.task in LANGUAGE or chosen.text is None or chosen.label is None:
        return None
    for table in tables:
        head = {}
        for name in (chosen.text, chosen.label):
            if name in table.columns:
                head[name] = first_values(table.columns[name], LOOKED_AT)
        if tags_among(head) == chosen.label:
            return (
                f"{table.path}: every text is a single word, and its label looks like the tag of one (O). If the rows "
                "are words of sentences, call their columns word and tag (--header word,tag), or the file .conll"
            )
    return None


def _keys(table: Table, chosen: Columns) -> str | None:
    """A note of a column that is a key of a table beside this one, whose rows are not read, or is
    called as one of texts; none for rows of two texts.
    """
    keys = foreign_keys(table, (*chosen.columns, chosen.split_column))
    # without a label, `label_advice` says it
    if not keys or chosen.label is None or chosen.text_pair is not None:
        return None
    names = listed_short(keys)
    advice = advice_beside(table)
    if not advice and not any(map(_OF_TEXTS.search, keys)):
        return None
    advice = advice or "To read texts of another table too, join it first"
    return f"{table.path}: not read: {names}, whose numbers stand in several rows. {advice}"


def _positions(tables: Sequence[Table], chosen: Columns) -> str | None:
    """A note of columns that say which parts of its text a row is about, which are not read."""
    names = names_of(tables)
    columns = []
    for end in names:
        start = _END.sub("start", end)
        if start != end and start in names and end not in chosen.columns:
            columns += [start, end]
    if not columns:
        return None
    return (
        f"not read: {listed_short(columns)}. If labels are of these parts of a text, mark them in it: "
        "'<e1> Ada </e1> met <e2> Alan </e2>'"
    )


def _parts_in_texts(tables: Sequence[Table], chosen: Columns) -> str | None:
    """A note of a column that is not read whose words stand in the text of their row, where a text
    has several, or the column is called so: aspects that the labels may be about.
    """
    if chosen.text is None or chosen.text_pair is not None or chosen.task in UNLABELLED_TASKS:
        return None
    values = samples(tables)
    texts = [str(text).casefold() for text in values.get(chosen.text, [])]
    for name in not_read(tables, chosen):
        parts = [str(part).casefold() for part in values.get(name, [])]
        if len(parts) != len(texts) or name == chosen.label or _are_short(parts):
            continue
        pairs = list(zip(texts, parts, strict=True))
        within = sum(part in text for text, part in pairs)
        has_several = len(set(pairs)) > len(set(texts)) or _ASPECT.search(name) is not None
        if within >= WITHIN * len(texts) and has_several:
            return (
                f"not read: {short(name)}, whose words stand in the text of their row. If the labels are about them: "
                f"{option('--text-pair', name)}"
            )
    return None


def _are_short(parts: Sequence[str]) -> bool:
    """Whether these are numbers, or empty: they stand in any text."""
    return all(len(part) < FEWEST_LETTERS or is_number(part) for part in parts)


def _missing_words(table: Table, column: str) -> str | None:
    """A note of the fields of a text file that stay texts though pandas reads them as missing."""
    import pyarrow.compute as pc

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
    import pyarrow.compute as pc

    empty = pc.match_substring_regex(_strings(table, column), r"\A\z")
    count = pc.sum(empty).as_py() or 0
    if count <= sum(remark.count for remark in table.remarks if remark.kind is Peculiar.EMPTY):
        return None
    first = table.place(empty.to_pylist().index(True))
    return f"{table.path}: column {column!r}: empty texts: {count:,} (first: {first})"


def _strings(table: Table, column: str) -> pa.Array | pa.ChunkedArray:
    values = table.columns[column]
    return pa.array(values, pa.large_string()) if isinstance(values, list) else values
