"""The shards of one cache that are still to be made: computed, encoded, written.

A writer thread encodes and writes one shard while the next is computed. What a shard holds depends on its rows and the
plan alone, so whoever is killed loses one shard at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from logitcache.data.preprocess.tokens import Prepared
from logitcache.errors import SpecError
from logitcache.records import Array, Float32, Int64
from logitcache.reporter import SILENT, Reporter, Stage
from logitcache.store.manifest import QUANTILES
from logitcache.store.writer import CacheWriter
from logitcache.teacher.conditions import conditions
from logitcache.teacher.panel import answer
from logitcache.teacher.plan import Planned
from logitcache.teacher.report import confidence
from logitcache.teacher.reuse import Known


@dataclass
class Done:
    """What one call has done."""

    asked: int = 0
    copied: int = 0
    tokens: int = 0  # real ones, of the rows asked about
    skipped: int = 0  # rows whose answer could not be used
    sealed: bool = False  # by this call, whether or not it found something to do


@dataclass(frozen=True)
class Work:
    """The missing shards of one cache, or of one part of it."""

    writer: CacheWriter
    planned: Planned
    known: Known | None = None
    reporter: Reporter = SILENT
    budgets: Mapping[int, int] = field(default_factory=dict)  # of shards that were once made with less than the plan's

    def finish(self) -> Done:
        """Compute and write what is missing; seal the cache, if no other part has something to do. A cache that has no
        shard yet is forgotten if its answers cannot be used.
        """
        todo, done = self.writer.missing, Done()
        rows = sum(stop - start for start, stop in map(self.planned.plan.shard, todo))
        try:
            with self.reporter.stage("dump", "rows", rows) as stage:
                self._write_shards(todo, done, stage)
        except SpecError:
            if not self.writer.receipts and self.writer.part is None:
                self.writer.forget()  # a plan that no shard was made for would only refuse the mended teacher
            raise
        there = self.writer.complete  # another part was as quick: it has sealed the cache, and speaks of it
        with self.reporter.phase("write"):
            done.sealed = not todo if there else self.writer.seal()
        return done

    def _write_shards(self, todo: list[int], done: Done, stage: Stage) -> None:
        here, budget = conditions(self.planned.panel.first), self.planned.plan.preparation["batch_tokens"]
        pending: Future[None] | None = None
        with ThreadPoolExecutor(1, "logitcache-writer") as pool:
            for index in todo:
                start = self.budgets.get(index, budget)
                columns, found, fits = self._shard(index, start, done, stage)
                budget = fits if fits < start else budget
                self._wait(pending)  # at most one shard waits to be written: memory stays flat
                pending = pool.submit(self._encode_and_write, index, columns, {**here, **found})
            self._wait(pending)

    def _wait(self, pending: Future[None] | None) -> None:
        if pending is not None:
            with self.reporter.phase("write"):
                pending.result()

    def _shard(self, index: int, budget: int, done: Done, stage: Stage) -> tuple[dict[str, Array], dict[str, Any], int]:
        """The codec's columns of one shard's rows, what was particular about making them, and the token budget that
        fits in memory. The budget of a plan is what is tried first; a smaller one is kept for the shards after it.
        """
        planned = self.planned
        start, end = planned.plan.shard(index)
        place = np.full(end - start, -1) if self.known is None else self.known.find(planned.rows.row_hash[start:end])
        new = np.flatnonzero(place < 0)
        columns: dict[str, Array] = {}
        found: dict[str, Any] = {}
        if len(new):
            with self.reporter.phase("tokenise"):
                prepared = planned.prepare(start, end, new)
            logits, fits = answer(planned.panel, prepared, budget, stage)
            usable = self._usable(logits, prepared.row_id)
            with self.reporter.phase("encode"):
                columns = planned.codec.encode(usable)
            found |= self._cut(prepared, start + new)
            if fits < budget:
                self.reporter.note(
                    f"shard {index}: out of memory; computed in batches of {fits:,} tokens, not {budget:,}"
                )
            if fits < planned.plan.preparation["batch_tokens"]:
                found["batch_tokens"] = fits
            budget, done.asked, done.tokens = fits, done.asked + len(new), done.tokens + len(prepared.ids.values)
        if self.known is not None and len(new) < len(place):
            columns = _merge(columns, new, self.known.stored(place[place >= 0]), len(place))
            found["reused"] = {"rows": len(place) - len(new), "cache": self.known.cache.fingerprint}
            done.copied += len(place) - len(new)
            stage.advance(len(place) - len(new))
        return columns, {**found, **self._skipped(columns, start, done)}, budget

    def _cut(self, prepared: Prepared, places: Int64) -> dict[str, Any]:
        """How many of these rows, at ``places`` of the table, were cut at max_length, and the first of them."""
        cut = places[prepared.cut]
        return {"cut": {"rows": len(cut), "first": int(cut[0])}} if len(cut) else {}

    def _usable(self, logits: Float32, row_id: Int64) -> Float32:
        """The logits, f32[N, K]; a row that cannot be stored is NaN where the plan skips such rows. Raises SpecError
        naming them where it stops.
        """
        codec, how = self.planned.codec, self.planned.plan.preparation["on_nonfinite"]
        bad = ~np.isfinite(logits).all(axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            wide = ~bad & (logits.max(axis=1) - logits.min(axis=1) > np.finfo(codec.dtype).max)
        if not (bad | wide).any():
            return logits
        if how == "skip":
            logits[bad | wide] = np.nan
            return logits
        where, after = self.planned.panel.first.name, "Nothing of their shard was written."
        skip = "or store them as nobody's answer (--on-nonfinite skip)."
        if bad.any():
            raise SpecError(
                expected="finite logits",
                found=f"NaN or infinity in {_named(row_id[bad])}",
                advice=f"{after} Try --dtype float32, mend the teacher, {skip}",
                where=where,
            )
        wider = "Use --codec float32" if codec.dtype == "float16" else "Mend the teacher"
        raise SpecError(
            f"expected logits that {codec.dtype} holds, found some more than {np.finfo(codec.dtype).max:.5g} below the "
            f"largest of their row in {_named(row_id[wide])}. {after} {wider}, {skip}",
            where=where,
        )

    def _skipped(self, columns: Mapping[str, Array], start: int, done: Done) -> dict[str, Any]:
        rows = np.flatnonzero(np.isnan(self.planned.codec.decode(columns).logits).any(axis=1))
        done.skipped += len(rows)
        return {"skipped": (start + rows).tolist()} if len(rows) else {}

    def _encode_and_write(self, index: int, columns: dict[str, Array], conditions: dict[str, Any]) -> None:
        (start, end), rows = self.planned.plan.shard(index), self.planned.rows
        logits = self.planned.codec.decode(columns).logits
        entropy, top = confidence(logits[~np.isnan(logits).any(axis=1)])
        sketches = {"entropy": _quantiles(entropy), "top_probability": _quantiles(top)}
        arrays = {"row_hash": rows.row_hash[start:end], "label": rows.label[start:end], **columns}
        with self.reporter.phase("write"):
            self.writer.write(index, arrays, sketches, conditions)


def _named(row_id: Int64) -> str:
    named = ", ".join(map(str, row_id[:5])) + (", …" if len(row_id) > 5 else "")
    return f"{len(row_id)} rows (row {named})"


def _quantiles(values: Float32) -> list[float]:
    """Empty where a shard has no answer."""
    found: list[float] = np.quantile(values, QUANTILES).round(6).tolist() if len(values) else []
    return found


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
