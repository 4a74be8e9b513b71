"""A language model as a body and its last linear map: what that map is given, and the map itself.

The body is run by the model's own code. A hook on the map (``get_output_embeddings()``) takes what
it is given and lets it compute nothing; logits are made afterwards, at the kept positions alone.
What a model's code does behind the map (a scale, a soft cap) is read from its configuration, and
:func:`check_remade` compares with the model's own logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from logitcache.data.collate import pad
from logitcache.errors import SpecError
from logitcache.models.call import ask
from logitcache.models.projection import head_logits
from logitcache.payloads import Head
from logitcache.records import Examples, Padding, Side

CAPS = ("final_logit_softcapping",)  # names in configurations of transformers
FACTORS = ("logit_scale", "lm_head_multiplier")
DIVISORS = ("logits_scaling",)
ROUNDINGS = 64.0  # of the model's dtype, by which products added up in another order may differ
CHECKED_ROWS, CHECKED_TOKENS = 4, 64  # that a model is asked about, to compare
# The largest logit that the head is made to give: a cap shows at large ones alone, and hides a
# scale there.
CHECKED_SIZES = (4.0, 400.0)


def has_head(model: PreTrainedModel) -> bool:
    """Whether its answers are made by one linear map that is a plain matrix here: not one that is
    spread over processes.
    """
    head = model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    return (
        isinstance(head, nn.Linear)
        and isinstance(weight, nn.Parameter)
        and type(weight.data) is Tensor
    )


def head_of(model: PreTrainedModel, width: int | None = None) -> Head[Tensor]:
    """The last linear map of a model with one; only its first ``width`` columns, where that is
    said.
    """
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
    """While this lasts, a forward pass puts what the last linear map is given, f[B, T, d], into the
    list, and computes no logits.
    """
    calls: list[Tensor] = []

    def take(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        calls.append(inputs[0])
        return (inputs[0][:, :0],)

    handle = model.get_output_embeddings().register_forward_pre_hook(take)
    try:
        yield calls
    finally:
        handle.remove()


def head_input(model: PreTrainedModel, inputs: Mapping[str, Any]) -> Tensor:
    """What the last linear map of a model is given for a batch: f[B, T, d], in the dtype it has
    there.
    """
    with watched(model) as calls:
        model(**inputs)
    return _only(calls, model)


def _only(calls: list[Tensor], model: PreTrainedModel) -> Tensor:
    if len(calls) != 1:
        raise SpecError(
            expected="one call of the last linear map in a forward pass",
            found=len(calls),
            where=type(model).__name__,
        )
    return calls[0]


class Body:
    """A model that answers with what its last linear map is given: to be called as the model itself
    is.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.watched_model = model

    def __call__(self, **inputs: Any) -> SimpleNamespace:
        return SimpleNamespace(logits=head_input(self.watched_model, inputs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.watched_model, name)


def remakes_logits(model: PreTrainedModel, rows: Examples, padding: Padding) -> bool:
    """Whether a body and a head make the model's own logits: see :func:`check_remade`."""
    if not has_head(model):
        return False
    try:
        check_remade(model, rows, padding)
    except SpecError:
        return False
    return True


def check_remade(model: PreTrainedModel, rows: Examples, padding: Padding) -> None:
    """Raises SpecError where the logits that a head makes of what it is given are not the model's
    own.

    The beginnings of some rows are asked about, once for each of :data:`CHECKED_SIZES`. What the
    head is given is multiplied so that its largest logit is of that size, and the model's own code
    computes the rest: fresh weights give logits so small that a cap would not show. The model's
    mode is as before afterwards.
    """
    inputs = pad(rows, np.arange(min(len(rows), CHECKED_ROWS)), padding)
    columns = slice(-CHECKED_TOKENS, None) if padding.side is Side.LEFT else slice(CHECKED_TOKENS)
    inputs = {name: values[:, columns] for name, values in inputs.items()}
    is_token = torch.from_numpy(inputs["attention_mask"]) == 1
    head = head_of(model)
    training = model.training
    try:
        for size in CHECKED_SIZES:
            with torch.no_grad(), _amplified(model, size) as calls:
                own = ask(
                    model, inputs, replace(padding, side=_batched(padding.side)), per_token=True
                )
                remade = head_logits(_only(calls, model).to(head.weight.dtype), head)
            mask = is_token.to(own.device)
            check_head(remade[mask], own[mask].to(head.weight.dtype), type(model).__name__)
    finally:
        model.train(training)


def _batched(side: Side) -> Side:
    """One forward pass for all rows, also of a model that is asked about rows of equal length."""
    return Side.RIGHT if side is Side.NONE else side


@contextmanager
def _amplified(model: PreTrainedModel, size: float) -> Iterator[list[Tensor]]:
    """While this lasts, what the last linear map is given is multiplied so that its largest logit
    is of this size, and put into the list.
    """
    calls: list[Tensor] = []

    def amplify(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        logits = functional.linear(inputs[0], module.weight, module.bias)  # type: ignore[arg-type]
        largest = logits.abs().nan_to_num(0.0).amax()
        calls.append(inputs[0] * (size / largest.clamp(min=1e-3)))
        return (calls[-1],)

    handle = model.get_output_embeddings().register_forward_pre_hook(amplify)
    try:
        yield calls
    finally:
        handle.remove()


def check_head(logits: Tensor, expected: Tensor, name: str) -> None:
    """Raises SpecError where logits f[P, V] that were made by a head alone are not the model's own."""
    if logits.shape[-1] != expected.shape[-1]:
        raise _other_logits(f"{expected.shape[-1]} columns, of the map's {logits.shape[-1]}", name)
    scale = float(expected.abs().amax()) if expected.numel() else 0.0
    allowed = ROUNDINGS * torch.finfo(expected.dtype).eps * max(1.0, scale)
    apart = float((logits.float() - expected.float()).abs().amax()) if expected.numel() else 0.0
    if not apart <= allowed:
        raise _other_logits(f"others, by up to {apart:.3g}", name)


def _other_logits(detail: str, name: str) -> SpecError:
    return SpecError(
        expected="logits that are its last linear map's, scaled and capped as its configuration says",
        found=detail,
        advice="Its code does more with them: dump with another --codec.",
        where=name,
    )
