"""What every term of a loss keeps to: each entry of TERMS is tried."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from logitcache.cache.cache import Cache
from logitcache.config.budget import budget_of
from logitcache.config.option import options_of
from logitcache.config.signals import parse_signal
from logitcache.config.terms import TERMS, needs_teacher
from logitcache.errors import SpecError
from logitcache.models.signals import signal_of
from logitcache.stages.budget import uncounted
from logitcache.student.budget import Plan
from logitcache.student.term import OwnObjective, Term
from logitcache.student.terms.contract import SignalTerm
from logitcache.student.terms.objective import SumObjective
from tests.fake_caches import make, plan
from tests.student.test_terms import student_of


@dataclass(frozen=True)
class Unrelated:
    """A term that derives from nothing."""


@pytest.mark.parametrize("name", TERMS)
def test_its_settings_are_options_and_recorded(name: str) -> None:
    goal = SumObjective.of(f"{name}=2")
    ((_, _, term),) = goal.terms
    declared = {setting.name for setting in options_of(type(term))}
    assert declared == {member.name for member in fields(term)}
    assert goal.record()["terms"] == [{"name": name, "weight": 2, **asdict(term)}]


@pytest.mark.parametrize("name", TERMS)
def test_a_dump_is_told_what_a_term_with_a_teacher_needs(name: str) -> None:
    ((_, _, term),) = SumObjective.of(f"{name}=1").terms
    assert bool(term.dumped) == needs_teacher(f"{name}=1")
    for signal in term.dumped:
        parse_signal(signal.replace(":L", ":1"))


@pytest.mark.parametrize("name", TERMS)
def test_it_adds_to_the_loss_of_each_row(name: str) -> None:
    goal = SumObjective.of(f"{name}=2")
    if not goal.signal_terms:
        weights = goal.target(torch.zeros(3, dtype=torch.int64), None, width=5).weights
        assert float(weights.label[0, 0]) + weights.teacher > 0
        return
    student = student_of(width=16)
    teacher = SimpleNamespace(teacher=SimpleNamespace(model=student_of()))
    terms = goal.bound(student, teacher)
    rows, length = 3, 7
    shape = (rows,) if goal.signal_terms[0][1].per_row else (rows, length)
    theirs = {signal: torch.randn(*shape, 32) for signal in terms.teacher_signals}
    ours = {signal.name: torch.randn(*shape, 16) for signal in terms.student_signals}
    assert all(signal_of(signal).name == signal for signal in terms.teacher_signals)
    batch = SimpleNamespace(inputs={"attention_mask": torch.ones(rows, length)}, vectors=theirs)
    loss = terms(student, ours, batch)
    assert loss.shape == (rows,)
    assert (loss > 0).all()


@pytest.mark.parametrize("name", TERMS)
def test_it_says_what_it_costs(name: str) -> None:
    """A sum over logits costs what the student's head does, and a replayed head."""
    ((_, _, term),) = SumObjective.of(f"{name}=1").terms
    assert not isinstance(term, SignalTerm) or term.is_counted


@dataclass(frozen=True)
class Free(SignalTerm):
    """A term that does not say what it costs."""

    def teacher_signals(self, teacher: Any, student: Any) -> list[str]:
        return []

    student_signals = teacher_signals

    def loss(self, batch: Any, teacher: Any, student: Any, modules: Any) -> Any: ...


class Own(Term):
    """A loss of one's own."""

    def __call__(self, logits: Any, labels: Any, teacher: Any) -> Any: ...


def test_a_loss_that_does_not_say_what_it_costs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TERMS, "free", f"{__name__}:Free")
    mixed = SumObjective.of("mlm=1,minilm=1,free=1")
    flops = Plan(budget_of("1e9flops"), 0.0)
    words = "the FLOPs of the loss free are not counted"
    assert words in str(uncounted(flops, mixed))
    assert "mine:Own" in str(uncounted(flops, OwnObjective("mine:Own", Own())))
    assert uncounted(flops, SumObjective.of("vanilla-kd")) is None
    assert uncounted(Plan(budget_of("9s"), 0.0), mixed) is None


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("minilm", "Dump again with --signal logits --signal attention-input:-1, into a new --out"),
        ("tinybert-bui", "--signal attention-input:1 --signal attention-input:-1 --signal hid"),
        ("tinybert", "--signal hidden:L, into a new --out. L: each layer of the teacher that one"),
    ],
)
def test_a_cache_of_logits_alone_names_the_dump(method: str, words: str, tmp_path: Path) -> None:
    """Which does not know how deep its teacher is."""
    make(tmp_path / "cache", plan(10))
    with pytest.raises(SpecError, match=words):
        SumObjective.of(method).bound(student_of(), Cache.open(tmp_path / "cache"))


def test_a_term_that_nothing_adds_up_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TERMS, "focal", f"{__name__}:Unrelated")
    words = r"term focal: expected a class that derives from .*\.SignalTerm, found .*\.Unrelated"
    with pytest.raises(TypeError, match=words):
        SumObjective.of("mlm=1,focal=1")
