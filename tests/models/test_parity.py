"""Teachers and students answer a row in a batch as they answer it alone, called by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from logitcache.cache.cache import Cache
from logitcache.config.teacher import DumpSettings
from logitcache.data.collate import Collator
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Source
from logitcache.data.tasks.classification import Classification
from logitcache.models.load import load_tokenizer
from logitcache.models.probe import find_padding
from logitcache.records import Padding, Side
from logitcache.student.methods import objective
from logitcache.student.model import build_student, save
from logitcache.student.trainer import Distiller
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import load_teacher
from tests.models.tiny import KINDS, LABELS, LIMIT, Kind, by_hand
from tests.shortly import some

pytestmark = pytest.mark.usefixtures("whole_probes")

Folder = Callable[[Kind], Path]
StudentOf = Callable[[Kind], tuple[Any, Any, Padding]]
TASK = Classification(len(LABELS), LABELS)


def each_kind(*without: str) -> pytest.MarkDecorator:
    """Every kind on single texts and on pairs; in `make test` they take turns."""
    cases = product((kind for kind in KINDS if kind.model not in without), ("singles", "pairs"))
    chosen = some(cases, lambda case: KINDS.index(case[0]) % 2 == (case[1] == "pairs"))
    return pytest.mark.parametrize(("kind", "mixed"), chosen, indirect=["mixed"], ids=str)


@pytest.fixture(scope="module")
def student_of(kind_folder: Folder, mixed: Source) -> StudentOf:
    """The student of a kind, its tokenizer and how its batches are padded: made once."""

    @cache
    def made(kind: Kind) -> tuple[Any, Any, Padding]:
        path, rows = str(kind_folder(kind)), mixed.split("train")
        tokenizer = load_tokenizer(path)
        student = build_student(path, "pretrained", TASK, tokenizer, LIMIT, 0).eval()
        padding = Padding.of(tokenizer)
        found = find_padding(student, tokenizer, padding, rows, LIMIT, torch.float32)
        return student, tokenizer, found

    return made


@each_kind()
def test_cached_answers_are_those_of_rows_asked_alone(
    kind_folder: Folder, mixed: Source, tmp_path: Path, kind: Kind
) -> None:
    path, rows = kind_folder(kind), mixed.split("train")
    model = AutoModelForSequenceClassification.from_pretrained(path, dtype="float32").eval()
    with torch.no_grad():
        expected = by_hand(model, AutoTokenizer.from_pretrained(path), *rows.texts())
    settings = DumpSettings(LIMIT, batch_tokens=300, codec="float32")
    dump_split(load_teacher(str(path), device="cpu"), mixed, "train", tmp_path / "c", settings)
    answers = Cache.open(tmp_path / "c").take(np.arange(len(rows))).logits
    np.testing.assert_allclose(answers, expected - expected.max(1, keepdim=True).values, atol=2e-5)


@each_kind()
def test_a_students_loss_and_gradient_are_those_of_rows_one_at_a_time(
    student_of: StudentOf, mixed: Source, kind: Kind
) -> None:
    rows = mixed.split("train")
    student, tokenizer, padding = student_of(kind)
    student.zero_grad()
    prepared = replace(prepare(tokenizer, rows, LIMIT), padding=padding)
    distiller = Distiller(student, objective("base"), padding)
    batch = Collator(prepared, TASK)(np.arange(len(rows))).map(torch.from_numpy)
    summed, logits = distiller(batch)
    summed.backward()
    gradients = {name: p.grad for name, p in student.named_parameters() if p.grad is not None}
    student.zero_grad()
    alone = by_hand(student, tokenizer, *rows.texts())
    torch.testing.assert_close(logits, alone, rtol=1e-4, atol=2e-5)
    loss = torch.nn.functional.cross_entropy(alone, batch.label, reduction="sum")
    assert summed.item() == pytest.approx(loss.item(), rel=1e-5)
    loss.backward()
    for name, parameter in student.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-3, atol=1e-3)


@each_kind("fnet")
def test_a_saved_student_answers_in_a_batch_as_alone(
    student_of: StudentOf, mixed: Source, tmp_path: Path, kind: Kind
) -> None:
    rows = mixed.split("train")
    student, tokenizer, padding = student_of(kind)
    assert padding.side is not Side.NONE
    tokenizer.padding_side = str(padding.side)
    save(student, tokenizer, tmp_path)
    saved = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert saved.config.pad_token_id == again.pad_token_id
    assert saved.config.problem_type == "single_label_classification"
    fields = [column for column in rows.texts() if column is not None]
    inputs = again(*fields, truncation=True, max_length=LIMIT, padding=True, return_tensors="pt")
    with torch.no_grad():
        alone = by_hand(student, tokenizer, *rows.texts())
        torch.testing.assert_close(
            by_hand(saved, again, *rows.texts()), alone, rtol=1e-4, atol=2e-5
        )
        if kind.mask:
            torch.testing.assert_close(saved(**inputs).logits, alone, rtol=1e-4, atol=2e-5)
