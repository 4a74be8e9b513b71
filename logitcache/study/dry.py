"""``study run --dry-run``: the trials, the shared teachers, and what they would take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from logitcache.config.bench import ONLINE, PlanConfig
from logitcache.config.budget import Unit
from logitcache.config.data import EMBEDDING
from logitcache.config.methods import METHODS
from logitcache.config.option import build, options_of
from logitcache.config.own import is_own
from logitcache.config.train import TrainConfig
from logitcache.config.workspace import Workspace
from logitcache.data.sources import presets
from logitcache.errors import LogitCacheError
from logitcache.reporter import SILENT, Reporter
from logitcache.study.plan import Plan, Teacher, Trial
from logitcache.study.run import Sources

if TYPE_CHECKING:
    from logitcache.forecast.forecast import Costed

HOUR = 3600
_TAKEN = frozenset(declared.name for declared in options_of(PlanConfig))
_OF_TEACHER = frozenset({"tokenizer", "revision", "trust_remote_code"})  # of the student in a trial


@dataclass(frozen=True)
class Group:
    """The trials of one task and student that cost the same but for their methods."""

    task: str
    student: str
    trials: Mapping[str, int]  # by method
    hours: float | None  # None where nothing can be foretold
    reason: str = ""  # why not


@dataclass(frozen=True)
class Dumped:
    """A teacher, and what its fine-tuning and its dump take."""

    id: str
    task: str
    name: str
    trials: int  # that share it
    finetune_hours: float | None = None
    dump_hours: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class DryRun:
    """What a study would do."""

    name: str
    folder: str
    trials: int
    groups: tuple[Group, ...]
    teachers: tuple[Dumped, ...]

    @property
    def hours(self) -> float | None:
        """All hours; None where a part of them cannot be foretold."""
        parts: list[float | None] = [group.hours for group in self.groups]
        for teacher in self.teachers:
            parts += [teacher.finetune_hours, teacher.dump_hours]
        return None if None in parts else sum(part or 0.0 for part in parts)

    @property
    def bytes(self) -> int | None:
        """Bytes of all caches of training rows; None where a part of them cannot be foretold."""
        sizes = [teacher.bytes for teacher in self.teachers]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "hours": self.hours, "bytes": self.bytes}


def dry_run(study: Plan, reporter: Reporter = SILENT) -> DryRun:
    """Forecast a study as `logitcache plan` does, one task and student at a time: some seconds of
    the real work for each. What cannot be forecast, such as models that are not on this machine,
    has no hours and says why. Raises SpecError for rows that cannot be read, except those of a
    preset, which another machine may have.
    """
    rows = Sources(study, SILENT)
    for trial in study.trials:
        data = trial.config.data
        if isinstance(data, str) and presets.find(data) is not None:
            continue
        try:
            rows.of(trial.config)
        except LogitCacheError as error:
            raise error.at(f"task {trial.planned.task}") from error.__cause__
    by_cost: dict[str, list[Trial]] = {}
    for trial in study.trials:
        values = _cost_values(trial, study.teachers.get(trial.planned.teacher or ""))
        key = repr((trial.planned.task, trial.planned.student, sorted(values.items())))
        by_cost.setdefault(key, []).append(trial)
    teachers: dict[str, Dumped] = {}
    with TemporaryDirectory() as scratch:
        workspace = Workspace(Path(scratch))
        groups = []
        for trials in by_cost.values():
            groups.append(_group(study, trials, teachers, workspace, reporter))
    dumped = tuple(teachers[name] for name in study.teachers if name in teachers)
    return DryRun(study.spec.name, str(study.folder), len(study.trials), tuple(groups), dumped)


def _cost_values(trial: Trial, teacher: Teacher | None) -> dict[str, Any]:
    """The options of `plan` that decide what a trial costs."""
    options = trial.planned.options
    names = _TAKEN - _OF_TEACHER - {"method"}
    values = {name: value for name, value in options.items() if name in names}
    if teacher is not None:
        values |= {name: value for name, value in teacher.options.items() if name in _TAKEN}
    return values


def _group(
    study: Plan,
    trials: Sequence[Trial],
    teachers: dict[str, Dumped],
    workspace: Workspace,
    reporter: Reporter,
) -> Group:
    from logitcache.forecast.forecast import plan

    first = trials[0].planned
    teacher = study.teachers.get(first.teacher or "")
    methods = dict(Counter(trial.planned.method for trial in trials))
    values = _cost_values(trials[0], teacher)
    kinds = {}
    for name in methods:
        kind = study.spec.methods[name]["method"]
        is_forecast = kind in (*METHODS, EMBEDDING)
        kinds[name] = kind if is_forecast else "kd"  # a user's own costs what kd does
    values["method"] = sorted(set(kinds.values()))
    live = trials[0].config.live
    values["workspace"] = workspace.folder
    reporter.note(f"{first.task} · {first.student}: {', '.join(methods)}")
    if teacher is not None:
        sharing = sum(trial.planned.teacher == teacher.id for trial in study.trials)
        name = teacher.config.teacher.name
        teachers.setdefault(teacher.id, Dumped(teacher.id, teacher.task, name, sharing))
    if is_own(trials[0].config.student):
        return Group(first.task, first.student, methods, None, "it is a student of your own")
    try:
        if trials[0].config.layers is not None:
            from logitcache.stages.layers import with_layers

            trained = replace(trials[0].config, workspace=workspace)
            values["student"] = with_layers(trained, trained.columns.task).student
        if teacher is None:
            values["teacher"] = live or values["student"]  # nobody asks it, but where it is live
        config = build(PlanConfig, values)
        if config.work.rows is not None:  # of students; a dump covers all rows
            config = replace(config, rows=config.work.rows, work=replace(config.work, rows=None))
        forecast = plan(config, SILENT)
    except LogitCacheError as error:
        return Group(first.task, first.student, methods, None, str(error))
    if teacher is not None:
        finetune = forecast.dump.finetune
        teachers[teacher.id] = replace(
            teachers[teacher.id],
            finetune_hours=0.0 if finetune is None else finetune.seconds / HOUR,
            dump_hours=forecast.dump.seconds / HOUR,
            bytes=forecast.bytes[forecast.setting["codec"]],
        )
    seconds = 0.0
    for name, count in methods.items():
        cost = forecast.methods[kinds[name] if live is None else ONLINE]
        run = _run_seconds(trials[0].config, cost, float(forecast.setting["tokens"]))
        if run is None:
            reason = "a budget of FLOPs, or of another run's steps, is not told in hours"
            return Group(first.task, first.student, methods, None, reason)
        seconds += count * run
    return Group(first.task, first.student, methods, seconds / HOUR)


def _run_seconds(config: TrainConfig, cost: Costed, tokens: float) -> float | None:
    """Of one run of rows of so many ``tokens``; None where its budget tells no seconds."""
    budget = config.pretraining.budget
    if budget is None:
        return cost.run_seconds
    if budget.unit is Unit.SECONDS:
        return budget.amount
    if budget.unit is Unit.TOKENS:
        return budget.amount / (config.batch_size * tokens) * cost.step_seconds
    if budget.unit is Unit.STEPS and budget.run is None:
        return budget.amount * cost.step_seconds
    return None


def text(dry: DryRun) -> str:
    """The same for people."""
    lines = [f"{dry.name} in {dry.folder}: {dry.trials} trials"]
    for teacher in dry.teachers:
        parts = f"fine-tuning {_hours(teacher.finetune_hours)}, dump {_hours(teacher.dump_hours)}"
        size = "" if teacher.bytes is None else f", {teacher.bytes / 1e6:,.1f} MB"
        shared = f"shared by {teacher.trials} trials"
        lines.append(f"teacher {teacher.name} on {teacher.task}: {parts}{size}; {shared}")
    for group in dry.groups:
        counts = ", ".join(f"{count} {method}" for method, count in group.trials.items())
        lines.append(f"{group.task} · {group.student}: {counts}: {_hours(group.hours)}")
        if group.reason:
            lines.append(f"  not forecast: {group.reason}")
    size = "" if dry.bytes is None else f", {dry.bytes / 1e6:,.1f} MB of caches"
    lines.append(f"in all: {_hours(dry.hours)}{size}, without evaluation")
    return "\n".join(lines)


def _hours(hours: float | None) -> str:
    if hours is None:
        return "? h"
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"
