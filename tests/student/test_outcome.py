"""The result folder: what `transformers` loads, what `compare` reads, and nothing that names a
place.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, log_loss
from transformers import pipeline

import logitcache
from logitcache.cache.cache import Cache
from logitcache.config.train import TrainConfig
from logitcache.data.source import Source
from logitcache.models.quiet import quiet
from logitcache.stages.outcome import code_version
from logitcache.stages.train import train

KEYS = {
    *(
        "format",
        "method",
        "seed",
        "metric",
        "metrics",
        "label_names",
        "data",
        "config",
        "alpha",
        "a",
        "temperature",
    ),
    *(
        "budget",
        "soft_factor",
        "cache_fingerprint",
        "class_weight",
        "cache_rows",
        "caches",
        "rows_seen",
        "steps",
        "seconds_per_step",
    ),
    *(
        "seconds_per_step",
        "train_seconds",
        "peak_memory_bytes",
        "select",
        "selected_epoch",
        "fidelity",
        "history",
        "versions",
    ),
}
FILES = ["config.json", "model.safetensors", "predictions.parquet", "result.json", "run.json"]


def result(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "result.json").read_text()))


def predictions(folder: Path) -> dict[str, pd.DataFrame]:
    table = pq.read_table(folder / "predictions.parquet").to_pandas()
    return {str(split): rows for split, rows in table.groupby("split")}


@pytest.mark.parametrize("method", ["base", "kd"])
def test_every_key_is_there(finished: dict[str, Path], method: str) -> None:
    found = result(finished[method])
    assert set(found) == KEYS
    assert found["format"] == "logitcache-result/1"
    assert (found["method"], found["seed"], found["metric"]) == (method, 0, "accuracy")
    assert found["label_names"] == ["neg", "pos"]
    assert (found["steps"], found["rows_seen"]) == (24, 180)
    assert found["data"]["eval_rows"] == {"dev": 24, "test": 20}
    assert (found["data"]["train_rows"], found["data"]["unlabelled_rows"]) == (60, 0)
    assert set(found["versions"]) == {"logitcache", "torch", "transformers"}
    assert found["versions"]["logitcache"] == code_version(Path(logitcache.__file__).parent)
    assert 0 < found["seconds_per_step"] < found["train_seconds"]
    assert found["config"]["student"] == "1x32"


def test_the_version_tells_states_of_the_code_apart(tmp_path: Path) -> None:
    versions = set()
    for name, code in [("first", "x = 1"), ("second", "x = 2"), ("same", "x = 1")]:
        (tmp_path / name / "room").mkdir(parents=True)
        (tmp_path / name / "room" / "code.py").write_text(code)
        versions.add(code_version(tmp_path / name))
    assert len(versions) == 2
    assert all(version.startswith(f"{logitcache.__version__}+") for version in versions)


def test_the_teacher_is_named_where_there_was_one(finished: dict[str, Path]) -> None:
    base, kd, cache = (
        result(finished["base"]),
        result(finished["kd"]),
        Cache.open(finished["cache"]),
    )
    assert (base["cache_fingerprint"], base["cache_rows"], base["fidelity"]) == (None, None, None)
    assert (kd["cache_fingerprint"], kd["cache_rows"]) == (cache.fingerprint, len(cache))
    assert base["caches"] == []
    (told,) = kd["caches"]
    teacher = cache.manifest.plan.teacher
    assert (told["fingerprint"], told["rows"]) == (cache.fingerprint, len(cache))
    assert (told["teacher"], told["weights"]) == (teacher["name"], teacher["weights"])
    assert (base["alpha"], kd["alpha"], kd["temperature"], kd["soft_factor"]) == (
        0.0,
        0.5,
        1.0,
        1.0,
    )


@pytest.mark.parametrize("method", ["base", "kd"])
def test_no_file_names_a_place(
    finished: dict[str, Path], method: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = str(tmp_path_factory.getbasetemp()).encode()
    named = [p.name for p in finished[method].rglob("*") if p.is_file() and place in p.read_bytes()]
    assert named == []


def test_the_folder_holds_the_student_and_nothing_left_over(finished: dict[str, Path]) -> None:
    found = sorted(p.name for p in finished["kd"].iterdir())
    assert found == sorted([*FILES, "tokenizer.json", "tokenizer_config.json"])


def test_the_pipeline_gives_labels_by_name_as_predicted(
    finished: dict[str, Path], singles_data: Path, load_source: Callable[[Path], Source]
) -> None:
    with quiet():
        classify = pipeline("text-classification", model=str(finished["kd"]), device="cpu")
    rows = predictions(finished["kd"])["test"]
    texts = load_source(singles_data).split("test").text.to_pylist()
    answers = [classify(texts[row], truncation=True)[0] for row in rows.row_id]
    names = result(finished["kd"])["label_names"]
    logits = np.stack(rows.logits)
    assert [a["label"] for a in answers] == [names[i] for i in logits.argmax(1)]
    top = 1 / np.exp(logits - logits.max(1, keepdims=True)).sum(1)
    np.testing.assert_allclose([a["score"] for a in answers], top, atol=1e-5)


def test_scores_are_those_of_the_predictions(
    finished: dict[str, Path], singles_data: Path, load_source: Callable[[Path], Source]
) -> None:
    source = load_source(singles_data)
    found = result(finished["kd"])["metrics"]
    assert set(found) == {"train", "dev", "test"}
    for split, rows in predictions(finished["kd"]).items():
        logits = np.stack(rows.logits)
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        assert rows.row_id.tolist() == list(range(len(source.split(split))))
        assert np.array_equal(rows.label, source.split(split).label)
        assert found[split]["accuracy"] == pytest.approx(
            accuracy_score(rows.label, logits.argmax(1))
        )
        assert found[split]["nll"] == pytest.approx(log_loss(rows.label, p), abs=1e-5)


def test_predictions_have_fixed_types(finished: dict[str, Path]) -> None:
    schema = pq.read_schema(finished["kd"] / "predictions.parquet")
    kinds = [pa.string(), pa.int64(), pa.int64(), pa.int64(), pa.list_(pa.float32(), 2)]
    assert schema.names == ["split", "row_id", "position", "label", "logits"]
    assert [field.type for field in schema] == kinds


def test_a_student_can_teach_and_learn(finished: dict[str, Path], config: TrainConfig) -> None:
    """A result folder is a checkpoint: it is fine-tuned further, and labels without names stay
    numbers.
    """
    out = train(replace(config, student=str(finished["base"]), epochs=1.0))
    assert result(out)["config"]["init"] == "pretrained"
    assert result(out)["config"]["student"].startswith(f"{finished['base'].name}@")


def test_pairs_and_bare_numbers_train_too(
    config: TrainConfig, pairs_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "numbers"
    folder.mkdir()
    for file in pairs_data.iterdir():
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        numbered = [
            {**row, "label": ("contradiction", "entailment", "neutral").index(row["label"])}
            for row in rows
        ]
        (folder / file.name).write_text("".join(json.dumps(row) + "\n" for row in numbered))
    out = train(replace(config, data=str(folder), epochs=1.0))
    assert result(out)["label_names"] == ["0", "1", "2"]
    assert json.loads((out / "config.json").read_text())["id2label"] == {
        str(i): f"LABEL_{i}" for i in range(3)
    }
