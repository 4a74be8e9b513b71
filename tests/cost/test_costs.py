"""Costs added up: break-even, curves, the paper's protocol, energy and money."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.config.methods import METHODS
from logitcache.cost.costs import STUDY, Costs, Runs, StepCosts, break_even, curves, total
from logitcache.errors import SpecError

STEPS = StepCosts(
    {"base": 1.0, "ls": 2.0, "tf-reg": 3.0, "self-kd": 4.0, "kd": 5.0}, online=9.0, own_forward=0.5
)
MEASURED = {"base": 1.0, "ls": 2.0, "tf-reg": 3.0, "self-kd": 4.0, "kd": 5.0, "kd-online": 9.0}
FORWARD = 0.5  # of a base step
RUNS = Runs(rows=95, batch_size=10, epochs=3, seeds=2)  # 10 steps an epoch, 60 of each method
times = st.floats(0.001, 1000)


def test_a_study_is_the_sum_of_its_runs() -> None:
    found = total(STEPS, 7.0, RUNS)
    assert found.cached == 60 * (1 + 2 + 3 + 4 + 5) + 7 + 2 * 10 * 0.5
    assert found.online == 60 * (1 + 2 + 3 + (4 + 0.5) + 9)
    assert (found.base, found.ls) == (5 * 60 * 1, 5 * 60 * 2)


def test_the_dump_is_paid_for_kd_alone() -> None:
    assert total(STEPS, 7.0, RUNS, ["base", "ls"]).cached == 60 * 3
    assert total(STEPS, 7.0, RUNS, ["kd"]).cached == 60 * 5 + 7


def test_self_kd_needs_its_first_copies() -> None:
    alone = total(STEPS, 7.0, RUNS, ["self-kd"])
    assert alone.cached == 60 * (1 + 4) + 10
    assert total(STEPS, 7.0, RUNS, ["base", "self-kd"]).cached == alone.cached


def test_methods_with_a_teacher_see_unlabelled_rows() -> None:
    more = replace(RUNS, unlabelled=100)
    assert [more.epoch_steps(method) for method in METHODS] == [10, 10, 10, 20, 20]
    assert total(STEPS, 7.0, more, ["base", "kd"]).cached == 60 * 1 + 120 * 5 + 7


def test_steps_are_counted_as_trainer_does() -> None:
    assert Runs(33, 32, 2.5).epoch_steps("kd") == 2
    assert Runs(33, 32, 2.5).run_steps("kd") == 5


@given(times, times, times)
def test_at_break_even_both_have_cost_the_same(dump: float, online: float, cached: float) -> None:
    at = break_even(dump, online, cached)
    if online <= cached:
        assert at is None
    else:
        assert at is not None
        assert at * online == pytest.approx(dump + at * cached)


def test_the_curves_meet_where_it_is_broken_even() -> None:
    found, at = curves(MEASURED, 80.0, RUNS), Costs(MEASURED, 80.0, RUNS).break_even_epochs
    assert at == 80 / (10 * (9 - 5)) == 2
    assert found["epochs"] == [0, 1, 2, 3, 4, 5, 6]
    base, ls, online, cached = (found[name] or [] for name in ("base", "ls", "online", "cached"))
    assert online[2] == cached[2]
    assert cached[0] == pytest.approx(80 / 3600)
    assert base[-1] == pytest.approx(60 / 3600)
    assert ls[-1] == pytest.approx(120 / 3600)


def test_curves_have_a_bearable_number_of_points() -> None:
    found = curves(MEASURED, 80.0, Runs(95, 10, 30, 5))["epochs"]
    assert found is not None
    assert len(found) == 31
    assert (found[0], found[-1]) == (0, 150)


def test_unlabelled_rows_lengthen_the_epochs_of_a_teacher_in_the_loop_and_of_a_cache() -> None:
    few, more = (curves(MEASURED, 0.0, replace(RUNS, unlabelled=rows)) for rows in (0, 100))
    for name in ("online", "cached"):
        ends = [(hours[name] or [0.0])[-1] for hours in (few, more)]
        assert ends[0] > 0
        assert ends[1] == pytest.approx(2 * ends[0])
    assert few["ls"] == more["ls"]


def test_steps_that_were_all_measured_make_a_study() -> None:
    assert StepCosts.measured(MEASURED, FORWARD) == STEPS


@pytest.mark.parametrize("lacking", STUDY)
def test_what_was_not_measured_takes_no_more_with_it_than_is_made_of_it(lacking: str) -> None:
    steps = {case: each for case, each in MEASURED.items() if case != lacking}
    whole = Costs(MEASURED, 7.0, RUNS, FORWARD, MEASURED, 7.0, 36.0).to_dict()
    told = Costs(steps, 7.0, RUNS, FORWARD, steps, 7.0, 36.0).to_dict()
    assert [name for name in whole if told[name] is None] == [
        *(["break_even_epochs"] if lacking in ("kd", "kd-online") else []),
        *("protocol", "paper_protocol", "kwh", "money"),
    ]
    line = {"kd-online": "online", "kd": "cached"}.get(lacking, lacking)
    assert told["hours"] == {
        name: None if name == line else hours for name, hours in whole["hours"].items()
    }


def test_the_papers_protocol_stands_beside_whatever_was_asked() -> None:
    told = Costs(MEASURED, 7.0, RUNS, FORWARD, price_per_hour=36.0).to_dict()
    paper = Costs(MEASURED, 7.0, replace(RUNS, epochs=30, seeds=5), FORWARD).to_dict()
    assert told["paper_protocol"] == paper["paper_protocol"] == paper["protocol"]
    assert (told["protocol"]["epochs"], told["protocol"]["seeds"]) == (3, 2)
    assert [told["paper_protocol"][key] for key in ("epochs", "seeds", "methods")] == [30, 5, 5]
    assert told["money"]["cached"] == pytest.approx(36 * told["protocol"]["cached_hours"])


def test_the_document() -> None:
    told = Costs(MEASURED, 7.0, Runs(95, 10, 30, 5), FORWARD, price_per_hour=36.0).to_dict()
    assert json.loads(json.dumps(told)) == told
    assert set(told) == {
        *("rows", "epochs", "seeds", "hours", "break_even_epochs", "protocol", "paper_protocol"),
        *("kwh", "price_per_hour", "money"),
    }
    assert told["protocol"]["methods"] == 5
    assert told["protocol"]["cached_hours"] == pytest.approx((1500 * 15 + 7 + 25) / 3600)
    assert told["money"]["cached"] == pytest.approx(36 * told["protocol"]["cached_hours"])
    assert told["kwh"] is None


def test_energy_is_added_up_as_time_is() -> None:
    told = Costs(MEASURED, 7.0, RUNS, joules=MEASURED, dump_joules=7.0).to_dict()
    assert told["kwh"]["online"] * 3.6e6 == pytest.approx(told["protocol"]["online_hours"] * 3600)
    assert told["money"] is None


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"seeds": 0}, {"batch_size": 0}, {"rows": 0}, {"epochs": -1.0}]
)
def test_none_of_anything_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(
        SpecError, match=f"{next(iter(wrong)).replace('_', '-')}: expected a number above 0, found"
    ):
        replace(RUNS, **wrong)


@pytest.mark.parametrize("methods", [["kd", "kdd"], []])
def test_unknown_methods_are_refused(methods: list[str]) -> None:
    with pytest.raises(SpecError, match="--method: expected some of base, ls"):
        total(STEPS, 7.0, RUNS, methods)
