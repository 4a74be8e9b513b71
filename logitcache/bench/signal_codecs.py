"""``logitcache codecs --signal``: what each type of ``vectors`` keeps of a teacher's signals."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from logitcache.config.codecs import CodecsConfig
from logitcache.config.dump import DumpConfig
from logitcache.data.order import subset
from logitcache.records import Int64
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.dump import planner
from logitcache.stages.rows import load
from logitcache.targets.vectors import STORED, VectorCodec, relative_error
from logitcache.teacher.panel import ask_all
from logitcache.teacher.plan import Planned
from logitcache.teacher.signals import TeacherOutput


@dataclass(frozen=True)
class SignalFigures:
    """What one type keeps of a signal. Errors are ``|x' - x| / |x|`` of a vector."""

    name: str  # as --signal takes it
    bytes: float  # of a vector
    error: float  # on average
    largest_error: float
    fits: float  # share of the vectors that are within the codec's stated error


def compare_signal_codecs(
    config: DumpConfig, settings: CodecsConfig, reporter: Reporter = SILENT
) -> list[SignalFigures]:
    """The figures of every type for each signal of the configuration, on a sample of the split."""
    _, plan = planner(config, load(config, reporter), None, reporter)
    planned = plan(config.split, [])
    assert isinstance(planned, Planned)
    tokens = planned.plan.preparation["max_length"]
    drawn = subset(len(planned.rows), max(1, -(-settings.positions // tokens)))
    examples = planned.prepare(0, len(planned.rows), drawn)
    sample, _ = ask_all(planned.watching, examples, planned.batch_tokens, _Sample)
    figures = []
    for signal in planned.kept:
        vectors = torch.cat(sample.vectors[signal.name])[: settings.positions]
        for dtype in STORED:
            codec: VectorCodec = replace(signal.codec, dtype=dtype)
            error = relative_error(codec.restored(vectors), vectors)
            figures.append(
                SignalFigures(
                    name=f"{signal.name},dtype={dtype}",
                    bytes=codec.bytes_per_position(),
                    error=float(error.mean()),
                    largest_error=float(error.max()),
                    fits=float(codec.fits(vectors).float().mean()),
                )
            )
    return figures


@dataclass
class _Sample:
    """Keeps the signals of all batches."""

    vectors: dict[str, list[torch.Tensor]] = field(default_factory=dict)

    def add(self, index: Int64, output: TeacherOutput) -> None:
        for name, vectors in output.signals.items():
            self.vectors.setdefault(name, []).append(vectors.float().cpu().clone())
