"""`plan` of a language model: the bytes that a cache has, and the sums of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from logitcache.api import dump
from logitcache.cache.cache import Cache
from logitcache.config.bench import PlanConfig, WorkloadConfig
from logitcache.config.data import Columns
from logitcache.config.sequences import Sequences
from logitcache.config.study import StudyConfig
from logitcache.config.workspace import Workspace
from logitcache.errors import SpecError
from logitcache.forecast.forecast import plan
from logitcache.study.dry import dry_run
from logitcache.study.run import planned
from logitcache_cli.main import cli
from tests.language.small_lms import TASK_OF
from tests.shortly import slow

Lm = Callable[..., Path]
QUIET: Any = {"device": "cpu", "notify": lambda line: None}


def config_of(kind: str, lm: Lm, data: Path, workspace: Path, **named: Any) -> PlanConfig:
    """A plan of a tiny teacher, rows of 24 tokens."""
    work = WorkloadConfig(
        student="1x32",
        teacher=str(lm(kind)),
        data=str(data),
        columns=Columns(task=TASK_OF[kind]),
        batch_size=8,
        device="cpu",
        workspace=Workspace(workspace),
    )
    values = {"sequences": Sequences(seq_len=24), "seconds": 0.02, **named}
    return PlanConfig(work, **values)


def weight(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("kind", "codec", "signals", "views"),
    [
        slow(("gpt2", "varopt:mean=4", ("logits",), 2)),
        ("gpt2", "sampled:n=8", ("logits", "hidden:-1"), 1),
        slow(("gpt2", "topk:k=4,tail=unigram", ("logits",), 1)),
        ("gpt2", "float16", ("attention-input:-1,dtype=bfloat16",), 1),
        ("bert", "replay", ("logits",), 2),
    ],
)
def test_bytes_are_those_of_the_caches(
    kind: str, codec: str, signals: tuple[str, ...], views: int, lm: Lm, texts: Path, tmp_path: Path
) -> None:
    sequences = Sequences(seq_len=24, views=views)
    config = config_of(
        kind, lm, texts, tmp_path / "p", codec=codec, signals=signals, sequences=sequences
    )
    told = plan(config)
    report = dump(
        str(lm(kind)), str(texts), task=TASK_OF[kind], seq_len=24, views=views, codec=codec,
        signal=signals, workspace=tmp_path / "w", **QUIET,
    )  # fmt: skip
    folders = [report.cache, *(part.cache for part in report.held_out)]
    assert told.bytes[config.stored] == pytest.approx(sum(map(weight, folders)), rel=0.02)
    caches = [Cache.open(folder) for folder in folders]
    assert told.rows == sum(map(len, caches))
    assert told.setting["positions"] == sum(cache.manifest.positions for cache in caches)
    own = caches[0].codec.bytes_per_position()
    assert told.announced[config.stored] == pytest.approx(own, rel=0.02)


@pytest.fixture
def quick(lm: Lm, texts: Path, tmp_path: Path) -> PlanConfig:
    return config_of("gpt2", lm, texts, tmp_path, calibrate=False, codec="varopt:mean=4")


def test_all_codecs_are_told_beside_the_one_asked_for(quick: PlanConfig) -> None:
    told = plan(quick)
    assert next(iter(told.bytes)) == "varopt:mean=4"
    kinds = {name.partition(":")[0] for name in told.bytes}
    assert kinds == {"varopt", "float16", "float32", "replay", "sampled", "topk"}
    assert told.announced["float16"] == 2 * 48
    assert told.announced["replay"] == 4 * 32
    assert told.bytes["float32"] > told.bytes["float16"] > told.bytes["varopt:mean=4"]
    assert any("no answer was looked at" in note for note in told.notes)
    assert told.setting["views"] == 1


def test_a_sample_of_the_documents_stands_for_all(
    quick: PlanConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = plan(quick)
    monkeypatch.setattr("logitcache.forecast.language.SAMPLE_BYTES", 1500)
    some = plan(quick)
    assert some.rows == pytest.approx(whole.rows, rel=0.1)
    assert some.bytes["float16"] == pytest.approx(whole.bytes["float16"], rel=0.1)
    one_each = replace(quick, sequences=Sequences(seq_len=24, pack=False))
    assert plan(one_each).rows == pytest.approx(52, abs=3)  # of which some have one word


def test_hours_follow_from_tokens_and_steps(quick: PlanConfig) -> None:
    told = plan(quick)
    steps = -(-_train_rows(quick) // 8)
    kd = told.methods["kd"]
    assert kd.epoch_seconds == pytest.approx(steps * kd.step_seconds)
    assert told.methods["kd-online"].step_seconds > kd.step_seconds
    two = plan(replace(quick, sequences=Sequences(seq_len=24, views=2)))
    assert two.methods["kd"].epoch_seconds == pytest.approx(kd.epoch_seconds)
    assert two.rows == 2 * told.rows


def _train_rows(config: PlanConfig) -> int:
    folder = config.work.workspace.folder
    report = dump(
        config.work.teacher,
        config.work.data,
        task="causal-lm",
        seq_len=24,
        workspace=folder,
        **QUIET,
    )
    return len(Cache.open(report.cache))


def test_an_architecture_without_a_text(tmp_path: Path) -> None:
    work = WorkloadConfig(
        student="1x32",
        teacher="2x64",
        columns=Columns(task="causal-lm"),
        shape_only=True,
        tokens=16,
        rows=10_000,
        vocabulary=1000,
        device="cpu",
        workspace=Workspace(tmp_path),
    )
    told = plan(PlanConfig(work, calibrate=False, codec="replay"))
    assert (told.rows, told.setting["positions"]) == (10_000, 150_000)
    stored = 150_000 * (64 * 4 + 8) + 10_000 * 16 * 4 + 1000 * 64 * 4
    assert told.bytes["replay"] == pytest.approx(stored, rel=0.05)
    masked = replace(work, columns=Columns(task="masked-lm"))
    told = plan(PlanConfig(masked, calibrate=False))
    assert told.setting["positions"] == pytest.approx(0.15 * 160_000, rel=0.1)


@pytest.mark.parametrize(("student", "teacher"), [("gpt2", "2x64"), ("1x32", "gpt2")])
def test_more_tokens_than_either_model_takes_are_led_to_those_that_both_take(
    student: str, teacher: str, lm: Lm, tmp_path: Path
) -> None:
    names = {"gpt2": str(lm("gpt2"))}
    work = WorkloadConfig(
        student=names.get(student, student),
        teacher=names.get(teacher, teacher),
        columns=Columns(task="causal-lm"),
        shape_only=True,
        tokens=100,
        rows=8,
        device="cpu",
        workspace=Workspace(tmp_path),
    )
    with pytest.raises(SpecError, match=r"at most 64 tokens.*found 100\. Give --tokens 64"):
        plan(PlanConfig(work, calibrate=False))
    assert plan(PlanConfig(replace(work, tokens=64), calibrate=False)).rows == 8


def test_a_teacher_that_is_a_shape_is_trained_first(lm: Lm, texts: Path, tmp_path: Path) -> None:
    config = config_of("gpt2", lm, texts, tmp_path)
    told = plan(replace(config, work=replace(config.work, teacher="2x64")))
    assert told.source == "calibrated"
    assert told.dump.finetune is not None
    assert told.dump.finetune.seconds > 0


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"codec": "topk:k=49"}, r"--codec topk: k: expected at most 48"),
        ({"codec": "int3"}, r"--codec: expected one of float16, .*found 'int3'"),
        ({"signals": ("hidden:9",)}, r"hidden:9"),
        ({"sequences": Sequences(seq_len=640)}, r"--seq-len: expected at most 64 tokens"),
        ({"unlabelled": "more"}, r"--unlabelled: expected a task with labels"),
    ],
)
def test_what_cannot_be_dumped_cannot_be_planned(
    named: dict[str, Any], message: str, quick: PlanConfig
) -> None:
    with pytest.raises(SpecError, match=message):
        plan(replace(quick, **named))


def test_what_is_advised_works(
    quick: PlanConfig, lm: Lm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(quick, work=replace(quick.work, student=str(lm("llama", limit=16))))
    with pytest.raises(SpecError, match="Give --seq-len 16, or other models"):
        plan(short)
    assert plan(replace(short, sequences=Sequences(seq_len=16))).rows > 0
    shapes = replace(quick.work, teacher="2x64", shape_only=True)
    with pytest.raises(SpecError, match="Name one with --tokenizer, or say with --tokens"):
        plan(replace(quick, work=shapes))
    for named in ({"student_tokenizer": quick.work.teacher}, {"tokens": 16}):
        assert plan(replace(quick, work=replace(shapes, **named))).rows > 0  # type: ignore[arg-type]
    monkeypatch.setattr("logitcache.forecast.announced.has_head", lambda model: False)
    with pytest.raises(SpecError, match=r"Choose another, such as --codec float16"):
        plan(replace(quick, codec="replay"))
    assert "replay" not in plan(replace(quick, codec="float16")).bytes


def test_the_command(quick: PlanConfig) -> None:
    work = quick.work
    words = [
        *("plan", "--task", "causal-lm", "--teacher", work.teacher, "--data", work.data),
        *("--student", "1x32", "--seq-len", "24", "--codec", "varopt:mean=4", "--device", "cpu"),
        *("--workspace", str(work.workspace.folder), "--method", "kd"),
    ]
    shown = CliRunner().invoke(cli, words)
    assert shown.exit_code == 0, shown.output
    assert "positions, varopt:mean=4, is planned to take" in shown.stdout
    assert "bytes a position" in shown.stdout
    told = json.loads(CliRunner().invoke(cli, [*words, "--json"]).stdout)
    assert told["source"] == "calibrated"
    assert told["dump"]["seconds"] > 0
    assert told["bytes"]["varopt:mean=4"]["bytes_per_position"] < 40


def test_a_study_is_foretold_by_the_same_sums(quick: PlanConfig, tmp_path: Path) -> None:
    work = quick.work
    spec = {
        "tasks": {"words": {"data": work.data}},
        "students": {"small": "1x32"},
        "methods": ["base", "kd"],
        "seeds": [1, 2],
        "teacher": {"teacher": work.teacher, "codec": "varopt:mean=4"},
        "settings": {"task": "causal-lm", "seq_len": 24, "batch_size": 8, "budget": "60s"},
    }
    told = dry_run(planned(spec, StudyConfig(out=tmp_path / "s")))
    own = plan(replace(quick, calibrate=True))
    assert [group.reason for group in told.groups] == [""] * len(told.groups)
    assert sum(group.hours or 0 for group in told.groups) == pytest.approx(4 / 60)
    assert told.bytes == pytest.approx(own.bytes["varopt:mean=4"], rel=0.001)
    assert told.teachers[0].dump_hours is not None
    spec["settings"] = {**spec["settings"], "budget": "steps=100"}  # type: ignore[dict-item]
    steps = dry_run(planned(spec, StudyConfig(out=tmp_path / "t")))
    assert 0 < (steps.hours or 0) < 1


@pytest.mark.parametrize(
    ("kind", "codec", "views"), [("gpt2", "varopt:mean=4", 2), ("bert", "replay", 1)]
)
def test_a_bench_of_the_plan(
    kind: str, codec: str, views: int, lm: Lm, texts: Path, tmp_path: Path
) -> None:
    asked = ["--teacher", lm(kind), "--data", texts, "--task", TASK_OF[kind], "--codec", codec]
    asked += ["--seq-len", 24, "--views", views, "--student", "1x32", "--batch-size", 8]
    asked += ["--rows", 12, "--steps", 1, "--rounds", 1, "--device", "cpu"]
    out = tmp_path / "plan.json"
    words = ["bench", "plan", *map(str, asked), "--workspace", str(tmp_path), "--out", str(out)]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, (done.output, done.exception)
    document = json.loads(out.read_text())
    assert [entry["what"] for entry in document["rounds"]] == ["dump", "step"]
    assert all(entry["measured_seconds"] > 0 for entry in document["rounds"])
    assert document["accuracy"]["bytes"] == pytest.approx(1, abs=0.05)
    assert document["accuracy"]["memory"] is None
    assert document["setting"]["rows"] == 12
