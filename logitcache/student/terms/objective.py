"""A sum of terms as an objective, and bound to a student and its teacher as a module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from logitcache.cache.cache import Cache
from logitcache.cache.joined import Joined
from logitcache.cache.joining import check_signals
from logitcache.cache.signals import missing
from logitcache.config.signals import OWN_VECTOR, POOLINGS
from logitcache.config.terms import summands_of, term_of
from logitcache.cost.flops import BACKWARD
from logitcache.data.collate import Collator
from logitcache.errors import SpecError
from logitcache.models.attention import (
    FAMILIES,
    Attention,
    Model,
    attention_of,
    from_assets,
    layers_of,
)
from logitcache.models.documents import numbered
from logitcache.models.projection import as_computed
from logitcache.models.sentence import SentenceEncoder
from logitcache.models.signals import Signal, signal_of
from logitcache.payloads import Payload
from logitcache.records import Array, Batch
from logitcache.student.losses import Weights
from logitcache.student.losses.gradient import Target
from logitcache.student.terms.contract import Compared, Side, SignalTerm, TeacherSignals
from logitcache.student.terms.logits import Gold, Soft
from logitcache.teacher.model import LiveTeacher


@dataclass(frozen=True)
class SumObjective:
    """Terms with their weights. It has none of the numbers that our other methods have."""

    method: str
    terms: tuple[tuple[str, float, Any], ...]  # name, weight, term
    alpha: None = None
    a: None = None
    soft_factor: None = None

    @classmethod
    def of(cls, method: str) -> SumObjective:
        """The sum that a method names. Raises SpecError, and TypeError for a term in
        :data:`~logitcache.config.terms.TERMS` that is not of a kind that is added up here.
        """
        terms = []
        for summand in summands_of(method):
            term = term_of(summand)
            _check_kind(summand.name, type(term))
            terms.append((summand.name, summand.weight, term))
        return cls(method, tuple(terms))

    @property
    def temperature(self) -> float | None:
        """At which the teacher's logits are compared; None where none are."""
        return 1.0 if self.soft_terms else None

    @property
    def soft_terms(self) -> list[tuple[float, Soft]]:
        return [(weight, term) for _, weight, term in self.terms if isinstance(term, Soft)]

    @property
    def signal_terms(self) -> list[tuple[float, SignalTerm]]:
        return [(weight, term) for _, weight, term in self.terms if isinstance(term, SignalTerm)]

    @property
    def has_logits(self) -> bool:
        """Whether logits of the student are compared with anything."""
        return any(isinstance(term, Gold | Soft) for _, _, term in self.terms)

    @property
    def compares_tokens(self) -> bool:
        """Whether vectors of the teacher's tokens are compared with the student's."""
        return any(not term.per_row for _, term in self.signal_terms)

    def record(self) -> dict[str, Any]:
        """What a result records of it."""
        numbers = dict.fromkeys(("alpha", "a", "temperature", "soft_factor"))
        terms = []
        for name, weight, term in self.terms:
            terms.append({"name": name, "weight": weight, **asdict(term)})
        return {"method": self.method, **numbers, "terms": terms}

    def target(self, labels: Tensor, teacher: Payload[Tensor] | None, width: int) -> Target:
        """Targets i64[P] of the logits of ``width`` words at positions; -1 for no label."""
        gold = sum(weight for _, weight, term in self.terms if isinstance(term, Gold))
        soft = sum(weight * term.factor(width) for weight, term in self.soft_terms)
        label = torch.where(labels >= 0, float(gold), 0.0)[:, None]
        return Target(labels, Weights(label, 0.0, float(soft)), teacher if soft else None)

    def bound(self, student: Model, teacher: Any) -> BoundSum:
        """With a student and its teacher: a cache, several joined, or a live one. Raises SpecError
        for a teacher without the signals that the terms want, or models that do not fit.
        """
        return BoundSum(self, student, teacher)


def _check_kind(name: str, kind: type) -> None:
    """Raises TypeError for a term whose class nothing here adds up: its loss would be left out."""
    if not issubclass(kind, Gold | Soft | SignalTerm):
        own = f"{kind.__module__}.{kind.__qualname__}"
        expected = f"{SignalTerm.__module__}.{SignalTerm.__qualname__}"
        raise TypeError(
            f"term {name}: expected a class that derives from {expected}, found {own}. "
            "Derive it from that; a loss of logits is a logitcache.student.term.Term of its own."
        )


def bound_to(
    objective: Any, student: Model, collator: Collator
) -> tuple[BoundSum | None, Collator]:
    """The terms of signals of an objective (None where it has none), and the collator whose batches
    have what they want. A live teacher whose logits no term wants gives none. Raises SpecError, as
    :meth:`SumObjective.bound`.
    """
    if not isinstance(objective, SumObjective) or not objective.signal_terms:
        return None, collator
    ((name, teacher),) = collator.teachers.items()
    terms = objective.bound(student, teacher)
    if isinstance(teacher, LiveTeacher) and not objective.soft_terms:
        teacher = replace(teacher, gives_logits=False)
    return terms, replace(collator, teachers={name: teacher}, signals=terms.teacher_signals)


class BoundSum(nn.Module):
    """The terms of signals with a student and a teacher; it learns their modules' parameters."""

    def __init__(self, objective: SumObjective, student: Model, teacher: Any) -> None:
        super().__init__()
        self.terms = objective.signal_terms
        signals = _signals_of(teacher)
        _check_any(self.terms, signals, teacher)
        of_teacher: dict[str, None] = {}  # names of signals, each once
        of_student: dict[str, None] = {}
        for _, term in self.terms:
            of_teacher |= dict.fromkeys(term.teacher_signals(signals, student))
            of_student |= dict.fromkeys(term.student_signals(signals, student))
        self.teacher_signals = tuple(of_teacher)
        _check_signals(self.teacher_signals, signals, teacher)
        self.parts = nn.ModuleList(term.modules(signals, student) for _, term in self.terms)
        if isinstance(teacher, Joined):
            check_signals(teacher, self.teacher_signals)
        self.student_signals: tuple[Signal, ...] = tuple(map(signal_of, of_student))
        self._signals = {torch.device("cpu"): signals}

    def forward(
        self, student: Model, vectors: Mapping[str, Tensor], batch: Batch[Tensor]
    ) -> Tensor:
        """The weighted sum of the terms of each row, f32[B]. ``vectors``: the student's signals."""
        is_token = batch.inputs["attention_mask"].bool()
        teacher_vectors = {}
        for name, values in batch.vectors.items():
            teacher_vectors[name] = as_computed(values).float()
        positions = batch.inputs.get("position_ids")
        document = None if positions is None else numbered(positions, is_token)
        compared = Compared(teacher_vectors, vectors, is_token, document)
        signals = self._signals_on(is_token.device)
        with torch.autocast(is_token.device.type, enabled=False):
            losses = []
            for (weight, term), part in zip(self.terms, self.parts, strict=True):
                losses.append(weight * term.loss(compared, signals, student, part))
        return torch.stack(losses).sum(0)

    def flops_of(self, student: Model) -> Callable[[int, int], float]:
        """FLOPs of the terms of a batch [rows, length], a student's backward passes included."""
        signals = self._signals[torch.device("cpu")]
        costs = []
        for _, term in self.terms:
            costs += term.cost(signals, student)

        def of_batch(rows: int, length: int) -> float:
            total = 0.0
            for side, cost in costs:
                passes = 1 + BACKWARD if side is Side.STUDENT else 1
                total += passes * cost.of_batch(rows, length, rows)
            return total

        return of_batch

    def _signals_on(self, device: torch.device) -> TeacherSignals:
        """The teacher's signals on a device, where they stay."""
        if device not in self._signals:
            signals = self._signals[torch.device("cpu")]
            attention = {}
            for name, own in signals.attention.items():
                attention[name] = own.mapped(lambda values: values.to(device))
            self._signals[device] = replace(signals, attention=attention)
        return self._signals[device]


def _signals_of(teacher: Any) -> TeacherSignals:
    """What a teacher has besides logits."""
    if isinstance(teacher, Joined | Cache):
        cache = teacher.caches[0] if isinstance(teacher, Joined) else teacher
        widths = {name: signal.codec.width for name, signal in cache.signals.items()}
        layers = cache.manifest.plan.teacher.get("layers")
        return TeacherSignals(widths, attention_in(cache.assets, tuple(widths)), layers)
    return _signals_of_model(teacher.teacher.model)


def _signals_of_model(model: Model) -> TeacherSignals:
    """Every signal that a model has."""
    layers = len(layers_of(model))
    names = [f"hidden:{layer}" for layer in range(layers + 1)]
    names += [f"pooled:{pooling}" for pooling in POOLINGS if f"pooled:{pooling}" != OWN_VECTOR]
    if isinstance(model, SentenceEncoder):
        names.append(OWN_VECTOR)
    attention: dict[str, Attention] = {}
    if model.config.model_type in FAMILIES:
        for layer in range(1, layers + 1):
            own = attention_of(model, layer).mapped(lambda values: values.detach().float().cpu())
            attention[f"attention-input:{layer}"] = own
    widths = {name: signal_of(name).width(model) for name in (*names, *attention)}
    return TeacherSignals(widths, attention, layers)


def attention_in(assets: Mapping[str, Array], names: tuple[str, ...]) -> dict[str, Attention]:
    """The attention of each signal that tensors kept once have one of, in single precision."""
    attention = {}
    for name in names:
        if f"{name}.shape" in assets:
            attention[name] = from_assets(assets, name).mapped(Tensor.float)
    return attention


def _check_any(
    terms: Sequence[tuple[float, SignalTerm]], signals: TeacherSignals, teacher: Any
) -> None:
    """Raises SpecError for a cache that keeps no vector of a token, where a term compares some:
    which layers they are of follows from the teacher's depth, which it does not know.
    """
    if signals.layers is not None or not isinstance(teacher, Joined | Cache):
        return
    wanted = [name for _, term in terms if not term.per_row for name in term.dumped]
    if not wanted:
        return
    cache = teacher.caches[0] if isinstance(teacher, Joined) else teacher
    error = missing(cache, *dict.fromkeys(wanted))
    if any(name.endswith(":L") for name in wanted):
        error.advice = (
            f"{error.advice} L: each layer of the teacher that one of the student is compared with."
        )
    raise error


def _check_signals(names: Sequence[str], signals: TeacherSignals, teacher: Any) -> None:
    """Raises SpecError for a teacher without some of these signals, naming all of them."""
    lacking = [name for name in names if name not in signals.widths]
    if not lacking:
        return
    if isinstance(teacher, Joined | Cache):
        cache = teacher.caches[0] if isinstance(teacher, Joined) else teacher
        raise missing(cache, *lacking)
    raise SpecError(
        expected=f"a teacher with {', '.join(lacking)}",
        found=", ".join(signals.widths) or "logits alone",
        advice="Name another layer, or another method.",
        where=str(getattr(teacher, "where", "teacher")),
    )
