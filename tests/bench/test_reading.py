"""What is read must be the same rows by every way; what is written down must be what was asked.
Times prove nothing.
"""

from __future__ import annotations

import json
import runpy
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from logitcache.bench import formats
from logitcache.bench import read as reading
from logitcache.bench.document import read
from logitcache.bench.formats import OURS, Opened, Way
from logitcache.bench.read import BATCH, rows_of
from logitcache.config.bench import ReadBenchConfig
from logitcache.errors import SpecError
from logitcache.reporter import SILENT, Notes, Reporter
from logitcache_cli.bench import read as bench_read
from tests.shortly import slow

ROWS, WIDTH = 300, 5  # not a multiple of a batch, a row group or a chunk
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RIVALS = runpy.run_path(str(BENCHMARKS / "rivals.py"))["RIVALS"]
COLD = runpy.run_path(str(BENCHMARKS / "cold.py"))
# what runpy has read is not to be pickled
WAYS = (*formats.WAYS, *(replace(way, loads=False) for way in RIVALS))
LOADING = {way.name for way in formats.WAYS if way.loads}
bench = partial(reading.bench, ways=WAYS)


@pytest.fixture(scope="module")
def logits() -> np.ndarray:
    return formats.drawn(ROWS, WIDTH)


@pytest.fixture(scope="module")
def folder(logits: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    for way in WAYS:
        if way.of is None:
            (folder / way.name).mkdir()
            way.make(folder / way.name, logits)
    return folder


@pytest.fixture(scope="module")
def stores(folder: Path) -> Callable[[Way], Opened]:
    return lambda way: way.open(folder / (way.of or way.name))


SMALL = ReadBenchConfig((3, WIDTH), 200, 2, (0, 1), 40_000, files=40, repeats=2)


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Temporary files in a folder that can be looked at, and a bench that is over soon."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(reading, "REPEAT_SECONDS", 1e-5)
    monkeypatch.setattr(reading, "LOADER_BATCHES", 3)
    return tmp_path / "temporary"


def given(found: Any) -> np.ndarray:
    """The logits in what a way gives, whatever it gives them in."""
    if hasattr(found, "payloads"):
        found = found.logits
    if isinstance(found, dict):
        found = found["logits"]
    return np.asarray(found, np.float16)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_every_way_gives_the_rows_that_were_asked_for(
    way: Way, stores: Callable[[Way], Opened], logits: np.ndarray
) -> None:
    opened = stores(way)
    assert opened.rows == ROWS
    rows = np.array([ROWS - 1, 0, 7, 7, 130, 256, 3])
    np.testing.assert_array_equal(given(opened.take(rows)), logits[rows])


@pytest.mark.parametrize("step", [BATCH, 1024])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_every_way_gives_all_rows_in_order_and_again(
    way: Way, step: int, stores: Callable[[Way], Opened], logits: np.ndarray
) -> None:
    opened = stores(way)
    for _ in range(2):
        found = [
            given(opened.run(first, min(first + step, ROWS))) for first in range(0, ROWS, step)
        ]
        np.testing.assert_array_equal(np.concatenate(found), logits)


def test_ours_gives_the_proof_of_a_join_too(stores: Callable[[Way], Opened]) -> None:
    found = stores(WAYS[0]).take(np.arange(3))
    assert WAYS[0].name == OURS
    assert set(found) == {"row_hash", "label", "logits"}


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, id=way.name, marks=[pytest.mark.slow] * (way.name != OURS))
        for way in formats.WAYS
        if way.loads
    ],
)
def test_a_dataloader_gives_the_batches_of_the_plain_call(
    way: Way, folder: Path, logits: np.ndarray
) -> None:
    batches = reading.random_batches(ROWS, 3)
    for workers in (0, 1):
        found = list(
            reading._loader(reading.Stored(way.open, folder / (way.of or way.name)), workers)
        )
        assert all(isinstance(each, torch.Tensor) for each in found)
        for each, rows in zip(found, batches, strict=True):
            np.testing.assert_array_equal(given(each), logits[rows])


def test_workers_are_no_forks_of_a_process_with_threads(folder: Path) -> None:
    loader: Any = reading._loader(reading.Stored(WAYS[0].open, folder / WAYS[0].name), 1)
    assert loader.multiprocessing_context.get_start_method() == "spawn"


def test_rows_are_drawn_alike_for_all_and_within_what_there_is() -> None:
    first, again = reading.random_batches(50, 20), reading.random_batches(50, 20)
    np.testing.assert_array_equal(first, again)
    assert all(len(rows) == BATCH and rows.min() >= 0 and rows.max() < 50 for rows in first)


def test_wide_rows_are_fewer() -> None:
    asked = ReadBenchConfig()
    assert rows_of(asked, 2) == rows_of(asked, 64) == 200_000
    assert 0 < rows_of(asked, 1000) * 2016 <= 200_000_000
    sparse = next(way for way in WAYS if way.sparse)
    assert rows_of(asked, 64, sparse) == asked.files


@pytest.mark.slow
def test_a_bench_measures_everything_that_was_asked(temporary: Path) -> None:
    said: list[str] = []
    told = bench(SMALL, ["logitcache", "bench", "read"], Notes(said.append))
    plain = {(c["name"], c["width"], c["order"]) for c in told["cases"] if c["workers"] is None}
    assert plain == {
        (way.name, width, order) for way in WAYS for width in (3, WIDTH) for order in reading.ORDERS
    }
    loaders = {
        (c["name"], c["workers"], c["width"]) for c in told["cases"] if c["workers"] is not None
    }
    assert loaders == {(name, workers, 3) for name in LOADING for workers in (0, 1)}
    assert len(told["cases"]) == len(plain) + len(loaders)
    for case in told["cases"]:
        assert case["seconds"]["q1"] <= case["seconds"]["median"] <= case["seconds"]["q3"]
        assert case["rows_per_second"] == pytest.approx(BATCH / case["seconds"]["median"])
        assert case["rows"] == (40 if case["name"] == "file per sample" else 200)
        assert case["ratio_to_logitcache"]["rounds"] == 2
    ours = [case["ratio_to_logitcache"] for case in told["cases"] if case["name"] == OURS]
    assert all(each["low"] == each["median"] == each["high"] == 1 for each in ours)
    assert told["open"]["rows"] == 40_000
    assert told["open"]["shards"] == 3
    assert told["complete"]
    assert said
    assert json.loads(json.dumps(told, allow_nan=False))["setting"]["rows_of"] == {
        "3": 200,
        str(WIDTH): 200,
    }
    assert not list(temporary.iterdir()), "what is made is deleted"


@pytest.mark.parametrize("let_go", [True, False])
def test_files_are_read_from_the_disk_by_all_ways_or_by_none(
    let_go: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cooled: list[int] = []
    passes = COLD["cold_passes"]
    monkeypatch.setitem(passes.__globals__, "ROUNDS", 2)
    monkeypatch.setitem(
        passes.__globals__, "cool", lambda files: cooled.append(len(list(files))) or let_go
    )
    found = passes(SMALL, WAYS, WIDTH)
    own = [way.name for way in WAYS if way.of is None]
    assert [one["name"] for one in found] == (own if let_go else [])
    assert len(cooled) == (len(own) * 2 if let_go else 1)
    assert all(cooled), "each has files"
    for one in found:
        assert one["rows"] == (40 if one["name"] == "file per sample" else 200)
        assert one["bytes_per_second"] * one["seconds"] == pytest.approx(one["rows"] * WIDTH * 2)


def test_a_file_that_is_held_in_memory_is_not_cold(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(1 << 20))
    held = np.memmap(tmp_path / "x", np.uint8, "r")
    assert held.sum() == 0
    assert not COLD["cool"]([tmp_path / "x"])
    assert not COLD["cool"]([])


@pytest.mark.parametrize("stop", [KeyboardInterrupt, slow(SystemExit)])
def test_an_interrupt_keeps_what_was_measured(
    stop: type[BaseException], monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    whole = reading.ReadBench.measure_calls

    def interrupted(self: reading.ReadBench, opened: Any, width: int, order: str) -> None:
        if width == WIDTH:
            raise stop
        whole(self, opened, width, order)

    monkeypatch.setattr(reading.ReadBench, "measure_calls", interrupted)
    told = bench(replace(SMALL, workers=()), ["x"], SILENT)
    assert not told["complete"]
    assert {case["width"] for case in told["cases"]} == {3}
    assert told["open"] is None
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("whole", [0, 2])
def test_an_interrupt_within_an_order_keeps_its_whole_rounds(
    whole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers, block = len(WAYS), 1 + SMALL.repeats
    # how many calls make a repeat, one of each, the rounds
    before = 6 * readers + readers + whole * readers * block
    calls = 0

    def counted(read: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            nonlocal calls
            calls += 1
            if calls > before + block:  # the second reader of a round
                raise KeyboardInterrupt
            read()

        return run

    reader = reading._reader
    monkeypatch.setattr(reading, "REPEAT_SECONDS", 0.0)  # a repeat is one batch
    monkeypatch.setattr(reading, "_reader", lambda opened, order: counted(reader(opened, order)))
    told = bench(replace(SMALL, rounds=4, widths=(WIDTH,), workers=(), open_rows=0), ["x"], SILENT)
    assert not told["complete"]
    kept = {
        (case["name"], case["order"], case["ratio_to_logitcache"]["rounds"])
        for case in told["cases"]
    }
    assert kept == ({(way.name, "random", whole) for way in WAYS} if whole else set())


def test_an_interrupt_within_a_dataloader_s_rounds_keeps_the_whole_ones(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    epochs = 0

    def epoch(loader: Any) -> Callable[[], None]:
        def run() -> None:
            nonlocal epochs
            epochs += 1
            if epochs > len(LOADING) * (1 + SMALL.repeats) + 1:
                raise SystemExit
            list(loader)

        return run

    monkeypatch.setattr(reading, "_epoch", epoch)
    found = reading.ReadBench(replace(SMALL, rounds=3))
    with pytest.raises(SystemExit):
        found.measure_loaders(folder, WIDTH, 0)
    assert {(case.name, case.ratio_to_logitcache.rounds) for case in found.cases} == {
        (name, 1) for name in LOADING
    }


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rows": 0}, "--rows: expected a whole number from 32, found 0"),
        ({"rounds": 0}, "--rounds: expected a whole number from 1, found 0"),
        ({"widths": (0,)}, "--width: expected a whole number from 1, found 0"),
        ({"widths": ()}, "--width: expected at least one, found none"),
        ({"workers": (-1,)}, "--workers: expected a whole number from 0, found -1"),
        ({"open_rows": -1}, "--open-rows: expected a whole number from 0, found -1"),
    ],
)
def test_what_cannot_be_measured_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        ReadBenchConfig(**wrong).check()


def run(*arguments: str) -> Any:
    return CliRunner().invoke(bench_read, arguments)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The command with a bench that measures one width, and what it was asked."""
    seen: dict[str, Any] = {}
    whole = reading.bench

    def measured(asked: ReadBenchConfig, command: Any, reporter: Reporter) -> Any:
        seen["asked"] = asked
        done = whole(replace(SMALL, widths=(3,), workers=(0,), open_rows=20_000), command, reporter)
        return {**done, "complete": not seen.get("stop")}

    monkeypatch.setattr(reading, "bench", measured)
    return seen


def test_the_command_prints_and_writes_one_document(told: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "read.json"
    words = [
        "--width",
        "2",
        "--width",
        "7",
        "--rows",
        "99",
        "--rounds",
        "3",
        "--workers",
        "1",
        "--open-rows",
        "0",
    ]
    done = run(*words, "--out", str(out), "--json")
    assert done.exit_code == 0, done.output
    assert told["asked"] == ReadBenchConfig((2, 7), 99, 3, (1,), 0)
    assert json.loads(done.stdout) == read(out)


def test_the_command_prints_a_table_and_ends_like_an_interrupt(told: dict[str, Any]) -> None:
    told["stop"] = True
    done = run()
    assert done.exit_code == 130
    assert all(way.name in done.stdout for way in formats.WAYS)
    assert "÷ logitcache" in done.stdout
    assert "A cache of 20,000 rows is open after" in done.stdout
    assert "Interrupted: this is what was measured until then." in done.stdout


def test_the_text_says_how_sure_its_intervals_are(told: dict[str, Any]) -> None:
    done = run()
    assert (
        "\nIntervals hold the true median with 50 % confidence at least (2 rounds)." in done.stdout
    )
    assert "Interrupted" not in done.stdout


@pytest.mark.parametrize(
    "words", [["--rows", "0"], ["--rounds", "0"], ["--width", "0"], ["--out", "gone/x.json"]]
)
def test_the_command_refuses_before_it_measures(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "bench", lambda *_: pytest.fail("nothing may be measured"))
    done = run(*words)
    assert done.exit_code == 2 or getattr(done.exception, "exit_code", 0) == 2
