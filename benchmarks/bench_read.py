"""Reading answers beside other formats: `logitcache bench read` with rivals.py, its document in results/read.json.

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
    asked = parser.parse_args()
    config = ReadBenchConfig(rounds=asked.rounds)
    ways = (*WAYS, *RIVALS)
    told = bench(config, ["python", *sys.argv], Notes(), ways=ways)
    told["cold"] = [cold_pass for width in config.widths for cold_pass in cold_passes(config, ways, width)]
    write(RESULTS / "read.json", told)
    for case in told["cases"]:
        kind = [str(case[key]) for key in ("name", "width", "order", "workers")]
        print(", ".join(kind), case["ratio_to_logitcache"]["median"])
    print("open", told["open"])


if __name__ == "__main__":
    main()
