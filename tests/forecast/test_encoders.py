"""A plan of a sentence encoder: its bytes are those of the cache, its student learns vectors."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from logitcache.api import dump
from logitcache.config.bench import PlanConfig, WorkloadConfig
from logitcache.config.data import Columns
from logitcache.config.workspace import Workspace
from logitcache.errors import SpecError
from logitcache.forecast.forecast import plan
from logitcache.report.terminal import plan_text
from logitcache_cli.main import cli
from tests.conftest import sentence, write_rows
from tests.stages.sentences import write_encoder
from tests.words import BAD, GOOD


@pytest.fixture(scope="module")
def asked(headless: Path, tmp_path_factory: pytest.TempPathFactory) -> PlanConfig:
    """Of 600 texts, whose vectors are 12 wide."""
    folder = tmp_path_factory.mktemp("encoder")
    draw = random.Random(0)
    texts = [f"{i} {sentence(draw, GOOD + BAD, draw.randint(1, 9))}" for i in range(600)]
    write_rows(folder / "texts.jsonl", [{"text": text} for text in texts])
    teacher = write_encoder(headless, folder / "teacher", dense=12)
    work = WorkloadConfig(
        student="1x16", teacher=str(teacher), data=str(folder / "texts.jsonl"), max_length=32,
        columns=Columns(task="embedding"), vocabulary=150, batch_size=8, device="cpu",
        workspace=Workspace(folder / "work"),
    )  # fmt: skip
    return PlanConfig(work, seconds=0.01)


def test_bytes_are_those_of_the_cache(asked: PlanConfig, tmp_path: Path) -> None:
    forecast = plan(replace(asked, calibrate=False)).to_dict()
    report = dump(
        asked.work.teacher, asked.work.data, task="embedding", max_length=32, device="cpu",
        out=tmp_path / "cache", workspace=tmp_path, notify=lambda line: None,
    )  # fmt: skip
    written = sum(path.stat().st_size for path in report.cache.rglob("*") if path.is_file())
    assert forecast["bytes"]["vectors"]["bytes"] == pytest.approx(written, rel=0.05)
    assert forecast["setting"]["codec"] == "vectors"


def test_a_student_of_vectors_is_timed(asked: PlanConfig) -> None:
    forecast = plan(asked)
    assert list(forecast.methods) == ["embedding", "embedding-online"]
    assert (forecast.source, forecast.rows) == ("calibrated", 600)
    step = forecast.methods["embedding"].step_seconds
    assert 0 < step < forecast.methods["embedding-online"].step_seconds
    assert forecast.methods["embedding"].epoch_seconds == pytest.approx(step * 75)
    shown = plan_text(forecast.to_dict())
    assert "with teachers in the loop" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "kd"], "expected a method that compares vectors alone"),
        (["--shape-only"], "--shape-only: expected models that are trained"),
        (["--teacher", "2x16"], "expected a sentence encoder that is trained"),
        (["--pooling", "cls"], "expected --pooling as its modules.json says"),
    ],
)
def test_what_has_no_vectors_is_refused(
    asked: PlanConfig, arguments: list[str], words: str
) -> None:
    places = ["--teacher", asked.work.teacher, "--data", asked.work.data]
    result = CliRunner().invoke(cli, ["plan", "--task", "embedding", *places, *arguments])
    assert result.exit_code == SpecError.exit_code
    assert words in result.output


@pytest.mark.parametrize("bench", ["overhead", "dump", "plan"])
def test_a_bench_names_the_plan(bench: str, asked: PlanConfig) -> None:
    places = ["--teacher", asked.work.teacher, "--data", asked.work.data]
    result = CliRunner().invoke(cli, ["bench", bench, "--task", "embedding", *places])
    assert result.exit_code == SpecError.exit_code
    assert "`logitcache plan --task embedding` times" in result.output
