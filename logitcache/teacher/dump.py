"""The inference stage: every row of one split past the teacher once, into a cache.

Inside a shard the teacher sees rows in order of length, in batches of a token budget; they are stored in row order. A
writer thread encodes and writes one shard while the next is computed. What a shard holds depends on its rows and the
plan alone, so the same command goes on where it stopped.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from logitcache.cache import Cache
from logitcache.data.prepare import Prepared, prepare, tokenizer_fingerprint
from logitcache.data.source import Notify, Rows, Source
from logitcache.data.task import Classification, match_labels
from logitcache.errors import SpecError
from logitcache.records import Array, Float32, Int64
from logitcache.store.columns import Column
from logitcache.store.manifest import ROOT_COLUMNS, Plan
from logitcache.store.writer import CacheWriter
from logitcache.targets.dense import DenseCodec
from logitcache.teacher.model import TeacherModel, check_padding, quiet
from logitcache.teacher.panel import OneTeacher, Panel, Progress, answer, room_for
from logitcache.teacher.report import DumpReport, confidence, report
from logitcache.teacher.reuse import Known

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
MAX_SHARD_ROWS, MIN_SHARD_ROWS = 16384, 1024
SHARD_BYTES, SHARD_FLOPS = 64e6, 1e14
PADDING_ROWS = 64  # among which a short and a long one are looked for, to see whether padding matters


@dataclass(frozen=True)
class DumpSettings:
    """How rows are put to the teacher and how its answers are kept."""

    max_length: int = 128  # tokens; longer rows are cut
    batch_tokens: int = 4096  # padded tokens of one teacher batch
    codec: str = "float16"  # dtype of the stored logits
    shard_rows: int | None = None  # None: the smallest of 16,384 rows, 64 MB and 1e14 FLOPs


def dump_split(
    teacher: TeacherModel | Panel,
    source: Source,
    split: str,
    folder: Path,
    settings: DumpSettings,
    *,
    reuse: Cache | None = None,
    overwrite: bool = False,
    notify: Notify = lambda _: None,
    progress: Progress = lambda rows, tokens: None,
) -> DumpReport:
    """Make (or finish) the cache of one split; rows whose text ``reuse`` has an answer for do not see the teacher.

    Raises FingerprintMismatch for other labels, another plan, or a ``reuse`` of another teacher; SpecError for rows or
    answers that cannot be used, or ``reuse`` in the same folder; CorruptShard where ``reuse`` is damaged.
    """
    panel: Panel = OneTeacher(teacher) if isinstance(teacher, TeacherModel) else teacher
    rows, first = source.split(split), panel.first
    if reuse is not None and folder.resolve() == reuse.folder.resolve():
        raise SpecError("--reuse: expected another folder than --out, found the same. Name a new --out.", where=folder)
    task = Classification(source.num_labels or len(first.label_names), source.label_names)
    if task.num_labels < 2:
        raise SpecError(f"expected two classes or more, found {task.num_labels}. Use data of more.", where=source.name)
    order, remark = match_labels(first.label_names, task, first.name)
    panel = panel.in_order(None if (order == np.arange(len(order))).all() else order)
    names = task.label_names or tuple(first.label_names[i] for i in order)
    settings = replace(settings, max_length=min(settings.max_length, first.max_length))
    codec = DenseCodec(task.num_labels, settings.codec)
    known = None if reuse is None else Known(reuse)
    plan = _plan(panel, names, source.name, split, rows, settings, codec)
    if known is not None:  # a cache of this teacher: its padding was looked at then
        known.check(plan)
    else:
        shown = prepare(first.tokenizer, rows, settings.max_length, 0, min(len(rows), PADDING_ROWS))
        with room_for(f"two rows of {shown.ids.lengths().max()} tokens", first):
            check_padding(first, shown)
    writer = CacheWriter(folder, plan, overwrite=overwrite)
    started = time.perf_counter()
    work = _Work(writer, panel, rows, codec, known, notify, progress)
    done = work.finish()
    seconds = time.perf_counter() - started
    dev = source.splits.get("dev") if split == "train" and known is None else None
    said = report(Cache.open(folder), panel, rows, dev, split, unnamed="matched by index" in remark)
    copied = f", {done.copied:,} were copied" if known is not None else ""
    notify(f"{folder}: {done.asked:,} of {len(rows):,} rows saw the teacher{copied}")
    rate = (done.asked / seconds, done.tokens / seconds) if done.asked else (0.0, 0.0)
    return replace(
        said,
        teacher_rows=done.asked,
        reused_rows=done.copied,
        seconds=seconds,
        rows_per_second=rate[0],
        tokens_per_second=rate[1],
        remarks=[remark, *said.remarks] if remark else said.remarks,
    )


def _plan(
    panel: Panel,
    names: tuple[str, ...],
    source: str,
    split: str,
    rows: Rows,
    settings: DumpSettings,
    codec: DenseCodec,
) -> Plan:
    teacher = panel.first
    order = None if teacher.order is None else teacher.order.tolist()
    with quiet():  # the probe may be longer than what the teacher takes
        tokenizer = tokenizer_fingerprint(teacher.tokenizer)
    columns = (*ROOT_COLUMNS, *(Column(name, dtype, width) for name, (dtype, width) in codec.columns().items()))
    return Plan(
        teacher={
            "name": teacher.name,
            "revision": teacher.revision,
            **panel.identity(),
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


@dataclass
class _Done:
    """What one call has done."""

    asked: int = 0
    copied: int = 0
    tokens: int = 0  # real ones, of the rows asked about


@dataclass(frozen=True)
class _Work:
    """The missing shards of one cache."""

    writer: CacheWriter
    panel: Panel
    rows: Rows
    codec: DenseCodec
    known: Known | None
    notify: Notify
    progress: Progress

    def finish(self) -> _Done:
        """Compute and write what is missing; seal the cache. A cache that has no shard yet is forgotten if its answers
        cannot be used.
        """
        todo, done = self.writer.missing, _Done()
        try:
            self._write_shards(todo, done)
        except SpecError:
            if not self.writer.receipts:  # a plan that no shard was made for would only refuse the mended teacher
                self.writer.forget()
            raise
        if todo or not self.writer.complete:
            self.writer.seal()
        return done

    def _write_shards(self, todo: list[int], done: _Done) -> None:
        conditions, budget = _conditions(self.panel.first), self.writer.plan.preparation["batch_tokens"]
        pending: Future[None] | None = None
        with ThreadPoolExecutor(1, "logitcache-writer") as pool:
            for index in todo:
                columns, found, budget = self._shard(index, budget, done)
                _wait(pending)  # at most one shard waits to be written: memory stays flat
                pending = pool.submit(self._encode_and_write, index, columns, {**conditions, **found})
            _wait(pending)

    def _shard(self, index: int, budget: int, done: _Done) -> tuple[dict[str, Array], dict[str, Any], int]:
        """The codec's columns of one shard's rows, what was particular about making them, and the token budget that
        fits in memory. The budget of a plan is what is tried first; a smaller one is kept for the shards after it.
        """
        start, end = self.writer.plan.shards()[index]
        place = np.full(end - start, -1) if self.known is None else self.known.find(self.rows.row_hash[start:end])
        new = np.flatnonzero(place < 0)
        columns: dict[str, Array] = {}
        found: dict[str, Any] = {}
        if len(new):
            prepared = self._prepare(start, end, new)
            logits, fits = answer(self.panel, prepared, budget, self.progress)
            _check_finite(logits, prepared, self.panel.first.name)
            columns = self.codec.encode(logits)
            if fits < budget:
                self.notify(f"shard {index}: out of memory; computed in batches of {fits:,} tokens, not {budget:,}")
            if fits < self.writer.plan.preparation["batch_tokens"]:
                found["batch_tokens"] = fits
            budget, done.asked, done.tokens = fits, done.asked + len(new), done.tokens + len(prepared.ids.values)
        if self.known is not None and len(new) < len(place):
            columns = _merge(columns, new, self.known.stored(place[place >= 0]), len(place))
            found["reused"] = {"rows": len(place) - len(new), "cache": self.known.cache.fingerprint}
            done.copied += len(place) - len(new)
            self.progress(len(place) - len(new), 0)
        return columns, found, budget

    def _prepare(self, start: int, end: int, new: Int64) -> Prepared:
        tokenizer, max_length = self.panel.first.tokenizer, self.writer.plan.preparation["max_length"]
        if len(new) == end - start:
            return prepare(tokenizer, self.rows, max_length, start, end)
        return prepare(tokenizer, self.rows.select(start + new), max_length)

    def _encode_and_write(self, index: int, columns: dict[str, Array], conditions: dict[str, Any]) -> None:
        start, end = self.writer.plan.shards()[index]
        entropy, top = confidence(self.codec.decode(columns).logits)
        sketches = {
            "entropy": np.quantile(entropy, QUANTILES).round(6).tolist(),
            "top_probability": np.quantile(top, QUANTILES).round(6).tolist(),
        }
        arrays = {"row_hash": self.rows.row_hash[start:end], "label": self.rows.label[start:end], **columns}
        self.writer.write(index, arrays, sketches, conditions)


def _merge(new: dict[str, Array], places: Int64, old: dict[str, Array], rows: int) -> dict[str, Array]:
    """Columns of ``rows`` rows: the new ones at ``places``, the old ones in the places between."""
    rest = np.setdiff1d(np.arange(rows), places)
    merged = {}
    for name, values in old.items():
        merged[name] = np.empty((rows, *values.shape[1:]), values.dtype)
        merged[name][rest] = values
        if name in new:
            merged[name][places] = new[name]
    return merged


def _wait(pending: Future[None] | None) -> None:
    if pending is not None:
        pending.result()


def _check_finite(logits: Float32, rows: Prepared, teacher: str) -> None:
    bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(bad):
        named = ", ".join(str(rows.row_id[i]) for i in bad[:5]) + (", …" if len(bad) > 5 else "")
        raise SpecError(
            f"expected finite logits, found NaN or infinity in {len(bad)} rows (row {named}). "
            "Nothing of their shard was written. Try --dtype float32, or mend the teacher.",
            where=teacher,
        )


def _conditions(teacher: TeacherModel) -> dict[str, Any]:
    """What the last bits of a logit depend on besides the plan."""
    return {
        "device": teacher.model.device.type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "attention": teacher.model.config._attn_implementation,
    }
