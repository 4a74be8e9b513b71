"""One shard, assembled from the packed answers of one batch after the other.

Of a batch only what is stored is kept, reduced on the device that computed it: no shard's logits
are ever held. What is said of the answers (sketches, skipped rows, the summary) comes from the same
pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from logitcache.cache.layout import StoredSignal
from logitcache.data.order import position_keys
from logitcache.records import (
    LOGITS,
    Answers,
    Array,
    Block,
    Float32,
    Int64,
    chosen,
    ends_of,
    rows_of,
)
from logitcache.store.manifest import QUANTILES
from logitcache.store.space import zeros
from logitcache.targets.codec import Codec, Stored, of_entries, of_positions
from logitcache.targets.dense import NO_ASSETS, DenseCodec
from logitcache.targets.draws import Draw
from logitcache.targets.nothing import NoLogits
from logitcache.targets.sparse import SparseCodec
from logitcache.teacher.signals import SignalColumns, TeacherOutput
from logitcache.teacher.summary import Summary

if TYPE_CHECKING:
    import torch

    from logitcache.models.projection import Projected

# Logit values per reduction: small on a CPU to fit its cache, large on a GPU to keep it busy.
CPU_VALUES, DEVICE_VALUES = 1 << 19, 1 << 27
COPIED_VALUES = 1 << 20  # of a GPU or another cache: stored and summed up together
FINITE, FITS = "finite", "fits"  # of a position: its vector is finite, and the codec can hold it


@dataclass(frozen=True)
class Layout:
    """The rows of one shard and their kept positions, known before any is answered."""

    row_id: Int64  # [n] places in the table
    row_hash: Int64  # [n]
    indptr: Int64  # [n + 1]
    index: Int64  # [P] number in its row
    label: Int64  # [P]
    view: Int64  # [n] which draw of its answer a row has
    # [n + 1] where the tokens of each row end, for signals; None where none is kept
    tokens: Int64 | None = None

    def keys(self, seed: int = 0) -> Int64:
        """The keys of the codec's random numbers: i64[P]. They follow from a row's text, not from
        its place, so equal texts have equal answers.
        """
        row = rows_of(self.indptr)
        return position_keys(seed, "codec", self.row_hash[row], self.view[row], self.index)


@dataclass(frozen=True)
class _Reduced:
    """What is kept of one batch, perhaps still on its way from the device."""

    rows: Int64  # places in the shard
    kept: Mapping[str, torch.Tensor]  # columns of the codec, and bool[P] FINITE and FITS
    copied: torch.cuda.Event | None


class Assembly:
    """The columns of a shard's vectors, filled in batch by batch."""

    def __init__(
        self,
        layout: Layout,
        codec: Codec,
        summary: Summary,
        assets: Mapping[str, Array] = NO_ASSETS,
        *,
        seed: int = 0,
        kept: Sequence[StoredSignal] = (),
    ) -> None:
        """``assets`` are the tensors that the cache keeps once, ``seed`` is that of the codec's
        random numbers, ``kept`` are signals that are kept too.
        """
        positions = int(layout.indptr[-1])
        self.layout = layout
        self.codec = codec
        self.summary = summary
        self.assets = assets
        self._keys = layout.keys(seed)
        record = layout.row_id[rows_of(layout.indptr)]
        self._is_scored = summary.scored_positions(record, layout.index, positions)
        self.columns: dict[str, Array] = {}
        for column in of_positions(codec):
            self.columns[column.name] = empty(column, positions)
        # positions, and the columns of their entries
        self._entries: list[tuple[Int64, Mapping[str, Array]]] = []
        self.entropy = np.full(positions, np.nan, np.float32)
        self.top = np.full(positions, np.nan, np.float32)
        self.skipped = np.zeros(len(layout.row_id), np.bool_)
        self.signals: SignalColumns | None = None
        if kept:
            assert layout.tokens is not None
            self.signals = SignalColumns(kept, layout.tokens)
        self.not_finite = np.zeros(len(layout.row_id), np.bool_)
        self.too_wide = np.zeros(len(layout.row_id), np.bool_)
        self._pending: list[_Reduced] = []
        self._device: torch.device | None = None  # of the answers; None: numpy's

    def add(self, rows: Int64, vectors: torch.Tensor | Projected | Float32 | TeacherOutput) -> None:
        """Answers to the rows at these places of the shard. ``vectors`` are logits f32[P, K], an
        unevaluated projection of them, or a :class:`TeacherOutput` of logits and signals. On a GPU
        they are still being computed; the batch before is stored meanwhile.
        """
        if isinstance(vectors, TeacherOutput):
            assert self.signals is not None
            self.signals.add(rows, vectors.signals)
            self.skipped |= self.signals.skipped
            self.not_finite |= self.signals.not_finite
            self.too_wide |= self.signals.skipped & ~self.signals.not_finite
            if vectors.logits is None:
                self._put(rows, {})
                return
            vectors = vectors.logits
        together = _together(vectors)
        if isinstance(vectors, np.ndarray):
            if isinstance(self.codec, DenseCodec):  # without torch
                for part, at in self._parts(rows, together):
                    self._store_arrays(self.codec, part, vectors[at])
                return
            import torch

            vectors = torch.from_numpy(vectors)
        self._device = vectors.device
        reduced = (self._reduce(part, vectors[at]) for part, at in self._parts(rows, together))
        if not vectors.is_cuda:
            self._store(reduced)
            return
        before = self._pending
        self._pending = list(reduced)
        self._store(before)

    def copy(self, rows: Int64, columns: Mapping[str, Array], skipped: Array) -> None:
        """Answers that another cache has already: ``columns`` of positions, ``skipped`` bool[n]."""
        self.skipped[rows[skipped]] = True
        ends = {count: ends_of(columns[count]) for count in of_entries(self.codec)}
        for part, at in self._parts(rows, COPIED_VALUES // self.codec.width):
            selected: dict[str, Array] = {}
            for column in of_positions(self.codec):
                selected[column.name] = columns[column.name][at]
            for count, below in of_entries(self.codec).items():
                first = int(ends[count][at.start])
                last = int(ends[count][at.stop])
                for column in below:
                    selected[column.name] = columns[column.name][first:last]
            self._put(part, selected)

    def finish(self) -> None:
        """Store the last batch."""
        before = self._pending
        self._pending = []
        self._store(before)

    def _parts(self, rows: Int64, together: int) -> Iterator[tuple[Int64, slice]]:
        """Split the rows into consecutive parts of at most ``together`` positions (or one longer
        row); yield each part and the slice of its positions among those of all the rows.
        """
        ends = chosen(self.layout.indptr, rows)[0]
        start = 0
        while start < len(rows):
            stop = int(np.searchsorted(ends, ends[start] + together, "right")) - 1
            stop = max(start + 1, stop)
            positions = slice(int(ends[start]), int(ends[stop]))
            yield rows[start:stop], positions
            start = stop

    def _reduce(self, rows: Int64, vectors: torch.Tensor) -> _Reduced:
        import torch

        index = chosen(self.layout.indptr, rows)[1]
        keys = torch.from_numpy(self._keys[index]).to(vectors.device)
        values = DEVICE_VALUES if vectors.is_cuda else CPU_VALUES
        together = max(1, values // vectors.shape[1])
        parts = []
        for start in range(0, max(1, len(vectors)), together):
            part = slice(start, start + together)
            parts.append(self._kept(vectors[part], keys[part]))
        columns = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        if not vectors.is_cuda:
            return _Reduced(rows, columns, None)
        columns = {name: tensor.to("cpu", non_blocking=True) for name, tensor in columns.items()}
        copied = torch.cuda.Event()
        copied.record()
        return _Reduced(rows, columns, copied)

    def _kept(self, vectors: torch.Tensor, keys: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """What is kept of some positions, and whether they are finite and the codec can hold them."""
        smallest = vectors.amin(1)
        largest = vectors.amax(1)
        return {
            **self.codec.reduce(vectors, Draw(keys)),
            FINITE: smallest.isfinite() & largest.isfinite(),
            FITS: largest - smallest <= self.codec.largest_gap,
        }

    def _store(self, batch: Iterable[_Reduced]) -> None:
        for reduced in batch:
            if reduced.copied is not None:
                reduced.copied.synchronize()
            kept = dict(reduced.kept)
            finite = kept.pop(FINITE).numpy()
            self._mark(reduced.rows, finite, kept.pop(FITS).numpy())
            self._put(reduced.rows, self.codec.pack(kept))

    def _store_arrays(self, codec: DenseCodec, rows: Int64, vectors: Float32) -> None:
        """Store vectors of numpy, f32[P, K], without torch."""
        with np.errstate(invalid="ignore"):
            fits = vectors.max(axis=1) - vectors.min(axis=1) <= codec.largest_gap
        finite = np.asarray(np.isfinite(vectors).all(axis=1))
        self._mark(rows, finite, fits)
        self._put(rows, codec.encode(vectors))

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
        indptr, index = chosen(layout.indptr, rows)
        for name in self.columns:
            self.columns[name][index] = columns[name]
        below = [column.name for column in self.codec.columns() if column.count]
        if below:
            self._entries.append((index, {name: columns[name] for name in below}))
        payloads = {}
        if not isinstance(self.codec, NoLogits):
            payloads[LOGITS] = self.codec.unpack(columns, self.assets)
        answers = Answers(layout.row_hash[rows], indptr, layout.index[index], payloads)
        block = Block(layout.row_id[rows], 0, answers, layout.label[index])
        lost = self.skipped[rows]
        if lost.any():
            is_lost = lost[rows_of(indptr)]
            for column in self.columns.values():
                if column.dtype.kind == "f":
                    column[index[is_lost]] = np.nan
            self.summary.skip(block.select(lost))
            block = block.select(~lost)
            index = index[~is_lost]
        is_scored = None if self._is_scored is None else self._is_scored[index]
        self.entropy[index], self.top[index] = self.summary.add(block, self._device, is_scored)

    def entries(self) -> dict[str, Array]:
        """The columns of entries, in the order of positions, and where those of each row end."""
        entries: dict[str, Array] = {}
        for count, below in of_entries(self.codec).items():
            ends = ends_of(self.columns[count])
            entries[f"{count}_end"] = ends[self.layout.indptr[1:]]
            for column in below:
                entries[column.name] = empty(column, int(ends[-1]))
            for index, columns in self._entries:
                where = chosen(ends, index)[1]
                for column in below:
                    entries[column.name][where] = columns[column.name]
        return entries

    def sketches(self) -> dict[str, list[float]]:
        """The quantiles that a receipt has of the answered positions."""
        by_name = {"entropy": self.entropy, "top_probability": self.top}
        if isinstance(self.codec, NoLogits):
            return {name: [] for name in by_name}
        answered = ~self.skipped[rows_of(self.layout.indptr)]
        if self._is_scored is not None and not isinstance(self.codec, SparseCodec):
            answered &= self._is_scored
        sketches: dict[str, list[float]] = {}
        for name, values in by_name.items():
            sketches[name] = []  # empty where a shard has no answer
            if answered.any():
                sketches[name] = np.quantile(values[answered], QUANTILES).round(6).tolist()
        return sketches


def _together(vectors: torch.Tensor | Projected | Float32) -> int:
    """How many positions are stored and summed up together."""
    projector = getattr(vectors, "projector", None)
    if projector is not None:
        return int(projector.together)
    values = COPIED_VALUES if getattr(vectors, "is_cuda", False) else CPU_VALUES
    return values // vectors.shape[1]


def empty(column: Stored, records: int) -> Array:
    """Room for so many records of a column."""
    shape = (records, column.width) if column.width else (records,)
    return zeros(shape, column.dtype)
