"""Vocabularies made of one embedded list of words, in the forms that kinds of tokenizers take.
Nothing is learnt: the same words always give the same pieces.
"""

from __future__ import annotations

import string
from collections.abc import Iterable

from tests.words import BAD, GOOD, PLAIN

Merge = tuple[str, str]

WORDS = (*PLAIN, *GOOD, "quick", "clever", "fresh", *BAD, "slow", "stale", "wooden")
UNLISTED = ("zigzag", "vexing", "quartz")  # in no vocabulary: cut into letters
LETTERS = string.ascii_lowercase
BLANK = "▁"  # how sentencepiece writes a blank
AMINO_ACIDS = "LAGVSERTIDPKQNFYMHWC"


def numbered(pieces: Iterable[str]) -> dict[str, int]:
    """Pieces numbered in their order, each once."""
    return {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}


def wordpieces(special: Iterable[str]) -> dict[str, int]:
    """A WordPiece vocabulary: whole words, letters, and letters that continue a word."""
    return numbered([*special, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)])


def byte_symbols() -> list[str]:
    """The 256 characters that stand for bytes in byte-level BPE, those of printable bytes first."""
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def byte_merges(special: Iterable[str]) -> tuple[dict[str, int], list[Merge]]:
    """A byte-level BPE of the words, each with a blank before it."""
    return _merged([*special, *byte_symbols()], [f"Ġ{word}" for word in WORDS])


def blank_merges(special: Iterable[str]) -> tuple[dict[str, int], list[Merge]]:
    """A BPE as sentencepiece makes it, with a piece for each byte that is in no other piece."""
    single = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), BLANK, *LETTERS]
    return _merged(single, [f"{BLANK}{word}" for word in WORDS])


def ended_merges(special: Iterable[str]) -> tuple[dict[str, int], list[Merge]]:
    """A BPE whose words end in ``</w>``."""
    vocabulary = [*special, *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    return _merged(vocabulary, WORDS, end="</w>")


def _merged(
    single: Iterable[str], words: Iterable[str], end: str = ""
) -> tuple[dict[str, int], list[Merge]]:
    """The vocabulary and the merges that build each word from its left."""
    pieces, merges = list(single), []
    for word in words:
        symbols = [*word[:-1], f"{word[-1]}{end}"]
        left = symbols[0]
        for symbol in symbols[1:]:
            merges.append((left, symbol))
            left = f"{left}{symbol}"
            pieces.append(left)
    return numbered(pieces), list(dict.fromkeys(merges))


def scored(special: Iterable[str]) -> list[tuple[str, float]]:
    """A unigram vocabulary with log-probabilities: words are likelier than their letters."""
    words = [(f"{BLANK}{word}", -4.0) for word in WORDS]
    letters = [(letter, -8.0) for letter in (BLANK, *LETTERS)]
    return [*((token, 0.0) for token in special), *words, *letters]
