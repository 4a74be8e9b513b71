"""What holds for every signal, one from outside among them: the last hidden state of a body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from logitcache.models.call import ModelFailed, ask
from logitcache.models.signals import SIGNALS, Signal, Watched
from logitcache.records import Padding, Side
from tests.models.test_heads import model_of

KINDS = ("gpt2", "bert", "gemma2")
LENGTHS = (9, 4)


class LastHidden:
    """The last hidden state of the body (what a student of hidden states would learn from)."""

    name = "last-hidden"

    def width(self, model: Any) -> int:
        return int(model.config.hidden_size)

    def watch(self, model: Any) -> Any:
        return Watched(model, self._read)

    @staticmethod
    def _read(model: Any, inputs: Mapping[str, Any]) -> Tensor:
        return cast(Tensor, model(**inputs, output_hidden_states=True).hidden_states[-1])


@pytest.fixture(params=[*SIGNALS.values(), LastHidden()], ids=lambda signal: signal.name)
def signal(request: pytest.FixtureRequest) -> Signal:
    return cast(Signal, request.param)


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> Any:
    return model_of(request.param)


def batch() -> dict[str, np.ndarray]:
    """Two rows of unequal length, padded on the right."""
    ids = np.zeros((2, LENGTHS[0]), np.int64)
    mask = np.zeros_like(ids)
    for row, length in enumerate(LENGTHS):
        ids[row, :length] = np.arange(4, 4 + length)
        mask[row, :length] = 1
    return {"input_ids": ids, "attention_mask": mask}


def asked(model: Any, inputs: dict[str, np.ndarray], side: Side) -> Tensor:
    with torch.no_grad():
        return ask(model, inputs, Padding(side, 0, 0), per_token=True)


def test_a_row_has_in_a_batch_the_vectors_that_it_has_alone(signal: Signal, model: Any) -> None:
    """Padded, and where rows of equal length are asked together."""
    watched = signal.watch(model)
    inputs = batch()
    for side in (Side.RIGHT, Side.NONE):
        together = asked(watched, inputs, side)
        assert together.shape == (2, LENGTHS[0], signal.width(model))
        for row, length in enumerate(LENGTHS):
            alone = {name: values[row : row + 1, :length] for name, values in inputs.items()}
            expected = asked(watched, alone, side)[0]
            torch.testing.assert_close(together[row, :length], expected, rtol=1e-4, atol=1e-4)


def test_a_watched_model_is_left_as_it_was(signal: Signal, model: Any) -> None:
    inputs = batch()
    before = asked(model, inputs, Side.RIGHT)
    watched = signal.watch(model)
    asked(watched, inputs, Side.RIGHT)
    with pytest.raises(ModelFailed, match=rf"^{type(model).__name__}: expected logits"):
        asked(watched, {"input_ids": np.array([[10**6]])}, Side.RIGHT)
    torch.testing.assert_close(asked(model, inputs, Side.RIGHT), before, rtol=0, atol=0)


def test_a_gradient_reaches_the_first_layer(signal: Signal, model: Any) -> None:
    """Students learn through what is watched."""
    vectors = ask(signal.watch(model), batch(), Padding(Side.RIGHT, 0, 0), per_token=True)
    embedding = model.get_input_embeddings().weight
    (gradient,) = torch.autograd.grad(vectors.square().sum(), embedding)
    assert gradient[4].abs().sum() > 0


def test_a_name_is_a_signals_own() -> None:
    assert all(signal.name == name for name, signal in SIGNALS.items())
