"""A model's last linear map, and what its code does behind it, as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from logitcache.payloads import Dense, Head, Payload, Replay

# logits of a head that are held at once: enough positions for the product to be quick
TOGETHER = {"cpu": 1 << 25, "cuda": 1 << 27}


@lru_cache(maxsize=4)
def on_device(head: Head[Any], device: torch.device) -> Head[Tensor]:
    """A head that a cache keeps, as tensors on a device: brought there once."""

    def brought(values: Any) -> Tensor:
        return as_computed(
            values if isinstance(values, Tensor) else torch.from_numpy(values).to(device)
        )

    return head.map(brought)


def as_computed(values: Tensor) -> Tensor:
    """Stored values as computed with: bits of bfloat16 (u16) as such; halves on a CPU in single."""
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


class Projector:
    """A last linear map, and the memory that its logits are computed in: f32[P, V] of f[P, d], which
    hold until the next call. New memory for each call would take a tenth of the product's time.
    """

    def __init__(self, head: Head[Tensor]) -> None:
        self.head = head.map(Tensor.detach)
        self.width = len(head.weight)
        self.together = max(
            1, TOGETHER.get(head.weight.device.type, TOGETHER["cuda"]) // self.width
        )
        self._memory = head.weight.new_empty(0, self.width)

    def __call__(self, hidden: Tensor) -> Tensor:
        head = self.head
        if len(hidden) > len(self._memory):
            self._memory = head.weight.new_empty(len(hidden), self.width)
        logits = self._memory[: len(hidden)]
        hidden = hidden.to(head.weight.dtype)
        if head.bias is None:
            torch.mm(hidden, head.weight.T, out=logits)
        else:
            torch.addmm(head.bias, hidden, head.weight.T, out=logits)
        if head.scale != 1.0:
            logits.mul_(head.scale)
        if head.cap is not None:
            logits.div_(head.cap).tanh_().mul_(head.cap)
        return logits.float()


@lru_cache(maxsize=1)
def projector_of(head: Head[Tensor]) -> Projector:
    """The projector of a head: shards of one cache share its memory."""
    return Projector(head)


@dataclass(frozen=True)
class Projected:
    """Logits f32[P, V] that are computed where they are read, and hold until the next reading."""

    hidden: Tensor  # f[P, d]
    projector: Projector

    def __len__(self) -> int:
        return len(self.hidden)

    def __getitem__(self, index: Any) -> Tensor:
        return self.projector(self.hidden[index])

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.hidden), self.projector.width

    @property
    def device(self) -> torch.device:
        return self.hidden.device

    @property
    def is_cuda(self) -> bool:
        return self.hidden.is_cuda


def full_logits(payload: Payload[Tensor]) -> Tensor:
    """The teacher's logits f[P, V], of a target that has them all. On a GPU a replayed head
    computes them in the dtype that it has; on a CPU, where halves are slow, in single precision.
    """
    if isinstance(payload, Replay):
        head = on_device(payload.head, payload.hidden.device)
        return head_logits(as_computed(payload.hidden).to(head.weight.dtype), head)
    assert isinstance(payload, Dense)
    return payload.logits
