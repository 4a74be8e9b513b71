"""Names of classes: spellings of one name, names that are numbers, and options of the command line
that list names.
"""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logitcache.errors import short

# pandas writes whole numbers beside a gap as 1.0
_INTEGER = re.compile(r"([+-]?(?:0|[1-9][0-9]{0,17}))(?:\.0*)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")
_UNNAMED = re.compile(r"label[ _-]?(0|[1-9][0-9]{0,17})", re.IGNORECASE)
# a dash before a digit may be its sign
_BETWEEN = re.compile(r"(?<=[^\W_])(?:[\s_]+|-(?=[^\W\d_]))(?=[^\W_])")
_AT_END = re.compile(r"[0-9]+$")
BOOLEANS = ("false", "true")
LISTED = 20  # so many names are printed in a piece of advice


@dataclass(frozen=True)
class ClassNames:
    """Names in label order that somebody gave. ``numbers[i]`` is what the data writes for
    ``names[i]`` where that was given too; else class i may be written as i.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...] | None = None
    lines_of: str = ""  # the text file whose lines they are: they may be something else


def numbers_from_one(present: Collection[Any], count: int) -> bool:
    """Whether these are the numbers from 1 to ``count``, each of them: so many names are theirs."""
    return set(present) == set(range(1, count + 1))


def folded(name: str) -> str:
    """A name without what people write differently: case, and spaces, ``_`` or ``-`` between words.

    A dash is kept at either end and before a digit, where it may be a sign: "A-" is not "A", nor is
    "level -1" "level 1".
    """
    composed = unicodedata.normalize("NFC", name).strip()
    return _BETWEEN.sub(" ", composed).casefold()


def folds(names: Iterable[str]) -> dict[str, str]:
    """The names by their folded form, without those that share one with another name."""
    by_form: dict[str, list[str]] = {}
    for name in names:
        by_form.setdefault(folded(name), []).append(name)
    return {form: members[0] for form, members in by_form.items() if len(members) == 1}


def integer(text: str) -> int | None:
    """The whole number that a text is, "1.0" too; None for any other text ("03" is a name)."""
    match = _INTEGER.fullmatch(text)
    return None if match is None else int(match[1])


def is_number(text: str) -> bool:
    """Whether a text is a decimal number, with a point or a comma."""
    return _NUMBER.fullmatch(text) is not None


def class_number(name: str) -> int | None:
    """The number of a class that is named by nothing else: "2", "LABEL_2", "False" (0) and "True"
    (1); else None.
    """
    if name.casefold() in BOOLEANS:
        return BOOLEANS.index(name.casefold())
    unnamed = _UNNAMED.fullmatch(name)
    return integer(name) if unnamed is None else int(unnamed[1])


def is_unnamed(name: str) -> bool:
    """Whether a name is LABEL_0, LABEL_1, ...: what `transformers` calls a column that nobody
    named.
    """
    return _UNNAMED.fullmatch(name) is not None


def listed(names: Sequence[str], limit: int = 8) -> str:
    """Names for a sentence: the first ones, and how many there are."""
    shortened = f", … ({len(names)})" if len(names) > limit else ""
    return ", ".join(names[:limit]) + shortened


def listed_short(names: Iterable[str], limit: int = 8) -> str:
    """The same, each name on a part of a line, whatever somebody has written there."""
    return listed(list(map(short, names)), limit)


def collapsed(names: Sequence[str], most: int = 8) -> list[str]:
    """The names of columns; of more than ``most`` that differ in the number at their end alone, what
    they begin with and their count, in the place of the first.
    """
    counts = Counter(_AT_END.sub("*", name) for name in names)
    shown = []
    for name in names:
        pattern = _AT_END.sub("*", name)
        count = counts[pattern]
        shown.append(name if count <= most else f"{pattern} ({count} columns)")
    return list(dict.fromkeys(shown))


def labels_option(names: Sequence[str]) -> str:
    """``--labels`` with these names, as a shell reads it."""
    value = json.dumps(list(names))
    if all(map(_is_plain, names)) and not names[0].startswith("["):
        value = ",".join(names)
    return f"--labels {shlex.quote(value)}"


def map_option(pairs: Mapping[str, str]) -> str:
    """``--label-map`` with these pairs of a class of the data and one of the teacher, as a shell
    reads it.
    """
    value = json.dumps(pairs)
    has_equals = any("=" in name for name in pairs)
    if (
        all(map(_is_plain, (*pairs, *pairs.values())))
        and not has_equals
        and not next(iter(pairs)).startswith("{")
    ):
        value = ",".join(f"{data}={teacher}" for data, teacher in pairs.items())
    return f"--label-map {shlex.quote(value)}"


def _is_plain(name: str) -> bool:
    return name.isprintable() and "," not in name and name == name.strip() and name != ""
