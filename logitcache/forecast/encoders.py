"""What the forecast of a sentence encoder is made of: its texts, both models, the plan of the dump.
The vectors that its student learns are drawn: they decide no time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from logitcache.bench.answering import plan_dump
from logitcache.bench.machine import peak_memory
from logitcache.bench.steps import Cases
from logitcache.bench.workload import Workload, note_models
from logitcache.config.bench import PlanConfig
from logitcache.config.data import EMBEDDING
from logitcache.config.own import usual_init
from logitcache.data.collate import Collator
from logitcache.data.order import subset
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.selection import held_out
from logitcache.data.source import Rows
from logitcache.data.tasks.embedding import SentenceEmbedding
from logitcache.data.tasks.table import refuse_others
from logitcache.forecast.calibrate import Calibration
from logitcache.forecast.setup import SAMPLE, Inputs, density_of
from logitcache.models.load import check_device, longest_input
from logitcache.models.quiet import quiet
from logitcache.models.signals import signal_of
from logitcache.records import Answers, Int64, Ragged, evenly_spaced
from logitcache.reporter import Reporter
from logitcache.stages.rows import named_rows
from logitcache.student.model import build_student, student_tokenizer
from logitcache.student.terms.objective import SumObjective
from logitcache.teacher.model import LiveTeacher, load_teacher


def load_encoders(config: PlanConfig, reporter: Reporter) -> Inputs:
    """Load models and texts, and plan the dump. Raises SpecError."""
    process = peak_memory()
    source = held_out(named_rows(config.work, None, reporter), reporter)
    refuse_others(source, SentenceEmbedding)
    work = _workload(config, source.name, source.split("train"), reporter)
    dump = plan_dump(work, source, config.split, config.settings, None)
    rows = len(dump.rows)
    sample = dump.prepare(0, rows, evenly_spaced(rows, SAMPLE))
    return Inputs(
        work,
        (dump,),
        dev_rows=0,
        unlabelled_rows=0,
        all_labelled_rows=work.train_rows,
        labelled_rows=min(work.train_rows, config.rows or work.train_rows),
        lengths=(sample.lengths(),),
        densities=(density_of(dump, sample),),
        codecs={config.stored: dump.codec},
        process=process if work.device == "cpu" else 0,
        finetune=None,
    )


def _workload(config: PlanConfig, name: str, split: Rows, reporter: Reporter) -> Workload:
    """Both models, and some of the texts in the tokens of each."""
    work = config.work
    device = str(check_device(work.device))
    trust = work.trust_remote_code
    longest = work.max_length
    folder = work.workspace.tokenizers
    task = SentenceEmbedding(0, None)
    with quiet():
        teacher = load_teacher(
            work.teacher,
            work.dtype,
            device,
            kind=SentenceEmbedding,
            revision=work.revision,
            trust_remote_code=trust,
            pooling=config.pooling,
        )
        tokenizer = student_tokenizer(
            work.student, work.student_tokenizer, split, work.vocabulary, longest, folder
        )
        init = work.init or usual_init(work.student)
        student = build_student(work.student, init, task, tokenizer, longest, work.seed)
    nn.Module.to(student, torch.device(device))
    note_models(work, student, teacher.model, device, reporter)
    rows = split.select(subset(len(split), work.rows or SAMPLE, work.seed))
    rows = replace(rows, row_id=np.arange(len(rows)))
    return Workload(
        config=work,
        device=device,
        student=student,
        teacher=teacher,
        tokenizer=tokenizer,
        task=task,
        rows=prepare(tokenizer, rows, min(longest, longest_input(student, tokenizer))),
        teacher_rows=prepare(teacher.tokenizer, rows, min(longest, teacher.max_length)),
        train_rows=len(split),
        source=name,
        random_head=False,
    )


@dataclass(frozen=True)
class DrawnVectors(LiveTeacher):
    """Vectors as a cache gives them, of random numbers."""

    def take(
        self, row_id: Int64, row_hash: Int64, view: Int64, signals: Sequence[str] = ()
    ) -> Answers:
        draw = np.random.default_rng(0)
        ends = np.arange(len(row_id) + 1)
        vectors = {}
        for name in signals:
            width = signal_of(name).width(self.teacher.model)
            values = draw.standard_normal((len(row_id), width)).astype(np.float16)
            vectors[name] = Ragged(values, ends)
        return Answers(row_hash, ends, np.zeros(len(row_id), np.int64), {}, vectors)


class EncoderCases(Cases):
    """A student of vectors alone."""

    def learns(self, name: str) -> tuple[Any, Collator]:
        work = self.work
        drawn = DrawnVectors(work.teacher, work.teacher_rows)
        return SumObjective.of(EMBEDDING), Collator(work.rows, work.task, {"drawn": drawn})


class EncoderCalibration(Calibration):
    """The timing of a sentence encoder's teacher and student."""

    kind = EncoderCases

    @property
    def width(self) -> int:
        """Numbers of the stored vector."""
        return sum(kept.codec.width for kept in self.planned.kept)
