"""Rows of text by name: what a name of data stands for is read, labels become class numbers, and
each split is selected from its table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from logitcache import identity
from logitcache.config.data import LANGUAGE, Columns, check_unlabelled
from logitcache.data.labels import UNLABELLED, labels
from logitcache.data.names import ClassNames
from logitcache.data.preprocess import words
from logitcache.data.rows import Rows as Rows
from logitcache.data.rows import Source as Source
from logitcache.data.selection import divided, divided_by_column, drawn, without
from logitcache.data.sources import corpus, find
from logitcache.data.sources.advice import given
from logitcache.data.sources.answers_beside import answers_beside
from logitcache.data.sources.class_files import label_names
from logitcache.data.sources.column_notes import choice_notes, label_advice
from logitcache.data.sources.columns import LABEL_COLUMNS, column_names
from logitcache.data.sources.content import Reading
from logitcache.data.sources.exports import plain
from logitcache.data.sources.find import UNLABELLED_SPLIT as UNLABELLED_SPLIT
from logitcache.data.sources.find import Data as Data
from logitcache.data.sources.find import Origin
from logitcache.data.sources.presets import Preset
from logitcache.data.sources.spans import all_as_words, as_words
from logitcache.data.sources.split_columns import SplitsOfColumn, rows_by_split
from logitcache.data.sources.tables import Opened, Table, remark_lines
from logitcache.data.sources.texts import texts
from logitcache.data.spool import Spool, by_block, strings
from logitcache.data.tasks.classification import Classification
from logitcache.data.tasks.table import chosen
from logitcache.errors import LogitCacheError, SpecError, sentence
from logitcache.records import Int64, Ragged
from logitcache.reporter import SILENT, Once, Reporter

SPLITS = ("train", "dev", "test")


def load(
    data: Data,
    columns: Columns,
    cache: Path,
    reporter: Reporter,
    *,
    unlabelled: Data | None = None,
    seed: int = 0,
    name: str | None = None,
    keep: bool = False,
) -> Source:
    """Load an embedded set by name (built under ``cache`` on first use), a file or a folder, a
    preset, or a data set of the hub: the first of these that ``data`` names. Or take rows in
    memory: columns, a table of pandas or arrow or a data set of ``datasets``, or such by split.

    Of a single file or table whose name tells no split, some labelled rows are held out by content,
    so that no text is in two splits (:mod:`logitcache.data.division`). Of a train split that is
    given alone, whoever trains holds them out (:func:`logitcache.data.selection.held_out`).
    ``unlabelled`` names more rows with the same text columns: they become the split of that name.
    ``seed`` draws the splits of a preset that has none; columns that are asked for go before a
    preset's. ``name`` is what the source is called (rows in memory: "memory"). With ``keep``,
    tables stay in memory, for whoever reads further columns of them (``Source.read``). Raises
    SpecError for whatever cannot be read as asked, with what is refused once its advice is followed.
    """
    read = partial(_load, data, cache=cache, unlabelled=unlabelled, seed=seed, name=name, keep=keep)
    try:
        return read(columns, reporter=reporter)
    except SpecError as error:
        _add_what_follows(error, columns, partial(read, reporter=SILENT))
        raise


def _add_what_follows(
    error: SpecError, columns: Columns, read: Callable[[Columns], Source]
) -> None:
    """Follow the advice of an error as far as it names options of reading, and add what is refused
    with all of them. Cost: the rows are read again for each.
    """
    latest: LogitCacheError = error
    suggested: dict[str, Any] = {}
    while latest.suggested.keys() - suggested.keys():
        suggested |= latest.suggested
        try:
            read(replace(columns, **suggested))
        except LogitCacheError as further:
            latest = further
            continue
        if latest is not error:
            error.advice = f"{sentence(error.advice)} All that is to be given: {given(suggested)}"
        return
    if latest is not error:
        error.advice = f"{sentence(error.advice)} With {given(suggested)}: {latest.message}"


def _load(
    data: Data,
    columns: Columns,
    cache: Path,
    reporter: Reporter,
    *,
    unlabelled: Data | None,
    seed: int,
    name: str | None,
    keep: bool,
) -> Source:
    reading = Reading(columns.encoding, columns.delimiter, columns.header)
    reporter = Once(reporter)  # a table may be read again, for its other columns
    running = corpus.find(data, cache, reporter, reading) if columns.task in LANGUAGE else None
    origin = running or find.find(data, cache, reporter, reading=reading)
    origin, unlabelled_origin = _both(origin, unlabelled, cache, reporter, reading)
    check_unlabelled(columns.task, unlabelled_origin)
    columns = _or_preset(columns, origin.preset)
    origin = _plain(origin, columns, reporter)
    if unlabelled_origin is not None:
        unlabelled_origin = _plain(unlabelled_origin, columns, reporter)
    read_tables = {split: read() for split, read in origin.tables.items()}
    _say(read_tables.values(), reporter)
    tables = all_as_words(read_tables, columns)
    if keep:
        kept = {split: partial(_itself, table) for split, table in tables.items()}
        origin = replace(origin, tables=kept)
    named_columns = columns
    kind, columns = chosen(list(tables.values()), named_columns, origin.where)
    form = kind.form(list(tables.values()), columns)
    opened = {split: kind.opened(table, columns) for split, table in tables.items()}
    names = _column_names(opened, columns, origin)
    # of a task of texts alone, notes are about the columns that somebody named
    shown_columns = columns if kind.fixed_label is None else named_columns
    _note_choices(tables, opened, shown_columns, names, kind, reporter)
    units = {split: table.units for split, table in opened.items()}
    named_classes = _given_names(columns.label_names, origin, units, names.label)
    numbers, class_names, count = labels(units, names.label, named_classes, reporter)
    if kind.fixed_label is not None:
        class_names = None
        count = 1
        for split, table in opened.items():
            numbers[split] = np.full(len(table.rows), kind.fixed_label, np.int64)
    rows = {split: _rows(table, names, numbers[split]) for split, table in opened.items()}
    by_column = None
    if names.split_column is not None:
        by_column = rows_by_split([table.rows for table in opened.values()], names.split_column)
    source = Source(name or origin.name, {}, class_names, count, task=kind.name)
    source = _divided(source, rows, origin, by_column, seed, reporter)
    origins = {}
    for split, table in opened.items():
        origins[str(split or "train")] = table.rows.without_columns()
    source = replace(source, form=form, origins=origins)
    if unlabelled_origin is not None:
        span_columns = next(iter(tables.values())).span_columns
        unlabelled_table = find.single(unlabelled_origin)
        _say([unlabelled_table], reporter)
        unlabelled_table = as_words(unlabelled_table, span_columns, names)
        source = _with_unlabelled(
            source, unlabelled_origin, unlabelled_table, kind, names, reporter
        )
    return _described(source, origin, unlabelled_origin, names, list(opened.values()))


def _say(tables: Iterable[Table], reporter: Reporter) -> None:
    """What has to be known of the rows of tables."""
    for note in remark_lines(tables):
        reporter.note(note)


def _given_names(
    names: tuple[str, ...] | None,
    origin: Origin,
    tables: Mapping[str | None, Table],
    column: str | None,
) -> ClassNames | None:
    """The names of the classes that somebody gave; a file of the ``datasets`` library does not go
    before the data.
    """
    numbered = () if origin.preset is None else origin.preset.label_names
    is_declared = any(column in table.classes for table in tables.values())
    return label_names(names, origin.folders, None if is_declared else column, numbered)


def _column_names(opened: Mapping[str | None, Opened], columns: Columns, origin: Origin) -> Columns:
    tables = [part for table in opened.values() for part in (table.rows, table.units)]
    return column_names(tables, columns, origin.where)


def _note_choices(
    whole_tables: Mapping[str | None, Table],
    opened: Mapping[str | None, Opened],
    columns: Columns,
    names: Columns,
    kind: type[Classification],
    reporter: Reporter,
) -> None:
    """Notes of a split without rows, of the task, and of the columns that are read and not read."""
    tables = [table.rows for table in opened.values()]
    for split, table in opened.items():
        if split in ("train", None):  # refused where it is used, if it is empty
            continue
        if table.rows.columns and not len(table.rows):
            reporter.note(f"{table.rows.path}: no rows, so the {split} split is left out")
    notes = choice_notes(tables, columns, names, list(whole_tables.values()))
    for note in (kind.note(names), *notes):
        if note:
            reporter.note(note)


def _divided(
    source: Source,
    rows: Mapping[str | None, Rows],
    origin: Origin,
    by_column: SplitsOfColumn | None,
    seed: int,
    reporter: Reporter,
) -> Source:
    """The source with the splits of these rows: those of a column, or some of them held out or
    drawn where none were given.
    """
    where = Path(origin.where).name or origin.name
    if origin.preset is not None and origin.preset.per_class is not None:
        source = drawn(replace(source, splits={"train": rows["train"]}), origin.preset, seed)
    else:
        splits = [split for split in (None, *SPLITS, *rows) if split in rows]
        source = replace(source, splits={str(split or "train"): rows[split] for split in splits})
        if by_column is not None:
            source = divided_by_column(source, by_column, where, reporter)
        elif None in rows:
            source = divided(source, where, reporter)
    source = without(source, "train", where, reporter)
    if origin.what:
        sizes = ", ".join(f"{len(part):,} {split}" for split, part in source.splits.items())
        reporter.note(f"data: {origin.what}: {sizes} rows")
    return source


def _described(
    source: Source,
    origin: Origin,
    unlabelled_origin: Origin | None,
    names: Columns,
    opened: list[Opened],
) -> Source:
    """The source with its metric, the columns that were read, and how its tables are read again."""
    assert names.text is not None
    read = {str(split or "train"): table for split, table in origin.tables.items()}
    if unlabelled_origin is not None:
        read[UNLABELLED_SPLIT] = partial(find.single, unlabelled_origin)
    texts_of_rows = (names.text, names.text_pair)
    source = replace(source, read=read, texts=texts_of_rows, label_column=names.label)
    tables = [table.rows for table in opened]
    if names.label is None:
        source = replace(source, label_advice=label_advice(tables, names))
    elif source.task == Classification.name:
        classes = source.label_names or tuple(map(str, range(source.num_labels)))
        source = replace(source, answers_advice=answers_beside(tables, names, classes))
    if origin.preset is not None:
        source = replace(source, metric=origin.preset.metric)
    return source


def _both(
    origin: Origin, unlabelled: Data | None, cache: Path, reporter: Reporter, reading: Reading
) -> tuple[Origin, Origin | None]:
    """The data, and the unlabelled rows that are named beside it or stand in it as a split (in
    memory alone).
    """
    if UNLABELLED_SPLIT not in origin.tables:
        if unlabelled is None:
            return origin, None
        return origin, find.find(unlabelled, cache, reporter, find.UNLABELLED_WORDS, reading)
    if unlabelled is not None:
        raise SpecError(
            "expected unlabelled rows as a split or by a name of their own, found both. Leave one out.",
            where=origin.where,
        )
    where = f"{origin.where}, split {UNLABELLED_SPLIT}"
    labelled = {split: read for split, read in origin.tables.items() if split != UNLABELLED_SPLIT}
    inside = Origin(origin.name, where, {None: origin.tables[UNLABELLED_SPLIT]})
    return replace(origin, tables=labelled), inside


def _or_preset(columns: Columns, preset: Preset | None) -> Columns:
    """The columns that were asked for, else a preset's. A text column that was asked for alone is
    no pair's.
    """
    if preset is None:
        return columns
    if not columns.texts:
        columns = replace(columns, text=preset.text, text_pair=preset.text_pair)
    if columns.label is not None:
        return columns
    names = columns.label_names
    if names is None:
        names = preset.label_names or None
    return replace(columns, label=preset.label, label_names=names)


def _rows(opened: Opened, names: Columns, labels: Int64) -> Rows:
    """The rows of a table; ``labels`` are those of its units."""
    assert names.text is not None
    table = opened.rows
    tags = None if opened.indptr is None else Ragged(labels, opened.indptr)
    label = labels if tags is None else words.rarest(tags)
    first = texts(table, names.text)
    second = None if names.text_pair is None else texts(table, names.text_pair)
    row_id = by_block(np.int64, len(first), lambda part: np.arange(part.start, part.stop))
    return Rows(first, second, label, row_id, _hashes(first, second), tags)


def _plain(origin: Origin, columns: Columns, reporter: Reporter) -> Origin:
    """The same tables, without what annotation tools nest in them."""
    opened = {}
    for split, read in origin.tables.items():
        opened[split] = partial(_read_plain, read, columns, reporter)
    return replace(origin, tables=opened)


def _read_plain(read: Callable[[], Table], columns: Columns, reporter: Reporter) -> Table:
    return plain(read(), columns, reporter)


def _itself(table: Table) -> Table:
    return table


def hashes_of(table: Table, text: str, text_pair: str | None) -> Int64:
    """The hash of each row of a table by its text columns: i64[N]. Raises SpecError for what is no
    text.
    """
    return _hashes(texts(table, text), None if text_pair is None else texts(table, text_pair))


def _hashes(first: pa.LargeStringArray, second: pa.LargeStringArray | None) -> Int64:
    row_hash = Spool(np.int64)
    seconds = repeat(None) if second is None else strings(second)
    for block, pair in zip(strings(first), seconds, strict=False):
        row_hash.add(identity.row_hashes(block, pair))
    return row_hash.finish()


def _with_unlabelled(
    source: Source,
    origin: Origin,
    table: Table,
    kind: type[Classification],
    names: Columns,
    reporter: Reporter,
) -> Source:
    """The source with all rows of another one as its unlabelled split, without their labels."""
    opened = kind.opened(table, replace(names, label=None))
    rows = _rows(opened, names, np.full(len(opened.units), UNLABELLED, np.int64))
    reporter.note(f"unlabelled: {origin.what or origin.where}: {len(rows):,} rows")
    labelling = {str(names.label), *LABEL_COLUMNS}.difference(names.texts)
    ignored = [column for column in table.columns if column in labelling]
    if ignored:
        reporter.note(
            f"unlabelled: {origin.where}: not read, for these rows count as unlabelled: {', '.join(ignored)}"
        )
    splits = {**source.splits, UNLABELLED_SPLIT: rows}
    origins = {**source.origins, UNLABELLED_SPLIT: opened.rows.without_columns()}
    extended = replace(source, splits=splits, origins=origins)
    return without(extended, UNLABELLED_SPLIT, "unlabelled", reporter)
