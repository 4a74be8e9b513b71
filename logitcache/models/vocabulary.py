"""A vocabulary learnt from rows, for students and teachers made from nothing else.

Whoever learns one holds a lock, and others that want the same wait for it. Its folder appears whole
or not at all.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from logitcache.models.load import load_tokenizer
from logitcache.reporter import SILENT, Reporter
from logitcache.store import files
from logitcache.store.lock import lock_folder

ALPHABET = 1000  # characters a learnt vocabulary knows


def build_tokenizer(
    texts: list[str], size: int, max_length: int, folder: Path, reporter: Reporter = SILENT
) -> Any:
    """A lower-case WordPiece tokenizer learnt from these texts, saved in (and loaded from)
    ``folder``.

    For students and teachers made from nothing but rows. The folder's name should tell the texts
    apart. ``reporter`` is told whom this waits for. Raises DiskError.
    """
    if not _is_complete(folder):
        content = f"the vocabulary {folder.name}"
        lock = lock_folder(
            folder.parent,
            name=f".{folder.name}.lock",
            wait=math.inf,
            content=content,
            reporter=reporter,
        )
        try:
            if not _is_complete(folder):
                _learn(texts, size, max_length, folder)
        finally:
            lock.release()
    return load_tokenizer(str(folder))


def _is_complete(folder: Path) -> bool:
    return (folder / "tokenizer.json").is_file() and (folder / "tokenizer_config.json").is_file()


def _learn(texts: list[str], size: int, max_length: int, folder: Path) -> None:
    """Learn it, save it beside its place, and move it there."""
    from transformers import BertTokenizer

    vocabulary = _learn_vocabulary(texts, size)
    tokenizer = BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=max_length)
    # by a process that was killed: this one has the lock
    for left in folder.parent.glob(f".{folder.name}-*"):
        if left.is_dir() and not left.is_symlink():
            files.remove_folder(left)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        beside = Path(scratch) / folder.name
        with files.written_by_library(folder.parent, "the vocabulary"):
            tokenizer.save_pretrained(beside)
        for path in beside.iterdir():
            files.sync_file(path)
        with files.disk(folder):
            if folder.is_dir():  # without a tokenizer in it, or with a part of one
                for path in beside.iterdir():
                    files.system.replace(path, folder / path.name)
            else:
                files.system.replace(beside, folder)
            files.sync_folder(folder.parent)


def _learn_vocabulary(texts: list[str], size: int) -> dict[str, int]:
    """WordPiece vocabulary of at most ``size`` tokens: the same texts always give the same one.

    The trainer numbers continuation characters (``##a``) in the order of a hash map and breaks ties
    by number, so a plain training differs from run to run. Numbering them first, as if they were
    special, takes the chance out.
    """
    from tokenizers import BertWordPieceTokenizer

    learner = BertWordPieceTokenizer(lowercase=True)
    characters: Counter[str] = Counter()
    for text in texts:
        characters.update("".join(learner.normalizer.normalize_str(text).split()))
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
