"""A body and a head make what the model makes, whatever stands behind its last linear map."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from logitcache.errors import SpecError
from logitcache.models.heads import check_head, has_head, head_input, head_of
from logitcache.models.projection import head_logits
from tests.language.small_lms import CAUSAL, MASKED, make_config

SCALED = {
    "gemma2": {"final_logit_softcapping": 2.0, "head_dim": 16},
    "cohere": {"logit_scale": 0.3},
    "granite": {"logits_scaling": 5.0},
}


class Words:
    """What a configuration asks of a tokenizer."""

    bos_token_id = cls_token_id = 1
    eos_token_id = sep_token_id = 2
    pad_token_id = 0

    def __len__(self) -> int:
        return 60


def model_of(kind: str) -> Any:
    torch.manual_seed(0)
    if kind in SCALED:
        shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        config = transformers.AutoConfig.for_model(
            kind, vocab_size=60, num_key_value_heads=1, max_position_embeddings=64, **shape, **SCALED[kind]
        )
    else:
        config = make_config(kind, Words())
    auto = transformers.AutoModelForMaskedLM if kind in MASKED else transformers.AutoModelForCausalLM
    return auto.from_config(config).eval()


@pytest.mark.parametrize("kind", [*CAUSAL, *MASKED, *SCALED])
def test_head_and_body_are_the_model(kind: str) -> None:
    model = model_of(kind)
    ids = torch.arange(3, 27).reshape(2, 12)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    inputs["attention_mask"][1, 9:] = 0
    assert has_head(model)
    with torch.no_grad():
        expected = model(**inputs).logits
        hidden = head_input(model, inputs)
        found = head_logits(hidden, head_of(model))
        again = model(**inputs).logits  # the hook is gone
        cut = head_logits(hidden, head_of(model, 11))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(cut, expected[..., :11], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(again, expected)
    check_head(found[0], expected[0], kind)
    with pytest.raises(SpecError, match="its last linear map's"):
        check_head(found[0] * 1.01, expected[0], kind)
