"""The demo from nothing, as a new user runs it: how long it takes, and what it prints.

    python benchmarks/bench_demo.py
    python benchmarks/bench_demo.py --task causal-lm

Writes ``results/demo.json`` (seconds, the text, the comparison) and ``results/demo.png``, shown in
docs/performance.md. Of language models the README shows the small demo (``--quick``,
``demo-causal-lm.json``); the whole one is ``demo-causal-lm-full.json``.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import RESULTS, write

LOGITCACHE = Path(sys.executable).with_name("logitcache")
DATA = {"classification": "docstrings", "causal-lm": "corpus"}  # by task


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", choices=tuple(DATA), default="classification")
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    name = "demo" if chosen.task == "classification" else f"demo-{chosen.task}"
    words = ["demo", "--task", chosen.task]
    if chosen.quick:
        words.append("--quick")
    elif chosen.task == "causal-lm":
        name += "-full"
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        printed = subprocess.run(
            [LOGITCACHE, *words], cwd=folder, check=True, capture_output=True, text=True
        ).stdout
        seconds = time.perf_counter() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        picture = next((Path(folder) / "logitcache-demo").rglob("verdict.png"))
        runs = next(picture.parent.rglob(f"runs/{DATA[chosen.task]}"))
        shutil.copy(picture, RESULTS / f"{name}.png")
        compare = [LOGITCACHE, "compare", runs, "--json"]
        comparison = json.loads(
            subprocess.run(compare, check=True, capture_output=True, text=True).stdout
        )
        figures = {
            "seconds": seconds,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "printed": printed.splitlines(),
            "comparison": comparison,
        }
        write(name, figures)


if __name__ == "__main__":
    main()
