"""Texts that stand in the data more than once: duplicates, contradictions, and rows of a test that
are trained on too.

Three keys say which texts are equal: the row's own hash; the hash of the text in lower case with
single spaces; and the hash of its letters alone, in which texts that differ in punctuation and
digits are equal. A text of which less than half is left has no key. Texts that differ in a word are
not found: that takes an index of their parts or a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from logitcache import identity
from logitcache.data.characters import byte_counts, fields
from logitcache.data.division import stand_in
from logitcache.data.findings import Bool, Fault, Finding, finding_of
from logitcache.data.rows import Rows, Source
from logitcache.data.sources.find import UNLABELLED_SPLIT
from logitcache.data.spool import by_block, numpy_of
from logitcache.records import Int64

NO_KEY = 0
LEAST_LEFT = 0.5  # of the bytes of a text
_SPACES = r"\s{2,}|[\t\n\f\r]"
_NO_LETTERS = r"[^\pL\pM]+"


@dataclass(frozen=True)
class Keyed:
    """The rows of a split with one key of each."""

    split: str
    rows: Rows
    label: Int64  # [N]; -1: none. Of rows of words, a number for their labels together
    key: Int64  # [N]; equal keys mean equal texts
    has_key: Bool  # [N]


def repeats(source: Source) -> Iterator[Finding]:
    """All findings about texts that stand in the data more than once."""
    exact: dict[str, Keyed] = {}
    folded: dict[str, Keyed] = {}
    letters: dict[str, Keyed] = {}
    for split, rows in source.splits.items():
        exact[split] = _keyed(split, rows, rows.row_hash)
        folded[split] = _keyed(split, rows, _keys(rows, _folded))
        letters[split] = _keyed(split, rows, _keys(rows, _letters, LEAST_LEFT))
    contradicting: dict[str, Bool] = {}
    repeating: dict[str, Bool] = {}
    for split, part in exact.items():
        contradicting[split] = contradictions(part)
        repeating[split] = repetitions(part)
        yield from _found(source, part, contradicting[split], Fault.CONTRADICTION)
        yield from _found(source, part, repeating[split], Fault.DUPLICATE)
    for split, part in folded.items():
        contradicted = contradictions(part) & ~contradicting[split]
        yield from _found(source, part, contradicted, Fault.NEAR_CONTRADICTION)
    for split, part in letters.items():
        repeated = repetitions(part) & ~repeating[split]
        yield from _found(source, part, repeated, Fault.NEAR_DUPLICATE)
    if "train" not in exact:
        return
    leaked = {split: np.zeros(len(rows), np.bool_) for split, rows in source.splits.items()}
    leaks = {Fault.LEAK: exact, Fault.NEAR_LEAK: folded, Fault.SIMILAR_LEAK: letters}
    for fault, parts in leaks.items():
        train = parts["train"]
        for split, part in parts.items():
            if split in ("train", UNLABELLED_SPLIT):
                continue
            is_in_train = stand_in(part.key, train.key) & part.has_key
            yield from _found(source, part, is_in_train & ~leaked[split], fault, train)
            leaked[split] |= is_in_train


def sure_repeats(source: Source) -> Iterator[Finding]:
    """The findings that need nothing but the rows' hashes: some milliseconds for 100,000 rows."""
    for split, rows in source.splits.items():
        part = _keyed(split, rows, rows.row_hash)
        yield from _found(source, part, contradictions(part), Fault.CONTRADICTION)


def contradictions(part: Keyed) -> Bool:
    """Rows whose text stands among the labelled rows with another label too: bool[N]."""
    labelled = np.flatnonzero((part.label >= 0) & part.has_key)
    texts, text = np.unique(part.key[labelled], return_inverse=True)
    lowest = np.full(len(texts), np.iinfo(np.int64).max)
    highest = np.full(len(texts), -1)
    np.minimum.at(lowest, text, part.label[labelled])
    np.maximum.at(highest, text, part.label[labelled])
    contradicting = np.zeros(len(part.key), np.bool_)
    contradicting[labelled] = (lowest != highest)[text]
    return contradicting


def repetitions(part: Keyed) -> Bool:
    """Rows that repeat the text and the label of an earlier row: bool[N]."""
    order = np.lexsort((part.label, part.key))  # of equal rows the first stays the first
    same_key = np.diff(part.key[order]) == 0
    same_label = np.diff(part.label[order]) == 0
    repeated = np.zeros(len(order), np.bool_)
    repeated[order[1:]] = same_key & same_label
    return repeated & part.has_key


def _keyed(split: str, rows: Rows, key: Int64) -> Keyed:
    has_key = key != NO_KEY
    if key is rows.row_hash:
        has_key = byte_counts(rows) > 0
    return Keyed(split, rows, _label(rows), key, has_key)


def _label(rows: Rows) -> Int64:
    """One number for what a row is labelled: its class, or a hash of the classes of its words."""
    if rows.tags is None:
        return rows.label
    values = rows.tags.values
    parts = zip(rows.tags.indptr[:-1], rows.tags.indptr[1:], strict=True)
    hashes = identity.row_hashes(values[start:stop].tobytes().hex() for start, stop in parts)
    return np.where(rows.label >= 0, np.abs(hashes), -1)


def _keys(
    rows: Rows, plain: Callable[[pa.LargeStringArray], pa.LargeStringArray], least: float = 0
) -> Int64:
    """Hashes of the texts made plain: i64[N]; NO_KEY where nothing is left, or less than this share
    of the bytes.
    """

    def block(part: slice) -> Int64:
        texts = [field[part] for field in fields(rows)]
        columns = list(map(plain, texts))
        hashes = identity.row_hashes(*(column.to_pylist() for column in columns))
        left = _bytes_of(columns)
        has_key = (left > 0) & (left >= _bytes_of(texts) * least)
        return np.where(has_key, hashes, NO_KEY)

    return by_block(np.int64, len(rows), block)


def _bytes_of(columns: list[pa.LargeStringArray]) -> Int64:
    """The bytes of each row's texts together: i64[N]."""
    total: Int64 = np.sum([numpy_of(pc.binary_length(column)) for column in columns], axis=0)
    return total


def _folded(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    lower = pc.utf8_trim_whitespace(pc.utf8_lower(texts))
    has_spaces = pc.any(pc.match_substring_regex(lower, _SPACES)).as_py()
    if not has_spaces:  # most blocks: a search is cheaper than a copy
        return lower
    return pc.replace_substring_regex(lower, r"\s+", " ")


def _letters(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    lower = pc.utf8_lower(texts)
    letters = pc.replace_substring_regex(lower, _NO_LETTERS, " ")
    return pc.utf8_trim_whitespace(letters)


def _found(
    source: Source, part: Keyed, has_fault: Bool, fault: Fault, against: Keyed | None = None
) -> Iterator[Finding]:
    """The finding of these rows of a split, if there are any: the first of them, and the row that
    it is like.
    """
    if not has_fault.any():
        return
    first = int(has_fault.argmax())
    among = part if against is None else against
    like = among.key == part.key[first]
    if fault in (Fault.CONTRADICTION, Fault.NEAR_CONTRADICTION):
        like &= (among.label != part.label[first]) & (among.label >= 0)
    elif against is None:
        like &= among.label == part.label[first]
        like[first:] = False
    details = []
    if like.any():
        second = int(like.argmax())
        details.append(f"also {source.place_at(among.split, second)}")
        details += _labels(source, part.label[first], among.label[second])
    finding = finding_of(fault, source, part.split, has_fault)
    yield replace(finding, detail=", ".join(details))


def _labels(source: Source, first: int, second: int) -> list[str]:
    """The names of two labels that differ, where they are classes."""
    classes = range(source.num_labels)
    if first == second or first not in classes or second not in classes:
        return []
    names = source.label_names or classes
    return [f"labelled {names[first]} and {names[second]}"]
