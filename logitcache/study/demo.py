"""The whole line on built-in text: a teacher trained on the spot, its cache, five methods over three seeds.

The same calls that ``logitcache dump``, ``train`` and ``compare`` make, in one process. What it made is found again: a
second run is over at once, and a broken-off one goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from logitcache.config.data import Columns
from logitcache.config.methods import METHODS
from logitcache.config.teacher import DumpSettings
from logitcache.config.train import TrainConfig
from logitcache.config.workspace import Workspace
from logitcache.data import source as sources
from logitcache.data.order import subset
from logitcache.data.source import Source
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.train import train
from logitcache.study.tables import Comparison, compare
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import load_teacher
from logitcache.teacher.report import DumpReport

SEEDS = (0, 1, 2)
MAX_LENGTH = 64


@dataclass(frozen=True)
class DemoSize:
    """How large a demo is. Students get fewer labelled rows than the teacher had: that is where a teacher can help."""

    teacher: str  # shape
    teacher_rows: int
    teacher_epochs: float
    student: str  # shape
    student_rows: int
    student_epochs: float
    held_out: int  # rows of dev and of test


FULL = DemoSize("4x256", 12000, 2, "2x128", 3000, 6, 2000)
QUICK = DemoSize("2x128", 5000, 3, "2x64", 1000, 5, 600)


@dataclass(frozen=True)
class DemoResult:
    """What a demo leaves."""

    teacher: Path
    report: DumpReport
    runs: tuple[Path, ...]
    comparison: Comparison


def demo(folder: Path, size: DemoSize = FULL, *, reporter: Reporter = SILENT) -> DemoResult:
    """Run (or finish) the demo in ``folder``. Every method and every seed is in the comparison."""
    space = Workspace(folder)
    source = demo_source(sources.load("docstrings", Columns(), space.data, reporter), size)
    common = TrainConfig(max_length=MAX_LENGTH, group_by_length=True, workspace=space)
    reporter.note(
        f"training a teacher: {size.teacher}, {size.teacher_epochs:g} passes over {len(source.splits['train']):,} rows"
    )
    asked = replace(common, student=size.teacher, epochs=size.teacher_epochs, select="last", out=folder / "teacher")
    teacher = train(asked, source=source, reporter=reporter)
    place = space.cache(source.name, "train", teacher.name)
    report = dump_split(
        load_teacher(str(teacher)), source, "train", place, DumpSettings(max_length=MAX_LENGTH), reporter=reporter
    )
    student = replace(
        common,
        student=size.student,
        epochs=size.student_epochs,
        rows=size.student_rows,
        learning_rate=1e-3,
        cache=place,
    )
    reporter.note(f"training students: {size.student}, {size.student_epochs:g} passes over {size.student_rows:,} rows")
    runs = tuple(
        train(_with(student, method, seed), source=source, reporter=reporter)
        for seed in SEEDS  # methods side by side, so that a drift of the machine's speed meets them all
        for method in METHODS
    )
    return DemoResult(teacher, report, runs, compare(runs))


def _with(student: TrainConfig, method: str, seed: int) -> TrainConfig:
    cache = student.cache if method == "kd" else None  # Self-KD makes its own
    return replace(student, method=method, seed=seed, cache=cache)


def demo_source(source: Source, size: DemoSize) -> Source:
    """The rows of a demo of this size: a subset drawn by counter hash, numbered as if loaded so."""
    limits = {"train": size.teacher_rows, "dev": size.held_out, "test": size.held_out}
    splits = {}
    for name, rows in source.splits.items():
        part = rows.select(subset(len(rows), limits[name]))
        splits[name] = replace(part, row_id=np.arange(len(part), dtype=np.int64))
    return source.with_tables(splits)
