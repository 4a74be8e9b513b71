"""Teacher and student of a forecast of a language model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from logitcache.bench.models import (
    LONGEST,
    VOCABULARY,
    as_teacher,
    drawn_language_model,
    teacher_of,
    untrained_teacher,
)
from logitcache.bench.workload import drawn_tokenizer, note_models
from logitcache.config.bench import PlanConfig
from logitcache.config.own import usual_init
from logitcache.config.shapes import is_shape
from logitcache.data.source import Source
from logitcache.data.tasks.language import LanguageModel
from logitcache.data.tasks.table import TASKS
from logitcache.errors import SpecError
from logitcache.models.load import load_tokenizer
from logitcache.reporter import Reporter
from logitcache.student.model import build_student, student_tokenizer
from logitcache.teacher.model import TeacherModel


@dataclass(frozen=True)
class Models:
    """A student and a teacher of one vocabulary."""

    kind: type[LanguageModel]
    student: Any  # a PreTrainedModel
    teacher: TeacherModel
    # the teacher's head is not trained: its answers mean nothing, and take as long
    random_head: bool

    @property
    def tokenizer(self) -> Any:
        return self.teacher.tokenizer

    @property
    def width(self) -> int:
        """Words of the vocabulary."""
        assert self.teacher.width is not None
        return self.teacher.width

    @property
    def task(self) -> LanguageModel:
        return self.kind(self.width, None)


def load_models(
    config: PlanConfig, documents: Source | None, device: str, reporter: Reporter
) -> Models:
    """The models that a plan names, on a device. Without ``documents``, and with ``shape_only``,
    weights are random. Raises SpecError for what cannot be loaded.
    """
    work = config.work
    kind = TASKS[str(work.columns.task)]
    assert issubclass(kind, LanguageModel)
    if work.shape_only:
        teacher = _drawn_teacher(config, kind, documents, device)
        student = drawn_language_model(work.student, kind, teacher.width or 0, work.seed)
        random_head = True
    else:
        assert documents is not None
        teacher, random_head = _teacher(config, kind, documents, device, reporter)
        init = work.init or usual_init(work.student)
        task = kind(teacher.width or 0, None)
        length = config.sequences.seq_len or LONGEST
        student = build_student(work.student, init, task, teacher.tokenizer, length, work.seed)
    nn.Module.to(student, torch.device(device))
    note_models(work, student, teacher.model, device, reporter)
    return Models(kind, student, teacher, random_head)


def _teacher(
    config: PlanConfig,
    kind: type[LanguageModel],
    documents: Source,
    device: str,
    reporter: Reporter,
) -> tuple[TeacherModel, bool]:
    """The teacher, and whether its head is random."""
    work = config.work
    length = config.sequences.seq_len or LONGEST
    if not is_shape(work.teacher):
        return teacher_of(work, kind, length, device, reporter, tokenizer=work.student_tokenizer)
    tokenizer = student_tokenizer(
        work.teacher,
        work.student_tokenizer,
        documents.split("train"),
        VOCABULARY,
        length,
        work.workspace.tokenizers,
    )
    task = kind(kind.width(tokenizer) or 0, None)
    return untrained_teacher(work, "random", task, tokenizer, length, device), True


def _drawn_teacher(
    config: PlanConfig, kind: type[LanguageModel], documents: Source | None, device: str
) -> TeacherModel:
    """A teacher of an architecture alone; its tokenizer is needed to tokenise documents."""
    work = config.work
    if documents is None:
        model = drawn_language_model(work.teacher, kind, work.vocabulary, work.seed)
        width = int(model.config.get_text_config().vocab_size)
        tokenizer = drawn_tokenizer(0)
    else:
        name = work.student_tokenizer or work.teacher
        try:
            tokenizer = load_tokenizer(name, work.revision, work.trust_remote_code)
        except SpecError as error:
            raise SpecError(
                expected="a tokenizer to count tokens",
                found=error.found or str(error),
                advice="Name one with --tokenizer, or say with --tokens how long each row is.",
                where="--shape-only",
            ) from error
        width = kind.width(tokenizer) or 0
        model = drawn_language_model(work.teacher, kind, width, work.seed)
    teacher = as_teacher(model, tokenizer, work, device)
    return replace(teacher, kind=kind, width=width)
