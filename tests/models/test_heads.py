"""A body and a head make what the model makes, whatever stands behind its last linear map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from logitcache.errors import SpecError
from logitcache.models.call import ModelFailed, ask
from logitcache.models.heads import check_head, has_head, head_of, remakes_logits
from logitcache.models.projection import Projected, Projector, head_logits
from logitcache.models.signals import HEAD_INPUT
from logitcache.records import Batch, Examples, Padding, Ragged, Side
from logitcache.student.distiller import Distiller
from logitcache.student.methods import objective
from tests.language.small_lms import CAUSAL, MASKED, make_config

SCALED = {
    "gemma2": {"final_logit_softcapping": 2.0, "head_dim": 16},
    "cohere": {"logit_scale": 0.3},
    "granite": {"logits_scaling": 5.0},
}


SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
# whose code does more than their last linear map, or does not call it
OTHERS: dict[str, dict[str, Any]] = {
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 2, "max_seq_len": 64, "logit_scale": 0.5},
    "esm": {**SHAPE, "max_position_embeddings": 66, "mask_token_id": 3},
    "mobilebert": {
        **SHAPE,
        "embedding_size": 16,
        "intra_bottleneck_size": 32,
        "true_hidden_size": 32,
    },
    "deberta-v2": {**SHAPE, "legacy": False},
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
        shape = {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
        }
        config = transformers.AutoConfig.for_model(
            kind,
            vocab_size=60,
            num_key_value_heads=1,
            max_position_embeddings=64,
            **shape,
            **SCALED[kind],
        )
    else:
        config = make_config(kind, Words())
    auto = (
        transformers.AutoModelForMaskedLM if kind in MASKED else transformers.AutoModelForCausalLM
    )
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
        hidden = HEAD_INPUT.watch(model)(**inputs).logits
        found = head_logits(hidden, head_of(model))
        again = model(**inputs).logits  # the hook is gone
        cut = head_logits(hidden, head_of(model, 11))
        projected = Projected(hidden.flatten(0, 1), Projector(head_of(model)))
        parts = [projected[start : start + 7].clone() for start in range(0, len(projected), 7)]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(cut, expected[..., :11], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.cat(parts), expected.flatten(0, 1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(again, expected)
    check_head(found[0], expected[0], kind)
    with pytest.raises(SpecError, match="equal to the output layer's"):
        check_head(found[0] * 1.01, expected[0], kind)
    with pytest.raises(SpecError, match="found 60 columns, of the map's 59"):
        check_head(found[0, :, :59], expected[0], kind)
    assert remakes_logits(model, rows_of(), Padding(Side.RIGHT, 0, 0))


def rows_of() -> Examples:
    """Two rows of tokens."""
    numbers = np.arange(2)
    ids = Ragged(np.arange(4, 24), np.array([0, 12, 20]))
    return Examples(
        numbers,
        numbers,
        numbers,
        numbers,
        {"input_ids": ids},
        numbers > 2,
        Padding(Side.RIGHT, 0, 0),
    )


@pytest.mark.parametrize("kind", OTHERS)
def test_a_model_that_does_more_than_its_head_is_noticed(kind: str) -> None:
    torch.manual_seed(0)
    auto: Any = (
        transformers.AutoModelForCausalLM if kind == "mpt" else transformers.AutoModelForMaskedLM
    )
    config = transformers.AutoConfig.for_model(kind, vocab_size=60, pad_token_id=0, **OTHERS[kind])
    model = auto.from_config(config).train()
    if kind == "esm":
        torch.nn.init.ones_(model.lm_head.bias)
    assert not remakes_logits(model, rows_of(), Padding(Side.RIGHT, 0, 0))
    assert model.training


def test_a_cap_that_the_configuration_does_not_name_is_noticed_with_fresh_weights() -> None:
    model = model_of("llama")
    model.get_output_embeddings().weight.data.mul_(1e-3)
    model.get_output_embeddings().register_forward_hook(
        lambda module, inputs, logits: 30 * torch.tanh(logits / 30)
    )
    assert not remakes_logits(model, rows_of(), Padding(Side.RIGHT, 0, 0))


def test_a_student_that_does_more_than_its_head_learns_from_its_own_logits() -> None:
    model = model_of("llama")
    model.get_output_embeddings().register_forward_hook(lambda module, inputs, logits: logits / 8)
    ids = torch.arange(4, 28).reshape(2, 12)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    where = torch.tensor([[0, 3], [1, 5]])
    label, weight = torch.tensor([7, 9]), torch.ones(2)
    numbers = torch.arange(2)
    with pytest.raises(ModelFailed, match=r"^LlamaForCausalLM: expected logits"):
        ask(
            HEAD_INPUT.watch(model),
            {"input_ids": np.array([[99]])},
            Padding(Side.RIGHT, 0, 0),
            per_token=True,
        )
    batch = Batch(numbers, numbers, inputs, where, label, weight, {})
    plain = Distiller(
        model,
        objective("base"),
        Padding(Side.RIGHT, 0, 0),
        per_token=True,
        width=60,
        reads_head=False,
    )
    torch.nn.Module.train(plain)
    torch.nn.Module.eval(model)
    with torch.no_grad():
        logits = model(**inputs).logits[where[:, 0], where[:, 1]]
        expected = torch.nn.functional.cross_entropy(logits, label, reduction="sum")
        torch.testing.assert_close(plain(batch)[0], expected)
