"""What a codec's targets cost in a student's step: from stored columns to the gradient of the
student's logits, beside the same of labels alone.

The student's body and the products of its head come on top, and are the same whatever the target.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from logitcache.payloads import Array
from logitcache.student.losses.dense import Weights
from logitcache.student.losses.gradient import Target, loss_and_gradient
from logitcache.targets.codec import Codec

REPEATS = 15  # in turn; their median counts
KD = Weights(0.5, 0.0, 0.5)
LABEL = Weights(1.0, 0.0, 0.0)


def first_temperature(codec: Codec) -> float:
    """The temperature that a codec's targets are measured at: the first of those that it keeps."""
    return 1.0 if codec.temperatures is None else codec.temperatures[0]


@dataclass(frozen=True)
class StepTime:
    """Seconds of a position."""

    kd: float
    label: float  # of labels alone

    @classmethod
    def of(
        cls,
        codec: Codec,
        columns: Mapping[str, Array],
        assets: Mapping[str, Array],
        logits: Tensor,
        label: Tensor,
    ) -> StepTime:
        """Of the stored ``columns`` of P positions, for a student with logits f32[P, V] and labels
        i64[P]: medians, measured in turn.
        """
        kd = []
        alone = []
        temperature = first_temperature(codec)
        for _ in range(REPEATS):
            memory = logits.clone()
            start = time.perf_counter()
            payload = codec.unpack(columns, assets).map(torch.from_numpy)
            target = Target(label, KD, payload, temperature, temperature**2)
            loss_and_gradient(memory, target, overwrite=True)
            kd.append(time.perf_counter() - start)
            memory = logits.clone()
            start = time.perf_counter()
            loss_and_gradient(memory, Target(label, LABEL), overwrite=True)
            alone.append(time.perf_counter() - start)
        return cls(median(kd) / len(label), median(alone) / len(label))
