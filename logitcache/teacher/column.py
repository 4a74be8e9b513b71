"""A teacher whose answers lie somewhere already: a column of some table, or an array.

Nothing is asked, so nothing here loads torch. In a table the rows are found by their texts, as
everywhere; an array is joined by row, which its number of rows alone can prove. What a plan records
of such a teacher is the content of its answers, in the order of the data's classes: other names of
files and columns, or columns in another order, are the same teacher.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from logitcache import identity
from logitcache.cache.index import HashIndex
from logitcache.cache.layout import columns_of
from logitcache.config.answers import AnswerSource
from logitcache.config.data import Columns
from logitcache.config.teacher import DumpSettings
from logitcache.data.answer_columns import read_columns
from logitcache.data.label_values import MISSING_TEXTS
from logitcache.data.match import match_labels, shown
from logitcache.data.names import LISTED, folded, is_number, listed
from logitcache.data.soft_labels import ZERO, SoftLabels, read_array
from logitcache.data.source import Rows, Source, hashes_of
from logitcache.data.sources import find
from logitcache.data.sources.advice import pandas_command
from logitcache.data.sources.columns import column_names
from logitcache.data.sources.exports import plain
from logitcache.data.sources.joins import join_of_answers
from logitcache.data.sources.tables import Table, remark_lines
from logitcache.data.tasks.classification import Classification
from logitcache.errors import SpecError, short
from logitcache.records import Examples, Float32, Int64, Padding, Positions, Ragged, Side
from logitcache.reporter import Meter, Reporter
from logitcache.store.manifest import Plan
from logitcache.targets.codec import Codec
from logitcache.targets.table import parse, recorded_codec
from logitcache.teacher.dump_job import (
    DumpJob,
    R,
    check_classes,
    checked_shard_rows,
    class_names,
    data_record,
    occurring,
    task_of,
)
from logitcache.teacher.gold import check_gold

NOT_READ = Padding(Side.NONE, 0, 0)  # rows that become no batch
_QUOTES = re.compile(r"['\"`$\\!]")  # what a shell, or Python's quotes, would read otherwise
NAMED = 3  # rows that a message names


@dataclass(frozen=True)
class Recorded(DumpJob):
    """A dump of answers that lie somewhere already."""

    called: str  # the teacher
    logits: Float32  # [N, K] of the rows of the table, minus their maximum; NaN where there is no answer

    @property
    def name(self) -> str:
        return self.called

    def conditions(self) -> dict[str, Any]:
        return {"numpy": np.__version__}

    def prepare(self, start: int, stop: int, index: Int64 | None = None) -> Examples:
        rows = self.rows.select(np.arange(start, stop) if index is None else start + index)
        return _unread(rows)

    def positions(self, rows: Examples) -> Positions:
        return self.task.positions(rows, np.arange(len(rows)))

    def ask(
        self, rows: Examples, batch_tokens: int, begin: Callable[[], R], stage: Meter
    ) -> tuple[R, int]:
        receiver = begin()
        receiver.add(np.arange(len(rows)), self.logits[rows.row_id])
        stage.advance(len(rows))
        return receiver, batch_tokens

    def answer(self, rows: Rows) -> tuple[Examples, Float32] | None:
        is_own = len(rows) > 0 and int(rows.row_id.max()) < len(self.rows)
        if not is_own or (self.rows.row_hash[rows.row_id] != rows.row_hash).any():
            return None
        return _unread(rows), self.logits[rows.row_id]

    def ask_again(
        self, rows: Examples, batch_tokens: int, index: Int64
    ) -> tuple[Float32, Float32, Float32]:
        logits = self.logits[rows.row_id[index]]
        return logits, logits, logits


def recorded(
    answers: AnswerSource,
    source: Source,
    split: str,
    settings: DumpSettings,
    label_map: Mapping[str, str] | None,
    cache: Path,
    reporter: Reporter,
    codecs: Sequence[Codec] = (),
) -> Recorded:
    """The plan of a dump of answers that lie somewhere; ``cache`` is the folder of embedded data.
    The first of ``codecs`` that has the settings' codec is taken as it is.

    Raises FingerprintMismatch for other classes or columns that look permuted, SpecError for
    answers that cannot be read, or rows without one (unless those are to be skipped).
    """
    if source.task != Classification.name:
        raise SpecError(
            expected=f"data for {Classification.name}: answers that exist already are one for each row",
            found=f"data for {source.task}",
            advice="Name a model as --teacher.",
            where=answers.name,
        )
    spec = parse(settings.codec)
    spec.check_answers()
    rows = source.table(split)
    labels = _read(answers, source, split, cache, reporter)
    if not answers.are_logits:
        _check_no_sentences(labels, answers, source, split)
        labels = _without_missing(labels, source, reporter, answers.name)
        labels = _complete(labels, source, reporter, answers.name)
    labels = labels.in_order(source.label_names or list(map(str, range(source.num_labels))))
    width = labels.values.shape[1]
    own = labels.names or tuple(f"LABEL_{number}" for number in range(width))
    task = task_of(source, own)
    match = match_labels(own, task, answers.name, label_map, occurring=occurring(source))
    check_classes(task, source)
    logits, kind = labels.logits(answers)
    logits = np.ascontiguousarray(logits[:, match.order])
    _check_answered(logits, rows, settings, answers.name)
    reporter.note(f"{answers.name}: {kind}; {shown(match)}")
    if answers.file is None and answers.columns == (source.label_column,):
        reporter.note(
            f"{answers.name}: the labels are what most of these answers say, so that they agree says nothing"
        )
    if labels.blanks:
        reporter.note(f"{answers.name}: blanks among votes are no votes: {labels.blanks:,}")
    codec = recorded_codec(spec.codec(task.num_labels), codecs)
    if not codec.is_calibrated:
        import torch

        answered = logits[np.isfinite(logits).all(axis=1)]
        codec = codec.calibrated([torch.from_numpy(answered)])
    columns = columns_of(codec, task.level)
    plan = Plan(
        task=task.name,
        teacher={
            "name": answers.name,
            "revision": None,
            "weights": identity.digest_arrays([("answers", logits)]),
            "answers": str(kind),
            "zero": ZERO,
            "label_names": list(class_names(task, match)),
            "label_order": None,
            "own_names": list(match.names),
            "dtype": "float32",
        },
        preprocessor={"kind": "none"},
        data=data_record(source, split, rows),
        preparation={"on_nonfinite": settings.on_nonfinite},
        targets={"logits": codec.to_dict()},
        columns=columns,
        rows=len(rows),
        shard_rows=checked_shard_rows(settings.shard_rows, len(rows), columns, 0, 0),
        store=settings.store,
    )
    plan_of_column = Recorded(rows, codec, plan, match, task, answers.name, logits)
    check_gold(plan_of_column, source, reporter)
    return plan_of_column


def _unread(rows: Rows) -> Examples:
    """Rows that no model reads: without tokens."""
    count = len(rows)
    no_tokens = Ragged(np.empty(0, np.int64), np.zeros(count + 1, np.int64))
    return Examples(
        row_id=rows.row_id,
        view=np.zeros(count, np.int64),
        row_hash=rows.row_hash,
        label=rows.label,
        inputs={"input_ids": no_tokens},
        cut=np.zeros(count, np.bool_),
        padding=NOT_READ,
    )


def _read(
    answers: AnswerSource, source: Source, split: str, cache: Path, reporter: Reporter
) -> SoftLabels:
    """The answers of the rows of a split's table, in their order."""
    rows = source.table(split)
    if answers.is_array:
        return _joined_by_row(answers, rows, reporter)
    if answers.file is None:
        if split not in source.read:
            raise SpecError(
                expected=f"a table of {split} rows that columns can be read from",
                found="rows whose table is not known",
                advice=f"Name a file: --teacher {answers.name}@FILE",
                where=source.name,
            )
        table, texts = source.read[split](), source.texts
    else:
        file = find.single(find.find(answers.file, cache, reporter))
        for note in remark_lines([file]):
            reporter.note(note)
        table = plain(file, Columns(), reporter)
        texts = _text_columns(table, source, split, answers)
    labels = read_columns(table, answers.columns, np.nan if answers.are_logits else 0.0)
    return _joined_by_text(labels, hashes_of(table, *texts), rows, answers.name, reporter)


def _text_columns(
    table: Table, source: Source, split: str, answers: AnswerSource
) -> tuple[str, str | None]:
    """The text columns of another table: as in the data, or usual ones. Raises SpecError."""
    texts = [name for name in source.texts if name is not None]
    if set(texts) <= set(table.columns):
        return source.texts
    try:
        names = column_names([table], Columns(), str(answers.file))
    except SpecError:
        advice = (
            f"Call their column as in the data, {' and '.join(map(repr, texts))}. If the table has no texts, write "
            "them into it; or, where its rows stand in the order of the data's, save the numbers with numpy.save, "
            "and give --teacher file:FILE.npy."
        )
        join = join_of_answers(source.origins[split].path, table) if split in source.origins else ""
        if join:
            advice = f"{join}; then --data OUT.jsonl --teacher {answers.name.partition('@')[0]!r}."
        raise SpecError(
            expected="the texts of the rows beside their answers, by which they are joined",
            found=listed(list(map(short, table.columns)), LISTED),
            advice=advice,
            where=answers.file,
        ) from None
    return str(names.text), names.text_pair


def _joined_by_row(answers: AnswerSource, rows: Rows, reporter: Reporter) -> SoftLabels:
    assert answers.file is not None
    labels = read_array(answers.file)
    if len(labels.values) != len(rows):
        raise SpecError(
            expected=f"one row for each of the {len(rows):,} rows of the data",
            found=f"{len(labels.values):,}",
            advice="Save them for these rows in their order, or as a table with their texts (column:NAME@FILE).",
            where=answers.file,
        )
    reporter.note(
        f"{answers.name}: joined by place: its row i answers for row i of the data. Nothing but the number of rows, "
        f"{len(rows):,}, says that this is right"
    )
    return labels


def _joined_by_text(
    labels: SoftLabels, row_hash: Int64, rows: Rows, name: str, reporter: Reporter
) -> SoftLabels:
    """The answers of a table's rows for rows of the data: at their own places where all texts are
    the same, else those of the first row with the text. A text that is not there has none.
    """
    if np.array_equal(row_hash, rows.row_hash):
        return labels
    unanswered = np.flatnonzero(np.isnan(labels.values).all(axis=1))
    index = HashIndex(row_hash, unanswered)
    rows_of_source = index.find(rows.row_hash)
    first = index.find(row_hash)
    values = labels.values
    is_same = (values == values[first]) | (np.isnan(values) & np.isnan(values[first]))
    differ = (~np.isnan(values).all(axis=1)) & ~is_same.all(axis=1)
    if differ.any():
        reporter.note(
            f"{name}: {int(differ.sum()):,} rows repeat a text with another answer (first: "
            f"{labels.place(int(differ.argmax()))}): the first answer to each text is taken"
        )
    answers = np.full((len(rows), values.shape[1]), np.nan)
    is_known = rows_of_source >= 0
    answers[is_known] = values[rows_of_source[is_known]]
    return replace(labels, values=answers, place=lambda row: labels.place(int(rows_of_source[row])))


def _check_no_sentences(
    labels: SoftLabels, answers: AnswerSource, source: Source, split: str
) -> None:
    """Raises SpecError where the names of classes are sentences that name the data's classes, as the
    answers of language models are.
    """
    classes = source.label_names or ()
    names = labels.names or ()
    are_words = not any(is_number(name) or _QUOTES.search(name) for name in classes)
    column = answers.columns[0] if len(answers.columns) == 1 else ""
    is_column = column and "." not in column  # and no path
    if not classes or len(names) <= len(classes) or not is_column or not are_words:
        return
    pattern = rf"(?i)\b({'|'.join(map(re.escape, classes))})\b"
    named = [{found.casefold() for found in re.findall(pattern, name)} for name in names]
    if not all(named) or sum(len(found) == 1 for found in named) < len(named) / 2:
        return
    path = answers.file or source.origins[split].path
    lines = (
        f"t[{column!r}] = t[{column!r}].str.findall(r'{pattern}')"
        ".map(lambda f: f[0] if len({x.lower() for x in f}) == 1 else None)"
    )
    raise SpecError(
        expected=f"names of classes in column {column!r}",
        found=f"texts that name them, such as {short(repr(names[0]))}",
        advice=f"Write the names alone, none where a text names several: {pandas_command(path, lines)}",
        where=answers.name,
    )


def _without_missing(
    labels: SoftLabels, source: Source, reporter: Reporter, name: str
) -> SoftLabels:
    """Without the columns called as a missing value (N/A), where the data has no such class."""
    if labels.names is None or source.label_names is None:
        return labels
    missing = (MISSING_TEXTS & set(labels.names)) - set(source.label_names)
    if not missing:
        return labels
    places = [place for place, own in enumerate(labels.names) if own in missing]
    count = int((labels.values[:, places] > 0).any(axis=1).sum())
    reporter.note(
        f"{name}: {listed(sorted(missing))}, which the data does not have as a class, means no answer: "
        f"{count:,} rows have it"
    )
    return labels.without(missing)


def _complete(labels: SoftLabels, source: Source, reporter: Reporter, name: str) -> SoftLabels:
    """With columns of zeros for classes that no answer names, where all named are the data's."""
    if labels.names is None or source.label_names is None:
        return labels
    if len(labels.names) >= len(source.label_names):
        return labels
    own = set(map(folded, labels.names))
    missing = [label for label in source.label_names if folded(label) not in own]
    if len(own) != len(labels.names) or len(missing) + len(own) != len(source.label_names):
        return labels
    reporter.note(f"{name}: no answer names {listed(missing)}: probability 0 in every row")
    return labels.with_names(missing)


def _check_answered(logits: Float32, rows: Rows, settings: DumpSettings, name: str) -> None:
    """Raises SpecError for rows without an answer, unless skipped, or where no row has one."""
    missing = np.flatnonzero(np.isnan(logits).any(axis=1))
    if not len(missing) or (settings.on_nonfinite == "skip" and len(missing) < len(rows)):
        return
    texts, _ = rows.texts(int(missing[0]), int(missing[0]) + 1)
    numbers = ", ".join(map(str, rows.row_id[missing[:NAMED]]))
    ellipsis = ", …" if len(missing) > NAMED else ""
    raise SpecError(
        expected="an answer for every row",
        found=f"none for {len(missing):,} of {len(rows):,} rows "
        f"(row {numbers}{ellipsis}; first: {short(repr(texts[0]))})",
        advice="Add their answers, or skip those rows (dump --on-nonfinite skip).",
        where=name,
    )
