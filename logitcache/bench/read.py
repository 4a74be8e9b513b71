"""What reading costs: batches of 32 rows from a cache, and from what else logits are kept in.

All are measured in turn, on the same rows, everything having been read once before: the files are
in memory, and every record batch of the cache has been checked. ``logitcache`` is the reader alone,
as the others are readers alone: logits as they are stored, with the hashes and labels that prove a
join, which no other has. ``logitcache take`` is what a training step calls: it also makes float32
of the logits.
"""

from __future__ import annotations

import math
import multiprocessing
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from logitcache import platforms
from logitcache.bench import formats
from logitcache.bench.document import INTERRUPTED, Document, document, until_interrupted
from logitcache.bench.formats import OURS, WAYS, Opened, Way
from logitcache.bench.turns import Blocks, Case, Ratio, Times, in_turn, ratio, spread, timed
from logitcache.cache.cache import Cache
from logitcache.config.bench import ReadBenchConfig
from logitcache.records import Int64
from logitcache.reporter import SILENT, Reporter

BATCH = 32
RANDOM = "random"
SEQUENTIAL = "sequential"
ORDERS = (RANDOM, SEQUENTIAL)
MOST_BYTES = 200_000_000  # of one way's files, whatever the width
LOADER_REPEATS = 3  # of one case in each round, behind a DataLoader
# of one repeat: long enough for the clock, short enough that few are interrupted
REPEAT_SECONDS = 0.002
MOST_CALLS = 500  # batches of one repeat
LOADER_WIDTH = 64
LOADER_BATCHES = 200
PASS_ROWS = 1024  # of one request, where everything is read once
OPENINGS = 9


def rows_of(config: ReadBenchConfig, width: int, way: Way | None = None) -> int:
    """How many rows of this width there are, or one way has."""
    rows = max(BATCH, min(config.rows, MOST_BYTES // (2 * width + 16)))
    if way is not None and way.sparse:
        return min(rows, config.files)
    return rows


@dataclass(frozen=True)
class ReadCase:
    """One way of reading, measured: by ``workers`` of a DataLoader, or (None) a plain call."""

    name: str
    width: int
    order: str  # random or sequential
    workers: int | None
    rows: int  # that there are
    seconds: dict[str, float]  # of a batch: median and quartiles
    rows_per_second: float
    ratio_to_logitcache: Ratio

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "ratio_to_logitcache": self.ratio_to_logitcache.to_dict()}


def bench(
    config: ReadBenchConfig, command: Sequence[str], reporter: Reporter, ways: Sequence[Way] = WAYS
) -> Document:
    """Measure and write down: the document ``read``. The first of ``ways`` is what the others are
    compared with. What is made lies in a folder for temporary files and is deleted. An interrupt
    ends it with the whole rounds that were measured until then, and ``complete`` false.
    """
    config.check()
    reading = ReadBench(config, ways, reporter)
    with (
        until_interrupted(reporter) as measuring,
        tempfile.TemporaryDirectory(prefix="logitcache-read-") as folder,
    ):
        for width in dict.fromkeys(config.widths):
            reading.measure_width(Path(folder), width)
        if config.open_rows:
            reporter.note(f"open: writing {config.open_rows:,} rows")
            large = Path(folder) / "large"  # two classes, in shards as a dump cuts them
            formats.make_cache(large, config.open_rows, 2, formats.BLOCK_ROWS, formats.draw(2))
            seconds = [timed(lambda: Cache.open(large)) for _ in range(OPENINGS)]
            reading.opening = {
                "rows": config.open_rows,
                "shards": len(Cache.open(large).manifest.receipts),
                "seconds": spread([seconds]),
            }
    rows = {str(width): rows_of(config, width) for width in config.widths}
    setting = {**asdict(config), "batch": BATCH, "rows_of": rows}
    results = {
        "cases": [case.to_dict() for case in reading.cases],
        "cold": [],  # benchmarks/bench_read.py adds what it reads from the disk
        "open": reading.opening,
    }
    return document("read", command, setting, results, complete=measuring.complete)


def make(config: ReadBenchConfig, ways: Sequence[Way], folder: Path, width: int) -> None:
    """Write the files of all ways below a folder."""
    logits = formats.drawn(rows_of(config, width), width)
    for way in ways:
        if way.of is None:
            way.folder(folder).mkdir()
            way.make(way.folder(folder), logits[: rows_of(config, width, way)])


@dataclass
class ReadBench:
    """A bench and what it has measured so far."""

    config: ReadBenchConfig
    ways: Sequence[Way] = WAYS
    reporter: Reporter = SILENT
    cases: list[ReadCase] = field(default_factory=list)
    opening: dict[str, Any] | None = None

    def measure_width(self, parent: Path, width: int) -> None:
        """Everything of one number of classes, in a folder below ``parent``."""
        config = self.config
        with tempfile.TemporaryDirectory(dir=parent) as name:
            folder = Path(name)
            self.reporter.note(
                f"width {width}: writing {rows_of(config, width):,} rows in {len(self.ways)} ways"
            )
            make(self.config, self.ways, folder, width)
            opened = {way.name: way.open(way.folder(folder)) for way in self.ways}
            for store in opened.values():
                read_once(store)
            loader_width = LOADER_WIDTH if LOADER_WIDTH in config.widths else config.widths[0]
            for order in ORDERS:
                self.reporter.note(f"width {width}: {order}, {config.rounds} rounds")
                self.measure_calls(opened, width, order)
            if width == loader_width:
                for workers in config.workers:
                    self.reporter.note(f"width {width}: a DataLoader with {workers} workers")
                    with _ended_at_once():
                        self.measure_loaders(folder, width, workers)

    def measure_calls(self, opened: Mapping[str, Opened], width: int, order: str) -> None:
        """Each way by plain calls."""
        calls: dict[str, int] = {}
        cases: dict[str, Case] = {}
        rows: dict[str, int] = {}
        for name, store in opened.items():
            read = _reader(store, order)
            calls[name] = _calls(read)
            cases[name] = _repeated(read, calls[name])
            rows[name] = store.rows
        case = partial(_case, width=width, order=order, workers=None)
        self._in_turn(cases, calls, rows, case, self.config.repeats, settle=1)

    def measure_loaders(self, folder: Path, width: int, workers: int) -> None:
        """Ways that trainings read from, behind a DataLoader: one epoch of random batches."""
        cases: dict[str, Case] = {}
        rows: dict[str, int] = {}
        for way in self.ways:
            if way.loads:
                store = Stored(way.open, way.folder(folder))
                cases[way.name] = _epoch(_loader(store, workers))
                rows[way.name] = len(store)
        calls = dict.fromkeys(cases, LOADER_BATCHES)
        case = partial(_case, width=width, order=RANDOM, workers=workers)
        self._in_turn(cases, calls, rows, case, min(LOADER_REPEATS, self.config.repeats), settle=0)

    def _in_turn(
        self,
        cases: Mapping[str, Case],
        calls: Mapping[str, int],
        rows: Mapping[str, int],
        case: Callable[..., ReadCase],
        repeats: int,
        settle: int,
    ) -> None:
        """Measure in turn; an interrupt leaves the whole rounds. ``calls``: batches of a repeat."""
        times: Times = {}
        try:
            in_turn(cases, self.config.rounds, repeats, settle, into=times)
        finally:
            if times and all(times.values()):
                per_batch: dict[str, list[list[float]]] = {}
                for name, blocks in times.items():
                    per_batch[name] = (np.array(blocks) / calls[name]).tolist()
                for name, seconds in per_batch.items():
                    self.cases.append(case(name, rows[name], seconds, per_batch[OURS]))


def _case(
    name: str, rows: int, blocks: Blocks, base: Blocks, width: int, order: str, workers: int | None
) -> ReadCase:
    seconds = spread(blocks)
    return ReadCase(
        name=name,
        width=width,
        order=order,
        workers=workers,
        rows=rows,
        seconds=seconds,
        rows_per_second=BATCH / seconds["median"],
        ratio_to_logitcache=ratio(blocks, base),
    )


def read_once(opened: Opened) -> None:
    """All rows in order, by large blocks."""
    for first in range(0, opened.rows, PASS_ROWS):
        opened.run(first, min(first + PASS_ROWS, opened.rows))


def _reader(opened: Opened, order: str) -> Case:
    """Reads the next batch, over and over."""
    if order == SEQUENTIAL:
        starts = cycle(range(0, opened.rows - BATCH + 1, BATCH))
        return lambda: opened.run(start := next(starts), start + BATCH)
    batches = cycle(random_batches(opened.rows, 2000))
    return lambda: opened.take(next(batches))


def random_batches(rows: int, count: int) -> list[Int64]:
    """Random rows, the same for every way that has as many."""
    source = np.random.default_rng(1)
    return [source.integers(0, rows, BATCH) for _ in range(count)]


def _calls(read: Case) -> int:
    """How many batches make one repeat long enough."""
    read()
    seconds = min(timed(read) for _ in range(5))
    return max(1, min(MOST_CALLS, math.ceil(REPEAT_SECONDS / seconds)))


def _repeated(read: Case, calls: int) -> Case:
    def run() -> None:
        for _ in range(calls):
            read()

    return run


def _loader(stored: Stored, workers: int) -> Iterable[Any]:
    """A whole batch is requested at once, each way's fastest use of a DataLoader."""
    from torch.utils.data import DataLoader

    batches: Any = random_batches(len(stored), LOADER_BATCHES)
    start_method = None
    if workers:
        start_method = "spawn"  # this process has threads, which no fork survives
    return DataLoader(
        stored,  # type: ignore[arg-type]  # what torch asks of a Dataset, and no more
        sampler=batches,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=start_method,
        persistent_workers=workers > 0,
        collate_fn=_logits,
        worker_init_fn=_undisturbed,
    )


def _epoch(loader: Iterable[Any]) -> Case:
    def run() -> None:
        for _ in loader:
            pass

    return run


class Stored:
    """A store as a DataLoader sees it: indexed by a batch of rows, opened by each worker."""

    def __init__(self, open_store: Callable[[Path], Opened], folder: Path) -> None:
        self.open_store = open_store
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return Stored, (self.open_store, self.folder)

    @cached_property
    def opened(self) -> Opened:
        return self.open_store(self.folder)

    def __len__(self) -> int:
        return self.opened.rows

    def __getitem__(self, rows: Int64) -> Any:
        return self.opened.take(rows)


def _logits(batch: Any) -> Any:
    """The logits as a tensor, and nothing else: hashes are compared where they are read, and each
    tensor that travels from a worker costs more than reading it does.
    """
    import torch

    logits = batch["logits"] if isinstance(batch, dict) else batch
    return torch.from_numpy(logits) if isinstance(logits, np.ndarray) else logits


@contextmanager
def _ended_at_once() -> Iterator[None]:
    """An interrupt ends the workers too: a DataLoader would wait for them for too long."""
    try:
        yield
    except INTERRUPTED:
        if platforms.POSIX:
            # torch's own would take each for a failure
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for worker in multiprocessing.active_children():
            worker.kill()
        raise


def _undisturbed(worker: int) -> None:
    """Workers leave signals to the parent, which then ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
