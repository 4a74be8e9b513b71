"""Does memory grow with the rows? The peak of a dump and of a training over 10^4, 10^5 and 10^6
rows.

    python benchmarks/bench_memory.py [--largest 1000000] [--part rows signals]

Counted is what belongs to the process alone (``RssAnon`` and ``RssShmem``, mapped without a file, of
/proc, so Linux only), sampled while it runs: pages of mapped files (``RssFile``, reported beside)
are the system's to take back. Each command runs in a process of its
own, on made-up rows of 3 to 20 words, with a teacher and a student of one layer; training takes 200
steps whatever the number of rows. ``signals``: masked LM on texts, attention inputs of every token
dumped and MiniLM trained on them for 50 steps (results/memory-signals.json).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from common import write

import logitcache
from logitcache.bench.dump_phases import made_up
from logitcache.bench.machine import own_memory, process_status

SIZES = (10_000, 100_000, 1_000_000)
TEXTS = (4_000, 40_000)  # of the part signals
STEPS, BATCH = 200, 32
Peaks: TypeAlias = dict[str, dict[str, dict[str, int]]]  # by command, size and kind
GROWTH, ROOM = 1.1, 32e6  # what is allowed: 10 % and 32 MB
LOGITCACHE = Path(sys.executable).with_name("logitcache")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    parser.add_argument(
        "--part", nargs="+", choices=("rows", "signals"), default=["rows", "signals"]
    )
    options = parser.parse_args()
    if not Path("/proc/self/status").exists():
        print("bench_memory: needs /proc; skipped")
        return
    with tempfile.TemporaryDirectory() as folder:
        if "rows" in options.part:
            sizes = [size for size in SIZES if size <= options.largest]
            write("memory", measure(Path(folder), sizes))
        if "signals" in options.part:
            write("memory-signals", measure_signals(Path(folder)))


def rows(path: Path, count: int, seed: int) -> None:
    with path.open("w") as file:
        for i, text in enumerate(made_up(count, 3, 20, seed)):
            file.write(json.dumps({"text": text, "label": ("no", "yes")[i % 2]}) + "\n")


def measure(folder: Path, sizes: list[int]) -> dict[str, object]:
    peaks: Peaks = {"dump": {}, "train": {}}
    space = ("--workspace", str(folder / "work"), "--max-length", "24")
    teacher = ""
    for size in sizes:
        data = folder / f"rows{size}"
        data.mkdir()
        rows(data / "train.jsonl", size, seed=size)
        rows(data / "dev.jsonl", 1000, seed=1)
        if not teacher:
            teacher = str(
                logitcache.train(
                    "base", str(data), student="1x32", epochs=0.1, workspace=folder / "work"
                )
            )
        rows_options = ("--data", str(data), *space)
        peaks["dump"][str(size)] = peak("dump", "--teacher", teacher, *rows_options)
        steps = ("--epochs", str(STEPS * BATCH / size), "--batch-size", str(BATCH))
        student = ("--student", "1x32", "--tokenizer", teacher, *steps)
        peaks["train"][str(size)] = peak("train", "--method", "kd", *rows_options, *student)
    return judged(peaks, sizes)


def measure_signals(folder: Path) -> dict[str, object]:
    """Masked LM: texts of 60 words, rows of 64 tokens."""
    peaks: Peaks = {"dump": {}, "pretrain": {}}
    space = ("--workspace", str(folder / "work"), "--seq-len", "64")
    teacher = folder / "teacher"
    stored = {}
    for size in TEXTS:
        data = folder / f"texts{size}.jsonl"
        lines = [json.dumps({"text": text}) + "\n" for text in made_up(size, 60, 60, size)]
        data.write_text("".join(lines))
        if not teacher.exists():
            student = ("--student", "1x64", "--vocabulary", "1000", "--budget", "steps=20")
            peak("pretrain", "--data", str(data), *student, *space, "--out", str(teacher))
        cache = folder / f"cache{size}"
        wanted = ("--task", "masked-lm", "--signal", "attention-input:-1", "--out", str(cache))
        named = ("--teacher", str(teacher), "--data", str(data))
        peaks["dump"][str(size)] = peak("dump", *named, *wanted, *space)
        method = ("--method", "minilm", "--cache", str(cache), "--student", "1x64")
        steps = ("--budget", "steps=50", "--out", str(folder / f"run{size}"))
        peaks["pretrain"][str(size)] = peak("pretrain", *method, *steps, *space[:2])
        stored[str(size)] = sum(path.stat().st_size for path in cache.rglob("*.arrow"))
    return {"cache_bytes": stored, **judged(peaks, TEXTS)}


def judged(measured: Peaks, sizes: Sequence[int]) -> dict[str, object]:
    """The peaks by command and size, and whether those of the process's own memory are flat."""
    peaks, mapped = (_of_kind(measured, kind) for kind in ("anonymous", "mapped"))
    allowed = {
        command: int(by_size[str(sizes[0])] * GROWTH + ROOM) for command, by_size in peaks.items()
    }
    return {
        "peak_anonymous_bytes": peaks,
        "peak_mapped_bytes": mapped,
        "allowed_bytes": allowed,
        "flat": {
            command: max(by_size.values()) <= allowed[command] for command, by_size in peaks.items()
        },
    }


def _of_kind(measured: Peaks, kind: str) -> dict[str, dict[str, int]]:
    by_command = {}
    for command, by_size in measured.items():
        by_command[command] = {size: sizes[kind] for size, sizes in by_size.items()}
    return by_command


def peak(*words: str) -> dict[str, int]:
    """The most memory of a command while it runs, in bytes: its own, and its pages of mapped files."""
    process = subprocess.Popen(
        [LOGITCACHE, *words], stdout=subprocess.DEVNULL, env={**os.environ, "MALLOC_ARENA_MAX": "2"}
    )
    largest = {"anonymous": 0, "mapped": 0}
    while process.poll() is None:
        mapped = process_status(process.pid, "RssFile") or 0
        largest["anonymous"] = max(largest["anonymous"], own_memory(process.pid) or 0)
        largest["mapped"] = max(largest["mapped"], mapped)
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"bench_memory: {' '.join(words)} ended with {process.returncode}")
    shown = ", ".join(f"{kind} {size / 1e6:,.0f} MB" for kind, size in largest.items())
    print(f"{words[0]}: {shown}", file=sys.stderr)
    return largest


if __name__ == "__main__":
    main()
