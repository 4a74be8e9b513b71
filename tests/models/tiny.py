"""Tiny classifiers of several kinds, whose tokenizer and configuration name padding in every way
that people's do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tests.shortly import examples

WORDS = (
    "the",
    "film",
    "was",
    "bright",
    "dull",
    "warm",
    "cold",
    "and",
    "very",
    "honest",
    "noisy",
    "its",
    "music",
)
LABELS = ("neg", "pos", "none")
LIMIT = 32  # tokens
ROWS = examples(12, 24)  # of mixed lengths, each asked alone too
TEMPLATES = {
    "bert": ("<cls> $A <sep>", "<cls> $A <sep> $B:1 <sep>:1"),
    "xlnet": ("$A:0 <sep>:0 <cls>:2", "$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2"),
    "open": ("$A", "$A $B"),
    "closed": ("$A </s>", "$A </s> $B </s>"),
}
SPECIAL = {
    "bert": {
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "cls_token": "<cls>",
        "sep_token": "<sep>",
    },
    "xlnet": {
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "cls_token": "<cls>",
        "sep_token": "<sep>",
    },
    "open": {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
    "closed": {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "<pad>"},
}


@dataclass(frozen=True)
class Kind:
    """One way of padding. ``pad``: the token that the configuration names, by name or number; None
    for none.
    """

    model: str
    style: str
    side: str = "right"
    pad: str | int | None = "<pad>"
    pads: bool = True  # the tokenizer names a padding token
    mask: bool = True  # and gives an attention mask

    def __str__(self) -> str:
        named = {None: "nothing"}.get(self.pad, self.pad)  # type: ignore[arg-type]
        more = ("" if self.pads else "-unpadded") + ("" if self.mask else "-unmasked")
        return f"{self.model}-{self.style}-{self.side}-{named}{more}"


KINDS = (
    Kind("bert", "bert"),
    Kind("bert", "bert", "left"),
    Kind("bert", "bert", mask=False),
    Kind("roberta", "closed", pad="<unk>"),
    Kind("xlnet", "xlnet", "left"),
    Kind("xlnet", "xlnet", "right"),
    Kind("fnet", "bert", mask=False),
    Kind("fnet", "bert"),
    Kind("gpt2", "open", pad=None),
    Kind("gpt2", "open", "left", pad=None, pads=False),
    Kind("gpt2", "closed", pad=None, pads=False),
    Kind("gpt2", "closed", pad="</s>"),
    Kind("gpt2", "open", pad="<unk>"),
    Kind("gpt2", "open", pad=-1),
    Kind("gpt2", "open", pad=1000),
    Kind("llama", "open", "left", pad=None),
    Kind("llama", "open", pad="<unk>"),
    Kind("llama", "closed", "left", pad="</s>"),
    Kind("llama", "open", "left", pad="the"),
    Kind("llama", "closed", pad=-1, pads=False),
)


def make_tokenizer(kind: Kind) -> Any:
    special = dict(SPECIAL[kind.style])
    if not kind.pads:
        del special["pad_token"]
    tokens = dict.fromkeys([*SPECIAL[kind.style].values(), *WORDS])
    vocabulary = {token: number for number, token in enumerate(tokens)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    single, pair = TEMPLATES[kind.style]
    used = [(token, vocabulary[token]) for token in special.values() if token in pair]
    made.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=used
    )  # type: ignore[assignment]
    names = ["input_ids"]
    names += (
        ["token_type_ids"] if kind.style in ("bert", "xlnet") and kind.model != "roberta" else []
    )
    names += ["attention_mask"] if kind.mask else []
    settings = {"model_max_length": LIMIT, "padding_side": kind.side, "model_input_names": names}
    if kind.style == "xlnet":
        settings["pad_token_type_id"] = 3
    fast: Any = transformers.PreTrainedTokenizerFast
    return fast(tokenizer_object=made, **special, **settings)


def make_config(kind: Kind, tokenizer: Any) -> Any:
    pad = tokenizer.convert_tokens_to_ids(kind.pad) if isinstance(kind.pad, str) else kind.pad
    common = {
        "vocab_size": len(tokenizer),
        "pad_token_id": pad,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
        "initializer_range": 0.4,
        "id2label": dict(enumerate(LABELS)),
        "label2id": {name: number for number, name in enumerate(LABELS)},
    }
    wide = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    positions = {"max_position_embeddings": LIMIT}
    if kind.model == "bert":
        return transformers.BertConfig(**common, **wide, **positions)
    if kind.model == "roberta":
        return transformers.RobertaConfig(
            **common, **wide, max_position_embeddings=LIMIT + 2, type_vocab_size=1
        )
    if kind.model == "fnet":
        del wide["num_attention_heads"]
        return transformers.FNetConfig(**common, **wide, **positions)
    if kind.model == "xlnet":
        return transformers.XLNetConfig(**common, d_model=16, n_layer=1, n_head=2, d_inner=32)
    if kind.model == "gpt2":
        return transformers.GPT2Config(**common, n_embd=16, n_layer=1, n_head=2, n_positions=LIMIT)
    return transformers.LlamaConfig(**common, **wide, **positions, num_key_value_heads=2)


def make(kind: Kind, folder: Path, seed: int = 0) -> Path:
    """The checkpoint, saved with its tokenizer."""
    tokenizer = make_tokenizer(kind)
    torch.manual_seed(seed)
    model = transformers.AutoModelForSequenceClassification.from_config(
        make_config(kind, tokenizer)
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def by_hand(model: Any, tokenizer: Any, texts: list[str], pairs: list[str] | None) -> torch.Tensor:
    """Logits of each row asked alone, with nothing of ours between: f[N, K]."""
    parts = []
    for row, text in enumerate(texts):
        fields = (text,) if pairs is None else (text, pairs[row])
        inputs = tokenizer(*fields, truncation=True, max_length=LIMIT, return_tensors="pt")
        parts.append(model(**inputs, return_dict=True).logits)
    return torch.cat(parts)
