"""Where one dump's time goes, and what memory one needs."""

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
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import transformers

from logitcache.bench.turns import Case, timed
from logitcache.bench.workload import config_of, random_model
from logitcache.errors import SpecError
from logitcache.models.load import quiet
from logitcache.store.writer import CacheWriter
from logitcache.teacher import dump as stage
from logitcache.teacher import model as asking
from logitcache.teacher.model import TeacherModel
from logitcache.teacher.plan import Planned
from logitcache.teacher.shards import Assembly

# What belongs to which part of a dump. The writer is another thread: on the one that asks the teacher, writing is
# claiming the folder, waiting for shards and sealing.
PARTS: tuple[tuple[str, Any, str], ...] = (
    ("plan", stage, "planned"),  # digests of weights, rows and tokenizer; how the teacher is asked in batches
    ("tokenise", Planned, "prepare"),
    ("pad", asking, "pad"),
    ("forward", TeacherModel, "logits"),
    ("encode", Assembly, "add"),  # reduced on the device, packed, looked at
    ("encode", Assembly, "finish"),
    ("write", CacheWriter, "__init__"),
    ("write", CacheWriter, "write"),
    ("write", CacheWriter, "seal"),
    ("write", Future, "result"),
    ("report", stage, "report"),
)
NAMES = tuple(dict.fromkeys(part for part, _, _ in PARTS))
SAMPLED = 0.05  # seconds between two looks at a process's memory
WORDS = [f"word{i}" for i in range(2000)]  # of made-up texts
TINY, TINY_LENGTH = "1x32", 24  # the teacher of the memory figures: what is left is the cache's own
_STATUS = Path("/proc/self/status")
_DUMP = """
import sys
from logitcache.api import dump
dump(*sys.argv[1:3], workspace=sys.argv[3], max_length=int(sys.argv[4]), device="cpu")
"""


@dataclass
class Spent:
    """Seconds of each part on the thread that made this, without the parts inside it; ``behind``: of other threads."""

    fence: Case
    parts: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    behind: float = 0.0
    _inner: float = 0.0  # of parts inside the one that runs
    _thread: int = field(default_factory=threading.get_ident)

    def timing(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def counted(*given: Any, **named: Any) -> Any:
            here, outer, started = threading.get_ident() == self._thread, self._inner, time.perf_counter()
            if here:
                self._inner = 0.0
            try:
                return call(*given, **named)
            finally:
                if part == "forward":
                    self.fence()
                took = time.perf_counter() - started
                if here:
                    self.parts[part] += took - self._inner
                    self._inner = outer + took
                else:
                    self.behind += took

        return counted


def where(dump: Case, fence: Case) -> tuple[dict[str, float], float]:
    """Seconds of each part of one dump, which add up to it, and of the writer's thread beside it. The device is waited
    for after each forward pass, so that what it does is counted there.
    """
    spent = Spent(fence)
    with ExitStack() as stack:
        for part, owner, name in PARTS:
            stack.enter_context(_replaced(owner, name, spent.timing(part, vars(owner)[name])))
        whole = timed(dump, fence)
    told = {name: spent.parts.get(name, 0.0) for name in NAMES}
    return {**told, "rest": max(0.0, whole - sum(told.values()))}, spent.behind


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def word_tokenizer(words: Sequence[str], longest: int) -> Any:
    """A tokenizer that makes one token of each of these words."""
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])}
    return transformers.BertTokenizer(vocab=vocabulary, model_max_length=longest)


def made_up(rows: int, shortest: int, longest: int, seed: int = 0) -> Iterator[str]:
    """Texts of ``shortest`` to ``longest`` words."""
    draw = random.Random(seed)
    return (" ".join(draw.choices(WORDS, k=draw.randint(shortest, longest))) for _ in range(rows))


def peak_memory_of(rows: int, folder: Path) -> int:
    """The most memory of its own (``RssAnon``: pages of mapped files are the system's to take back) that a dump of so
    many made-up rows of 3 to 20 words needs, by a teacher of one layer, in a process of its own: bytes.

    Raises SpecError where the system does not tell (it is not Linux), or where the dump does not succeed.
    """
    if not _STATUS.exists():
        raise SpecError("--memory-rows: expected a system with /proc to look at, found none. Leave it out.")
    teacher, data = folder / "teacher", folder / f"rows{rows}"
    if not teacher.exists():
        with quiet():
            random_model(config_of(TINY), 2).save_pretrained(teacher)
        word_tokenizer(WORDS, TINY_LENGTH).save_pretrained(teacher)
    data.mkdir(parents=True, exist_ok=True)
    with (data / "train.jsonl").open("w") as file:
        for i, text in enumerate(made_up(rows, 3, 20, seed=rows)):
            file.write(json.dumps({"text": text, "label": ("no", "yes")[i % 2]}) + "\n")
    words = [sys.executable, "-c", _DUMP, str(teacher), str(data), str(folder / f"work{rows}"), str(TINY_LENGTH)]
    return _watched(words, folder / "said.txt")


def _watched(words: Sequence[str], said: Path) -> int:
    # one arena: what the allocator keeps for each thread is none of the dump's
    settings, most = {**os.environ, "MALLOC_ARENA_MAX": "2"}, 0
    with said.open("wb") as file:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=file, env=settings)
        try:
            while process.poll() is None:
                most = max(most, _anonymous(process.pid))
                time.sleep(SAMPLED)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        last = (said.read_text(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise SpecError(f"a dump in a process of its own did not succeed: {last}")
    return most


def _anonymous(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon")), 0)
