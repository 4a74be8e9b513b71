"""Which weights are kept, what is measured, and where a run goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from scipy.special import rel_entr, softmax

from logitcache.cache.cache import Cache
from logitcache.config.train import TrainConfig
from logitcache.data.tasks.classification import Classification
from logitcache.errors import FingerprintMismatch
from logitcache.stages.train import train
from logitcache.student import fit as module
from logitcache.student.callbacks import StepClock
from logitcache.student.fit import peak_memory
from logitcache.study.predictions import read_answers
from logitcache.study.results import read_result
from tests.shortly import fast

SCRIPT = (0.2, 0.9, 0.3)  # dev accuracy after each epoch


class Snapshots(StepClock):
    """Keeps the student's weights at the end of each epoch."""

    taken: list[dict[str, torch.Tensor]]

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.taken.append(
            {name: t.clone() for name, t in kwargs["model"].student.state_dict().items()}
        )


@pytest.mark.parametrize(
    ("select", "script", "kept"),
    [("best", SCRIPT, 1), ("best", (0.9, 0.9, 0.3), 1), ("last", SCRIPT, 2)],
    ids=["best", "later of equal ones", "last"],
)
def test_the_selected_epochs_weights_are_kept(
    config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    select: str,
    script: tuple[float, ...],
    kept: int,
) -> None:
    Snapshots.taken = []
    accuracies = iter(script)
    monkeypatch.setattr(module, "StepClock", Snapshots)
    monkeypatch.setattr(module, "_metrics", lambda task, *_: {"accuracy": next(accuracies, 0.0)})
    out = train(replace(config, select=select))
    saved = load_file(out / "model.safetensors")
    assert len(Snapshots.taken) == 3
    for epoch, weights in enumerate(Snapshots.taken):
        assert all(torch.equal(saved[name], weights[name]) for name in saved) == (epoch == kept)
    result = json.loads((out / "result.json").read_text())
    assert (result["select"], result["selected_epoch"]) == (select, kept + 1)
    history = [{"epoch": epoch, "accuracy": score} for epoch, score in enumerate(script, 1)]
    assert result["history"] == history


def test_the_best_weights_are_found_where_the_folder_now_is(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Broken off behind the last checkpoint, then moved: the best one is not where Trainer says it
    was.
    """

    def broken(_: Any) -> None:
        raise KeyboardInterrupt

    Snapshots.taken = []
    accuracies = iter(SCRIPT)
    monkeypatch.setattr(module, "StepClock", Snapshots)
    monkeypatch.setattr(module, "_metrics", lambda task, *_: {"accuracy": next(accuracies, 0.0)})
    with monkeypatch.context() as patched:
        patched.setattr(module.DistillTrainer, "_load_best_model", broken)
        with pytest.raises(KeyboardInterrupt):
            train(replace(config, out=tmp_path / "broken"))
    (tmp_path / "broken").rename(tmp_path / "moved")
    saved = load_file(train(replace(config, out=tmp_path / "moved")) / "model.safetensors")
    assert all(torch.equal(saved[name], Snapshots.taken[1][name]) for name in saved)


@pytest.mark.parametrize("metric", fast(["accuracy", "macro_f1", "f1", "mcc"], "macro_f1"))
def test_best_is_by_the_metric_that_is_named(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    values = iter(SCRIPT)
    names = ("accuracy", "macro_f1", "f1", "mcc")
    monkeypatch.setattr(
        module,
        "_metrics",
        lambda task, *_: {n: next(values, 0.0) if n == metric else 0.5 for n in names},
    )
    out = train(replace(config, metric=metric))
    assert json.loads((out / "result.json").read_text())["selected_epoch"] == 2


def test_without_a_dev_split_the_last_weights_are_kept(
    config: TrainConfig, singles_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text((singles_data / f"{split}.jsonl").read_text())
    result = json.loads((train(replace(config, data=str(folder))) / "result.json").read_text())
    assert (result["select"], result["selected_epoch"], set(result["metrics"])) == (
        "last",
        3,
        {"train", "test"},
    )


def test_rows_without_a_label_are_answered_and_not_scored(
    config: TrainConfig, singles_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.jsonl").write_text((singles_data / "train.jsonl").read_text())
    texts = ["never seen", "nor this one", "a third"]
    lines = [json.dumps({"text": text}) for text in texts]
    (folder / "test.jsonl").write_text("\n".join(lines))
    plain = replace(config, data=str(folder), epochs=0.2)
    asked = replace(plain, predict=True)
    out = train(plain)
    lacking = r"answers to the rows of test without a label, found .*--predict\. Give --overwrite"
    with pytest.raises(FingerprintMismatch, match=lacking):
        train(asked)
    assert train(replace(asked, overwrite=True)) == out
    assert train(asked) == train(plain) == out
    table = pq.read_table(out / "predictions.parquet").to_pandas()
    answered = table[table["split"] == "test"]
    assert (answered["row_id"].tolist(), answered["label"].tolist()) == ([0, 1, 2], [-1, -1, -1])
    assert "test" not in json.loads((out / "result.json").read_text())["metrics"]
    assert "test" not in read_result(out).splits
    row_id, _ = read_answers(out / "predictions.parquet", "test") or ([], [])
    assert list(row_id) == [0, 1, 2]


def test_part_of_an_epoch_is_counted_as_such(config: TrainConfig) -> None:
    result = json.loads(
        (train(replace(config, epochs=0.5, select="last")) / "result.json").read_text()
    )
    assert (result["steps"], result["rows_seen"], result["selected_epoch"]) == (
        4,
        32,
        pytest.approx(0.5, abs=0.05),
    )


def test_fidelity_is_measured_on_train_rows(finished: dict[str, Path]) -> None:
    table = pq.read_table(finished["kd"] / "predictions.parquet").to_pandas()
    train_rows = table[table.split == "train"]
    student = np.stack(train_rows.logits)
    teacher = Cache.open(finished["cache"]).take(train_rows.row_id.to_numpy()).logits
    found = json.loads((finished["kd"] / "result.json").read_text())["fidelity"]
    assert found["agreement"] == pytest.approx((student.argmax(1) == teacher.argmax(1)).mean())
    divergence = rel_entr(softmax(teacher, axis=1), softmax(student, axis=1)).sum(1).mean()
    assert found["kl"] == pytest.approx(divergence, abs=1e-5)


def test_the_train_rows_that_are_scored_have_labels(
    config: TrainConfig, unlabelled_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same few for every method, however many unlabelled rows stand behind them."""
    monkeypatch.setattr(Classification, "train_sample", 4)
    config = replace(config, unlabelled=str(unlabelled_data), rows=8, epochs=1.0)
    scored = []
    for method in ("base", "self-kd"):
        out = train(replace(config, method=method))
        table = pq.read_table(out / "predictions.parquet").to_pandas()
        rows = table[table.split == "train"]
        scored.append((rows.row_id.tolist(), rows.label.tolist()))
        assert "accuracy" in json.loads((out / "result.json").read_text())["metrics"]["train"]
    assert scored[0] == scored[1]
    assert len(scored[0][0]) == 4
    assert min(scored[0][1]) >= 0


def test_memory_is_that_of_this_process_in_bytes() -> None:
    assert 50e6 < peak_memory() < 1e12
