"""``logitcache codecs``: what each codec keeps of a teacher's answers on a sample of its data, and
the best one for a number of bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from logitcache.bench.codecs import WITHIN_BUDGET, CodecFigures, Sample, at_bytes, figures
from logitcache.config.codecs import CodecsConfig
from logitcache.config.dump import DumpConfig
from logitcache.data.order import subset
from logitcache.errors import SpecError
from logitcache.models.heads import has_head, head_of
from logitcache.records import Int64
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.dump import planner
from logitcache.stages.rows import load
from logitcache.targets.table import parse
from logitcache.teacher.calibration import unigram_of
from logitcache.teacher.panel import ask_all
from logitcache.teacher.plan import Planned


def compare_codecs(
    config: DumpConfig, settings: CodecsConfig, reporter: Reporter = SILENT
) -> list[CodecFigures]:
    """The figures of the codecs asked for; within a budget, by the error of a batch's gradient.
    Raises SpecError for a head that is no linear map, or a budget that no codec keeps to.
    """
    for text in settings.codecs:
        parse(text).check_answers(are_words_counted=True)
    sample = sample_of(config, settings.positions, reporter)
    width = sample.logits.shape[1]
    codecs = list(settings.codecs)
    if settings.bytes_per_token is not None:
        chosen = [at_bytes(kind, sample, settings.bytes_per_token, width) for kind in WITHIN_BUDGET]
        codecs = list(filter(None, chosen))
    if not codecs:
        raise SpecError(
            expected="a budget that some codec keeps to",
            found=f"{settings.bytes_per_token:g} bytes a token",
            advice="Give at least 8.",
            where="--bytes-per-token",
        )
    cases = []
    with reporter.stage("measure", "codecs", len(codecs)) as stage:
        for text in codecs:
            cases.append(figures(parse(text).codec(width), sample))
            stage.advance()
    if settings.bytes_per_token is not None:
        cases.sort(key=lambda case: case.batch_gradient_error)
    return cases


def sample_of(config: DumpConfig, positions: int, reporter: Reporter) -> Sample:
    """The teacher's answers at some positions of rows drawn from the split."""
    source = load(config, reporter)
    _, plan = planner(config, source, None, reporter)
    planned = plan(config.split, [])
    assert isinstance(planned, Planned)
    model = planned.panel.first.model
    if not has_head(model) or len(head_of(model).weight) < planned.codec.width:
        raise SpecError(
            expected="logits that one linear map makes",
            found=type(model).__name__,
            where="--teacher",
        )
    per_row = max(1, len(planned.rows.labels) // max(1, len(planned.rows)))
    drawn = subset(len(planned.rows), max(1, -(-positions // per_row)))
    examples = planned.prepare(0, len(planned.rows), drawn)
    kept_positions = planned.positions(examples)
    receiver, _ = ask_all(
        planned.panel,
        examples,
        planned.batch_tokens,
        lambda: _Kept(kept_positions.indptr, kept_positions.label),
    )
    logits, label = receiver.joined(positions)
    width = planned.codec.width
    weight = head_of(model, width).weight.detach().float().cpu()
    return Sample(logits, label, weight, torch.from_numpy(unigram_of(planned.rows, width)))


@dataclass
class _Kept:
    """Keeps answers and labels of their positions. ``indptr`` i64[N + 1], ``label`` i64[P]."""

    indptr: Int64
    label: Int64
    logits: list[torch.Tensor] = field(default_factory=list)
    labels: list[Int64] = field(default_factory=list)

    def add(self, index: Int64, vectors: torch.Tensor) -> None:
        self.logits.append(vectors.float().cpu().clone())
        for row in index:
            self.labels.append(self.label[self.indptr[row] : self.indptr[row + 1]])

    def joined(self, positions: int) -> tuple[torch.Tensor, torch.Tensor]:
        """At most so many positions: logits f32[P, V], labels i64[P]."""
        labels = torch.from_numpy(np.concatenate(self.labels))
        return torch.cat(self.logits)[:positions], labels[:positions]
