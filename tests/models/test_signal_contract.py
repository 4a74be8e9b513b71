"""What holds for every signal, one from outside among them: what the last layer's MLP gives."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from logitcache.config.signals import NAMES
from logitcache.errors import SpecError
from logitcache.models.attention import layers_of
from logitcache.models.call import ModelFailed, ask_several
from logitcache.models.signals import (
    KINDS,
    LOGITS,
    SIGNALS,
    AttentionInput,
    Projected,
    Signal,
    signal_of,
    together,
    watched,
)
from logitcache.records import Padding, Side
from tests.models.test_heads import model_of

MODELS = ("gpt2", "bert", "gemma2")
NAMED = ("hidden:0", "hidden:1", "hidden:-1", "attention-input:1", "attention-input:-1",
         "query:1", "value:2", "pooled", "pooled:first")  # fmt: skip
LENGTHS = (9, 4)


class LayerOutput(Signal):
    """What the last layer gives, before the body's last normalisation."""

    name = "layer-output"

    def width(self, model: Any) -> int:
        return int(model.config.hidden_size)

    def observe(self, model: Any, note: Any) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            note(output[0] if isinstance(output, tuple) else output)

        return layers_of(model)[-1].register_forward_hook(hook)


@pytest.fixture(
    params=[*SIGNALS.values(), *map(signal_of, NAMED), LayerOutput()],
    ids=lambda signal: signal.name,
)
def signal(request: pytest.FixtureRequest) -> Signal:
    return cast(Signal, request.param)


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Any:
    return model_of(request.param)


@pytest.fixture(autouse=True)
def _reachable(request: pytest.FixtureRequest) -> None:
    """Not of the attention of a family whose is not known."""
    if {"signal", "model"} <= set(request.fixturenames):
        signal, model = request.getfixturevalue("signal"), request.getfixturevalue("model")
        is_of_attention = isinstance(signal, AttentionInput | Projected)
        if is_of_attention and model.config.model_type == "gemma2":
            with pytest.raises(
                SpecError, match=r"can be reached .*found gemma2\. Use --signal hidden"
            ):
                signal.width(model)
            pytest.skip("refused by name")


def batch() -> dict[str, np.ndarray]:
    """Two rows of unequal length, padded on the right."""
    ids = np.zeros((2, LENGTHS[0]), np.int64)
    mask = np.zeros_like(ids)
    for row, length in enumerate(LENGTHS):
        ids[row, :length] = np.arange(4, 4 + length)
        mask[row, :length] = 1
    return {"input_ids": ids, "attention_mask": mask}


def asked(signal: Signal, model: Any, inputs: dict[str, np.ndarray], side: Side) -> Tensor:
    padding = Padding(side, 0, 0)
    with torch.no_grad():
        return ask_several(signal.watch(model), inputs, padding, (not signal.per_row,))[0]


def test_a_row_has_in_a_batch_the_vectors_that_it_has_alone(signal: Signal, model: Any) -> None:
    """Padded, and where rows of equal length are asked together."""
    inputs = batch()
    for side in (Side.RIGHT, Side.NONE):
        together = asked(signal, model, inputs, side)
        shape = (2,) if signal.per_row else (2, LENGTHS[0])
        assert together.shape == (*shape, signal.width(model))
        for row, length in enumerate(LENGTHS):
            alone = {name: values[row : row + 1, :length] for name, values in inputs.items()}
            expected = asked(signal, model, alone, side)[0]
            found = together[row] if signal.per_row else together[row, :length]
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_watched_model_is_left_as_it_was(signal: Signal, model: Any) -> None:
    inputs = batch()
    before = asked(LOGITS, model, inputs, Side.RIGHT)
    asked(signal, model, inputs, Side.RIGHT)
    with pytest.raises(ModelFailed, match=rf"^{type(model).__name__}: expected logits"):
        asked(signal, model, {"input_ids": np.array([[10**6]])}, Side.RIGHT)
    torch.testing.assert_close(asked(LOGITS, model, inputs, Side.RIGHT), before, rtol=0, atol=0)


def test_a_gradient_reaches_the_first_layer(signal: Signal, model: Any) -> None:
    """Students learn through what is watched."""
    per_token = (not signal.per_row,)
    vectors = ask_several(signal.watch(model), batch(), Padding(Side.RIGHT, 0, 0), per_token)[0]
    embedding = model.get_input_embeddings().weight
    weight = torch.linspace(-1, 1, vectors.shape[-1])  # the sum of a normalised vector is constant
    (gradient,) = torch.autograd.grad((vectors * weight).square().sum(), embedding)
    assert gradient[4].abs().sum() > 0


def test_several_signals_of_one_forward_pass_are_those_of_one_each(model: Any) -> None:
    names = ["logits", "head-input", "hidden:-1", "hidden:0", "pooled"]
    if model.config.model_type != "gemma2":
        names.append("attention-input:2")
    several = together([signal_of(name) for name in names])
    for side in (Side.RIGHT, Side.NONE):
        kinds = tuple(not signal.per_row for signal in several)
        with torch.no_grad():
            found = ask_several(watched(model, several), batch(), Padding(side, 0, 0), kinds)
        for signal, vectors in zip(several, found, strict=True):
            alone = asked(signal_of(signal.name), model, batch(), side)
            torch.testing.assert_close(vectors, alone, rtol=0, atol=0)


def test_hidden_states_are_those_of_transformers(model: Any) -> None:
    inputs = {name: torch.from_numpy(values) for name, values in batch().items()}
    with torch.no_grad():
        expected = model(**inputs, output_hidden_states=True).hidden_states
    for layer, states in enumerate(expected):
        found = asked(signal_of(f"hidden:{layer}"), model, batch(), Side.RIGHT)
        torch.testing.assert_close(found, states.float(), rtol=0, atol=0)


def test_the_head_is_not_called_where_no_signal_needs_it(model: Any) -> None:
    head = model.get_output_embeddings()
    calls: list[int] = []
    handle = head.register_forward_hook(lambda *_: calls.append(1))
    try:
        asked(signal_of("hidden:-1"), model, batch(), Side.RIGHT)
        assert not calls
    finally:
        handle.remove()


def test_a_layer_that_is_not_there_is_refused(model: Any) -> None:
    for name in ("hidden:9", "hidden:-4", "attention-input:0"):
        kind = name.partition(":")[0]
        with pytest.raises(
            SpecError, match=rf"^{kind}: {type(model).__name__}: expected a layer from"
        ):
            signal_of(name).resolved(model)


def test_a_name_is_a_signals_own() -> None:
    assert all(signal.name == name for name, signal in SIGNALS.items())
    assert {"logits", *KINDS} == set(NAMES)


def test_layers_of_an_encoder_and_a_decoder_are_refused() -> None:
    """Once the first layers were the encoder's, and the last one the decoder's."""
    sizes = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "vocab_size": 40}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = transformers.BartConfig(**sizes, **heads, encoder_ffn_dim=16, decoder_ffn_dim=16)
    model = transformers.BartForSequenceClassification(config)
    with pytest.raises(SpecError, match="found an encoder and a decoder"):
        signal_of("hidden:1").resolved(model)
