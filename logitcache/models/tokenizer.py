"""What a tokenizer does, part by part: one fingerprint, the same tokens of every text.

Each part has a name of its own (``normalizer``, ``merges``, ``truncation_side``, ...), so that
whoever compares two fingerprints can say what differs. A part is read from the tokenizer in memory,
never from its files: neither where it came from nor how its files are laid out counts, and saving,
loading or copying it changes nothing. Nor does what it was asked before: the padding and the
truncation of an earlier call are left out, and put back where they were.

Cost: one pass over vocabulary and merges, about a second for 250,000 tokens.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from logitcache import identity
from logitcache.models.own_code import code_digest

SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
BACKEND_PARTS = ("normalizer", "pre_tokenizer", "post_processor")
# Arguments of a tokenizer's class that say where it came from, or are parts of their own.
NO_SETTINGS = {
    "name_or_path",
    "model_max_length",
    "chat_template",
    "backend",
    "padding_side",
    "truncation_side",
}
EXAMPLE_LENGTH = 16  # tokens that an example is cut to, to see what becomes of long texts
EXAMPLES = (
    "The film was lovely, and its music charming.",
    "UPPER lower MiXeD isn't DON'T can’t",
    "  leading and   inner spaces, trailing  ",
    "tabs\tand\nlines\r\nand \u00a0 no-break, zero\u200bwidth, \ufeffmark",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich",
    "cafe\u0301 café naïve façade Ångström ﬁne İstanbul ẞ",
    "ｆｕｌｌ－ｗｉｄｔｈ ＡＢＣ １２３ ﾊﾝｶｸ ①②③ x² ½",
    "東京は日本の首都です。北京 서울 ภาษาไทย",
    "Привет, мир! Γειά σου κόσμε שלום עולם مرحبا بالعالم नमस्ते",
    "3.14 1,000,000 2024-05-06 12:30 0x1F 50% $9.99 1e-5 007",
    "e-mail@example.com https://example.com/a?b=c&d=e#f",
    "don't—stop… “quoted” ‘single’ «guillemets» (a) [b] {c} <d> /e/ \\f\\",
    "emoji 😀👍🏽 👨‍👩‍👧 flags 🇩🇪 maths ∑∫√∞ ≠",
    "control \x00\x07\x1b\x7f characters \ufffd",
    "averyveryverylongwordwithoutanyspace" * 4,
    "def f(x):\n    return x ** 2  # code",
    "",
    " ",
)


def tokenizer_fingerprint(tokenizer: Any) -> dict[str, Any]:
    """The parts of a tokenizer by name: digests, or the value itself where it is short. JSON."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    own = _python_parts(tokenizer) if backend is None else _backend_parts(tokenizer, backend)
    code = code_digest(tokenizer)
    return {
        **own,
        **({} if code is None else {"code": code}),
        "added_tokens": identity.digest_json(_added_tokens(tokenizer)),
        "inputs": list(tokenizer.model_input_names),
        "padding_side": tokenizer.padding_side,
        "special": _special(tokenizer),
        "split_special_tokens": bool(getattr(tokenizer, "split_special_tokens", False)),
        "truncation_side": tokenizer.truncation_side,
        "worked_examples": _worked_examples(tokenizer, backend),
    }


def _backend_parts(tokenizer: Any, backend: Any) -> dict[str, Any]:
    """What the library `tokenizers` computes. Its decoder is left out: it makes texts."""
    document = json.loads(backend.to_str())
    model = dict(document["model"])
    vocabulary = tokenizer.get_vocab()
    entries = model.pop("vocab", None)  # of a unigram model with their scores
    texts = [identity.canonical_json(vocabulary)] * 2  # where both are the same, written once
    if entries != vocabulary:
        texts[1] = identity.canonical_json(entries)
    merges = []
    for merge in model.pop("merges", None) or []:
        merges.append(merge.split(" ") if isinstance(merge, str) else merge)
    parts = {name: identity.digest_json(document.get(name)) for name in BACKEND_PARTS}
    return {
        "vocabulary": identity.digest_bytes(b"[%b,%b]" % tuple(texts)),
        "merges": identity.digest_json(merges),
        "model": identity.digest_json(model),
        **parts,
    }


def _python_parts(tokenizer: Any) -> dict[str, Any]:
    """A tokenizer written in Python: its class, its arguments, its vocabulary and merges."""
    ranks = getattr(tokenizer, "bpe_ranks", None) or {}
    pieces = getattr(tokenizer, "sp_model", None)
    model = b"" if pieces is None else pieces.serialized_model_proto()
    return {
        "class": type(tokenizer).__name__,
        "settings": _settings(tokenizer),
        "vocabulary": identity.digest_json(tokenizer.get_vocab()),
        "merges": identity.digest_json(sorted([str(merge), rank] for merge, rank in ranks.items())),
        "model": identity.digest_bytes(model),
    }


def _settings(tokenizer: Any) -> dict[str, Any]:
    """The plain values among the arguments of the tokenizer's class, as the tokenizer has them now."""
    names: set[str] = set()
    for kind in type(tokenizer).__mro__:
        if "__init__" in vars(kind) and kind is not object:
            names |= inspect.signature(vars(kind)["__init__"]).parameters.keys()
    settings = {}
    for name in sorted(names - set(NO_SETTINGS)):
        if name.endswith(("_file", "_token")):
            continue
        value = getattr(tokenizer, name, None)
        if isinstance(value, bool | int | float | str):
            settings[name] = value
    return settings


def _added_tokens(tokenizer: Any) -> list[Any]:
    """Each token that is looked for before a text is cut up: id, text and how it is looked for."""
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    added: Mapping[int, Any] = tokenizer.added_tokens_decoder
    tokens: list[list[Any]] = []
    for i in sorted(added):
        token = added[i]
        traits = [bool(getattr(token, flag)) for flag in flags]
        tokens.append([int(i), str(token), *traits])
    return tokens


def _special(tokenizer: Any) -> dict[str, int]:
    """The ids of the special tokens that there are, and the token type of padding."""
    ids = {name: getattr(tokenizer, f"{name}_token_id", None) for name in SPECIAL}
    numbers = {name: int(number) for name, number in ids.items() if number is not None}
    return {**numbers, "pad_type": int(tokenizer.pad_token_type_id)}


def _worked_examples(tokenizer: Any, backend: Any) -> dict[str, str]:
    """Digests of the ids and of the token types of fixed texts: alone, in pairs, and cut."""
    texts = list(EXAMPLES)
    for token in sorted(set(tokenizer.all_special_tokens)):
        texts.append(f"a {token} b{token}C  {token} ")
    with _state_kept(backend):
        encoded = [_encoded(tokenizer, text) for text in texts]
        encoded += [_encoded(tokenizer, *pair) for pair in pairwise(texts)]
        cut = {"truncation": True, "max_length": EXAMPLE_LENGTH}
        encoded.append(_encoded(tokenizer, texts[0] * 3, **cut))
        encoded.append(_encoded(tokenizer, texts[0] * 3, texts[1], **cut))
    ids = [example.get("input_ids") for example in encoded]
    types = [example.get("token_type_ids") for example in encoded]
    return {"ids": identity.digest_json(ids), "token_types": identity.digest_json(types)}


def _encoded(tokenizer: Any, *fields: str, **how: Any) -> dict[str, Any]:
    """Ids and token types of one example; nothing if the tokenizer cannot read it (a trait too)."""
    try:
        encoding = tokenizer(*fields, verbose=False, **how)
    except (
        Exception
    ):  # the library `tokenizers` raises no other kind: for a character without a token, say
        return {}
    return {
        name: list(encoding[name]) for name in ("input_ids", "token_type_ids") if name in encoding
    }


@contextmanager
def _state_kept(backend: Any) -> Iterator[None]:
    """The padding and truncation of the last call stay in the library's object, and are saved."""
    if backend is None:
        yield
        return
    truncation = backend.truncation
    padding = backend.padding
    special = backend.encode_special_tokens
    try:
        yield
    finally:
        backend.no_truncation() if truncation is None else backend.enable_truncation(**truncation)
        backend.no_padding() if padding is None else backend.enable_padding(**padding)
        backend.encode_special_tokens = special
