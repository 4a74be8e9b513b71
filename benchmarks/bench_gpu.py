"""A GPU's figures: RoBERTa-large and DistilRoBERTa by their shapes, bf16, rows of SST-5's lengths
and of 128 tokens.

    python benchmarks/bench_gpu.py [--data FOLDER] [--rounds 15]

Steps by method, dump, and how far the plan is off; documents in results/gpu-*.json. Then language
models in bf16: the loss of a vocabulary by execution and chunk, whole steps and dumps with their
tokens a second (bench_vocabulary_loss.py and bench_language.py; results/*-cuda.json). Without a GPU
it says so and ends. ``--data`` is SST-5 (default: the built-in rows); its lengths are taken, its
words are not. The part of language models has not run on a GPU yet.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import torch
from common import RESULTS

from logitcache.bench import dump as dumping
from logitcache.bench import overhead
from logitcache.bench.document import Document, write
from logitcache.config.bench import DumpBenchConfig, OverheadConfig, PlanConfig, WorkloadConfig
from logitcache.forecast import accuracy
from logitcache.reporter import Notes

# benchmarks of language models, each in a process of its own, so that its memory is its own
LANGUAGE = (
    ("bench_vocabulary_loss.py", "--kind", "loss"),
    ("bench_vocabulary_loss.py", "--kind", "gold"),
    ("bench_vocabulary_loss.py", "--kind", "chunks", "--positions", "4096"),
    ("bench_language.py", "--part", "step", "--rows", "512", "--steps", "20"),
    ("bench_language.py", "--part", "dump", "--rows", "4096"),
)
TEACHER, STUDENT = "roberta-large", "distilroberta-base"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=os.environ.get("SST5") or "docstrings")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", type=int, default=8192)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("bench_gpu: needs a GPU; skipped")
        return
    models = {
        "student": STUDENT,
        "teacher": TEACHER,
        "shape_only": True,
        "dtype": "bfloat16",
        "precision": "bf16",
    }
    command = ["python", *sys.argv]
    for name, lengths in {"lengths": {"data": options.data}, "128": {"tokens": 128}}.items():
        work = WorkloadConfig(**models, **lengths, rows=options.rows, device="cuda")  # type: ignore[arg-type]
        steps = OverheadConfig(work, rounds=options.rounds, steps=40, settle=5)
        save(f"gpu-overhead-{name}", overhead.bench(steps, command, Notes()))
        for budget in (4096, 16384, 65536):
            dump = DumpBenchConfig(
                teacher=TEACHER, shape_only=True, dtype="bfloat16", device="cuda", rows=options.rows, rounds=5,
                batch_tokens=budget, **lengths,  # type: ignore[arg-type]
            )  # fmt: skip
            save(f"gpu-dump-{name}-{budget}", dumping.bench(dump, command, Notes()))
        save(
            f"gpu-plan-{name}",
            accuracy.bench(PlanConfig(work), command, Notes(), rounds=5, steps=64),
        )
    for script, *arguments in LANGUAGE:
        path = Path(__file__).with_name(script)
        subprocess.run([sys.executable, path, *arguments, "--device", "cuda"], check=True)


def save(name: str, document: Document) -> None:
    write(RESULTS / f"{name}.json", document)
    print(name, "written")


if __name__ == "__main__":
    main()
