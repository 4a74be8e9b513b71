"""Which column is likely to answer for which class, where names do not say it: advice to be looked
at, and never taken unasked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product

from logitcache.data.names import class_number, folded, folds, integer, map_option
from logitcache.records import Int64

# Words that stand for a number, or for a side of a scale.
_COUNTED = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_SIDES = (
    ("negative", "neg", "no", "n", "false", "f", "bad"),
    ("neutral", "neu"),
    ("positive", "pos", "yes", "y", "true", "t", "good"),
)


def map_advice(pairs: Mapping[str, str]) -> str:
    """What to do where classes have to be matched by hand."""
    return f"Say which is which, for example (look at every pair): {map_option(pairs)}"


def suggestion(own: tuple[str, ...], data: tuple[str, ...]) -> dict[str, str]:
    """A column for every class of the data, to be looked at by whoever knows both: by name as far
    as names go, also where one begins with the other ("neg" and "negative"), the words that all
    names of a side share apart ("__label__neg"); the others by the numbers in them ("4" and
    "4 stars"), or from no to yes ("negative", "false", "not toxic"), where both sides say it, else
    in order.
    """
    columns: dict[int, int] = {}
    own_forms = folds(own)
    for form, name in folds(data).items():
        if class_number(name) is None and form in own_forms:
            columns[data.index(name)] = own.index(own_forms[form])
    classes, free = unmatched(columns, len(data))
    own_parts, data_parts = _differing(own), _differing(data)
    columns.update(_by_beginning(own_parts, data_parts, classes, free))
    classes, free = unmatched(columns, len(data))
    data_order = _ascending([data_parts[index] for index in classes])
    own_order = _ascending([own_parts[column] for column in free])
    if data_order is not None and own_order is not None:
        classes = [classes[place] for place in data_order]
        free = [free[place] for place in own_order]
    columns.update(zip(classes, free, strict=True))
    return pairs_of(own, data, [columns[i] for i in range(len(data))])


def _differing(names: Sequence[str]) -> list[str]:
    """The folded names without the words that all of them begin or end with."""
    rows = [folded(name).split() for name in names]
    for end in (0, -1):
        while all(len(row) > 1 and row[end] == rows[0][end] for row in rows):
            for row in rows:
                del row[end]
    return list(map(" ".join, rows))


def _by_beginning(
    own: Sequence[str], data: Sequence[str], classes: Sequence[int], free: Sequence[int]
) -> dict[int, int]:
    """The columns of classes of which one name begins with the other and with no other class's."""
    likely: dict[int, list[int]] = {index: [] for index in classes}
    for index, column in product(classes, free):
        short, long = sorted((data[index], own[column]), key=len)
        if long.startswith(short) and not short.isdecimal():
            likely[index].append(column)
    uses = Counter(column for columns in likely.values() for column in columns)
    alone = {}
    for index, columns in likely.items():
        if len(columns) == 1 and uses[columns[0]] == 1:
            alone[index] = columns[0]
    return alone


def pairs_of(
    own: tuple[str, ...], data: tuple[str, ...], order: Sequence[int] | Int64
) -> dict[str, str]:
    """A label map that gives this order; a column whose name is not its own alone is named by its
    number.
    """
    pairs = {}
    for name, column in zip(data, order, strict=True):
        is_unique = own.count(own[column]) == 1
        pairs[name] = own[column] if is_unique else f"LABEL_{column}"
    return pairs


def _ascending(names: Sequence[str]) -> list[int] | None:
    """The places of names from the least to the greatest: by their numbers, from no to yes, or the
    negated one first; None where they do not say it, each another.
    """
    numbers = list(map(number_in, names))
    if None in numbers:
        numbers = list(map(_side, names))
    if None in numbers and len(names) == 2:
        numbers = _negated(names[0], names[1])
    if None in numbers or len(set(numbers)) < len(names):
        return None
    return sorted(range(len(names)), key=lambda place: numbers[place] or 0)


def _side(form: str) -> int | None:
    return next((side for side, words in enumerate(_SIDES) if form in words), None)


def _negated(first: str, second: str) -> list[int | None]:
    """The sides of a name and of the same with a word before it: "toxic" and "not toxic"."""
    if first.endswith(second) and first != second:
        return [0, 1]
    if second.endswith(first) and first != second:
        return [1, 0]
    return [None, None]


def unmatched(columns: Mapping[int, int], count: int) -> tuple[list[int], list[int]]:
    """The classes, of so many, that have no column yet, and the columns that have no class."""
    classes = [index for index in range(count) if index not in columns]
    free = [column for column in range(count) if column not in columns.values()]
    return classes, free


def number_in(name: str) -> int | None:
    """The one whole number in a name: 4 in "4 stars" and in "four stars"."""
    words = folded(name).split()
    numbers = [number for number in map(integer, words) if number is not None]
    numbers += [_COUNTED.index(word) for word in words if word in _COUNTED]
    return numbers[0] if len(numbers) == 1 else class_number(name)
