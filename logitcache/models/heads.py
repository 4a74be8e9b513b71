"""A language model as a body and its last linear map: what that map is given, and the map itself.

The body is run by the model's own code. A hook on the map (``get_output_embeddings()``) takes what
it is given and lets it compute nothing; logits are made afterwards, at the kept positions alone.
What a model's code does behind the map (a scale, a soft cap) is read from its configuration, and
:func:`check_remade` compares with the model's own logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

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
CHECKED_ROWS, CHECKED_TOKENS = 4, 16  # that a model is asked about, to compare
# Magnitudes at which the head is checked: a soft cap shows only at large logits, a wrong scale only
# at small ones.
CHECKED_SIZES = (4.0, 400.0)


def has_head(model: PreTrainedModel) -> bool:
    """Whether its answers are made by one linear map, a plain matrix in this process."""
    head = model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    return (
        isinstance(head, nn.Linear)
        and isinstance(weight, nn.Parameter)
        and type(weight.data) is Tensor
    )


def head_of(model: PreTrainedModel, width: int | None = None) -> Head[Tensor]:
    """The last linear map of a model with one; its first ``width`` columns, if that is set."""
    linear = model.get_output_embeddings()
    assert isinstance(linear, nn.Linear)
    config = model.config.get_text_config()
    scale = 1.0
    for name in FACTORS:
        scale *= getattr(config, name, None) or 1.0
    for name in DIVISORS:
        scale /= getattr(config, name, None) or 1.0
    caps = [getattr(config, name, None) for name in CAPS]
    cap = next((float(value) for value in caps if value), None)
    bias = linear.bias
    if width is None or width == len(linear.weight):
        return Head(linear.weight, bias, scale, cap)
    return Head(linear.weight[:width], None if bias is None else bias[:width], scale, cap)


@contextmanager
def _hooked(
    model: PreTrainedModel, take: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]
) -> Iterator[list[Tensor]]:
    """While this lasts, what the last linear map is given, f[B, T, d], passes through ``take``,
    which returns (recorded, forwarded): the list of the recorded tensors.
    """
    calls: list[Tensor] = []

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        noted, passed = take(module, inputs[0])
        calls.append(noted)
        return (passed,)

    handle = model.get_output_embeddings().register_forward_pre_hook(hook)
    try:
        yield calls
    finally:
        handle.remove()


def _only(calls: list[Tensor], model: PreTrainedModel) -> Tensor:
    if len(calls) != 1:
        raise SpecError(
            expected="one call of the last linear map in a forward pass",
            found=len(calls),
            advice="Dump with another --codec.",
            where=type(model).__name__,
        )
    return calls[0]


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
    """Raises SpecError where the logits that a head makes are not the model's own.

    The beginnings of some rows are asked about, once for each of :data:`CHECKED_SIZES`. What the
    head is given is multiplied so that its largest logit is of that size, and the model's own code
    computes the rest: fresh weights give logits so small that a cap would not show. The model's
    mode is as before afterwards.
    """
    inputs = pad(rows, np.arange(min(len(rows), CHECKED_ROWS)), padding)
    columns = slice(-CHECKED_TOKENS, None) if padding.side is Side.LEFT else slice(CHECKED_TOKENS)
    inputs = {name: values[:, columns] for name, values in inputs.items()}
    is_token = torch.from_numpy(inputs["attention_mask"]) == 1
    # one forward pass for all rows, also of a model that is asked about rows of equal length
    together = replace(padding, side=Side.RIGHT) if padding.side is Side.NONE else padding
    head = head_of(model)
    training = model.training
    try:
        for size in CHECKED_SIZES:
            with torch.no_grad(), _hooked(model, partial(_amplified, size)) as calls:
                own = ask(model, inputs, together, per_token=True)
                remade = head_logits(_only(calls, model).to(head.weight.dtype), head)
            mask = is_token.to(own.device)
            check_head(remade[mask], own[mask].to(head.weight.dtype), type(model).__name__)
    finally:
        model.train(training)


def _amplified(size: float, module: nn.Module, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """What the last linear map is given, multiplied so that its largest logit is of this size."""
    logits = functional.linear(hidden, module.weight, module.bias)  # type: ignore[arg-type]
    largest = logits.abs().nan_to_num(0.0).amax()
    amplified = hidden * (size / largest.clamp(min=1e-3))
    return amplified, amplified


def check_head(logits: Tensor, expected: Tensor, name: str) -> None:
    """Raises SpecError where logits f[P, V] that were made by a head alone are not the model's own."""
    if logits.shape[-1] != expected.shape[-1]:
        raise _other_logits(f"{expected.shape[-1]} columns, of the map's {logits.shape[-1]}", name)
    if not expected.numel():
        return
    scale = float(expected.abs().amax())
    allowed = ROUNDINGS * torch.finfo(expected.dtype).eps * max(1.0, scale)
    difference = float((logits.float() - expected.float()).abs().amax())
    if not difference <= allowed:  # also true for NaN
        raise _other_logits(f"others, by up to {difference:.3g}", name)


def _other_logits(detail: str, name: str) -> SpecError:
    return SpecError(
        expected="logits equal to the output layer's, with the configured scale and soft cap",
        found=detail,
        advice="The model changes its logits after the output layer: dump with another --codec.",
        where=name,
    )
