"""The inference stage over a workload's rows: past the teacher once, into a cache that its cached methods read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from logitcache.bench.workload import Workload
from logitcache.cache.cache import Cache
from logitcache.cache.layout import columns_of
from logitcache.config.teacher import DumpSettings
from logitcache.data.tasks.classification import Classification
from logitcache.store.columns import ROW
from logitcache.store.manifest import Plan
from logitcache.store.writer import CacheWriter
from logitcache.targets.dense import DenseCodec
from logitcache.teacher.panel import OneTeacher, answer


@dataclass(frozen=True)
class Answered:
    """A cache, and what it took to make."""

    cache: Cache
    rows: int
    seconds: float

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds


def answered(work: Workload, folder: Path, dtype: str = "float16") -> Answered:
    """Every row of a workload answered by its teacher, and written as a dump writes it: forward, encoding, checksums,
    fsynced files. Tokenising is not in it.
    """
    codec, rows = DenseCodec(work.num_labels, dtype), work.rows
    columns = columns_of(codec, ROW)
    names = work.task.label_names or tuple(f"LABEL_{i}" for i in range(work.num_labels))
    teacher, data = {"name": work.teacher.name, "label_names": list(names)}, {"split": "train"}
    plan = Plan(Classification.name, teacher, {}, data, {}, {"logits": codec.to_dict()}, columns, len(rows), len(rows))
    started = time.perf_counter()
    logits, _ = answer(OneTeacher(work.teacher), work.teacher_rows, DumpSettings().batch_tokens)
    with CacheWriter(folder, plan) as writer:
        writer.write(0, {"row_hash": rows.row_hash, "label": rows.label, **codec.encode(logits)}, {}, {})
        writer.seal()
    return Answered(Cache.open(folder), len(rows), time.perf_counter() - started)
