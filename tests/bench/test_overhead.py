"""``bench overhead``: its document, and what it keeps when something goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from logitcache.bench import memory, overhead
from logitcache.bench.document import Document
from logitcache.bench.memory import Peak, peak
from logitcache.bench.overhead import bench
from logitcache.bench.phases import PHASES
from logitcache.bench.steps import Case
from logitcache.config.bench import CASES, OverheadConfig
from logitcache.errors import LogitCacheError, SpecError
from logitcache.report.terminal import bench_text
from logitcache.report.words import method
from logitcache.reporter import Notes
from logitcache_cli.main import cli

NOWHERE = ["logitcache", "bench", "overhead"]
FEW = ("kd", "kd-online")  # beside ls and its control


@pytest.fixture(scope="module")
def settings(tiny: Any) -> OverheadConfig:
    return OverheadConfig(tiny, rounds=2, steps=2, settle=1, memory=False, price_per_hour=2.0)


@pytest.fixture(scope="module")
def told(settings: OverheadConfig) -> Document:
    return bench(settings, NOWHERE)


def test_every_method_has_all_of_its_figures(told: Document) -> None:
    assert tuple(told["methods"]) == CASES
    for name, each in told["methods"].items():
        assert each["error"] is None
        assert (
            each["ratio_to_ls"]["low"]
            <= each["ratio_to_ls"]["median"]
            <= each["ratio_to_ls"]["high"]
        )
        assert set(each["phases"]) == set(PHASES)
        assert each["flops_per_step"]["counted"] > 0, name
    assert told["methods"]["ls"]["ratio_to_ls"]["median"] == 1.0
    assert told["complete"]
    json.dumps(told, allow_nan=False)


def test_flops_from_the_shapes_agree_with_those_that_torch_counts(told: Document) -> None:
    for name in ("ls", "kd", "kd-online"):
        found = told["methods"][name]["flops_per_step"]
        assert found["analytic"] == pytest.approx(found["counted"], rel=0.05), name
    counted = {
        name: told["methods"][name]["flops_per_step"]["counted"]
        for name in ("ls", "kd", "kd-online")
    }
    assert counted["kd"] == counted["ls"] < counted["kd-online"]


def test_costs_follow_from_the_steps(told: Document) -> None:
    costs, methods = told["costs"], told["methods"]
    rows = told["setting"]["train_rows"]
    dump = rows / told["dump"]["rows_per_second"]
    assert costs["hours"]["cached"][0] == pytest.approx(dump / 3600)
    last = costs["hours"]["epochs"][-1]
    step = methods["kd-online"]["step_seconds"]["median"]
    assert costs["hours"]["online"][-1] == pytest.approx(last * -(-rows // 4) * step / 3600)
    assert costs["money"]["cached"] == pytest.approx(2 * costs["protocol"]["cached_hours"])


@pytest.mark.slow
def test_costs_are_told_of_the_cases_that_were_measured(settings: OverheadConfig) -> None:
    found = bench(replace(settings, rounds=1, methods=FEW), NOWHERE)
    costs, rows = found["costs"], found["setting"]["train_rows"]
    online, cached = (
        found["methods"][name]["step_seconds"]["median"] for name in ("kd-online", "kd")
    )
    expected = rows / found["dump"]["rows_per_second"] / (-(-rows // 4) * (online - cached))
    assert costs["break_even_epochs"] == (pytest.approx(expected) if online > cached else None)
    assert [name for name, hours in costs["hours"].items() if hours is None] == ["base"]
    assert [name for name in costs if costs[name] is None] == [
        *([] if online > cached else ["break_even_epochs"]),
        *("protocol", "paper_protocol", "kwh", "money"),
    ]
    text = bench_text(found)
    assert (
        "the hours of a whole study are not told: Base, TF-reg and Self-KD were not measured"
        in text
    )
    assert ("has paid for itself after" if online > cached else "never pays for itself") in text


def test_label_smoothing_alone_has_its_line(settings: OverheadConfig) -> None:
    found = bench(replace(settings, rounds=1, methods=("ls",)), NOWHERE)
    assert [name for name, hours in found["costs"]["hours"].items() if hours is not None] == [
        "epochs",
        "ls",
    ]
    assert "paid for itself is not told: Cached KD and Online KD were not measured" in bench_text(
        found
    )


@pytest.mark.parametrize(
    "rounds",
    [pytest.param(0, id="at once"), pytest.param(1, id="after a round", marks=pytest.mark.slow)],
)
def test_a_method_that_does_not_fit_is_told_and_the_others_are_kept(
    settings: OverheadConfig, monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    whole, tried = Case.block, iter(range(9))

    def block(self: Case, settle: int, steps: int) -> list[float]:
        if self.name == "kd-online" and next(tried) == 2 * rounds:  # the first does not count
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 3.00 GiB.\nand more"
            )
        return whole(self, settle, steps)

    monkeypatch.setattr(Case, "block", block)
    found = bench(replace(settings, rounds=2, methods=FEW), NOWHERE)
    assert (
        found["methods"]["kd-online"]["error"]
        == "out of memory: CUDA out of memory. Tried to allocate 3.00 GiB."
    )
    assert found["methods"]["kd"]["step_seconds"] is not None
    assert (found["methods"]["kd-online"]["step_seconds"] is None) is (rounds == 0)
    assert found["costs"]["break_even_epochs"] is None
    assert found["costs"]["hours"]["online"] is None
    assert found["costs"]["hours"]["cached"]
    assert "paid for itself is not told: Online KD was not measured" in bench_text(found)
    assert found["complete"]


@pytest.mark.slow
def test_without_a_dump_there_are_no_costs(
    settings: OverheadConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(overhead._Run, "_answer", stop)
    found = bench(settings, NOWHERE)
    assert all(each["step_seconds"] for each in found["methods"].values())
    assert found["costs"] is None
    assert "What all of it costs is not told: the dump was not measured." in bench_text(found)


@pytest.mark.parametrize(
    "stop", [KeyboardInterrupt, pytest.param(SystemExit, marks=pytest.mark.slow)]
)
def test_an_interrupted_bench_tells_what_it_has(
    settings: OverheadConfig, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    whole, blocks = Case.block, iter(range(100))

    def block(self: Case, settle: int, steps: int) -> list[float]:
        if next(blocks) == 4 + 11:  # the last block of the third round
            raise stop
        return whole(self, settle, steps)

    monkeypatch.setattr(Case, "block", block)
    found = bench(replace(settings, rounds=3, methods=FEW), NOWHERE)
    assert not found["complete"]
    rounds = [each["ratio_to_ls"]["rounds"] for each in found["methods"].values()]
    assert set(rounds) == {2, 3}
    assert found["methods"]["ls"]["phases"] is None
    json.dumps(found, allow_nan=False)


@pytest.mark.slow
def test_each_method_has_a_process_of_its_own_for_its_memory(tiny: Any, tmp_path: Path) -> None:
    from logitcache.bench.answering import answered
    from logitcache.bench.workload import load

    answered(load(tiny), tmp_path / "cache")
    found = peak(tiny, "kd", tmp_path / "cache")
    assert found.error is None
    assert found.allocated > 50e6


@pytest.mark.slow
def test_a_process_that_the_system_ends_is_told(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_child", _killed)
    found = peak(tiny, "kd", tmp_path)
    assert found.error is not None
    assert found.error.startswith("ended by the system with")


def _killed(*_: Any) -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_memory_that_was_too_much_keeps_a_method_out(
    settings: OverheadConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(asked: Any, name: str, cache: Path) -> Peak:
        return Peak(7, None, "ended by the system") if name == "kd-online" else Peak(5)

    monkeypatch.setattr(overhead, "peak", fake)
    said: list[str] = []
    found = bench(
        replace(settings, memory=True, rounds=1, methods=FEW), NOWHERE, Notes(said.append)
    )
    assert found["methods"]["kd-online"]["error"] == "ended by the system"
    assert found["methods"]["kd-online"]["peak_memory_bytes"] == 7
    assert found["methods"]["kd"]["memory_ratio_to_ls"] == 1.0
    assert any("the others go on" in line for line in said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rounds": 0}, "--rounds: expected a whole number from 1"),
        ({"steps": 0}, "--steps: expected a whole number from 1"),
        ({"methods": ("kd", "magic")}, "--method: expected one of .*, found .magic."),
        ({"price_per_hour": -1.0}, "--price-per-hour"),
        ({"epochs": float("inf")}, "--epochs: expected a number above 0"),
        ({"seeds": 0}, "--seeds: expected a whole number from 1"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is(
    settings: OverheadConfig, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], said: str
) -> None:
    monkeypatch.delattr(overhead, "load")
    with pytest.raises(SpecError, match=said):
        bench(replace(settings, **change), NOWHERE)


def test_the_command_prints_a_table_and_writes_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Document
) -> None:
    monkeypatch.setattr(overhead, "bench", lambda *_: told)
    words = [
        "bench",
        "overhead",
        "--shape-only",
        "--tokens",
        "12",
        "--out",
        str(tmp_path / "o.json"),
    ]
    found = CliRunner().invoke(cli, words)
    assert found.exit_code == 0, found.output
    assert all(method(name) in found.stdout for name in CASES)
    assert json.loads((tmp_path / "o.json").read_text()) == told
    assert json.loads(CliRunner().invoke(cli, [*words, "--json"]).stdout) == told


def test_the_papers_protocol_has_a_line_where_another_was_asked(told: Document) -> None:
    assert "the paper's" not in bench_text(told)
    protocol = told["costs"]["protocol"] | {"epochs": 3.0, "seeds": 2}
    text = bench_text(told | {"costs": told["costs"] | {"protocol": protocol}})
    assert "3 epochs of 2 seeds of 5 methods take" in text
    assert "\nAt these speeds the paper's 30 epochs of 5 seeds of 5 methods take" in text


def test_the_table_says_what_its_intervals_hold(told: Document) -> None:
    methods = {name: dict(each) for name, each in told["methods"].items()}
    for name, each in methods.items():
        sure, rounds = (0.9375, 5) if name == "kd" else (0.9609, 9)
        each["ratio_to_ls"] = each["ratio_to_ls"] | {"confidence": sure, "rounds": rounds}
    methods["base"] |= {
        "error": "out of memory",
        "ratio_to_ls": each["ratio_to_ls"] | {"confidence": 0.1},
    }
    lines = bench_text(told | {"methods": methods}).splitlines()
    assert "Intervals hold the true median with 93 % confidence at least (5 to 9 rounds)." in lines


def test_a_table_without_ratios_has_no_line_of_them(told: Document) -> None:
    methods = {name: each | {"error": "out of memory"} for name, each in told["methods"].items()}
    assert "Intervals hold" not in bench_text(told | {"methods": methods})


def test_an_interrupted_command_keeps_its_document_and_says_so_by_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Document
) -> None:
    monkeypatch.setattr(overhead, "bench", lambda *_: {**told, "complete": False})
    found = CliRunner().invoke(cli, ["bench", "overhead", "--out", str(tmp_path / "o.json")])
    assert found.exit_code == 130
    assert (tmp_path / "o.json").is_file()


def test_a_refusal_is_one_line(run_refused: Callable[..., None]) -> None:
    run_refused(
        ["bench", "overhead", "--tokens", "12"],
        "--tokens: random tokens are timed with --shape-only alone.",
    )


@pytest.fixture
def run_refused() -> Callable[..., None]:
    def run(words: list[str], said: str) -> None:
        found = CliRunner().invoke(cli, words)
        assert found.exit_code == 2
        assert found.stdout == ""
        assert said in found.stderr
        assert len(found.stderr.splitlines()) == 1

    return run


@pytest.mark.slow
def test_a_teacher_in_half_precision_is_asked_in_the_loop(settings: OverheadConfig) -> None:
    asked = replace(settings.work, dtype="bfloat16", precision="bf16")
    found = bench(replace(settings, work=asked, rounds=1, methods=("kd-online",)), NOWHERE)
    assert found["methods"]["kd-online"]["error"] is None
    assert found["methods"]["kd-online"]["phases"]["target"] > 0


def test_a_block_beyond_an_epoch_is_refused(settings: OverheadConfig) -> None:
    with pytest.raises(SpecError, match="expected rows for a block of 11 steps of 4"):
        bench(replace(settings, steps=10), NOWHERE)


@pytest.mark.slow
def test_an_error_in_the_process_of_its_own_is_not_taken_for_a_lack_of_memory(
    tiny: Any, tmp_path: Path
) -> None:
    with pytest.raises(LogitCacheError):
        peak(tiny, "kd", tmp_path / "no cache")


def test_models_that_do_not_fit_are_one_line(
    settings: OverheadConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: Any) -> None:
        raise RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."
        )

    monkeypatch.setattr(overhead, "load", load)
    with pytest.raises(SpecError, match="a student and a teacher that fit in memory"):
        bench(settings, NOWHERE)
