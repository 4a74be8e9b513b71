"""What is timed: a student, a teacher and rows of the lengths that training would meet.

The time of a step depends on neither weights nor tokens, so ``shape_only`` draws both: weights of a
well-known architecture, of LAYERSxWIDTH, or of a folder's or the hub's ``config.json``; tokens of
the data's lengths, or of one length.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from logitcache.bench.models import (
    VOCABULARY,
    as_teacher,
    config_of,
    random_model,
    teacher_of,
    untrained_teacher,
)
from logitcache.config.bench import WorkloadConfig
from logitcache.config.own import usual_init
from logitcache.config.shapes import is_shape
from logitcache.data.match import check_count
from logitcache.data.order import subset
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.selection import held_out
from logitcache.data.source import Rows, Source
from logitcache.data.tasks.classification import Classification
from logitcache.data.tasks.table import refuse_others
from logitcache.errors import SpecError
from logitcache.models.load import check_device, load_tokenizer, longest_input
from logitcache.models.quiet import quiet
from logitcache.models.tokenizer import tokenizer_fingerprint
from logitcache.models.vocabulary import build_tokenizer
from logitcache.records import Examples, Int64, Padding, Ragged, Side, ends_of
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.rows import named_rows
from logitcache.student.model import build_student, student_tokenizer
from logitcache.teacher.model import TeacherModel


@dataclass(frozen=True)
class Workload:
    """A student and a teacher on the device they are timed on, and the rows they are given."""

    config: WorkloadConfig
    device: str
    student: PreTrainedModel
    teacher: TeacherModel
    tokenizer: Any  # the student's
    task: Classification
    rows: Examples  # in the student's tokens; row_id from 0
    teacher_rows: Examples  # the same rows in the teacher's; the same object where the tokenizer is
    train_rows: int  # of the whole split
    source: str
    # the teacher's head is not trained: its answers mean nothing, and take as long
    random_head: bool

    @property
    def num_labels(self) -> int:
        return self.task.num_labels

    @property
    def shape_only(self) -> bool:
        return self.config.shape_only

    @cached_property
    def same_inputs(self) -> bool:
        """Whether a teacher in the loop can read the student's own batch."""
        return self.teacher_rows is self.rows


def load(config: WorkloadConfig, reporter: Reporter = SILENT) -> Workload:
    """Student, teacher and rows. Raises SpecError for what cannot be loaded, FingerprintMismatch
    for a teacher of other labels than the data's.
    """
    config.check()
    device = str(check_device(config.device))
    with quiet():
        if config.shape_only:
            work = _shapes(config, device, reporter)
        else:
            work = _checkpoints(config, device, reporter)
    note_models(config, work.student, work.teacher.model, device, reporter)
    return work


def note_models(
    config: WorkloadConfig,
    student: nn.Module,
    teacher: nn.Module,
    device: str,
    reporter: Reporter,
) -> None:
    """Note the size and the device of both models."""
    models = {f"student: {config.student}": student, f"teacher: {config.teacher}": teacher}
    for name, model in models.items():
        millions = sum(weight.numel() for weight in model.parameters()) / 1e6
        reporter.note(f"{name}, {millions:.1f} M parameters, on {device}")


def _shapes(config: WorkloadConfig, device: str, reporter: Reporter) -> Workload:
    """Random weights and tokens. Of the data, only the lengths of rows and the classes are used."""
    trust = config.trust_remote_code
    student_config = config_of(config.student, config.vocabulary)
    teacher_config = config_of(config.teacher, revision=config.revision, trust_remote_code=trust)
    if config.tokens is None:
        source = _source(config, reporter)
        split = source.split("train")
        task = Classification(source.num_labels, source.label_names)
        lengths = _lengths(config, _sample(split, config), split)
        train_rows = len(split)
        name = source.name
    else:
        task = Classification(config.classes, None)
        train_rows = config.rows or 64 * config.batch_size
        lengths = np.full(train_rows, config.tokens)
        name = f"{config.tokens} tokens"
    student = random_model(student_config, task.num_labels, config.seed)
    teacher = random_model(teacher_config, task.num_labels, config.seed, trust_remote_code=trust)
    rows = _random_rows(lengths, [student_config, teacher_config], task.num_labels, config.seed)
    tokenizer = drawn_tokenizer(rows.padding.token)
    flag = "--max-length" if config.tokens is None else "--tokens"
    check_length(int(lengths.max()), student, teacher, tokenizer, flag)
    nn.Module.to(student, torch.device(device))
    return Workload(
        config=config,
        device=device,
        student=student,
        teacher=as_teacher(teacher, tokenizer, config, device),
        tokenizer=tokenizer,
        task=task,
        rows=rows,
        teacher_rows=rows,
        train_rows=train_rows,
        source=name,
        random_head=True,
    )


def check_length(longest: int, student: Any, teacher: Any, tokenizer: Any, flag: str) -> None:
    """Raises SpecError for a row that is longer than both models take; ``flag`` says how long."""
    limit = min(longest_input(model, tokenizer) for model in (student, teacher))
    if longest > limit:
        raise SpecError(
            expected=f"rows of at most {limit} tokens, which both models take",
            found=longest,
            advice=f"Give {flag} {limit}, or other models.",
        )


def _checkpoints(config: WorkloadConfig, device: str, reporter: Reporter) -> Workload:
    """Weights and tokens as a training would have them."""
    source = _source(config, reporter)
    split = source.split("train")
    sample = _sample(split, config)
    task = Classification(source.num_labels, source.label_names)
    folder = config.workspace.tokenizers
    tokenizer = student_tokenizer(
        config.student,
        config.student_tokenizer,
        split,
        config.vocabulary,
        config.max_length,
        folder,
    )
    length = min(config.max_length, tokenizer.model_max_length)
    init = config.init or usual_init(config.student)
    student = build_student(config.student, init, task, tokenizer, length, config.seed)
    nn.Module.to(student, torch.device(device))
    teacher, random_head = _teacher(config, task, split, device, reporter)
    rows = prepare(tokenizer, sample, min(length, longest_input(student, tokenizer)))
    teacher_length = min(config.max_length, teacher.max_length)
    teacher_rows = rows
    own = teacher.tokenizer
    is_same = own is tokenizer or tokenizer_fingerprint(own) == tokenizer_fingerprint(tokenizer)
    if teacher_length < length or not is_same:
        teacher_rows = prepare(teacher.tokenizer, sample, teacher_length)
    return Workload(
        config=config,
        device=device,
        student=student,
        teacher=teacher,
        tokenizer=tokenizer,
        task=task,
        rows=rows,
        teacher_rows=teacher_rows,
        train_rows=len(split),
        source=source.name,
        random_head=random_head,
    )


def _teacher(
    config: WorkloadConfig, task: Classification, split: Rows, device: str, reporter: Reporter
) -> tuple[TeacherModel, bool]:
    """The teacher, and whether its head is random."""
    length = config.max_length
    if is_shape(config.teacher):
        folder = config.workspace.tokenizers
        tokenizer = student_tokenizer(config.teacher, None, split, VOCABULARY, length, folder)
        return untrained_teacher(config, "random", task, tokenizer, length, device), True
    teacher, random_head = teacher_of(config, task, length, device, reporter)
    if not random_head:
        check_count(teacher.label_names, task, config.teacher)
    return teacher, random_head


def _source(config: WorkloadConfig, reporter: Reporter) -> Source:
    source = named_rows(config, None, reporter)
    refuse_others(source, Classification)
    return held_out(source, reporter)


def _sample(split: Rows, config: WorkloadConfig) -> Rows:
    """As many labelled train rows as the configuration wants, numbered from 0."""
    rows = np.flatnonzero(split.label >= 0)
    if not len(rows):
        raise SpecError(
            expected="labelled training rows", found="none with a label", where=config.data
        )
    if config.rows is not None:
        rows = rows[subset(len(rows), config.rows, config.seed)]
    return replace(split.select(rows), row_id=np.arange(len(rows)))


def _lengths(config: WorkloadConfig, sample: Rows, split: Rows) -> Int64:
    """The sample's lengths in tokens, by the student's tokenizer, or by a vocabulary learnt from
    the split where that is not on this machine.
    """
    tokenizer = None
    if not is_shape(config.student):
        with suppress(SpecError):
            tokenizer = load_tokenizer(config.student)
    if tokenizer is None:
        folder = config.workspace.tokenizers / f"lengths-{split.digest()[:12]}"
        texts, pairs = split.texts()
        tokenizer = build_tokenizer(texts + (pairs or []), VOCABULARY, 512, folder)
    return prepare(tokenizer, sample, config.max_length).lengths()


def _random_rows(
    lengths: Int64, configs: list[PreTrainedConfig], classes: int, seed: int
) -> Examples:
    """Rows of these lengths, of tokens that both models know."""
    source = np.random.default_rng(seed)
    n = len(lengths)
    row_hash = source.integers(-(2**62), 2**62, n)
    label = source.integers(0, classes, n)
    words = min(int(config.vocab_size) for config in configs)
    pads = [config.pad_token_id for config in configs if config.pad_token_id is not None]
    pad = int(pads[0]) if pads else 0
    indptr = ends_of(lengths)
    tokens = source.integers(min(5, words - 1), words - 1, indptr[-1])
    return Examples(
        row_id=np.arange(n),
        view=np.zeros(n, np.int64),
        row_hash=row_hash,
        label=label,
        inputs={"input_ids": Ragged(tokens.astype(np.int32), indptr)},
        cut=np.zeros(n, np.bool_),
        padding=Padding(Side.RIGHT, pad, 0),
    )


def drawn_tokenizer(pad_id: int) -> Any:
    """A tokenizer that can only pad: all that the stock Trainer's collator needs."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    words = {"[PAD]": pad_id, "[UNK]": 0 if pad_id else 1}
    return transformers.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer(WordLevel(words, "[UNK]")),
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "attention_mask"],
    )
