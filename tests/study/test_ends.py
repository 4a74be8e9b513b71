"""The table of a study while it fills up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import logitcache
from logitcache.errors import SpecError
from logitcache.reporter import SILENT, Meter, Notes
from logitcache.student.fit import Diverged
from logitcache.study import folder as folders
from logitcache.study.ends import Ends
from logitcache.study.folder import End, State, check_foreign
from logitcache.study.plan import load_spec, plan
from logitcache_cli.main import cli
from tests.study.specs import spec_of
from tests.study.test_study_run import faults


class Seen(Notes):
    """Keeps lines and tables."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        super().__init__(self.lines.append)
        self.tables: list[list[list[str]]] = []

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        self.tables.append([list(row) for row in rows])


def test_the_table_fills_up_with_the_trials_of_everybody(
    singles_data: Path, tmp_path: Path
) -> None:
    spec = spec_of(singles_data, tmp_path, methods=["base", "ls"])
    out = tmp_path / "s"
    logitcache.run_study(spec, out=out, methods=["base"], seeds=[0], reporter=SILENT)
    seen = Seen()
    logitcache.run_study(spec, out=out, reporter=seen)
    assert [rows[0] for rows in seen.tables] == [["", "singles · tiny"]] * 4
    assert [len(rows) - 1 for rows in seen.tables] == [1, 2, 2, 2]
    counts = {row[0]: row[1].rpartition("(")[2] for row in seen.tables[-1][1:]}
    assert counts == {"base": "2/2)", "ls": "2/2)"}
    told = [line for line in seen.lines if " of 4: singles · tiny · " in line]
    assert [line.partition(" of ")[0] for line in told] == ["2", "3", "4"]
    assert any("base: accuracy" in line and "(2 of 2 seeds), " in line for line in told)


def test_the_teacher_that_one_of_several_workers_made_is_left_out_once(
    singles_data: Path, tmp_path: Path
) -> None:
    study = plan(load_spec(spec_of(singles_data, tmp_path)), tmp_path / "s")
    (name,) = study.teachers
    study.write()
    stage = Meter("study", "trials")
    ends = Ends(study, stage)
    stage.started -= 100.0  # seconds that have passed
    ends.leave_out_teachers(workers=2)
    assert stage.seconds() == pytest.approx(100, abs=5)
    folders.record_teacher(study.folder, name, End(State.DONE, seconds=60.0))
    for _ in range(2):
        ends.leave_out_teachers(workers=2)
        assert stage.seconds() == pytest.approx(70, abs=5)


@pytest.mark.parametrize(
    ("names", "is_refused"),
    [
        (("data/corpus-1.json", "data/docstrings-2/dev.jsonl", "data/.corpus-3"), False),
        (("data/corpus-1.json", "data/mine.csv"), True),
        (("data",), True),
        (("notes.txt",), True),
    ],
)
def test_a_folder_of_built_in_data_alone_may_become_a_study(
    tmp_path: Path, names: tuple[str, ...], is_refused: bool
) -> None:
    """A dry run leaves them there."""
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected: Any = nullcontext()
    if is_refused:
        expected = pytest.raises(SpecError, match=r"expected the folder of a study, or an empty")
    with expected:
        check_foreign(tmp_path)


def test_a_launchers_variables_that_contradict_are_refused_before_any_trial(
    singles_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(singles_data, tmp_path, methods=["base"])
    begun = faults(monkeypatch)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(SpecError, match=r"Start with torchrun, or unset WORLD_SIZE\."):
        logitcache.run_study(spec, out=tmp_path / "s", reporter=SILENT)
    assert not begun
    assert not (tmp_path / "s").exists()
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    logitcache.run_study(spec, out=tmp_path / "s", reporter=SILENT)
    assert begun


def test_a_study_whose_trials_have_all_diverged_ends_with_6(
    singles_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(json.dumps(spec_of(singles_data, tmp_path, methods=["base", "ls"])))
    error = Diverged("NaN in 3 of 8 rows: its training has diverged. Lower --learning-rate.")
    faults(monkeypatch, ls=error)
    words = ["study", "run", str(path), "--json", "--out", str(tmp_path / "s")]
    assert CliRunner().invoke(cli, words).exit_code == 0
    faults(monkeypatch, base=error, ls=error)
    done = CliRunner().invoke(cli, [*words[:-1], str(tmp_path / "t")])
    assert done.exit_code == 6
    assert json.loads(done.stdout)["trials"]["diverged"] == 4
    assert "all 4 trials diverged, the first is singles/tiny/base-seed0: NaN in 3" in done.stderr
    again = CliRunner().invoke(cli, [*words[:-1], str(tmp_path / "t")])
    assert again.exit_code == 6
    assert "another --out" in again.stderr
    faults(monkeypatch)
    assert CliRunner().invoke(cli, [*words[:-1], str(tmp_path / "u")]).exit_code == 0
