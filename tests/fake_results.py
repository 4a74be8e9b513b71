"""Result folders as `logitcache train` writes them, without a student: tests name the answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from logitcache.data.tasks.classification import score
from logitcache.identity import digest_json


def gold(rows: int = 200, classes: int = 4) -> np.ndarray:
    """Labels, i64[rows]: the same for the same sizes."""
    return np.random.default_rng(7).integers(classes, size=rows)


def answers(labels: np.ndarray, accuracy: float, seed: int, classes: int = 4) -> np.ndarray:
    """Logits, f32[rows, classes], of a student that is right on about this share of rows."""
    generator = np.random.default_rng([seed, round(1e6 * accuracy)])
    logits = generator.normal(size=(len(labels), classes)).astype(np.float32)
    right = generator.random(len(labels)) < accuracy
    logits[right, labels[right]] = logits[right].max(axis=1) + 1
    return logits


def right_on(rows: int, of: int = 200) -> dict[str, Any]:
    """A test split of which exactly so many rows are answered rightly."""
    labels = gold(of)
    answered = np.where(np.arange(of) < rows, labels, (labels + 1) % 4)
    return {"test": (labels, 3 * np.eye(4, dtype=np.float32)[answered])}


def document(
    method: str, seed: int, metrics: dict[str, dict[str, float]], **changes: Any
) -> dict[str, Any]:
    """A result.json of 3,000 training rows and 5 epochs; ``changes`` replace its keys."""
    taught = method in ("kd", "self-kd")
    whole = {
        "format": "logitcache-result/1",
        "method": method,
        "seed": seed,
        "metric": "accuracy",
        "metrics": metrics,
        "label_names": ["a", "b", "c", "d"],
        "data": {
            "source": "fake",
            "digest": "d" * 32,
            "train_rows": 3000,
            "unlabelled_rows": 0,
            "eval_rows": {},
        },
        "config": {
            **{
                "method": method,
                "seed": seed,
                "out": f"{method}-{seed}",
                "epochs": 5,
                "learning_rate": 5e-4,
            },
            **{
                "unlabelled": None,
                "without_fold": None,
                "folds": None,
                "teachers": None,
                "revision": None,
            },
        },
        "alpha": 0.5 if taught else None,
        "a": None,
        "temperature": 1.0 if taught else None,
        "soft_factor": 1.0 if taught else None,
        "cache_fingerprint": {"kd": "c" * 32, "self-kd": f"{seed:032x}"}.get(method),
        "cache_rows": 3000 if taught else None,
        "rows_seen": 15000,
        "seconds_per_step": 0.01,
    }
    return {**whole, **changes}


def with_unlabelled(
    method: str, unlabelled: int, *, labelled: int = 1000, epochs: int = 5, **config: Any
) -> dict:
    """Changes to a document: a method that learns from labelled rows and from so many unlabelled
    ones beside them, as `logitcache train --unlabelled` records it. ``config`` replaces keys of its
    config.
    """
    cache = (labelled + unlabelled, {**config, "unlabelled_rows": unlabelled})
    taught = (
        {"cache_fingerprint": digest_json(cache), "cache_rows": cache[0]} if method == "kd" else {}
    )
    more = digest_json(unlabelled) if unlabelled else None
    return {
        "data": {
            "source": "fake",
            "digest": "d" * 32,
            "train_rows": labelled,
            "unlabelled_rows": unlabelled,
        },
        "config": {
            **document(method, 0, {})["config"],
            "epochs": epochs,
            "unlabelled": more,
            **config,
        },
        "rows_seen": epochs * (labelled + unlabelled),
        **taught,
    }


def write_result(
    folder: Path,
    method: str = "base",
    seed: int = 0,
    *,
    splits: dict[str, tuple[np.ndarray, np.ndarray]] | None = None,
    accuracy: float = 0.6,
    **changes: Any,
) -> Path:
    """Write one folder and return it. ``splits`` gives (labels, logits) of each; by default 200
    rows of test.
    """
    splits = splits or {"test": (gold(), answers(gold(), accuracy, seed))}
    scores = {name: score(logits, labels) for name, (labels, logits) in splits.items()}
    metrics = changes.pop("metrics", scores)
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(document(method, seed, metrics, **changes)))
    tables = [
        pa.table(
            {
                "split": [name] * len(labels),
                "row_id": np.arange(len(labels)),
                "label": labels,
                "logits": pa.FixedSizeListArray.from_arrays(
                    pa.array(logits.ravel()), logits.shape[1]
                ),
            }
        )
        for name, (labels, logits) in splits.items()
    ]
    pq.write_table(pa.concat_tables(tables), folder / "predictions.parquet")
    return folder
