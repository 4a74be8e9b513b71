"""What a budget of FLOPs counts of the terms of a loss."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from logitcache.student.terms.objective import SumObjective
from tests.student.test_terms import student_of


@pytest.mark.parametrize(
    "method",
    [
        "minilm",
        "minilm=1:heads=4",
        "minilm-v1",
        "tinybert",
        "tinybert-bui",
        "mlm=1,minilm=2,tinybert=1",
        "embedding",
    ],
)
def test_they_are_those_that_torch_counts(method: str) -> None:
    """Forward and backward, of a student of another width."""
    student, teacher = student_of(width=16), student_of()
    live = SimpleNamespace(teacher=SimpleNamespace(model=teacher))
    terms = SumObjective.of(method).bound(student, live)
    rows, length = 3, 7
    shape = (rows,) if method == "embedding" else (rows, length)
    states = {name: torch.randn(*shape, 32) for name in terms.teacher_signals}
    own = {signal.name: torch.randn(*shape, 16) for signal in terms.student_signals}
    mask = torch.ones(rows, length)
    batch = SimpleNamespace(inputs={"attention_mask": mask}, vectors=states)
    with FlopCounterMode(display=False) as counter:
        terms(
            student, {name: one.requires_grad_() for name, one in own.items()}, batch
        ).sum().backward()
    assert terms.flops_of(student)(rows, length) == counter.get_total_flops()
