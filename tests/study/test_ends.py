"""The table of a study while it fills up."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import logitcache
from logitcache.errors import SpecError
from logitcache.reporter import SILENT, Meter, Notes
from logitcache.study import folder as folders
from logitcache.study.ends import Ends
from logitcache.study.folder import End, State, check_foreign
from logitcache.study.plan import load_spec, plan
from tests.study.test_study_run import spec_of


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
