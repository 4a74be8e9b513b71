"""A weight of each class is a weight of each position, in every method: the gradient is torch's
own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from logitcache.cache.cache import Cache
from logitcache.config.methods import METHODS
from logitcache.data.collate import Collator
from logitcache.records import Examples
from logitcache.student.methods import objective
from logitcache.teacher.model import TeacherModel
from tests.shortly import fast
from tests.student.test_trainer import SETTINGS, TASK, Watch, trained

WEIGHTS = np.array([0.03, 0.1], np.float32)  # a batch of 8 weighs less than one row


def gradient(model: torch.nn.Module) -> torch.Tensor:
    found = torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])
    return found * min(1.0, 1 / (found.norm().item() + 1e-6))  # Trainer clips the norm to 1


@pytest.mark.parametrize(
    ("method", "accumulate"), fast(product(("base", "kd"), (1, 4)), ("base", 1), ("kd", 4))
)
def test_the_gradient_is_that_of_the_weighted_mean(
    rows: Examples,
    cache: Cache,
    student: Callable[..., TeacherModel],
    tmp_path: Path,
    method: str,
    accumulate: int,
) -> None:
    """Of base it is ``CrossEntropyLoss(weight=)``'s; of others the same mean of their own losses."""
    teachers = {"kd": cache} if METHODS[method].needs_teacher else {}
    collator = Collator(rows.select(np.arange(8)), TASK, teachers, WEIGHTS)
    watch = Watch()
    settings = replace(SETTINGS, epochs=1.0, accumulate=accumulate)
    trained(student().model, collator, settings, tmp_path, watch, goal=method)
    model = student().model
    batch = collator(np.arange(8)).map(torch.from_numpy)
    logits = model(**batch.inputs).logits
    weight = torch.from_numpy(WEIGHTS)
    if method == "base":
        loss = torch.nn.CrossEntropyLoss(weight=weight)(logits, batch.label)
    else:
        losses = objective(method).loss(logits, batch.label, batch.targets["kd"].logits)
        loss = (losses * weight[batch.label]).sum() / weight[batch.label].sum()
    loss.backward()
    np.testing.assert_allclose(watch.gradients[0], gradient(model), atol=3e-6)


def test_a_row_without_a_label_weighs_one(rows: Examples, cache: Cache) -> None:
    some = replace(rows.select(np.arange(4)), label=np.array([0, 1, -1, 1]))
    batch = Collator(some, TASK, {"kd": cache}, WEIGHTS)(np.array([0, 1, 2, 3, -1]))
    assert batch.weight.tolist() == pytest.approx([0.03, 0.1, 1, 0.1, 0])
