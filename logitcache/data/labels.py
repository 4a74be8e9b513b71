"""Labels as class numbers: the names or numbers of a column become classes 0 to K - 1.

1. Every split's column is reduced to its distinct values (``label_values``), and what is no label is taken out.
2. All values of all splits together say what the column holds: booleans, whole numbers or texts.
3. Whole numbers that begin at 0 are class numbers. Other numbers, booleans and texts are names of classes.
4. Names that somebody gave (``--labels``, labels.json, a ClassLabel) say which class each value is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from logitcache.data.files import Table
from logitcache.data.label_values import Columns, Notify, cleaned, read_values
from logitcache.data.names import (
    BOOLEANS,
    LISTED,
    ClassNames,
    folded,
    folds,
    integer,
    is_number,
    labels_option,
    listed,
)
from logitcache.errors import SpecError, short
from logitcache.records import Int64

UNLABELLED = -1
MAX_CLASSES = 2**24  # the widest column a cache has; a larger label is an identifier, not a class

Tables = dict[str | None, Table]
Names = tuple[str, ...] | None
Classes = Mapping[Any, int]  # value of a column -> class number


def labels(
    tables: Tables, column: str | None, given: ClassNames | None, notify: Notify
) -> tuple[dict[str | None, Int64], Names, int]:
    """Labels of each table as class numbers (-1: none), the names in label order (None where labels are bare numbers
    from 0), and how many classes.

    ``given`` are the names that somebody gave. Class names that stand in the data itself (a ClassLabel) are the labels
    where nobody gave others, or the same in another order; other given names rename the numbers.
    Raises SpecError naming the first row whose label cannot be one of the classes.
    """
    columns = read_values(tables, column)
    columns, declared = _named_by_class_label(columns, column, given)
    names = given or declared
    columns = cleaned(columns, () if names is None else names.names, column, notify)
    columns = _of_one_kind(columns, names, column)
    present = _present(columns)
    if names is not None:
        classes = {value: _class_of(value, names, columns, column, notify) for value in present}
        return _numbered(columns, classes), names.names, len(names.names)
    if all(type(value) is int for value in present) and min(present, default=0) == 0:
        count = max(present, default=-1) + 1
        if count > MAX_CLASSES:
            found = f"expected class numbers below {MAX_CLASSES}, found {count - 1}. Name the column of the label."
            raise SpecError(f"column {column!r}: {found}", where=_where(columns, count - 1))
        return _numbered(columns, {value: value for value in present}), None, count
    own = _own_names(columns, present, column, notify)
    return _numbered(columns, {value: own.index(_text(value)) for value in present}), own, len(own)


def _present(columns: Columns) -> list[Any]:
    """The distinct values of all splits, each once; 1, 1.0 and True are three."""
    values = (value for column in columns.values() for value in column.distinct if value is not None)
    return [value for _, value in dict.fromkeys((type(value), value) for value in values)]


def _where(columns: Columns, value: Any) -> str:
    """The place of the first row that has this value."""
    holders = ((values, i) for values in columns.values() for i, v in enumerate(values.distinct) if v == value)
    values, position = next(holders)
    return values.where(position)


def _text(value: Any) -> str:
    """The name of a class that is written as this value."""
    return BOOLEANS[value] if isinstance(value, bool) else str(value)


def _numbered(columns: Columns, classes: Classes) -> dict[str | None, Int64]:
    return {
        split: values.mapped([UNLABELLED if v is None else classes[v] for v in values.distinct])
        for split, values in columns.items()
    }


def _named_by_class_label(
    columns: Columns, column: str | None, given: ClassNames | None
) -> tuple[Columns, ClassNames | None]:
    """Class numbers as the names that a ClassLabel declares for them, and the names of the first table that has any.

    Given names that are others rename the numbers. Raises SpecError where they are partly the same, at other numbers.
    """
    named = dict(columns)
    declared: ClassNames | None = None
    for split, values in columns.items():
        classes = values.table.classes.get(column or "")
        if classes is None:
            continue
        names = _renamed(classes, given, values.table)
        declared = declared or ClassNames(names)
        for position, value in enumerate(values.distinct):
            if value is not None and not UNLABELLED <= value < len(names):
                raise _out_of_range(value, names, values.where(position))
        distinct = [None if value in (None, UNLABELLED) else names[value] for value in values.distinct]
        named[split] = replace(values, distinct=distinct)
    return named, declared


def _renamed(classes: tuple[str, ...], given: ClassNames | None, table: Table) -> tuple[str, ...]:
    """The names that a ClassLabel's numbers have where others are given."""
    if given is None:
        return classes
    ours = folds(given.names)
    known = [ours.get(folded(name)) if name not in given.names else name for name in classes]
    if None not in known and len(set(known)) == len(known):
        return tuple(name for name in known if name is not None)
    moved = [name for i, name in enumerate(known) if name is not None and given.names[i : i + 1] != (name,)]
    if moved:
        raise SpecError(
            f"expected the class names of the data ({listed(classes)}) or other ones, found {listed(given.names)}, in "
            f"which {moved[0]!r} is another class's. Leave the names out, or give {labels_option(classes)}",
            where=table.path,
        )
    return given.names


def _of_one_kind(columns: Columns, given: ClassNames | None, column: str | None) -> Columns:
    """Booleans, integers or texts, whatever the files write them as.

    Texts that are all whole numbers are integers, and texts that are all true or false are booleans. Raises SpecError
    naming the first row that has a number with a fraction, or another kind than the rows before it.
    """
    names = () if given is None else given.names
    _check_kinds(columns, column, alike=False)
    present = _present(columns)
    if all(_given_name(value, names) is not None for value in present):
        return _replaced(columns, {(type(value), value): _given_name(value, names) for value in present})
    fractions = [value for value in present if _is_fraction(value)]
    texts = [value for value in present if isinstance(value, str)]
    if any(isinstance(value, float) for value in fractions) or (fractions and all(map(is_number, texts))):
        raise _score(fractions[0], present, columns, column)
    read: dict[tuple[type, Any], Any] = {(float, v): int(v) for v in present if isinstance(v, float)}
    if all(text.casefold() in BOOLEANS for text in texts):
        read |= {(str, text): text.casefold() == BOOLEANS[1] for text in texts}
    elif all(integer(text) is not None for text in texts):
        read |= {(str, text): integer(text) for text in texts}
    columns = _replaced(columns, read)
    _check_kinds(columns, column, alike=True)
    return columns


def _is_fraction(value: Any) -> bool:
    """Whether a value is, or writes, a number that is not whole."""
    if isinstance(value, str):
        return is_number(value) and not float(value.replace(",", ".")).is_integer()
    return isinstance(value, float) and not value.is_integer()


def _given_name(value: Any, names: tuple[str, ...]) -> str | None:
    """The given name that this value is, letter for letter or as a number."""
    if isinstance(value, str):
        return value if value in names else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return next((name for name in names if is_number(name) and float(name.replace(",", ".")) == value), None)


def _replaced(columns: Columns, read: Mapping[tuple[type, Any], Any]) -> Columns:
    return {
        split: replace(values, distinct=[read.get((type(value), value), value) for value in values.distinct])
        for split, values in columns.items()
    }


def _score(value: Any, present: list[Any], columns: Columns, column: str | None) -> SpecError:
    advice = "Give the column of the classes with --label"
    if len(present) <= LISTED:
        numbers = sorted(map(str, present), key=lambda text: float(text.replace(",", ".")))
        advice = f"To take each number for the name of a class: {labels_option(numbers)}"
    return SpecError(
        f"column {column!r}: expected classes, found {value!r}: numbers that are not whole are scores (regression), "
        f"and are not supported. {advice}",
        where=_where(columns, value),
    )


def _check_kinds(columns: Columns, column: str | None, *, alike: bool) -> None:
    """Raises SpecError naming the first row whose label is no text, number or boolean; or (``alike``) is of another
    kind than those before.
    """
    first: type | None = None
    for values in columns.values():
        for position, value in enumerate(values.distinct):
            if value is None:
                continue
            kind = type(value)
            first = first or kind
            if kind in (bool, int, float, str) and (kind is first or not alike):
                continue
            after = "" if kind is first else f" after {first.__name__}"
            raise SpecError(
                f"column {column!r}: expected labels all strings, all integers or all booleans, found "
                f"{short(repr(value))} ({kind.__name__}{after}). Make them one kind.",
                where=values.where(position),
            )


def _class_of(value: Any, given: ClassNames, columns: Columns, column: str | None, notify: Notify) -> int:
    """The class number of a value, by the names that were given. Raises SpecError for one that is none of them."""
    names, numbers = given.names, given.numbers
    if isinstance(value, str):
        return _by_name(value, names, columns, column, notify)
    if isinstance(value, bool):
        return _of_boolean(value, names, columns)
    if numbers is not None:
        if value not in numbers:
            expected = f"expected a label among {listed([str(number) for number in numbers])}, found {value}. "
            raise SpecError(f"{expected}Correct the row, or the names of the classes.", where=_where(columns, value))
        return numbers.index(value)
    if any(integer(name) is not None for name in names):
        return _by_name(str(value), names, columns, column, notify)
    if not 0 <= value < len(names):
        raise _out_of_range(value, names, _where(columns, value))
    if 0 not in _present(columns):
        first = min(_present(columns))
        example = ", ".join(f'"{first + i}": "{name}"' for i, name in enumerate(names[:2]))
        raise SpecError(
            f"column {column!r}: the numbers begin at {first}, so it is not clear which one {names[0]!r} is. Say it "
            f"in a labels.json beside the data, such as {{{example}, ...}}, which gives each number its name.",
            where=_where(columns, first),
        )
    return int(value)


def _by_name(value: str, names: tuple[str, ...], columns: Columns, column: str | None, notify: Notify) -> int:
    if value in names:
        return names.index(value)
    known = folds(names).get(folded(value))
    if known is None:
        found = value if integer(value) is not None and value not in _present(columns) else repr(value)
        raise SpecError(
            f"expected a label among {listed(names)}, found {found}. "
            "Correct the row, or the names in --labels or labels.json.",
            where=_where(columns, value) if value in _present(columns) else _where(columns, integer(value)),
        )
    notify(f"column {column!r}: {value!r} is taken for the class {known!r}")
    return names.index(known)


def _of_boolean(value: bool, names: tuple[str, ...], columns: Columns) -> int:
    known = folds(names)
    if set(BOOLEANS) <= set(known):
        return names.index(known[BOOLEANS[value]])
    if len(names) != 2:
        advice = f"Give two names, false and then true, such as {labels_option(BOOLEANS)}"
        found = f"found {BOOLEANS[value]}"
        raise SpecError(f"expected a label among {listed(names)}, {found}. {advice}", where=_where(columns, value))
    return int(value)


def _out_of_range(value: Any, names: tuple[str, ...], where: str) -> SpecError:
    return SpecError(
        f"expected a label from 0 to {len(names) - 1}, the number of one of {listed(names)}, found {value}. Correct "
        "the row, leave the field empty where there is no label, or name all classes in label order with --labels.",
        where=where,
    )


def _own_names(columns: Columns, present: list[Any], column: str | None, notify: Notify) -> tuple[str, ...]:
    """The values as names of classes, in order: false and true, numbers by value, texts by letters.

    Raises SpecError where two differ in nothing but their spelling.
    """
    if present and all(isinstance(value, bool) for value in present):
        return BOOLEANS
    if present and all(isinstance(value, int) for value in present):
        names = tuple(map(str, sorted(present)))
        minus = " Where -1 means no label, leave the field empty." if UNLABELLED in present else ""
        option = f" To name them, or others too: {labels_option(names)}" if len(names) <= LISTED else ""
        notify(
            f"column {column!r}: the numbers {listed(names)} do not begin at 0: each is the name of a class."
            f"{minus}{option}"
        )
        return names
    names = _sorted(present)
    if "-1" in names:
        notify(f"column {column!r}: -1 is taken for a class. Where it means no label, leave the field empty.")
    forms: dict[str, str] = {}
    for name in names:
        other = forms.setdefault(folded(name), name)
        if other == name:
            continue
        one = labels_option([n for n in names if n != name])
        both = labels_option(names)
        advice = "Write them alike."
        if len(names) <= LISTED:
            advice = f"If they are one class, give {one} (or write them alike); if they are two, give {both}"
        raise SpecError(
            f"column {column!r}: expected each class in one spelling, found {other!r} and {name!r} (the first at "
            f"{_where(columns, other)}). {advice}",
            where=_where(columns, name),
        )
    return names


def _sorted(names: list[str]) -> tuple[str, ...]:
    """Names in order; numbers written as text by their value, so that "10" comes after "2"."""
    numbers = all(name.isdecimal() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name) if numbers else 0, name)))
