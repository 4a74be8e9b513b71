"""Rows of mixed lengths for the models of the zoo: single texts and pairs, of words or of amino
acids.
"""

from __future__ import annotations

import random
from typing import Any

from tests.families.vocabularies import AMINO_ACIDS, UNLISTED, WORDS
from tests.families.zoo import FAMILIES, LABELS

ROWS = 48
LONGEST = 40  # words of a text
KINDS = ("single", "pair")


def table(name: str, kind: str) -> dict[str, Any]:
    """``text`` (and ``text_pair``) of 1 to 40 words and a ``label`` of each row. Lengths are spread
    evenly, in a random order; the same family gets the same rows.
    """
    draw = random.Random(0)
    words = AMINO_ACIDS if FAMILIES[name].proteins else (*WORDS, *UNLISTED)
    columns = {"text": _texts(draw, words)}
    if kind == "pair":
        columns["text_pair"] = _texts(draw, words)
    return {**columns, "label": [LABELS[i % len(LABELS)] for i in range(ROWS)]}


def _texts(draw: random.Random, words: Any) -> list[str]:
    lengths = [1 + i * LONGEST // ROWS for i in range(ROWS)]
    draw.shuffle(lengths)
    texts = [" ".join(draw.choice(words) for _ in range(length)) for length in lengths]
    # CANINE, by hand, fails on texts of one letter
    return ["it" if text == "a" else text for text in texts]
