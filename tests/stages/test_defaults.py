"""The folder of a run that nobody named: other settings are another folder, the same ones are the
same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logitcache.cache.cache import Cache
from logitcache.config.data import Columns
from logitcache.config.methods import METHODS
from logitcache.config.train import TrainConfig
from logitcache.config.workspace import Workspace
from logitcache.data.source import Source
from logitcache.stages.defaults import default_folder, run_folder
from logitcache.stages.train import train
from tests.runs import NoSteps, result

# An option of a training, and values of it besides its default.
CHANGES: dict[str, list[Any]] = {
    "epochs": [1.0, 2.5],
    "learning_rate": [1e-3, 2e-3],
    "batch_size": [8, 16],
    "accumulate": [2, 4],
    "weight_decay": [0.0, 0.1],
    "warmup": [0.0, 0.5],
    "max_length": [32, 64],
    "rows": [10, 20],
    "precision": ["bf16", "fp16"],
    "select": ["last"],
    "metric": ["macro_f1", "mcc"],
    "group_by_length": [True],
    "vocabulary": [200, 300],
    "init": ["pretrained"],
    "tokenizer": ["org/one", "org/two"],
    "columns": [Columns(text="sentence"), Columns(label="stars")],
    "data_seed": [1, 2],
}
DEFAULTS = {
    "learning_rate": 5e-4,
    "init": "random",
    "select": "best",
    "metric": "accuracy",
    "epochs": 5.0,
}
AGNOSTIC = {
    "overwrite": True,
    "report_to": "tensorboard",
    "checkpoint_steps": 3,
    "predict": True,
}
OPTIONS = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) for name, values in CHANGES.items()}
)


@pytest.fixture
def source(load_source: Callable[[Path], Source], singles_data: Path) -> Source:
    return load_source(singles_data)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(one=OPTIONS, other=OPTIONS, method=st.sampled_from(sorted(METHODS)), seed=st.integers(0, 3))
def test_two_runs_share_a_folder_if_and_only_if_their_settings_are_the_same(
    source: Source, one: dict[str, Any], other: dict[str, Any], method: str, seed: int
) -> None:
    config = TrainConfig(method=method, seed=seed, workspace=Workspace(Path("work")))
    folders = [run_folder(replace(config, **options), source) for options in (one, other)]
    assert (folders[0] == folders[1]) == (one == other)
    for options, folder in zip((one, other), folders, strict=True):
        assert (folder == Path(f"work/runs/singles/{method}-seed{seed}")) == (not options)
        fresh = {
            name: value
            for name, value in DEFAULTS.items()
            if name != "learning_rate" or "init" not in options
        }
        again = {**fresh, **AGNOSTIC, **options}
        assert run_folder(replace(config, **again), source) == folder  # a default may be said


@pytest.mark.parametrize(
    ("method", "name", "values"),
    [
        ("ls", "alpha", (None, 0.2, 0.3)),
        ("tf-reg", "a", (None, 0.9, 0.8)),
        ("kd", "temperature", (None, 2.0, 3.0)),
        ("kd", "tau_squared", (None, False)),
        ("self-kd", "folds", (None, 2, 3)),
    ],
)
def test_a_methods_own_numbers_tell_folders_apart(
    source: Source, method: str, name: str, values: Any
) -> None:
    config = TrainConfig(method=method, temperature=2.0 if name == "tau_squared" else None)
    folders = [run_folder(replace(config, **{name: value}), source) for value in values]
    assert len(set(folders)) == len(values)


def test_a_student_is_named_and_known_by_its_content(source: Source, tmp_path: Path) -> None:
    def folder(student: object) -> str:
        return run_folder(TrainConfig(student=str(student)), source).name

    assert folder("4x256") == "base-4x256-seed0"
    assert folder("org/small") == "base-org-small-seed0"
    for name in ("a", "b"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "config.json").write_text("{}")
    one, other = tmp_path / "a" / "model", tmp_path / "b" / "model"
    assert folder(one) == folder(other) == folder(os.path.relpath(one))
    assert folder(one).startswith("base-model-seed0-")
    (other / "config.json").write_text('{"layers": 2}')
    assert folder(one) != folder(other)


def test_another_alpha_is_another_run_beside_the_first(config: TrainConfig) -> None:
    quick = replace(config, method="ls", epochs=1.0)
    runs = [train(replace(quick, alpha=alpha)) for alpha in (0.1, 0.2)]
    assert [result(run)["alpha"] for run in runs] == [0.1, 0.2]
    assert runs[0].parent == runs[1].parent
    assert train(quick, reporter=NoSteps()) == runs[0]  # 0.1 is the default
    assert train(replace(quick, alpha=0.2), reporter=NoSteps()) == runs[1]
    assert runs[0].name == "ls-seed0"


def test_the_defaults_beside_a_first_run_of_other_settings_have_a_folder_too(
    source: Source, tmp_path: Path
) -> None:
    config = TrainConfig(method="base", workspace=Workspace(tmp_path))
    first, own = default_folder(replace(config, epochs=1.0), source)
    assert (first.name, own[:11]) == ("base-seed0", "base-seed0-")
    first.mkdir(parents=True)
    (first / "run.json").write_text(json.dumps({"settings": own}))
    assert default_folder(replace(config, epochs=1.0), source)[0] == first
    other = default_folder(config, source)[0]
    assert other.name == "base-seed0-default"
    other.mkdir()
    (first / "run.json").unlink()
    # it is gone on with, though the first place is free
    assert default_folder(config, source)[0] == other


def test_the_workspaces_own_cache_may_be_named(
    config: TrainConfig, finished: dict[str, Path], tmp_path: Path
) -> None:
    """Another cache than the one that would be found is another run."""
    own = replace(config, method="kd", epochs=1.0, workspace=Workspace(finished["workspace"]))
    named = train(replace(own, cache=finished["cache"], workspace=Workspace(tmp_path / "other")))
    assert result(named)["cache_fingerprint"] == Cache.open(finished["cache"]).fingerprint
    (tmp_path / "other" / "caches").mkdir()
    (tmp_path / "other" / "caches" / "same").symlink_to(finished["cache"])
    found = train(replace(own, workspace=Workspace(tmp_path / "other")))
    assert found != named
    again = replace(own, cache=finished["cache"], workspace=Workspace(tmp_path / "other"))
    assert train(again, reporter=NoSteps()) == found
