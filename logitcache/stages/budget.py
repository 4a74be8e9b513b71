"""A run's budget: read from what was asked, with what a dump has cost, and the clock that keeps it."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from torch import nn

from logitcache import identity
from logitcache.cache.joined import Joined
from logitcache.config.budget import STEPS_FILE, Unit
from logitcache.config.train import TrainConfig
from logitcache.cost.flops import BACKWARD, forward_cost, shape_of, update_flops
from logitcache.data.rows import Rows
from logitcache.errors import FormatError, SpecError, counted
from logitcache.ranks import ranks
from logitcache.records import Int64
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.dump_cost import cost_of_rows
from logitcache.student.budget import NOT_CHARGED, BudgetClock, Charge, Plan
from logitcache.student.term import OwnObjective
from logitcache.student.terms.contract import SignalTerm
from logitcache.student.terms.objective import SumObjective
from logitcache.targets.replay import ReplayCodec
from logitcache.teacher.model import LiveTeacher

MOST_PASSES = 1_000_000  # over rows that are read again and again: the budget ends the training


def budget_plan(config: TrainConfig, charge: Charge = NOT_CHARGED) -> Plan | None:
    """How a run spends its budget; None where it has none. Raises SpecError where the run whose
    steps are to be repeated has none, or the charge leaves nothing, or several processes train.
    """
    budget = config.pretraining.budget
    if budget is None:
        return None
    if ranks() > 1:
        raise SpecError(
            expected="one process",
            found=f"{ranks()}",
            advice="Start it without torchrun, or give --epochs in place of it.",
            where="--budget",
        )
    evaluations = config.pretraining.evaluations
    if budget.run is not None:
        progress = recorded_progress(budget.run)
        amount = replace(budget, amount=float(len(progress)))
        return Plan(amount, config.warmup, replayed=progress, evaluations=evaluations)
    if charge.amount >= budget.amount:
        runs = 10
        while charge.amount * charge.runs / runs >= budget.amount:
            runs *= 10
        raise SpecError(
            expected="a budget above what is charged for the dump",
            found=f"{budget}, and a charge of {charge.amount:.4g} {budget.unit}",
            advice=f"Give more, or share the dump: --charge-dump {runs}.",
            where="--budget",
        )
    return Plan(budget, config.warmup, charge, evaluations=evaluations)


def charge_of(config: TrainConfig, teacher: Joined, row_id: Int64) -> Charge:
    """What a budget pays for the answers of a teacher to these rows of a run. Raises SpecError
    where their cost is not known, or is named in another unit.
    """
    pretraining = config.pretraining
    budget = pretraining.budget
    if budget is None or not budget.unit.is_cost:
        return NOT_CHARGED
    runs = 1 if pretraining.charge_dump is None else pretraining.charge_dump
    if not runs:
        return NOT_CHARGED
    if pretraining.dump_cost is None:
        cost = 0.0
        for part, rows in teacher.rows_by_part(row_id):
            for cache in part.caches:
                cost += cost_of_rows(config.workspace, cache, budget.unit, len(rows))
        return Charge(cost, runs)
    if pretraining.dump_cost.unit is not budget.unit:
        raise SpecError(
            expected=f"{budget.unit}, as the budget is",
            found=str(pretraining.dump_cost),
            advice=f"Give it in {budget.unit}.",
            where="--dump-cost",
        )
    return Charge(pretraining.dump_cost.amount, runs)


def recorded_progress(run: Path) -> tuple[float, ...]:
    """The share of its budget a run had spent after each step. Raises SpecError, FormatError."""
    path = run / STEPS_FILE
    if not path.is_file():
        raise SpecError(
            expected=f"the result folder of a run with a budget, which has {STEPS_FILE}",
            found="none there",
            advice="Give the folder that `logitcache pretrain` printed.",
            where=f"--budget steps-of:{run}",
        )
    try:
        return tuple(pq.read_table(path, columns=["progress"]).column(0).to_pylist())
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"cannot be read: {error}", where=path) from None


def budget_record(config: TrainConfig, charge: Charge = NOT_CHARGED) -> dict[str, Any]:
    """What a run records of its budget, if any. Steps of another run are recorded by content."""
    pretraining = config.pretraining
    budget = pretraining.budget
    if budget is None:
        return {}
    amount: Any = budget.amount
    if budget.run is not None:
        progress = recorded_progress(budget.run)
        amount = f"{len(progress)} steps of {identity.digest_json(progress)[:12]}"
    return {
        "budget": {"unit": str(budget.unit), "amount": amount},
        "regime": "fresh" if pretraining.is_fresh else "repeat",
        "charge_dump": {"runs": charge.runs, "cost": charge.cost},
    }


def check_text(plan: Plan, config: TrainConfig, rows: Rows, views: int, name: str) -> None:
    """Raises SpecError where text that is to be read once is surely too short for its budget."""
    if not config.pretraining.is_fresh:
        return
    unit = plan.unit
    if unit is Unit.STEPS:
        available = float(ceil(len(rows) // views / config.batch_size))
    elif unit is Unit.TOKENS and rows.tokens:
        available = float(rows.tokens["labels"].lengths()[::views].sum())
    else:
        return
    if available >= plan.amount:
        return
    raise SpecError(
        expected=f"text for {plan.budget}, none of it twice",
        found=counted(available, unit.removesuffix("s")),
        advice="Give more text or a smaller --budget, or read it again: --regime repeat.",
        where=name,
    )


def most_passes(config: TrainConfig) -> float:
    """Passes over the rows after which a training ends in any case."""
    return 1.0 if config.pretraining.is_fresh else float(MOST_PASSES)


def clock(
    plan: Plan,
    student: nn.Module,
    objective: object,
    live_teacher: LiveTeacher | None = None,
    stored: Joined | None = None,
    reporter: Reporter = SILENT,
) -> BudgetClock:
    """The clock of a run. ``live_teacher`` is asked in every step; else ``stored`` answers, if the
    method has a teacher. FLOPs of a step: those of a forward pass, twice as many for the backward
    pass, the teacher's forward pass or the last linear map of its that is replayed, and AdamW;
    those of an objective's terms are added where they are bound; a loss that does not say what it
    costs is noted. Raises SpecError for a budget of FLOPs and a student whose configuration names
    no sizes; of another budget none are counted then.
    """
    left_out = uncounted(plan, objective)
    if left_out is not None:
        reporter.note(left_out)
    try:
        own = forward_cost(student)
        update = update_flops(shape_of(student), 0, 0)
        teacher = None if live_teacher is None else forward_cost(live_teacher.teacher.model)
    except SpecError:
        if plan.unit is Unit.FLOPS:
            raise
        return BudgetClock(plan, None, 0.0)

    has_logits = asks_logits = True
    if isinstance(objective, SumObjective):
        has_logits = objective.has_logits
        asks_logits = bool(objective.soft_terms)
    replayed = replayed_flops(stored) if stored is not None and asks_logits else 0.0

    def flops_of(rows: int, length: int, positions: int) -> float:
        passes = (1 + BACKWARD) * own.of_batch(rows, length, positions if has_logits else 0)
        if teacher is None:
            return passes + replayed * positions
        return passes + teacher.of_batch(rows, length, positions if asks_logits else 0)

    return BudgetClock(plan, flops_of, update)


def replayed_flops(stored: Joined) -> float:
    """FLOPs of a position's logits where each cache of a row keeps what its teacher's last linear
    map is given.
    """
    codecs = [cache.codec for cache in stored.parts[0].caches]
    return sum(
        2.0 * codec.width * (codec.hidden or 0)
        for codec in codecs
        if isinstance(codec, ReplayCodec)
    )


def uncounted(plan: Plan, objective: object) -> str | None:
    """What a budget of FLOPs leaves out of an objective, as a note; None where it counts all."""
    if plan.unit is not Unit.FLOPS:
        return None
    names = []
    if isinstance(objective, OwnObjective):
        names.append(objective.method)
    elif isinstance(objective, SumObjective):
        names = [
            name
            for name, _, term in objective.terms
            if isinstance(term, SignalTerm) and not term.is_counted
        ]
    if not names:
        return None
    return (
        f"budget: the FLOPs of the loss {', '.join(names)} are not counted (it does not say what it costs), "
        "those of all else are"
    )
