"""What the data doctor finds: kinds of fault, how many rows each has, and the first of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from logitcache.data.rows import Source
from logitcache.errors import short

Bool = npt.NDArray[np.bool_]

BEFORE = 20  # characters of a quotation in front of what is wrong in it


class Fault(Enum):
    """What may be wrong with rows; the value is its name in ``check --json``."""

    EMPTY = "empty"
    NO_ANSWER = "no-answer"
    CONTRADICTION = "contradiction"
    NEAR_CONTRADICTION = "near-contradiction"
    LEAK = "leak"
    NEAR_LEAK = "near-leak"
    SIMILAR_LEAK = "similar-leak"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near-duplicate"
    REPLACEMENT = "replacement-character"
    MOJIBAKE = "mojibake"
    NUL = "nul"
    CONTROL = "control-character"
    INVISIBLE = "invisible-character"
    HTML = "html"
    ESCAPE = "escape"
    BYTES = "bytes"
    MISSING = "missing-word"
    NO_WORD = "no-word"
    NUMBER = "number"
    OBJECT = "json-object"
    LONG = "long"
    UNLABELLED = "unlabelled"
    ONLY_IN_HELD_OUT = "class-not-in-train"
    NOT_IN_HELD_OUT = "class-not-in-split"
    NO_ROWS = "class-without-rows"
    FEW_ROWS = "class-with-few-rows"
    IMBALANCE = "imbalance"
    OTHER_SHARES = "other-shares"
    IDENTIFIERS = "labels-like-identifiers"
    SCORES = "labels-like-scores"
    LABEL_IN_TEXT = "label-in-text"


SERIOUS = frozenset(
    {
        *(Fault.EMPTY, Fault.CONTRADICTION, Fault.NEAR_CONTRADICTION, Fault.LEAK, Fault.NEAR_LEAK),
        *(Fault.REPLACEMENT, Fault.MOJIBAKE, Fault.NUL, Fault.NUMBER, Fault.LABEL_IN_TEXT),
        Fault.OBJECT,
        *(Fault.ONLY_IN_HELD_OUT, Fault.IDENTIFIERS, Fault.SCORES, Fault.NO_ANSWER),
    }
)

OF_CLASSES = frozenset(
    {
        *(Fault.ONLY_IN_HELD_OUT, Fault.NOT_IN_HELD_OUT, Fault.NO_ROWS, Fault.FEW_ROWS),
        *(Fault.IDENTIFIERS, Fault.SCORES),
    }
)

MEANINGS = {
    Fault.EMPTY: "texts without a character other than spaces",
    Fault.NO_ANSWER: "conversations without an answer of the assistant, and prompts without a completion",
    Fault.CONTRADICTION: "equal texts with different labels",
    Fault.NEAR_CONTRADICTION: "texts equal but for case and spaces, with different labels",
    Fault.LEAK: "texts that are in train too: these rows do not measure generalisation",
    Fault.NEAR_LEAK: "texts that are in train too, but for case and spaces",
    Fault.SIMILAR_LEAK: "texts that are in train too, but for case, punctuation and digits",
    Fault.DUPLICATE: "repeat an earlier text and its label",
    Fault.NEAR_DUPLICATE: "repeat an earlier text but for case, punctuation and digits",
    Fault.REPLACEMENT: "replacement characters (U+FFFD): letters were lost when the file was decoded",
    Fault.MOJIBAKE: "UTF-8 that was decoded as Latin-1 or Windows-1252",
    Fault.NUL: "NUL characters",
    Fault.CONTROL: "control characters",
    Fault.INVISIBLE: "invisible characters: zero width, byte order marks, changes of direction",
    Fault.HTML: "HTML tags or entities",
    Fault.ESCAPE: r"escapes written out, such as \n or \u00e9",
    Fault.BYTES: "bytes written as Python prints them",
    Fault.MISSING: "words for a missing or a removed text",
    Fault.NO_WORD: "texts without a letter or a digit",
    Fault.NUMBER: "texts that are numbers alone: is it the right column?",
    Fault.OBJECT: "texts that are objects of JSON: name a value in them, as --text COLUMN.KEY",
    Fault.LONG: "longer than a model reads: they are cut",
    Fault.UNLABELLED: "without a label",
    Fault.ONLY_IN_HELD_OUT: "no training row has them: they cannot be learnt",
    Fault.NOT_IN_HELD_OUT: "not scored, for the split has no row of them",
    Fault.NO_ROWS: "named, but without any row",
    Fault.FEW_ROWS: "fewer than 10 training rows each",
    Fault.IMBALANCE: "of one class: compare macro_f1 rather than accuracy",
    Fault.OTHER_SHARES: "their classes have other shares than in train",
    Fault.IDENTIFIERS: "one row each, as identifiers or texts have: is it the right column?",
    Fault.SCORES: "whole numbers that look like scores or counts, each of which is a class",
    Fault.LABEL_IN_TEXT: "the name of the label is part of the text",
}


@dataclass(frozen=True)
class Finding:
    """Rows (or classes) of a split that somebody should look at before training."""

    fault: Fault
    split: str
    count: int
    of: int  # how many there are
    place: str | None = None  # where the user finds the first of them
    text: str | None = None  # the first of them, cut
    detail: str = ""

    @property
    def is_serious(self) -> bool:
        return self.fault in SERIOUS

    @property
    def unit(self) -> str:
        """What is counted."""
        return "classes" if self.fault in OF_CLASSES else "rows"

    def to_dict(self) -> dict[str, Any]:
        first = None if self.place is None else {"place": self.place, "text": self.text}
        return {
            "kind": self.fault.value,
            "level": "serious" if self.is_serious else "note",
            "split": self.split,
            "unit": self.unit,
            "count": self.count,
            "of": self.of,
            "first": first,
            "detail": self.detail,
            "meaning": MEANINGS[self.fault],
        }


def finding_of(fault: Fault, source: Source, split: str, has_fault: Bool) -> Finding:
    """The finding of the rows of a split that ``has_fault`` bool[N] marks, one at least, with the
    place and the text of the first.
    """
    rows = source.splits[split]
    first = int(has_fault.argmax())
    text = quoted(rows.text[first].as_py())
    place = source.place_at(split, first)
    return Finding(fault, split, int(has_fault.sum()), len(rows), place, text)


def quoted(text: str, start: int = 0) -> str:
    """A text on part of one line, from a little before its character ``start``."""
    begin = max(0, start - BEFORE)
    return short(f"…{text[begin:]}" if begin else text)
