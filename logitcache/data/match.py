"""Which column of a teacher (or of a cache) answers for which class of the data.

A match is made by names, in this order, and refused where none of these fits one to one:

1. ``--label-map`` says it; names that it leaves out are matched by the next rules;
2. the same names, in any order;
3. names that differ in case, spaces, ``_`` or ``-`` alone;
4. names that are numbers on both sides (bare numbers, "2", "LABEL_2", booleans), by number;
5. where one side has names and the other numbers alone (data of bare numbers, a teacher of LABEL_0,
   LABEL_1, ...), the class number is the column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from logitcache.data.names import (
    BOOLEANS,
    LISTED,
    class_number,
    folded,
    folds,
    integer,
    is_unnamed,
    labels_option,
    listed,
    map_option,
)
from logitcache.data.suggestion import map_advice, number_in, suggestion, unmatched
from logitcache.data.tasks.classification import Classification
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.records import Int64

_WITHOUT_MARKS = re.compile(r"[\s.,:;!?'\"()_]+")  # not + and -, which grades differ by


class Kind(Enum):
    """By what the classes were matched."""

    SAME = "same"  # the same names in the same order
    PERMUTED = "permuted"  # the same names in another order
    SPELLED = "spelled"  # names that differ in spelling alone
    NUMBERED = "numbered"  # by number: at least one side has no names
    MAPPED = "mapped"  # --label-map


@dataclass(frozen=True)
class Match:
    """``data_logits = own_logits[:, order]``: column ``order[i]`` answers for class i."""

    order: Int64  # [K]
    kind: Kind
    data: tuple[str, ...]  # names of the data's classes, or their numbers: [K]
    own: tuple[str, ...]  # names of the columns, in their own order: [K]

    @property
    def identity(self) -> bool:
        return bool((self.order == np.arange(len(self.order))).all())

    @property
    def names(self) -> tuple[str, ...]:
        """The name of the column that answers for each class: [K]."""
        return tuple(self.own[column] for column in self.order)

    @property
    def numbers_alone(self) -> bool:
        """Whether both sides number their classes and give them no names."""
        return all(class_number(name) is not None for name in (*self.own, *self.data))


def match_labels(
    own: Sequence[str],
    task: Classification,
    where: str,
    label_map: Mapping[str, str] | None = None,
    *,
    who: str = "teacher",
    occurring: Sequence[int] | None = None,
) -> Match:
    """How the columns called ``own`` become the data's classes. ``label_map`` names a column for
    classes of the data.

    For what a refusal says: ``who`` has the columns (a teacher or a cache), ``occurring`` are the
    classes that have rows. Raises FingerprintMismatch where the classes are others, with the
    options that say how to match them; SpecError for a map that does not fit.
    """
    if task.fixed_label is not None:  # a vocabulary is matched by its tokens
        if label_map:
            raise SpecError(
                expected="classes with names",
                found=f"none ({task.name})",
                advice="Leave it out.",
                where="--label-map",
            )
        return Match(np.arange(0), Kind.SAME, (), ())
    own = tuple(own)
    data = _class_names(task)
    check_count(own, task, where, who=who, occurring=occurring)
    match = None
    if label_map:
        match = _by_map(own, data, label_map, where)
    elif task.label_names is not None:
        match = _by_name(own, data)
    if match is None and not label_map:
        match = _by_number(own, data)
    if match is None:
        labels = f"the {who}'s labels are {listed(own)}, the data's {listed(data)}."
        raise FingerprintMismatch(f"{labels} {map_advice(suggestion(own, data))}", where=where)
    return match


def check_count(
    own: Sequence[str],
    task: Classification,
    where: str,
    *,
    who: str = "teacher",
    occurring: Sequence[int] | None = None,
) -> None:
    """Raises FingerprintMismatch where there are more or fewer columns than classes."""
    if len(own) != task.num_labels:
        data = _class_names(task)
        raise _other_count(tuple(own), task, tuple(data[i] for i in occurring or ()), where, who)


def _class_names(task: Classification) -> tuple[str, ...]:
    """The names of the data's classes, or their numbers."""
    return task.label_names or tuple(map(str, range(task.num_labels)))


def _by_name(own: tuple[str, ...], data: tuple[str, ...]) -> Match | None:
    if len(set(own)) == len(own) and set(own) == set(data):
        kind = Kind.SAME if own == data else Kind.PERMUTED
        return Match(_columns(data, own), kind, data, own)
    own_forms = tuple(map(folded, own))
    data_forms = tuple(map(folded, data))
    if len(set(own_forms)) == len(own) and set(own_forms) == set(data_forms):
        return Match(_columns(data_forms, own_forms), Kind.SPELLED, data, own)
    return None


def _columns(data: Sequence[object], own: Sequence[object]) -> Int64:
    """The column of each class, where both sides have the same distinct values: i64[K]."""
    column = {value: index for index, value in enumerate(own)}
    return np.array([column[value] for value in data], np.int64)


def _by_number(own: tuple[str, ...], data: tuple[str, ...]) -> Match | None:
    """By the numbers that both sides have; or, where one side has names and the other numbers
    alone, by place.
    """
    count = list(range(len(data)))
    own_numbers = _numbers(own)
    data_numbers = _numbers(data)
    if own_numbers is not None and data_numbers is not None:
        if sorted(own_numbers) != sorted(data_numbers):
            return None
        return Match(_columns(data_numbers, own_numbers), Kind.NUMBERED, data, own)
    is_numbered = data_numbers == count and all(integer(name) is not None for name in data)
    if is_numbered and _count_up(own) and len(set(own)) == len(own):
        return Match(np.arange(len(own)), Kind.NUMBERED, data, own)
    if (
        own_numbers is not None
        and sorted(own_numbers) == count
        and all(map(is_unnamed, own))
        and _count_up(data)
    ):
        return Match(np.array(own_numbers).argsort(), Kind.NUMBERED, data, own)
    return None


def _numbers(names: Sequence[str]) -> list[int] | None:
    """The numbers that names stand for; None where one is a real name, or two have one number."""
    spellings = {name.casefold() for name in names}
    if spellings & set(BOOLEANS) and spellings != set(BOOLEANS):
        return None
    numbers = [number for number in map(class_number, names) if number is not None]
    if len(numbers) < len(names) or len(set(numbers)) < len(numbers):
        return None
    return numbers


def _count_up(names: Sequence[str]) -> bool:
    """Whether no name is the number of another column."""
    return all(class_number(name) in (None, column) for column, name in enumerate(names))


def _by_map(
    own: tuple[str, ...], data: tuple[str, ...], label_map: Mapping[str, str], where: str
) -> Match | None:
    """By the map, and by names where it says nothing. None where classes are left over that have no
    column of their name.
    """
    columns: dict[int, int] = {}
    for name, column_name in label_map.items():
        index = _index(data, name)
        if index is None:
            raise SpecError(
                f"--label-map: expected a class of the data ({listed(data)}), found {name!r}. Correct it."
            )
        column = _column(own, column_name)
        if column is None:
            expected = f"expected a class of {where} ({listed(own)})"
            raise SpecError(f"--label-map: {expected}, found {column_name!r}. Correct it.")
        if index in columns or column in columns.values():
            twice = name if index in columns else column_name
            raise SpecError(
                f"--label-map: expected each class once, found {twice!r} twice. Correct it."
            )
        columns[index] = column
    classes, free = unmatched(columns, len(data))
    if classes:
        match = _by_name(tuple(own[i] for i in free), tuple(data[i] for i in classes))
        if match is None:
            return None
        for index, position in zip(classes, match.order, strict=True):
            columns[index] = free[position]
    order = np.array([columns[i] for i in range(len(data))], np.int64)
    return Match(order, Kind.MAPPED, data, own)


def _index(names: tuple[str, ...], name: str) -> int | None:
    """The place of a name among others: as it is written, else where one alone differs in spelling
    only.
    """
    if names.count(name) == 1:
        return names.index(name)
    spelled = folds(names).get(folded(name))
    return None if name in names or spelled is None else names.index(spelled)


def _column(own: tuple[str, ...], name: str) -> int | None:
    """A column by its name, or by its number where no column has that name: LABEL_2."""
    column = _index(own, name)
    if column is not None or name in own or not is_unnamed(name):
        return column
    number = class_number(name)
    return number if number is not None and number < len(own) else None


def _other_count(
    own: tuple[str, ...], task: Classification, occurring: tuple[str, ...], where: str, who: str
) -> FingerprintMismatch:
    names = "" if task.label_names is None else f" ({listed(task.label_names)})"
    classes = "1 class" if len(own) == 1 else f"{len(own)} classes"
    message = f"the {who} answers {classes} ({listed(own)}), the data has {task.num_labels}{names}."
    lacking = _lacking(own, task)
    forms = {_WITHOUT_MARKS.sub("", folded(name)) for name in own}
    if len(forms) == task.num_labels < len(own):
        advice = (
            "Some of these differ in spelling alone: write each class in one way in the answers."
        )
    elif lacking is not None and len(own) <= LISTED:
        advice = f"Where the data has no rows of some of these classes, name them all: {lacking}"
        if where.startswith("column:"):
            advice += "; where one of them means that there is no answer, empty its cells"
    elif "-1" in (task.label_names or ()) and len(own) == task.num_labels - 1:
        advice = "Where -1 means no label, leave the field empty."
    elif len(occurring) == len(own) <= LISTED:
        pairs = map_option(suggestion(own, occurring))
        advice = f"Name the classes that have rows, and say which is which: {labels_option(occurring)} {pairs}"
    else:
        advice = f"Use a {who} of these labels, or name all classes in label order with --labels."
    return FingerprintMismatch(f"{message} {advice}", where=where)


def _lacking(own: tuple[str, ...], task: Classification) -> str | None:
    """The options for data that has some of a teacher's classes alone; None where it has others."""
    if len(own) < task.num_labels or len(set(own)) < len(own):
        return None
    numbers = _numbers(own)
    counted = labels_option(tuple(map(str, range(len(own)))))
    if task.label_names is None:
        count_up = numbers is None or sorted(numbers) == list(range(len(own)))
        return counted if count_up else None
    forms = folds(own)
    if all(name in own or folded(name) in forms for name in task.label_names):
        return labels_option(own)
    if (
        numbers is None
        and all(integer(name) in range(len(own)) for name in task.label_names)
        and _count_up(own)
    ):
        return counted
    written = {number_in(name): name for name in own}
    data = set(map(integer, task.label_names))
    if None in data or None in written or len(written) < len(own) or not data <= set(written):
        return None
    pairs = {str(number): written[number] for number in sorted(written, key=lambda n: n or 0)}
    return f"{labels_option(tuple(pairs))} {map_option(pairs)}"


_REMARKS = {
    Kind.SAME: "",
    Kind.PERMUTED: "; the same names in another order: the columns are permuted",
    Kind.SPELLED: "; the names differ in spelling alone",
    Kind.NUMBERED: "; matched by number",
    Kind.MAPPED: "; by --label-map",
}


def shown(match: Match) -> str:
    """A match in one line."""
    pairs = []
    for name, column in zip(match.data, match.order, strict=True):
        pairs.append(f"{name} <- {match.own[column]} (column {column})")
    return f"labels: {listed(pairs)}{_REMARKS[match.kind]}"
