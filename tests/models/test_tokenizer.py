"""A tokenizer's fingerprint changes with what it does, in the part that has changed, and with
nothing else.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from logitcache.models.load import load_tokenizer
from logitcache.models.tokenizer import tokenizer_fingerprint
from logitcache.store.manifest import differences
from tests.conftest import make_tokenizer

PIECES = (
    ("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("<pad>", 0.0), ("▁", -2.0), ("▁the", -3.123456789), ("film", -4.1),
    *((letter, -6.0) for letter in "abcdefghijklmnopqrstuvwxyz"),
)  # fmt: skip


def unigram() -> Any:
    backend = Tokenizer(models.Unigram(list(PIECES), unk_id=0))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    special = [("<s>", 1), ("</s>", 2)]
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=special
    )
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=48, **names
    )


MAKERS: dict[str, Callable[[], Any]] = {
    "bert": lambda: make_tokenizer("bert"),
    "roberta": lambda: make_tokenizer("roberta"),
    "gpt2": lambda: make_tokenizer("gpt2-right"),
    "unigram": unigram,
    "python": lambda: transformers.ByT5Tokenizer(extra_ids=3),
}
FAST = [name for name in MAKERS if name != "python"]


@cache
def original(kind: str) -> Any:
    return MAKERS[kind]()


@cache
def fingerprint(kind: str) -> dict[str, Any]:
    return tokenizer_fingerprint(original(kind))


def changed_parts(kind: str, other: Any) -> list[str]:
    return [name for name, _, _ in differences(fingerprint(kind), tokenizer_fingerprint(other))]


@pytest.mark.parametrize("kind", MAKERS)
def test_a_copy_a_new_one_and_what_was_saved_and_loaded_are_the_same(
    kind: str, tmp_path: Path
) -> None:
    tokenizer = copy.deepcopy(original(kind))
    assert not changed_parts(kind, tokenizer)
    assert not changed_parts(kind, MAKERS[kind]())
    if tokenizer.pad_token is None:  # as load_tokenizer gives one
        tokenizer.pad_token = tokenizer.eos_token
    before = tokenizer_fingerprint(tokenizer)
    for place in ("once", "twice"):
        tokenizer.save_pretrained(tmp_path / place)
        for file in (tmp_path / place).glob("*.json"):  # laid out in another way
            file.write_text(
                json.dumps(
                    json.loads(file.read_text()), indent=7, sort_keys=True, ensure_ascii=True
                )
            )
        tokenizer = load_tokenizer(str(tmp_path / place))
        assert not list(differences(before, tokenizer_fingerprint(tokenizer)))


@pytest.mark.parametrize("kind", MAKERS)
@given(
    texts=st.lists(st.text(), min_size=1, max_size=4),
    limit=st.one_of(st.none(), st.integers(4, 40)),
    padding=st.booleans(),
    side=st.sampled_from(["left", "right"]),
)
def test_what_was_asked_before_does_not_count_and_is_left_as_it_was(
    kind: str, texts: list[str], limit: int | None, padding: bool, side: str
) -> None:
    tokenizer = original(kind)
    if padding and tokenizer.pad_token is None:
        padding = False
    how: dict[str, Any] = {"padding_side": side} if padding else {}
    tokenizer(texts, truncation=limit is not None, max_length=limit, padding=padding, **how)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state = None if backend is None else backend.to_str()
    assert not changed_parts(kind, tokenizer)
    assert state == (None if backend is None else backend.to_str())


def backend_with(name: str, value: Any) -> Callable[[Any], None]:
    return lambda tokenizer: setattr(tokenizer.backend_tokenizer, name, value)


def with_setting(name: str, value: Any) -> Callable[[Any], None]:
    return lambda tokenizer: setattr(tokenizer, name, value)


def edited(change: Callable[[dict[str, Any]], None]) -> Callable[[Any], None]:
    """The library's object with its document changed."""

    def edit(tokenizer: Any) -> None:
        document = json.loads(tokenizer.backend_tokenizer.to_str())
        change(document)
        tokenizer._tokenizer = Tokenizer.from_str(json.dumps(document))

    return edit


def exchanged(document: dict[str, Any]) -> None:
    """Two words change numbers."""
    words = document["model"]["vocab"]
    words["film"], words["story"] = words["story"], words["film"]


CHANGES: list[tuple[str, str, Callable[[Any], Any]]] = [
    ("bert", "normalizer", backend_with("normalizer", normalizers.BertNormalizer(lowercase=False))),
    ("bert", "normalizer", backend_with("normalizer", None)),
    ("bert", "pre_tokenizer", backend_with("pre_tokenizer", pre_tokenizers.Whitespace())),
    (
        "bert",
        "post_processor",
        backend_with("post_processor", processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))),
    ),
    ("bert", "vocabulary", edited(exchanged)),
    (
        "bert",
        "model",
        edited(lambda document: document["model"].update(max_input_chars_per_word=5)),
    ),
    ("bert", "inputs", with_setting("model_input_names", ["input_ids", "attention_mask"])),
    ("bert", "truncation_side", with_setting("truncation_side", "left")),
    ("bert", "padding_side", with_setting("padding_side", "left")),
    ("bert", "split_special_tokens", with_setting("split_special_tokens", True)),
    ("bert", "special.pad", with_setting("pad_token", "[SEP]")),
    ("bert", "special.pad_type", with_setting("_pad_token_type_id", 1)),
    ("bert", "added_tokens", lambda tokenizer: tokenizer.add_tokens(["quite-new"])),
    (
        "bert",
        "added_tokens",
        lambda tokenizer: tokenizer.add_tokens([AddedToken("film", lstrip=True)]),
    ),
    (
        "roberta",
        "pre_tokenizer",
        backend_with("pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=True)),
    ),
    ("roberta", "merges", edited(lambda document: document["model"]["merges"].reverse())),
    ("roberta", "model", edited(lambda document: document["model"].update(ignore_merges=True))),
    ("gpt2", "post_processor", with_setting("add_eos_token", True)),
    ("gpt2", "special.pad", with_setting("pad_token", "<|endoftext|>")),
    (
        "unigram",
        "vocabulary",
        edited(lambda document: document["model"]["vocab"][5].__setitem__(1, -9.5)),
    ),
    ("unigram", "normalizer", backend_with("normalizer", normalizers.NFKC())),
    ("python", "added_tokens", lambda tokenizer: tokenizer.add_tokens(["quite-new"])),
    ("python", "truncation_side", with_setting("truncation_side", "left")),
]


# Parts that may change with another one.
FOLLOWING = (
    "added_tokens",
    "special.pad",
    "vocabulary",
    "worked_examples.ids",
    "worked_examples.token_types",
)


@pytest.mark.parametrize(
    ("kind", "part", "change"), CHANGES, ids=[f"{kind} {part}" for kind, part, _ in CHANGES]
)
def test_the_part_that_has_changed_is_named(
    kind: str, part: str, change: Callable[[Any], Any]
) -> None:
    other = copy.deepcopy(original(kind))
    change(other)
    parts = changed_parts(kind, other)
    assert part in parts
    assert set(parts) <= {part, *FOLLOWING}


def test_tokenizers_of_python_are_told_by_their_settings() -> None:
    class Cased(transformers.ByT5Tokenizer):
        def __init__(self, lower: bool = False, **kwargs: Any) -> None:
            self.lower = lower
            super().__init__(**kwargs)

        def _tokenize(self, text: str) -> list[str]:
            return super()._tokenize(text.lower() if self.lower else text)

    one, other = (tokenizer_fingerprint(Cased(lower)) for lower in (False, True))
    assert [name for name, _, _ in differences(one, other)] == [
        "settings.lower",
        "worked_examples.ids",
    ]


def test_a_tokenizer_that_cannot_read_some_text_has_a_fingerprint() -> None:
    """A word-piece model without a token for what it does not know raises where it meets it."""
    backend = Tokenizer(models.WordPiece({"film": 0, "[PAD]": 1}, unk_token="[UNK]"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]")
    assert tokenizer_fingerprint(tokenizer) == tokenizer_fingerprint(copy.deepcopy(tokenizer))
