"""All steps on built-in text: a teacher is trained, its answers are cached, five methods are
trained over three seeds and compared.

The steps are those of ``logitcache dump``, ``train`` and ``compare``, in one process. A second run
uses what the first one left, and goes on where it was interrupted.
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
    """How large a demo is. Students get fewer labelled rows than the teacher had, to need it."""

    teacher: str  # shape
    teacher_rows: int
    teacher_epochs: float
    student: str  # shape
    student_rows: int
    student_epochs: float
    held_out: int  # rows of dev and of test


FULL = DemoSize(
    teacher="4x256",
    teacher_rows=12000,
    teacher_epochs=2,
    student="2x128",
    student_rows=3000,
    student_epochs=6,
    held_out=2000,
)
QUICK = DemoSize(
    teacher="2x128",
    teacher_rows=5000,
    teacher_epochs=3,
    student="2x64",
    student_rows=1000,
    student_epochs=5,
    held_out=600,
)


@dataclass(frozen=True)
class DemoResult:
    """The teacher, the report of its dump, the runs and their comparison."""

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
    config = replace(
        common,
        student=size.teacher,
        epochs=size.teacher_epochs,
        select="last",
        out=folder / "teacher",
    )
    teacher = train(config, source=source, reporter=reporter)
    cache = space.cache(source.name, "train", teacher.name)
    settings = DumpSettings(max_length=MAX_LENGTH)
    report = dump_split(
        load_teacher(str(teacher)), source, "train", cache, settings, reporter=reporter
    )
    student = replace(
        common,
        student=size.student,
        epochs=size.student_epochs,
        rows=size.student_rows,
        learning_rate=1e-3,
    )
    reporter.note(
        f"training students: {size.student}, {size.student_epochs:g} passes over {size.student_rows:,} rows"
    )
    runs = []
    # methods side by side, so that a drift of the machine's speed meets them all
    for seed in SEEDS:
        for method in METHODS:
            own_cache = cache if METHODS[method].reads_cache else None  # Self-KD makes its own
            config = replace(student, method=method, seed=seed, cache=own_cache)
            runs.append(train(config, source=source, reporter=reporter))
    return DemoResult(teacher, report, tuple(runs), compare(runs))


def demo_source(source: Source, size: DemoSize) -> Source:
    """The rows of a demo of this size: a subset drawn by counter hash, numbered from 0."""
    return drawn(source, size.teacher_rows, size.held_out)


def drawn(source: Source, train: int, held_out: int) -> Source:
    """So many rows of train and of each other split, drawn by counter hash, numbered from 0."""
    splits = {}
    for name, rows in source.splits.items():
        part = rows.select(subset(len(rows), train if name == "train" else held_out))
        splits[name] = replace(part, row_id=np.arange(len(part), dtype=np.int64))
    return source.with_tables(splits)
