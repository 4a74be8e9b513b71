"""Tokenised rows, kept for the next run of this process that reads the same ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from logitcache import identity
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.rows import Rows
from logitcache.records import Examples

SPLITS = 8  # that are kept
TOKENS = 1 << 25  # of the largest split that is kept: 128 MB

_kept: OrderedDict[str, Examples] = OrderedDict()


def tokenised(tokenizer: Any, reads: Mapping[str, Any], rows: Rows, max_length: int) -> Examples:
    """What :func:`prepare` gives. ``reads`` is what the tokenizer does, as a run records it."""
    if rows.tokens:  # they are tokens already
        return prepare(tokenizer, rows, max_length)
    labels = identity.digest_arrays([("labels", rows.labels)])
    key = identity.digest_json([dict(reads), rows.digest(), labels, max_length])
    if key in _kept:
        _kept.move_to_end(key)
        return _kept[key]
    examples = prepare(tokenizer, rows, max_length)
    if examples.tokens <= TOKENS:
        _kept[key] = examples
    while len(_kept) > SPLITS:
        _kept.popitem(last=False)
    return examples
