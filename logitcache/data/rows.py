"""Rows of text and their identity: a source, its tables and splits, and two columns (row_id,
row_hash) that never change afterwards.

``row_id`` is a row's place in its table as the user gave it. A split is a selection of a table and
renumbers nothing. ``row_hash`` is the hash of a row's text fields. Texts may repeat, also with
different labels: nothing here needs content to be unique.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import SupportsIndex

import numpy as np
import pyarrow as pa

from logitcache import identity
from logitcache.data.division import Division, SharedTexts, stand_in
from logitcache.data.sources.find import UNLABELLED_SPLIT
from logitcache.data.sources.tables import Table
from logitcache.data.spool import BLOCK_ROWS, by_block, concatenated, selected, taken
from logitcache.errors import SpecError
from logitcache.records import Int64, Ragged


@dataclass(frozen=True)
class Rows:
    """The rows of one split (or a selection of them)."""

    text: pa.LargeStringArray  # [N]
    text_pair: pa.LargeStringArray | None  # [N]
    label: Int64  # [N]; -1 where there is none
    row_id: Int64  # [N]
    row_hash: Int64  # [N]
    tags: Ragged | None = (
        None  # labels of the words of each row, where the rows are of words; -1: none
    )
    # of rows that are tokens already: input_ids, labels (-1: not kept) and perhaps position_ids;
    # then the text is empty
    tokens: Mapping[str, Ragged] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.row_id)

    def select(self, index: Int64) -> Rows:
        """The rows at these places, in this order; they keep their row_id and row_hash."""
        pair = None if self.text_pair is None else taken(self.text_pair, index)
        label = _selected(self.label, index)
        row_id = _selected(self.row_id, index)
        row_hash = _selected(self.row_hash, index)
        tags = None if self.tags is None else self.tags.select(index)
        tokens = {name: selected(column, index) for name, column in self.tokens.items()}
        return Rows(taken(self.text, index), pair, label, row_id, row_hash, tags, tokens)

    def followed_by(self, tail: Rows, start: int) -> Rows:
        """These rows and then more, whose row_id counts on from ``start``."""
        assert (
            not self.tokens and not tail.tokens
        )  # rows of tokens have no unlabelled ones beside them
        pair = None
        if self.text_pair is not None and tail.text_pair is not None:
            pair = concatenated([self.text_pair, tail.text_pair])
        return Rows(
            concatenated([self.text, tail.text]),
            pair,
            np.concatenate([self.label, tail.label]),
            np.concatenate([self.row_id, tail.row_id + start]),
            np.concatenate([self.row_hash, tail.row_hash]),
            None if self.tags is None or tail.tags is None else self.tags.followed_by(tail.tags),
        )

    @property
    def labels(self) -> Int64:
        """Every label, in order: of rows, or of their words or tokens."""
        return self.label if self._units is None else self._units.values

    def labelled(self) -> tuple[Int64, Int64]:
        """The place of the row and the class of every label that there is, in order: i64[L] each."""
        units = self._units
        row = np.arange(len(self))
        if units is not None:
            row = np.repeat(row, units.lengths())
        is_labelled = self.labels >= 0
        return row[is_labelled], self.labels[is_labelled]

    @property
    def _units(self) -> Ragged | None:
        """The labels of parts of rows, where they have some."""
        return self.tokens.get("labels", self.tags)

    def labels_at(self, row: Int64, index: Int64) -> Int64:
        """The labels of these positions: row i64[P] is a place here, index i64[P] a number in the
        row.
        """
        units = self._units
        labels: Int64 = (
            self.label[row] if units is None else units.values[units.indptr[row] + index]
        )
        return labels

    def texts(self, start: int = 0, stop: int | None = None) -> tuple[list[str], list[str] | None]:
        """The text fields of rows start..stop, as Python strings."""
        length = (len(self) if stop is None else stop) - start
        pair = None if self.text_pair is None else self.text_pair.slice(start, length).to_pylist()
        return self.text.slice(start, length).to_pylist(), pair

    def text_blocks(
        self, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, list[str], list[str] | None]]:
        """The text fields of rows start..stop block by block, each with the number of its first row."""
        stop = len(self) if stop is None else stop
        for first in range(start, stop, BLOCK_ROWS):
            yield first, *self.texts(first, min(first + BLOCK_ROWS, stop))

    def digest(self) -> str:
        """Digest of the rows' identities, in order: the content digest of a fingerprint."""
        return identity.digest_arrays([("row_id", self.row_id), ("row_hash", self.row_hash)])


def _selected(column: Int64, index: Int64) -> Int64:
    """The values at these places, block by block: many lie in a mapped file."""
    return by_block(np.int64, len(index), lambda part: column[index[part]])


@dataclass(frozen=True)
class Source:
    """A named data set: its tables, the splits selected from them and, where known, its label names
    in label order.

    A dump asks about a whole table (``source.table("train")``); training and scoring take splits
    (``source.split("dev")``). Both are :class:`Rows`: ``text`` and ``label`` i64[N] (-1: none) with
    ``row_id`` i64[N], each row's place in its table, and ``row_hash`` i64[N], the hash of its text.
    """

    name: str
    splits: dict[str, Rows]  # to train or to score on
    label_names: tuple[str, ...] | None
    num_labels: int
    metric: str = "accuracy"  # the one its field reports, of task.METRICS
    tables: dict[str, Rows] = field(
        default_factory=dict
    )  # by split; a split that is not here is a table itself
    division: Division | None = (
        None  # how dev and test were held out of the table of train; None: they were given
    )
    task: str = "classification"  # what is asked of a row
    label_column: str | None = None  # that the labels were read from; None: no row has a label
    label_advice: str = ""  # then: how it is named
    answers_advice: str = ""  # of columns that may be a teacher's answers: how they are dumped
    form: str = "text"  # what a text is: text, prompt (and its completion), or messages as JSON
    documents: str | None = None  # digest of the documents that rows of tokens were made of
    views: int = 1  # rows i * views to (i + 1) * views - 1 are one row under several masks
    origins: dict[str, Table] = field(
        default_factory=dict, repr=False
    )  # by table: where its rows stand, no columns
    read: Mapping[str, Callable[[], Table]] = field(
        default_factory=dict
    )  # reads a split's table again, by split
    texts: tuple[str, str | None] = ("text", None)  # the columns of its texts

    def split(self, name: str) -> Rows:
        """Rows of one split. Raises SpecError where it is missing or empty."""
        return self._checked(name, self.splits)

    def table(self, name: str) -> Rows:
        """All rows of the table that a split is selected from, as they were given: what a dump of
        the split asks about. Raises SpecError where it is missing or empty, or the split was held
        out of the table of train.
        """
        if self.shares_table(name):
            raise SpecError(
                expected="a split with a table of its own",
                found=f"{name!r}, which is held out of the table of train",
                advice="Dump that one, without --split: its cache covers these rows too.",
                where=self.name,
            )
        return self._checked(name, self.dumped)

    @property
    def dumped(self) -> dict[str, Rows]:
        """The tables, by the split that a dump of each is called by."""
        own = {}
        for name, rows in self.splits.items():
            if not self.shares_table(name):
                own[name] = self.tables.get(name, rows)
        return own

    def place(self, split: str, row_id: int) -> str:
        """Where the user finds a row of a split: its file and line, or its number."""
        table = "train" if self.shares_table(split) else split
        if table in self.origins:
            return self.origins[table].place(row_id)
        return f"{self.name}, {table} row {row_id}"

    def place_at(self, split: str, index: SupportsIndex) -> str:
        """The same of a row by its position in the split."""
        return self.place(split, int(self.splits[split].row_id[index]))

    def with_tables(self, tables: dict[str, Rows]) -> Source:
        """The same labels over other rows, each split a table of its own."""
        return replace(self, splits=tables, tables={}, division=None, origins={})

    def shares_table(self, name: str) -> bool:
        """Whether a split was held out of the table of train."""
        return self.division is not None and name in self.division.held_out

    def _checked(self, name: str, rows: dict[str, Rows]) -> Rows:
        if name not in rows:
            names = ", ".join(self.splits)
            raise SpecError(
                expected=f"a split {name!r}",
                found=names,
                advice="Name one of these.",
                where=self.name,
            )
        if not len(rows[name]):
            raise SpecError(
                f"the split {name!r} is empty: expected at least one row. Fill its file, or remove it.",
                where=self.name,
            )
        return rows[name]

    def shared(self) -> dict[str, SharedTexts]:
        """What each held-out split shares with the training rows; splits that share nothing are
        left out.
        """
        train = self.splits.get("train")
        by_split: dict[str, SharedTexts] = {}
        for name, rows in self.splits.items():
            if train is None or name in ("train", UNLABELLED_SPLIT):
                continue
            labelled = np.flatnonzero(rows.label >= 0)
            repeated = labelled[stand_in(rows.row_hash[labelled], train.row_hash)]
            if len(repeated):
                by_split[name] = SharedTexts(
                    len(repeated), len(labelled), int(rows.row_id[repeated[0]])
                )
        return by_split

    def digest(self) -> str:
        """Digest of all splits, labels included. Without ``unlabelled``: the same data with it and
        without it are the same data.
        """
        splits = {name: rows for name, rows in self.splits.items() if name != UNLABELLED_SPLIT}
        parts = []
        for name, rows in splits.items():
            parts += [(f"{name}/hash", rows.row_hash), (f"{name}/label", rows.labels)]
        return identity.digest_arrays(parts)
