"""A GPU's figures: RoBERTa-large and DistilRoBERTa by their shapes, bf16, rows of SST-5's lengths
and of 128 tokens.

    python benchmarks/bench_gpu.py [--data FOLDER] [--rounds 15]

Steps by method, dump, and how far the plan is off; documents in results/gpu-*.json. Without a GPU
it says so and ends. ``--data`` is SST-5 (default: the built-in rows); its lengths are taken, its
words are not.
"""

from __future__ import annotations

import argparse
import os
import sys

import torch
from common import RESULTS

from logitcache.bench import dump as dumping
from logitcache.bench import overhead
from logitcache.bench.document import Document, write
from logitcache.config.bench import DumpBenchConfig, OverheadConfig, PlanConfig, WorkloadConfig
from logitcache.forecast import accuracy
from logitcache.reporter import Notes

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


def save(name: str, document: Document) -> None:
    write(RESULTS / f"{name}.json", document)
    print(name, "written")


if __name__ == "__main__":
    main()
