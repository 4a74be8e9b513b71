"""What the benchmarks share: one JSON file per claim, with the machine and the versions."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from logitcache.bench import turns
from logitcache.bench.document import nameless
from logitcache.bench.machine import machine, versions

RESULTS = Path(__file__).parent / "results"


def ratio(
    times: Mapping[str, Sequence[Sequence[float]]], over: str, under: str
) -> dict[str, float]:
    """The ratio of two cases that were measured in turn."""
    return turns.ratio(times[over], times[under]).to_dict()


def write(name: str, content: Mapping[str, Any]) -> None:
    """Write ``results/NAME.json`` with the machine, the versions and the command, and print it."""
    document = {
        "benchmark": name,
        "command": " ".join(
            ["python", f"benchmarks/{Path(sys.argv[0]).name}", *map(nameless, sys.argv[1:])]
        ),
        "machine": machine(),
        "versions": versions(),
        **content,
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(document, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(text)
