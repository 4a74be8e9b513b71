"""Tiny language models, their word tokenizers, and texts of known lengths."""

from __future__ import annotations

import random
from typing import Any

WORDS = tuple(f"w{number}" for number in range(40))
CHAT = (
    "{% for m in messages %}<|start|> {{ m.role }} <|body|> {{ m.content }} <|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|> assistant <|body|> {% endif %}"
)
CHAT_SPECIAL = ("<|start|>", "<|body|>", "<|end|>")
ROLES = ("system", "user", "assistant")
LIMIT = 64
CAUSAL = ("gpt2", "llama", "qwen3", "gemma", "gemma2", "gemma3_text", "smollm3")
MASKED = ("bert", "roberta", "modernbert")
CODECS = ("topk:k=4", "sampled:n=8", "varopt:mean=4")
TASK_OF = {"gpt2": "causal-lm", "bert": "masked-lm"}
VOCABULARY = {"gpt2": 48, "bert": 51}  # words


def document(draw: random.Random, words: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(words))


def make_tokenizer(kind: str = "causal", side: str = "right", limit: int = LIMIT) -> Any:
    """A word is a token. Causal: an end token and no other; masked: [CLS] ... [SEP]."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    if kind == "masked":
        special = {
            name: f"[{name[:-6].upper()}]"
            for name in ("pad_token", "cls_token", "sep_token", "mask_token")
        }
        special["unk_token"] = "<unk>"
    names = dict.fromkeys([*special.values(), *CHAT_SPECIAL, *ROLES, *WORDS])
    tokenizer = Tokenizer(
        models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if kind == "masked":
        ids = [
            (special[name], list(names).index(special[name])) for name in ("cls_token", "sep_token")
        ]
        tokenizer.post_processor = processors.TemplateProcessing(
            "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", ids
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **special,
        additional_special_tokens=list(CHAT_SPECIAL),
        chat_template=CHAT,
        padding_side=side,
        model_max_length=limit,
        model_input_names=["input_ids", "attention_mask"],
    )


def make_config(
    kind: str, tokenizer: Any, limit: int = LIMIT, filling: int = 0, local: int = 128
) -> Any:
    import transformers

    shape = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    if kind == "gpt2":
        shape = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": limit}
    elif kind not in MASKED:
        shape |= {"num_key_value_heads": 1, "head_dim": 16}
    elif kind == "modernbert":
        shape |= {"local_attention": local, "global_attn_every_n_layers": 2}
    positions = limit + 2 if kind == "roberta" else limit
    length = {} if kind == "gpt2" else {"max_position_embeddings": positions}
    named = {
        name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")
    }
    if kind in MASKED:
        named |= {"cls_token_id": tokenizer.cls_token_id, "sep_token_id": tokenizer.sep_token_id}
    settings = {
        **shape,
        **length,
        **named,
        "initializer_range": 0.3,
        "vocab_size": len(tokenizer) + filling,
    }
    return transformers.AutoConfig.for_model(kind, **settings)
