"""Does it help that no row is answered by a teacher that was trained on it?

    python benchmarks/bench_folds.py

The demo's data, teacher and student (built in; nothing is downloaded) with five seeds: base, KD
from one teacher that saw every row it answers for, and KD from five out-of-fold teachers (``dump
--folds 5``).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from common import write
from rich.console import Console

import logitcache
from logitcache.reporter import Notes
from logitcache.study.demo import FULL, MAX_LENGTH, demo_source
from logitcache.study.tables import render

FOLDS, SEEDS = 5, 5


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        study(Path(folder))


def study(folder: Path) -> None:
    space: dict[str, Any] = {"workspace": folder, "reporter": Notes(print)}
    source = demo_source(logitcache.load("docstrings", **space), FULL)
    teacher = {"finetune_epochs": FULL.teacher_epochs, "max_length": MAX_LENGTH}
    reports = {
        "one": logitcache.dump(FULL.teacher, source, **teacher, **space),
        "folds": logitcache.dump(FULL.teacher, source, folds=FOLDS, **teacher, **space),
    }
    student: dict[str, Any] = {
        "student": FULL.student,
        "epochs": FULL.student_epochs,
        "rows": FULL.student_rows,
        "learning_rate": 1e-3,
        "max_length": MAX_LENGTH,
        "group_by_length": True,
        **space,
    }
    runs: dict[str, list[Path]] = {"base": [], **{name: [] for name in reports}}
    for seed in range(SEEDS):
        runs["base"].append(logitcache.train("base", source, seed=seed, **student))
        for name, report in reports.items():
            out = folder / "runs" / f"kd-{name}-{seed}"
            runs[name].append(
                logitcache.train("kd", source, seed=seed, cache=report.cache, out=out, **student)
            )
    console, pairs = (
        Console(record=True, width=100),
        {"one": ("base", "one"), "folds": ("base", "folds")},
    )
    comparisons = {name: logitcache.compare(*runs[a], *runs[b]) for name, (a, b) in pairs.items()}
    for comparison in comparisons.values():
        render(comparison, console)
    between = logitcache.compare(*runs["base"], *runs["one"], *runs["folds"])
    write(
        "folds",
        {
            "teacher": {
                name: {"train": r.scores, "dev": r.dev_scores, "entropy": r.entropy}
                for name, r in reports.items()
            },
            **{name: comparison.to_json() for name, comparison in comparisons.items()},
            "all": between.to_json(),
        },
    )


if __name__ == "__main__":
    main()
