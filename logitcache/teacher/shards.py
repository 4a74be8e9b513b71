"""One shard, assembled from the packed answers of one batch after the other.

Of a batch only what is stored is kept, reduced on the device that computed it: no shard's logits are ever held. What is
said of the answers (sketches, skipped rows, the summary) comes from the same pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from logitcache.records import LOGITS, Answers, Array, Block, Float32, Int64, chosen, rows_of
from logitcache.store.manifest import QUANTILES
from logitcache.targets.codec import Codec
from logitcache.teacher.summary import Summary

if TYPE_CHECKING:
    import torch

PART_VALUES = 1 << 20  # logits that are reduced and looked at together


@dataclass(frozen=True)
class Layout:
    """The rows of one shard and their kept positions, known before any is answered."""

    row_id: Int64  # [n] places in the table
    row_hash: Int64  # [n]
    indptr: Int64  # [n + 1]
    index: Int64  # [P] number in its row
    label: Int64  # [P]


@dataclass(frozen=True)
class _Reduced:
    """What is kept of one batch, perhaps still on its way from the device."""

    rows: Int64  # places in the shard
    kept: Mapping[str, torch.Tensor]
    finite: torch.Tensor  # bool[P]
    fits: torch.Tensor  # bool[P] the codec can hold it
    copied: torch.cuda.Event | None


class Assembly:
    """The columns of a shard's vectors, filled in batch by batch."""

    def __init__(self, layout: Layout, codec: Codec, summary: Summary) -> None:
        positions = int(layout.indptr[-1])
        self.layout, self.codec, self.summary = layout, codec, summary
        self.columns: dict[str, Array] = {
            name: np.empty((positions, width) if width else positions, dtype)
            for name, (dtype, width) in codec.columns().items()
        }
        self.entropy = np.full(positions, np.nan, np.float32)
        self.top = np.full(positions, np.nan, np.float32)
        self.skipped = np.zeros(len(layout.row_id), np.bool_)
        self.not_finite = np.zeros(len(layout.row_id), np.bool_)
        self.too_wide = np.zeros(len(layout.row_id), np.bool_)
        self._pending: list[_Reduced] = []

    def add(self, rows: Int64, vectors: torch.Tensor | Float32) -> None:
        """Answers to the rows at these places of the shard, f32[P, K]. On a GPU they are still being computed; the
        batch before is stored meanwhile.
        """
        if isinstance(vectors, np.ndarray):
            for part, at in self._parts(rows):
                self._store_arrays(part, vectors[at])
            return
        before, self._pending = self._pending, [self._reduce(part, vectors[at]) for part, at in self._parts(rows)]
        self._store(before)
        if not vectors.is_cuda:
            self.finish()

    def copy(self, rows: Int64, columns: Mapping[str, Array], skipped: Array) -> None:
        """Answers that lie in another cache already: ``columns`` of their positions, ``skipped`` bool[n]."""
        self.skipped[rows[skipped]] = True
        for part, at in self._parts(rows):
            self._put(part, {name: values[at] for name, values in columns.items()})

    def finish(self) -> None:
        """Store the last batch."""
        before, self._pending = self._pending, []
        self._store(before)

    def _parts(self, rows: Int64) -> Iterator[tuple[Int64, slice]]:
        """Some of these rows after the other, and where their positions are among those of all: few enough that what
        is computed of them at once is small.
        """
        width = next(iter(self.columns.values())).shape[1]
        ends = chosen(self.layout.indptr, rows)[0]
        start = 0
        while start < len(rows):
            stop = int(np.searchsorted(ends, ends[start] + PART_VALUES // width, "right")) - 1
            stop = max(start + 1, stop)
            yield rows[start:stop], slice(int(ends[start]), int(ends[stop]))
            start = stop

    def _reduce(self, rows: Int64, vectors: torch.Tensor) -> _Reduced:
        smallest, largest = vectors.aminmax(dim=1)
        finite = vectors.isfinite().all(dim=1)
        fits = largest - smallest <= self.codec.largest_gap
        kept = self.codec.reduce(vectors)
        if not vectors.is_cuda:
            return _Reduced(rows, kept, finite, fits, None)
        finite, fits = (flags.to("cpu", non_blocking=True) for flags in (finite, fits))
        kept = {name: tensor.to("cpu", non_blocking=True) for name, tensor in kept.items()}
        import torch

        copied = torch.cuda.Event()
        copied.record()
        return _Reduced(rows, kept, finite, fits, copied)

    def _store(self, batch: list[_Reduced]) -> None:
        for reduced in batch:
            if reduced.copied is not None:
                reduced.copied.synchronize()
            self._mark(reduced.rows, reduced.finite.numpy(), reduced.fits.numpy())
            self._put(reduced.rows, self.codec.pack(reduced.kept))

    def _store_arrays(self, rows: Int64, vectors: Float32) -> None:
        """The same of vectors that are numpy's: f32[P, K]."""
        with np.errstate(invalid="ignore"):
            fits = vectors.max(axis=1) - vectors.min(axis=1) <= self.codec.largest_gap
        finite = np.asarray(np.isfinite(vectors).all(axis=1))
        self._mark(rows, finite, fits)
        self._put(rows, self.codec.encode(vectors))

    def _mark(self, rows: Int64, finite: Array, fits: Array) -> None:
        """Note which rows cannot be stored; ``finite`` and ``fits`` bool[P]."""
        if fits.all():  # a vector that is not finite has no gap that fits
            return
        row = rows[rows_of(chosen(self.layout.indptr, rows)[0])]
        self.not_finite[row[~finite]] = True
        self.too_wide[row[finite & ~fits]] = True
        self.skipped[row[~fits]] = True

    def _put(self, rows: Int64, columns: Mapping[str, Array]) -> None:
        """Keep the columns of some rows, and add up what they say."""
        layout = self.layout
        indptr, places = chosen(layout.indptr, rows)
        for name, values in columns.items():
            self.columns[name][places] = values
        answers = Answers(layout.row_hash[rows], indptr, layout.index[places], {LOGITS: self.codec.unpack(columns)})
        block = Block(layout.row_id[rows], 0, answers, layout.label[places])
        lost = self.skipped[rows]
        if lost.any():
            for column in self.columns.values():
                column[places[lost[rows_of(indptr)]]] = np.nan
            self.summary.skip(block.select(lost))
            block = block.select(~lost)
            places = places[~lost[rows_of(indptr)]]
        self.entropy[places], self.top[places] = self.summary.add(block)

    def sketches(self) -> dict[str, list[float]]:
        """The quantiles that a receipt has of the answered positions."""
        found = {"entropy": self.entropy, "top_probability": self.top}
        answered = ~self.skipped[rows_of(self.layout.indptr)]
        return {name: _quantiles(values[answered]) for name, values in found.items()}


def _quantiles(values: Float32) -> list[float]:
    """Empty where a shard has no answer."""
    found: list[float] = np.quantile(values, QUANTILES).round(6).tolist() if len(values) else []
    return found
