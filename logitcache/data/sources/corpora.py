"""Files of corpora that hold no texts to read: tokens, and dumps of Wikipedia. It is said how to write
their texts.
"""

from __future__ import annotations

import bz2
from pathlib import Path

import numpy as np

from logitcache.data.sources.advice import pandas_command, reshape
from logitcache.data.sources.nested import LOOKED_AT, first_values, holds
from logitcache.data.sources.tables import Table

_TOKENIZER = "transformers.AutoTokenizer.from_pretrained('TOKENIZER')"
_MADE_BY = "with the tokenizer that made them in place of TOKENIZER"
_COLUMNS = ("input_ids", "token_ids", "tokens")
_HEAD = 1 << 12  # bytes


def corpus_advice(path: Path) -> str:
    """How to write the texts of a file of tokens or of a dump of Wikipedia; empty for others."""
    names = path.name.lower()
    if names.endswith((".xml", ".xml.bz2")):
        return _of_wikipedia(path)
    if names.endswith(".bin"):
        read = f"numpy.fromfile({str(path)!r}, 'uint16')"
        what = "If it holds tokens of 16 bits, as nanoGPT writes them"
    elif names.endswith(".npy") and _are_numbers(path):
        read = f"numpy.load({str(path)!r}).ravel()"
        what = "If its numbers are tokens"
    else:
        return ""
    command = (
        f"import json, numpy, transformers; k = {_TOKENIZER}; t = {read}; end = t == k.eos_token_id; "
        "[print(json.dumps({'text': k.decode(d[d != k.eos_token_id])})) "
        "for d in numpy.split(t, numpy.flatnonzero(end) + 1) if (d != k.eos_token_id).any()]"
    )
    return f'{what}, write the texts of its documents, {_MADE_BY}: python -c "{command}" > {path.stem}.jsonl'


def _are_numbers(path: Path) -> bool:
    """Whether a file of numpy holds whole numbers."""
    try:
        numbers = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return False
    return bool(np.issubdtype(numbers.dtype, np.integer))


def _of_wikipedia(path: Path) -> str:
    """How to write the pages of a dump as rows; empty for another file."""
    is_packed = path.suffix.lower() == ".bz2"
    try:
        with bz2.open(path) if is_packed else path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, EOFError):
        return ""
    if b"<mediawiki" not in head:
        return ""
    name = path.name.partition(".")[0]
    command = reshape("wikipedia", [path], out=f"{name}.jsonl")
    return f"Write the text of each page as a row, with its markup (wikiextractor takes that out): {command}"


def token_columns_advice(table: Table) -> str:
    """How to write the texts of rows that are tokens; empty for other rows."""
    for name in _COLUMNS:
        values = first_values(table.columns[name], LOOKED_AT) if holds(table, name, list) else []
        if values and all(isinstance(token, int) for value in values for token in value or []):
            lines = (
                f"import transformers; k = {_TOKENIZER}; "
                f"t['text'] = [k.decode(i, skip_special_tokens=True) for i in t[{name!r}]]; t = t[['text']]"
            )
            command = pandas_command(table.path, lines)
            return f" Texts of the tokens, {_MADE_BY}: {command}" if command else ""
    return ""
