"""Does a dump's memory grow with the width of its vectors? Its peak with 50 and with 50,000
classes.

    python benchmarks/bench_width.py [--rows 4096]

Counted is the most that the process held at once (``VmHWM`` of /proc, so Linux only), mapped files
included. Each dump runs in a process of its own, with every setting at its default, on made-up rows
of 3 to 20 words without labels, with a teacher of one layer and random weights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common import write

from logitcache.bench.dump_phases import WORDS, made_up, word_tokenizer
from logitcache.bench.models import config_of, random_model
from logitcache.models.quiet import quiet

CLASSES = (50, 50_000)
ALLOWED = 200e6  # bytes between the two
LENGTH = 24
DUMP = """
import sys
from pathlib import Path
from logitcache.api import dump
dump(*sys.argv[1:3], workspace=sys.argv[3], max_length=int(sys.argv[4]), device="cpu")
status = Path("/proc/self/status").read_text()
print(next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")))
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=4096)
    rows = parser.parse_args().rows
    if not Path("/proc/self/status").exists():
        print("bench_width: needs /proc; skipped")
        return
    with tempfile.TemporaryDirectory() as folder:
        peaks = {str(classes): peak(Path(folder), rows, classes) for classes in CLASSES}
    narrow, wide = peaks.values()
    difference = wide - narrow
    write(
        "width",
        {
            "rows": rows,
            "peak_bytes": peaks,
            "difference_bytes": difference,
            "within_200_MB": difference <= ALLOWED,
        },
    )


def peak(folder: Path, rows: int, classes: int) -> int:
    """The most memory that a dump held, in bytes."""
    teacher = folder / f"teacher{classes}"
    data = folder / f"rows{classes}"
    with quiet():
        random_model(config_of("1x32"), classes).save_pretrained(teacher)
    word_tokenizer(WORDS, LENGTH).save_pretrained(teacher)
    data.mkdir()
    with (data / "train.jsonl").open("w") as file:
        for text in made_up(rows, 3, 20):
            file.write(json.dumps({"text": text}) + "\n")
    words = [
        sys.executable,
        "-c",
        DUMP,
        str(teacher),
        str(data),
        str(folder / f"work{classes}"),
        str(LENGTH),
    ]
    settings = {**os.environ, "MALLOC_ARENA_MAX": "2"}
    output = subprocess.run(
        words, env=settings, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    peak_bytes = int(output.split()[-1])
    print(f"{classes:,} classes: {peak_bytes / 1e6:,.0f} MB", file=sys.stderr)
    return peak_bytes


if __name__ == "__main__":
    main()
