"""A checkpoint's configuration of outputs, precision, problem and padding: mended or refused."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from logitcache.records import Padding

NEW_PAD = "<|pad|>"  # of a tokenizer without a token to pad with


def configurations(model: PreTrainedModel) -> list[Any]:
    """The model's configuration and those nested in it, each once."""
    return _nested(model.config)


def _nested(config: Any) -> list[Any]:
    parts = {id(config): config}
    for name in getattr(config, "sub_configs", {}):
        inner = getattr(config, name, None)
        if inner is not None:
            parts |= {id(part): part for part in _nested(inner)}
    return list(parts.values())


def plain_outputs(config: Any) -> None:
    """Ask for logits by name and for nothing else, whatever the configuration says."""
    for part in _nested(config):
        part.return_dict = True
        part.output_hidden_states = False
        part.output_attentions = False


def single_precision(config: Any) -> None:
    """Fresh weights are drawn and trained in single precision, nested models' too."""
    for part in _nested(config):
        part.dtype = torch.float32


def pads_by_config(model: PreTrainedModel, tokenizer: Any) -> Padding:
    """The tokenizer's side, filled with the padding token that the model itself goes by.

    That is the one its configuration names: decoders find a row's last token by it. Where the
    configuration names none, or one that no text can hold, a row asked alone is read at its last
    token: then the padding is ``free``, and the model gets the tokenizer's token.
    """
    own = Padding.of(tokenizer)
    pad_token = model.config.get_text_config().pad_token_id
    if is_token(pad_token, model):
        return Padding(own.side, pad_token, own.segment, own.mask)
    name_pad_token(model, own.token)
    return Padding(own.side, own.token, own.segment, own.mask, free=True)


def is_token(token: Any, model: PreTrainedModel) -> bool:
    """Whether the model has an embedding for it."""
    return type(token) is int and 0 <= token < embeddings(model, 2**31)


def embeddings(model: PreTrainedModel, otherwise: int) -> int:
    """Tokens that the model has embeddings for; ``otherwise`` where it has no table (CANINE)."""
    try:
        table: Any = model.get_input_embeddings()
    except NotImplementedError:
        return otherwise
    return int(getattr(table, "num_embeddings", otherwise))


def name_pad_token(model: PreTrainedModel, token: int) -> None:
    """Write the padding token wherever the model, or whoever loads it, looks for it."""
    for config in configurations(model):
        if hasattr(config, "pad_token_id"):
            config.pad_token_id = token
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.pad_token_id = token


def agree_on_pad_token(model: PreTrainedModel, tokenizer: Any) -> None:
    """Student and tokenizer name one padding token: saved, it answers in batches as alone.

    The model's own stays where the tokenizer has it among its special tokens: decoders read a row
    by it, and encoders like RoBERTa count positions from it. Any other token of the vocabulary
    would become special by being named, and texts would be cut otherwise; then the model takes one
    of the tokenizer's. Encoders that count positions from theirs keep it: they heed the attention
    mask, whatever the filling is.
    """
    pad_token = model.config.get_text_config().pad_token_id
    if is_token(pad_token, model) and pad_token in _special(tokenizer):
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad_token)
        return
    if pad_token is not None and counts_from_padding(model):
        return
    _choose_pad_token(model, tokenizer)
    name_pad_token(model, tokenizer.pad_token_id)


def _choose_pad_token(model: PreTrainedModel, tokenizer: Any) -> None:
    """The tokenizer's own padding token, if no row can end in it, or else a new one: a decoder
    would read a row that ends in its padding token at an earlier place.
    """
    ends = {row[-1] for row in tokenizer(["a", "b c"])["input_ids"] if row}
    if tokenizer.pad_token_id not in {tokenizer.eos_token_id, tokenizer.unk_token_id, *ends}:
        return
    tokenizer.add_special_tokens({"pad_token": NEW_PAD})
    make_room_for_pad_token(model, tokenizer)


def make_room_for_pad_token(model: PreTrainedModel, tokenizer: Any) -> None:
    """An embedding for a padding token added to the tokenizer, for this student or earlier."""
    if tokenizer.pad_token == NEW_PAD and embeddings(model, len(tokenizer)) < len(tokenizer):
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)


def _special(tokenizer: Any) -> set[int]:
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return {
        *tokenizer.all_special_ids,
        *(token for token, content in added.items() if content.special),
    }


def counts_from_padding(model: PreTrainedModel) -> bool:
    """Whether positions are counted from the padding token's number, as in RoBERTa and its kin."""
    tables = (
        module for name, module in model.named_modules() if name.endswith("position_embeddings")
    )
    return any(getattr(table, "padding_idx", None) is not None for table in tables)
