"""What a study costs beside its trials: a study of 40 short trials on the built-in docstrings, run
once and once more when it has ended.

Overhead is the wall time of `study run` without that of its trials and its teacher, as their ends
record it: starting, reading rows, planning, recording. Each process that loads torch writes a line,
through a `sitecustomize` of its own. ``--seconds`` is the length of a trial that the share is also
computed for, since the overhead of a trial does not depend on its length.
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
from typing import Any

from common import write

from logitcache.study import folder

HOOK = """
import atexit
import os
import sys


def note():
    if "torch" in sys.modules:
        with open(os.environ["TORCH_STARTS"], "a") as file:
            print(os.getpid(), file=file)


atexit.register(note)
"""
METHODS = ("base", "ls", "tf-reg", "kd")


def spec(rows: int, seeds: int) -> dict[str, Any]:
    return {
        "tasks": ["docstrings"],
        "students": ["1x64"],
        "methods": list(METHODS),
        "seeds": list(range(seeds)),
        "teacher": {"teacher": "2x64", "finetune_epochs": 1},
        "settings": {"rows": rows, "epochs": 1, "max_length": 32, "vocabulary": 2000},
    }


def timed(arguments: list[str], starts: Path, hook: Path) -> tuple[float, int]:
    """Wall seconds of a command, and how many processes loaded torch."""
    starts.write_text("")
    path = os.pathsep.join(filter(None, [str(hook), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "TORCH_STARTS": str(starts), "PYTHONPATH": path}
    script = "from logitcache_cli.main import cli; cli()"
    began = time.monotonic()
    command = [sys.executable, "-c", script, *arguments]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.monotonic() - began, len(set(starts.read_text().split()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        (work / "hook").mkdir()
        (work / "hook" / "sitecustomize.py").write_text(HOOK)
        (work / "spec.yaml").write_text(json.dumps(spec(options.rows, options.trials // 4)))
        run = ["study", "run", str(work / "spec.yaml"), "--out", str(work / "study")]
        run += ["--workers", str(options.workers), "--json"]
        wall, starts = timed(run, work / "starts", work / "hook")
        again, starts_again = timed(run, work / "starts", work / "hook")
        study = folder.read(work / "study")
        trials = [entry.end.seconds or 0.0 for entry in study.trials]
        ended = [
            (work / "study" / "trials" / f"{entry.planned.id}.json").stat().st_mtime
            for entry in study.trials
        ]
        teachers = [teacher.end.seconds or 0.0 for teacher in study.teachers]
    spent = (sum(trials) + sum(teachers)) / options.workers
    overhead = wall - spent
    first = trials[ended.index(min(ended))]
    # a trial of base ends first: the teacher is made after it
    between = max(ended) - min(ended) - (spent - first / options.workers)
    document = {
        "trials": len(trials),
        "workers": options.workers,
        "wall_seconds": wall,
        "trial_seconds": sum(trials),
        "teacher_seconds": sum(teachers),
        "overhead_seconds": overhead,
        "of_it_between_trials_seconds": between,
        "share": overhead / wall,
        "share_of_long_trials": overhead / (overhead + len(trials) * options.seconds),
        "long_trial_seconds": options.seconds,
        "processes_that_loaded_torch": starts,
        "again_seconds": again,
        "again_processes_that_loaded_torch": starts_again,
    }
    write("study", document)


if __name__ == "__main__":
    main()
