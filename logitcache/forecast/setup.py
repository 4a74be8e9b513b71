"""What a forecast is made of: a sample of the rows with both models, and the plans of the dumps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from logitcache.bench.answering import plan_dump, tokens_as_source
from logitcache.bench.machine import peak_memory
from logitcache.bench.workload import Workload, load
from logitcache.config.bench import PlanConfig
from logitcache.config.teacher import Finetune
from logitcache.data.selection import held_out
from logitcache.data.source import UNLABELLED_SPLIT, Source
from logitcache.data.tasks.classification import DEV_ROWS
from logitcache.errors import SpecError
from logitcache.forecast.sizes import Density
from logitcache.records import Examples, Int64, evenly_spaced
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.rows import named_rows
from logitcache.targets.codec import Codec
from logitcache.targets.dense import DTYPES, DenseCodec
from logitcache.teacher.plan import Planned

SAMPLE = 2048  # rows whose lengths stand for all


@dataclass(frozen=True)
class Inputs:
    """A sample of the rows with both models, the plans of the dumps, and the rows of each kind."""

    work: Workload
    dumps: tuple[Planned, ...]  # of the dumped split, and of unlabelled rows
    dev_rows: int  # that the dump's report asks the teacher about
    unlabelled_rows: int  # unlabelled ones, which methods with a teacher learn from too
    labelled_rows: int  # that students train on
    all_labelled_rows: int  # that a teacher is fine-tuned on
    lengths: tuple[Int64, ...]  # of a sample of each dump's rows, in the teacher's tokens
    densities: tuple[Density, ...]  # of the same rows
    codecs: Mapping[str, Codec]  # those whose bytes are foretold, as they are typed
    process: int  # bytes that the process held before
    finetune: Finetune | None  # how the teacher is trained first; None: it is not
    once: Mapping[str, int] = field(default_factory=dict)  # bytes of the tensors of a codec
    notes: tuple[str, ...] = ()
    tokenise: float = 0.0  # seconds of making a row of tokens, where that was timed

    @property
    def dumped(self) -> int:
        """Rows of all dumps."""
        return sum(dump.plan.rows for dump in self.dumps)

    @property
    def positions(self) -> float:
        """Kept positions of all dumps."""
        densities = zip(self.dumps, self.densities, strict=True)
        return sum(dump.plan.rows * density.positions for dump, density in densities)

    @property
    def batch_tokens(self) -> int:
        """Token budget of a dump's batch."""
        return int(self.dumps[0].plan.preparation["batch_tokens"])


def load_inputs(config: PlanConfig, reporter: Reporter, *, only: int | None = None) -> Inputs:
    """Load models and rows and plan the dumps; with ``only``, of so many train rows, evenly spread."""
    process = peak_memory()
    work = load(config.work, reporter)
    source = _source(config, work)
    if only is not None:
        train = source.split("train")
        sample = train.select(evenly_spaced(len(train), only))
        source = source.with_tables({"train": replace(sample, row_id=np.arange(len(sample)))})
    unlabelled = source.splits.get(UNLABELLED_SPLIT)
    splits = [config.split]
    if config.split == "train" and unlabelled is not None:
        splits.append(UNLABELLED_SPLIT)
    tokens = work.teacher_rows if work.shape_only else None
    dumps = tuple(plan_dump(work, source, split, config.settings, tokens) for split in splits)
    samples = []
    for dump in dumps:
        rows = len(dump.rows)
        samples.append(dump.prepare(0, rows, evenly_spaced(rows, SAMPLE)))
    codec = dumps[0].codec
    codecs: dict[str, Codec] = {}
    if config.settings.keeps_logits:
        codecs = {dtype: DenseCodec(codec.width, dtype) for dtype in DTYPES}
    codecs[config.stored] = codec
    train = source.split("train")
    labelled = int((train.label >= 0).sum())
    unlabelled_rows = len(train) - labelled
    if unlabelled is not None:
        unlabelled_rows += len(unlabelled)
    return Inputs(
        work,
        dumps,
        dev_rows=_dev_rows(config, source),
        unlabelled_rows=unlabelled_rows,
        all_labelled_rows=labelled,
        labelled_rows=min(labelled, config.rows or labelled),
        lengths=tuple(rows.lengths() for rows in samples),
        densities=tuple(map(density_of, dumps, samples)),
        codecs=codecs,
        process=process if work.device == "cpu" else 0,
        finetune=config.finetune if is_trained_first(config.finetune, work) else None,
    )


def _dev_rows(config: PlanConfig, source: Source) -> int:
    """Dev rows that a dump's report asks about: none where dev is a part of the dumped table."""
    dev = source.splits.get("dev")
    if config.split != "train" or dev is None or source.shares_table("dev"):
        return 0
    return min(DEV_ROWS, len(dev))


def density_of(dump: Planned, sample: Examples) -> Density:
    """Kept positions and tokens of a row, of these rows."""
    rows = max(1, len(sample))
    return Density(len(dump.positions(sample).index) / rows, sample.tokens / rows)


def is_trained_first(finetune: Finetune, work: Workload) -> bool:
    """Whether a dump fine-tunes this teacher. Raises SpecError if it must but may not."""
    if finetune.mode == "never" and work.random_head and not work.shape_only:
        problem = "--finetune never: expected a trained head, found none"
        advice = "Leave --finetune never out, or name a trained teacher."
        raise SpecError(problem, advice=advice, where=work.config.teacher)
    return finetune.mode == "always" or (finetune.mode == "auto" and work.random_head)


def _source(config: PlanConfig, work: Workload) -> Source:
    """All rows: those of the data, or as many as were drawn."""
    if config.work.tokens is not None:
        return tokens_as_source(work)
    return held_out(named_rows(config.work, config.unlabelled, SILENT), SILENT)
