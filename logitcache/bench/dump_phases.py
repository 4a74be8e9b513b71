"""The phases of one dump with their times, and the memory that a dump needs."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import transformers

from logitcache.bench.machine import own_memory
from logitcache.bench.models import config_of, random_model
from logitcache.bench.turns import Case, timed
from logitcache.errors import SpecError
from logitcache.models.quiet import quiet
from logitcache.reporter import Reporter

# The phases of a dump that it reports. The writer is another thread: on the one that asks the
# teacher, "write" is claiming the folder, waiting for shards and sealing.
NAMES = ("plan", "tokenise", "pad", "forward", "encode", "write", "report")
SAMPLED = 0.05  # seconds between two looks at a process's memory
WORDS = [f"word{i}" for i in range(2000)]  # of made-up texts
TINY = "1x32"  # the teacher of the memory figures: the memory that is left is the dump's own
TINY_LENGTH = 24  # tokens that it takes
_DUMP = """
import sys
from logitcache.api import dump
dump(*sys.argv[1:3], workspace=sys.argv[3], max_length=int(sys.argv[4]), device="cpu")
"""


class Spent(Reporter):
    """Seconds of each phase on the thread that made this, without the phases inside it. ``behind``
    is the time of other threads.

    After each forward pass ``fence`` waits for the device, so that its work is counted there.
    """

    def __init__(self, fence: Case) -> None:
        self.fence = fence
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.behind = 0.0
        self._inner = 0.0  # seconds of phases inside the one that runs
        self._thread = threading.get_ident()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        own = threading.get_ident() == self._thread
        outer = self._inner
        started = time.perf_counter()
        if own:
            self._inner = 0.0
        try:
            yield
        finally:
            if name == "forward":
                self.fence()
            seconds = time.perf_counter() - started
            if own:
                self.seconds[name] += seconds - self._inner
                self._inner = outer + seconds
            else:
                self.behind += seconds


def where(dump: Callable[[Reporter], object], fence: Case) -> tuple[dict[str, float], float]:
    """Seconds of each phase of one dump, which add up to its time, and of the writer's thread."""
    spent = Spent(fence)
    total = timed(partial(dump, spent), fence)
    seconds = {name: spent.seconds.get(name, 0.0) for name in NAMES}
    seconds["rest"] = max(0.0, total - sum(seconds.values()))
    return seconds, spent.behind


def word_tokenizer(words: Sequence[str], longest: int) -> Any:
    """A tokenizer that makes one token of each of these words."""
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    vocabulary = dict(zip(entries, range(len(entries)), strict=True))
    return transformers.BertTokenizer(vocab=vocabulary, model_max_length=longest)


def made_up(rows: int, shortest: int, longest: int, seed: int = 0) -> Iterator[str]:
    """Texts of ``shortest`` to ``longest`` words."""
    source = random.Random(seed)
    for _ in range(rows):
        yield " ".join(source.choices(WORDS, k=source.randint(shortest, longest)))


def peak_memory_of(rows: int, folder: Path) -> int:
    """The largest memory (:func:`own_memory`) in bytes of a dump of so many made-up rows of 3 to 20
    words by a teacher of one layer, in a process of its own.

    Raises SpecError where the system does not report it (it is not Linux), or where the dump fails.
    """
    if own_memory("self") is None:
        raise SpecError(
            expected="a system with /proc to look at",
            found="none",
            advice="Leave it out.",
            where="--memory-rows",
        )
    teacher = folder / "teacher"
    data = folder / f"rows{rows}"
    if not teacher.exists():
        with quiet():
            random_model(config_of(TINY), 2).save_pretrained(teacher)
        word_tokenizer(WORDS, TINY_LENGTH).save_pretrained(teacher)
    data.mkdir(parents=True, exist_ok=True)
    with (data / "train.jsonl").open("w") as file:
        for i, text in enumerate(made_up(rows, 3, 20, seed=rows)):
            file.write(json.dumps({"text": text, "label": ("no", "yes")[i % 2]}) + "\n")
    command = [
        sys.executable,
        "-c",
        _DUMP,
        str(teacher),
        str(data),
        str(folder / f"work{rows}"),
        str(TINY_LENGTH),
    ]
    return _peak_memory(command, folder / "stderr.txt")


def _peak_memory(command: Sequence[str], log: Path) -> int:
    """The largest memory of a command that ends with 0, in bytes. ``log``: where its stderr goes."""
    # few arenas: what the allocator keeps for each thread is not the dump's
    environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}
    peak = 0
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file, env=environment)
        try:
            while process.poll() is None:
                peak = max(peak, own_memory(process.pid) or 0)
                time.sleep(SAMPLED)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        lines = log.read_text(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit code {process.returncode}"
        raise SpecError(f"a dump in a process of its own did not succeed: {reason}")
    return peak
