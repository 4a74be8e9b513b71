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
    own_parts = _differing(own)
    data_parts = _differing(data)
    columns |= _by_beginning(own_parts, data_parts, classes, free)
    classes, free = unmatched(columns, len(data))
    data_ranks = _ranks([data_parts[index] for index in classes])
    own_ranks = _ranks([own_parts[column] for column in free])
    if data_ranks and own_ranks:
        classes = [index for _, index in sorted(zip(data_ranks, classes, strict=True))]
        free = [column for _, column in sorted(zip(own_ranks, free, strict=True))]
    columns |= dict(zip(classes, free, strict=True))
    return pairs_of(own, data, [columns[index] for index in range(len(data))])


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
    likely = []
    for index, column in product(classes, free):
        short, long = sorted((data[index], own[column]), key=len)
        if long.startswith(short) and not short.isdecimal():
            likely.append((index, column))
    class_uses = Counter(index for index, _ in likely)
    column_uses = Counter(column for _, column in likely)
    alone = {}
    for index, column in likely:
        if class_uses[index] == column_uses[column] == 1:
            alone[index] = column
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


def _ranks(names: Sequence[str]) -> list[int]:
    """A number for each name, by which they are sorted: the number in it, its side from no to yes,
    or of a name and the same with a word before it ("toxic" and "not toxic") the longer one first.
    Empty where some name has none, or two have the same.
    """
    for rank in (number_in, _side):
        ranks = [number for number in map(rank, names) if number is not None]
        if len(ranks) == len(names):
            return ranks if len(set(ranks)) == len(ranks) else []
    if len(names) == 2 and len(set(names)) == 2:
        first, second = names
        if first.endswith(second) or second.endswith(first):
            return [-len(first), -len(second)]
    return []


def _side(form: str) -> int | None:
    for side, words in enumerate(_SIDES):
        if form in words:
            return side
    return None


def unmatched(columns: Mapping[int, int], count: int) -> tuple[list[int], list[int]]:
    """The classes, of so many, that have no column yet, and the columns that have no class."""
    everything = set(range(count))
    return sorted(everything - set(columns)), sorted(everything - set(columns.values()))


def number_in(name: str) -> int | None:
    """The one whole number in a name: 4 in "4 stars" and in "four stars"."""
    numbers = []
    for word in folded(name).split():
        number = _COUNTED.index(word) if word in _COUNTED else integer(word)
        if number is not None:
            numbers.append(number)
    return numbers[0] if len(numbers) == 1 else class_number(name)
