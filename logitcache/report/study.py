"""The sections of a study's report: table in the paper's layout, verdicts, pictures, cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, median

import numpy as np

from logitcache.report.blocks import Block, Section, Table, section, table, table_of_rows
from logitcache.report.charts import Curves, Line
from logitcache.report.plots import Dots
from logitcache.report.words import NONE, digits, percent, shown, time_text
from logitcache.study import paper
from logitcache.study.metrics import calibration_error, row_sums
from logitcache.study.outcomes import Cell, Studied
from logitcache.study.results import Predictions
from logitcache.study.rows import Row
from logitcache.study.verdict import p_text, scale_of, spoken

PAPER = "Kobyzev et al."
_OF_VERDICTS = (
    "task and method", "difference", "95 %", "p", "p, Holm", "p min", "p of margin", "seeds to decide", "finding",
)  # fmt: skip


def study_sections(studied: Studied, paper_table: str | None = None) -> list[Section]:
    """All sections. ``paper_table``, such as ``table1``, gives the figures beside ours."""
    paper_table = paper_table or paper.table_of(studied.name)
    verdicts = [f"{task}: {sentence}" for task, sentence in studied.verdicts().items()]
    tables = [_main_block(studied, student, paper_table) for student in studied.students]
    dots = []
    for cell in studied.cells:
        picture = Dots(cell.comparison, of_study=True)
        dots.append(Block(_where(studied, cell), cell.comparison.verdict, picture))
    notes = list(studied.notes)
    if studied.margin is not None and not studied.is_margin_declared:
        notes.append(
            "the margin was given with the report, not in the study's plan: it may have been chosen late"
        )
    sections = [
        section("Results", " ".join(verdicts), [*tables, _kept_block(studied)], notes),
        section("Verdicts", "", [_verdict_block(studied, verdicts, paper_table)]),
        section("Seeds", "", dots),
        section("Training", "", [_curves_block(studied, cell) for cell in studied.cells]),
        section("Cost", "", [_cost_block(studied)]),
        section("Calibration", "", [_calibration_block(studied)]),
    ]
    if studied.unsaid:
        lines = table({"what the paper does not give": studied.unsaid})
        title = "Settings that the paper leaves open"
        block = Block(title, "Where each value comes from.", None, lines)
        sections.append(section("Left unsaid", "", [block]))
    return [part for part in sections if part.blocks]


def _where(studied: Studied, cell: Cell) -> str:
    if len(studied.students) == 1:
        return paper.task_title(cell.task)
    return f"{paper.task_title(cell.task)}, {cell.student}"


def _labels(cells: Sequence[Cell]) -> dict[str, str]:
    """The labels of all rows, in the order in which they are met, and their methods."""
    labels: dict[str, str] = {}
    for cell in cells:
        for row in cell.comparison.rows:
            labels.setdefault(row.label, row.method)
    return labels


def _row(cell: Cell, label: str) -> Row | None:
    for row in cell.comparison.rows:
        if row.label == label:
            return row
    return None


def _spread(mean: float, std: float | None, metric: str) -> str:
    """As the paper prints it: points with two decimals."""
    factor = scale_of(metric).factor
    decimals = 3 if metric == "nll" else 2
    text = f"{mean * factor:z.{decimals}f}"
    return text if std is None else f"{text} ± {std * factor:.{decimals}f}"


def _main_block(studied: Studied, student: str, paper_table: str | None) -> Block:
    """Methods below each other, tasks beside each other, as in the paper; its figures below ours."""
    cells = studied.of_student(student)
    paper_table = paper.with_weights(paper_table, cells[0].init)
    rows = _teacher_row(cells)
    if rows:
        rows += _paper_row(cells, paper.TEACHER, paper_table)
    for label, method in _labels(cells).items():
        rows += _method_row(studied, student, label)
        rows += _paper_row(cells, method, paper_table)
    titles = [f"{paper.task_title(cell.task)} ({cell.comparison.metric})" for cell in cells]
    header = ["method", *titles, "Score", "seeds"]
    has_score = len(cells) > 1
    if not has_score:
        for line in (header, *rows):
            del line[-2]
    splits = sorted({cell.comparison.split for cell in cells})
    caption = f"{student}, scored on {', '.join(splits)}: mean ± sample standard deviation over seeds, in points."
    if any(cell.comparison.metric == "nll" for cell in cells):
        caption = caption.replace("in points", "in points (nll in nats)")
    if has_score:
        caption += " Score is the unweighted mean of the tasks, over the seeds that have them all."
    if any(name.endswith(PAPER) for name, *_ in rows):
        number = (paper_table or "").removeprefix("table")
        caption += f" Lines of {PAPER} are Table {number} of that paper."
    lines = Table(tuple(header), tuple(map(tuple, rows)))
    return Block(f"Results of {student}", caption, None, lines)


def _teacher_row(cells: Sequence[Cell]) -> list[list[str]]:
    """What the teachers reach: no line where no task has one."""
    line = []
    values = []
    for cell in cells:
        if cell.teacher is None:
            line.append(NONE)
            continue
        values.append(cell.teacher.value)
        line.append(_spread(cell.teacher.value, cell.teacher.std, cell.comparison.metric))
    if not values:
        return []
    score = NONE
    if len(values) == len(cells):
        score = _spread(fmean(values), None, "accuracy")
    return [["teacher", *line, score, ""]]


def _method_row(studied: Studied, student: str, label: str) -> list[list[str]]:
    line = []
    counts = set()
    for cell in studied.of_student(student):
        row = _row(cell, label)
        if row is None:
            line.append(NONE)
            continue
        counts.add(len(row.values))
        line.append(_spread(row.mean, row.std, row.metric))
    score = studied.score(student, label)
    score_text = shown(score, lambda own: _spread(own.mean, own.std, "accuracy"))
    seeds = str(min(counts))
    if len(counts) > 1:
        seeds += f"–{max(counts)}"
    return [[spoken(label), *line, score_text, seeds]]


def _paper_row(cells: Sequence[Cell], method: str, paper_table: str | None) -> list[list[str]]:
    """The line of the paper below ours; empty where it has none of these tasks."""
    figures = []
    for cell in cells:
        figures.append(paper.figure(paper_table, cell.comparison.split, method, cell.task))
    if not any(figures):
        return []
    score = None
    if {paper.task_key(cell.task) for cell in cells} == set(paper.GLUE):
        score = paper.figure(paper_table, cells[0].comparison.split, method, paper.SCORE)
    line = [figure or NONE for figure in figures]
    return [[f"– {PAPER}", *line, score or NONE, ""]]


def _kept_block(studied: Studied) -> Block | None:
    """How much of the teacher's lead each method has."""
    cells = [cell for cell in studied.cells if cell.teacher is not None and cell.base is not None]
    if not cells:
        return None
    columns: dict[str, Iterable[str]] = {"method": list(map(spoken, _labels(cells)))}
    for cell in cells:
        shares = []
        for label in _labels(cells):
            row = _row(cell, label)
            share = None if row is None else cell.lead_kept(row)
            shares.append(shown(share, lambda part: f"{100 * part:z.0f} %"))
        columns[_where(studied, cell)] = shares
    caption = (
        "(method - base) / (teacher - base), of means over the seeds that both have; a dash where the teacher is not "
        "ahead of base."
    )
    return Block("Share of the teacher's lead that students keep", caption, None, table(columns))


def _verdict_block(studied: Studied, verdicts: Sequence[str], paper_table: str | None) -> Block:
    header = list(_OF_VERDICTS)
    if paper_table == "table8":
        header.append(f"p, {PAPER}, Table 8")
    rows = []
    for cell in studied.cells:
        for row in cell.comparison.rows:
            if row.difference is None:
                continue
            judgement = cell.judgements[row.label]
            scale = scale_of(row.metric)
            estimate = row.difference.estimate
            printed = paper.p_value(paper_table, row.method, cell.init)
            values = (
                f"{_where(studied, cell)}: {spoken(row.label)}",
                scale.signed(row.difference.mean),
                NONE if estimate is None else scale.interval(estimate.interval),
                shown(row.difference.test.p_value, p_text),
                shown(judgement.p_value, p_text),
                p_text(row.difference.test.p_min),
                shown(judgement.p_equivalence, p_text),
                str(judgement.seeds_to_decide or NONE),
                str(judgement.finding),
                shown(printed, p_text),
            )
            rows.append(values[: len(header)])
    margin = "None was declared."
    if studied.margin is not None:
        margin = f"Here it is {studied.margin:g} of the metric's own unit."
    caption = (
        f"{' '.join(verdicts)} Intervals draw seeds and rows anew. p is of the two-sided Wilcoxon signed-rank test "
        "over seeds; Holm's is corrected over the tasks of one method; p min is the smallest that so many seeds reach. "
        f"p of margin is of two one-sided tests that the difference is within the margin. {margin}"
    )
    return Block("What follows for each task", caption, None, table_of_rows(header, rows))


def _curves_block(studied: Studied, cell: Cell) -> Block | None:
    """Scores on dev after each epoch, the mean over seeds."""
    metric = cell.comparison.metric
    scale = scale_of(metric)
    lines = []
    for row in cell.comparison.rows:
        curves = []
        for result in cell.results_of(row):
            history = [entry for entry in result.history if metric in entry]
            curves.append({entry["epoch"]: entry[metric] for entry in history})
        epochs = sorted(set.intersection(*map(set, curves))) if curves else []
        if len(epochs) > 1:
            means = [scale.factor * fmean(curve[epoch] for curve in curves) for epoch in epochs]
            lines.append(Line(row.method, spoken(row.label), tuple(epochs), tuple(means)))
    if not lines:
        return None
    picture = Curves(tuple(lines), "epoch", f"{metric} on dev, {scale.unit}", from_zero=False)
    caption = f"{metric} on dev after each epoch, the mean over seeds."
    return Block(_where(studied, cell), caption, picture)


def _cost_block(studied: Studied) -> Block | None:
    names = (
        "task and method",
        "step / LS",
        "training, median",
        "rows seen by the student",
        "teacher saw",
    )
    rows = []
    passes = []
    for cell in studied.cells:
        counted = cell.comparison.teacher_passes
        if counted is not None:
            passes.append(f"{_where(studied, cell)}: {counted}.")
        for row in cell.comparison.rows:
            runs = cell.results_of(row)
            spent = [result.train_seconds for result in runs if result.train_seconds is not None]
            asked: dict[str, int] = {}
            for result in runs:
                asked |= result.asked_caches
            values = (
                f"{_where(studied, cell)}: {spoken(row.label)}",
                digits(row.time_ratio_to_ls),
                time_text(median(spent)) if spent else NONE,
                f"{sum(result.rows_seen for result in runs):,}",
                f"{sum(asked.values()):,}" if asked else NONE,
            )
            rows.append(values)
    caption = " ".join(passes) or "No method had a teacher."
    if any(values[1] != NONE for values in rows):
        caption += " step / LS: time of a training step over that of LS."
    return Block("What training cost", caption, None, table_of_rows(names, rows))


def _calibration_block(studied: Studied) -> Block | None:
    names = ("task and method", "calibration error", "nll, nats")
    rows = []
    for cell in studied.cells:
        split = cell.comparison.split
        for row in cell.comparison.rows:
            scored = [result.predictions[split] for result in cell.results_of(row)]
            errors = [error for error in map(calibration_error, scored) if error is not None]
            losses = [loss for loss in map(_mean_loss, scored) if loss is not None]
            if not errors and not losses:  # of vectors
                continue
            values = (
                f"{_where(studied, cell)}: {spoken(row.label)}",
                percent(fmean(errors)) if errors else NONE,
                f"{fmean(losses):.3f}" if losses else NONE,
            )
            rows.append(values)
    if not rows:
        return None
    caption = (
        "The expected calibration error over 15 bins of confidence (Guo et al., 2017) and the negative log-likelihood, "
        "means over seeds. Smoothed targets make a student less confident; that is no fault of its ranking of classes."
    )
    return Block("Whether confidence can be believed", caption, None, table_of_rows(names, rows))


def _mean_loss(predictions: Predictions) -> float | None:
    """In nats; None without logits or losses."""
    if predictions.nll is None and not predictions.logits.shape[1]:
        return None
    sums = row_sums("nll", predictions)
    return float(sums.of_counts(np.ones(len(sums.of_row))))
