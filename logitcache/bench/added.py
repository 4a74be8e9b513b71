"""The work that a cached-KD step does and a label-smoothing step does not, piece by piece. In whole
steps these pieces disappear in the noise, so each is timed alone, many times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from logitcache.bench.turns import timed
from logitcache.bench.workload import Workload
from logitcache.cache.cache import Cache
from logitcache.config.methods import is_taught
from logitcache.data.collate import Collator
from logitcache.student.methods import objective
from logitcache.student.terms.objective import SumObjective
from logitcache.student.trainer import to_torch

REPEATS = 500


@dataclass(frozen=True)
class Added:
    """Seconds of a step's pieces: cached KD's for its target and loss, and label smoothing's."""

    pieces: dict[str, float]
    label_smoothing: float

    @property
    def seconds(self) -> float:
        """Sum of cached KD's pieces."""
        return sum(self.pieces.values())


def added(
    work: Workload, cache: Cache, fence: Callable[[], object], repeats: int = REPEATS
) -> Added:
    """Time what cached KD adds to a step: gathering and decoding, transfer, target and loss."""
    without = Collator(work.rows, work.task)
    collator = Collator(work.rows, work.task, {"cache": cache})
    size = min(work.config.batch_size, len(work.rows))
    index = np.random.default_rng(work.config.seed).integers(0, len(work.rows), size)
    inputs_only = without(index)
    batch = collator(index)
    labels = torch.from_numpy(work.rows.label[index]).to(work.device)
    answers = to_torch(batch)["batch"].targets["cache"].logits.to(work.device)
    logits = torch.randn(size, work.num_labels, device=work.device, requires_grad=True)

    def loss(name: str) -> Callable[[], object]:
        goal = objective(name)
        assert not isinstance(goal, SumObjective)
        teacher = answers if is_taught(name) else None
        return lambda: goal.loss(logits, labels, teacher).sum().backward()  # type: ignore[no-untyped-call]

    def to_device(content: object) -> Callable[[], object]:
        return lambda: to_torch(content)["batch"].to(work.device)  # type: ignore[arg-type]

    def median(call: Callable[[], object]) -> float:
        return float(np.median([timed(call, fence) for _ in range(repeats)]))

    gathering = median(lambda: collator(index)) - median(lambda: without(index))
    return Added(
        {
            "gather, hash compare, decode": max(0.0, gathering),
            "to the device": max(0.0, median(to_device(batch)) - median(to_device(inputs_only))),
            "target, loss, forward and backward": median(loss("kd")),
        },
        median(loss("ls")),
    )
