"""MiniLM: relations among the tokens of a row, of one layer of teacher and student.

Version 2 (Wang et al. 2021, eqs. 3-5): the relations of queries, of keys and of values, each
``softmax(A A^T / sqrt(d_r))`` with ``heads`` relation heads, so teacher and student may differ in width
and attention heads; the sum of three KL divergences. Version 1 (Wang et al. 2020, eqs. 6-9): the
attention maps and the relations of values, with the attention heads that both must have alike.

Queries and keys are those before rotary positions are applied. In a causal layer a token is related
to itself and to earlier tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from logitcache.config.option import option
from logitcache.cost.flops import ForwardCost
from logitcache.errors import SpecError
from logitcache.models.attention import PROJECTED, Attention, Model, attention_of
from logitcache.student.losses.relations import relation_divergence, relation_factors
from logitcache.student.terms.contract import (
    Compared,
    Side,
    SignalTerm,
    TeacherSignals,
    attention_cost,
    own_layer,
    own_scores,
)


@dataclass(frozen=True)
class MiniLM(SignalTerm):
    """One layer's relations."""

    variant: str = option("v2", "v2 or v1.", choices=("v2", "v1"))
    heads: int = option(0, "Relation heads. 0: the teacher's number of attention heads.", minimum=0)
    layer: int = option(-1, "Layer of the teacher, from 1, or from the end where negative.")
    student_layer: int = option(-1, "Layer of the student, counted alike.")

    @property
    def dumped(self) -> tuple[str, ...]:
        return (f"attention-input:{self.layer}",)

    def teacher_signals(self, teacher: TeacherSignals, student: Model) -> list[str]:
        return [f"attention-input:{teacher.layer(self.layer)}"]

    def student_signals(self, teacher: TeacherSignals, student: Model) -> list[str]:
        layer = own_layer(student, self.student_layer)
        return [f"{kind}:{layer}" for kind in PROJECTED]

    def _attention(self, teacher: TeacherSignals, student: Model) -> tuple[Attention, Attention]:
        """Attention of the compared layers: (teacher, student)."""
        (signal,) = self.teacher_signals(teacher, student)
        own = attention_of(student, own_layer(student, self.student_layer))
        return teacher.attention[signal], own

    def modules(self, teacher: TeacherSignals, student: Model) -> nn.Module:
        teacher_attention, student_attention = self._attention(teacher, student)
        if self.variant == "v1" and teacher_attention.heads != student_attention.heads:
            raise SpecError(
                expected=f"a student of {teacher_attention.heads} attention heads, as its teacher",
                found=student_attention.heads,
                advice="Use minilm=1:variant=v2, which splits both into the same relation heads.",
                where="minilm: variant v1",
            )
        heads = self._heads(teacher_attention)
        for who, attention in (("teacher", teacher_attention), ("student", student_attention)):
            width = len(attention.query)
            if width % heads:
                raise SpecError(
                    expected=f"a number of relation heads that divides the {who}'s width of {width}",
                    found=heads,
                    advice="Give heads=1, or another divisor of both widths.",
                    where="minilm: heads",
                )
        return nn.Module()

    def cost(self, teacher: TeacherSignals, student: Model) -> list[tuple[Side, ForwardCost]]:
        teacher_attention, student_attention = self._attention(teacher, student)
        products = 3 if self.variant == "v2" else 2
        return [
            (Side.TEACHER, attention_cost(teacher_attention, 3, products)),
            (Side.STUDENT, attention_cost(student_attention, 0, products)),
        ]

    def _heads(self, teacher: Attention) -> int:
        if self.variant == "v1":
            return teacher.heads
        return self.heads or teacher.heads

    def loss(
        self,
        batch: Compared,
        teacher: TeacherSignals,
        student: Model,
        modules: nn.Module,
    ) -> Tensor:
        (teacher_signal,) = self.teacher_signals(teacher, student)
        attention = teacher.attention[teacher_signal]
        states = batch.teacher[teacher_signal]
        layer = own_layer(student, self.student_layer)
        sees = batch.sees(attention)
        total = states.new_zeros(len(states))
        kinds: tuple[str, ...] = PROJECTED
        if self.variant == "v1":
            kinds = ("value",)
            student_scores = own_scores(student, layer, batch.student)
            total = total + relation_divergence(
                attention.scores(states), student_scores, sees, batch.is_token
            )
        heads = self._heads(attention)
        for kind in kinds:
            total = total + relation_divergence(
                relation_factors(attention.projected(states, kind), heads),
                relation_factors(batch.student[f"{kind}:{layer}"], heads),
                sees,
                batch.is_token,
            )
        return total
