"""Embedding distillation: the pooled vector of a row, by its direction or its numbers.

``cosine``: ``1 - cos(t, s)``. ``mse``: the mean of ``(t - s)^2`` (Reimers and Gurevych 2020, eq. 1). Where
widths differ, a learnt map takes the student's vector to the teacher's width; of a sentence encoder
it is one of its modules, and is saved with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from logitcache.config.option import option
from logitcache.config.signals import OWN_VECTOR
from logitcache.cost.flops import ForwardCost
from logitcache.models.attention import Model, hidden_size
from logitcache.models.sentence import SentenceEncoder
from logitcache.student.terms.contract import Compared, Side, SignalTerm, TeacherSignals


@dataclass(frozen=True)
class Embedding(SignalTerm):
    """The pooled vectors of teacher and student."""

    per_row: ClassVar[bool] = True
    distance: str = option("cosine", "cosine or mse.", choices=("cosine", "mse"))
    pooling: str = option(
        "mean", "mean or first. A sentence encoder has its own.", choices=("mean", "first")
    )

    def _name(self, student: Model) -> str:
        return OWN_VECTOR if isinstance(student, SentenceEncoder) else f"pooled:{self.pooling}"

    @property
    def dumped(self) -> tuple[str, ...]:
        return (f"pooled:{self.pooling}",)

    def teacher_signals(self, teacher: TeacherSignals, student: Model) -> list[str]:
        return [self._name(student)]

    def student_signals(self, teacher: TeacherSignals, student: Model) -> list[str]:
        return [self._name(student)]

    def modules(self, teacher: TeacherSignals, student: Model) -> nn.Module:
        width = teacher.widths[self._name(student)]
        if isinstance(student, SentenceEncoder):
            student.fit_width(width)
            return nn.Identity()
        own_width = hidden_size(student)
        return nn.Identity() if width == own_width else nn.Linear(own_width, width)

    def cost(self, teacher: TeacherSignals, student: Model) -> list[tuple[Side, ForwardCost]]:
        """The learnt map of each row; a sentence encoder's is one of its own modules."""
        width = teacher.widths[self._name(student)]
        if isinstance(student, SentenceEncoder) or width == hidden_size(student):
            return []
        return [(Side.STUDENT, ForwardCost(0.0, 0.0, 2.0 * width * hidden_size(student)))]

    def loss(
        self,
        batch: Compared,
        teacher: TeacherSignals,
        student: Model,
        modules: nn.Module,
    ) -> Tensor:
        name = self._name(student)
        student_vectors: Tensor = modules(batch.student[name])
        teacher_vectors = batch.teacher[name].to(student_vectors.dtype)
        if self.distance == "cosine":
            cosine: Tensor = 1 - cosine_similarity(teacher_vectors, student_vectors, dim=-1)
            return cosine
        error: Tensor = (teacher_vectors - student_vectors).square().mean(-1)
        return error
