"""Rows of text and their identity: a source, its tables and splits, and two columns (row_id, row_hash) that never
change afterwards.

``row_id`` is a row's place in its table as the user gave it. A split is a selection of a table and renumbers nothing.
``row_hash`` is the hash of a row's text fields. Texts may repeat, also with different labels: nothing here needs
content to be unique.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from logitcache import identity
from logitcache.config.data import Columns
from logitcache.data import lookup
from logitcache.data.division import RULE, Division, divide, stand_in
from logitcache.data.files import Table
from logitcache.data.labels import UNLABELLED, labels
from logitcache.data.lookup import UNLABELLED_SPLIT as UNLABELLED_SPLIT
from logitcache.data.lookup import Data as Data
from logitcache.data.lookup import Found
from logitcache.data.lookup import Notify as Notify
from logitcache.data.presets import Preset, draw
from logitcache.data.spool import Spool, by_block, concatenated, strings, taken
from logitcache.data.texts import texts
from logitcache.errors import SpecError
from logitcache.records import Int64

SPLITS = ("train", "dev", "test")
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


@dataclass(frozen=True)
class Rows:
    """The rows of one split (or a selection of them)."""

    text: pa.LargeStringArray  # [N]
    text_pair: pa.LargeStringArray | None  # [N]
    label: Int64  # [N]; -1 where there is none
    row_id: Int64  # [N]
    row_hash: Int64  # [N]

    def __len__(self) -> int:
        return len(self.row_id)

    def select(self, places: Int64) -> Rows:
        """The rows at these places, in this order; they keep their row_id and row_hash."""
        pair = None if self.text_pair is None else taken(self.text_pair, places)
        label, row_id, row_hash = (_selected(column, places) for column in (self.label, self.row_id, self.row_hash))
        return Rows(taken(self.text, places), pair, label, row_id, row_hash)

    def followed_by(self, more: Rows, start: int) -> Rows:
        """These rows and then more, whose row_id counts on from ``start``."""
        pair = None
        if self.text_pair is not None and more.text_pair is not None:
            pair = concatenated([self.text_pair, more.text_pair])
        return Rows(
            concatenated([self.text, more.text]),
            pair,
            np.concatenate([self.label, more.label]),
            np.concatenate([self.row_id, more.row_id + start]),
            np.concatenate([self.row_hash, more.row_hash]),
        )

    def texts(self, start: int = 0, stop: int | None = None) -> tuple[list[str], list[str] | None]:
        """The text fields of rows start..stop, as Python strings."""
        length = (len(self) if stop is None else stop) - start
        pair = None if self.text_pair is None else self.text_pair.slice(start, length).to_pylist()
        return self.text.slice(start, length).to_pylist(), pair

    def digest(self) -> str:
        """Digest of the rows' identities, in order: the content digest of a fingerprint."""
        return identity.digest_arrays([("row_id", self.row_id), ("row_hash", self.row_hash)])


def _selected(column: Int64, places: Int64) -> Int64:
    """The values at these places, block by block: many lie in a mapped file."""
    return by_block(np.int64, len(places), lambda part: column[places[part]])


@dataclass(frozen=True)
class Shared:
    """Texts of a held-out split that are trained on too."""

    rows: int  # labelled rows of the split whose text stands in train
    of: int  # labelled rows of the split
    first: int  # the row_id of the first such row


@dataclass(frozen=True)
class Source:
    """A named data set: its tables, the splits selected from them and, where known, its label names in label order.

    A dump asks about a whole table; training and scoring take splits.
    """

    name: str
    splits: dict[str, Rows]  # to train or to score on
    label_names: tuple[str, ...] | None
    num_labels: int
    metric: str = "accuracy"  # the one its field reports, of task.METRICS
    tables: dict[str, Rows] = field(default_factory=dict)  # by split; a split that is not here is a table itself
    division: Division | None = None  # how dev and test were held out of the table of train; None: they were given

    def split(self, name: str) -> Rows:
        """Rows of one split. Raises SpecError where it is missing or empty."""
        return self._checked(name, self.splits)

    def table(self, name: str) -> Rows:
        """All rows of the table that a split is selected from, as they were given: what a dump of the split asks about.
        Raises SpecError where it is missing or empty, or the split was held out of the table of train.
        """
        if self.shares_table(name):
            raise SpecError(
                f"expected a split with a table of its own, found {name!r}, which is held out of the table of train. "
                "Dump that one, without --split: its cache covers these rows too.",
                where=self.name,
            )
        return self._checked(name, self.dumped)

    @property
    def dumped(self) -> dict[str, Rows]:
        """The tables, by the split that a dump of each is called by."""
        return {name: self.tables.get(name, rows) for name, rows in self.splits.items() if not self.shares_table(name)}

    def with_tables(self, tables: dict[str, Rows]) -> Source:
        """The same labels over other rows, each split a table of its own."""
        return replace(self, splits=tables, tables={}, division=None)

    def shares_table(self, name: str) -> bool:
        """Whether a split was held out of the table of train."""
        return self.division is not None and name in self.division.held_out

    def _checked(self, name: str, rows: dict[str, Rows]) -> Rows:
        if name not in rows:
            found = ", ".join(self.splits)
            raise SpecError(f"expected a split {name!r}, found {found}. Name one of these.", where=self.name)
        if not len(rows[name]):
            raise SpecError(f"the split {name!r} is empty: expected at least one row.", where=self.name)
        return rows[name]

    def shared(self) -> dict[str, Shared]:
        """What each held-out split shares with the training rows; splits that share nothing are left out."""
        train = self.splits.get("train")
        found: dict[str, Shared] = {}
        for name, rows in self.splits.items():
            if train is None or name in ("train", UNLABELLED_SPLIT):
                continue
            labelled = np.flatnonzero(rows.label >= 0)
            seen = labelled[stand_in(rows.row_hash[labelled], train.row_hash)]
            if len(seen):
                found[name] = Shared(len(seen), len(labelled), int(rows.row_id[seen[0]]))
        return found

    def digest(self) -> str:
        """Digest of all splits, labels included. Without ``unlabelled``: the same data with it and without it are the
        same data.
        """
        splits = {name: rows for name, rows in self.splits.items() if name != UNLABELLED_SPLIT}
        parts = [(f"{k}/{c}", a) for k, r in splits.items() for c, a in (("hash", r.row_hash), ("label", r.label))]
        return identity.digest_arrays(parts)


def load(
    data: Data,
    columns: Columns,
    cache: Path,
    notify: Notify,
    *,
    unlabelled: Data | None = None,
    seed: int = 0,
    name: str | None = None,
) -> Source:
    """Load an embedded set by name (built under ``cache`` on first use), a file or a folder, a preset, or a data set of
    the hub: the first of these that ``data`` names. Or take rows in memory: columns, a table of pandas or arrow or a
    data set of ``datasets``, or such by split.

    Where no labelled row is given beside the training rows (a single file or table, a train split alone), some are held
    out of them by content, so that no text is in two splits (:mod:`logitcache.data.division`). ``unlabelled`` names
    more rows with the same text columns: they become the split of that name. ``seed`` draws the splits of a preset that
    has none; columns that are asked for go before a preset's. ``name`` is what the source is called (rows in memory:
    "memory").
    Raises SpecError for whatever cannot be read as asked.
    """
    found, more = _both(lookup.find(data, cache, notify), unlabelled, cache, notify)
    tables = {split: read() for split, read in found.tables.items()}
    for split, table in tables.items():
        if table.columns and not len(table) and split != "train":  # an empty train split is refused where it is used
            notify(f"{table.path}: no rows, so the {split} split is left out")
    columns = _or_preset(columns, found.preset)
    names = _column_names(list(tables.values()), columns, found.where)
    _say_choice(list(tables.values()), columns, names, notify)
    numbers, label_names, count = labels(tables, names.label, lookup.label_names(columns.label_names, found), notify)
    rows = {split: _rows(table, names, numbers[split]) for split, table in tables.items()}
    known_as = name or found.name
    if found.preset is not None and found.preset.per_class is not None:
        source = _drawn(Source(known_as, {"train": rows["train"]}, label_names, count), found.preset, seed)
    else:
        ordered = {str(split or "train"): rows[split] for split in (None, *SPLITS, *rows) if split in rows}
        source = _divided(Source(known_as, ordered, label_names, count), Path(found.where).name, notify)
    source = _without(source, "train", Path(found.where).name, notify)
    if found.what:
        sizes = ", ".join(f"{len(part):,} {split}" for split, part in source.splits.items())
        notify(f"data: {found.what}: {sizes} rows")
    if more is not None:
        source = _with_unlabelled(source, more, names, notify)
    return source if found.preset is None else replace(source, metric=found.preset.metric)


def _both(found: Found, unlabelled: Data | None, cache: Path, notify: Notify) -> tuple[Found, Found | None]:
    """The data, and the unlabelled rows that are named beside it or stand in it as a split (in memory alone)."""
    if UNLABELLED_SPLIT not in found.tables:
        more = None if unlabelled is None else lookup.find(unlabelled, cache, notify, lookup.UNLABELLED_WORDS)
        return found, more
    if unlabelled is not None:
        raise SpecError(
            "expected unlabelled rows as a split or by a name of their own, found both. Leave one out.",
            where=found.where,
        )
    where = f"{found.where}, split {UNLABELLED_SPLIT}"
    others = {split: read for split, read in found.tables.items() if split != UNLABELLED_SPLIT}
    inside = Found(found.name, where, {None: found.tables[UNLABELLED_SPLIT]})
    return replace(found, tables=others), inside


def _or_preset(asked: Columns, preset: Preset | None) -> Columns:
    """The columns that were asked for, else a preset's. A text column that was asked for alone is no pair's."""
    if preset is None:
        return asked
    text, pair = asked.text, asked.text_pair
    if text is None and pair is None:
        text, pair = preset.text, preset.text_pair
    names = asked.label_names
    if names is None and asked.label is None:
        names = preset.label_names or None
    return Columns(text, pair, asked.label or preset.label, names)


def _column_names(tables: list[Table], asked: Columns, where: Path | str) -> Columns:
    """Fill in the column names that were not given; refuse those that no file has. One file may lack what another
    has: a test split is often unlabelled.
    """
    have = list(dict.fromkeys(name for table in tables for name in table.columns))
    for flag, name in (("--text", asked.text), ("--text-pair", asked.text_pair), ("--label", asked.label)):
        if name is not None and name not in have:
            raise SpecError(f"no column {name!r} for {flag}, found {', '.join(have) or 'none'}.", where=where)
    text, pair = asked.text, asked.text_pair
    if text is None and pair is None:
        text, pair = next((p for p in PAIR_COLUMNS if set(p) <= set(have)), (None, None))
    if text is None:
        text = next((c for c in TEXT_COLUMNS if c in have), None)
    if text is None:
        raise SpecError(
            f"expected a text column ({', '.join(TEXT_COLUMNS)}), found {', '.join(have) or 'an empty file'}. "
            "Name it with --text (and --text-pair).",
            where=where,
        )
    label = asked.label or next((c for c in LABEL_COLUMNS if c in have), None)
    return Columns(text, pair, label, asked.label_names)


def _say_choice(tables: list[Table], asked: Columns, taken: Columns, notify: Notify) -> None:
    """Say which columns were taken, where others might have been meant."""
    if asked.text is not None or asked.text_pair is not None:
        return
    usual = dict.fromkeys([*TEXT_COLUMNS, *(name for pair in PAIR_COLUMNS for name in pair)])
    others = [
        name for name in usual if name not in (taken.text, taken.text_pair) if any(name in t.columns for t in tables)
    ]
    if others:
        chosen = " and ".join(filter(None, (taken.text, taken.text_pair)))
        notify(f"columns: {chosen} are read, {', '.join(others)} not. Others: --text (and --text-pair)")


def _rows(table: Table, names: Columns, label: Int64) -> Rows:
    assert names.text is not None
    first = texts(table, names.text)
    second = None if names.text_pair is None else texts(table, names.text_pair)
    row_hash, row_id = Spool(np.int64), by_block(np.int64, len(first), lambda part: np.arange(part.start, part.stop))
    for block, pair in zip(strings(first), repeat(None) if second is None else strings(second), strict=False):
        row_hash.add(identity.row_hashes(block, pair))
    return Rows(first, second, label, row_id, row_hash.finish())


def _divided(source: Source, name: str, notify: Notify) -> Source:
    """The source with some labelled rows of train held out, where no labelled row was given to score on."""
    train = source.splits.get("train")
    given = [rows for split, rows in source.splits.items() if split != "train"]
    if train is None or any((rows.label >= 0).any() for rows in given) or not (train.label >= 0).any():
        return source
    free = [split for split in ("dev", "test") if split not in source.splits]
    held = divide(train.row_hash, train.label, free)
    counts = {split: len(places) for split, places in held.items()}
    divided = replace(source, division=Division(RULE, counts))
    if not held:
        return divided
    is_rest = np.ones(len(train), bool)
    is_rest[np.concatenate(list(held.values()))] = False
    parts = {split: train.select(places) for split, places in held.items()}
    sizes = " and ".join(f"{count:,} {split} rows" for split, count in counts.items())
    notify(
        f"{name}: no labelled rows are given to score on, so {sizes} are held out of its {len(train):,} ({RULE}). "
        f"A dump covers all {len(train):,}"
    )
    splits = {
        "train": train.select(np.flatnonzero(is_rest)),
        **parts,
        **{s: r for s, r in source.splits.items() if s != "train"},
    }
    return replace(divided, splits=splits, tables={"train": train})


def _drawn(source: Source, preset: Preset, seed: int) -> Source:
    """The source of a preset whose splits are drawn from its one table by ``seed``."""
    assert preset.per_class is not None
    table = source.splits["train"]
    try:
        places = draw(table.label, source.label_names, preset.per_class, seed)
    except SpecError as error:
        raise error.at(f"preset {preset.name}") from None
    splits = {split: table.select(chosen) for split, chosen in places.items()}
    counts = {split: len(part) for split, part in splits.items() if split != "train"}
    division = Division(f"drawn from each class with data seed {seed}", counts, seed)
    name = f"{source.name}-seed{seed}"
    return replace(source, name=name, splits=splits, tables={"train": table}, division=division)


def _without(source: Source, split: str, where: str, notify: Notify) -> Source:
    """The source without unlabelled rows of a split that nobody is to learn from: those whose text is held out, and
    those without any text. They stay in the table.
    """
    rows = source.splits.get(split)
    if rows is None or not (rows.label == UNLABELLED).any():
        return source
    held = [part.row_hash for name, part in source.splits.items() if name not in ("train", UNLABELLED_SPLIT)]
    bare = rows.label == UNLABELLED
    hidden = bare & np.isin(rows.row_hash, np.concatenate([np.empty(0, np.int64), *held]))
    empty = bare & ~hidden & _is_empty(rows)
    reasons = ((hidden, f"their texts stand in {_held_names(source.splits)}"), (empty, "they are empty"))
    for left_out, why in reasons:
        if left_out.any():
            first = rows.row_id[left_out.argmax()]
            notify(
                f"{where}: {left_out.sum():,} rows without a label are not trained on, for {why} (first: row {first})"
            )
    if not (hidden | empty).any():
        return source
    kept = rows.select(np.flatnonzero(~(hidden | empty)))
    return replace(source, splits={**source.splits, split: kept}, tables={split: rows, **source.tables})


def _is_empty(rows: Rows) -> npt.NDArray[np.bool_]:
    """Which rows have no character in any text field: bool[N]."""
    fields = [rows.text] if rows.text_pair is None else [rows.text, rows.text_pair]
    lengths = sum(pc.binary_length(column).to_numpy() for column in fields)
    return np.asarray(lengths == 0)


def _with_unlabelled(source: Source, found: Found, names: Columns, notify: Notify) -> Source:
    """The source with all rows of another one as its unlabelled split, without their labels."""
    table = lookup.single(found)
    rows = _rows(table, names, np.full(len(table), UNLABELLED, np.int64))
    notify(f"unlabelled: {found.what or found.where}: {len(rows):,} rows")
    ignored = [
        c for c in table.columns if c not in (names.text, names.text_pair) and c in (names.label, *LABEL_COLUMNS)
    ]
    if ignored:
        notify(f"unlabelled: {found.where}: not read, for these rows count as unlabelled: {', '.join(ignored)}")
    more = replace(source, splits={**source.splits, UNLABELLED_SPLIT: rows})
    return _without(more, UNLABELLED_SPLIT, "unlabelled", notify)


def _held_names(splits: dict[str, Rows]) -> str:
    return " or ".join(split for split in splits if split not in ("train", UNLABELLED_SPLIT))
