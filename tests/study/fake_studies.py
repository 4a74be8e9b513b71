"""Folders of studies whose trials' answers tests name, without a student."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from logitcache.study.folder import End, Planned, State, record_end, record_teacher, write_plan
from tests.fake_results import right_on, write_result

TASKS = ("rte", "sst5")
METHODS = ("base", "kd", "soft")


def write_trial(folder: Path, trial: Planned, right: int, **changes: Any) -> None:
    """A finished trial that answers so many of 200 rows rightly. ``soft`` is a kd of alpha 0.9."""
    method = "kd" if trial.method == "soft" else trial.method
    alpha = {"base": None, "kd": 0.5, "soft": 0.9}[trial.method]
    values: dict[str, Any] = {
        "data": {"source": trial.task, "digest": trial.task * 4, "train_rows": 3000},
        "alpha": alpha,
        "versions": {"logitcache": "0.1"},
        "history": [{"epoch": e, "accuracy": 0.5 + 0.1 * e, "nll": 1.0} for e in (1.0, 2.0)],
        "train_seconds": 60.0,
        "splits": right_on(right),
    }
    out = folder / "trials" / trial.id
    write_result(out, method, trial.seed, **{**values, **changes})
    record_end(folder, trial, End(State.DONE, seconds=61.0))


def write_study(folder: Path, seeds: int = 3, margin: float | None = 0.02, **spec: Any) -> Path:
    """Two tasks with one student: kd is ahead on sst5 alone. One trial diverged, one has not run."""
    trials = [
        Planned(task, "2x128", method, seed, {}, None)
        for task in TASKS
        for method in METHODS
        for seed in range(seeds)
    ]
    plan = {"methods": dict.fromkeys(METHODS), "margin": margin, "split": None, "baseline": "base"}
    teachers = [{"id": f"{task}-t", "task": task, "name": "large", "options": {}} for task in TASKS]
    write_plan(folder, "kobyzev-table1", {**plan, **spec}, ["AdamW"], trials, teachers)
    for task in TASKS:
        end = End(State.DONE, figures={"metrics": {"test": {"accuracy": 0.8}}})
        record_teacher(folder, f"{task}-t", end)
    for trial in trials:
        gain = 20 if trial.method == "kd" and trial.task == "sst5" else 0
        if trial.method == "soft" and trial.seed == seeds - 1:
            if trial.task == "rte":
                record_end(folder, trial, End(State.DIVERGED, {"kind": "E", "message": "NaN"}))
            continue
        write_trial(folder, trial, 120 + trial.seed + gain)
    return folder
