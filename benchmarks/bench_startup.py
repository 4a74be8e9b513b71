"""How long one waits for `--help`, for a refusal, and for `check` of 100,000 rows.

Each command runs in a process of its own, five times. CPU time stands beside time, for it depends
less on what else the machine does. ``--before FOLDER`` measures the refusals of an older state too,
once each: the folder holds its `logitcache`, and its `cli` as `logitcache_cli`. What each refusal
imports is tested (tests/cli/test_fail_fast.py).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import write
from safetensors.numpy import save_file

from logitcache.bench.turns import spread

TIMES = 5
ROWS = 100_000
COMMANDS = (
    *(
        "check",
        "dump",
        "train",
        "compare",
        "inspect",
        "verify",
        "repair",
        "convert",
        "merge",
        "diff",
        "plan",
        "report",
    ),
    *("demo", "pretrain", "tune", "bench overhead", "bench dump", "bench read", "bench plan"),
)
REFUSALS = {
    "wrong option": "train --alfa 1",
    "wrong value": "train --method kdd",
    "wrong command": "trian",
    "no such file": "dump --teacher teacher --data nowhere.csv",
    "no such column": "dump --teacher teacher --data rows.jsonl --text nope",
    "classes do not match": "dump --teacher teacher --data other.jsonl",
    "no such teacher": "dump --teacher ./nowhere --data rows.jsonl",
    "no such file (train)": "train --method base --data nowhere.csv",
    "no label (train)": "train --method base --data bare.jsonl",
    "one class (train)": "train --method base --data single.jsonl",
    "no such student (train)": "train --method base --data rows.jsonl --student ./nowhere",
}


def prepare(folder: Path) -> None:
    """The files that the commands name."""
    tables = {
        "rows": [("a film", "neg"), ("a story", "pos")],
        "other": [("a film", "red"), ("a story", "blue")],
        "single": [("a film", "pos"), ("a story", "pos")],
        "bare": [("a film", None), ("a story", None)],
    }
    for name, rows in tables.items():
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    teacher = folder / "teacher"
    teacher.mkdir()
    config = {"architectures": ["BertForSequenceClassification"], "model_type": "bert"}
    config |= {"id2label": {"0": "neg", "1": "pos"}, "label2id": {"neg": 0, "pos": 1}}
    (teacher / "config.json").write_text(json.dumps(config))
    weights = {
        "bert.a": np.zeros(1, "f4"),
        "bert.b": np.zeros(1, "f4"),
        "classifier.weight": np.zeros((2, 4), "f4"),
    }
    save_file(weights, teacher / "model.safetensors")
    draw = random.Random(0)
    words = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("a", "el", "im", "ort", "und", "ax")]
    with (folder / "large.csv").open("w") as file:
        file.write("text,label\n")
        for _ in range(ROWS):
            file.write(
                " ".join(draw.choices(words, k=draw.randint(5, 40)))
                + f",{draw.choice(('neg', 'pos'))}\n"
            )


def measured(arguments: str, folder: Path, tree: Path | None) -> dict[str, Any]:
    """Seconds and CPU seconds of a command."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if tree is not None:
        environment["PYTHONPATH"] = str(tree)
    command = [sys.executable, "-m", "logitcache_cli.main", *arguments.split()]
    seconds: list[float] = []
    cpu: list[float] = []
    for _ in range(TIMES if tree is None else 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, check=False
        )
        seconds.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {
        "exit_code": done.returncode,
        "seconds": spread([seconds]),
        "cpu_seconds": statistics.median(cpu),
    }


def refusals(folder: Path, tree: Path | None) -> dict[str, Any]:
    return {name: measured(arguments, folder, tree) for name, arguments in REFUSALS.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--before", type=Path, help="folder of an older logitcache and logitcache_cli"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        document: dict[str, Any] = {
            "help": {name: measured(f"{name} --help", folder, None) for name in COMMANDS},
            "refusals": refusals(folder, None),
            "check": {"rows": ROWS, **measured("check large.csv", folder, None)},
        }
        if asked.before is not None:
            document["before"] = refusals(folder, asked.before.resolve())
    write("startup", document)


if __name__ == "__main__":
    main()
