"""The shards of one cache that are still to be made: computed, encoded, written.

A writer thread writes one shard while the next is computed. What a shard holds depends on its rows
and the plan alone, so whoever is killed loses one shard at most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from logitcache.cache.layout import HASH, LABEL, LEVEL, POSITION, TOKENS, inputs_of
from logitcache.errors import SpecError
from logitcache.records import (
    Answers,
    Array,
    Examples,
    Float32,
    Int64,
    chosen,
    end_to_end,
    ends_of,
    numbers_in_rows,
    rows_of,
)
from logitcache.reporter import SILENT, Meter, Reporter
from logitcache.store.columns import ROW, ends
from logitcache.store.tensors import decode
from logitcache.store.writer import CacheWriter
from logitcache.targets.dense import DenseCodec
from logitcache.teacher.dump_job import DumpJob
from logitcache.teacher.reuse import OlderCache
from logitcache.teacher.shards import Assembly, Layout
from logitcache.teacher.summary import Summary

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class DumpCounts:
    """What one call has done."""

    asked: int = 0
    copied: int = 0
    tokens: int = 0  # real ones, of the rows asked about
    skipped: int = 0  # rows whose answer could not be used
    sealed: bool = False  # by this call, whether or not it found something to do
    shards: list[int] = field(default_factory=list)  # made in this call


@dataclass(frozen=True)
class Work:
    """The missing shards of one cache, or of one part of it."""

    writer: CacheWriter
    planned: DumpJob
    summary: Summary  # what is added up of the shards that are made
    older: OlderCache | None = None
    reporter: Reporter = SILENT
    # of shards that were once made with less than the plan's
    budgets: Mapping[int, int] = field(default_factory=dict)

    @cached_property
    def _assets(self) -> dict[str, Array]:
        """The tensors that the cache keeps once, by name."""
        tensors = self.planned.kept_once()
        return {} if tensors is None else decode(tensors)

    def finish(self) -> DumpCounts:
        """Compute and write what is missing; seal the cache, if no other part has something to do.
        A cache that has no shard yet is forgotten if its answers cannot be used.
        """
        todo = self.writer.missing
        done = DumpCounts()
        rows = sum(stop - start for start, stop in map(self.planned.plan.shard, todo))
        try:
            with self.reporter.stage("dump", "rows", rows) as stage:
                self._write_shards(todo, done, stage)
        except SpecError:
            if not self.writer.receipts and self.writer.part is None:
                self.writer.forget()  # a plan that no shard was made for would only refuse the mended teacher
            raise
        # another part was as quick: it has sealed the cache, and speaks of it
        complete = self.writer.complete
        with self.reporter.phase("write"):
            done.sealed = not todo if complete else self.writer.seal()
        return done

    def _write_shards(self, todo: list[int], done: DumpCounts, stage: Meter) -> None:
        conditions = self.planned.conditions()
        budget = self.planned.batch_tokens
        pending: Future[None] | None = None
        with ThreadPoolExecutor(1, "logitcache-writer") as pool:
            for index in todo:
                start = self.budgets.get(index, budget)
                shard, remarks, fits = self._shard(index, start, done, stage)
                budget = fits if fits < start else budget
                done.skipped += int(shard.skipped.sum())
                done.shards.append(index)
                self.summary.merge(shard.summary)
                self._wait(pending)  # at most one shard waits to be written: memory stays flat
                pending = pool.submit(self._write, index, shard, {**conditions, **remarks})
                del shard  # its columns are freed as soon as they are written
            self._wait(pending)

    def _wait(self, pending: Future[None] | None) -> None:
        if pending is not None:
            with self.reporter.phase("write"):
                pending.result()

    def _shard(
        self, index: int, budget: int, done: DumpCounts, stage: Meter
    ) -> tuple[Assembly, dict[str, Any], int]:
        """One shard's answers, remarks on making them, and the token budget that fits in memory.
        The budget of a plan is what is tried first; a smaller one is kept for the shards after it.
        """
        planned = self.planned
        start, end = planned.plan.shard(index)
        position = np.full(end - start, -1)
        if self.older is not None:
            view = np.arange(start, end) % planned.draws
            position = self.older.find(planned.rows.row_hash[start:end], view)
        new = np.flatnonzero(position < 0)
        old = np.flatnonzero(position >= 0)
        remarks: dict[str, Any] = {}
        with self.reporter.phase("tokenise"):
            examples = planned.prepare(start, end, new)
        layout = self._layout(start, end, examples, new, position)
        summary = self.summary.empty()
        begin = partial(Assembly, layout, planned.codec, summary, self._assets, kept=planned.kept)
        shard = begin()
        if len(new):
            shard, fits = self._answered(examples, new, budget, begin, stage)
            self._check_usable(shard, start)
            cut = start + new[examples.cut]
            if len(cut):
                remarks["cut"] = {"rows": len(cut), "first": int(cut[0])}
            if note := planned.task.left_out(examples):
                self.reporter.note(f"shard {index}: {note}")
            if fits < budget:
                self.reporter.note(
                    f"shard {index}: out of memory; computed in batches of {fits:,} tokens, not {budget:,}"
                )
            if fits < planned.batch_tokens:
                remarks["batch_tokens"] = fits
            budget = fits
            done.asked += len(new)
            done.tokens += examples.tokens
        if self.older is not None and len(old):
            older_rows = position[old]
            is_skipped = np.isin(older_rows, self.older.cache.skipped)
            shard.copy(old, self.older.stored(older_rows), is_skipped)
            if shard.signals is not None:
                shard.signals.copy(old, self.older.stored_signals(older_rows))
            remarks["reused"] = {"rows": len(old), "cache": self.older.cache.fingerprint}
            done.copied += len(old)
            stage.advance(len(old))
        if shard.skipped.any():
            remarks["skipped"] = (start + np.flatnonzero(shard.skipped)).tolist()
        return shard, remarks, budget

    def _answered(
        self,
        examples: Examples,
        new: Int64,
        budget: int,
        begin: Callable[[], Assembly],
        stage: Meter,
    ) -> tuple[Assembly, int]:
        """The teacher's answers to the rows at the places ``new`` of a shard. Where several draws
        of one answer are stored, it is asked for once.
        """
        copies = np.arange(len(new))[None]
        if self.planned.draws > 1:
            copies = repeats(examples.row_hash)
        once = examples if len(copies) == 1 else examples.select(copies[0])
        rows = np.where(copies < 0, -1, new[copies])

        def receiver_of_shard() -> _Placed:
            return _Placed(begin(), rows, self.reporter)

        receiver, fits = self.planned.ask(once, budget, receiver_of_shard, stage)
        stage.advance(len(examples) - len(once))
        with self.reporter.phase("encode"):
            receiver.shard.finish()
        return receiver.shard, fits

    def _layout(
        self, start: int, end: int, examples: Examples, new: Int64, position: Int64
    ) -> Layout:
        """The kept positions of a shard's rows. ``position``: each in the older cache, or -1."""
        rows = self.planned.rows
        old = np.flatnonzero(position >= 0)
        positions = self.planned.positions(examples)
        answers = Answers(examples.row_hash, positions.indptr, positions.index, {})
        if self.older is not None:
            indptr, index = self.older.cache.positions(position[old])
            copied = Answers(rows.row_hash[start + old], indptr, index, {})
            order = np.argsort(np.concatenate([new, old]))
            answers = end_to_end([answers, copied]).rows(order)
        row = start + rows_of(answers.indptr)
        label = rows.labels_at(row, answers.index)
        row_id = np.arange(start, end)
        view = row_id % self.planned.draws
        row_hash = rows.row_hash[start:end]
        tokens = None
        if self.planned.kept:
            counts = np.zeros(end - start, np.int64)
            counts[new] = examples.lengths()
            if self.older is not None:
                counts[old] = self.older.tokens(position[old])
            tokens = ends_of(counts)
        return Layout(
            row_id=row_id,
            row_hash=row_hash,
            indptr=answers.indptr,
            index=answers.index,
            label=label,
            view=view,
            tokens=tokens,
        )

    def _check_usable(self, shard: Assembly, start: int) -> None:
        """Raises SpecError naming rows whose answers cannot be stored, unless they are skipped."""
        codec = self.planned.codec
        how = self.planned.plan.preparation["on_nonfinite"]
        if how == "skip" or not shard.skipped.any():
            return
        where = self.planned.name
        after = "Nothing of their shard was written."
        skip = "or skip these rows (--on-nonfinite skip)."
        row_id = self.planned.rows.row_id[start : start + len(shard.skipped)]
        if shard.not_finite.any():
            raise SpecError(
                expected="finite logits",
                found=f"NaN or infinity in {_named(row_id[shard.not_finite])}",
                advice=f"{after} Try --dtype float32, check the teacher's weights for NaN or infinite values, {skip}",
                where=where,
            )
        if shard.signals is not None:
            shard.signals.check_fits(row_id, where, after)
        dtype = "float32"
        wider = "Check the teacher's weights for huge values"
        if isinstance(codec, DenseCodec) and codec.dtype == "float16":
            dtype = "float16"
            wider = "Use --codec float32"
        raise SpecError(
            expected=f"logits that {dtype} holds",
            found=f"some more than {codec.largest_gap:.5g} below the largest of their row "
            f"in {_named(row_id[shard.too_wide])}",
            advice=f"{after} {wider}, {skip}",
            where=where,
        )

    def _write(self, index: int, shard: Assembly, conditions: dict[str, Any]) -> None:
        layout = shard.layout
        arrays = {
            HASH.name: layout.row_hash,
            LABEL: layout.label,
            **shard.columns,
            **shard.entries(),
        }
        if shard.signals is not None:
            arrays |= shard.signals.columns
        if self.planned.task.level != ROW:
            arrays[ends(LEVEL).name] = layout.indptr[1:]
            arrays[POSITION] = layout.index.astype(np.int32)
        inputs = inputs_of(self.planned.plan)
        if inputs:
            for name in inputs:
                tokens = self.planned.rows.tokens[name].select(layout.row_id)
                arrays[name] = tokens.values.astype(np.int32)
            arrays[ends(TOKENS).name] = tokens.indptr[1:]  # alike for all inputs
            arrays[LABEL] = layout.label.astype(np.int32)
        with self.reporter.phase("write"):
            self.writer.write(index, arrays, shard.sketches(), conditions)


@dataclass(frozen=True)
class _Placed:
    """A shard that is told of rows by their places among those that are asked. ``rows`` i64[C, n]
    are the places in the shard of the rows that have an answer; -1 where fewer than C have it.
    """

    shard: Assembly
    rows: Int64
    reporter: Reporter

    def add(self, index: Int64, vectors: Tensor | Float32) -> None:
        with self.reporter.phase("encode"):
            for places in self.rows[:, index]:
                is_copy = places >= 0
                if is_copy.all():
                    self.shard.add(places, vectors)
                elif is_copy.any():
                    indptr = chosen(self.shard.layout.indptr, self.rows[0, index])[0]
                    positions = chosen(indptr, np.flatnonzero(is_copy))[1]
                    self.shard.add(places[is_copy], vectors[positions])


def repeats(row_hash: Int64) -> Int64:
    """Equal rows together: [c, i] is the place of the c-th row that equals the i-th one of those
    that differ, or -1 where there are fewer: i64[C, n].
    """
    _, first, group = np.unique(row_hash, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))  # in the order in which they first occur
    group = rank[group.reshape(-1)]
    order = np.argsort(group, kind="stable")
    number = numbers_in_rows(ends_of(np.bincount(group)))
    copies = int(number.max(initial=0)) + 1
    places = np.full((copies, len(first)), -1)
    places[number, group[order]] = order
    return places


def _named(row_id: Int64) -> str:
    rows = ", ".join(map(str, row_id[:5])) + (", …" if len(row_id) > 5 else "")
    return f"{len(row_id)} rows (row {rows})"
