"""Reading answers beside other formats: `logitcache bench read` with rivals.py, its document in
results/read.json.

python benchmarks/bench_read.py [--rounds 7]
"""

from __future__ import annotations

import argparse
import sys

from cold import cold_passes
from common import RESULTS
from rivals import RIVALS

from logitcache.bench.document import write
from logitcache.bench.formats import WAYS
from logitcache.bench.read import bench
from logitcache.config.bench import ReadBenchConfig
from logitcache.reporter import Notes


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=ReadBenchConfig.rounds)
    options = parser.parse_args()
    config = ReadBenchConfig(rounds=options.rounds)
    ways = (*WAYS, *RIVALS)
    document = bench(config, ["python", *sys.argv], Notes(), ways=ways)
    document["cold"] = [
        cold_pass for width in config.widths for cold_pass in cold_passes(config, ways, width)
    ]
    write(RESULTS / "read.json", document)
    for case in document["cases"]:
        kind = [str(case[key]) for key in ("name", "width", "order", "workers")]
        print(", ".join(kind), case["ratio_to_logitcache"]["median"])
    print("open", document["open"])


if __name__ == "__main__":
    main()
