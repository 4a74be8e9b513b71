"""A teacher in the loop of a training: asked in every step, in place of a cache."""

from __future__ import annotations

from dataclasses import replace

from logitcache.data.preprocess.tokens import prepare
from logitcache.data.tasks.classification import Classification
from logitcache.errors import FingerprintMismatch
from logitcache.records import Examples
from logitcache.reporter import Reporter
from logitcache.stages.job import Job
from logitcache.teacher.model import LiveTeacher, TeacherModel, load_teacher


def live_teacher(job: Job, rows: Examples, reporter: Reporter) -> LiveTeacher:
    """The teacher that a run names, for its training rows. Raises SpecError where there is none,
    FingerprintMismatch where it gives other numbers to the tokens.
    """
    assert job.config.live is not None
    kind: type[Classification] = type(job.task)
    teacher = load_teacher(
        job.config.live, kind=kind, trust_remote_code=job.config.trust_remote_code
    )
    _check_tokens(job, teacher)
    reporter.note(f"teacher: {teacher.name}, asked in every step: {teacher.columns_in_words()}")
    read = prepare(teacher.tokenizer, job.train, teacher.max_length)
    return LiveTeacher(teacher, replace(read, padding=teacher.padding, views=rows.views))


def _check_tokens(job: Job, teacher: TeacherModel) -> None:
    tokens = job.tokenizer.get_vocab()
    teacher_tokens = teacher.tokenizer.get_vocab()
    if tokens == teacher_tokens:
        return
    raise FingerprintMismatch(
        expected=f"a tokenizer with the {len(teacher_tokens):,} tokens of the teacher",
        found=f"one with {len(tokens):,}, or other numbers",
        advice=f"Give --tokenizer {job.config.live}.",
        where=f"--live {job.config.live}",
    )
