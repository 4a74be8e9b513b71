"""The demo from nothing, as a new user runs it: how long it takes, and what it prints.

    python benchmarks/bench_demo.py
    python benchmarks/bench_demo.py --task causal-lm

Writes ``results/demo.json`` (seconds, the text, the comparison) and ``results/demo.png``, or
``demo-causal-lm`` with the same endings: what the README shows. With ``--quick``, that of the small
demo.
"""

from __future__ import annotations

import argparse
import json
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
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        printed = subprocess.run(
            [LOGITCACHE, *words], cwd=folder, check=True, capture_output=True, text=True
        ).stdout
        seconds = time.perf_counter() - started
        picture = next((Path(folder) / "logitcache-demo").rglob("verdict.png"))
        runs = next(picture.parent.rglob(f"runs/{DATA[chosen.task]}"))
        shutil.copy(picture, RESULTS / f"{name}.png")
        compare = [LOGITCACHE, "compare", runs, "--json"]
        comparison = json.loads(
            subprocess.run(compare, check=True, capture_output=True, text=True).stdout
        )
        write(name, {"seconds": seconds, "printed": printed.splitlines(), "comparison": comparison})


if __name__ == "__main__":
    main()
