"""Rows of text and their identity: a source, its splits, and two columns (row_id, row_hash) that never change
afterwards.

``row_id`` is a row's place in its split as loaded, fixed before any filter, shuffle or tokenisation. ``row_hash`` is
the hash of its text fields. Texts may repeat, also with different labels: nothing here needs content to be unique.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from logitcache import identity
from logitcache.data import embedded
from logitcache.data.files import READERS, Table, find_files, read_table
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
UNLABELLED = -1
MAX_CLASSES = 2**24  # the widest column a cache has; a larger label is an identifier, not a class
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_SURROGATE = re.compile("[\ud800-\udfff]")
Notify = Callable[[str], None]


@dataclass(frozen=True)
class Columns:
    """Which columns to read; None where the usual names are to be tried."""

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None
    label_names: tuple[str, ...] | None = None  # in label order; None: sorted


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
        take = pa.array(places)
        pair = None if self.text_pair is None else self.text_pair.take(take)
        return Rows(self.text.take(take), pair, self.label[places], self.row_id[places], self.row_hash[places])

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

    def split(self, name: str) -> Rows:
        """Rows of one split. Raises SpecError where it is missing or empty."""
        if name not in self.splits:
            raise SpecError(f"expected a split {name!r}, found {', '.join(self.splits)}.", where=self.name)
        if not len(self.splits[name]):
            raise SpecError(f"the split {name!r} is empty: expected at least one row.", where=self.name)
        return self.splits[name]

    def digest(self) -> str:
        """Digest of all splits, labels included."""
        parts = [(f"{k}/{c}", a) for k, r in self.splits.items() for c, a in (("hash", r.row_hash), ("label", r.label))]
        return identity.digest_arrays(parts)


def load(data: str, columns: Columns, cache: Path, notify: Notify) -> Source:
    """Load a file, a folder, or an embedded set by name (built under ``cache`` on first use).

    A single file whose name tells no split is divided by content, 80/10/10, so that no text is in two splits.
    Raises SpecError for whatever cannot be read as asked.
    """
    path = embedded.docstrings(cache, notify) if data in embedded.NAMES else Path(data)
    files = find_files(path)
    _say_ignored(path, files.values(), notify)
    tables = {split: read_table(file) for split, file in files.items()}
    for split, table in tables.items():
        if table.columns and not table.lines and split != "train":  # an empty train split is refused where it is used
            notify(f"{table.path}: no rows, so the {split} split is left out")
    names = _column_names(list(tables.values()), columns, path)
    given = _given_names(columns, path if path.is_dir() else path.parent)
    labels, label_names, count = _labels(tables, names.label, given)
    rows = {split: _rows(table, names, labels[split]) for split, table in tables.items()}
    splits = _divide(rows.pop(None), path, notify) if None in rows else {s: rows[s] for s in SPLITS if s in rows}
    name = data if data in embedded.NAMES else (path.name if path.is_dir() else path.stem)
    return Source(name, splits, label_names, count)


def _say_ignored(path: Path, used: Iterable[Path], notify: Notify) -> None:
    """A data file whose name tells no split, beside files that do, is left out; never silently."""
    if path.is_dir():
        ignored = sorted(p.name for p in set(path.iterdir()) - set(used) if p.suffix in READERS)
        if ignored:
            notify(f"{path}: not read, for their names tell no split: {', '.join(ignored)}")


def _column_names(tables: list[Table], asked: Columns, where: Path) -> Columns:
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


def _given_names(columns: Columns, folder: Path) -> tuple[str, ...] | None:
    """Label names in label order, where somebody gave them. Raises SpecError unless each is there once."""
    names, where = columns.label_names, "--labels"
    if names is None:
        names, where = _names_file(folder), str(folder / "labels.json")
    if names is not None and (not all(names) or not names or len(set(names)) < len(names)):
        found = ", ".join(map(repr, names)) or "none"
        raise SpecError(f"expected label names, each once and none empty, found {found}. Correct them.", where=where)
    return names


def _names_file(folder: Path) -> tuple[str, ...] | None:
    """Label names in label order from a ``labels.json`` beside the data: a list, or {"labels": [...]}."""
    path = folder / "labels.json"
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SpecError(f"expected JSON, found {error}.", where=path) from None
    names = value.get("labels") if isinstance(value, dict) else value
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise SpecError('expected a list of names or {"labels": [names]}.', where=path)
    return tuple(names)


def _rows(table: Table, names: Columns, label: Int64) -> Rows:
    assert names.text is not None
    text = _texts(table, names.text)
    pair = None if names.text_pair is None else _texts(table, names.text_pair)
    return Rows(
        _arrow(table, names.text, text),
        None if names.text_pair is None or pair is None else _arrow(table, names.text_pair, pair),
        label,
        np.arange(len(text), dtype=np.int64),
        identity.row_hashes(text, pair),
    )


def _texts(table: Table, column: str) -> list[str]:
    if column not in table.columns and not table.lines:
        return []
    if column not in table.columns:
        raise SpecError(f"no column {column!r}, found {', '.join(table.columns)}.", where=table.path)
    values = table.columns[column]
    for row, value in enumerate(values):
        if not isinstance(value, str):
            found = "null" if value is None else f"{value!r} ({type(value).__name__})"
            raise SpecError(
                f"column {column!r}: expected a string, found {found}. Make it a string or leave the row out.",
                where=table.place(row),
            )
    return values


def _arrow(table: Table, column: str, texts: list[str]) -> pa.LargeStringArray:
    try:
        return pa.array(texts, pa.large_string())
    except UnicodeEncodeError:
        row = next(i for i, text in enumerate(texts) if _SURROGATE.search(text))
        raise SpecError(
            f"column {column!r}: expected text, found half of a surrogate pair (\\ud800 to \\udfff), which is no "
            "character. Correct the row or leave it out.",
            where=table.place(row),
        ) from None


def _divide(rows: Rows, path: Path, notify: Notify) -> dict[str, Rows]:
    """Train, dev and test from one file, by the hash of the text: no text is in two splits."""
    bucket = rows.row_hash.view(np.uint64) % np.uint64(10)
    parts = {"train": bucket < 8, "dev": bucket == 8, "test": bucket == 9}
    divided = {}
    for split, mask in parts.items():
        part = rows.select(np.flatnonzero(mask))
        divided[split] = Rows(
            part.text, part.text_pair, part.label, np.arange(len(part), dtype=np.int64), part.row_hash
        )
    counts = ", ".join(f"{len(part)} {split}" for split, part in divided.items())
    notify(f"{path.name}: one file, divided by content into {counts} rows")
    return divided


def _labels(
    tables: dict[str | None, Table], column: str | None, names: tuple[str, ...] | None
) -> tuple[dict[str | None, Int64], tuple[str, ...] | None, int]:
    """Labels of each table as class numbers, the names in label order where there are any, and how many classes."""
    values = _label_values(tables, column, names)
    kind = _one_kind(tables, column, values)
    if kind is str:
        return _named(tables, values, names)
    top = max((v for vs in values.values() for v in vs if v is not None), default=UNLABELLED)
    count = min(max(0, top + 1), MAX_CLASSES) if names is None else len(names)
    return {s: _numbered(tables[s], vs, count) for s, vs in values.items()}, names, count


def _one_kind(
    tables: dict[str | None, Table], column: str | None, values: dict[str | None, list[Any]]
) -> type[int] | type[str]:
    """Whether labels are strings or integers. Raises SpecError naming the first that is neither or differs."""
    kinds = [(type(v), v, s, i) for s, vs in values.items() for i, v in enumerate(vs) if v is not None]
    first = kinds[0][0] if kinds else int
    wrong = next((k for k in kinds if k[0] is not first or first not in (int, str)), None)
    if wrong is not None:
        kind, value, split, row = wrong
        found = f"{value!r} ({kind.__name__}{'' if kind is first else f' after {first.__name__}'})"
        raise SpecError(
            f"column {column!r}: expected labels all strings or all integers, found {found}. Make them one kind.",
            where=tables[split].place(row),
        )
    return str if first is str else int


def _label_values(
    tables: dict[str | None, Table], column: str | None, names: tuple[str, ...] | None
) -> dict[str | None, list[Any]]:
    """One label a row, None where it is missing or -1; the numbers of a csv become integers where all are (in every
    file), unless they are the names that were given.
    """
    found = {s: t.columns.get(column or "", [None] * len(t.lines)) for s, t in tables.items()}
    texts = {v for s, vs in found.items() if not tables[s].typed for v in vs} - {None, "", str(UNLABELLED)}
    integers = all(map(_INTEGER.fullmatch, texts)) and not (names and texts <= set(names))
    return {s: [_label(v, tables[s].typed, integers) for v in vs] for s, vs in found.items()}


def _label(value: Any, typed: bool, integers: bool) -> Any:
    if typed:
        return None if type(value) is int and value == UNLABELLED else value
    if value in (None, "", str(UNLABELLED)):
        return None
    return int(value) if integers else value


def _numbered(table: Table, values: Sequence[int | None], count: int) -> Int64:
    row = next((i for i, v in enumerate(values) if v is not None and not UNLABELLED <= v < count), None)
    if row is not None:
        numbers = f"from 0 to {count - 1}" if count else "of 0 or more"
        raise SpecError(
            f"expected a label {numbers} (or -1: none), found {values[row]}. "
            "Correct the row, or name all classes in label order with --labels.",
            where=table.place(row),
        )
    return np.array([UNLABELLED if v is None else v for v in values], dtype=np.int64)


def _sorted(names: set[str]) -> tuple[str, ...]:
    """Names in order; numbers written as text by their value, so that "10" comes after "2"."""
    numbers = all(name.isdecimal() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name) if numbers else 0, name)))


def _named(
    tables: dict[str | None, Table], values: dict[str | None, list[Any]], given: tuple[str, ...] | None
) -> tuple[dict[str | None, Int64], tuple[str, ...], int]:
    names = given or _sorted({v for vs in values.values() for v in vs if v is not None})
    index: dict[str | None, int] = {name: i for i, name in enumerate(names)}
    index[None] = UNLABELLED
    for split, vs in values.items():
        row = next((i for i, v in enumerate(vs) if v not in index), None)
        if row is not None:
            where = tables[split].place(row)
            raise SpecError(
                f"expected a label among {', '.join(names)}, found {vs[row]!r}. "
                "Correct the row, or the names in --labels or labels.json.",
                where=where,
            )
    return {s: np.array([index[v] for v in vs], dtype=np.int64) for s, vs in values.items()}, names, len(names)
