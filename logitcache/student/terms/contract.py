"""What a term of a loss is: which signals of teacher and student it compares, and how."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

from torch import Tensor, nn

from logitcache.cost.flops import ForwardCost
from logitcache.errors import SpecError
from logitcache.models.attention import Attention, Factors, Model, attention_of, layers_of


@dataclass(frozen=True)
class TeacherSignals:
    """What a teacher has stored, or answers: widths by the name of a signal, the attention of the
    layers whose input is there, and its number of layers (None where it is not known).
    """

    widths: Mapping[str, int]
    attention: Mapping[str, Attention] = field(default_factory=dict)
    layers: int | None = None

    def layer(self, number: int) -> int:
        """A layer from 1, of one that may count from the end. Raises SpecError for one that the
        teacher has not, and where the depth is not known.
        """
        if self.layers is not None:
            return _layer_of(self.layers, number, "teacher")
        if number <= 0:
            raise SpecError(
                expected="the teacher's number of layers in the cache",
                found="none",
                advice="Name the layer counted from 1.",
                where=f"layer {number}",
            )
        return number


@dataclass(frozen=True)
class Compared:
    """A batch as a term sees it: signals by name, those of tokens f[B, T, d], those of rows f[B, d]."""

    teacher: Mapping[str, Tensor]
    student: Mapping[str, Tensor]
    is_token: Tensor  # bool[B, T]
    document: Tensor | None = None  # i64[B, T], its number where a row's documents are kept apart

    def sees(self, attention: Attention) -> Tensor:
        """Which keys each query of a layer sees: bool[B, 1, T, T]."""
        return attention.attends(self.is_token, self.document)


class Side(Enum):
    """Whose vectors something is computed of: a student's has a backward pass."""

    TEACHER = "teacher"
    STUDENT = "student"


class SignalTerm(ABC):
    """A term of signals. A subclass is a frozen dataclass whose fields are its settings
    (``option(...)``). ``per_row``: it compares vectors of rows alone, not of tokens.
    """

    per_row: ClassVar[bool] = False

    @property
    def dumped(self) -> tuple[str, ...]:
        """What a dump has to store for it, as ``--signal`` takes it, where no teacher is known yet:
        ``L`` stands for layers that depend on the depth of both.
        """
        return ()

    @abstractmethod
    def teacher_signals(self, teacher: TeacherSignals, student: Model) -> list[str]:
        """The signals that the teacher must have, counted from its first layer. Raises SpecError
        where the layers of both do not fit.
        """

    @abstractmethod
    def student_signals(self, teacher: TeacherSignals, student: Model) -> list[str]:
        """The student's, in the same manner."""

    def modules(self, teacher: TeacherSignals, student: Model) -> nn.Module:
        """What is learnt beside the student. Raises SpecError for widths or heads that do not fit."""
        return nn.Module()

    def cost(self, teacher: TeacherSignals, student: Model) -> list[tuple[Side, ForwardCost]]:
        """What a budget of FLOPs counts of it, besides the forward passes of both: of each token,
        each pair of tokens and each row. A term that does not say it is not counted, and a run says
        so.
        """
        return []

    @property
    def is_counted(self) -> bool:
        """Whether it says what it costs."""
        return type(self).cost is not SignalTerm.cost

    @abstractmethod
    def loss(
        self,
        batch: Compared,
        teacher: TeacherSignals,
        student: Model,
        modules: nn.Module,
    ) -> Tensor:
        """The loss of each row, f[B]."""


def depth(student: Model) -> int:
    """The number of layers of a student."""
    return len(layers_of(student))


def own_layer(student: Model, number: int) -> int:
    """A layer of the student from 1; negative ones count from the end. Raises SpecError beyond."""
    return _layer_of(depth(student), number, "student")


def _layer_of(count: int, number: int, who: str) -> int:
    """A layer from 1 to ``count``, of one that may count from the end."""
    layer = count + number + 1 if number < 0 else number
    if not 1 <= layer <= count:
        raise SpecError(
            expected=f"a layer of the {who} from 1 to {count}, or from -{count} to -1",
            found=number,
            advice="Name one that is there, such as -1.",
            where=f"layer {number}",
        )
    return layer


def attention_cost(attention: Attention, projections: int, products: int) -> ForwardCost:
    """Of so many projections of each token, and products of vectors for each pair of tokens."""
    size, width = attention.query.shape
    return ForwardCost(2.0 * projections * size * width, 2.0 * products * size, 0.0)


def own_scores(student: Model, layer: int, vectors: Mapping[str, Tensor]) -> Factors:
    """The attention scores of a layer of the student, of its own queries and keys."""
    return attention_of(student, layer).scores_of(
        vectors[f"query:{layer}"], vectors[f"key:{layer}"]
    )
