"""What reading costs: batches of 32 rows from a cache, and from what people keep logits in instead.

All are measured in turn, on the same rows, everything having been read once before: the files are in memory, and every
record batch of the cache has been checked. What stands for us is the reader alone, as the rivals are readers alone:
logits as they are stored, with the hashes and labels that prove a join, which no rival has. ``logitcache take`` beside
it is what a training step calls: it also makes float32 of the logits.
"""

from __future__ import annotations

import gc
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

from logitcache.bench import formats
from logitcache.bench.cold import cool, written_out
from logitcache.bench.document import INTERRUPTED, Document, document
from logitcache.bench.formats import OURS, WAYS, Opened, Way
from logitcache.bench.turns import Blocks, Case, Ratio, Times, in_turn, ratio, rotated, spread, timed
from logitcache.cache.cache import Cache
from logitcache.config.bench import ReadBenchConfig
from logitcache.records import Int64
from logitcache.reporter import Reporter

BATCH = 32
ORDERS = RANDOM, SEQUENTIAL = "random", "sequential"
MOST_BYTES = 200_000_000  # of one way's files, whatever the width
REPEATS, LOADER_REPEATS = 15, 3  # of one case in each round
REPEAT_SECONDS = 0.002  # of one repeat: long enough for the clock, short enough that few are interrupted
MOST_CALLS = 500  # batches of one repeat
LOADER_WIDTH, LOADER_BATCHES = 64, 200
PASS_ROWS = 1024  # asked for at once where everything is read once
COLD_ROUNDS, OPENINGS = 3, 9


def rows_of(config: ReadBenchConfig, width: int, way: Way | None = None) -> int:
    """How many rows of this width there are, or one way has."""
    rows = max(BATCH, min(config.rows, MOST_BYTES // (2 * width + 16)))
    return min(rows, config.files) if way is not None and way.sparse else rows


@dataclass(frozen=True)
class ReadCase:
    """One way of reading, measured: by a DataLoader with so many ``workers``, or (None) by a plain call."""

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


@dataclass(frozen=True)
class ColdPass:
    """All rows read once in order, from files that were not in memory, opening included; the median of some rounds."""

    name: str
    width: int
    rows: int
    seconds: float
    bytes_per_second: float  # of logits


@dataclass
class _Found:
    """What was measured so far."""

    cases: list[ReadCase] = field(default_factory=list)
    cold: list[ColdPass] = field(default_factory=list)
    opening: dict[str, Any] | None = None


def bench(asked: ReadBenchConfig, command: Sequence[str], reporter: Reporter) -> Document:
    """Measure and write down: the document ``read``. What is made lies in a folder for temporary files and is deleted.
    An interrupt ends it with the whole rounds that were measured until then, and ``complete`` false.
    """
    asked.check()
    found, complete = _Found(), True
    try:
        with tempfile.TemporaryDirectory(prefix="logitcache-read-") as folder:
            for width in dict.fromkeys(asked.widths):
                _of_width(asked, Path(folder), width, found, reporter)
            if asked.open_rows:
                reporter.note(f"open: writing {asked.open_rows:,} rows")
                found.opening = _opening(Path(folder) / "large", asked.open_rows)
    except INTERRUPTED:  # the command line makes the second of a signal
        complete = False
    setting = {
        **asdict(asked),
        "batch": BATCH,
        "rows_of": {str(width): rows_of(asked, width) for width in asked.widths},
    }
    results = {
        "cases": [case.to_dict() for case in found.cases],
        "cold": [asdict(each) for each in found.cold],
        "open": found.opening,
    }
    return document("read", command, setting, results, complete=complete)


def _of_width(asked: ReadBenchConfig, above: Path, width: int, found: _Found, reporter: Reporter) -> None:
    """Everything of one number of classes."""
    with tempfile.TemporaryDirectory(dir=above) as name:
        folder = Path(name)
        reporter.note(f"width {width}: writing {rows_of(asked, width):,} rows in {len(WAYS)} ways")
        _make(folder, asked, width)
        if asked.cold:
            found.cold += _cold(folder, asked, width, reporter)
        opened = {way.name: way.open(_place(folder, way)) for way in WAYS}
        for each in opened.values():
            _read_once(each)
        for order in ORDERS:
            reporter.note(f"width {width}: {order}, {asked.rounds} rounds")
            _plain(asked, opened, width, order, found)
        if width == (LOADER_WIDTH if LOADER_WIDTH in asked.widths else asked.widths[0]):
            for workers in asked.workers:
                reporter.note(f"width {width}: a DataLoader with {workers} workers")
                with _ended_at_once():
                    _loaders(asked, folder, width, workers, found)


def _make(folder: Path, asked: ReadBenchConfig, width: int) -> None:
    logits = formats.drawn(rows_of(asked, width), width)
    for way in WAYS:
        if way.of is None:
            place = _place(folder, way)
            place.mkdir()
            way.make(place, logits[: rows_of(asked, width, way)])


def _place(folder: Path, way: Way) -> Path:
    return folder / (way.of or way.name)


def _read_once(opened: Opened) -> None:
    """All rows in order, by large blocks."""
    for first in range(0, opened.rows, PASS_ROWS):
        opened.run(first, min(first + PASS_ROWS, opened.rows))


def _plain(asked: ReadBenchConfig, opened: Mapping[str, Opened], width: int, order: str, found: _Found) -> None:
    """Each way called as it is."""
    reads = {name: _reader(each, order) for name, each in opened.items()}
    calls = {name: _calls(read) for name, read in reads.items()}
    cases = {name: _repeated(read, calls[name]) for name, read in reads.items()}
    rows = {name: each.rows for name, each in opened.items()}

    def told(times: Times) -> list[ReadCase]:
        return _told({name: _each(times[name], calls[name]) for name in times}, rows, width, order)

    _taken(cases, asked.rounds, asked.repeats, 1, told, found)


def _taken(
    cases: Mapping[str, Case],
    rounds: int,
    repeats: int,
    settle: int,
    told: Callable[[Times], list[ReadCase]],
    found: _Found,
) -> None:
    """Measure in turn; where that breaks off, the whole rounds that there are count."""
    times: Times = {}
    try:
        in_turn(cases, rounds, repeats, settle, into=times)
    finally:
        if times and all(times.values()):
            found.cases += told(times)


def _reader(opened: Opened, order: str) -> Case:
    """Reads the next batch, over and over."""
    if order == SEQUENTIAL:
        starts = cycle(range(0, opened.rows - BATCH + 1, BATCH))
        return lambda: opened.run(start := next(starts), start + BATCH)
    batches = cycle(_batches(opened.rows, 2000))
    return lambda: opened.take(next(batches))


def _batches(rows: int, count: int) -> list[Int64]:
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


def _each(blocks: Blocks, calls: int) -> list[list[float]]:
    """Seconds of one batch."""
    return [[seconds / calls for seconds in block] for block in blocks]


def _told(
    blocks: Mapping[str, Blocks],
    rows: Mapping[str, int],
    width: int,
    order: str,
    workers: int | None = None,
) -> list[ReadCase]:
    def told(name: str) -> ReadCase:
        seconds, against = spread(blocks[name]), ratio(blocks[name], blocks[OURS])
        return ReadCase(name, width, order, workers, rows[name], seconds, BATCH / seconds["median"], against)

    return [told(name) for name in blocks]


def _loaders(asked: ReadBenchConfig, folder: Path, width: int, workers: int, found: _Found) -> None:
    """Ways that trainings read from, behind a DataLoader: one epoch of random batches, its workers started before."""
    chosen = {way.name: Stored(way.open, _place(folder, way)) for way in WAYS if way.loads}
    loaders = {name: _loader(each, workers) for name, each in chosen.items()}
    cases = {name: _epoch(loader) for name, loader in loaders.items()}
    rows = {name: len(each) for name, each in chosen.items()}

    def told(times: Times) -> list[ReadCase]:
        return _told({name: _each(times[name], LOADER_BATCHES) for name in times}, rows, width, RANDOM, workers)

    _taken(cases, asked.rounds, min(LOADER_REPEATS, asked.repeats), 0, told, found)


def _loader(stored: Stored, workers: int) -> Iterable[Any]:
    """A whole batch is asked for at once, as a sampler of batches does: each way's fastest use of a DataLoader."""
    from torch.utils.data import DataLoader

    batches: Any = _batches(len(stored), LOADER_BATCHES)
    return DataLoader(
        stored,  # type: ignore[arg-type]  # what torch asks of a Dataset, and no more
        sampler=batches,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,  # this process has threads, which no fork survives
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
    """A store as a DataLoader sees it: indexed by a batch of rows, opened by each worker for itself."""

    def __init__(self, how: Callable[[Path], Opened], place: Path) -> None:
        self.how, self.place = how, place

    def __reduce__(self) -> tuple[Any, ...]:
        return Stored, (self.how, self.place)

    @cached_property
    def opened(self) -> Opened:
        return self.how(self.place)

    def __len__(self) -> int:
        return self.opened.rows

    def __getitem__(self, rows: Int64) -> Any:
        return self.opened.take(rows)


def _logits(found: Any) -> Any:
    """The logits as a tensor, and nothing else: hashes are compared where they are read, and each tensor that travels
    from a worker costs more than reading it does.
    """
    import torch

    logits = found["logits"] if isinstance(found, dict) else found
    return torch.from_numpy(logits) if isinstance(logits, np.ndarray) else logits


@contextmanager
def _ended_at_once() -> Iterator[None]:
    """An interrupt ends the workers too, whom a DataLoader would wait for, longer than a command has to end."""
    try:
        yield
    except INTERRUPTED:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's own would take each for a failure
        for worker in multiprocessing.active_children():
            worker.kill()
        raise


def _undisturbed(worker: int) -> None:
    """What is to end a bench is the parent's to hear, which then ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _cold(folder: Path, asked: ReadBenchConfig, width: int, reporter: Reporter) -> list[ColdPass]:
    """Every way that has files of its own, read once from the disk; none where the system keeps files in memory."""
    ways = {way.name: way for way in WAYS if way.of is None}
    times: dict[str, list[float]] = {name: [] for name in ways}
    reporter.note(f"width {width}: from the disk, {COLD_ROUNDS} rounds")
    written_out()
    for order in rotated(list(ways), COLD_ROUNDS):
        for name in order:
            place = _place(folder, ways[name])
            gc.collect()  # files that are mapped stay in memory
            if not cool(place.rglob("*")):
                reporter.note(f"width {width}: the files of {name} stay in memory: nothing is measured from the disk")
                return []
            times[name].append(timed(partial(_pass, ways[name], place)))
    return [_cold_pass(way, width, asked, times[way.name]) for way in ways.values()]


def _pass(way: Way, place: Path) -> None:
    _read_once(way.open(place))


def _cold_pass(way: Way, width: int, asked: ReadBenchConfig, times: Sequence[float]) -> ColdPass:
    rows, seconds = rows_of(asked, width, way), float(np.median(times))
    return ColdPass(way.name, width, rows, seconds, rows * width * 2 / seconds)


def _opening(folder: Path, rows: int) -> dict[str, Any]:
    """How long a large cache takes to open, two classes, in shards as a dump cuts them."""
    logits = formats.draw(2)
    formats.make_cache(folder, rows, 2, formats.BLOCK_ROWS, logits)
    seconds = [timed(lambda: Cache.open(folder)) for _ in range(OPENINGS)]
    shards = len(Cache.open(folder).manifest.receipts)
    return {"rows": rows, "shards": shards, "seconds": spread([seconds])}
