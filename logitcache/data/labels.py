"""Labels as class numbers: the names or numbers of a column become classes 0 to K - 1.

1. Every split's column is reduced to its distinct values (``label_values``), and what is no label
   is taken out.
2. All values of all splits together say what the column holds: booleans, whole numbers or texts.
3. Whole numbers that begin at 0 are class numbers. Other numbers, booleans and texts are names of
   classes.
4. Names that somebody gave (``--labels``, labels.json, a ClassLabel) say which class each value is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import filterfalse, islice
from typing import Any

from logitcache.data.given_classes import given_classes, given_names, out_of_range
from logitcache.data.label_cells import joined_names, several_labels
from logitcache.data.label_values import (
    Columns,
    check_not_joined,
    cleaned,
    first_place,
    present_values,
    read_values,
)
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
    numbers_from_one,
)
from logitcache.data.sources.advice import pandas_command
from logitcache.data.sources.tables import Table
from logitcache.data.values import are_all
from logitcache.errors import SpecError, short
from logitcache.records import Int64
from logitcache.reporter import Reporter

UNLABELLED = -1
_AROUND = " .,:;!?'\"`"  # a name, in another spelling of it
_AROUND_IN_SHELL = r" .,:;\x21?\x27\x22\x60"  # the same
MOST_ABSENT = 8  # class numbers without a row that a note lists
MAX_CLASSES = 2**24  # the widest column a cache has; a larger label is an identifier, not a class

Tables = dict[str | None, Table]
Names = tuple[str, ...] | None
Classes = Mapping[Any, int]  # value of a column -> class number


def labels(
    tables: Tables, column: str | None, class_names: ClassNames | None, reporter: Reporter
) -> tuple[dict[str | None, Int64], Names, int]:
    """Labels of each table as class numbers (-1: none), the names in label order (None where labels
    are bare numbers from 0), and how many classes.

    ``class_names`` are the names that somebody gave. Class names that stand in the data itself (a
    ClassLabel) are the labels where nobody gave others, or the same in another order; other given
    names rename the numbers. Raises SpecError naming the first row whose label cannot be one of the
    classes.
    """
    columns = read_values(tables, column)
    class_names = _if_fitting(class_names, columns, column, reporter)
    columns, declared = _named_by_class_label(columns, column, class_names)
    names = class_names or declared
    columns = cleaned(columns, () if names is None else names.names, column, reporter)
    columns = _of_one_kind(columns, names, column)
    present = present_values(columns)
    if names is not None:
        classes = given_classes(present, names, columns, column, reporter)
        # a ClassLabel that was made without names has the numbers for names
        bare = class_names is None and names.names == tuple(map(str, range(len(names.names))))
        return _numbered(columns, classes), None if bare else names.names, len(names.names)
    are_integers = set(map(type, present)) <= {int}
    if are_integers and min(present, default=0) == 0 and not _are_codes(present):
        count = max(present, default=-1) + 1
        if count > MAX_CLASSES:
            problem = f"expected class numbers below {MAX_CLASSES}, found {count - 1}. Name the column of the label."
            raise SpecError(f"column {column!r}: {problem}", where=first_place(columns, count - 1))
        _note_gaps(present, count, column, reporter)
        return _numbered(columns, {value: value for value in present}), None, count
    own = _own_names(columns, present, column, reporter)
    number = {name: index for index, name in enumerate(own)}
    return _numbered(columns, {value: number[_text(value)] for value in present}), own, len(own)


def _if_fitting(
    names: ClassNames | None, columns: Columns, column: str | None, reporter: Reporter
) -> ClassNames | None:
    """The names, unless they are lines of a text file (which may hold anything) and the labels are
    not numbers that they name, each of them, or have names of their own.
    """
    if names is None or not names.lines_of:
        return names
    present = {integer(str(value)) for value in present_values(columns) if value != ""}
    named = set(names.numbers or range(len(names.names)))
    is_from_one = names.numbers is None and numbers_from_one(present, len(named))
    is_declared = any(column in values.table.classes for values in columns.values())
    if is_declared or not (present == named or is_from_one):
        if present and not is_declared and present < named:
            reporter.note(
                f"column {column!r}: {names.lines_of} is not read, for it names {len(named):,} classes, of which "
                f"{len(present):,} occur. If they are the names of these numbers: {_as_given(names, present)}"
            )
        return None
    reporter.note(f"column {column!r}: the names of its classes are those of {names.lines_of}")
    return names


def _as_given(names: ClassNames, present: Collection[int | None]) -> str:
    """How the names of a list are given to labels that are their places or numbers."""
    count = len(names.names)
    are_places = names.numbers in (None, tuple(range(count)))
    if not are_places or 0 not in present:
        return 'write the number of each into labels.json beside the data ({"1": "NAME", ...})'
    return labels_option(names.names) if count <= LISTED else "name all of them with --labels"


def _are_codes(present: list[int]) -> bool:
    """Whether numbers from 0 are rather codes than places in a list of classes, as the 0 and 4 of
    Sentiment140: multiples of one number, of which fewer occur than are left out.
    """
    absent = max(present, default=0) + 1 - len(present)
    return absent > len(present) and math.gcd(*present) > 1


def _note_gaps(present: list[int], count: int, column: str | None, reporter: Reporter) -> None:
    """A note of the class numbers below the largest that no row has: they stay classes, as those of
    a part of the data or of a teacher's columns.
    """
    if len(present) == count:
        return
    absent = filterfalse(set(present).__contains__, range(count))
    examples = list(map(str, islice(absent, MOST_ABSENT)))
    if count - len(present) > MOST_ABSENT:
        examples.append("…")
    advice = "name them all with --labels"
    if len(present) <= LISTED:
        advice = labels_option(list(map(str, sorted(present))))
    reporter.note(
        f"column {column!r}: numbers from 0 are class numbers, so there are {count:,} classes, of which no row has "
        f"{', '.join(examples)}. If the numbers that occur are all classes: {advice}"
    )


def _text(value: Any) -> str:
    """The name of a class that is written as this value."""
    return BOOLEANS[value] if isinstance(value, bool) else str(value)


def _numbered(columns: Columns, classes: Classes) -> dict[str | None, Int64]:
    numbered = {}
    for split, values in columns.items():
        numbers = [UNLABELLED if v is None else classes[v] for v in values.distinct]
        numbered[split] = values.mapped(numbers)
    return numbered


def _named_by_class_label(
    columns: Columns, column: str | None, class_names: ClassNames | None
) -> tuple[Columns, ClassNames | None]:
    """Class numbers as the names that a ClassLabel declares for them, and the names of the first
    table that has any.

    Given names that are others rename the numbers. Raises SpecError where they are partly the same,
    at other numbers.
    """
    renamed = dict(columns)
    declared: ClassNames | None = None
    for split, values in columns.items():
        classes = values.table.classes.get(column or "")
        if classes is None:
            continue
        names = _renamed(classes, class_names, values.table)
        declared = declared or ClassNames(names)
        for position, value in enumerate(values.distinct):
            if value is not None and not UNLABELLED <= value < len(names):
                raise out_of_range(value, names, values.where(position))
        distinct = [None if v in (None, UNLABELLED) else names[v] for v in values.distinct]
        renamed[split] = replace(values, distinct=distinct)
    return renamed, declared


def _renamed(
    classes: tuple[str, ...], class_names: ClassNames | None, table: Table
) -> tuple[str, ...]:
    """The names that a ClassLabel's numbers have where others are given."""
    if class_names is None:
        return classes
    by_spelling = folds(class_names.names)
    by_class: dict[int, str] = {}
    for index, name in enumerate(classes):
        spelled = name if name in class_names.names else by_spelling.get(folded(name))
        if spelled is not None:
            by_class[index] = spelled
    if len(set(by_class.values())) == len(classes):
        return tuple(by_class.values())
    for index, name in by_class.items():
        if class_names.names[index : index + 1] != (name,):
            raise SpecError(
                expected=f"the class names of the data ({listed(classes)}) or other ones",
                found=f"{listed(class_names.names)}, in which {name!r} is another class's",
                advice=f"Leave the names out, or give {labels_option(classes)}",
                where=table.path,
            )
    return class_names.names


def _of_one_kind(columns: Columns, class_names: ClassNames | None, column: str | None) -> Columns:
    """Booleans, integers or texts, whatever the files write them as.

    Texts that are all whole numbers are integers, and texts that are all true or false are
    booleans. Raises SpecError naming the first row that has a number with a fraction, or another
    kind than the rows before it.
    """
    _check_kinds(columns, column, alike=False)
    present = present_values(columns)
    if class_names is not None and class_names.numbers is None:
        names = given_names(present, class_names.names)
        if None not in names.values():
            return _replaced(columns, names)
    fractions = list(filter(_is_fraction, present))
    texts = [value for value in present if isinstance(value, str)]
    are_scores = not are_all(fractions, str) or all(map(is_number, texts))
    if fractions and are_scores:
        for value, parts in joined_names(texts).items():
            raise several_labels(parts, column, first_place(columns, value))
        raise _score(fractions[0], present, columns, column)
    read: dict[tuple[type, Any], Any] = {}
    for value in present:
        if isinstance(value, float):
            read[float, value] = int(value)
    integers = list(map(integer, texts))
    if all(text.casefold() in BOOLEANS for text in texts):
        for text in texts:
            read[str, text] = text.casefold() == BOOLEANS[1]
    elif None not in integers:
        for text, number in zip(texts, integers, strict=True):
            read[str, text] = number
    columns = _replaced(columns, read)
    _check_kinds(columns, column, alike=True)
    return columns


def _is_fraction(value: Any) -> bool:
    """Whether a value is, or writes, a number that is not whole."""
    if isinstance(value, str):
        return is_number(value) and not float(value.replace(",", ".")).is_integer()
    return isinstance(value, float) and not value.is_integer()


def _replaced(columns: Columns, read: Mapping[tuple[type, Any], Any]) -> Columns:
    whole = {}
    for split, values in columns.items():
        distinct = [read.get((type(value), value), value) for value in values.distinct]
        whole[split] = replace(values, distinct=distinct)
    return whole


def _score(value: Any, present: list[Any], columns: Columns, column: str | None) -> SpecError:
    advice = "Give the column of the classes with --label"
    if len(present) <= LISTED and all(is_number(str(number)) for number in present):
        numbers = sorted(map(str, present), key=lambda text: float(text.replace(",", ".")))
        advice = f"To take each number for the name of a class: {labels_option(numbers)}"
    return SpecError(
        f"column {column!r}: expected classes, found {value!r}: numbers that are not whole are scores (regression), "
        f"and are not supported. {advice}",
        where=first_place(columns, value),
    )


def _check_kinds(columns: Columns, column: str | None, *, alike: bool) -> None:
    """Raises SpecError naming the first row whose label is no text, number or boolean; or
    (``alike``) is of another kind than those before.
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


def _own_names(
    columns: Columns, present: list[Any], column: str | None, reporter: Reporter
) -> tuple[str, ...]:
    """The values as names of classes, in order: false and true, numbers by value, texts by letters.

    Raises SpecError where two differ in nothing but their spelling.
    """
    if present and are_all(present, bool):
        return BOOLEANS
    if present and are_all(present, int):
        names = tuple(map(str, sorted(present)))
        reason = "do not begin at 0" if min(present) else "are not consecutive"
        note = f"the numbers {listed(names)} {reason}: each is taken as a class name."
        if UNLABELLED in present:
            note += " Where -1 means no label, leave the field empty."
        if len(names) <= LISTED:
            note += f" To name them, or others too: {labels_option(names)}"
        reporter.note(f"column {column!r}: {note}")
        return names
    names = _sorted(present)
    where = first_place(columns, names[0]) if names else ""
    check_not_joined(names, str(column), next(iter(columns.values())).table.path, where)
    joined = joined_names(names)
    if joined:
        name, parts = next(iter(joined.items()))
        reporter.note(
            f"column {column!r}: {name!r} may be several labels, as {listed(parts)} are classes too; it is taken for "
            "a class of its own. Several labels a row (multi-label) are not trained: keep one"
        )
    if "-1" in names:
        reporter.note(
            f"column {column!r}: -1 is taken for a class. Where it means no label, leave the field empty."
        )
    _check_spellings(columns, names, column)
    return names


def _check_spellings(columns: Columns, names: tuple[str, ...], column: str | None) -> None:
    """Raises SpecError where two names differ in nothing but their spelling: in case, in spaces, or
    in punctuation and quotes around them.
    """
    forms: dict[str, list[str]] = {}
    for name in names:
        forms.setdefault(folded(name.strip(_AROUND)) or name, []).append(name)
    repeated = [spellings for spellings in forms.values() if len(spellings) > 1]
    if not repeated:
        return
    first, second = repeated[0][:2]
    if any(len(set(map(folded, spellings))) > 1 for spellings in repeated):
        advice = _in_one_way(columns, column)
    elif len(names) <= LISTED:
        merged = labels_option([spellings[0] for spellings in forms.values()])
        advice = (
            f"If such names are one class, give {merged} (or write them alike); if they are classes apart, give "
            f"{labels_option(names)}"
        )
    else:
        advice = "Write them alike."
    raise SpecError(
        f"column {column!r}: expected each class in one spelling, found {first!r} and {second!r} (the first at "
        f"{first_place(columns, first)}). {advice}",
        where=first_place(columns, second),
    )


def _in_one_way(columns: Columns, column: str | None) -> str:
    """How to write each class in one way, with pandas where it reads the file."""
    advice = "Write each class in one way, in small letters without punctuation around it"
    plain = f"t[{column!r}] = t[{column!r}].str.strip('{_AROUND_IN_SHELL}').str.lower()"
    command = pandas_command(next(iter(columns.values())).table.path, plain)
    return f"{advice}: {command}." if command else f"{advice}."


def _sorted(names: list[str]) -> tuple[str, ...]:
    """Names in order; numbers written as text by their value, so that "10" comes after "2"."""
    numbers = all(name.isdecimal() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name) if numbers else 0, name)))
