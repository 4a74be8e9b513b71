"""A dry run forecasts what can be, and says of the rest why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from logitcache.config.bench import PlanConfig
from logitcache.config.study import StudyConfig
from logitcache.errors import SpecError
from logitcache.reporter import Reporter
from logitcache.study.dry import dry_run
from logitcache.study.run import planned
from logitcache_cli.main import cli
from tests.study.specs import spec_of


@pytest.fixture(scope="module")
def spec(singles_data: Path, checkpoint: Callable[..., Path]) -> dict[str, Any]:
    return spec_of(singles_data, checkpoint())


def test_a_dry_run_refuses_rows_that_a_run_would_refuse(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(json.dumps({**spec, "tasks": {"none": str(tmp_path / "none.json")}}))
    done = CliRunner().invoke(cli, ["study", "run", str(path), "--dry-run"])
    assert (done.exit_code, "no such file or folder" in done.stderr) == (2, True)


def test_a_dry_run_forecasts_a_cut_student_without_a_teacher(
    spec: dict[str, Any],
    checkpoint: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forecast: list[PlanConfig] = []

    def plan(config: PlanConfig, reporter: Reporter) -> None:
        forecast.append(config)
        raise SpecError("enough")

    monkeypatch.setattr("logitcache.forecast.forecast.plan", plan)
    cut = {"student": f"from:{checkpoint()}", "layers": "0"}
    changes = {"students": {"cut": cut}, "methods": ["base"]}
    dry_run(planned({**spec, **changes}, StudyConfig(out=tmp_path / "s")))
    (config,) = forecast
    assert config.work.teacher == config.work.student  # nobody asks it
    assert not config.work.student.startswith("from:")


@pytest.mark.parametrize("student", [{}, {"layers": [0]}])
def test_a_dry_run_says_what_cannot_be_forecast(
    spec: dict[str, Any], tmp_path: Path, student: dict[str, Any]
) -> None:
    path = tmp_path / "spec.yaml"
    none = {"student": str(tmp_path / "none"), **student}
    path.write_text(json.dumps({**spec, "students": {"tiny": none}}))
    done = CliRunner().invoke(cli, ["study", "run", str(path), "--dry-run", "--json"])
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    untaught, taught = document["groups"]
    assert untaught["trials"] == {"base": 2, "self-kd": 2}
    assert taught["trials"] == {"kd": 2}
    assert document["hours"] is None
    plain = CliRunner().invoke(cli, ["study", "run", str(path), "--dry-run"])
    for group in (untaught, taught):
        assert "no student" in group["reason"]
        assert f"not forecast: {group['reason']}" in plain.stdout
