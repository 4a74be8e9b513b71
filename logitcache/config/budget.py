"""A training's budget: how much it may spend, what counts, and which text it may read. No torch.

A budget is an amount of one of four things: seconds of training, FLOPs, tokens that the student
reads, or optimiser steps. ``steps-of:RUN`` is the steps of another run, at the learning rates that
it had: a run of a time budget can so be repeated to the step on another machine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from logitcache.config.option import Cost, option
from logitcache.errors import SpecError, counted

BUDGET = "Budget"
FORMS = "20m (s, m, h), 1e15flops, 50Mtokens, steps=1000 or steps-of:RUN"
STEPS_OF = "steps-of:"
AMOUNT = re.compile(r"(?P<number>[\d_.]+(?:e[+-]?\d+)?)\s*(?P<factor>[kMGTP]?)(?P<unit>[a-z]+)")
SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600}
FACTORS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
FRESH = "fresh"
REPEAT = "repeat"
REGIMES = (FRESH, REPEAT)
STEPS_FILE = "steps.parquet"  # of a result: what each of its steps has spent


class Unit(StrEnum):
    """What a budget is an amount of."""

    SECONDS = "seconds"
    FLOPS = "flops"
    TOKENS = "tokens"
    STEPS = "steps"

    @property
    def is_cost(self) -> bool:
        """Whether a teacher's dump can be paid in it."""
        return self in (Unit.SECONDS, Unit.FLOPS)


@dataclass(frozen=True)
class Budget:
    """So many seconds, FLOPs, tokens or steps; or the steps of the run in the folder ``run``, whose
    ``amount`` is known when that has been read.
    """

    unit: Unit
    amount: float
    run: Path | None = None

    def __str__(self) -> str:
        if self.run is not None:
            return f"{STEPS_OF}{self.run}"
        return shown(self.amount, self.unit)


def shown(amount: float, unit: Unit) -> str:
    """An amount for people."""
    if unit is Unit.STEPS:
        return counted(round(amount), "step")
    if unit is Unit.SECONDS:
        return f"{amount:,.1f} s" if amount >= 1 else f"{amount:.2g} s"
    return f"{amount:.4g} {'FLOPs' if unit is Unit.FLOPS else 'tokens'}"


def budget_of(value: Any) -> Budget:
    """A budget as it is typed. Raises ValueError."""
    if isinstance(value, Budget):
        return value
    text = str(value).strip()
    if text.startswith(STEPS_OF) and len(text) > len(STEPS_OF):
        return Budget(Unit.STEPS, 0, Path(text.removeprefix(STEPS_OF)))
    if text.startswith("steps="):
        text = f"{text.removeprefix('steps=')}steps"
    amount = _amount(text)
    if amount is None:
        raise ValueError(f"a budget such as {FORMS}")
    if amount.unit is Unit.STEPS and amount.amount != int(amount.amount):
        raise ValueError(f"a budget such as {FORMS}")
    return amount


def cost_of(value: Any) -> Budget:
    """What a dump has cost, as it is typed. Raises ValueError."""
    cost = budget_of(value)
    if not cost.unit.is_cost:
        raise ValueError("seconds or FLOPs, such as 310s or 2e15flops")
    return cost


def _amount(text: str) -> Budget | None:
    """A number with its unit; None for what is none."""
    match = AMOUNT.fullmatch(text)
    if match is None:
        return None
    try:
        number = float(match["number"]) * FACTORS[match["factor"]]
    except ValueError:
        return None
    if not 0 < number < float("inf"):
        return None
    if match["unit"] in SECONDS:
        return Budget(Unit.SECONDS, number * SECONDS[match["unit"]])
    unit = match["unit"].rstrip("s") + "s"
    return Budget(Unit(unit), number) if unit in set(Unit) else None


_budget_option = partial(option, group=BUDGET, cost=Cost.NOT_COUNTED, recorded=False)


@dataclass(frozen=True)
class Pretraining:
    """How much a training may spend, and on what."""

    budget: Budget | None = _budget_option(
        None,
        f"What the training may spend, in place of --epochs: {FORMS} (the steps and learning rates of another run). "
        "The learning rate rises and falls with what has been spent.",
        parse=budget_of,
        annotation="str",
    )
    regime: str | None = _budget_option(
        None,
        "Under a budget: read no row twice (fresh, the default), or the rows, or --rows of them, again and again "
        "(repeat).",
        choices=REGIMES,
    )
    charge_dump: int | None = _budget_option(
        None,
        "How many runs share the cost of the cache: 1 charges all of it to this run, 10 a tenth, 0 nothing. Default: 1 "
        "where the budget is time or FLOPs and a cache teaches, else 0.",
        minimum=0,
    )
    dump_cost: Budget | None = _budget_option(
        None,
        "What the dump of the training rows has cost, such as 310s or 2e15flops. Default: what the workspace "
        "records.",
        parse=cost_of,
        annotation="str",
    )
    evaluations: int = _budget_option(
        0,
        "Score dev that many times before the end, evenly over the budget: a curve, which the clock does not count.",
        minimum=0,
    )

    def check(self, epochs_given: bool, select: str | None, warmup: float) -> None:
        """Raises SpecError for options that no budget, or this one, has a use for."""
        if self.budget is None:
            for name in ("regime", "charge_dump", "dump_cost", "evaluations"):
                if getattr(self, name):
                    raise _useless(name, f"--budget beside it ({FORMS})", "none")
            return
        if epochs_given:
            raise _useless("epochs", "no --epochs beside --budget, which ends the training", "both")
        if select == "best":
            raise _useless("select", "last", "best", "with a budget the last weights are kept")
        if not self.budget.unit.is_cost:
            for name in ("charge_dump", "dump_cost"):
                if getattr(self, name):
                    raise _useless(
                        name,
                        "a budget of time or FLOPs, in which a dump has a cost",
                        f"--budget {self.budget}",
                    )
        if self.budget.unit is Unit.STEPS and self.budget.run is None:
            check_first_step(self.budget.amount, 1, Unit.STEPS, warmup)

    def check_pays_nothing(self, method: str) -> None:
        """Raises SpecError for the cost of a dump beside a method that learns from none."""
        for name in ("charge_dump", "dump_cost"):
            if getattr(self, name):
                expected = "a method that learns from a cache, whose dump is paid for"
                raise _useless(name, expected, f"--method {method}")

    @property
    def is_fresh(self) -> bool:
        """Whether no row may be read twice."""
        return self.budget is not None and self.regime in (None, FRESH)


def check_first_step(amount: float, step: float, unit: Unit, warmup: float) -> None:
    """Raises SpecError for a budget that is spent by its first step, or whose warm-up is. ``step``
    is what one costs, ``warmup`` the share of the budget with a rising learning rate.
    """
    if step > amount:
        raise SpecError(
            expected="at least one step of training",
            found=f"a budget of {shown(amount, unit)}, where one step takes {shown(step, unit)}",
            advice="Give more, or a smaller --batch-size.",
            where="--budget",
        )
    if 0 < warmup * amount < step:
        raise SpecError(
            expected="at least one step of rising learning rate",
            found=f"a budget of {shown(amount, unit)}, of which --warmup {warmup:g} is less than one step "
            f"({shown(step, unit)})",
            advice="Give more, a larger --warmup, or --warmup 0.",
            where="--budget",
        )


def _useless(name: str, expected: str, found: str, reason: str = "") -> SpecError:
    """The error over an option that does not fit beside the others."""
    return SpecError(
        expected=expected,
        found=found,
        reason=reason,
        advice="Leave it out.",
        where=f"--{name.replace('_', '-')}",
    )
