"""What a plan is of: what somebody asks for, a sample of the rows with both models, and the dumps there would be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from logitcache.bench.machine import peak_memory
from logitcache.bench.workload import Workload, load
from logitcache.config.bench import PlanConfig
from logitcache.config.teacher import DumpSettings, Finetune
from logitcache.data import source as sources
from logitcache.data.selection import held_out
from logitcache.data.source import UNLABELLED_SPLIT, Rows, Source
from logitcache.errors import SpecError
from logitcache.forecast.sizes import UnreadTeacher
from logitcache.records import Examples, Int64
from logitcache.reporter import SILENT, Reporter
from logitcache.teacher.plan import Planned, planned
from logitcache.teacher.report import DEV_ROWS

SAMPLE = 2048  # rows whose lengths stand for all


@dataclass(frozen=True)
class Rehearsed(Planned):
    """A dump whose rows were never texts: tokens are drawn, and the sample's stand for all."""

    drawn: Examples | None = None

    def prepare(self, start: int, stop: int, places: Int64 | None = None) -> Examples:
        assert self.drawn is not None
        rows = np.arange(start, stop) if places is None else start + places
        return self.drawn.select(rows % len(self.drawn))


@dataclass(frozen=True)
class Ready:
    """What is planned for: a sample of the rows with both models, the dumps there would be, and all rows' numbers."""

    work: Workload
    dumps: tuple[Planned, ...]  # of the train split; of unlabelled rows
    dev_rows: int  # that the dump's report shows the teacher
    taught_rows: int  # unlabelled ones, which methods with a teacher learn from too
    labelled_rows: int  # that students train on
    all_labelled_rows: int  # that a teacher is fine-tuned on
    lengths: tuple[Int64, ...]  # of each dump's rows, in the teacher's tokens: of a sample
    process: int  # bytes that the process held before
    finetune: Finetune | None  # how the teacher is trained first; None: it is not

    @property
    def dumped(self) -> int:
        return sum(len(each.rows) for each in self.dumps)

    def settings(self) -> Mapping[str, Any]:
        """How the first dump puts its rows to the teacher."""
        return self.dumps[0].plan.preparation


def make_ready(asked: PlanConfig, reporter: Reporter, *, only: int | None = None) -> Ready:
    """Load what is asked for, and lay out the dumps: of ``only`` so many train rows, evenly spread, where that is
    said.
    """
    process = peak_memory()
    work = load(asked.work, reporter)
    source = _source(asked, work)
    if only is not None:
        source = _few(source, only)
    settings = DumpSettings(asked.work.max_length, asked.batch_tokens, asked.codec, asked.shard_rows, store=asked.store)
    more = source.splits.get(UNLABELLED_SPLIT)
    splits = [asked.split, *([UNLABELLED_SPLIT] if asked.split == "train" and more is not None else [])]
    dumps = tuple(_planned(work, source, split, settings) for split in splits)
    labelled = int((source.split("train").label >= 0).sum())
    bare = len(source.split("train")) - labelled + (0 if more is None else len(more))
    return Ready(
        work,
        dumps,
        dev_rows=_dev_rows(asked, source),
        taught_rows=bare,
        all_labelled_rows=labelled,
        labelled_rows=labelled if asked.rows is None else min(labelled, asked.rows),
        lengths=tuple(_lengths(each) for each in dumps),
        process=process if work.device == "cpu" else 0,
        finetune=asked.finetune if is_trained_first(asked.finetune, work) else None,
    )


def _dev_rows(asked: PlanConfig, source: Source) -> int:
    """Dev rows that a dump's report asks the teacher about: none where dev is a part of the table that is dumped."""
    dev = source.splits.get("dev")
    if asked.split != "train" or dev is None or source.shares_table("dev"):
        return 0
    return min(DEV_ROWS, len(dev))


def _lengths(dump: Planned) -> Int64:
    """Tokens of some of its rows, evenly spread."""
    places = np.unique(np.linspace(0, len(dump.rows) - 1, SAMPLE).astype(np.int64))
    return dump.prepare(0, len(dump.rows), places).lengths()


def is_trained_first(finetune: Finetune, work: Workload) -> bool:
    """Whether a dump fine-tunes this teacher. Raises SpecError where it would have to, and must not."""
    if finetune.mode == "never" and work.random_head and not work.shape_only:
        advice = "Leave --finetune never out, or name a trained teacher."
        raise SpecError(f"--finetune never: expected a trained head, found none. {advice}", where=work.asked.teacher)
    return finetune.mode == "always" or (finetune.mode == "auto" and work.random_head)


def _source(asked: PlanConfig, work: Workload) -> Source:
    """All rows: those of the data, or as many as were drawn."""
    given = asked.work
    if given.tokens is None:
        folder, seed = given.workspace.data, given.data_seed
        source = sources.load(given.data, given.columns, folder, SILENT, unlabelled=asked.unlabelled, seed=seed)
        return held_out(source, SILENT)
    text = pa.array([""] * len(work.rows), pa.large_string())
    rows = Rows(text, None, work.rows.label, work.rows.row_id, work.rows.row_hash)
    return Source(work.source, {"train": rows}, work.task.label_names, work.num_labels)


def _few(source: Source, rows: int) -> Source:
    whole = source.split("train")
    some = whole.select(np.unique(np.linspace(0, len(whole) - 1, rows).astype(np.int64)))
    return source.with_tables({"train": replace(some, row_id=np.arange(len(some)))})


def _planned(work: Workload, source: Source, split: str, settings: DumpSettings) -> Planned:
    made = planned(UnreadTeacher(work.teacher), source, split, settings, probe=False)
    drawn = work.teacher_rows if work.shape_only else None
    return made if drawn is None else Rehearsed(**vars(made), drawn=drawn)
