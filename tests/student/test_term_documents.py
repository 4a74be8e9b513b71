"""Terms of packed rows whose documents are kept apart."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from logitcache.student.terms.objective import SumObjective
from tests.student.test_terms import student_of


@pytest.mark.parametrize("method", ["minilm", "minilm-v1", "tinybert-bui"])
def test_relations_do_not_cross_documents(method: str) -> None:
    """The loss of a row of two documents that are kept apart is that of both alone: relations are
    means over tokens, scores over pairs, states over tokens.
    """
    student, teacher = student_of(), student_of(layers=3)
    terms = SumObjective.of(method).bound(
        student, SimpleNamespace(teacher=SimpleNamespace(model=teacher))
    )
    lengths = torch.tensor([5, 5])
    positions = torch.cat([torch.arange(length) for length in lengths.tolist()])[None]
    draw = torch.Generator().manual_seed(0)
    theirs = {name: torch.randn(1, 10, 32, generator=draw) for name in terms.teacher_signals}
    ours = {one.name: torch.randn(1, 10, 32, generator=draw) for one in terms.student_signals}

    def loss(part: slice, **inputs: Tensor) -> Tensor:
        cut = {name: vectors[:, part] for name, vectors in theirs.items()}
        mask = torch.ones(1, part.stop - part.start, dtype=torch.int64)
        batch: Any = SimpleNamespace(inputs={"attention_mask": mask, **inputs}, vectors=cut)
        return terms(student, {name: one[:, part] for name, one in ours.items()}, batch)

    alone = (loss(slice(0, 5)) + loss(slice(5, 10))) / 2
    torch.testing.assert_close(loss(slice(0, 10), position_ids=positions), alone)
    assert not torch.allclose(loss(slice(0, 10)), alone)
