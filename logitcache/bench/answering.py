"""The dump of a workload's rows, by the inference stage that `logitcache dump` uses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from logitcache import identity
from logitcache.bench.turns import timed
from logitcache.bench.workload import Workload
from logitcache.cache.cache import Cache
from logitcache.config.teacher import DumpSettings
from logitcache.data.source import Rows, Source
from logitcache.records import Examples, Int64
from logitcache.store.writer import CacheWriter
from logitcache.teacher.panel import OneTeacher
from logitcache.teacher.plan import Planned, planned
from logitcache.teacher.summary import Summary
from logitcache.teacher.work import Work


class UnreadTeacher(OneTeacher):
    """A teacher without the digest of its weights, whose size in a plan is the same for all."""

    def identity(self) -> dict[str, Any]:
        return {"weights": identity.digest_json("weights"), **self.first.arithmetic()}

    def in_order(self, order: Int64 | None) -> UnreadTeacher:
        return UnreadTeacher(replace(self.first, order=order))


@dataclass(frozen=True)
class TokenisedPlan(Planned):
    """A dump of rows that are tokens already, repeated where the plan has more rows."""

    tokens: Examples | None = None

    def prepare(self, start: int, stop: int, index: Int64 | None = None) -> Examples:
        assert self.tokens is not None
        rows = np.arange(start, stop) if index is None else start + index
        return self.tokens.select(rows % len(self.tokens))


def plan_dump(
    work: Workload, source: Source, split: str, settings: DumpSettings, tokens: Examples | None
) -> Planned:
    """A dump of a split by the workload's teacher; with ``tokens`` no text is read."""
    plan = planned(UnreadTeacher(work.teacher), source, split, settings, probe=False)
    return plan if tokens is None else TokenisedPlan(**vars(plan), tokens=tokens)


def tokens_as_source(work: Workload) -> Source:
    """The workload's own rows as a source: their labels and hashes, and no texts."""
    texts = pa.array([""] * len(work.rows), pa.large_string())
    rows = Rows(texts, None, work.rows.label, work.rows.row_id, work.rows.row_hash)
    return Source(work.source, {"train": rows}, work.task.label_names, work.num_labels)


def write_cache(plan: Planned, folder: Path) -> float:
    """Seconds of a dump as its report counts them: forward passes, encoding, checksums, fsync."""
    with CacheWriter(folder, plan.plan, tensors=plan.kept_once()) as writer:
        summary = Summary.of_table(len(plan.rows), plan.task, plan.plan.data.get("split"))
        return timed(lambda: Work(writer, plan, summary).finish())


@dataclass(frozen=True)
class Answered:
    """A cache, and the seconds it took to make."""

    cache: Cache
    seconds: float


def answered(work: Workload, folder: Path, dtype: str = "float16") -> Answered:
    """A cache of every row of a workload. Its seconds do not include tokenising."""
    settings = DumpSettings(work.config.max_length, codec=dtype)
    plan = plan_dump(work, tokens_as_source(work), "train", settings, work.teacher_rows)
    seconds = write_cache(plan, folder)
    return Answered(Cache.open(folder), seconds)
