"""What a configuration says of outputs, precision and problem is put right, or refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Source
from logitcache.data.tasks.classification import Classification
from logitcache.errors import SpecError
from logitcache.models.load import load_tokenizer
from logitcache.student.model import build_student
from logitcache.teacher.model import load_teacher
from tests.models.tiny import KINDS, LABELS, LIMIT, Kind

Folder = Callable[[Kind], Path]
TASK = Classification(len(LABELS), LABELS)
PLAIN = KINDS[0]


@pytest.fixture
def changed(kind_folder: Folder, tmp_path: Path) -> Callable[..., str]:
    """``changed(kind, name=value)``: the checkpoint with other values in its config.json."""

    def change(kind: Kind = PLAIN, **values: Any) -> str:
        path = Path(shutil.copytree(kind_folder(kind), tmp_path / "changed"))
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps({**config, **values}))
        return str(path)

    return change


@pytest.mark.parametrize(
    "value", [{"return_dict": False}, {"output_attentions": True, "output_hidden_states": True}]
)
@pytest.mark.parametrize("kind", [PLAIN, Kind("llama", "open", "left", pad=None)], ids=str)
def test_outputs_are_as_asked_for(
    kind_folder: Folder,
    changed: Callable[..., str],
    mixed: Source,
    kind: Kind,
    value: dict[str, Any],
) -> None:
    plain = load_teacher(str(kind_folder(kind)), device="cpu")
    rows = prepare(plain.tokenizer, mixed.split("train"), LIMIT)
    expected = plain.answers(rows, np.arange(6))
    path = changed(kind, **value)
    teacher = load_teacher(path, device="cpu")
    torch.testing.assert_close(teacher.answers(rows, np.arange(6)), expected)
    for init in ("pretrained", "random"):
        student = build_student(path, init, TASK, load_tokenizer(path), LIMIT, 0)
        output = student(input_ids=torch.ones((1, 4), dtype=torch.long))
        assert output.get("attentions") is output.get("hidden_states") is None


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
@pytest.mark.parametrize("init", ["pretrained", "random"])
def test_students_are_trained_in_single_precision(
    changed: Callable[..., str], name: str, init: str
) -> None:
    path = changed(**{name: "bfloat16"})
    student = build_student(path, init, TASK, load_tokenizer(path), LIMIT, 0)
    assert {p.dtype for p in student.parameters()} == {torch.float32}
    assert student.config.dtype == torch.float32


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_teachers_of_other_problems_are_refused(changed: Callable[..., str], problem: str) -> None:
    with pytest.raises(
        SpecError, match=f"found problem_type {problem} in its config.json.*correct problem_type"
    ):
        load_teacher(changed(problem_type=problem), device="cpu")


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_students_of_other_problems_begin_with_a_fresh_head(
    kind_folder: Folder, changed: Callable[..., str], tmp_path: Path, problem: str
) -> None:
    before = AutoModelForSequenceClassification.from_pretrained(kind_folder(PLAIN))
    path = changed(problem_type=problem)
    student, again = (
        build_student(path, "pretrained", TASK, load_tokenizer(path), LIMIT, 3) for _ in range(2)
    )
    body = student.base_model_prefix
    for name, tensor in student.state_dict().items():
        same = torch.equal(tensor, before.state_dict()[name])
        assert same == (name.startswith(body) or name.endswith("classifier.bias"))
        assert torch.equal(tensor, again.state_dict()[name])
    student.save_pretrained(tmp_path / "saved")
    saved = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    assert saved.config.problem_type == "single_label_classification"
    inputs = AutoTokenizer.from_pretrained(path)(["the film", "very dull"], return_tensors="pt")
    labels = torch.tensor([1, 2])
    output = saved(**inputs, labels=labels)
    torch.testing.assert_close(
        output.loss, torch.nn.functional.cross_entropy(output.logits, labels)
    )


def test_a_students_vocabulary_gets_a_token_to_pad_with_where_it_has_none(
    kind_folder: Folder, mixed: Source, tmp_path: Path
) -> None:
    """A tokenizer that knows no special token but the unknown one, in which rows end."""
    path = Path(shutil.copytree(kind_folder(Kind("gpt2", "open", pad=None)), tmp_path / "student"))
    settings = json.loads((path / "tokenizer_config.json").read_text())
    kept = {
        name: value
        for name, value in settings.items()
        if name not in ("pad_token", "eos_token", "bos_token")
    }
    (path / "tokenizer_config.json").write_text(json.dumps(kept))
    tokenizer = load_tokenizer(str(path))
    assert set(tokenizer.all_special_tokens) == {"<unk>"}
    student = build_student(str(path), "pretrained", TASK, tokenizer, LIMIT, 0)
    assert student.config.pad_token_id == tokenizer.pad_token_id != tokenizer.unk_token_id
    assert student.get_input_embeddings().num_embeddings >= len(tokenizer)
