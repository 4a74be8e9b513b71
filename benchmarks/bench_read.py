"""Reading answers beside other formats: `logitcache bench read` with rivals.py, its document in results/read.json.

python benchmarks/bench_read.py [--rounds 7]
"""

from __future__ import annotations

import argparse
import sys

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
    told = bench(config, ["python", *sys.argv], Notes(), ways=(*WAYS, *RIVALS))
    write(RESULTS / "read.json", told)
    for case in told["cases"]:
        kind = [str(case[key]) for key in ("name", "width", "order", "workers")]
        print(", ".join(kind), case["ratio_to_logitcache"]["median"])
    print("open", told["open"])


if __name__ == "__main__":
    main()
