"""Rows as annotation tools and fine-tuning services write them, made into plain columns; and the
columns that somebody names by a path, or by one column for each class.
"""

from __future__ import annotations

from collections.abc import Iterator

from logitcache.config.data import LANGUAGE, Columns
from logitcache.data.answer_columns import are_names_of_classes, of_zero_shot, parts_apart, votes_of
from logitcache.data.label_cells import several_labels
from logitcache.data.sources.annotators import (
    argilla,
    argilla_table,
    check_no_volunteers,
    label_studio,
)
from logitcache.data.sources.batches import check_no_batch
from logitcache.data.sources.chats import check_no_bad, classified, messages, prompted
from logitcache.data.sources.choices import check_no_choices
from logitcache.data.sources.dialogues import dialogues
from logitcache.data.sources.exported import Export
from logitcache.data.sources.joins import check_no_file_names
from logitcache.data.sources.nested import LOOKED_AT, first_values, listed_values, with_paths
from logitcache.data.sources.prodigy import prodigy
from logitcache.data.sources.spans import are_spans, spans
from logitcache.data.sources.tables import Table
from logitcache.data.sources.turns import check_no_turns
from logitcache.data.sources.word_rows import with_lists
from logitcache.reporter import Reporter


def plain(table: Table, named_columns: Columns, reporter: Reporter) -> Table:
    """The table with plain columns in place of those that a tool has nested, and with a column for
    every name that was asked for as a path (``data.text``) or as one column for each class
    (``joy,anger``). What was recognised is noted.

    Raises SpecError for an export whose annotations are parts of texts, for rows that are single
    messages of conversations, for rows of multiple choice, for names of files in place of
    texts, for the files of a batch, and for an export of Zooniverse.
    """
    check_no_batch(table, named_columns)
    check_no_volunteers(table)
    check_no_file_names(table, named_columns)
    check_no_choices(table, named_columns)
    table, note = with_lists(table, named_columns)
    if note:
        reporter.note(f"{table.path}: {note}")
    chats = messages(table)
    if chats is None and named_columns.task in LANGUAGE:
        check_no_bad(table)
        chats = prompted(table)
    if chats is None and named_columns.task == LANGUAGE[0] and named_columns.text is None:
        chats = dialogues(table)
    if chats is None:
        check_no_turns(table, named_columns)
    else:
        reporter.note(f"{table.path}: {chats.tool}")
        table = chats.replaced(table)
    if named_columns.task not in LANGUAGE:
        export = next(_recognised(table, named_columns), None)
        if export is not None:
            reporter.note(f"{table.path}: {export.tool}")
            table = export.replaced(table)
    names = (
        named_columns.text,
        named_columns.text_pair,
        named_columns.label,
        named_columns.split_column,
    )
    _check_no_spans(table, named_columns.label)
    several = [name.strip() for name in (named_columns.label or "").split(",")]
    table = with_paths(table, [name for name in (*names, *several) if name is not None])
    return _with_classes(table, named_columns.label)


def _check_no_spans(table: Table, label: str | None) -> None:
    """Raises SpecError where the label is asked for by a path through labels of parts of texts."""
    column = "" if label is None or label in table.columns else label.partition(".")[0]
    for row, cell in enumerate(first_values(table.columns.get(column, []), LOOKED_AT)):
        if are_spans(cell):
            raise several_labels(cell, column, table.place(row))


def _recognised(table: Table, named_columns: Columns) -> Iterator[Export]:
    """What the table is an export of, tool by tool."""
    exports = [label_studio(table), argilla(table), argilla_table(table), of_zero_shot(table)]
    if named_columns.label != "answer":
        exports.append(prodigy(table))
    if named_columns.text is None and named_columns.label is None:
        exports.append(classified(table))
    exports.append(spans(table, named_columns))
    return (export for export in exports if export is not None)


def _with_classes(table: Table, label: str | None) -> Table:
    """The table with a column of mappings from class to number, where the label was asked for as
    one column for each class; of lists of votes, where it was as one for each annotator.
    """
    if label is None or label in table.columns:
        return table
    names = [name.strip() for name in label.split(",")]
    if len(names) < 2 or not set(names) <= set(table.columns):
        return table
    if are_names_of_classes(table, names):
        return table.with_columns({label: votes_of(table, names)})
    columns = [listed_values(table, name) for name in names]
    classes = parts_apart(names, names)
    cells = [dict(zip(classes, row, strict=True)) for row in zip(*columns, strict=True)]
    return table.with_columns({label: cells})
