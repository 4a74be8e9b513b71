"""Self-KD: its first copy, found or trained, and the answers of that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from logitcache.cache.cache import Cache
from logitcache.config.train import TrainConfig
from logitcache.config.workspace import Workspace
from logitcache.stages.train import train
from logitcache.teacher.model import load_teacher
from tests.runs import Interrupt, NoSteps, Steps, place_of, result, same, stop_at, tree


def self_cache(config: TrainConfig) -> Cache:
    """The one cache that a Self-KD run made of its first copy."""
    (folder,) = (config.workspace.folder / "self-kd").glob("cache-*")
    return Cache.open(folder)


def test_self_kd_learns_from_the_base_run_that_is_there(config: TrainConfig) -> None:
    config = replace(config, epochs=1.0)
    base = train(config)
    before = tree(base)
    out = train(replace(config, method="self-kd"))
    assert tree(base) == before
    cache = self_cache(config)
    assert cache.manifest.plan.teacher["weights"] == load_teacher(str(base)).weights_digest()
    assert result(out)["cache_fingerprint"] == cache.fingerprint
    assert result(out)["alpha"] == 0.5
    assert not same(base, out)
    everything = tree(config.workspace.folder)
    assert train(replace(config, method="self-kd"), reporter=NoSteps()) == out
    assert tree(config.workspace.folder) == everything


def test_self_kd_trains_its_first_copy_where_there_is_none(
    config: TrainConfig, tmp_path: Path
) -> None:
    config = replace(config, epochs=1.0, seed=2)
    train(replace(config, method="self-kd"))
    assert same(place_of(config), train(replace(config, out=tmp_path / "base")))


def test_self_kd_leaves_a_base_run_of_other_settings_alone(config: TrainConfig) -> None:
    base, config = train(replace(config, epochs=0.5)), replace(config, epochs=1.0)
    before = tree(base)
    out = train(replace(config, method="self-kd"))
    copy = place_of(config)
    assert tree(base) == before
    assert result(copy)["config"]["epochs"] == 1.0
    cache = self_cache(config)
    assert result(out)["cache_fingerprint"] == cache.fingerprint
    assert cache.manifest.plan.teacher["weights"] == load_teacher(str(copy)).weights_digest()


def test_self_kd_takes_a_cache_that_is_named(
    config: TrainConfig, finished: dict[str, Path]
) -> None:
    out = train(replace(config, method="self-kd", cache=finished["cache"], epochs=1.0))
    assert result(out)["cache_fingerprint"] == Cache.open(finished["cache"]).fingerprint
    assert not place_of(replace(config, epochs=1.0)).exists()


@pytest.mark.slow  # four trainings; a stage that is broken off: test_contract
def test_a_broken_off_self_kd_ends_as_an_unbroken_one(config: TrainConfig, tmp_path: Path) -> None:
    first = replace(config, method="self-kd")
    with pytest.raises(Interrupt):
        train(first, reporter=stop_at(12))  # the first copy's
    steps: list[int] = []

    def stop_later(done: int, of: int) -> None:
        if len(steps) == 30:
            raise Interrupt
        steps.append(done)

    with pytest.raises(Interrupt):
        train(first, reporter=Steps(stop_later))
    assert steps[:2] == [9, 10]
    assert same(train(first), train(replace(first, workspace=Workspace(tmp_path / "whole"))))
