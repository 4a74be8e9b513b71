"""Rows to token ids: whatever the tokenizer's ``model_input_names`` ask for, unpadded and ragged, with the identity
columns beside.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from logitcache.data import hub
from logitcache.data.padding import Padding
from logitcache.data.source import Rows
from logitcache.data.spool import BLOCK_ROWS, Spool
from logitcache.errors import SpecError, short
from logitcache.records import Array, Int64, Ragged

KNOWN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Prepared:
    """Tokenised rows of one split (or a selection of them), as ragged columns the collator gathers from."""

    row_id: Int64  # [N]
    row_hash: Int64  # [N]
    label: Int64  # [N]; -1 where there is none
    ids: Ragged  # i32[S]
    segment: Ragged | None  # u8[S]; where the tokenizer gives token_type_ids
    cut: Array  # bool[N]; rows that lost tokens at max_length
    padding: Padding  # how they become a batch: the tokenizer's own way, unless another was chosen

    def __len__(self) -> int:
        return len(self.row_id)

    def select(self, places: Int64) -> Prepared:
        """The rows at these places, in this order; places may repeat."""
        segment = None if self.segment is None else self.segment.select(places)
        return Prepared(
            self.row_id[places],
            self.row_hash[places],
            self.label[places],
            self.ids.select(places),
            segment,
            self.cut[places],
            self.padding,
        )


def load_tokenizer(path: str, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a checkpoint, with a padding token (another special one where it has none: its end, if any).

    Raises SpecError where there is none, where it brings code of its own and is not trusted to run it, or where it asks
    for inputs that are not known here.
    """
    from transformers import AutoTokenizer

    try:
        commit = hub.checkpoint(path, revision)
        settings = {} if commit is None else commit.settings()
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code, **settings)
    except hub.unreadable() as error:
        raise SpecError(f"no tokenizer can be loaded: {hub.why(path, error)}", where=path) from None
    if not trust_remote_code and _stands_in(tokenizer):
        raise SpecError(f"no tokenizer can be loaded: {hub.OWN_CODE}", where=path)
    unknown = _inputs(tokenizer, path) - set(KNOWN_INPUTS)
    if unknown:
        raise SpecError(
            f"expected a tokenizer that gives {', '.join(KNOWN_INPUTS)}, found one that gives "
            f"{', '.join(sorted(unknown))} too. Use a model of plain text.",
            where=path,
        )
    if tokenizer.pad_token is None:
        others = (tokenizer.eos_token, tokenizer.unk_token, *tokenizer.all_special_tokens)
        named = next((token for token in others if token is not None), None)
        if named is None:
            raise SpecError(
                "expected a tokenizer with a special token to pad with, found none. Give it a pad_token.", where=path
            )
        tokenizer.pad_token = named
    return tokenizer


def _inputs(tokenizer: Any, path: str) -> set[str]:
    """Names of what the tokenizer makes of texts: a model called by hand is given all of it. Raises SpecError where it
    cannot read texts.
    """
    try:
        return {*tokenizer.model_input_names, *tokenizer(["a"]), *tokenizer(["a"], ["b"])}
    except Exception as error:  # whatever a tokenizer of tables or pages raises
        own = f"{type(error).__name__}: {short(first_line(error)).rstrip('.')}"
        raise SpecError(
            f"expected a tokenizer that reads texts, found {type(tokenizer).__name__}, which fails on one ({own}). "
            "Use a model of plain text.",
            where=path,
        ) from error


def _stands_in(tokenizer: Any) -> bool:
    """Whether a checkpoint names a tokenizer class of its own: where its code may not run, `transformers` quietly takes
    another that may cut texts otherwise.
    """
    import transformers

    named = tokenizer.init_kwargs.get("auto_map", {}).get("AutoTokenizer") or ()
    classes = [name.split(".")[-1] for name in ([named] if isinstance(named, str) else named) if name]
    return any(not hasattr(transformers, name) for name in classes)


def prepare(tokenizer: Any, rows: Rows, max_length: int, start: int = 0, stop: int | None = None) -> Prepared:
    """Tokenise rows start..stop, cut to ``max_length`` tokens the way the tokenizer truncates."""
    stop = len(rows) if stop is None else stop
    part = slice(start, stop)
    special = tokenizer.num_special_tokens_to_add(pair=rows.text_pair is not None)
    if max_length <= special:
        raise SpecError(
            f"expected a maximum length over {special}, the tokenizer's special tokens, found {max_length}."
        )
    ids, segments, ends, typed = Spool(np.int32), Spool(np.uint8), Spool(np.int64), False
    total, blank = 0, _blank(tokenizer)
    cut = np.zeros(stop - start, np.bool_)
    ends.add([0])
    for first in range(start, stop, BLOCK_ROWS):
        text, pair = rows.texts(first, min(first + BLOCK_ROWS, stop))
        fields = (text,) if pair is None else (text, pair)
        encoded = tokenizer(*fields, truncation=True, max_length=max_length, padding=False, return_attention_mask=False)
        tokens = [row or [blank] for row in encoded["input_ids"]]  # an empty text needs a position too
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
    return Prepared(
        rows.row_id[part],
        rows.row_hash[part],
        rows.label[part],
        Ragged(ids.finish(), indptr),
        Ragged(segments.finish(), indptr) if typed else None,
        cut,
        Padding.of(tokenizer),
    )


def _blank(tokenizer: Any) -> int:
    """The token that stands for a text without any: its end, where it has one."""
    eos: int | None = tokenizer.eos_token_id
    return int(tokenizer.pad_token_id if eos is None else eos)


def _is_cut(tokenizer: Any, encoded: Any, fields: tuple[list[str], ...], row: int, max_length: int) -> bool:
    """Whether a row of ``max_length`` tokens has lost some, or is just that long."""
    if encoded.encodings is not None:
        return bool(encoded.encodings[row].overflowing)
    whole = tokenizer(*([column[row]] for column in fields), truncation=False, verbose=False)
    return len(whole["input_ids"][0]) > max_length


def first_line(error: BaseException) -> str:
    """The first line of a library's message, for one clear line of ours."""
    return str(error).strip().split("\n")[0]
