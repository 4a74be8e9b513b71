"""A study's report in files: one page, Markdown, LaTeX, and its figures as CSV and as a document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from logitcache.report.blocks import Section, Table
from logitcache.report.html import add, block_figure, new_page, page_text
from logitcache.report.study import study_sections
from logitcache.report.texts import csv_text, latex, markdown
from logitcache.store.files import make_folder, write_atomic
from logitcache.study.outcomes import Cell, Studied
from logitcache.study.rows import Row

_COLUMNS = (
    "task", "student", "label", "method", "split", "metric", "mean", "std", "n", "difference", "low", "high",
    "p_value", "p_holm", "p_min", "p_equivalence", "p_non_inferiority", "finding", "seeds_to_decide",
    "time_ratio_to_ls", "teacher", "lead_kept",
)  # fmt: skip

_JUDGED = ("p_equivalence", "p_non_inferiority", "finding", "seeds_to_decide")


def write_report(studied: Studied, out: Path, paper_table: str | None = None) -> list[Path]:
    """Write all files into a folder, in place of older ones; returns their paths."""
    sections = study_sections(studied, paper_table)
    texts = {name: render(studied, sections) for name, render in RENDERERS.items()}
    make_folder(out)
    for name, text in texts.items():
        write_atomic(out / name, text.encode())
    return [out / name for name in texts]


def document(studied: Studied) -> dict[str, Any]:
    """The document of ``study report --json``: metrics as fractions (nll in nats), or null."""
    rows = [_row(cell, row) for cell in studied.cells for row in cell.comparison.rows]
    verdicts = studied.verdicts()
    scores = []
    for student in studied.students:
        labels = dict.fromkeys(row["label"] for row in rows if row["student"] == student)
        for label in labels:
            score = studied.score(student, label)
            if score is not None:
                scores.append({"student": student, "label": label, **asdict(score)})
    return {
        "rows": rows,
        "verdict": " ".join(f"{task}: {sentence}" for task, sentence in verdicts.items()),
        "verdicts": verdicts,
        "scores": scores,
        "margin": studied.margin,
        "notes": list(studied.notes),
    }


def _row(cell: Cell, row: Row) -> dict[str, Any]:
    judgement = cell.judgements.get(row.label)
    judged = {"p_holm": getattr(judgement, "p_value", None)}
    for name in _JUDGED:
        judged[name] = getattr(judgement, name, None)
    return {
        "task": cell.task,
        "student": cell.student,
        "split": cell.comparison.split,
        **row.to_json(),
        **judged,
        "teacher": None if cell.teacher is None else cell.teacher.value,
        "lead_kept": cell.lead_kept(row),
    }


def figures_table(studied: Studied) -> Table:
    """All figures, one line for each method of each task and student, unrounded."""
    lines = []
    for row in document(studied)["rows"]:
        interval = row["multi_bootstrap"] or {}
        values = {**row, "low": interval.get("low"), "high": interval.get("high")}
        cells = ("" if values[name] is None else str(values[name]) for name in _COLUMNS)
        lines.append(tuple(cells))
    return Table(_COLUMNS, tuple(lines))


def study_page(name: str, sections: Sequence[Section]) -> str:
    """The report as one HTML page: nothing in it is fetched and nothing runs."""
    root, main = new_page(f"{name}: logitcache study")
    add(main, "h1", name)
    headline = next((section.headline for section in sections if section.headline), "")
    if headline:
        add(main, "p", headline, class_="headline")
    links = add(add(main, "nav", aria_label="Sections"), "ul")
    pictures = count()
    for number, section in enumerate(sections):
        add(add(links, "li"), "a", section.title, href=f"#section-{number}")
        element = add(main, "section", id=f"section-{number}")
        add(element, "h2", section.title)
        for note in section.notes:
            add(element, "p", note, class_="note")
        for block in section.blocks:
            block_figure(element, block, pictures)
    return page_text(root)


# the files of a report, each with what makes its text of a study and of its sections
RENDERERS: dict[str, Callable[[Studied, Sequence[Section]], str]] = {
    "report.html": lambda studied, sections: study_page(studied.name, sections),
    "report.md": lambda studied, sections: markdown(studied.name, sections),
    "report.tex": lambda studied, sections: latex(studied.name, sections),
    "report.csv": lambda studied, sections: csv_text(figures_table(studied)),
}
