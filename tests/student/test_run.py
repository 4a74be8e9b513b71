"""A whole run: the same twice, the same after an interruption, and nothing of others lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors import SafetensorError

from logitcache.config.train import TrainConfig
from logitcache.data.collate import Collator
from logitcache.data.order import permutation
from logitcache.errors import FingerprintMismatch, LogitCacheError, OutOfSpace, SpecError
from logitcache.reporter import Notes
from logitcache.stages.train import train
from logitcache.student import fit
from tests.runs import Interrupt, NoSteps, Steps, place_of, result, same, stop_at, tree


@pytest.fixture
def kd(config: TrainConfig, finished: dict[str, Path]) -> TrainConfig:
    return replace(config, method="kd", cache=finished["cache"], out=config.workspace.folder / "kd")


def test_the_same_run_twice_is_the_same_bit_for_bit(
    kd: TrainConfig, whole: dict[str, Path], tmp_path: Path
) -> None:
    again = train(replace(kd, out=tmp_path / "again"))
    assert same(again, whole["best"])
    assert result(again)["metrics"] == result(whole["best"])["metrics"]
    assert not same(again, train(replace(kd, seed=1, out=tmp_path / "other")))


def test_a_run_that_is_there_is_returned_as_it_is(kd: TrainConfig) -> None:
    out, notes = train(kd), list[str]()
    before = tree(out)
    assert train(kd, reporter=NoSteps(notes.append)) == out
    assert tree(out) == before
    assert notes[-1] == f"{out}: this run is there already"


@pytest.fixture(scope="module")
def whole(
    quick: Callable[..., TrainConfig],
    finished: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """Unbroken runs, by what they select."""
    folder = tmp_path_factory.mktemp("whole")
    settings = replace(quick(folder), method="kd", cache=finished["cache"])
    return {s: train(replace(settings, select=s, out=folder / s)) for s in ("best", "last")}


@pytest.mark.parametrize(
    ("step", "select"),
    [
        (9, "best"),
        (20, "last"),
        *(
            pytest.param(step, select, marks=pytest.mark.slow)
            for step, select in ((3, "best"), (8, "last"), (20, "best"), (24, "best"), (24, "last"))
        ),
    ],
)
def test_a_broken_off_run_ends_bit_for_bit_as_an_unbroken_one(
    kd: TrainConfig, whole: dict[str, Path], step: int, select: str
) -> None:
    """Eight steps an epoch: before the first checkpoint, at its brink, behind it, in the last
    epoch, at the last step.
    """
    kd = replace(kd, select=select)
    assert kd.out is not None
    with pytest.raises(Interrupt):
        train(kd, reporter=stop_at(step))
    assert any((kd.out / "checkpoints").glob("checkpoint-*")) == (step > 8)
    assert not (kd.out / "result.json").exists()
    steps: list[int] = []
    train(kd, reporter=Steps(lambda done, of: steps.append(done)))
    assert steps == list(range((step - 1) // 8 * 8 + 1, 25))
    assert same(kd.out, whole[select])
    for key in ("metrics", "rows_seen", "steps", "selected_epoch", "fidelity"):
        assert result(kd.out)[key] == result(whole[select])[key]
    # the first half's counted too
    assert result(kd.out)["train_seconds"] > 20 * result(kd.out)["seconds_per_step"]
    assert not (kd.out / "checkpoints").exists()


@pytest.mark.parametrize("select", ["best", "last"])
def test_what_breaks_after_training_is_made_good(
    kd: TrainConfig,
    whole: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    select: str,
) -> None:
    """Also when the folder was moved meanwhile and the command runs elsewhere."""

    def broken(*_: Any) -> None:
        raise Interrupt

    kd = replace(kd, select=select)
    with monkeypatch.context() as patched:
        patched.chdir(tmp_path)
        patched.setattr(fit, "predict", broken)
        with pytest.raises(Interrupt):
            train(replace(kd, out=Path("broken")))
    os.rename(tmp_path / "broken", tmp_path / "moved")
    moved = train(replace(kd, out=tmp_path / "moved"))
    assert same(moved, whole[select])
    assert result(moved)["selected_epoch"] == result(whole[select])["selected_epoch"]


def test_a_resumed_epoch_goes_on_in_its_own_order(
    kd: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    class Spy(Collator):
        def __call__(self, places: Any) -> Any:
            batch = super().__call__(places)
            if self.teachers:  # the train rows'
                seen.extend(batch.row_id)
            return batch

    monkeypatch.setattr(fit, "Collator", Spy)
    with pytest.raises(Interrupt):
        train(kd, reporter=stop_at(11))
    seen.clear()
    train(kd)
    assert np.array_equal(seen, np.concatenate([permutation(60, 0, 1), permutation(60, 0, 2)]))


def test_rows_are_the_same_few_for_every_method_and_seed(
    kd: TrainConfig, config: TrainConfig, tmp_path: Path
) -> None:
    seen = []
    for change in (kd, replace(kd, seed=3), replace(config, method="base")):
        out = train(replace(change, rows=20, epochs=1.0, out=tmp_path / str(len(seen))))
        table = pq.read_table(out / "predictions.parquet").to_pandas()
        seen.append(table[table.split == "train"].row_id.tolist())
        assert result(out)["data"]["train_rows"] == result(out)["rows_seen"] == 20
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0]) == 20
    assert seen[0] != list(range(20))


def test_two_checkpoints_of_one_name_are_two_students(config: TrainConfig, tmp_path: Path) -> None:
    first = train(replace(config, epochs=1.0, out=tmp_path / "a" / "m"))
    second = train(replace(config, epochs=1.0, seed=1, out=tmp_path / "b" / "m"))
    student = replace(config, student=str(first), init="pretrained", epochs=1.0)
    out = train(student)
    assert train(student, reporter=NoSteps()) == out
    with pytest.raises(FingerprintMismatch, match="made with student = m@"):
        train(replace(student, student=str(second), out=out))


def test_overwrite_loses_the_run_and_nothing_else(config: TrainConfig) -> None:
    out = train(replace(config, epochs=1.0))
    (out / "thesis.txt").write_text("dear")
    assert train(replace(config, epochs=1.0, seed=3, out=out, overwrite=True)) == out
    assert (out / "thesis.txt").read_text() == "dear"
    assert result(out)["seed"] == 3


def test_a_run_json_of_another_kind_is_left_alone(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "run.json").write_text('{"x": 1}')
    for overwrite in (False, True):
        with pytest.raises(SpecError, match=r"found run\.json\. Choose another --out"):
            train(replace(config, out=tmp_path / "mine", overwrite=overwrite))
    assert (tmp_path / "mine" / "run.json").read_text() == '{"x": 1}'


@pytest.mark.parametrize(
    ("writer", "error"),
    [
        (
            "transformers.modeling_utils.safe_save_file",
            SafetensorError(
                "Error while serializing: I/O error: No space left on device (os error 28)"
            ),
        ),
        # as it comes from torch, which has several sentences for it
        (
            "torch.serialization._open_zipfile_writer",
            RuntimeError("basic_ios::clear: iostream error"),
        ),
        # as config.json is written: it names no file
        ("transformers.PreTrainedConfig.save_pretrained", OSError(errno.ENOSPC, "No space left")),
    ],
)
def test_a_full_disk_says_so(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, writer: str, error: Exception
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(writer, full)
    with pytest.raises(OutOfSpace, match=r"disk full: .* run the same command again"):
        train(replace(config, epochs=1.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"student": "no/such/checkpoint"},
        {"student": "2x193"},
        {"tokenizer": "no/such/tokenizer"},
        {"report_to": "paper"},
        {"seed": -1},
        {"learning_rate": float("nan")},
        {"accumulate": 3},
        {"metric": "bleu"},
        {"student": "2x32", "init": "pretrained"},
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    config: TrainConfig, wrong: dict[str, Any]
) -> None:
    out = place_of(config)
    with pytest.raises(SpecError):
        train(replace(config, **wrong))
    assert not out.exists()


def test_a_student_that_diverges_says_so(config: TrainConfig) -> None:
    for select in ("best", "last"):
        with pytest.raises(SpecError, match=r"diverged. Lower --learning-rate"):
            train(
                replace(
                    config, learning_rate=1e30, select=select, out=config.workspace.folder / select
                )
            )
        assert train(
            replace(config, epochs=1.0, select=select, out=config.workspace.folder / select)
        ).is_dir()


def test_logs_for_tensorboard_stay(config: TrainConfig) -> None:
    out = train(replace(config, epochs=1.0, report_to="tensorboard"))
    assert list((out / "runs").rglob("events.out.tfevents.*"))
    assert not (out / "checkpoints").exists()


def test_rows_without_a_label_are_not_evaluated_and_it_is_said(
    config: TrainConfig, write: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [
        {"text": f"the film was {word}", "label": i % 2}
        for i, word in enumerate(["dull", "warm"] * 8)
    ]
    write(tmp_path / "d" / "train.jsonl", rows)
    write(tmp_path / "d" / "dev.jsonl", [*rows[:4], {"text": "of it", "label": None}])
    write(tmp_path / "d" / "test.jsonl", [{"text": "very bright"}])
    notes: list[str] = []
    out = train(replace(config, data=str(tmp_path / "d"), epochs=1.0), reporter=Notes(notes.append))
    assert result(out)["data"]["eval_rows"] == {"dev": 4}
    assert any("dev: 1 of 5 rows have no label: not evaluated" in note for note in notes)
    assert any("test: 1 of 1 rows have no label: not evaluated" in note for note in notes)


def test_every_error_of_a_run_is_ours(config: TrainConfig) -> None:
    with pytest.raises(LogitCacheError, match="no such"):
        train(replace(config, data="nowhere.jsonl"))
