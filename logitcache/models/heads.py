"""A language model as a body and its last linear map: what that map is given, and the map itself.

The body is run by the model's own code. A hook on the map (``get_output_embeddings()``) takes what it is given and lets
it compute nothing; logits are made afterwards, at the kept positions alone. What a model's code does behind the map
(a scale, a soft cap) is read from its configuration, and :func:`check_head` compares with the model's own logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from logitcache.errors import SpecError
from logitcache.payloads import Head

CAPS = ("final_logit_softcapping",)  # names in configurations of transformers
FACTORS = ("logit_scale", "lm_head_multiplier")
DIVISORS = ("logits_scaling",)
ROUNDINGS = 64.0  # of the model's dtype, by which products added up in another order may differ


def has_head(model: PreTrainedModel) -> bool:
    """Whether its answers are made by one linear map that is a plain matrix here: not one that is spread over
    processes.
    """
    head = model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    return isinstance(head, nn.Linear) and isinstance(weight, nn.Parameter) and type(weight.data) is Tensor


def head_of(model: PreTrainedModel, width: int | None = None) -> Head[Tensor]:
    """The last linear map of a model with one; only its first ``width`` columns, where that is said."""
    linear = model.get_output_embeddings()
    assert isinstance(linear, nn.Linear)
    config = model.config.get_text_config()
    scale = 1.0
    for name in FACTORS:
        scale *= getattr(config, name, None) or 1.0
    for name in DIVISORS:
        scale /= getattr(config, name, None) or 1.0
    cap = next((float(value) for name in CAPS if (value := getattr(config, name, None))), None)
    bias = linear.bias
    if width is None or width == len(linear.weight):
        return Head(linear.weight, bias, scale, cap)
    return Head(linear.weight[:width], None if bias is None else bias[:width], scale, cap)


@contextmanager
def watched(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """While this lasts, a forward pass puts what the last linear map is given, f[B, T, d], into the list, and computes
    no logits.
    """
    given: list[Tensor] = []

    def take(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        given.append(inputs[0])
        return (inputs[0][:, :0],)

    handle = model.get_output_embeddings().register_forward_pre_hook(take)
    try:
        yield given
    finally:
        handle.remove()


def head_input(model: PreTrainedModel, inputs: Mapping[str, Any]) -> Tensor:
    """What the last linear map of a model is given for a batch: f[B, T, d], in the dtype it has there."""
    with watched(model) as given:
        model(**inputs)
    (hidden,) = given
    return hidden


class Body:
    """A model that answers with what its last linear map is given: to be called as the model itself is."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model

    def __call__(self, **inputs: Any) -> SimpleNamespace:
        return SimpleNamespace(logits=head_input(self._model, inputs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def check_head(logits: Tensor, expected: Tensor, name: str) -> None:
    """Raises SpecError where logits f[P, V] that were made by a head alone are not the model's own."""
    scale = float(expected.abs().amax()) if expected.numel() else 0.0
    allowed = ROUNDINGS * torch.finfo(expected.dtype).eps * max(1.0, scale)
    apart = float((logits.float() - expected.float()).abs().amax()) if expected.numel() else 0.0
    if not apart <= allowed:
        raise SpecError(
            expected="logits that are its last linear map's, scaled and capped as its configuration says",
            found=f"others, by up to {apart:.3g}",
            advice="Its code does more with them: dump with another --codec.",
            where=name,
        )
