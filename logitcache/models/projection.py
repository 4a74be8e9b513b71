"""A model's last linear map, and what its code does behind it, as tensors."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from logitcache.payloads import Dense, Head, Payload, Replay


@lru_cache(maxsize=4)
def on_device(head: Head[Any], device: torch.device) -> Head[Tensor]:
    """A head that a cache keeps, as tensors on a device: brought there once."""

    def brought(values: Any) -> Tensor:
        return as_computed(
            values if isinstance(values, Tensor) else torch.from_numpy(values).to(device)
        )

    return head.map(brought)


def as_computed(values: Tensor) -> Tensor:
    """Stored values as they are computed with: bfloat16's bits (u16), halves on a CPU."""
    if values.dtype == torch.uint16:
        values = values.view(torch.bfloat16)
    if values.device.type == "cpu" and values.dtype in (torch.bfloat16, torch.float16):
        return values.float()
    return values


def head_logits(hidden: Tensor, head: Head[Tensor]) -> Tensor:
    """``cap tanh(scale (W h + b) / cap)``: f[P, V] of f[P, d], in the dtype of both."""
    logits = linear(hidden, head.weight, head.bias)
    if head.scale != 1.0:
        logits = logits * head.scale
    return logits if head.cap is None else head.cap * torch.tanh(logits / head.cap)


def full_logits(payload: Payload[Tensor]) -> Tensor:
    """The teacher's logits f[P, V] of a full target; replayed, on a CPU in single precision."""
    if isinstance(payload, Replay):
        head = on_device(payload.head, payload.hidden.device)
        return head_logits(as_computed(payload.hidden).to(head.weight.dtype), head)
    assert isinstance(payload, Dense)
    return payload.logits
