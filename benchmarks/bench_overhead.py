"""What a training step costs by method: three pairs of teacher and student, `logitcache bench
overhead` for each.

    python benchmarks/bench_overhead.py [--size small] [--size scaled] [--size distilroberta]
    [--rounds N]

``scaled`` is RoBERTa-large with DistilRoBERTa, a quarter as wide: the same ratio of parameters on a
machine without a GPU. ``distilroberta`` is DistilRoBERTa itself. Built-in rows; weights and words
decide no time. The documents lie in results/overhead-SIZE.json, the picture of the first in
results/overhead.png.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from common import RESULTS

from logitcache.bench.document import write
from logitcache.bench.overhead import bench
from logitcache.config.bench import OverheadConfig, WorkloadConfig
from logitcache.report.overhead import ratio_picture
from logitcache.reporter import Notes

SIZES = {
    "small": OverheadConfig(
        WorkloadConfig(student="2x128", teacher="4x256", rows=2048), rounds=31, steps=20, settle=4
    ),
    "scaled": OverheadConfig(
        WorkloadConfig(student="6x192", teacher="24x256", shape_only=True, rows=2048),
        rounds=7,
        steps=10,
        settle=3,
    ),
    "distilroberta": OverheadConfig(
        WorkloadConfig(student="distilroberta-base", teacher="12x768", shape_only=True, rows=512),
        rounds=7,
        steps=3,
        settle=1,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", action="append", choices=list(SIZES))
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    for name in options.size or SIZES:
        settings = (
            SIZES[name] if options.rounds is None else replace(SIZES[name], rounds=options.rounds)
        )
        document = bench(settings, ["python", *sys.argv], Notes())
        write(RESULTS / f"overhead-{name}.json", document)
        if name == "small":
            ratio_picture(document, RESULTS / "overhead.png")
        for method, figures in document["methods"].items():
            print(name, method, figures["ratio_to_ls"])


if __name__ == "__main__":
    main()
