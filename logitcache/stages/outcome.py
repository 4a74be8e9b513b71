"""The files that `logitcache compare` reads: ``result.json``, ``predictions.parquet``."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import logitcache
from logitcache import identity
from logitcache.cache.cache import Cache
from logitcache.cache.joined import Joined
from logitcache.config.workspace import RESULT_FORMAT
from logitcache.data.class_weights import weights_by_name
from logitcache.data.tasks.classification import Classification
from logitcache.records import Block, rows_of
from logitcache.stages.job import Job
from logitcache.store.files import write_atomic
from logitcache.student.budget import BudgetClock
from logitcache.student.fit import Fitted

DIGITS = 8  # of the digest of the code


def result_dict(
    job: Job, fitted: Fitted, teacher: Joined | None, budget: BudgetClock | None = None
) -> dict[str, Any]:
    """The content of ``result.json``. Scores are fractions, times seconds, sizes bytes."""
    objective = job.objective
    task = job.task
    record = {**job.record(), "tokenizer_fingerprint": identity.digest_json(job.reads)[:12]}
    held_out = {split: len(p.row_id) for split, p in fitted.predictions.items() if split != "train"}
    labelled, unlabelled = job.row_counts()
    rows = {"train_rows": labelled, "unlabelled_rows": unlabelled, "eval_rows": held_out}
    label_names = None
    if not task.evidence_names:
        label_names = list(task.label_names or map(str, range(task.num_labels)))
    class_weight = None
    if job.class_weight is not None:
        class_weight = weights_by_name(job.class_weight, task)
    division = job.source.division
    shared = {split: asdict(texts) for split, texts in job.source.shared().items()}
    division_record = None if division is None else division.to_dict()
    return {
        "format": RESULT_FORMAT,
        "method": objective.method,
        "seed": record["seed"],
        "metric": record["metric"],
        "metrics": fitted.scores,
        "label_names": label_names,
        "data": {
            "source": job.source.name,
            "digest": job.source.digest(),
            **rows,
            "division": division_record,
            "shared_texts": shared,
        },
        "config": record,
        "alpha": objective.alpha,
        "a": objective.a,
        "temperature": objective.temperature,
        "soft_factor": objective.soft_factor,
        "class_weight": class_weight,
        **_answers(teacher),
        "budget": None if budget is None else budget.record(),
        "rows_seen": fitted.rows_seen,
        "steps": fitted.steps,
        "seconds_per_step": fitted.seconds_per_step,
        "train_seconds": fitted.train_seconds,
        "peak_memory_bytes": fitted.peak_memory_bytes,
        "select": record["select"],
        "selected_epoch": fitted.epoch,
        "history": fitted.history,
        "fidelity": None if fitted.fidelity is None else asdict(fitted.fidelity),
        "versions": {
            "logitcache": code_version(Path(logitcache.__file__).parent),
            "torch": _installed("torch"),
            "transformers": _installed("transformers"),
        },
    }


@cache
def _installed(package: str) -> str:
    return version(package)


@cache
def code_version(package: Path) -> str:
    """The release, and a digest of the source files, which tells apart states of one release."""
    sources = []
    for path in sorted(package.rglob("*.py")):
        sources.append([path.relative_to(package).as_posix(), identity.digest_file(path)])
    return f"{logitcache.__version__}+{identity.digest_json(sources)[:DIGITS]}"


def _answers(teacher: Joined | None) -> dict[str, Any]:
    """What the student has learnt from."""
    if teacher is None:
        return {"cache_fingerprint": None, "cache_rows": None, "caches": []}
    return {
        "cache_fingerprint": teacher.fingerprint,
        "cache_rows": len(teacher),
        "caches": list(map(_cache, teacher.caches)),
    }


def _cache(cache: Cache) -> dict[str, Any]:
    teacher = cache.manifest.plan.teacher
    return {
        "fingerprint": cache.fingerprint,
        "rows": len(cache),
        "teacher": teacher.get("name"),
        "weights": teacher.get("weights"),
    }


def write_predictions(
    path: Path,
    predictions: dict[str, Block],
    unscored: dict[str, Block],
    task: Classification,
) -> None:
    """One row per position that was evaluated, or answered only: split, row_id, position, label,
    and logits[K] or columns of the task's own (``recorded_names``). Nothing is written where
    nothing was answered.
    """
    blocks = [*predictions.items(), *unscored.items()]
    tables = [_table(split, task.recorded(block), task.recorded_names) for split, block in blocks]
    if not tables:
        return
    sink = pa.BufferOutputStream()
    pq.write_table(pa.concat_tables(tables), sink, write_page_checksum=True)
    write_atomic(path, memoryview(sink.getvalue()))


def _table(split: str, prediction: Block, own_columns: tuple[str, ...]) -> pa.Table:
    answers = prediction.answers
    values = np.ascontiguousarray(answers.logits, np.float32)
    table = {
        "split": pa.array([split] * len(values)),
        "row_id": prediction.row_id[rows_of(answers.indptr)],
        "position": answers.index,
        "label": prediction.label,
    }
    for column, name in enumerate(own_columns):
        table[name] = pa.array(values[:, column])
    if not own_columns:
        flat = pa.array(values.reshape(-1))
        table["logits"] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.table(table)
