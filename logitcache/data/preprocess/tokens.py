"""Rows to token ids: whatever the tokenizer's ``model_input_names`` ask for, unpadded and ragged,
with the identity columns beside.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

from logitcache.data.preprocess import packing, words
from logitcache.data.rows import Rows
from logitcache.data.spool import Spool
from logitcache.errors import SpecError
from logitcache.records import Examples, Ragged


def prepare(
    tokenizer: Any, rows: Rows, max_length: int, start: int = 0, stop: int | None = None
) -> Examples:
    """Rows start..stop as tokens without padding, cut to ``max_length`` tokens the way the tokenizer
    truncates. Raises SpecError where not one token of a text would be left.
    """
    stop = len(rows) if stop is None else stop
    if rows.tokens:
        return packing.examples(tokenizer, rows, start, stop, max_length)
    if rows.tags is not None:
        return words.prepare(tokenizer, rows, max_length, start, stop)
    special = tokenizer.num_special_tokens_to_add(pair=rows.text_pair is not None)
    if max_length <= special:
        raise SpecError(
            expected=f"a maximum length over {special}, the tokenizer's special tokens",
            found=max_length,
        )
    ids = Spool(np.int32)
    segments = Spool(np.uint8)
    ends = Spool(np.int64)
    typed = False
    total = 0
    blank = _blank(tokenizer)
    cut = np.zeros(stop - start, np.bool_)
    ends.add([0])
    for first, text, pair in rows.text_blocks(start, stop):
        fields = (text,) if pair is None else (text, pair)
        encoded = tokenizer(
            *fields,
            truncation=True,
            max_length=max_length,
            padding=False,
            return_attention_mask=False,
        )
        # an empty text needs a position too
        tokens = [row or [blank] for row in encoded["input_ids"]]
        length = np.fromiter(map(len, tokens), np.int64, len(tokens))
        ends.add(total + np.cumsum(length))
        total += int(length.sum())
        for row in np.flatnonzero(length >= max_length).tolist():
            cut[first - start + row] = _is_cut(tokenizer, encoded, fields, row, max_length)
        ids.add(np.fromiter(chain.from_iterable(tokens), np.int32))
        typed = "token_type_ids" in encoded
        if typed:
            kinds = (row or [0] for row in encoded["token_type_ids"])
            segments.add(np.fromiter(chain.from_iterable(kinds), np.uint8))
    indptr = ends.finish()
    inputs = {"input_ids": Ragged(ids.finish(), indptr)}
    if typed:
        inputs["token_type_ids"] = Ragged(segments.finish(), indptr)
    return words.examples(tokenizer, rows, start, stop, inputs, cut)


def _blank(tokenizer: Any) -> int:
    """The token that stands for a text without any: its end, where it has one."""
    eos: int | None = tokenizer.eos_token_id
    return int(tokenizer.pad_token_id if eos is None else eos)


def _is_cut(
    tokenizer: Any, encoded: Any, fields: tuple[list[str], ...], row: int, max_length: int
) -> bool:
    """Whether a row of ``max_length`` tokens has lost some, or is just that long."""
    if encoded.encodings is not None:
        return bool(encoded.encodings[row].overflowing)
    uncut = tokenizer(*([column[row]] for column in fields), truncation=False, verbose=False)
    return len(uncut["input_ids"][0]) > max_length
