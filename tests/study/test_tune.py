"""A search: what is drawn, what is told again, and what of it becomes a spec."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import logitcache
from logitcache.config.option import build
from logitcache.config.tune import TuneConfig
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.reporter import SILENT, Meter
from logitcache.study import tune as tuning
from logitcache.study.plan import load_spec, plan
from logitcache.study.search import Sample, Search, State, read_sample, samples_of, write_sample
from logitcache.study.spec import parse
from tests.study.test_study_run import spec_of

SPACE = {"learning_rate": [1e-3, 2e-3], "alpha": [0.5, 0.9], "batch_size": [30]}


def config(**options: Any) -> TuneConfig:
    return build(TuneConfig, options)


def spec(**changes: Any) -> dict[str, Any]:
    return {**spec_of(Path("rows"), Path("teacher")), **changes}


@given(st.integers(1, 30), st.integers(0, 5))
def test_samples_are_drawn_from_the_space_each_another(samples: int, seed: int) -> None:
    drawn = config(samples=samples, seed=seed, space={"alpha": [0.1, 0.2, 0.3], "a": [1, 2, 3, 4]})
    drawn_of = tuning.samples_of(load_spec(spec()), drawn)[0].methods
    values = [(entry["alpha"], entry["a"]) for entry in drawn_of.values()]
    assert len(set(values)) == len(values) == min(samples, 12)
    again = tuning.samples_of(load_spec(spec()), drawn)[0].methods
    assert again == drawn_of
    assert next(iter(drawn_of)) == "kd-01"


@pytest.mark.parametrize(("method", "bases"), [("kd", ["base"]), ("ls", ["base"]), ("base", [])])
def test_a_method_that_is_chosen_is_compared_with_the_base_of_the_spec(
    method: str, bases: list[str]
) -> None:
    several = load_spec(spec(methods=["base", "ls", "kd"]))
    search, resolved = samples_of(several, config(methods=method, samples=2))
    assert list(search.methods) == [f"{method}-01", f"{method}-02"]
    assert list(resolved.methods) == bases
    assert resolved.baseline == "base"


def test_numbers_of_a_command_line_are_numbers() -> None:
    drawn = config(space="alpha=0.5|9e-1,batch_size=8,init=random")
    search, _ = samples_of(load_spec(spec()), drawn)
    values = [(entry["alpha"], entry["batch_size"]) for entry in search.methods.values()]
    assert values == [(0.5, 8), (0.9, 8)]


def test_the_space_of_the_paper_is_that_of_the_method() -> None:
    names = {
        "kd": {"batch_size", "learning_rate", "alpha", "temperature"},
        "ls": {"batch_size", "learning_rate", "alpha"},
        "base": {"batch_size", "learning_rate"},
    }
    names |= {"minilm": {"batch_size", "learning_rate"}}  # a sum of terms
    for method, expected in names.items():
        asked = spec(methods=["base", "ls", "kd", "minilm"])
        search, _ = samples_of(load_spec(asked), config(methods=method, samples=3))
        assert len(search.methods) == 3
        assert all(entry.keys() - {"method"} == expected for entry in search.methods.values())
        assert (search.settings["epochs"], search.seeds) == (20, (0,))


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"tasks": {"a": "x", "b": "y"}}, {}, r"one of the tasks, found a, b. Choose one with --t"),
        ({"methods": ["base", "ls"]}, {}, "one of the methods, found none. Choose one with --meth"),
        ({"students": ["1x32", "2x32"]}, {}, "one of the students, found 1x32, 2x32"),
        ({}, {"space": "alpha"}, r"NAME=VALUE\|VALUE, such as alpha=0.5\|0.9, found 'alpha'"),
        ({}, {"space": 3}, r"NAME=VALUE\|VALUE"),
        ({}, {"space": "alpha="}, "at least one value"),
        ({}, {"space": {"alhpa": [1]}}, "Did you mean alpha"),
        ({}, {"space": {"alpha": [2]}}, "alpha"),
        ({}, {"methods": "nosuch"}, r"--methods: expected a name of the spec, found 'nosuch'"),
        ({}, {"samples": 0}, "samples"),
        ({}, {"tasks": "none"}, "expected a name of the spec, found 'none'"),
    ],
)
def test_a_wrong_call_is_one_line(
    changes: dict[str, Any], options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        logitcache.tune(spec(**changes), out=tmp_path / "s", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "s").exists()


@given(st.lists(st.lists(st.floats(0, 1), max_size=4), min_size=1, max_size=8), st.booleans())
def test_the_best_are_those_with_the_best_epoch(scores: list[list[float]], falls: bool) -> None:
    samples = tuple(Sample(f"kd-{i}", {}, tuple(enumerate(of, 1))) for i, of in enumerate(scores))
    metric = "nll" if falls else "accuracy"
    search = Search(Path(), load_spec(spec()), metric, samples)
    best = [sample.best(metric) for sample in search.best(len(samples))]
    assert best == sorted((min(of) if falls else max(of) for of in scores if of), reverse=not falls)


@pytest.fixture
def searched(
    singles_data: Path, checkpoint: Callable[..., Path], tmp_path: Path
) -> tuple[dict[str, Any], Path]:
    asked = spec_of(singles_data, checkpoint(), methods=["base", "kd"])
    return asked, tmp_path / "search"


def in_this_process(
    study: Any, asked: Any, metric: str, stage: Meter, stop: dict[str, int] | None = None
) -> None:
    """Stands for Ray: the samples one after another, one of them stopped by nobody."""
    recorder = tuning._recorder(type("Ray", (), {"Callback": object}), study, metric, 2, stage)
    stage.start(len(study.trials))
    for name in study.spec.methods:
        tuning.run_sample(study.folder, name, metric, lambda epoch, score: None)
        recorder.on_trial_complete(0, [], type("Trial", (), {"config": {"name": name}}))


def test_a_search_goes_on_where_it_stopped_and_its_best_are_a_spec(
    searched: tuple[dict[str, Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, out = searched
    options: dict[str, Any] = {"out": out, "space": SPACE, "samples": 3, "epochs": 2}
    options |= {"best": 2, "reporter": SILENT}
    study = plan(samples_of(load_spec(asked), config(**_plain(options)))[0], out.resolve())

    def interrupted(study: Any, *_: Any) -> None:
        def stop(epoch: float, score: float) -> None:
            raise KeyboardInterrupt

        tuning.run_sample(study.folder, "kd-01", "accuracy", stop)

    monkeypatch.setattr(tuning, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        logitcache.tune(asked, **options)
    told: list[tuple[float, float]] = []
    before = read_sample(study.folder, "kd-01", {})
    assert [epoch for epoch, _ in before.scores] == [1]
    tuning.run_sample(study.folder, "kd-01", "accuracy", lambda *pair: told.append(pair))
    assert [epoch for epoch, _ in told] == [1, 2]
    assert told[0] == before.scores[0]
    monkeypatch.setattr(tuning, "_run", in_this_process)
    search = logitcache.tune(asked, **options)
    assert {sample.state for sample in search.samples} == {State.DONE}
    assert not (out / "trials").exists()
    monkeypatch.setattr(tuning, "_run", None)  # a finished search runs nothing
    again = logitcache.tune(asked, **options)
    assert again.samples == search.samples
    with pytest.raises(FingerprintMismatch, match="the search that was begun there"):
        logitcache.tune(asked, **{**options, "samples": 2})
    best = load_spec(out / "best.yaml")
    assert list(best.methods) == ["base", "kd-1", "kd-2"]
    assert (best.seeds, best.settings["epochs"], best.baseline) == ((0, 1), 1, "base")
    assert best.methods["kd-1"] == {**search.best(1)[0].values, "method": "kd"}
    trials = plan(best, out / "study").trials
    assert len(trials) == 6
    assert trials[-1].config.alpha in SPACE["alpha"]


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "reporter"}


def test_a_broken_record_is_named_and_may_be_removed(tmp_path: Path) -> None:
    write_sample(tmp_path, Sample("kd-01", {}, ((1.0, 0.5),)))
    path = tmp_path / "samples" / "kd-01.json"
    assert read_sample(tmp_path, "kd-01", {}).scores == ((1.0, 0.5),)
    path.write_text('{"scores": [1]}')
    with pytest.raises(logitcache.LogitCacheError, match="Remove this file"):
        read_sample(tmp_path, "kd-01", {})
    path.unlink()
    assert read_sample(tmp_path, "kd-01", {}).state is State.PENDING


@pytest.mark.timeout(600)
@pytest.mark.slow  # Ray starts, and a process that loads torch for each sample
@pytest.mark.filterwarnings("ignore")  # of Ray's own
def test_a_real_search_stops_the_worse_and_asks_the_teacher_once(
    searched: tuple[dict[str, Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    asked, out = searched
    lines: list[str] = []
    search = logitcache.tune(
        asked,
        out=out,
        space={"learning_rate": [1e-6, 2e-3], "alpha": [0.5, 0.9]},
        epochs=4,
        workers=1,
        notify=lines.append,
    )
    states = [sample.state for sample in search.samples]
    assert len(states) == 4
    assert set(states) <= {State.DONE, State.STOPPED}
    assert any("4 of 4: kd-" in line for line in lines)
    (teacher,) = out.glob("teachers/*.json")
    assert json.loads(teacher.read_text())["figures"]["teacher_rows"] == 60
    assert parse(load_spec(out / "best.yaml").to_dict(), "best").methods
    assert not (out / "ray").exists()
