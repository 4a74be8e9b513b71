"""Rows of text and their identity: a source, its splits, and two columns (row_id, row_hash) that never change
afterwards.

``row_id`` is a row's place in its split as loaded, fixed before any filter, shuffle or tokenisation. ``row_hash`` is
the hash of its text fields. Texts may repeat, also with different labels: nothing here needs content to be unique.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np
import pyarrow as pa

from logitcache import identity
from logitcache.config.data import Columns
from logitcache.data import lookup
from logitcache.data.files import Table
from logitcache.data.labels import UNLABELLED, Names, labels
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
        return Rows(taken(self.text, places), pair, self.label[places], self.row_id[places], self.row_hash[places])

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


@dataclass(frozen=True)
class Source:
    """A named data set: its splits and, where known, its label names in label order."""

    name: str
    splits: dict[str, Rows]
    label_names: tuple[str, ...] | None
    num_labels: int
    metric: str = "accuracy"  # the one its field reports, of task.METRICS

    def split(self, name: str) -> Rows:
        """Rows of one split. Raises SpecError where it is missing or empty."""
        if name not in self.splits:
            found = ", ".join(self.splits)
            raise SpecError(f"expected a split {name!r}, found {found}. Name one of these.", where=self.name)
        if not len(self.splits[name]):
            raise SpecError(f"the split {name!r} is empty: expected at least one row.", where=self.name)
        return self.splits[name]

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

    A single file whose name tells no split (or a single table) is divided by content, 80/10/10, so that no text is in
    two splits; what is not labelled goes to train. ``unlabelled`` names more rows with the same text columns: they
    become the split of that name. ``seed`` draws the splits of a preset that has none; columns that are asked for go
    before a preset's. ``name`` is what the source is called (rows in memory: "memory").
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
    numbers, label_names, count = labels(tables, names.label, lookup.label_names(columns.label_names, found))
    rows = {split: _rows(table, names, numbers[split]) for split, table in tables.items()}
    known_as = name or found.name
    if None in rows:
        splits = _divide(rows[None], found.where, notify)
    elif found.preset is not None and found.preset.per_class is not None:
        splits, known_as = _draw(rows["train"], label_names, found.preset, seed), f"{known_as}-seed{seed}"
    else:
        splits = _held_apart({str(s): rows[s] for s in (*SPLITS, *rows) if s in rows}, Path(found.where).name, notify)
    if found.what:
        notify(f"data: {found.what}: {', '.join(f'{len(part):,} {split}' for split, part in splits.items())} rows")
    if more is not None:
        splits[UNLABELLED_SPLIT] = _unlabelled(more, names, splits, notify)
    metric = Source.metric if found.preset is None else found.preset.metric
    return Source(known_as, splits, label_names, count, metric)


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


def _part(rows: Rows, places: Int64) -> Rows:
    """Some rows as a split of their own: each row's place in it is its row_id."""
    return replace(rows.select(places), row_id=np.arange(len(places), dtype=np.int64))


def _divide(rows: Rows, where: Path | str, notify: Notify) -> dict[str, Rows]:
    """Train, dev and test from one file, by the hash of the text: no text is in two splits. Rows without a label are of
    no use in dev and test, so they go to train; those whose text is also a labelled row's there are left out.
    """
    name = Path(where).name
    bucket = rows.row_hash.view(np.uint64) % np.uint64(10)
    labelled = rows.label != UNLABELLED
    held = {"dev": labelled & (bucket == 8), "test": labelled & (bucket == 9)}
    hidden = ~labelled & np.isin(rows.row_hash, rows.row_hash[held["dev"] | held["test"]])
    parts = {"train": ~held["dev"] & ~held["test"] & ~hidden, **held}
    divided = {split: _part(rows, np.flatnonzero(mask)) for split, mask in parts.items()}
    counts = ", ".join(f"{len(part)} {split}" for split, part in divided.items())
    notify(f"{name}: one {'file' if isinstance(where, Path) else 'table'}, divided by content into {counts} rows")
    if hidden.any():
        notify(f"{name}: {hidden.sum()} unlabelled rows left out, for their texts stand in dev or test")
    return divided


def _held_apart(splits: dict[str, Rows], name: str, notify: Notify) -> dict[str, Rows]:
    """The same splits, but for unlabelled train rows whose text is held out in another split."""
    rows = splits.get("train")
    if rows is None or not (rows.label == UNLABELLED).any():
        return splits
    held = [part.row_hash for split, part in splits.items() if split != "train"]
    hidden = (rows.label == UNLABELLED) & np.isin(rows.row_hash, np.concatenate([np.empty(0, np.int64), *held]))
    if not hidden.any():
        return splits
    notify(f"{name}: {hidden.sum()} unlabelled rows left out, for their texts stand in {_held_names(splits)}")
    return {**splits, "train": _part(rows, np.flatnonzero(~hidden))}


def _draw(rows: Rows, names: Names, preset: Preset, seed: int) -> dict[str, Rows]:
    assert preset.per_class is not None
    try:
        places = draw(rows.label, names, preset.per_class, seed)
    except SpecError as error:
        raise error.at(f"preset {preset.name}") from None
    return {split: _part(rows, chosen) for split, chosen in places.items()}


def _unlabelled(found: Found, names: Columns, splits: dict[str, Rows], notify: Notify) -> Rows:
    """All rows of another source, without their labels, but those whose text is held out in a split of the first."""
    table = lookup.single(found)
    rows = _rows(table, names, np.full(len(table), UNLABELLED, np.int64))
    held = [part.row_hash for split, part in splits.items() if split != "train"]
    free = ~np.isin(rows.row_hash, np.concatenate([np.empty(0, np.int64), *held]))
    notify(f"unlabelled: {found.what or found.where}: {int(free.sum()):,} rows")
    ignored = [
        c for c in table.columns if c not in (names.text, names.text_pair) and c in (names.label, *LABEL_COLUMNS)
    ]
    if ignored:
        notify(f"unlabelled: {found.where}: not read, for these rows count as unlabelled: {', '.join(ignored)}")
    if not free.all():
        notify(f"unlabelled: {int((~free).sum()):,} rows left out, for their texts stand in {_held_names(splits)}")
    return _part(rows, np.flatnonzero(free))


def _held_names(splits: dict[str, Rows]) -> str:
    return " or ".join(split for split in splits if split != "train")
