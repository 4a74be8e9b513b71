"""What a study is made of when it is reported: cells, each one task with one student."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from logitcache.study.findings import Judgement
from logitcache.study.results import Result
from logitcache.study.rows import Row
from logitcache.study.stats import sample_std
from logitcache.study.tables import Comparison
from logitcache.study.verdict import best_row, task_sentence


@dataclass(frozen=True)
class TeacherScore:
    """A teacher's own score on the split that is compared."""

    name: str
    value: float
    std: float | None = None  # over the teachers, where each seed has its own


@dataclass(frozen=True)
class Trial:
    """A result, and where it stands in the study. ``method`` is the study's name of it."""

    task: str
    student: str
    method: str
    result: Result


@dataclass(frozen=True)
class Cell:
    """One task with one student: its methods side by side."""

    task: str
    student: str
    comparison: Comparison
    trials: tuple[Trial, ...]
    teacher: TeacherScore | None
    judgements: Mapping[str, Judgement]  # by the label of a row that has a difference

    @property
    def base(self) -> Row | None:
        """The row of the baseline, where there is one."""
        baseline = self.comparison.baseline
        bases = [row for row in self.comparison.rows if baseline in (row.method, row.label)]
        return bases[0] if len(bases) == 1 else None

    @property
    def init(self) -> str | None:
        """Which weights its students began with; None where that is not recorded."""
        init = self.trials[0].result.settings.get("init")
        return None if init is None else str(init)

    def results_of(self, row: Row) -> list[Result]:
        """The results behind a row, of each seed one."""
        return [trial.result for trial in self.trials if trial.result.folder in row.folders]

    def lead_kept(self, row: Row) -> float | None:
        """The share of the teacher's lead over the baseline that a method has, over the seeds that
        both have; None where the teacher has none.
        """
        if self.teacher is None or self.base is None:
            return None
        seeds = [seed for seed in row.values if seed in self.base.values]
        if not seeds:
            return None
        base = fmean(self.base.values[seed] for seed in seeds)
        lead = self.teacher.value - base
        if lead <= 0:
            return None
        return (fmean(row.values[seed] for seed in seeds) - base) / lead

    def sentences(self) -> dict[str, str]:
        """What follows, by the label of the row."""
        sentences = {}
        for row in self.comparison.rows:
            if row.difference is not None:
                judgement = self.judgements[row.label]
                sentences[row.label] = task_sentence(row, row.difference, judgement)
        return sentences


@dataclass(frozen=True)
class Score:
    """The unweighted mean of a method's tasks, for each seed that has them all (Kobyzev et al.,
    2023): its mean and sample standard deviation over those seeds.
    """

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True)
class Studied:
    """A study as it is reported."""

    name: str
    cells: tuple[Cell, ...]
    margin: float | None
    is_margin_declared: bool  # in the study's plan, before any trial
    unsaid: tuple[str, ...]  # settings that the paper behind it does not give
    notes: tuple[str, ...]

    @property
    def students(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.student for cell in self.cells))

    def of_student(self, student: str) -> list[Cell]:
        return [cell for cell in self.cells if cell.student == student]

    def score(self, student: str, label: str) -> Score | None:
        """None where a task lacks the method, or no seed has all tasks."""
        columns = []
        for cell in self.of_student(student):
            rows = [row for row in cell.comparison.rows if row.label == label]
            if not rows:
                return None
            columns.append(rows[0].values)
        scores = []
        for seed in columns[0]:
            if all(seed in column for column in columns):
                scores.append(float(np.mean([column[seed] for column in columns])))
        if not scores:
            return None
        return Score(float(np.mean(scores)), sample_std(scores), len(scores))

    def verdicts(self) -> dict[str, str]:
        """One sentence for each task, or each task with a student."""
        sentences = {}
        for cell in self.cells:
            where = cell.task if len(self.students) == 1 else f"{cell.task}, {cell.student}"
            sentence = "no verdict, there is nothing to compare"
            judged = best_row(cell.comparison.rows)
            if judged is not None:
                sentence = cell.sentences()[judged.label]
            evidence = cell.comparison.evidence
            sentences[where] = f"{evidence.before()}{sentence}.{evidence.after()}"
        return sentences
