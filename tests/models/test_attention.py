"""Queries, keys, values, scores and maps replayed from a layer's input are the model's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from logitcache.models.attention import FAMILIES, attention_of, from_assets, projection_of
from logitcache.models.signals import signal_of

SHAPE = {"vocab_size": 60, "max_position_embeddings": 64, "hidden_size": 48, "num_hidden_layers": 3,
         "num_attention_heads": 4, "intermediate_size": 64, "pad_token_id": 0}  # fmt: skip
MODERN = {"global_attn_every_n_layers": 2, "local_attention": 6}
OTHERS = {
    "distilbert": {"vocab_size": 60, "max_position_embeddings": 64, "dim": 48, "n_layers": 3, "n_heads": 4,
                   "hidden_dim": 64, "pad_token_id": 0},
    "gpt2": {"vocab_size": 60, "n_positions": 64, "n_embd": 48, "n_layer": 3, "n_head": 4, "n_inner": 64},
    "modernbert": {**SHAPE, **MODERN, "attention_bias": True},
}  # fmt: skip
TOKENS = 11


def family(kind: str) -> Any:
    """A small model with weights large enough that attention is not uniform."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **OTHERS.get(kind, SHAPE))
    config._attn_implementation = "eager"
    model = transformers.AutoModel.from_config(config).eval()
    with torch.no_grad():
        torch.nn.init.normal_(model.get_input_embeddings().weight)
        for layer in range(1, 4):
            for parameter in projection_of(model, layer).parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.5)
    return model


def inputs() -> dict[str, torch.Tensor]:
    ids = torch.arange(3, 3 + 2 * TOKENS).reshape(2, TOKENS)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("layer", [1, 2, -1])
@pytest.mark.parametrize("kind", [*FAMILIES])
def test_attention_follows_from_the_cached_input(kind: str, layer: int) -> None:
    """From what a cache keeps: halves of the input, and the projections once."""
    model = family(kind)
    signal = signal_of(f"attention-input:{layer}").resolved(model)
    number = int(signal.name.partition(":")[2])
    batch = inputs()
    with torch.no_grad():
        states = signal.watch(model)(**batch).logits
        maps = model(**batch, output_attentions=True).attentions[number - 1]
        live = attention_of(model, number)
        attention = from_assets(signal.assets(model), signal.name)
        cached = states.half().float()
        for replayed, own in zip(attention.projected(cached), live.projected(states), strict=True):
            torch.testing.assert_close(replayed, own, rtol=2e-3, atol=1e-2)
        for kept, tolerance in ((states, 1e-5), (cached, 1e-2)):
            is_token = batch["attention_mask"].bool()
            sees = attention.attends(is_token)
            replayed = attention.scores(kept).product().masked_fill(~sees, -torch.inf).softmax(-1)
            for row, length in enumerate((TOKENS, 7)):
                torch.testing.assert_close(
                    replayed[row, :, :length], maps[row, :, :length], rtol=tolerance, atol=tolerance
                )
    assert np.ptp(maps[0, 0, -1].numpy()) > 0.01  # not uniform: the test would see a wrong score
