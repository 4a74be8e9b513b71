"""A study's results: one comparison for each task and student, judged together.

They are read from the folder of a study, or of result folders, whose data then names the task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from logitcache.config.methods import METHODS
from logitcache.config.report import RESAMPLES
from logitcache.errors import SpecError
from logitcache.study import folder as folders
from logitcache.study.findings import Judgement, judge
from logitcache.study.folder import State
from logitcache.study.notes import notes_on_versions
from logitcache.study.outcomes import Cell, Studied, TeacherScore, Trial
from logitcache.study.results import (
    Result,
    by_seed,
    check_same_rows,
    check_same_task,
    find_results,
    read_result,
)
from logitcache.study.rows import Row
from logitcache.study.stats import sample_std
from logitcache.study.tables import (
    Comparison,
    check_baseline,
    choose_metric,
    choose_split,
    compare_results,
    teacher_passes_of,
)
from logitcache.study.verdict import compared_of

# Settings that follow from the rows, where each seed has its own.
_OF_THE_ROWS = {"data", "data_seed", "unlabelled", "tokenizer_fingerprint", "train_rows"}


@dataclass(frozen=True)
class Question:
    """What is compared. None: as the study's plan says, else as `compare` chooses."""

    metric: str | None = None
    split: str | None = None
    baseline: str | None = None
    margin: float | None = None  # in the metric's own unit
    resamples: int = RESAMPLES


# Of each task: the names of its teachers, and their scores by split.
_Teachers = dict[str, list[tuple[str, Mapping[str, Mapping[str, float]]]]]


def read_studied(folder: Path, question: Question = Question()) -> Studied:
    """The study in a folder, compared and judged.

    Raises SpecError for a folder without results, for a margin other than the declared one, for a
    baseline without results, and what `compare` refuses.
    """
    if not folders.is_study(folder):
        trials, teachers = _trials_of_results(folder)
        studied = _studied(folder.resolve().name, trials, teachers, question)
        _check_baseline(studied, question.baseline)
        return studied
    study = folders.read(folder)
    declared = study.spec.get("margin")
    if question.margin is not None and declared not in (None, question.margin):
        raise SpecError(
            f"--margin: expected {declared:g}, as the study has declared it, found {question.margin:g}. Leave it out.",
            where=folder,
        )
    done = study.with_state(State.DONE)
    if not done:
        advice = "Run `logitcache study run`."
        raise SpecError(expected="a finished trial", found="none", advice=advice, where=folder)
    trials = list(map(_trial, done))
    teachers = {}
    for teacher in study.teachers:
        teachers.setdefault(teacher.task, []).append((teacher.name, teacher.metrics))
    resolved = replace(
        question,
        split=question.split or study.spec.get("split"),
        baseline=question.baseline or study.spec.get("baseline"),
        margin=question.margin or declared,
    )
    order = list(study.spec.get("methods", []))
    studied = _studied(study.name, trials, teachers, resolved, order)
    _check_baseline(studied, question.baseline)
    return replace(
        studied,
        is_margin_declared=declared is not None,
        unsaid=study.unsaid,
        notes=(*_notes_on_unfinished(study), *studied.notes),
    )


def _check_baseline(studied: Studied, baseline: str | None) -> None:
    """Raises SpecError where a baseline is named, and no row has that method or label."""
    if baseline is not None:
        check_baseline(baseline, [row for cell in studied.cells for row in cell.comparison.rows])


def trials_of(folder: Path) -> list[Trial]:
    """The finished trials in a folder of a study, or of result folders."""
    if not folders.is_study(folder):
        return _trials_of_results(folder)[0]
    return list(map(_trial, folders.read(folder).with_state(State.DONE)))


def _trial(entry: folders.Entry) -> Trial:
    planned = entry.planned
    result = read_result(entry.folder)
    return Trial(planned.task, planned.student, planned.method, result)


def _trials_of_results(folder: Path) -> tuple[list[Trial], _Teachers]:
    """The trials of result folders. Of these, a teacher is one whose folder a cache names."""
    results = list(map(read_result, find_results([folder])))
    teacher_names: set[str] = set()
    for result in results:
        if result.method in METHODS and METHODS[result.method].reads_cache:
            teacher_names.update(result.teacher_names)
    teachers: _Teachers = {}
    trials = []
    for result in results:
        student = str(result.settings.get("student", "student"))
        if result.folder.name in teacher_names:
            teachers.setdefault(result.source, []).append((student, result.metrics))
        else:
            trials.append(Trial(result.source, student, result.method, result))
    return trials, teachers


def _notes_on_unfinished(study: folders.StudyFolder) -> Iterable[str]:
    """What is not in the tables, and why."""
    pending = len(study.with_state(State.PENDING))
    if pending:
        yield f"{pending:,} of {len(study.trials):,} trials have not been run: the tables are of the others"
    for state in (State.FAILED, State.DIVERGED):
        for entry in study.with_state(state):
            message = (entry.end.error or {}).get("message", "")
            yield f"{entry.planned.id} {state}, and is in no mean: {message}".rstrip(": ")


def _studied(
    name: str,
    trials: Sequence[Trial],
    teachers: _Teachers,
    question: Question,
    order: Sequence[str] = (),
) -> Studied:
    by_cell: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        by_cell.setdefault((trial.task, trial.student), []).append(trial)
    cells = []
    for (task, student), members in by_cell.items():
        comparison = _compared(members, question, order)
        teacher = _teacher(teachers.get(task, []), comparison)
        cells.append(Cell(task, student, comparison, tuple(members), teacher, {}))
    results = [trial.result for trial in trials]
    return Studied(
        name,
        tuple(_judged(cells, question.margin)),
        question.margin,
        is_margin_declared=False,
        unsaid=(),
        notes=(*notes_on_versions(results), *_cell_notes(cells)),
    )


def _compared(trials: Sequence[Trial], question: Question, order: Sequence[str]) -> Comparison:
    """The comparison of one task's trials with one student, rows in the ``order`` of the study's
    methods, which result folders do not have.
    """
    results = [replace(trial.result, method=trial.method) for trial in trials]
    if order:
        results = _without_teachers_of_seeds(results)
    split = choose_split(results, question.split)
    comparison = compare_results(
        _comparable(results, split),
        choose_metric(results, split, question.metric),
        split,
        question.baseline or "base",
        question.resamples,
        question.margin,
    )
    rank = {method: number for number, method in enumerate(order)}
    rows = sorted(comparison.rows, key=lambda row: rank.get(row.method, len(order)))
    passes = teacher_passes_of([trial.result for trial in trials])
    return replace(comparison, rows=tuple(rows), teacher_passes=passes)


def _without_teachers_of_seeds(results: Sequence[Result]) -> list[Result]:
    """The results of a study's methods. Where a method's seeds have a teacher each (of Self-KD, or
    with ``finetune_seed: seed``), nothing of it is left, as it would make each seed a row.
    """
    teachers: dict[str, set[tuple[str | None, tuple[str, ...]]]] = {}
    for result in results:
        teacher = (result.cache_fingerprint, result.teachers)
        teachers.setdefault(result.method, set()).add(teacher)
    unlinked = []
    for result in results:
        if len(teachers[result.method]) > 1:
            result = replace(result, cache_fingerprint=None, teachers=())
        unlinked.append(result)
    return unlinked


def _comparable(results: Sequence[Result], split: str) -> list[Result]:
    """The results, found to be of the same rows; where each seed has rows of its own (a draw of a
    larger table), found to be so within each seed. Raises FingerprintMismatch.
    """
    if len({result.data_digest for result in results}) == 1 or len(by_seed(results)) == 1:
        check_same_task(results)
        check_same_rows(results, split)
        return list(results)
    check_same_task(results, ["label_names"])
    for group in by_seed(results):
        check_same_task(group)
        check_same_rows(group, split)
    unified = []
    for result in results:
        settings = {k: value for k, value in result.settings.items() if k not in _OF_THE_ROWS}
        settings["train_rows"] = results[0].train_rows
        unified.append(replace(result, settings=settings, cache_fingerprint=None, teachers=()))
    return unified


def _teacher(
    teachers: Sequence[tuple[str, Mapping[str, Mapping[str, float]]]], comparison: Comparison
) -> TeacherScore | None:
    """The mean over the teachers of a task, where each seed has its own."""
    scores = []
    for name, metrics in teachers:
        of_split = metrics.get(comparison.split, {})
        if comparison.metric in of_split:
            scores.append((name, of_split[comparison.metric]))
    if not scores:
        return None
    values = [float(value) for _, value in scores]
    return TeacherScore(scores[0][0], fmean(values), sample_std(values))


def _judged(cells: Sequence[Cell], margin: float | None) -> list[Cell]:
    """The cells with a judgement of each row, corrected over all tasks of one student and method."""
    judgements: list[dict[str, Judgement]] = [{} for _ in cells]
    families: dict[tuple[str, str], list[tuple[int, Row]]] = {}
    for index, cell in enumerate(cells):
        for row in cell.comparison.rows:
            if row.difference is not None:
                families.setdefault((cell.student, row.label), []).append((index, row))
    for (_, label), members in families.items():
        compared = [compared_of(row, row.difference) for _, row in members if row.difference]
        for (index, _), judgement in zip(members, judge(compared, margin), strict=True):
            judgements[index][label] = judgement
    judged = []
    for cell, of_cell in zip(cells, judgements, strict=True):
        judged.append(replace(cell, judgements=of_cell))
    return judged


def _cell_notes(cells: Sequence[Cell]) -> Iterable[str]:
    for cell in cells:
        for note in dict.fromkeys(cell.comparison.notes):
            yield f"{cell.task}, {cell.student}: {note}"
        digests = {trial.result.data_digest for trial in cell.trials}
        if len(digests) > 1:
            yield (
                f"{cell.task}, {cell.student}: each seed has rows of its own, so that seeds cover rows too: intervals "
                "are Student's over the seeds"
            )
