"""A plan: bytes against caches that were written, sums against batches, and what is refused before
anything runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from logitcache.bench.document import read
from logitcache.bench.memory import Peak
from logitcache.cache.cache import Cache
from logitcache.config.bench import PlanConfig, WorkloadConfig
from logitcache.config.teacher import DumpSettings
from logitcache.config.workspace import Workspace
from logitcache.cost.flops import cpu, shape_of
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.forecast import accuracy
from logitcache.forecast.calibrate import Pace, Speeds, from_flops
from logitcache.forecast.devices import device_of
from logitcache.forecast.epoch import mean_width, training_batches
from logitcache.forecast.forecast import dump_seconds, plan
from logitcache.forecast.setup import load_inputs
from logitcache.forecast.sizes import Memory, cache_bytes
from logitcache.report.terminal import bench_text
from logitcache.reporter import SILENT, Notes
from logitcache.teacher.conditions import conditions
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import load_teacher
from logitcache_cli import plan as cli
from logitcache_cli.bench import plan as bench_plan

Load = Callable[[Path], Any]


def asked_of(data: Path, teacher: Path, folder: Path) -> PlanConfig:
    work = WorkloadConfig(
        student="1x32",
        teacher=str(teacher),
        data=str(data),
        max_length=32,
        batch_size=8,
        device="cpu",
        workspace=Workspace(folder / "work"),
    )
    return PlanConfig(work, seconds=0.01)


@pytest.fixture
def asked(singles_data: Path, checkpoint: Callable[..., Path], tmp_path: Path) -> PlanConfig:
    return asked_of(singles_data, checkpoint(), tmp_path)


def weight(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("codec", ["float16", "float32"])
@pytest.mark.parametrize("kind", ["singles", "pairs"])
def test_bytes_are_those_of_the_cache(
    kind: str, codec: str, request: pytest.FixtureRequest, checkpoint: Callable[..., Path], load_source: Load,
    tmp_path: Path,
) -> None:  # fmt: skip
    data: Path = request.getfixturevalue(f"{kind}_data")
    source = load_source(data)
    teacher = checkpoint("bert", source.label_names)
    told = plan(replace(asked_of(data, teacher, tmp_path), codec=codec, calibrate=False)).to_dict()
    dump_split(
        load_teacher(str(teacher), device="cpu"),
        source,
        "train",
        tmp_path / "cache",
        DumpSettings(32, codec=codec),
    )
    assert told["bytes"][codec]["bytes"] == pytest.approx(weight(tmp_path / "cache"), rel=0.01)
    assert (
        told["bytes"][codec]["bytes_per_row"]
        == told["bytes"][codec]["bytes"] / told["setting"]["rows"]
    )


@pytest.mark.parametrize("store", ["arrow", "zarr"])
@pytest.mark.parametrize("shard_rows", [25, 60])
def test_bytes_of_several_shards_and_of_one(
    store: str,
    shard_rows: int,
    singles_data: Path,
    checkpoint: Callable[..., Path],
    load_source: Load,
    tmp_path: Path,
) -> None:
    teacher, folder = load_teacher(str(checkpoint()), device="cpu"), tmp_path / "cache"
    dump_split(
        teacher,
        load_source(singles_data),
        "train",
        folder,
        DumpSettings(32, shard_rows=shard_rows, store=store),
    )
    made = Cache.open(folder).manifest.plan
    assert cache_bytes(made, conditions(teacher)) == pytest.approx(weight(folder), rel=0.01)


def test_a_plan_adds_up_what_it_knows_of_single_things(asked: PlanConfig) -> None:
    ready = load_inputs(asked, SILENT)
    widths = np.array([1.0, 32.0])
    speeds = Speeds(
        step=1.0,
        own_forward=0.1,
        teacher_forward=0.5,
        pace=Pace(widths, np.array([2.0, 2.0])),
        write=3.0,
    )
    lengths = ready.work.teacher_rows.lengths()
    one_batch = 60 * lengths.max() * 2.0  # all rows fit in a budget of 4,096 tokens
    dev = 24 * np.resize(lengths, 24).max() * 2.0
    assert dump_seconds(ready, speeds) == pytest.approx(one_batch + 3.0 + dev)
    assert dump_seconds(ready, replace(speeds, tokenise=1.0)) == pytest.approx(
        one_batch + 3.0 + dev + 84
    )


def test_a_pace_follows_the_widths_of_batches() -> None:
    pace = Pace(np.array([10.0, 20.0]), np.array([1.0, 3.0]))
    lengths = np.array([20, 10, 10, 15])
    assert pace.of(lengths, 20) == 20 * 3.0 + 15 * 2.0 + 20 * 1.0  # [20], [15], [10, 10]
    assert pace.of(np.array([5, 40]), 1) == 5 * 1.0 + 40 * 3.0


def test_a_dump_of_many_rows_is_told_from_a_sample() -> None:
    lengths = np.array([5, 10, 20, 40])
    speeds = Speeds(0, 0, 0, Pace(np.array([1.0]), np.array([1.0])))
    assert speeds.dump(lengths, 4000, 1000, 40) == pytest.approx(1000 * lengths.sum(), rel=0.02)


def test_training_batches_are_those_of_a_run() -> None:
    lengths = np.arange(1, 22)
    batches = training_batches(lengths, 8, 3)
    assert [len(each) for each in batches] == [8, 8, 5]
    assert sorted(np.concatenate(batches)) == list(range(21))
    assert mean_width(lengths, 8, 3) == np.mean([lengths[each].max() for each in batches])


def test_without_calibration_a_plan_is_flops(asked: PlanConfig) -> None:
    found = plan(replace(asked, calibrate=False, epochs=3, seeds=2, price_per_hour=5.0)).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["source"] == "flops"
    assert "nothing was measured: any CPU" in found["notes"][0]
    assert list(found["methods"]) == ["base", "ls", "tf-reg", "self-kd", "kd", "kd-online"]
    kd, online, total = found["methods"]["kd"], found["methods"]["kd-online"], found["total"]
    assert kd["epoch_seconds"] == 8 * kd["step_seconds"]  # 60 rows
    assert kd["run_seconds"] == 24 * kd["step_seconds"]
    assert online["step_seconds"] > kd["step_seconds"]
    assert online["memory_bytes"] > kd["memory_bytes"]
    assert total["seconds"] > 2 * 5 * kd["run_seconds"]
    assert total["money"] == pytest.approx(5 * total["hours"])
    saved = 2 * (online["run_seconds"] - kd["run_seconds"]) - found["dump"]["seconds"]
    # Self-KD's second forward passes are saved too
    assert 3600 * (total["online_hours"] - total["hours"]) > saved
    after = found["break_even_epochs"] * (online["epoch_seconds"] - kd["epoch_seconds"])
    assert after == pytest.approx(found["dump"]["seconds"])


def test_fewer_methods_cost_less(asked: PlanConfig) -> None:
    quick = replace(asked, calibrate=False)
    some, all_five = plan(replace(quick, methods=("base", "kd"))), plan(quick)
    assert list(some.methods) == ["base", "kd", "kd-online"]
    assert some.total.seconds < all_five.total.seconds
    assert list(plan(replace(quick, methods=("ls",))).methods) == ["ls"]


def test_unlabelled_rows_are_dumped_and_taught(asked: PlanConfig, unlabelled_data: Path) -> None:
    quick = replace(asked, calibrate=False)
    bare, more = (
        plan(quick).to_dict(),
        plan(replace(quick, unlabelled=str(unlabelled_data))).to_dict(),
    )
    assert (more["setting"]["rows"], more["setting"]["unlabelled_rows"]) == (90, 30)
    assert more["bytes"]["float16"]["bytes"] > bare["bytes"]["float16"]["bytes"]
    steps = {
        name: each["epoch_seconds"] / each["step_seconds"] for name, each in more["methods"].items()
    }
    assert steps == pytest.approx(
        {"base": 8, "ls": 8, "tf-reg": 8, "self-kd": 12, "kd": 12, "kd-online": 12}
    )


def test_a_gpu_that_is_not_here_can_be_planned_for(asked: PlanConfig) -> None:
    there = replace(asked, calibrate=False, work=replace(asked.work, device="H100"))
    found = plan(there).to_dict()
    assert found["setting"]["device"] == "H100"
    assert found["total"]["seconds"] < plan(replace(asked, calibrate=False)).total.seconds
    with pytest.raises(SpecError, match=r"expected a device among cpu, .*found 'abacus'"):
        plan(replace(there, work=replace(asked.work, device="abacus")))
    assert device_of("cpu").name.startswith("any CPU")


def test_shapes_without_data(asked: PlanConfig) -> None:
    work = replace(
        asked.work, student="1x32", teacher="2x64", shape_only=True, tokens=16, rows=100, classes=3
    )
    found = plan(replace(asked, work=work, calibrate=False)).to_dict()
    assert (found["setting"]["rows"], found["setting"]["classes"], found["setting"]["tokens"]) == (
        100,
        3,
        16.0,
    )


def test_a_calibrated_plan(asked: PlanConfig) -> None:
    said: list[str] = []
    found = plan(asked, Notes(said.append))
    assert found.source == "calibrated"
    assert found.notes == ()
    assert said[-1].startswith("calibrating")
    assert found.total.seconds > 0
    assert found.dump.seconds > 0
    assert found.methods["kd-online"].step_seconds > found.methods["kd"].step_seconds


def test_a_signal_with_tensors_that_are_kept_once(asked: PlanConfig) -> None:
    made = plan(replace(asked, signals=("logits", "attention-input:-1")))
    assert made.source == "calibrated"
    assert made.bytes["float16"] > plan(asked).bytes["float16"]


def test_flops_and_calibration_speak_of_the_same_things(asked: PlanConfig) -> None:
    ready = load_inputs(asked, SILENT)
    one, eight = (from_flops(ready.work, cpu(cores)) for cores in (1, 8))
    assert dump_seconds(ready, one) == pytest.approx(8 * dump_seconds(ready, eight))
    assert one.own_forward == pytest.approx(8 * eight.own_forward)
    assert eight.step < one.step < 8 * eight.step + 1e-9


def test_memory_grows_with_what_is_kept(asked: PlanConfig) -> None:
    shape = shape_of(load_inputs(asked, SILENT).work.student)
    small, long = (
        Memory(shape, 8, 16, "float32").training(),
        Memory(shape, 8, 32, "float32").training(),
    )
    assert small - (long - small) == 16 * shape.parameters
    assert long - small == 8 * 16 * 66 * shape.width * shape.layers
    half = Memory(shape, 8, 16, "bfloat16").training()
    assert half - 18 * shape.parameters == 8 * 16 * 34 * shape.width * shape.layers
    assert Memory(shape, 8, 16, "float32", 1000).training() == small + 1000


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epochs": 0.0}, "--epochs: expected a number above 0, found 0"),
        ({"seeds": 0}, "--seeds: expected a whole number from 1, found 0"),
        ({"methods": ("kd", "magic")}, "--method: expected one of .*, found .magic."),
        ({"price_per_hour": -1.0}, "--price-per-hour: expected a number from 0, found -1"),
        ({"codec": "int3"}, "--codec: expected one of float16, float32, .*found .int3."),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(
    asked: PlanConfig, wrong: dict[str, Any], said: str
) -> None:
    nothing = replace(asked, work=replace(asked.work, teacher="nowhere", data="nowhere"), **wrong)
    with pytest.raises(SpecError, match=said):
        plan(nothing)
    with pytest.raises(SpecError, match=said):
        accuracy.bench(nothing, [])


def test_a_teacher_of_other_labels_is_refused(
    asked: PlanConfig, checkpoint: Callable[..., Path]
) -> None:
    other = replace(asked.work, teacher=str(checkpoint("bert", ("a", "b", "c"))))
    with pytest.raises(FingerprintMismatch, match="teacher answers 3 classes"):
        plan(replace(asked, work=other))


def test_a_bench_of_the_plan(asked: PlanConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, measured = replace(asked, work=replace(asked.work, rows=40)), list[str]()

    def peak(asked: WorkloadConfig, name: str, cache: None) -> Peak:  # which test_overhead.py tries
        measured.append(name)
        return Peak(10**9)

    monkeypatch.setattr(accuracy, "peak", peak)
    told = accuracy.bench(asked, ["logitcache", "bench", "plan"], rounds=2, steps=2)
    assert json.loads(json.dumps(told)) == told
    assert (told["bench"], told["complete"]) == ("plan", True)
    assert [one["what"] for one in told["rounds"]] == ["dump", "step", "step", "dump"]
    assert all(
        one[f"{kind}_seconds"] > 0 for one in told["rounds"] for kind in ("predicted", "measured")
    )
    assert told["accuracy"]["bytes"] == pytest.approx(1, abs=0.01)
    assert told["accuracy"]["step"]["rounds"] == 2
    assert told["drift"] >= 1
    assert measured == ["ls", "kd-online"]
    foretold = {name: 1e9 * share for name, share in told["accuracy"]["memory"].items()}
    assert foretold == pytest.approx(
        {name: told["methods"][name]["memory_bytes"] for name in measured}
    )
    assert told["setting"]["rows"] == 40
    text = bench_text(told)
    assert "Predicted over measured is" in text
    assert "for the memory of kd-online" in text


def test_a_bench_of_drawn_rows(asked: PlanConfig) -> None:
    work = replace(asked.work, teacher="2x64", shape_only=True, tokens=16, rows=40, classes=3)
    told = accuracy.bench(replace(asked, work=work), [], rounds=1, steps=1, memory=False)
    assert told["accuracy"]["memory"] is None
    assert told["accuracy"]["bytes"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("stopped", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_bench_keeps_what_was_measured(
    asked: PlanConfig, stopped: type[BaseException]
) -> None:
    def stop(message: str) -> None:
        if message.startswith("round 1"):
            raise stopped

    told = accuracy.bench(asked, [], Notes(stop), rounds=3, steps=1)
    assert told["complete"] is False
    assert [one["what"] for one in told["rounds"]] == ["dump"]
    assert told["accuracy"]["step"] is None
    assert told["accuracy"]["dump"]["rounds"] == 1
    assert "for the time of a dump" in bench_text(told)


def test_the_command(asked: PlanConfig) -> None:
    work = asked.work
    words = [
        "--teacher",
        work.teacher,
        "--data",
        work.data,
        "--student",
        "1x32",
        "--max-length",
        "32",
    ]
    words += ["--workspace", str(work.workspace.folder), "--no-calibrate", "--device", "cpu"]
    shown = CliRunner().invoke(cli.command, [*words, "--method", "kd", "--price-per-hour", "1"])
    assert shown.exit_code == 0, shown.output
    assert "the cache has paid for itself after" in shown.stdout
    assert "\nkd " in shown.stdout
    assert "\nls " not in shown.stdout
    document = json.loads(CliRunner().invoke(cli.command, [*words, "--json"]).stdout)
    assert document["setting"]["max_length"] == 32
    refused = CliRunner().invoke(cli.command, [*words, "--method", "magic"])
    assert isinstance(refused.exception, SpecError)


def test_the_command_of_the_bench(
    asked: PlanConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        "--teacher",
        "2x64",
        "--student",
        "1x32",
        "--shape-only",
        "--tokens",
        "8",
        "--rows",
        "16",
    ]
    words += [
        "--device",
        "cpu",
        "--batch-size",
        "8",
        "--steps",
        "1",
        "--workspace",
        str(asked.work.workspace.folder),
    ]
    monkeypatch.setattr(accuracy, "bench", partial(_quickly, accuracy.bench))
    done = CliRunner().invoke(
        bench_plan,
        [*words, "--rounds", "1", "--no-memory", "--json", "--out", str(tmp_path / "x.json")],
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == read(tmp_path / "x.json")
    refused = CliRunner().invoke(bench_plan, [*words, "--rounds", "0"])
    assert isinstance(refused.exception, SpecError)


def _quickly(bench: Callable[..., Any], asked: PlanConfig, *given: Any, **named: Any) -> Any:
    return bench(replace(asked, seconds=0.01), *given, **named)
