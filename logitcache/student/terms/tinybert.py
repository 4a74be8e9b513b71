"""TinyBERT: hidden states and attention scores, layer by layer (Jiao et al. 2020, eqs. 7-9).

``paper``: with ``g(m) = m L_T / L_S``, the mean squared difference of scores before the softmax of
student layer m and teacher layer g(m), m = 1..L_S, and of hidden states m and g(m), m = 0..L_S (0: the
embeddings). ``bui``: what the code of Bui et al. (2024) does: scores of the last layers, hidden states of
the last layers, and, where their text says embeddings, scores of the first layers. Where widths
differ, one learnt map takes the student's states to the teacher's width, as theirs does. Their means
count padding; these do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from logitcache.config.option import option
from logitcache.cost.flops import ForwardCost
from logitcache.errors import SpecError
from logitcache.models.attention import Model, attention_of, hidden_size
from logitcache.student.losses.relations import scores_error, states_error
from logitcache.student.terms.contract import (
    Compared,
    Side,
    SignalTerm,
    TeacherSignals,
    attention_cost,
    depth,
    own_scores,
)


@dataclass(frozen=True)
class TinyBERT(SignalTerm):
    """Hidden states and attention scores of mapped layers."""

    variant: str = option("paper", "paper or bui.", choices=("paper", "bui"))
    layers: str = option(
        "uniform", "Teacher's layer for each layer of the student, such as 3+6+9+12; or uniform."
    )

    @property
    def dumped(self) -> tuple[str, ...]:
        if self.variant == "bui":
            return ("attention-input:1", "attention-input:-1", "hidden:-1")
        layers = ["L"] if self.layers == "uniform" else self.layers.split("+")
        names = [f"{kind}:{layer}" for layer in layers for kind in ("attention-input", "hidden")]
        return ("hidden:0", *dict.fromkeys(names))

    def _map(self, teacher: TeacherSignals, student: Model) -> list[int]:
        """The teacher's layer for each of the student's, from 1."""
        count, deep = depth(student), teacher.layer(-1)
        if self.layers != "uniform":
            return self._listed(count, deep)
        if deep % count:
            raise SpecError(
                expected=f"a student whose number of layers divides the teacher's ({deep})",
                found=count,
                advice=f"Name a layer of the teacher for each: layers={'+'.join(['1'] * count)}.",
                where="tinybert",
            )
        return [(layer + 1) * deep // count for layer in range(count)]

    def _listed(self, count: int, deep: int) -> list[int]:
        words = self.layers.split("+")
        numbers = [int(word) for word in words if word.isdecimal()]
        if len(words) != count or len(numbers) != count or not all(1 <= n <= deep for n in numbers):
            raise SpecError(
                expected=f"{count} layers of the teacher, from 1 to {deep}, joined by +",
                found=self.layers,
                advice="Name one for each layer of the student.",
                where="tinybert: layers",
            )
        return numbers

    def _pairs(
        self, teacher: TeacherSignals, student: Model
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(pairs of layers whose scores are compared, and whose hidden states), student's first."""
        own = depth(student)
        if self.variant == "bui":
            deep = teacher.layer(-1)
            return [(own, deep), (1, 1)], [(own, deep)]
        mapped = list(enumerate(self._map(teacher, student), 1))
        return mapped, [(0, 0), *mapped]

    def teacher_signals(self, teacher: TeacherSignals, student: Model) -> list[str]:
        scores, states = self._pairs(teacher, student)
        names = [f"attention-input:{teacher_layer}" for _, teacher_layer in scores]
        return list(
            dict.fromkeys([*names, *(f"hidden:{teacher_layer}" for _, teacher_layer in states)])
        )

    def student_signals(self, teacher: TeacherSignals, student: Model) -> list[str]:
        scores, states = self._pairs(teacher, student)
        names = [f"{kind}:{layer}" for layer, _ in scores for kind in ("query", "key")]
        return list(dict.fromkeys([*names, *(f"hidden:{layer}" for layer, _ in states)]))

    def modules(self, teacher: TeacherSignals, student: Model) -> nn.Module:
        scores, states = self._pairs(teacher, student)
        for layer, teacher_layer in scores:
            heads = teacher.attention[f"attention-input:{teacher_layer}"].heads
            own = attention_of(student, layer).heads
            if heads != own:
                raise SpecError(
                    expected=f"a student of {heads} attention heads, as its teacher",
                    found=own,
                    advice="Use --method minilm, or a student with as many.",
                    where="tinybert",
                )
        width = teacher.widths[f"hidden:{states[0][1]}"]
        own_width = hidden_size(student)
        if width == own_width:
            return nn.Identity()
        return nn.Linear(own_width, width)

    def cost(self, teacher: TeacherSignals, student: Model) -> list[tuple[Side, ForwardCost]]:
        scores, states = self._pairs(teacher, student)
        costs = []
        for layer, teacher_layer in scores:
            attention = teacher.attention[f"attention-input:{teacher_layer}"]
            costs.append((Side.TEACHER, attention_cost(attention, 2, 1)))
            costs.append((Side.STUDENT, attention_cost(attention_of(student, layer), 0, 1)))
        width = teacher.widths[f"hidden:{states[0][1]}"]
        own_width = hidden_size(student)
        if width != own_width:
            learnt = ForwardCost(2.0 * width * own_width * len(states), 0.0, 0.0)
            costs.append((Side.STUDENT, learnt))
        return costs

    def loss(
        self,
        batch: Compared,
        teacher: TeacherSignals,
        student: Model,
        modules: nn.Module,
    ) -> Tensor:
        scores, states = self._pairs(teacher, student)
        losses = []
        for layer, teacher_layer in scores:
            name = f"attention-input:{teacher_layer}"
            attention = teacher.attention[name]
            expected = attention.scores(batch.teacher[name])
            learnt = own_scores(student, layer, batch.student)
            sees = batch.sees(attention)
            losses.append(scores_error(expected, learnt, sees, batch.is_token))
        for layer, teacher_layer in states:
            teacher_states = batch.teacher[f"hidden:{teacher_layer}"]
            own_states = modules(batch.student[f"hidden:{layer}"])
            losses.append(states_error(teacher_states, own_states, batch.is_token))
        return torch.stack(losses).sum(0)
