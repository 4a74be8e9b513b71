"""A budget: how it is typed, what the clock counts, and when a training ends."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainerControl, get_linear_schedule_with_warmup

from logitcache.config.budget import Budget, Unit, budget_of
from logitcache.config.option import build
from logitcache.config.train import TrainConfig
from logitcache.errors import SpecError
from logitcache.student import budget as budgets
from logitcache.student.budget import BudgetClock, Charge, Plan, rate


@pytest.mark.parametrize(
    ("typed", "unit", "amount"),
    [
        ("20m", Unit.SECONDS, 1200),
        ("1.5h", Unit.SECONDS, 5400),
        ("90s", Unit.SECONDS, 90),
        ("1e15flops", Unit.FLOPS, 1e15),
        ("3PFLOPS".replace("FLOPS", "flops"), Unit.FLOPS, 3e15),
        ("50Mtokens", Unit.TOKENS, 50e6),
        ("50_000 tokens", Unit.TOKENS, 50_000),
        ("steps=1000", Unit.STEPS, 1000),
        ("1000steps", Unit.STEPS, 1000),
    ],
)
def test_a_budget_as_it_is_typed(typed: str, unit: Unit, amount: float) -> None:
    assert budget_of(typed) == Budget(unit, pytest.approx(amount))


@pytest.mark.parametrize(
    "typed", ["", "20", "m", "0m", "-1h", "1e999h", "5days", "steps=1.5", "steps-of:"]
)
def test_what_is_no_budget_is_refused_with_the_forms(typed: str) -> None:
    with pytest.raises(
        SpecError, match=r"--budget: expected a budget such as 20m \(s, m, h\), 1e15flops"
    ):
        build(TrainConfig, {"budget": typed}, typed=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"regime": "fresh"}, "--regime: expected --budget beside it"),
        ({"budget": "1h", "epochs": 2}, "--epochs: expected no --epochs beside --budget"),
        ({"budget": "1h", "select": "best"}, "--select: expected last"),
        (
            {"budget": "1Mtokens", "charge_dump": 1, "method": "kd"},
            "--charge-dump: expected a budget of time or FLOPs",
        ),
        ({"budget": "steps=10", "warmup": 0.05}, r"of which --warmup 0.05 is less than one step"),
        (
            {"budget": "1h", "charge_dump": 10, "method": "base"},
            "--charge-dump: expected a method that learns from a cache.*found --method base",
        ),
        ({"dump_cost": "5steps", "budget": "1h"}, "dump_cost: expected seconds or FLOPs"),
    ],
)
def test_options_that_do_not_fit_a_budget(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build(TrainConfig, values).check()


@given(warm=st.integers(0, 50), steps=st.integers(51, 200))
def test_the_rate_of_a_budget_of_steps_is_that_of_a_linear_schedule(warm: int, steps: int) -> None:
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = get_linear_schedule_with_warmup(optimizer, warm, steps).lr_lambdas[0]
    for step in range(steps + 1):
        assert rate(step / steps, warm / steps) == pytest.approx(schedule(step), abs=1e-12)


class World:
    """A training that costs what it is told to, by a clock of its own."""

    def __init__(self, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(budgets.time, "perf_counter", lambda: self.now)
        self.plan = plan
        self.control = TrainerControl()

    def begin(self, saved: str | None = None) -> BudgetClock:
        """A process that starts, takes a while, and goes on from a checkpoint."""
        clock = BudgetClock(self.plan, lambda rows, length, positions: 1000.0, 0.0)
        self.now += 3
        stored = {} if saved is None else {"BudgetClock": json.loads(saved)}
        clock.on_train_begin(None, SimpleNamespace(stateful_callbacks=stored), self.control)
        self.now += 2
        clock.on_epoch_begin(None, None, self.control)
        return clock

    def step(self, clock: BudgetClock, seconds: float) -> None:
        inputs = {"input_ids": SimpleNamespace(shape=(8, 16))}
        clock.read(SimpleNamespace(inputs=inputs, where=[0] * 20), 100)
        self.now += seconds
        clock.on_optimizer_step(None, None, self.control)
        clock.on_step_end(None, None, self.control)

    def evaluate(self, clock: BudgetClock) -> None:
        self.now += 7
        clock.on_evaluate(None, None, self.control)


UNITS = {Unit.SECONDS: 0.05, Unit.FLOPS: 1000.0, Unit.TOKENS: 100.0, Unit.STEPS: 1.0}


@given(
    unit=st.sampled_from(sorted(UNITS)),
    steps=st.floats(30, 120),
    kills=st.lists(st.integers(1, 25), max_size=5),
    charged=st.booleans(),
)
def test_a_run_that_is_killed_and_goes_on_spends_its_budget(
    unit: Unit, steps: float, kills: list[int], charged: bool
) -> None:
    """Within half a step, whatever was done beside training and however often it was begun again
    from a checkpoint of some steps before."""
    cost = UNITS[unit]
    whole = round(steps) if unit is Unit.STEPS else steps
    is_charged = charged and unit.is_cost
    charge = Charge(50 * cost, 10) if is_charged else Charge()
    plan = Plan(Budget(unit, whole * cost + charge.amount), 0.1, charge)
    with pytest.MonkeyPatch.context() as monkeypatch:
        world = World(plan, monkeypatch)
        clock = world.begin()
        saved = None
        for kill in kills:
            for _ in range(kill):
                if world.control.should_training_stop:
                    break
                world.step(clock, 0.05)
                world.evaluate(clock)
                if world.control.should_save:
                    saved = json.dumps(clock.state())
                    world.control.should_save = False
            world.control.should_training_stop = False
            clock = world.begin(saved)
            if clock.steps["progress"] and clock.is_spent():
                break
        while not clock.steps["progress"] or not clock.is_spent():
            world.step(clock, 0.05)
            world.evaluate(clock)
        assert abs(clock.spent() - whole * cost) <= cost / 2 + 1e-6
        assert len(clock.steps["progress"]) == pytest.approx(whole, abs=0.5 + 1e-6)
        assert clock.progress == pytest.approx(1, abs=0.5 / whole + 1e-6)
        assert clock.steps["tokens"][-1] == 100 * len(clock.steps["tokens"])


def test_a_budget_that_is_shorter_than_its_steps_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = World(Plan(Budget(Unit.SECONDS, 2.0), 0.06), monkeypatch)
    with pytest.raises(
        SpecError,
        match=r"--budget: expected at least one step of training, found a budget of 2.0 s",
    ):
        short.step(short.begin(), 2.5)
    cold = World(Plan(Budget(Unit.SECONDS, 100.0), 0.01), monkeypatch)
    clock = cold.begin()
    cold.step(clock, 10)  # the first of a process may take longer
    with pytest.raises(SpecError, match=r"at least one step of rising learning rate.*\(2.0 s\)"):
        cold.step(clock, 2)


def test_time_beside_training_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Plan(Budget(Unit.SECONDS, 100.0), 0.1), monkeypatch)
    clock = world.begin()
    world.step(clock, 4)
    world.evaluate(clock)
    world.step(clock, 4)
    assert clock.totals["seconds"] == 8
    assert clock.outside == {"set_up": 5, "evaluation": 7, "checkpoints": 0}
