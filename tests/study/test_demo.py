"""The demo on a small stand-in for the built-in text: the same calls, fewer rows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from logitcache.config.methods import METHODS
from logitcache.data.sources import docstrings
from logitcache.study import demo as module
from logitcache.study.demo import DemoSize, demo
from logitcache_cli.main import cli

SMALL = DemoSize("1x32", 60, 1, "1x16", 24, 1, 20)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two packages' worth of made-up docstrings, in the place of the built-in set."""
    folder = tmp_path / "docstrings"
    folder.mkdir()
    words = {"alpha": "sparse matrix solver", "beta": "rolling window frame"}
    for split, count in (("train", 100), ("dev", 30), ("test", 30)):
        rows = [
            {"text": f"Return the {words[label]} number {i} of {split}.", "label": label}
            for i in range(count // 2)
            for label in words
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(docstrings, "build", lambda place, reporter=None: folder)
    monkeypatch.setattr(module, "SEEDS", (0,))
    return tmp_path / "out"


def test_every_method_and_seed_is_reported_and_a_second_run_makes_nothing_again(
    stand_in: Path,
) -> None:
    first = demo(stand_in, SMALL)
    assert [row.method for row in first.comparison.rows] == list(METHODS)
    assert all(list(row.values) == [0] for row in first.comparison.rows)
    assert first.report.rows == first.report.teacher_rows == 60
    made = {path: path.stat().st_mtime_ns for path in stand_in.rglob("*.safetensors")}
    again = demo(stand_in, SMALL)
    assert again.report.teacher_rows == 0
    assert made == {path: path.stat().st_mtime_ns for path in stand_in.rglob("*.safetensors")}
    assert again.comparison == first.comparison


@pytest.mark.slow
def test_students_learn_from_a_subset_of_the_teachers_rows(stand_in: Path) -> None:
    result = demo(stand_in, SMALL)
    told = [json.loads((run / "result.json").read_text()) for run in result.runs]
    assert {one["data"]["train_rows"] for one in told} == {24}
    assert {one["cache_rows"] for one in told if one["method"] == "kd"} == {60}
    assert {tuple(one["data"]["eval_rows"].values()) for one in told} == {(20, 20)}


@pytest.mark.slow
def test_the_command_prints_one_document_and_leaves_a_picture(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUICK", SMALL)
    result = CliRunner().invoke(
        cli, ["demo", "--quick", "--json", "--out", str(stand_in)], catch_exceptions=False
    )
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert [row["method"] for row in document["rows"]] == list(METHODS)
    assert document["verdict"]
    assert (stand_in / "quick" / "verdict.png").stat().st_size > 1000
    again = CliRunner().invoke(
        cli, ["demo", "--quick", "--out", str(stand_in)], catch_exceptions=False
    )
    assert re.search(r"quick \(\d+ s of this call, which went on from an earlier", again.stdout)
