"""The signals that a dump keeps beside, or in place of, logits: planned, and assembled for a shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from logitcache.cache.layout import EVERY_TOKEN, StoredSignal
from logitcache.config.signals import vector_signals
from logitcache.config.teacher import DumpSettings
from logitcache.errors import SpecError
from logitcache.records import Array, Int64, chosen, rows_of
from logitcache.store.columns import ROW, ends
from logitcache.store.manifest import Plan
from logitcache.store.space import zeros
from logitcache.targets.nothing import NoLogits
from logitcache.targets.table import codec_from_dict, named, parse

if TYPE_CHECKING:
    import torch

    from logitcache.models.projection import Projected
    from logitcache.teacher.model import TeacherModel


@dataclass(frozen=True)
class TeacherOutput:
    """What a teacher gave for a batch: vectors of kept positions f[P, W] (None where they are not
    kept), and by name its signals of all tokens f[S, d], or of rows f[B, d].
    """

    logits: torch.Tensor | Projected | None
    signals: Mapping[str, torch.Tensor]


def kept_signals(
    settings: DumpSettings, teacher: TeacherModel
) -> tuple[tuple[StoredSignal, ...], dict[str, Array]]:
    """(the signals that a dump keeps, the tensors of the teacher that a cache keeps with them).
    Raises SpecError for a signal that the teacher has not, or that is named twice.
    """
    from logitcache.models.signals import signal_of

    kept: list[StoredSignal] = []
    assets: dict[str, Array] = {}
    for spec in vector_signals(settings.signals):
        signal = signal_of(spec.name).resolved(teacher.model)
        codec = parse(spec.codec).codec(signal.width(teacher.model))
        if any(signal.name == other.name for other in kept):
            raise SpecError(
                expected="each signal once",
                found=f"{signal.name} twice, counted from both ends",
                advice="Name it once.",
                where="--signal",
            )
        kept.append(StoredSignal(signal.name, codec, ROW if signal.per_row else EVERY_TOKEN))
        assets |= signal.assets(teacher.model)
    if kept and settings.sequences.views not in (None, 1) and teacher.kind.views_are_draws:
        raise SpecError(
            expected="one view, as each would hold the same vectors",
            found=settings.sequences.views,
            advice="Leave --views out.",
            where="--signal",
        )
    return tuple(kept), assets


def recorded_signals(plan: Plan) -> tuple[str, ...]:
    """The signals of a plan as ``--signal`` takes them."""
    signals = []
    for name, recorded in plan.targets.items():
        codec = codec_from_dict(recorded)
        if isinstance(codec, NoLogits):
            continue
        settings = named(recorded).partition(":")[2] if name != "logits" else ""
        signals.append(f"{name},{settings}" if settings else name)
    return tuple(signals)


class SignalColumns:
    """The columns of a shard's signals, filled batch by batch. ``tokens`` i64[n + 1]: row ends."""

    def __init__(self, kept: Sequence[StoredSignal], tokens: Int64) -> None:
        self.kept = kept
        self.tokens = tokens
        rows = len(tokens) - 1
        # rows with a vector that does not fit, by signal
        self.unfit = {signal.name: np.zeros(rows, np.bool_) for signal in kept}
        self.not_finite = np.zeros(rows, np.bool_)
        self.columns: dict[str, Array] = {}
        for signal in kept:
            records = rows if signal.level == ROW else int(tokens[-1])
            for column in signal.columns():
                self.columns[column.name] = zeros(column.shape(records), column.dtype)
        if any(signal.level == EVERY_TOKEN for signal in kept):
            self.columns[ends(EVERY_TOKEN).name] = tokens[1:]

    def add(self, rows: Int64, signals: Mapping[str, torch.Tensor]) -> None:
        """What the teacher gave for the rows at these places of the shard."""
        for signal in self.kept:
            vectors = signals[signal.name]
            fits = signal.codec.fits(vectors).cpu().numpy()
            self._put(signal, rows, signal.codec.pack(signal.codec.reduce(vectors)))
            if not fits.all():
                row = rows
                if signal.level != ROW:
                    row = rows[rows_of(chosen(self.tokens, rows)[0])]
                self.unfit[signal.name][row[~fits]] = True
                is_finite = vectors.isfinite().all(1).cpu().numpy()
                self.not_finite[row[~is_finite]] = True

    @property
    def skipped(self) -> Array:
        """Rows with a vector that does not fit: bool[n]."""
        skipped: Array = np.any(list(self.unfit.values()), axis=0)
        return skipped

    def check_fits(self, row_id: Int64, where: str, after: str) -> None:
        """Raises SpecError naming rows with vectors that their codec cannot hold closely enough."""
        for signal in self.kept:
            unfit = self.unfit[signal.name]
            if not unfit.any():
                continue
            codec = signal.codec
            advice = f"Use --signal {signal.name},dtype=bfloat16"
            expected = f"vectors that {codec.dtype} holds"
            if codec.dtype == "int8":
                expected += f" with a relative error of at most {codec.error:g}"
                advice = f"Use --signal {signal.name},dtype=float16, or a larger error="
            raise SpecError(
                expected=expected,
                found=f"{unfit.sum()} rows that have others (row {row_id[unfit][0]})",
                advice=f"{after} {advice}, or store no answer for them (--on-nonfinite skip).",
                where=f"{where}: {signal.name}",
            )

    def copy(self, rows: Int64, stored: Mapping[str, Mapping[str, Array]]) -> None:
        """The columns of rows that an older cache has."""
        for signal in self.kept:
            self._put(signal, rows, stored[signal.name])

    def _put(self, signal: StoredSignal, rows: Int64, columns: Mapping[str, Array]) -> None:
        index = rows if signal.level == ROW else chosen(self.tokens, rows)[1]
        for column in signal.codec.columns():
            self.columns[signal.column(column.name)][index] = columns[column.name]
