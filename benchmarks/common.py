"""What the benchmarks share: measuring in turn, a machine's description, one JSON file per claim."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"


def in_turn(
    cases: Mapping[str, Callable[[], object]], rounds: int, repeats: int, settle: int = 1
) -> dict[str, list[list[float]]]:
    """Seconds of each case, ``{name: [rounds][repeats]}``, measured A B C, B C A, ...: each round starts with another
    case.

    A drift of the machine's speed meets every case of a round alike. Each case runs once before the first round, and
    ``settle`` times uncounted before each block.
    """
    names, times = list(cases), {name: [] for name in cases}
    for case in cases.values():
        case()
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            for _ in range(settle):
                cases[name]()
            block = []
            for _ in range(repeats):
                started = time.perf_counter()
                cases[name]()
                block.append(time.perf_counter() - started)
            times[name].append(block)
    return times


def ratio(times: Mapping[str, list[list[float]]], over: str, under: str) -> dict[str, float]:
    """The ratio of two cases: the median, lowest and highest of the rounds' ratios of medians."""
    ratios = np.median(times[over], axis=1) / np.median(times[under], axis=1)
    return {"median": float(np.median(ratios)), "low": float(ratios.min()), "high": float(ratios.max())}


def spread(blocks: list[list[float]]) -> dict[str, float]:
    """Median and quartiles of all counted repeats, in seconds."""
    low, middle, high = np.quantile(np.concatenate(blocks), (0.25, 0.5, 0.75))
    return {"median": float(middle), "q1": float(low), "q3": float(high)}


def write(name: str, content: Mapping[str, Any]) -> None:
    """Write ``results/NAME.json`` with the machine, the versions and the command, and print it."""
    import torch

    document = {
        "benchmark": name,
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *map(_nameless, sys.argv[1:])]),
        "machine": {"processor": _processor(), "cores": torch.get_num_threads(), "system": platform.system()},
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in ("logitcache", "torch", "transformers", "numpy", "pyarrow")},
        **content,
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(document, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(text)


def _nameless(word: str) -> str:
    """A path on the command line by its last part alone: places of this machine are nobody's business."""
    return Path(word).name if "/" in word else word


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        return names[0] if names else platform.machine()
    return platform.machine()
