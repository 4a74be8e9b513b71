"""The cells of a study's table (a method's scores over its seeds), growing and complete."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from logitcache.config.workspace import RESULT
from logitcache.errors import IncompleteStudy
from logitcache.store.json_files import read_json
from logitcache.study.folder import Entry, Planned, State, StudyFolder
from logitcache.study.stats import sample_std


@dataclass(frozen=True)
class Cell:
    """A method's scores on one task with one student."""

    task: str
    student: str
    method: str
    metric: str
    split: str
    scores: tuple[float, ...]
    seeds: int  # of the study

    def __str__(self) -> str:
        names = f"{self.task} · {self.student} · {self.method}"
        seeds = f"{len(self.scores)} of {self.seeds} seeds"
        return f"{names}: {self.metric} {self._figure()} on {self.split} ({seeds})"

    def short(self) -> str:
        """The figures alone."""
        return f"{self._figure()} ({len(self.scores)}/{self.seeds})"

    def _figure(self) -> str:
        std = sample_std(self.scores)
        mean = f"{fmean(self.scores):.4f}"
        return mean if std is None else f"{mean} ± {std:.4f}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "student": self.student,
            "method": self.method,
            "metric": self.metric,
            "split": self.split,
            "mean": fmean(self.scores),
            "std": sample_std(self.scores),
            "n": len(self.scores),
        }


class Cells:
    """All cells of a study: what its finished trials have scored."""

    def __init__(self, trials: Iterable[Entry], split: str | None, seeds: int) -> None:
        """``split`` is the one to show; None: test, or where a trial has none, dev."""
        self.split = split
        self.seeds = seeds
        self.cells: dict[tuple[str, str, str], Cell] = {}
        for trial in trials:
            if trial.state is State.DONE:
                self.add(trial.planned, read_json(trial.folder / RESULT))

    def of(self, trial: Planned) -> Cell:
        """The cell of a trial that has been added."""
        return self.cells[trial.task, trial.student, trial.method]

    def table(self) -> list[list[str]]:
        """A row for each method, a column for each task and student; the first row has their names.
        Percent, mean ± std, and of how many seeds.
        """
        columns = list(dict.fromkeys((task, student) for task, student, _ in self.cells))
        table = [["", *(f"{task} · {student}" for task, student in columns)]]
        for method in dict.fromkeys(method for _, _, method in self.cells):
            row = [method]
            for task, student in columns:
                cell = self.cells.get((task, student, method))
                row.append("" if cell is None else cell.short())
            table.append(row)
        return table

    def add(self, trial: Planned, result: Mapping[str, Any]) -> Cell:
        """The cell of a trial, with the score of its result."""
        scores = result["metrics"]
        split = self.split
        if split is None or split not in scores:  # rows that are too few have neither test nor dev
            split = next(name for name in ("test", "dev", "train") if name in scores)
        metric = result["metric"]
        key = (trial.task, trial.student, trial.method)
        earlier = self.cells[key].scores if key in self.cells else ()
        cell = Cell(*key, metric, split, (*earlier, scores[split][metric]), self.seeds)
        self.cells[key] = cell
        return cell


def cells_of(study: StudyFolder) -> list[Cell]:
    """The cells of a study's table, in the order of its spec."""
    spec = study.spec
    cells = Cells(study.trials, spec["split"], len(spec["seeds"])).cells
    keys = itertools.product(spec["tasks"], spec["students"], spec["methods"])
    return [cells[key] for key in keys if key in cells]


def to_json(study: StudyFolder) -> dict[str, Any]:
    """The document of ``study run --json``."""
    counts = {str(state): len(study.with_state(state)) for state in State}
    errors = []
    for entry in (*study.with_state(State.FAILED), *study.with_state(State.DIVERGED)):
        error = dict(entry.end.error or {})
        errors.append({"id": entry.planned.id, "state": str(entry.state), "error": error})
    return {
        "study": str(study.folder),
        "name": study.name,
        "trials": counts,
        "cells": [cell.to_dict() for cell in cells_of(study)],
        "errors": errors,
    }


def text(study: StudyFolder) -> str:
    """The same for people."""
    lines = list(map(str, cells_of(study)))
    for state in (State.FAILED, State.DIVERGED):
        for entry in study.with_state(state):
            error = entry.end.error or {}
            lines.append(f"{entry.planned.id} {state}: {error.get('message')}")
    done = len(study.with_state(State.DONE))
    lines.append(f"{study.folder}: {done} of {len(study.trials)} trials are done")
    return "\n".join(lines)


def check_complete(study: StudyFolder) -> None:
    """Raises IncompleteStudy where trials have failed, or all have diverged."""
    failed = study.with_state(State.FAILED)
    if failed:
        error = failed[0].end.error or {}
        raise IncompleteStudy(
            f"{len(failed)} of {len(study.trials)} trials failed, the first is {failed[0].planned.id}: "
            f"{error.get('message')}",
            advice="Mend what it names (an option of it in the spec, such as `on_nonfinite: skip` below teacher) and "
            "run the same command again: it tries these alone.",
            where=study.folder,
        )
    diverged = study.with_state(State.DIVERGED)
    if diverged and len(diverged) == len(study.trials):
        error = diverged[0].end.error or {}
        raise IncompleteStudy(
            f"all {len(diverged)} trials diverged, the first is {diverged[0].planned.id}: {error.get('message')}",
            advice="Mend it in the spec, and choose another --out: trials that diverged are not tried again.",
            where=study.folder,
        )
