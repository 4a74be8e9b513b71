"""Which columns may hold the texts and the labels, for advice to people; nothing is decided by it.

Looked at are the first rows of a column, and values below objects by their paths.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, TypeAlias

from logitcache.data.label_cells import TOLERANCE, votes_joined_by
from logitcache.data.names import is_number
from logitcache.data.sources.column_kinds import (
    CONFIDENCE,
    OF_TOLOKA,
    is_mostly_empty,
    no_labels,
    without_answers,
)
from logitcache.data.sources.endings import SPLIT_WORDS
from logitcache.data.sources.nested import LOOKED_AT, head_of, listed_values, paths, with_paths
from logitcache.data.sources.tables import Table
from logitcache.data.values import are_all, present

# Columns that number the rows: an index that pandas wrote, and the like.
NUMBERING = re.compile(
    r"|\s+|unnamed: ?[0-9]+|__index_level_[0-9]+__|id|idx|index|row_?id", re.IGNORECASE
)
_IDENTIFIER = re.compile(r"(^|[^A-Za-z])(id|ID|Id|uuid|guid|key|hash)$|[a-z](ID|Id)$")
# what a provider's answers hold beside their text
_OF_ANSWERS = re.compile(r"\busage\.|_tokens$|\.(status_code|finish_reason|created|model|object)$")
_JOINED_ID = re.compile(
    r"(.*_)?(doc|sent|post|tweet|pair|user|item|row|text|msg|[upqs])id", re.IGNORECASE
)
_WHOLE = re.compile(r"[0-9]{1,9}")
_FEW_NUMBERS = 20
# What Snorkel calls the columns of its labelling functions: votes, of which -1 abstains.
_LABELLING_FUNCTION = re.compile(r"lf[_-].+", re.IGNORECASE)
VOTES_OF_FUNCTIONS = (
    "They are votes of labelling functions: write those of each row as a list of class names in one "
    "column votes, without the ones that abstain (-1); then --label votes, and dump --teacher column:votes"
)
_NUMBER_AT_END = re.compile(r"[0-9]+$")
_DATE = re.compile(r"[0-9]{1,4}([-/.])[0-9]{1,2}\1[0-9]{1,4}")
_OUTSIDE = "O"  # the tag of a word that is no part of a name
_BIO = re.compile("O|[BIESLU](-.+)?")
FEWEST_CLASSES = 10  # values: among fewer one may be alone by chance
FEWEST_VOTERS = 3  # columns of one set of classes: fewer may be a label and another
SENTENCE = 3  # words of a text on average: fewer are rather names
_LABEL_WORDS = (
    "label",
    "class",
    "categ",
    "target",
    "intent",
    "sentiment",
    "rating",
    "stars",
    "score",
    "topic",
    "annotation",
    "emotion",
    "polarity",
    "stance",
    "verdict",
    "gold",
    "completion",
    "relation",
)
_KIND = re.compile(r"(^|[\W_])(type|kind)$", re.IGNORECASE)  # of classes, or of anything else
SPLITS = {*SPLIT_WORDS, "unassigned"}  # the last is Google's
_COUNTED = (("1", "2"), ("A", "B"), (r"(?<![a-z])a(?![a-z])", "b"))  # marks of a first and a second
_BITS = ({"0", "1"}, {"0.0", "1.0"}, {"False", "True"}, {"false", "true"})
Samples: TypeAlias = Mapping[str, Sequence[Any]]  # of each column or path: values of its first rows


def samples(tables: Sequence[Table]) -> dict[str, list[Any]]:
    """The values of the first rows by column, and by path where a column holds objects; of the
    first table that has the column.
    """
    values: dict[str, list[Any]] = {}
    for table in tables:
        names = paths(table)
        columns = with_paths(head_of(table, LOOKED_AT), names).columns
        for name in names:
            if name in columns:
                values.setdefault(name, list(columns[name]))
    return values


def likely_texts(columns: Samples) -> list[str]:
    """The columns of sentences, the longest first, and behind them those whose sentences repeat as
    classes do, such as a prompt's instruction; none that says the same in every row, and no
    :func:`~logitcache.data.sources.column_kinds.without_answers`.
    """
    texts = {}
    for name, values in columns.items():
        words, characters = mean_size(values)
        if words >= SENTENCE and not is_constant(values):
            texts[name] = (recurs(values), -characters)
    return sorted(without_answers(list(texts), columns), key=texts.__getitem__)


def recurs(values: Sequence[Any]) -> bool:
    """Whether most values stand in several rows."""
    return len(set(values)) <= len(values) // 2


def likely_pair(texts: Sequence[str]) -> tuple[str, str] | None:
    """Two columns of sentences whose names differ in what counts them: sentence_A and sentence_B,
    #1 String and #2 String; the shortest such names.
    """
    for first in sorted(texts, key=len):
        for one, two in _COUNTED:
            for match in re.finditer(one, first):
                second = f"{first[: match.start()]}{two}{first[match.end() :]}"
                if second in texts:
                    return first, second
    return None


def is_constant(values: Sequence[Any]) -> bool:
    """Whether texts, two at least, are all the same."""
    are_texts = are_all(values, str)
    return len(values) > 1 and are_texts and len(set(values)) == 1


def mean_size(values: Sequence[Any]) -> tuple[float, float]:
    """Words and characters of a column's values on average; 0 where some are no texts."""
    texts = present(values)
    if not texts or not are_all(texts, str) or all(map(is_number, map(str.strip, texts))):
        return 0, 0
    words = sum(len(text.split()) for text in texts)
    characters = sum(map(len, texts))
    return words / len(texts), characters / len(texts)


def likely_labels(columns: Samples, tables: Sequence[Table] = ()) -> list[str]:
    """The columns whose values repeat as classes do, the likeliest by its name first, but behind
    these one that is mostly empty, and of equals one that names classes before one that numbers
    them. ``tables`` are the splits that they are of: all have some of their values.
    """
    excluded = no_labels(columns)
    ranks = {}
    for name, values in columns.items():
        if name in excluded or _is_called_otherwise(name) or not _repeats(values):
            continue
        are_splits = all(str(value).lower() in SPLITS for value in values)
        if not are_splits and _are_shared(tables, name):
            ranks[name] = _rank(name, columns)
    return sorted(ranks, key=ranks.__getitem__)


def _is_called_otherwise(name: str) -> bool:
    """Whether the name of a column says that it holds no labels."""
    if NUMBERING.fullmatch(name) or _OF_ANSWERS.search(name):
        return True
    return is_identifier(name) or is_labelling_function(name)


def _rank(name: str, columns: Samples) -> tuple[int, bool, bool]:
    """What sorts the columns that may hold labels, the likeliest first."""
    values = present(columns[name])
    are_numbers = all(map(is_number, map(str, values)))
    likely = 1 if _KIND.search(name) else 2
    is_answer = name.startswith(OF_TOLOKA) or f"{name}{CONFIDENCE}" in columns
    if is_called_as_labels(name) or is_answer:
        likely = 0
    if is_mostly_empty(columns[name]):
        likely = 3 if likely or are_numbers else 1
    return likely, are_numbers, len(values) < len(columns[name])


def is_identifier(name: str) -> bool:
    """Whether a column's name says that it identifies something, and not a class."""
    is_id = _IDENTIFIER.search(name) is not None or _JOINED_ID.fullmatch(name) is not None
    return is_id and not is_called_as_labels(name)


def _are_shared(tables: Sequence[Table], name: str) -> bool:
    """Whether some values of each further table are among those of the first, as classes are; true
    of a path below a column.
    """
    values_of_first: set[str] = set()
    for table in tables:
        values = set(map(str, listed_values(table, name))) if name in table.columns else set()
        values_of_first = values_of_first or values
        if values and values.isdisjoint(values_of_first):
            return False
    return True


def is_called_as_labels(name: str) -> bool:
    """Whether the name of a column has a word that columns of labels are called by."""
    return any(word in name.lower() for word in _LABEL_WORDS)


def _repeats(values: Sequence[Any]) -> bool:
    values = present(values)
    if values and are_all(values, Mapping):
        return all(map(_sums_to_one, values))  # by class: other objects have paths
    if not are_all(values, str | int | float):
        return False
    if are_scores(values) or all(map(_DATE.match, map(str, values))):
        return False
    classes = set(values)
    are_joined = are_all(values, str) and votes_joined_by(classes)
    return 2 <= len(classes) <= max(2, len(values) // 2) and not are_joined


def _sums_to_one(numbers: Mapping[Any, Any]) -> bool:
    values = [number or 0 for number in numbers.values()]
    are_numbers = are_all(values, int | float)
    return are_numbers and abs(sum(values) - 1) <= TOLERANCE


def _is_fraction(value: Any) -> bool:
    """Whether it is a number that is not whole, as scores are."""
    number = _float(value) if isinstance(value, str) and is_number(value.strip()) else value
    return isinstance(number, float) and not number.is_integer()


def is_labelling_function(name: str) -> bool:
    """Whether a column is that of a labelling function of Snorkel, which votes for a class or
    abstains.
    """
    return _LABELLING_FUNCTION.fullmatch(name) is not None


def bits(columns: Samples) -> list[str]:
    """The columns of nothing but 0 and 1."""
    return [name for name, values in columns.items() if values and _are_bits(values)]


def _are_bits(values: Sequence[Any]) -> bool:
    return any(pair.issuperset(map(str, values)) for pair in _BITS)


def alike(columns: Iterable[str], name: str) -> list[str]:
    """The columns that differ from this one in a number at their end alone, three at least:
    worker_1, worker_2, worker_3; else none.
    """
    stem = _NUMBER_AT_END.sub("", name)
    names = [other for other in columns if _NUMBER_AT_END.sub("", other) == stem]
    return names if len(names) >= FEWEST_VOTERS else []


def are_scores(values: Sequence[Any]) -> bool:
    """Whether some of these are numbers that are not whole."""
    return any(map(_is_fraction, values))


def voters(columns: Samples) -> list[str]:
    """Three columns or more that hold the same names of classes: the labels of several annotators. Of
    worker_0 to worker_7 beside another such column, which may be what they amount to, the workers.
    """
    by_classes: dict[frozenset[str], list[str]] = {}
    for name, values in columns.items():
        classes = frozenset(map(str, present(values)))
        are_texts = are_all(present(values), str)
        if are_texts and not any(map(is_number, classes)) and _repeats(values):
            by_classes.setdefault(classes, []).append(name)
    largest = max(by_classes.values(), key=len, default=[])
    for name in largest:
        workers = alike(largest, name)
        if workers:
            return workers
    return largest if len(largest) >= FEWEST_VOTERS else []


def shared_out(columns: Samples) -> list[str]:
    """Two columns or more of numbers from 0 to 1 that sum to 1 in every row: one for each class."""
    shares = {name: v for name, v in columns.items() if v and all(map(_is_share, v))}
    lengths = set(map(len, shares.values()))
    if len(shares) < 2 or len(lengths) > 1:
        return []
    rows = list(zip(*shares.values(), strict=True))
    is_constant = len(rows) > 1 and len(set(rows)) == 1
    sums = [sum(map(float, row)) for row in rows]
    if not is_constant and all(abs(total - 1) <= TOLERANCE for total in sums):
        return list(shares)
    return []


def tallied(columns: Samples) -> list[str]:
    """A column of sums, and those beside each other that sum to it in every row, as the votes for
    each class do to the annotators of a row; none elsewhere.
    """
    numbers = {}
    for name, values in columns.items():
        if values and all(map(_WHOLE.fullmatch, map(str, values))):
            numbers[name] = list(map(int, values))
    if len(set(map(len, numbers.values()))) > 1:  # of several tables
        return []
    names = list(numbers)[:_FEW_NUMBERS]
    for start, end in combinations(range(len(names) + 1), 2):
        parts = [numbers[name] for name in names[start:end]]
        varied = [part for part in parts if len(set(part)) > 1]
        if len(varied) < 2:
            continue
        sums = list(map(sum, zip(*parts, strict=True)))
        for total in names[:start] + names[end:]:
            if numbers[total] == sums:
                return [total, *names[start:end]]
    return []


def _is_share(value: Any) -> bool:
    if isinstance(value, str):
        value = _float(value) if is_number(value.strip()) else None
    return isinstance(value, int | float) and 0 <= value <= 1


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # a decimal comma
        return -1


def tags_among(columns: Samples) -> str | None:
    """The column of tags of words, where every row is a word with its columns; None elsewhere."""
    if len(columns) < 2 or not all(map(_are_words, columns.values())):
        return None
    return next((name for name, values in columns.items() if are_tags(values)), None)


def are_tags(values: Sequence[Any]) -> bool:
    """Whether these are tags of words, as in CoNLL files: O is among them, and they repeat."""
    tags = present(values)
    repeats = len(set(tags)) <= max(2, len(tags) // 2)
    return _OUTSIDE in tags and (repeats or are_bio_tags(tags))


def are_bio_tags(values: Sequence[Any]) -> bool:
    """Whether every value is O or a tag such as B-PER, and O is among them."""
    return all(map(is_bio_tag, values)) and _OUTSIDE in values


def is_bio_tag(value: Any) -> bool:
    """Whether it is O or a tag such as B-PER or E-PER."""
    return _BIO.fullmatch(str(value)) is not None


def is_counter(values: Sequence[str]) -> bool:
    """Whether the values count from 1, once or again and again."""
    previous = 0
    for value in values:
        if value not in ("1", str(previous + 1)):
            return False
        previous = int(value)
    return len(values) > 1


def _are_words(values: Sequence[Any]) -> bool:
    texts = present(values)
    if not texts or not are_all(texts, str):
        return False
    return all(len(text.split()) == 1 for text in texts)


def looks_like_row(names: Sequence[str]) -> bool:
    """Whether names are rather the fields of a row: a number, or a sentence."""
    return any(is_number(name.strip()) or len(name.split()) > 4 for name in names)


def are_names(columns: Sequence[Sequence[str]]) -> bool:
    """Whether the first values of columns are surely their names: one stands above numbers alone and
    is none, or above classes and is none of them.
    """
    for name, *below in columns:
        values = present(below)
        are_numbers = all(map(is_number, map(str.strip, values)))
        if values and are_numbers and not is_number(name):
            return True
        if len(values) >= FEWEST_CLASSES and _repeats(values) and name not in values:
            return True
    return False


def option(name: str, column: str) -> str:
    """An option that names a column, as a shell takes it."""
    shown = " ".join(column.split())
    is_word = re.fullmatch(r"[\w.,-]+", shown) is not None
    return f"{name} {shown if is_word else shlex.quote(shown)}"


def similar(name: str, names: Sequence[str]) -> str:
    """The name most like another one; empty where none is."""
    by_form = {other.casefold(): other for other in names}
    close = difflib.get_close_matches(name.casefold(), by_form, n=1, cutoff=0.6)
    return by_form[close[0]] if close else ""
