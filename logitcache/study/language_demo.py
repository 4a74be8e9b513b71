"""All steps of a language model on built-in text: a teacher is trained on docstrings, its answers
are cached in a few bytes a token, and students learn from them and from the text alone.

The steps are those of ``logitcache dump``, ``train`` and ``compare``, in one process. A second run
uses what the first one left, and goes on where it was interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from logitcache.config.data import Columns
from logitcache.config.dump import DumpConfig
from logitcache.config.sequences import Sequences
from logitcache.config.teacher import DumpSettings, Finetune, TeacherSpec
from logitcache.config.train import TrainConfig
from logitcache.config.workspace import Workspace
from logitcache.data import source as sources
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.dump import dump
from logitcache.stages.train import train
from logitcache.study.demo import DemoResult, drawn
from logitcache.study.tables import compare

TASK = "causal-lm"
METHODS = ("base", "ls", "kd")
CODEC = "varopt:mean=16"
SEQ_LEN = 128
LEARNING_RATE = 2e-3


@dataclass(frozen=True)
class LanguageSize:
    """How large the demo is. The teacher reads all documents several times, students less often."""

    teacher: str  # shape
    student: str  # shape
    documents: int  # of the corpus, to train on
    held_out: int  # of dev and of test
    teacher_epochs: float
    student_epochs: float
    seeds: tuple[int, ...]


FULL = LanguageSize(
    teacher="4x128",
    student="2x64",
    documents=600,
    held_out=60,
    teacher_epochs=4,
    student_epochs=2,
    seeds=(0, 1, 2),
)
QUICK = LanguageSize(
    teacher="2x64",
    student="1x32",
    documents=250,
    held_out=40,
    teacher_epochs=4,
    student_epochs=2,
    seeds=(0, 1),
)


def language_demo(
    folder: Path, size: LanguageSize = FULL, *, reporter: Reporter = SILENT
) -> DemoResult:
    """Run (or finish) the demo in ``folder``."""
    space = Workspace(folder)
    columns = Columns(task=TASK)
    corpus = sources.load("corpus", columns, space.data, reporter)
    source = drawn(corpus, size.documents, size.held_out)
    teacher = Finetune(epochs=size.teacher_epochs, learning_rate=LEARNING_RATE, batch_size=16)
    config = DumpConfig(
        teacher=TeacherSpec(name=size.teacher),
        data=source.name,
        columns=columns,
        finetune=teacher,
        settings=DumpSettings(codec=CODEC, sequences=Sequences(seq_len=SEQ_LEN)),
        workspace=space,
    )
    report = dump(config, source=source, reporter=reporter)
    student = TrainConfig(
        columns=columns,
        student=size.student,
        epochs=size.student_epochs,
        learning_rate=LEARNING_RATE,
        batch_size=16,
        cache=report.cache,
        workspace=space,
    )
    runs = []
    for seed in size.seeds:
        for method in METHODS:
            runs.append(train(replace(student, method=method, seed=seed), reporter=reporter))
    return DemoResult(report.cache, report, tuple(runs), compare(runs))
