"""The inference stage: every row of one split past the teacher once, into a cache.

Inside a shard the teacher sees rows in order of length, in batches of a token budget; they are stored in row order. A
writer thread encodes and writes one shard while the next is computed. What a shard holds depends on its rows and the
plan alone, so the same command goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from logitcache.cache import Cache
from logitcache.data.collate import pad
from logitcache.data.order import token_batches
from logitcache.data.prepare import Prepared, prepare, tokenizer_fingerprint
from logitcache.data.source import Notify, Rows, Source
from logitcache.data.task import Classification, match_labels, score
from logitcache.errors import SpecError
from logitcache.records import Float32
from logitcache.store.columns import Column
from logitcache.store.manifest import ROOT_COLUMNS, Plan
from logitcache.store.writer import CacheWriter
from logitcache.targets.dense import DenseCodec
from logitcache.teacher.model import TeacherModel, check_padding, quiet

Progress = Callable[[int, int], None]  # rows and tokens just done
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
MAX_SHARD_ROWS, MIN_SHARD_ROWS = 16384, 1024
SHARD_BYTES, SHARD_FLOPS = 64e6, 1e14
DEV_ROWS = 2000
MEMORISED = 0.05  # a gap between train and dev from which the report speaks of memorising
KNOWN_BY_HEART = 0.95  # accuracy on train over which, with such a gap, rows are memorised
ONE_HOT = 0.05  # share of the largest entropy under which answers are as good as labels


@dataclass(frozen=True)
class DumpSettings:
    """How rows are put to the teacher and how its answers are kept."""

    max_length: int = 128  # tokens; longer rows are cut
    batch_tokens: int = 4096  # padded tokens of one teacher batch
    codec: str = "float16"  # dtype of the stored logits
    shard_rows: int | None = None  # None: the smallest of 16,384 rows, 64 MB and 1e14 FLOPs


@dataclass(frozen=True)
class DumpReport:
    """What a dump did and what the teacher knows. Scores are fractions, entropy is in nats."""

    cache: Path
    rows: int
    positions: int
    teacher_rows: int  # rows that saw the teacher in this call
    bytes: int
    seconds: float  # of this call's teacher passes and writing
    rows_per_second: float
    tokens_per_second: float
    scores: dict[str, float]  # on what was dumped; empty without labels
    dev_scores: dict[str, float]  # empty without a dev split
    dev_rows: int
    entropy: float
    num_labels: int
    remarks: list[str] = field(default_factory=list)


def dump(
    teacher: TeacherModel,
    source: Source,
    split: str,
    folder: Path,
    settings: DumpSettings,
    *,
    overwrite: bool = False,
    notify: Notify = lambda _: None,
    progress: Progress = lambda rows, tokens: None,
) -> DumpReport:
    """Make (or finish) the cache of one split.

    Raises FingerprintMismatch for other labels or another plan, SpecError for rows or answers that cannot be used.
    """
    rows = source.split(split)
    task = Classification(source.num_labels or len(teacher.label_names), source.label_names)
    order, remark = match_labels(teacher.label_names, task, teacher.name)
    teacher = replace(teacher, order=None if (order == np.arange(len(order))).all() else order)
    names = task.label_names or tuple(teacher.label_names[i] for i in order)
    max_length = min(settings.max_length, teacher.max_length)
    codec = DenseCodec(task.num_labels, settings.codec)
    plan = _plan(teacher, names, source.name, split, rows, replace(settings, max_length=max_length), codec)
    check_padding(teacher, prepare(teacher.tokenizer, rows, max_length, 0, min(len(rows), 64)))
    writer = CacheWriter(folder, plan, overwrite=overwrite)
    todo = writer.missing
    started = time.perf_counter()
    try:
        tokens = _write_shards(writer, todo, teacher, rows, codec, progress)
    except SpecError:
        if not writer.receipts:  # a plan that no shard was made for would only refuse the mended teacher
            writer.forget()
        raise
    if todo or not writer.complete:
        writer.seal()
    seconds = time.perf_counter() - started
    asked = sum(end - start for i, (start, end) in enumerate(plan.shards()) if i in set(todo))
    report = _report(Cache.open(folder), teacher, source, split, max_length)
    if remark:
        report.remarks.insert(0, remark)
    notify(f"{folder}: {asked:,} of {len(rows):,} rows saw the teacher")
    rate = (asked / seconds, tokens / seconds) if asked else (0.0, 0.0)
    return replace(report, teacher_rows=asked, seconds=seconds, rows_per_second=rate[0], tokens_per_second=rate[1])


def _plan(
    teacher: TeacherModel,
    names: tuple[str, ...],
    source: str,
    split: str,
    rows: Rows,
    settings: DumpSettings,
    codec: DenseCodec,
) -> Plan:
    order = None if teacher.order is None else teacher.order.tolist()
    commit = getattr(teacher.model.config, "_commit_hash", None)
    with quiet():  # the probe may be longer than what the teacher takes
        tokenizer = tokenizer_fingerprint(teacher.tokenizer)
    columns = (*ROOT_COLUMNS, *(Column(name, dtype, width) for name, (dtype, width) in codec.columns().items()))
    return Plan(
        teacher={
            "name": teacher.name,
            "revision": commit,
            "weights": teacher.weights_digest(),
            "label_names": list(names),
            "label_order": order,
            "dtype": teacher.dtype,
        },
        tokenizer=tokenizer,
        data={"source": source, "split": split, "rows": len(rows), "digest": rows.digest()},
        preparation={"max_length": settings.max_length, "batch_tokens": settings.batch_tokens},
        targets={"logits": codec.to_dict()},
        columns=columns,
        rows=len(rows),
        shard_rows=settings.shard_rows or _shard_rows(columns, teacher.parameters, settings.max_length),
    )


def _shard_rows(columns: tuple[Column, ...], parameters: int, max_length: int) -> int:
    """The smallest of 16,384 rows, 64 MB and about 1e14 teacher FLOPs: a power of two, at least 1,024."""
    by_bytes = SHARD_BYTES / sum(c.row_bytes() for c in columns)
    by_flops = SHARD_FLOPS / (2 * parameters * max_length)
    return max(MIN_SHARD_ROWS, 1 << int(np.log2(max(1.0, min(MAX_SHARD_ROWS, by_bytes, by_flops)))))


def _write_shards(
    writer: CacheWriter, todo: list[int], teacher: TeacherModel, rows: Rows, codec: DenseCodec, progress: Progress
) -> int:
    """Compute and write the missing shards; the number of real tokens the teacher saw."""
    conditions, shards = _conditions(teacher), writer.plan.shards()
    preparation = writer.plan.preparation
    tokens, pending = 0, None
    with ThreadPoolExecutor(1, "logitcache-writer") as pool:
        for index in todo:
            part = prepare(teacher.tokenizer, rows, preparation["max_length"], *shards[index])
            logits = answer(teacher, part, preparation["batch_tokens"], progress)
            _check_finite(logits, part, teacher.name)
            tokens += len(part.ids.values)
            _wait(pending)  # at most one shard waits to be written: memory stays flat
            pending = pool.submit(_encode_and_write, writer, index, part, logits, codec, conditions)
        _wait(pending)
    return tokens


def _wait(pending: Future[None] | None) -> None:
    if pending is not None:
        pending.result()


def answer(
    teacher: TeacherModel, rows: Prepared, batch_tokens: int, progress: Progress = lambda rows, tokens: None
) -> Float32:
    """The teacher's logits for these rows, in their order, f32[N, K]; computed longest first in batches of a token
    budget.
    """
    lengths = rows.ids.lengths()
    batches = token_batches(lengths, batch_tokens)
    parts = []
    for places in batches:
        parts.append(teacher.logits(pad(rows, places)))
        progress(len(places), int(lengths[places].sum()))
    computed = torch.cat(parts).cpu().numpy()
    logits = np.empty_like(computed)
    logits[np.concatenate(batches)] = computed
    return logits


def _check_finite(logits: Float32, rows: Prepared, teacher: str) -> None:
    bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(bad):
        named = ", ".join(str(rows.row_id[i]) for i in bad[:5]) + (", …" if len(bad) > 5 else "")
        raise SpecError(
            f"expected finite logits, found NaN or infinity in {len(bad)} rows (row {named}). "
            "Nothing of their shard was written. Try --dtype float32, or mend the teacher.",
            where=teacher,
        )


def _encode_and_write(
    writer: CacheWriter, index: int, rows: Prepared, logits: Float32, codec: DenseCodec, conditions: dict[str, Any]
) -> None:
    entropy, top = _confidence(logits)
    sketches = {
        "entropy": np.quantile(entropy, QUANTILES).round(6).tolist(),
        "top_probability": np.quantile(top, QUANTILES).round(6).tolist(),
    }
    arrays = {"row_hash": rows.row_hash, "label": rows.label, **codec.encode(logits)}
    writer.write(index, arrays, sketches, conditions)


def _confidence(logits: Float32) -> tuple[Float32, Float32]:
    """Entropy in nats and top probability of each row, f[N]."""
    shifted = logits - logits.max(1, keepdims=True)
    exp = np.exp(shifted)
    total = exp.sum(1)
    return np.log(total) - (exp * shifted).sum(1) / total, 1 / total


def _conditions(teacher: TeacherModel) -> dict[str, Any]:
    """What the last bits of a logit depend on besides the plan."""
    return {
        "device": teacher.model.device.type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "attention": teacher.model.config._attn_implementation,
    }


def _report(cache: Cache, teacher: TeacherModel, source: Source, split: str, max_length: int) -> DumpReport:
    """What the cache says, read back from it; and the teacher on at most 2,000 dev rows, evenly spread."""
    blocks = list(cache)
    logits = np.concatenate([b.logits.logits for b in blocks])
    scores = score(logits, np.concatenate([b.label for b in blocks]))
    entropy = float(_confidence(logits)[0].mean())
    dev = source.splits.get("dev") if split == "train" else None
    dev_scores: dict[str, float] = {}
    if dev is not None and len(dev):
        dev = dev.select(np.unique(np.linspace(0, len(dev) - 1, DEV_ROWS).astype(np.int64)))
        prepared = prepare(teacher.tokenizer, dev, max_length)
        dev_scores = score(answer(teacher, prepared, cache.manifest.plan.preparation["batch_tokens"]), dev.label)
    dev_rows = int((dev.label >= 0).sum()) if dev is not None else 0
    remarks = _remarks(scores, dev_scores, dev_rows, entropy / float(np.log(logits.shape[1])), split)
    return DumpReport(
        cache=cache.folder,
        rows=len(cache),
        positions=cache.manifest.positions,
        teacher_rows=0,
        bytes=cache.manifest.bytes,
        seconds=0.0,
        rows_per_second=0.0,
        tokens_per_second=0.0,
        scores=scores,
        dev_scores=dev_scores,
        dev_rows=dev_rows,
        entropy=entropy,
        num_labels=logits.shape[1],
        remarks=remarks,
    )


def _remarks(scores: dict[str, float], dev: dict[str, float], dev_rows: int, entropy: float, split: str) -> list[str]:
    """What a gap between train and dev means for teaching; ``entropy`` as a share of the largest there can be."""
    if not scores or not dev:
        return []
    chance = 2 * np.sqrt(dev["accuracy"] * (1 - dev["accuracy"]) / dev_rows)  # two standard errors of dev's accuracy
    if scores["accuracy"] - dev["accuracy"] < max(MEMORISED, chance):
        return []
    right = f"{scores['accuracy']:.1%} of these {split} rows but on {dev['accuracy']:.1%} of dev"
    if entropy < ONE_HOT or scores["accuracy"] > KNOWN_BY_HEART:
        so = "it has memorised them. Its answers are close to the labels themselves, so little is left to teach"
    else:
        so = "if it was trained on them, it has begun to memorise them, and less is left to teach than on unseen rows"
    return [f"the teacher is right on {right}: {so}. Fewer epochs, or rows it was not trained on, leave more."]
