"""A study's results: one comparison for each task and student, judged together.

They are read from the folder of a study, or from a folder of result folders, whose task is then the
name of their data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from logitcache.config.methods import METHODS
from logitcache.config.report import RESAMPLES
from logitcache.errors import SpecError
from logitcache.study import folder as folders
from logitcache.study.findings import Judgement, judge
from logitcache.study.folder import State
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
from logitcache.study.tables import (
    Comparison,
    choose_metric,
    choose_split,
    compare_results,
    teacher_passes_of,
)
from logitcache.study.verdict import compared_of

# Settings that follow from the rows, where each seed has its own.
_OF_THE_ROWS = {"data", "data_seed", "unlabelled", "tokenizer_fingerprint", "train_rows"}


def read_studied(
    folder: Path,
    *,
    metric: str | None = None,
    split: str | None = None,
    baseline: str | None = None,
    margin: float | None = None,
    resamples: int = RESAMPLES,
) -> Studied:
    """The study in a folder, compared and judged. ``margin`` is of the study's plan if that has one.

    Raises SpecError for a folder without results, for a margin other than the declared one, and
    what `compare` refuses.
    """
    if not folders.is_study(folder):
        trials, teachers = _plain(folder)
        return _studied(
            folder.resolve().name,
            trials,
            teachers,
            [],
            metric,
            split,
            baseline or "base",
            margin,
            resamples,
        )
    study = folders.read(folder)
    declared = study.spec.get("margin")
    if margin is not None and declared not in (None, margin):
        raise SpecError(
            f"--margin: expected {declared:g}, as the study has declared it, found {margin:g}. Leave it out.",
            where=folder,
        )
    done = study.with_state(State.DONE)
    if not done:
        raise SpecError(
            expected="a finished trial",
            found="none",
            advice="Run `logitcache study run`.",
            where=folder,
        )
    trials = []
    for entry in done:
        planned = entry.planned
        trials.append(
            Trial(planned.task, planned.student, planned.method, read_result(entry.folder))
        )
    teachers = {teacher.task: (teacher.name, teacher.metrics) for teacher in study.teachers}
    notes = list(_unfinished(study))
    split = split or study.spec.get("split")
    baseline = baseline or study.spec.get("baseline") or "base"
    order = list(study.spec.get("methods", []))
    made = _studied(
        study.name,
        trials,
        teachers,
        notes,
        metric,
        split,
        baseline,
        margin or declared,
        resamples,
        order,
    )
    return replace(made, is_margin_declared=declared is not None, unsaid=study.unsaid)


_Teachers = Mapping[str, tuple[str, Mapping[str, Mapping[str, float]]]]  # by task: name, metrics


def _plain(folder: Path) -> tuple[list[Trial], _Teachers]:
    """The trials of result folders. Of these, a teacher is one whose folder a cache names."""
    results = [read_result(path) for path in find_results([folder])]
    named = {name for result in results if _reads_cache(result) for name in result.teacher_names}
    teachers = {}
    trials = []
    for result in results:
        student = str(result.settings.get("student", "student"))
        if result.folder.name in named:
            teachers[result.source] = (student, result.metrics)
        else:
            trials.append(Trial(result.source, student, result.method, result))
    return trials, teachers


def _reads_cache(result: Result) -> bool:
    return result.method in METHODS and METHODS[result.method].reads_cache


def _unfinished(study: folders.StudyFolder) -> Iterable[str]:
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
    notes: Sequence[str],
    metric: str | None,
    split: str | None,
    baseline: str,
    margin: float | None,
    resamples: int,
    order: Sequence[str] = (),
) -> Studied:
    by_cell: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        by_cell.setdefault((trial.task, trial.student), []).append(trial)
    cells = []
    for (task, student), members in by_cell.items():
        results = [_named(trial) for trial in members]
        chosen_split = choose_split(results, split)
        chosen_metric = choose_metric(results, chosen_split, metric)
        unified = _unified(results, chosen_split)
        made = compare_results(unified, chosen_metric, chosen_split, baseline, resamples, margin)
        rows = sorted(made.rows, key=lambda row: _place(row, order))
        passes = teacher_passes_of([trial.result for trial in members])
        made = replace(made, rows=tuple(rows), teacher_passes=passes)
        teacher = _teacher(teachers.get(task), made)
        cells.append(Cell(task, student, made, tuple(members), teacher, {}))
    return Studied(
        name,
        tuple(_judged(cells, margin)),
        margin,
        is_margin_declared=False,
        unsaid=(),
        notes=(*notes, *_on_versions(trials), *_on_cells(cells)),
    )


def _place(row: Row, order: Sequence[str]) -> int:
    return order.index(row.method) if row.method in order else len(order)


def _named(trial: Trial) -> Result:
    """The result under the study's name of its method."""
    result = trial.result
    if trial.method == result.method:
        return result
    if result.method in METHODS and METHODS[result.method].self_taught:
        result = replace(result, cache_fingerprint=None)  # each seed has its own
    return replace(result, method=trial.method)


def _unified(results: Sequence[Result], split: str) -> list[Result]:
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
        settings = {
            name: value for name, value in result.settings.items() if name not in _OF_THE_ROWS
        }
        settings["train_rows"] = results[0].train_rows
        unified.append(replace(result, settings=settings, cache_fingerprint=None, teachers=()))
    return unified


def _teacher(
    teacher: tuple[str, Mapping[str, Mapping[str, float]]] | None, comparison: Comparison
) -> TeacherScore | None:
    if teacher is None:
        return None
    name, metrics = teacher
    value = metrics.get(comparison.split, {}).get(comparison.metric)
    return None if value is None else TeacherScore(name, float(value))


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
    return [replace(cell, judgements=made) for cell, made in zip(cells, judgements, strict=True)]


def _on_versions(trials: Sequence[Trial]) -> Iterable[str]:
    """A mark of results that other code has made."""
    versions = Counter(
        ", ".join(f"{name} {version}" for name, version in sorted(trial.result.versions.items()))
        for trial in trials
    )
    if len(versions) > 1:
        listed = "; ".join(
            f"{count} of {name or 'unknown versions'}" for name, count in versions.items()
        )
        yield f"these results were made by different versions: {listed}"


def _on_cells(cells: Sequence[Cell]) -> Iterable[str]:
    for cell in cells:
        for note in dict.fromkeys(cell.comparison.notes):
            yield f"{cell.task}, {cell.student}: {note}"
        digests = {trial.result.data_digest for trial in cell.trials}
        if len(digests) > 1:
            yield (
                f"{cell.task}, {cell.student}: each seed has rows of its own, so that seeds cover rows too: intervals "
                "are Student's over the seeds"
            )
