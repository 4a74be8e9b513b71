"""Reading answers beside other formats: `logitcache bench read`, its document in results/read.json.

python benchmarks/bench_read.py [--rounds 7]
"""

from __future__ import annotations

import argparse
import sys

from common import RESULTS

from logitcache.bench.document import write
from logitcache.bench.read import bench
from logitcache.config.bench import ReadBenchConfig


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=ReadBenchConfig.rounds)
    asked = parser.parse_args()
    told = bench(ReadBenchConfig(rounds=asked.rounds), ["python", *sys.argv], lambda said: print(said, file=sys.stderr))
    write(RESULTS / "read.json", told)
    for case in told["cases"]:
        kind = [str(case[key]) for key in ("name", "width", "order", "workers")]
        print(", ".join(kind), case["ratio_to_logitcache"]["median"])
    print("open", told["open"])


if __name__ == "__main__":
    main()
