"""A vocabulary learnt from rows, for students and teachers made from nothing else."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from logitcache.data.prepare import load_tokenizer

ALPHABET = 1000  # characters a learnt vocabulary knows


def build_tokenizer(texts: list[str], size: int, max_length: int, folder: Path) -> Any:
    """A lower-case WordPiece tokenizer learnt from these texts, saved in (and loaded from) ``folder``.

    For students and teachers made from nothing but rows. The folder's name should tell the texts apart.
    """
    from transformers import BertTokenizer

    if not (folder / "tokenizer.json").is_file():
        vocabulary = _learn_vocabulary(texts, size)
        made = BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=max_length)
        made.save_pretrained(folder)
    return load_tokenizer(str(folder))


def _learn_vocabulary(texts: list[str], size: int) -> dict[str, int]:
    """WordPiece vocabulary of at most ``size`` tokens: the same texts always give the same one.

    The trainer numbers continuation characters (``##a``) in the order of a hash map and breaks ties by number, so a
    plain training differs from run to run. Numbering them first, as if they were special, takes the chance out.
    """
    from tokenizers import BertWordPieceTokenizer

    learner = BertWordPieceTokenizer(lowercase=True)
    characters = Counter(c for text in texts for c in learner.normalizer.normalize_str(text) if not c.isspace())
    alphabet = sorted(characters, key=lambda c: (-characters[c], c))[:ALPHABET]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    learner.train_from_iterator(
        texts,
        vocab_size=size,
        min_frequency=2,
        limit_alphabet=ALPHABET,
        show_progress=False,
        special_tokens=special + [f"##{c}" for c in alphabet],
    )
    vocabulary: dict[str, int] = json.loads(learner.to_str())["model"]["vocab"]
    return vocabulary
