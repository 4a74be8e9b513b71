"""What the forecast of a language model is made of: some of the documents made into rows, both
models, and the plans of the dumps with as many rows as all documents give.

Documents are tokenised up to :data:`SAMPLE_BYTES` of text. How many rows the others give follows
from their bytes (packed), or from their number (one document a row).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from logitcache.bench.answering import UnreadTeacher
from logitcache.bench.machine import peak_memory
from logitcache.bench.workload import Workload, check_length
from logitcache.config.bench import PlanConfig
from logitcache.config.teacher import DumpSettings
from logitcache.data.preprocess import packing
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.selection import held_out
from logitcache.data.source import Rows, Source
from logitcache.data.spool import numpy_of
from logitcache.forecast.announced import Announced, announced
from logitcache.forecast.language_models import Models, load_models
from logitcache.forecast.setup import Inputs, density_of, is_trained_first
from logitcache.forecast.sizes import Density, stored_as
from logitcache.models.load import check_device
from logitcache.models.quiet import quiet
from logitcache.records import LOGITS, Ragged, evenly_spaced
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.rows import named_rows
from logitcache.store.manifest import Plan
from logitcache.targets.codec import Codec
from logitcache.teacher.dump_job import checked_shard_rows
from logitcache.teacher.plan import DRAWING, Planned, check_draws, planned

SAMPLE_BYTES = 2_000_000  # of the text of a split that is tokenised
DRAWN_ROWS = 256  # rows of random tokens that stand for all


@dataclass(frozen=True)
class SampledRows:
    """Rows of tokens of some documents. ``rows``: the full data's estimated rows, by split."""

    source: Source
    rows: Mapping[str, int]
    seconds: float  # of making one row


def load_language(config: PlanConfig, reporter: Reporter) -> Inputs:
    """Load models and rows, and plan the dumps. A dump of ``train`` also dumps the other splits, so
    all are planned. Raises SpecError.
    """
    process = peak_memory()
    device = str(check_device(config.work.device))
    documents = None
    if config.work.tokens is None:
        documents = held_out(named_rows(config.work, None, reporter), reporter)
    with quiet():
        models = load_models(config, documents, device, reporter)
    settings = config.settings
    if documents is None:
        sampled = _drawn(config, models)
    else:
        sampled = _sampled(documents, models, settings)
    work = _workload(config, sampled.source, models, device)
    if config.calibrate and not models.random_head:
        reporter.note("calibrating: the teacher's answers to a few rows")
    codecs = announced(config, models, sampled.source)
    dumps = []
    densities = []
    lengths = []
    for split in _splits(config, sampled.source):
        dump = _planned(models, sampled, split, settings, codecs.codecs[config.stored])
        sample = prepare(models.tokenizer, dump.rows, dump.plan.preparation["max_length"])
        density = density_of(dump, sample)
        plan = _sharded(dump, density, codecs, config)
        dumps.append(replace(dump, plan=plan))
        densities.append(density)
        lengths.append(sample.lengths())
    train = sampled.rows["train"] // sampled.source.views
    return Inputs(
        work,
        tuple(dumps),
        dev_rows=0,
        unlabelled_rows=0,
        all_labelled_rows=train,
        labelled_rows=min(train, config.rows or train),
        lengths=tuple(lengths),
        densities=tuple(densities),
        codecs=codecs.codecs,
        process=process if device == "cpu" else 0,
        finetune=config.finetune if is_trained_first(config.finetune, work) else None,
        once=codecs.once,
        notes=codecs.notes,
        tokenise=sampled.seconds,
    )


def _sampled(documents: Source, models: Models, settings: DumpSettings) -> SampledRows:
    """Rows of some documents of each split, and how many rows all of them give."""
    shares = {}
    tables = {}
    for split, rows in documents.splits.items():
        if not len(rows):
            continue
        sizes = numpy_of(pc.binary_length(rows.text)).astype(np.int64)
        if rows.text_pair is not None:
            sizes = sizes + numpy_of(pc.binary_length(rows.text_pair))
        sizes = sizes
        share = min(1.0, SAMPLE_BYTES / max(1, sizes.sum()))
        count = max(1, int(len(rows) * share))
        index = evenly_spaced(len(rows), count)
        tables[split] = rows.select(index)
        is_packed = settings.sequences.recipe().pack
        shares[split] = len(index) / len(rows)
        if is_packed:
            shares[split] = sizes[index].sum() / sizes.sum()
    started = time.perf_counter()
    sample_rows = models.teacher.as_rows(documents.with_tables(tables), settings, SILENT)
    made_rows = sum(map(len, sample_rows.splits.values()))
    seconds = (time.perf_counter() - started) / max(1, made_rows)
    counts = {}
    for split, rows in sample_rows.splits.items():
        rows_of_all = round(len(rows) / sample_rows.views / shares[split])
        counts[split] = rows_of_all * sample_rows.views
    return SampledRows(sample_rows, counts, seconds)


def _drawn(config: PlanConfig, models: Models) -> SampledRows:
    """Rows of random tokens, all of one length."""
    work = config.work
    assert work.tokens is not None
    recipe = config.sequences.recipe()
    planned_rows = (work.rows or 64 * work.batch_size) * recipe.views
    rows = min(planned_rows, max(DRAWN_ROWS, work.batch_size) * recipe.views)
    draw = np.random.default_rng(work.seed)
    indptr = np.arange(rows + 1) * work.tokens
    ids = draw.integers(0, models.width, indptr[-1]).astype(np.int32)
    if models.kind.views_are_draws:
        labels = np.roll(ids, -1)
        labels[indptr[1:] - 1] = packing.NO_LABEL
    else:
        is_hidden = draw.random(len(ids)) < recipe.mask_rate
        labels = np.where(is_hidden, ids, packing.NO_LABEL).astype(np.int32)
    tokens = {"input_ids": Ragged(ids, indptr), "labels": Ragged(labels, indptr)}
    table = Rows(
        text=pa.array([""] * rows, pa.large_string()),
        text_pair=None,
        label=np.zeros(rows, np.int64),
        row_id=np.arange(rows),
        row_hash=packing.token_hashes(tokens),
        tokens=tokens,
    )
    source = Source(
        f"{work.tokens} tokens",
        {"train": table},
        None,
        models.width,
        task=models.kind.name,
        documents="0" * 32,
        views=recipe.views,
    )
    return SampledRows(source, {"train": planned_rows}, 0.0)


def _splits(config: PlanConfig, source: Source) -> list[str]:
    """Those that a dump writes: students are scored on the others too."""
    source.split(config.split)
    return list(source.splits) if config.split == "train" else [config.split]


def _workload(config: PlanConfig, source: Source, models: Models, device: str) -> Workload:
    train = source.split("train")
    longest = int(train.tokens["labels"].lengths().max(initial=1))
    flag = "--seq-len" if config.work.tokens is None else "--tokens"
    check_length(longest, models.student, models.teacher.model, models.tokenizer, flag)
    rows = replace(prepare(models.tokenizer, train, longest), views=source.views)
    return Workload(
        config=config.work,
        device=device,
        student=models.student,
        teacher=models.teacher,
        tokenizer=models.tokenizer,
        task=models.task,
        rows=rows,
        teacher_rows=rows,
        train_rows=len(train) // source.views,
        source=source.name,
        random_head=models.random_head,
    )


def _planned(
    models: Models, sampled: SampledRows, split: str, settings: DumpSettings, codec: Codec
) -> Planned:
    """The dump of a split, with all of its rows in the plan. If the codec draws
    nothing, it is planned without logits, so that the tensors which a codec stores once are not
    computed; :func:`_sharded` puts the codec in afterwards.
    """
    check_draws(settings.sequences.recipe().views, codec, models.kind)
    if not isinstance(codec, DRAWING):
        signals = tuple(signal for signal in settings.signals if signal != LOGITS)
        settings = replace(settings, codec=DumpSettings.codec, signals=signals)
    teacher = UnreadTeacher(models.teacher)
    dump = planned(teacher, sampled.source, split, settings, probe=False, codecs=[codec])
    rows = sampled.rows[split]
    data = {**dump.plan.data, "rows": rows}
    return replace(dump, plan=replace(dump.plan, rows=rows, data=data))


def _sharded(dump: Planned, density: Density, codecs: Announced, config: PlanConfig) -> Plan:
    """The plan with the codec that was asked for, and shards of its size."""
    plan = stored_as(dump.plan, codecs.codecs[config.stored], dump.task.level)
    tokens = int(np.ceil(density.tokens))
    teacher = dump.panel.first
    count = checked_shard_rows(
        config.shard_rows,
        plan.rows,
        plan.columns,
        teacher.parameters,
        int(plan.preparation["max_length"]),
        tokens,
        tokens,
    )
    return replace(plan, shard_rows=count)
