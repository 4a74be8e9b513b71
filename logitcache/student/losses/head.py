"""A model's last linear map, and what its code does behind it, as tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from logitcache.payloads import Head


def head_logits(hidden: Tensor, head: Head[Tensor]) -> Tensor:
    """``cap tanh(scale (W h + b) / cap)``: f[P, V] of f[P, d], in the dtype of both."""
    logits = linear(hidden, head.weight, head.bias)
    if head.scale != 1.0:
        logits = logits * head.scale
    return logits if head.cap is None else head.cap * torch.tanh(logits / head.cap)


def through_head(gradient: Tensor, logits: Tensor, head: Head[Tensor]) -> Tensor:
    """The gradient of ``W h + b`` f[P, V], of that of the logits that a head gives; in place."""
    if head.cap is not None:
        gradient.mul_(1 - (logits / head.cap) ** 2)
    return gradient if head.scale == 1.0 else gradient.mul_(head.scale)
