"""A study is run: each teacher once, each trial once, whatever fails or is interrupted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

import logitcache
from logitcache.errors import (
    DiskError,
    FingerprintMismatch,
    FormatError,
    IncompleteStudy,
    Locked,
    OutOfSpace,
    SpecError,
)
from logitcache.processes import Ended
from logitcache.reporter import SILENT, Meter, Notes
from logitcache.student.fit import Diverged
from logitcache.study import folder as folders
from logitcache.study import work, workers
from logitcache.study.cells import Cells
from logitcache.study.folder import End, State, StudyFolder
from logitcache_cli.main import cli
from tests.conftest import singles, write_rows
from tests.runs import NoSteps, Steps, result
from tests.study.specs import METHODS, spec_of


class Asked(Notes):
    """Counts the rows that a teacher was asked about, by stage."""

    def __init__(self) -> None:
        super().__init__(lambda text: None)
        self.rows = 0

    def ended(self, stage: Meter) -> None:
        if stage.unit == "rows":
            self.rows += stage.done


@pytest.fixture(scope="module")
def spec(singles_data: Path, checkpoint: Callable[..., Path]) -> dict[str, Any]:
    return spec_of(singles_data, checkpoint())


@pytest.fixture(scope="module")
def finished_study(
    spec: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[StudyFolder, int]:
    """A study that has run, to look at, and how many rows models were asked about."""
    out = tmp_path_factory.mktemp("study") / "one"
    asked = Asked()
    return logitcache.run_study(spec, out=out, reporter=asked), asked.rows


@pytest.fixture
def study(finished_study: tuple[StudyFolder, int], tmp_path: Path) -> Path:
    """A copy of it, to go on with."""
    return Path(shutil.copytree(finished_study[0].folder, tmp_path / "study"))


def test_seconds_of_a_trial_are_without_the_making_of_its_teacher(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def make(worker: work.Worker, teacher: Any, trial: Any) -> End:
        clock[0] += 100.0
        return End(State.DONE, figures={})

    def fail(*_: Any, **__: Any) -> None:
        clock[0] += 1.0
        raise ValueError("no training today")

    monkeypatch.setattr(work, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(work.Worker, "_made", make)
    monkeypatch.setattr(work, "train", fail)
    study = logitcache.run_study(spec, out=tmp_path / "s", reporter=SILENT)
    assert [entry.end.seconds for entry in study.trials] == [1.0] * 6
    assert [teacher.end.seconds for teacher in study.teachers] == [100.0]


def test_every_trial_ends_and_each_teacher_is_asked_once(
    finished_study: tuple[StudyFolder, int],
) -> None:
    study, asked = finished_study
    assert [entry.state for entry in study.trials] == [State.DONE] * 6
    (teacher,) = study.teachers
    assert teacher.figures["teacher_rows"] == teacher.figures["rows"] == 60
    assert set(teacher.metrics) == {"dev", "test"}
    first_copies = 2 * 60
    assert asked == 60 + 24 + 20 + first_copies
    caches = {result(entry.folder)["cache_fingerprint"] for entry in study.trials}
    assert len(caches - {None}) == 1 + 2  # kd's, and one for each first copy


def test_the_first_copy_is_the_base_trial(finished_study: tuple[StudyFolder, int]) -> None:
    study, _ = finished_study
    assert not list((study.folder / "self-kd").glob("copy-*"))
    assert not (study.folder / "runs").exists()


def test_a_finished_study_takes_no_step(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "train", None)
    again = logitcache.run_study(study, reporter=NoSteps())
    assert len(again.with_state(State.DONE)) == 6


def test_more_seeds_are_added_and_other_options_are_refused(
    study: Path, spec: dict[str, Any]
) -> None:
    grown = logitcache.run_study(spec, out=study, seeds=[5], methods=["base"], reporter=SILENT)
    assert [entry.planned.seed for entry in grown.trials if entry.planned.method == "base"] == [
        0,
        1,
        5,
    ]
    assert grown.spec["methods"].keys() == set(METHODS)
    assert len(grown.with_state(State.DONE)) == 7
    with pytest.raises(FingerprintMismatch, match=r"epochs = 1, now 2\.0\. Choose another --out"):
        logitcache.run_study(spec, out=study, epochs=2, reporter=SILENT)


def test_a_margin_is_declared_before_the_results(
    study: Path, spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FingerprintMismatch, match=r"no margin, as before the first result, found"):
        logitcache.run_study({**spec, "margin": 0.01}, out=study, reporter=SILENT)
    assert folders.read(study).spec["margin"] is None
    faults(monkeypatch, base=RuntimeError("out of luck"))
    cut: dict[str, Any] = {"out": tmp_path / "s", "methods": ["base"], "reporter": SILENT}
    logitcache.run_study({**spec, "margin": 0.1}, **cut)
    faults(monkeypatch)
    logitcache.run_study({**spec, "margin": 0.01}, **cut)
    with pytest.raises(FingerprintMismatch, match=r"expected margin 0\.01, as .* found none"):
        logitcache.run_study(spec, **cut)
    logitcache.run_study({**spec, "margin": 0.01}, **cut)


def test_an_end_that_cannot_be_read_is_refused_and_may_be_removed(study: Path) -> None:
    path = study / "trials" / "singles" / "tiny" / "base-seed0.json"
    for text in ('{"state": "lost", "error": null, "seconds": 1, "figures": null}', "{}"):
        path.write_text(text)
        with pytest.raises(FormatError, match=r"how a trial or a teacher ended.* Remove this file"):
            folders.read(study)
    path.unlink()
    again = logitcache.run_study(study, reporter=NoSteps())
    assert len(again.with_state(State.DONE)) == 6


def test_a_cell_names_the_rows_that_were_scored() -> None:
    """Rows that are too few for dev and test are scored on train alone."""
    planned = folders.Planned("singles", "tiny", "base", 0, {}, None)
    score = {"accuracy": 0.5}
    for splits, shown in {("train",): "train", ("train", "dev"): "dev"}.items():
        result = {"metric": "accuracy", "metrics": dict.fromkeys(splits, score)}
        assert f"0.5000 on {shown} (" in str(Cells([], None, 1).add(planned, result))
    result = {"metric": "accuracy", "metrics": {"dev": score, "test": score}}
    assert Cells([], None, 1).add(planned, result).split == "test"


@pytest.mark.parametrize(
    ("ended", "kind", "words"),
    [
        (Ended([""], -9, (1,)), IncompleteStudy, "found one that was killed"),
        (Ended([""], 1, ()), IncompleteStudy, "as its last line says"),
        (Ended([""], 7, ()), DiskError, "as its last line says"),
    ],
)
def test_a_worker_that_ends_early_ends_the_study(
    spec: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ended: Ended,
    kind: type[Exception],
    words: str,
) -> None:
    monkeypatch.setattr(workers, "together", lambda *_: ended)
    with pytest.raises(kind, match=f"{words}.* the same command again"):
        logitcache.run_study(spec, out=tmp_path / "s", workers=2, reporter=SILENT)


def test_other_rows_are_refused(
    study: Path, spec: dict[str, Any], singles_data: Path, tmp_path: Path
) -> None:
    """The files are others than those that the finished trials were trained on."""
    data = Path(spec["tasks"]["singles"])
    original = (data / "train.jsonl").read_bytes()
    write_rows(data / "train.jsonl", singles(50, 3))
    try:
        with pytest.raises(FingerprintMismatch, match="the rows that its finished trials"):
            logitcache.run_study(study, reporter=SILENT)
    finally:
        (data / "train.jsonl").write_bytes(original)


def test_a_task_without_the_split_is_refused_first(spec: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="a split 'test_mismatched', which the spec compares on"):
        logitcache.run_study(
            {**spec, "split": "test_mismatched"}, out=tmp_path / "s", reporter=SILENT
        )
    assert not (tmp_path / "s").exists()


def test_what_files_refuse_is_refused_before_anything_runs(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    faults_of = {
        "no student can be loaded": {"students": {"tiny": "1x32", "none": str(tmp_path / "none")}},
        "no teacher can be loaded": {"methods": ["kd"], "teacher": str(tmp_path / "none")},
        "found notes.txt": {},
    }
    for words, changes in faults_of.items():
        out = tmp_path / ("s" if changes else "mine")
        with pytest.raises(SpecError, match=words):
            logitcache.run_study({**spec, **changes}, out=out, reporter=SILENT)
        assert not (out / "study.json").exists()


def faults(monkeypatch: pytest.MonkeyPatch, **errors: Exception) -> list[str]:
    """Trials of a method raise an error; the others end at once. Returns those that were begun."""
    begun: list[str] = []

    def train(config: Any, **_: Any) -> Path:
        begun.append(f"{config.method}-{config.seed}")
        if config.method in errors:
            raise errors[config.method]
        config.out.mkdir(parents=True)
        document = {"metric": "accuracy", "metrics": {"dev": {"accuracy": 0.5}, "train": {}}}
        (config.out / "result.json").write_text(json.dumps(document))
        return Path(config.out)

    monkeypatch.setattr(work, "train", train)
    return begun


def test_a_failed_trial_stops_no_other_and_is_tried_again(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {**spec, "methods": ["base", "ls", "tf-reg"]}
    errors = {"ls": RuntimeError("out of luck"), "tf-reg": Diverged("diverged")}
    faults(monkeypatch, **errors)
    study = logitcache.run_study(spec, out=tmp_path / "s", reporter=SILENT)
    counts = {state: len(study.with_state(state)) for state in State}
    assert counts == {State.DONE: 2, State.FAILED: 2, State.DIVERGED: 2, State.PENDING: 0}
    error = study.with_state(State.FAILED)[0].end.error
    assert error is not None
    assert (error["kind"], error["message"]) == ("RuntimeError", "out of luck")
    begun = faults(monkeypatch)
    logitcache.run_study(spec, out=tmp_path / "s", reporter=SILENT)
    assert begun == ["ls-0", "ls-1"]  # what has diverged would do so again


def test_a_failed_study_ends_with_6_and_says_why(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults(monkeypatch, base=SpecError("no luck", where="here"))
    path = tmp_path / "spec.yaml"
    path.write_text(json.dumps({**spec, "methods": ["base", "ls"]}))  # JSON is YAML
    words = ["study", "run", str(path), "--out", str(tmp_path / "s"), "--json"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 6
    assert json.loads(done.stdout)["trials"] == {
        "pending": 0,
        "done": 2,
        "failed": 2,
        "diverged": 0,
    }
    assert (
        "2 of 4 trials failed, the first is singles/tiny/base-seed0: here: no luck" in done.stderr
    )


def test_a_teacher_that_fails_fails_its_trials_alone(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dump(*_: Any, **options: Any) -> None:
        raise SpecError("its answers are not finite")

    monkeypatch.setattr(work, "dump", dump)
    out = tmp_path / "s"
    logitcache.run_study(spec, out=out, seeds=[0], methods=["base", "kd"], reporter=SILENT)
    base, kd = folders.read(out).trials
    assert (base.state, kd.state) == (State.DONE, State.FAILED)
    assert kd.end.error is not None
    assert "teacher singles-" in kd.end.error["message"]


def test_a_teacher_that_must_fail_is_refused_before_any_trial(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    teacher = {"teacher": "1x32", "signal": ["logits", "hidden:9"]}
    with pytest.raises(SpecError, match="--signal hidden:9: expected a layer from 0 to 1"):
        logitcache.run_study({**spec, "teacher": teacher}, out=tmp_path / "s", reporter=SILENT)
    assert not (tmp_path / "s" / "trials").exists()


def test_a_full_disk_ends_the_study(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = faults(monkeypatch, base=OutOfSpace("disk full"))
    with pytest.raises(OutOfSpace):
        logitcache.run_study(
            {**spec, "methods": ["base", "ls"]}, out=tmp_path / "s", reporter=SILENT
        )
    assert begun == ["base-0"]


def test_what_another_process_holds_is_left_to_it(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials that are locked are looked at again when all others have ended."""
    monkeypatch.setattr(work, "POLL", 0.0)
    begun = faults(monkeypatch)
    free = work.train
    held = {"base-0"}

    def train(config: Any, **options: Any) -> Path:
        if f"{config.method}-{config.seed}" in held:
            held.clear()
            raise Locked("another one")
        return free(config, **options)

    monkeypatch.setattr(work, "train", train)
    logitcache.run_study({**spec, "methods": ["base", "ls"]}, out=tmp_path / "s", reporter=SILENT)
    assert begun == ["ls-0", "base-1", "ls-1", "base-0"]


def test_an_interrupted_trial_goes_on(spec: dict[str, Any], tmp_path: Path) -> None:
    cut = {**spec, "methods": ["base"], "settings": {**spec["settings"], "epochs": 2}}

    def interrupt(done: int, of: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        logitcache.run_study(cut, out=tmp_path / "s", reporter=Steps(interrupt))
    assert [entry.state for entry in folders.read(tmp_path / "s").trials] == [State.PENDING] * 2
    study = logitcache.run_study(cut, out=tmp_path / "s", reporter=SILENT)
    assert len(study.with_state(State.DONE)) == 2


@pytest.mark.slow
def test_workers_share_the_trials(spec: dict[str, Any], tmp_path: Path) -> None:
    study = logitcache.run_study(spec, out=tmp_path / "s", workers=2, reporter=SILENT)
    assert len(study.with_state(State.DONE)) == 6
    assert study.teachers[0].figures["teacher_rows"] == 60


def test_the_options_of_a_teacher_that_failed_may_change(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    """The advice is followed: the option that its failure names, and the same command again."""
    out = tmp_path / "s"
    broken = {"teacher": spec["teacher"], "codec": "topk:k=1000"}
    cut: dict[str, Any] = {"out": out, "seeds": [0], "reporter": SILENT}
    cut["methods"] = ["base", "kd"]
    logitcache.run_study({**spec, "teacher": broken}, **cut)
    assert [entry.state for entry in folders.read(out).trials] == [State.DONE, State.FAILED]
    study = logitcache.run_study({**spec, "teacher": {**broken, "codec": "topk:k=2"}}, **cut)
    assert [entry.state for entry in study.trials] == [State.DONE] * 2
    (teacher,) = study.teachers
    assert (teacher.options["codec"], study.trials[1].planned.teacher) == ("topk:k=2", teacher.id)
    with pytest.raises(FingerprintMismatch, match=r"planned with teacher .* Choose another --out"):
        logitcache.run_study({**spec, "teacher": broken}, **cut)
