"""A result on a terminal: the blocks of the page as lines of text, without their pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logitcache.report.blocks import Section
from logitcache.report.documents import Bench, Part
from logitcache.report.plan import plan_section
from logitcache.report.sections import section_of
from logitcache.report.words import aligned, held


def bench_text(document: Mapping[str, Any]) -> str:
    """What a bench measured, for people. ``document``: what the bench returns."""
    bench = Bench(Part(document, Path()))
    lines = [f"{bench.subject or bench.kind}, on {bench.short_machine}"]
    lines += _section_lines(section_of(bench))
    intervals = held(bench.document.ratios())
    if intervals:
        lines += ["", f"Intervals {intervals}."]
    if not bench.complete:
        lines += ["", "Interrupted: this is what was measured until then."]
    return _joined(lines)


def plan_text(document: Mapping[str, Any]) -> str:
    """A forecast, for people. ``document``: ``Forecast.to_dict()``."""
    part = Part(document, Path())
    setting = part.part("setting")
    teacher = setting.part("teacher").text("name")
    student = setting.part("student").text("name")
    classes = "words" if setting.number("positions") else "classes"
    rows = (
        f"{setting.number('rows') or 0:,.0f} rows, {setting.number('classes') or 0:,.0f} {classes}"
    )
    title = f"{teacher} into {student}, {setting.text('data')}: {rows}, on {setting.text('device')}"
    return _joined([title, *_section_lines(plan_section(part))])


def _joined(lines: list[str]) -> str:
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ").strip()


def _section_lines(section: Section) -> list[str]:
    lines = []
    for block in section.blocks:
        lines += ["", block.title, block.caption]
        if block.table is not None:
            lines += aligned([block.table.header, *block.table.rows])
    if section.notes:
        lines += ["", *(f"note: {note}" for note in section.notes)]
    return lines
