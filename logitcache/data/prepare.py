"""Rows to token ids: whatever the tokenizer's ``model_input_names`` ask for, unpadded and ragged, with the identity
columns beside.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from logitcache import identity
from logitcache.data import hub
from logitcache.data.source import Rows
from logitcache.data.spool import BLOCK_ROWS, Spool
from logitcache.errors import SpecError
from logitcache.records import Int64, Ragged

ALPHABET = 1000  # characters a learnt vocabulary knows
SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
KNOWN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Prepared:
    """Tokenised rows of one split (or a selection of them), as ragged columns the collator gathers from."""

    row_id: Int64  # [N]
    row_hash: Int64  # [N]
    label: Int64  # [N]; -1 where there is none
    ids: Ragged  # i32[S]
    segment: Ragged | None  # u8[S]; where the tokenizer gives token_type_ids
    pad_id: int
    pad_segment: int
    at_limit: int  # rows of max_length tokens: cut there, or just that long

    def __len__(self) -> int:
        return len(self.row_id)

    def select(self, places: Int64) -> Prepared:
        """The rows at these places, in this order; places may repeat."""
        segment = None if self.segment is None else self.segment.select(places)
        columns = (self.row_id[places], self.row_hash[places], self.label[places], self.ids.select(places), segment)
        return Prepared(*columns, self.pad_id, self.pad_segment, self.at_limit)


def load_tokenizer(path: str, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a checkpoint, with a padding token (its end-of-text token where it has none).

    Raises SpecError where there is none, where it brings code of its own and is not trusted to run it, or where it asks
    for inputs that are not known here.
    """
    from transformers import AutoTokenizer

    try:
        commit = hub.checkpoint(path, revision)
        settings = {} if commit is None else commit.settings()
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code, **settings)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise SpecError(f"no tokenizer can be loaded: {hub.why(path, error)}", where=path) from None
    if not trust_remote_code and _stands_in(tokenizer):
        raise SpecError(f"no tokenizer can be loaded: {hub.OWN_CODE}", where=path)
    unknown = set(tokenizer.model_input_names) - set(KNOWN_INPUTS)
    if unknown:
        raise SpecError(
            f"the tokenizer asks for {', '.join(sorted(unknown))}; known are {', '.join(KNOWN_INPUTS)}.", where=path
        )
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise SpecError(
                "the tokenizer has neither a padding nor an end token: give it a padding token.", where=path
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


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
    total, at_limit = 0, 0
    ends.add([0])
    for first in range(start, stop, BLOCK_ROWS):
        text, pair = rows.texts(first, min(first + BLOCK_ROWS, stop))
        fields = (text,) if pair is None else (text, pair)
        encoded = tokenizer(*fields, truncation=True, max_length=max_length, padding=False, return_attention_mask=False)
        found = [row or [tokenizer.pad_token_id] for row in encoded["input_ids"]]  # an empty text needs a position too
        length = np.fromiter(map(len, found), np.int64, len(found))
        ends.add(total + np.cumsum(length))
        total, at_limit = total + int(length.sum()), at_limit + int((length >= max_length).sum())
        ids.add(np.fromiter(chain.from_iterable(found), np.int32))
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
        tokenizer.pad_token_id,
        tokenizer.pad_token_type_id,
        at_limit,
    )


def cut_places(tokenizer: Any, rows: Rows, prepared: Prepared, places: Int64, max_length: int) -> Int64:
    """Which of the prepared rows were cut: those that with room for one more token have one more. ``places`` i64[N]:
    where each prepared row stands in ``rows``.
    """
    full = np.flatnonzero(prepared.ids.lengths() >= max_length)
    longer = prepare(tokenizer, rows.select(places[full]), max_length + 1)
    return full[longer.ids.lengths() > max_length]


def tokenizer_fingerprint(tokenizer: Any) -> dict[str, Any]:
    """What makes two tokenizers the same: the map from token to id, the special ids, ids of a fixed probe text, and
    the side that long texts are cut on.
    """
    probe = "Zwölf Boxkämpfer: 3.14, don't—naïve 東京 \t <mask> [SEP]"
    return {
        "vocabulary": identity.digest_json(tokenizer.get_vocab()),
        "special": {
            name: int(i) for name in SPECIAL if (i := getattr(tokenizer, f"{name}_token_id", None)) is not None
        },
        "probe": identity.digest_json(tokenizer(probe, probe)["input_ids"]),
        "truncation_side": tokenizer.truncation_side,
    }


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


def first_line(error: BaseException) -> str:
    """The first line of a library's message, for one clear line of ours."""
    return str(error).strip().split("\n")[0]
