"""The cells of a study's table while it fills up: a method's scores over its seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from logitcache.store.json_files import read_json
from logitcache.study.folder import RESULT, Entry, Planned, State


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
        spread = f" ± {stdev(self.scores):.4f}" if len(self.scores) > 1 else ""
        names = f"{self.task} · {self.student} · {self.method}"
        figure = f"{self.metric} {fmean(self.scores):.4f}{spread}"
        return f"{names}: {figure} on {self.split} ({len(self.scores)} of {self.seeds} seeds)"

    def short(self) -> str:
        """The figures alone."""
        spread = f" ± {stdev(self.scores):.4f}" if len(self.scores) > 1 else ""
        return f"{fmean(self.scores):.4f}{spread} ({len(self.scores)}/{self.seeds})"

    def to_dict(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "student": self.student,
            "method": self.method,
            "metric": self.metric,
            "split": self.split,
            "mean": fmean(self.scores),
            "std": stdev(self.scores) if len(self.scores) > 1 else None,
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
        methods = list(dict.fromkeys(method for _, _, method in self.cells))
        heading = ["", *(f"{task} · {student}" for task, student in columns)]
        return [heading, *([method, *self._row(method, columns)] for method in methods)]

    def _row(self, method: str, columns: Iterable[tuple[str, str]]) -> list[str]:
        cells = [self.cells.get((task, student, method)) for task, student in columns]
        return ["" if cell is None else cell.short() for cell in cells]

    def add(self, trial: Planned, result: Mapping[str, Any]) -> Cell:
        """The cell of a trial, with the score of its result."""
        scores = result["metrics"]
        split = self.split
        if split is None or split not in scores:  # rows that are too few have neither test nor dev
            split = next(name for name in ("test", "dev", "train") if name in scores)
        metric = result["metric"]
        key = (trial.task, trial.student, trial.method)
        before = self.cells.get(key)
        others = () if before is None else before.scores
        cell = Cell(*key, metric, split, (*others, scores[split][metric]), self.seeds)
        self.cells[key] = cell
        return cell
