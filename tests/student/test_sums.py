"""Sums of terms: how they are named, and what is refused."""

from __future__ import annotations

import pytest

from logitcache.config.methods import METHODS, method_name
from logitcache.config.terms import SUMS, is_sum, signal_options, summands_of
from logitcache.errors import SpecError
from logitcache.student.terms.contract import TeacherSignals
from logitcache.student.terms.objective import SumObjective


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mml=1", r"expected a term among .*Did you mean mlm"),
        ("mlm=0", "a positive weight"),
        ("mlm=x", r"a positive weight, found 'x'\. Give it as mlm=1"),
        ("mlm=1,mlm=2", "mlm twice"),
        ("mlm=1,minilm=1:heads", r"a value of 'heads', .*minilm=1:heads=VALUE"),
        ("minilm=1:haeds=4", r"^minilm: haeds: .*Did you mean heads"),
        ("minilm=1:heads=x", "^minilm: heads: expected a whole number"),
        ("mlm=1:x=1", "^mlm: x: expected no settings"),
    ],
)
def test_a_sum_that_cannot_be_is_refused(text: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        method_name(text)


@pytest.mark.parametrize(
    ("method", "signals"),
    [
        ("kd", ""),
        ("vanilla-kd", ""),
        ("minilm=1:layer=-2", "attention-input:-2"),
        ("kd=1,embedding=1:pooling=first", "logits pooled:first"),
        ("tinybert", "hidden:0 attention-input:L hidden:L"),
        ("tinybert=1:layers=2+4", "hidden:0 attention-input:2 hidden:2 attention-input:4 hidden:4"),
        ("tinybert-bui", "attention-input:1 attention-input:-1 hidden:-1"),
    ],
)
def test_a_method_names_what_a_dump_has_to_store(method: str, signals: str) -> None:
    assert signal_options(method) == "".join(f" --signal {name}" for name in signals.split())


def test_a_method_is_a_named_sum() -> None:
    for name in SUMS:
        assert is_sum(name)
        assert method_name(name) == name
        assert METHODS[name].needs_teacher
        assert [one.name for one in summands_of(name)] == [
            one.name for one in summands_of(SUMS[name])
        ]
        assert SumObjective.of(name).record()["terms"]
    assert not METHODS["mlm=1"].needs_teacher
    assert not any(is_sum(name) for name in METHODS)


def test_a_layer_from_the_end_needs_the_teachers_depth() -> None:
    assert TeacherSignals({}, layers=12).layer(-2) == 11
    assert TeacherSignals({}).layer(3) == 3
    with pytest.raises(SpecError, match="Name the layer counted from 1"):
        TeacherSignals({}).layer(-1)
