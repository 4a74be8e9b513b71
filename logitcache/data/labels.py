"""Labels as class numbers. Every rule is applied to the distinct values of a column; the rows are mapped at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from logitcache.data.files import Column, Table
from logitcache.data.spool import by_block
from logitcache.errors import SpecError
from logitcache.records import Array, Int64

UNLABELLED = -1
MAX_CLASSES = 2**24  # the widest column a cache has; a larger label is an identifier, not a class
_INTEGER = re.compile(r"(-?(?:0|[1-9][0-9]{0,17}))(?:\.0+)?")  # pandas writes whole numbers beside a gap as 1.0
_HASHABLE = (str, int, float, bool, type(None))

Tables = dict[str | None, Table]
Names = tuple[str, ...] | None


@dataclass(frozen=True)
class _Distinct:
    """A column as its distinct values, in the order in which they appear, and the place of each row's among them."""

    values: list[Any]
    code: Array  # i32[N]

    def first_row(self, place: int) -> int:
        return int(np.flatnonzero(self.code == place)[0])

    def mapped(self, numbers: list[int]) -> Int64:
        """The number of each row, by that of its value: i64[N]."""
        table = np.array(numbers, np.int64)
        return by_block(np.int64, len(self.code), lambda part: table[self.code[part]])


def labels(tables: Tables, column: str | None, given: Names) -> tuple[dict[str | None, Int64], Names, int]:
    """Labels of each table as class numbers (-1: none), the names in label order where there are any, and how many
    classes.

    ``given`` are the names that somebody gave. Class names that stand in the data itself (a ClassLabel) are the labels
    where nobody gave others, or the same in another order; other given names rename the numbers.
    Raises SpecError naming the first row whose label is none of these, or of another kind than those before.
    """
    found = {split: _distinct(table, column) for split, table in tables.items()}
    found, known = _class_names(tables, column, found, given)
    found = _as_written(tables, found, given)
    kind = _one_kind(tables, column, found)
    bare = all(value is None for d in found.values() for value in d.values)
    if kind is str or (bare and known is not None):
        return _named(tables, found, given or known)
    top = max((value for d in found.values() for value in d.values if value is not None), default=UNLABELLED)
    count = min(max(0, top + 1), MAX_CLASSES) if given is None else len(given)
    return {s: _numbered(tables[s], d, count) for s, d in found.items()}, given, count


def _distinct(table: Table, column: str | None) -> _Distinct:
    if column is None or column not in table.columns:
        return _Distinct([None], np.zeros(len(table), np.int32))
    values = table.columns[column]
    return _distinct_list(values) if isinstance(values, list) else _distinct_arrow(values)


def _distinct_list(values: list[Any]) -> _Distinct:
    index: dict[Any, int] = {}
    seen: list[Any] = []
    code = np.empty(len(values), np.int32)
    for row, value in enumerate(values):
        key = (type(value), value if isinstance(value, _HASHABLE) else repr(value))  # True is no 1, and 1.0 is none
        place = index.setdefault(key, len(seen))
        if place == len(seen):
            seen.append(value)
        code[row] = place
    return _Distinct(seen, code)


def _distinct_arrow(values: Column) -> _Distinct:
    assert not isinstance(values, list)
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    plain = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_string,
        pa.types.is_large_string,
    )
    if not any(test(kind) for test in plain):
        return _distinct_list(values.to_pylist())
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    encoded = whole.dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    code = encoded.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False).astype(np.int32)
    return _Distinct([*distinct, None] if encoded.null_count else distinct, code)


def _class_names(
    tables: Tables, column: str | None, found: dict[str | None, _Distinct], given: Names
) -> tuple[dict[str | None, _Distinct], Names]:
    """Class numbers as the names that stand beside them in the data, and the names of the first table that has any."""
    named, known = dict(found), None
    for split, table in tables.items():
        classes = table.classes.get(column or "")
        if classes is None or not (given is None or set(classes) <= set(given)):
            continue
        known = known or classes
        distinct = found[split]
        for place, value in enumerate(distinct.values):
            if value is not None and not UNLABELLED <= value < len(classes):
                raise _out_of_range(table, distinct, place, len(classes))
        values = [None if v in (None, UNLABELLED) else classes[v] for v in distinct.values]
        named[split] = _Distinct(values, distinct.code)
    return named, known


def _as_written(tables: Tables, found: dict[str | None, _Distinct], given: Names) -> dict[str | None, _Distinct]:
    """None where a label is missing or -1; the numbers of a csv become integers where all are (in every file), unless
    they are the names that were given.
    """
    texts = {v for s, d in found.items() if not tables[s].typed for v in d.values} - {None, "", str(UNLABELLED)}
    integers = all(map(_INTEGER.fullmatch, texts)) and not (given and texts <= set(given))
    known = set(given or ())
    return {
        s: _Distinct([_label(v, tables[s].typed, integers, known) for v in d.values], d.code) for s, d in found.items()
    }


def _label(value: Any, typed: bool, integers: bool, known: set[str]) -> Any:
    """A missing label is None, an empty text, -1, or what pandas calls NaN; a whole number may be written as 1.0."""
    if type(value) is str and value in known:
        return value
    if value in (None, "", str(UNLABELLED)):
        return None
    if not typed:
        whole = _INTEGER.fullmatch(value) if integers else None
        return value if whole is None else int(whole[1])
    if type(value) is float:
        value = None if value != value else int(value) if value.is_integer() else value
    return None if type(value) is int and value == UNLABELLED else value


def _one_kind(tables: Tables, column: str | None, found: dict[str | None, _Distinct]) -> type[int] | type[str]:
    """Whether labels are strings or integers. Raises SpecError naming the first that is neither or differs."""
    kinds = [(type(v), v, s, i) for s, d in found.items() for i, v in enumerate(d.values) if v is not None]
    first = kinds[0][0] if kinds else int
    wrong = next((k for k in kinds if k[0] is not first or first not in (int, str)), None)
    if wrong is not None:
        kind, value, split, place = wrong
        said = f"{value!r} ({kind.__name__}{'' if kind is first else f' after {first.__name__}'})"
        raise SpecError(
            f"column {column!r}: expected labels all strings or all integers, found {said}. Make them one kind.",
            where=tables[split].place(found[split].first_row(place)),
        )
    return str if first is str else int


def _numbered(table: Table, found: _Distinct, count: int) -> Int64:
    for place, value in enumerate(found.values):
        if value is not None and not UNLABELLED <= value < count:
            raise _out_of_range(table, found, place, count)
    return found.mapped([UNLABELLED if value is None else value for value in found.values])


def _out_of_range(table: Table, found: _Distinct, place: int, count: int) -> SpecError:
    numbers = f"from 0 to {count - 1}" if count else "of 0 or more"
    return SpecError(
        f"expected a label {numbers} (or -1: none), found {found.values[place]}. "
        "Correct the row, or name all classes in label order with --labels.",
        where=table.place(found.first_row(place)),
    )


def _sorted(names: set[str]) -> tuple[str, ...]:
    """Names in order; numbers written as text by their value, so that "10" comes after "2"."""
    numbers = all(name.isdecimal() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name) if numbers else 0, name)))


def _named(
    tables: Tables, found: dict[str | None, _Distinct], given: Names
) -> tuple[dict[str | None, Int64], tuple[str, ...], int]:
    names = given or _sorted({v for d in found.values() for v in d.values if v is not None})
    index: dict[str | None, int] = {name: i for i, name in enumerate(names)}
    index[None] = UNLABELLED
    for split, distinct in found.items():
        place = next((i for i, v in enumerate(distinct.values) if v not in index), None)
        if place is not None:
            raise SpecError(
                f"expected a label among {', '.join(names)}, found {distinct.values[place]!r}. "
                "Correct the row, or the names in --labels or labels.json.",
                where=tables[split].place(distinct.first_row(place)),
            )
    return {s: d.mapped([index[value] for value in d.values]) for s, d in found.items()}, names, len(names)
