"""A result folder has one writer: it is locked, waited for or refused, and what is refused is not
touched.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from logitcache.config.train import TrainConfig
from logitcache.errors import FingerprintMismatch, FormatError, Locked, SpecError
from logitcache.models.tokenizer import tokenizer_fingerprint
from logitcache.reporter import SILENT, Notes
from logitcache.stages.folder import claim, is_done
from logitcache.stages.job import Job, resolve, with_tokenizer
from logitcache.stages.stage import held
from logitcache.stages.train import Training, train
from logitcache.store.lock import LOCK, Lock
from tests.fake_results import document
from tests.runs import Interrupt, NoSteps, place_of, result, same, stop_at, tree


def made(config: TrainConfig) -> Job:
    return with_tokenizer(resolve(config, None, SILENT), SILENT)


@pytest.fixture
def job(config: TrainConfig, tmp_path: Path) -> Job:
    return made(replace(config, out=tmp_path / "out"))


def run_of(job: Job) -> Training:
    return Training(job, None, "train")


def finish(job: Job) -> None:
    claim(job)
    (job.out / "result.json").write_text(
        json.dumps(document("base", 0, {"dev": {"accuracy": 0.5}}))
    )


def test_a_folder_that_somebody_writes_to_is_refused_by_name(job: Job) -> None:
    job.out.mkdir()
    lock = Lock(job.out)
    expected = rf"out: process {os.getpid()} on '.*' is writing this result folder\. Wait for it, end it, or choose"
    with pytest.raises(Locked, match=expected), held(run_of(job)):
        pass
    # with other settings it is somebody's all the same
    claim(replace(job, config=replace(job.config, seed=7)))
    with pytest.raises(Locked, match=expected), held(run_of(job)):
        pass
    lock.release()
    with pytest.raises(FingerprintMismatch, match="seed = 7, now it is 0"), held(run_of(job)):
        pass


def test_a_folder_is_held_until_the_end_and_left_as_it_was(job: Job) -> None:
    with held(run_of(job)) as folder:
        assert not folder.is_done
        assert (job.out / LOCK).exists()
        with pytest.raises(Locked), held(run_of(job)):
            pass
    assert not job.out.exists()
    with held(run_of(job)):
        claim(job)
    assert [path.name for path in job.out.iterdir()] == ["run.json"]


def test_a_run_that_is_there_is_said_even_while_somebody_holds_it(job: Job) -> None:
    finish(job)
    lock = Lock(job.out)
    with held(run_of(job)) as folder:
        assert folder.is_done
    overwriting = replace(job, config=replace(job.config, overwrite=True))
    with pytest.raises(Locked), held(run_of(overwriting)):
        pass
    lock.release()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_run_that_is_there_is_said_where_nothing_can_be_written(job: Job) -> None:
    finish(job)
    job.out.chmod(0o555)
    with held(run_of(job)) as folder:
        assert folder.is_done


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"method": "base", "seed": 0, "met'])
def test_a_result_that_is_not_whole_is_refused_with_what_to_do(job: Job, text: str) -> None:
    finish(job)
    (job.out / "result.json").write_text(text)
    with pytest.raises(
        FormatError, match=r"result\.json: expected .* Give --overwrite to train this student again"
    ):
        is_done(job)
    assert not is_done(replace(job, config=replace(job.config, overwrite=True)))


@pytest.mark.parametrize(
    ("name", "value"),
    [("metrics", {"dev": {"accuracy": "high"}}), ("metrics", 7), ("seed", None), ("data", []),
     ("peak_memory_bytes", "much"), ("history", {}), ("method", 3), ("seconds_per_step", True)],
)  # fmt: skip
def test_a_result_with_values_of_other_types_is_refused(job: Job, name: str, value: Any) -> None:
    finish(job)
    assert is_done(job)
    path = job.out / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(FormatError, match=rf"result\.json: .*`{name}.* Give --overwrite") as caught:
        is_done(job)
    assert caught.value.exit_code == 3


def test_what_is_refused_is_not_touched(job: Job) -> None:
    """Not even the lock that a killed run has left."""
    claim(replace(job, config=replace(job.config, seed=7)))
    (job.out / LOCK).write_text('{"pid": 1, "host": "another"}')
    before = tree(job.out)
    with pytest.raises(FingerprintMismatch), held(run_of(job)):
        pass
    assert tree(job.out) == before


def test_what_kills_have_left_is_nobodys(job: Job) -> None:
    job.out.mkdir()
    (job.out / LOCK).write_text("")
    (job.out / ".run.json.1.tmp").write_text("{")
    assert not is_done(job)
    with held(run_of(job)):
        claim(job)
    assert [path.name for path in job.out.iterdir()] == ["run.json"]
    (job.out / "run.json").rename(job.out / "thesis.tex")
    with pytest.raises(SpecError, match=r"found thesis\.tex"), held(run_of(job)):
        pass


def test_who_waits_looks_again(job: Job) -> None:
    """The run that it waited for is the one that it wanted."""
    holding, go, notes = threading.Event(), threading.Event(), list[str]()

    def first() -> None:
        with held(run_of(job)):
            holding.set()
            go.wait(60)
            finish(job)

    def note(text: str) -> None:
        notes.append(text)
        go.set()

    thread = threading.Thread(target=first)
    thread.start()
    holding.wait(60)
    with held(run_of(job), wait=True, reporter=Notes(note)) as folder:
        assert folder.is_done
    thread.join()
    assert len(notes) == 1
    assert f"process {os.getpid()} on" in notes[0]


def test_a_lock_in_a_checkpoints_folder_makes_it_no_other_student(
    config: TrainConfig, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    student = Path(shutil.copytree(checkpoint(), tmp_path / "student"))
    before = made(replace(config, student=str(student))).record()
    (student / LOCK).write_text("{}")
    assert made(replace(config, student=str(student))).record() == before


def test_nobody_waits_for_another_run(job: Job) -> None:
    claim(replace(job, config=replace(job.config, seed=7)))
    lock = Lock(job.out)
    with pytest.raises(FingerprintMismatch), held(run_of(job), wait=True):
        pass
    lock.release()


def test_a_run_records_what_its_tokenizer_does_and_goes_on_with_no_other(
    config: TrainConfig, tmp_path: Path
) -> None:
    config = replace(config, out=tmp_path / "out")
    with pytest.raises(Interrupt):
        train(config, reporter=stop_at(10))
    recorded = json.loads((tmp_path / "out" / "run.json").read_text())["tokenizer_fingerprint"]
    job = made(config)
    assert recorded == {
        **json.loads(json.dumps(tokenizer_fingerprint(job.tokenizer))),
        "max_length": 32,
    }
    (learnt,) = config.workspace.tokenizers.iterdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        text = (learnt / name).read_text()
        (learnt / name).write_text(
            text.replace('"lowercase": true', '"lowercase": false').replace(
                'lower_case": true', 'lower_case": false'
            )
        )
    before = tree(tmp_path / "out")
    with pytest.raises(
        FingerprintMismatch, match=r"made with tokenizer_fingerprint\.normalizer = "
    ):
        train(config, reporter=NoSteps())
    assert tree(tmp_path / "out") == before


@pytest.fixture
def stopped(config: TrainConfig, tmp_path: Path) -> TrainConfig:
    """A Self-KD that was broken off when its own training had begun."""
    config = replace(config, method="self-kd", epochs=2.0, out=tmp_path / "out")
    train(replace(config, method="base", out=None))
    with pytest.raises(Interrupt):
        train(config, reporter=stop_at(10))
    return config


def test_a_first_copy_that_was_replaced_is_noticed(stopped: TrainConfig) -> None:
    first = place_of(replace(stopped, method="base", out=None))
    recorded = json.loads((first / "run.json").read_text())
    other = train(replace(stopped, method="base", seed=5, out=first.with_name("other")))
    (other / "model.safetensors").replace(first / "model.safetensors")
    assert json.loads((first / "run.json").read_text()) == recorded
    with pytest.raises(
        FingerprintMismatch, match=r"out: this run was made with cache = \w+, now it is \w+"
    ):
        train(stopped, reporter=NoSteps())


def test_a_first_copy_that_is_the_same_is_gone_on_with(
    stopped: TrainConfig, tmp_path: Path
) -> None:
    """Wherever it lies: the base run's place has been taken by another meanwhile."""
    base = replace(stopped, method="base", out=None)
    train(replace(base, learning_rate=0.01, overwrite=True))
    out = train(stopped)
    alone = replace(stopped, out=None, workspace=type(stopped.workspace)(tmp_path / "alone"))
    assert same(out, train(alone))
    assert result(out)["cache_fingerprint"] == result(place_of(alone))["cache_fingerprint"]


def test_a_self_kd_in_the_base_runs_place_has_its_first_copy_elsewhere(
    config: TrainConfig, checkpoint: Callable[..., Path]
) -> None:
    config = replace(config, epochs=1.0)
    place = place_of(config)
    out = train(replace(config, method="self-kd", out=place))
    assert result(out)["method"] == "self-kd"
    assert list((config.workspace.folder / "self-kd").glob("copy-*/result.json"))


def test_a_default_folder_that_another_run_took_meanwhile_is_not_overwritten(
    config: TrainConfig,
) -> None:
    """Two first runs of different settings have chosen the plain folder before either began."""
    first = made(replace(config, overwrite=True))
    second = made(replace(config, overwrite=True, learning_rate=1e-3))
    assert first.out == second.out
    finish(first)
    with pytest.raises(Locked, match="Run the same command again"):
        is_done(second)
    again = made(replace(config, overwrite=True, learning_rate=1e-3))
    assert again.out != first.out
    assert not is_done(again)
    assert not is_done(made(replace(config, overwrite=True)))
