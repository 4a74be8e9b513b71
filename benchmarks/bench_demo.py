"""The demo from nothing, as a new user runs it: how long it takes, and what it prints.

    python benchmarks/bench_demo.py

Writes ``results/demo.json`` (seconds, the text, the comparison) and ``results/demo.png``: what the
README shows.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import RESULTS, write

LOGITCACHE = Path(sys.executable).with_name("logitcache")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        printed = subprocess.run(
            [LOGITCACHE, "demo"], cwd=folder, check=True, capture_output=True, text=True
        ).stdout
        seconds = time.perf_counter() - started
        results = Path(folder) / "logitcache-demo" / "full"
        shutil.copy(results / "verdict.png", RESULTS / "demo.png")
        compare = [LOGITCACHE, "compare", results / "runs" / "docstrings", "--json"]
        comparison = json.loads(
            subprocess.run(compare, check=True, capture_output=True, text=True).stdout
        )
        write(
            "demo", {"seconds": seconds, "printed": printed.splitlines(), "comparison": comparison}
        )


if __name__ == "__main__":
    main()
