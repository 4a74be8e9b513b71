"""Trials of a study of budgets as one CSV file, and their means with differences from the trials
without a teacher, paired by seed: 95 % intervals of Student's t over seeds.

    python benchmarks/budget_tables.py METRIC OUT.csv STUDY ...
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from scipy.stats import t

COLUMNS = (
    "task",
    "student",
    "method",
    "seed",
    "steps",
    "tokens",
    "training_flops",
    "dump_flops",
    "dev",
    "test",
)


def trial(folder: Path, metric: str) -> dict[str, Any]:
    """What a trial has read, spent and scored. Its place is TASK/STUDENT/METHOD-seedSEED."""
    result = json.loads((folder / "result.json").read_text())
    method, _, seed = folder.name.rpartition("-seed")
    budget = result["budget"] or {"tokens": None, "flops": None, "charged": {"dump": None}}
    scores = [result["metrics"][split][metric] for split in ("dev", "test")]
    values = (
        *(folder.parent.parent.name, folder.parent.name, method, int(seed), result["steps"]),
        *(budget["tokens"], budget["flops"], budget["charged"]["dump"], *scores),
    )
    return dict(zip(COLUMNS, values, strict=True))


def interval(differences: list[float]) -> str:
    """Their mean with its interval; the mean alone of one."""
    mean = fmean(differences)
    if len(differences) < 2:
        return f"{mean:+.4f} (one seed)"
    half = t.ppf(0.975, len(differences) - 1) * stdev(differences) / len(differences) ** 0.5
    return f"{mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}]"


def tables(trials: list[dict[str, Any]], axis: str) -> None:
    """Print a table for each task: rows by ``axis``, compared with the first row's ``base``."""
    for task in sorted({one["task"] for one in trials}):
        print(f"\n| {axis} | seeds | tokens | test | against base |\n|---|---|---|---|---|")
        of_task = [one for one in trials if one["task"] == task]
        names = sorted({one[axis] for one in of_task}, key=lambda name: (name != "base", name))
        base = {one["seed"]: one["test"] for one in of_task if one[axis] == names[0]}
        for name in names:
            rows = [one for one in of_task if one[axis] == name]
            scores = [one["test"] for one in rows]
            tokens = fmean(one["tokens"] or 0 for one in rows)
            spread = f" ± {stdev(scores):.4f}" if len(scores) > 1 else ""
            differences = [one["test"] - base[one["seed"]] for one in rows if one["seed"] in base]
            compared = interval(differences) if name != names[0] and differences else ""
            label = f"{task}: {name}"
            print(
                f"| {label} | {len(rows)} | {tokens:,.0f} | {fmean(scores):.4f}{spread} | {compared} |"
            )


def main(metric: str, out: Path, studies: list[Path]) -> None:
    results = [path for study in studies for path in study.glob("trials/*/*/*/result.json")]
    places = sorted(path.parent for path in results)
    trials = [trial(place, metric) for place in places]
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(trials)
    several_students = len({one["student"] for one in trials}) > 1
    tables(trials, "student" if several_students else "method")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]), [Path(study) for study in sys.argv[3:]])
