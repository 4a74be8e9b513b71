"""One function calls every classifier: what fails is one line that names model and row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from logitcache.config.teacher import DumpSettings
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Source
from logitcache.errors import SpecError
from logitcache.models.call import classify, out_of_memory
from logitcache.records import Padding, Side
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import TeacherModel, load_teacher
from tests.models.tiny import KINDS, LIMIT, ROWS, Kind

Folder = Callable[[Kind], Path]
SETTINGS = DumpSettings(LIMIT, 300)


@pytest.fixture
def teacher(kind_folder: Folder) -> TeacherModel:
    return load_teacher(str(kind_folder(KINDS[0])), device="cpu")


def failing(
    teacher: TeacherModel, monkeypatch: pytest.MonkeyPatch, fails: Callable[[torch.Tensor], bool]
) -> None:
    """From now on its forward pass fails on some batches."""
    whole = teacher.model.forward

    def forward(input_ids: torch.Tensor, **inputs: Any) -> Any:
        if fails(input_ids):
            raise AssertionError("these rows\ndo not fit together")
        return whole(input_ids=input_ids, **inputs)

    monkeypatch.setattr(teacher.model, "forward", forward)


@pytest.mark.parametrize("side", Side)
def test_rows_that_do_not_fit_together_are_asked_apart(
    teacher: TeacherModel, mixed: Source, monkeypatch: pytest.MonkeyPatch, side: Side
) -> None:
    """As BART with another number of end tokens in one row."""
    rows, places = prepare(teacher.tokenizer, mixed.split("train"), LIMIT), np.arange(ROWS)
    padding = Padding(side, 0, 0)
    asked = TeacherModel(teacher.model, teacher.tokenizer, "name", "float32", padding)
    expected = asked.answers(rows, places)
    failing(teacher, monkeypatch, lambda ids: len({int(row.sum()) % 2 for row in ids}) > 1)
    torch.testing.assert_close(asked.answers(rows, places), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", Side)
def test_a_row_that_a_model_fails_on_is_named(
    teacher: TeacherModel, mixed: Source, monkeypatch: pytest.MonkeyPatch, side: Side
) -> None:
    rows = prepare(
        teacher.tokenizer, mixed.split("train").select(np.arange(ROWS)[::-1].copy()), LIMIT
    )
    sums = np.add.reduceat(
        rows.inputs["input_ids"].values, rows.inputs["input_ids"].indptr[:-1]
    ).tolist()
    bad = next(place for place, total in enumerate(sums) if sums.count(total) == 1)
    failing(teacher, monkeypatch, lambda ids: sums[bad] in ids.sum(1).tolist())
    asked = TeacherModel(teacher.model, teacher.tokenizer, "name", "float32", Padding(side, 0, 0))
    with pytest.raises(SpecError) as caught:
        asked.answers(rows, np.arange(ROWS))
    message = str(caught.value)
    assert message.startswith(f"name: row {rows.row_id[bad]}: BertForSequenceClassification: ")
    assert "(AssertionError: these rows)" in message


def test_want_of_memory_is_not_the_models_fault(
    teacher: TeacherModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(**inputs: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(teacher.model, "forward", forward)
    inputs = {"input_ids": torch.ones((2, 3), dtype=torch.long)}
    with pytest.raises(torch.OutOfMemoryError) as caught:
        classify(teacher.model, inputs, teacher.padding)
    assert out_of_memory(caught.value)


def test_logits_of_another_shape_are_refused(
    teacher: TeacherModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Output:
        logits = torch.zeros((2, 3, 4))

    monkeypatch.setattr(teacher.model, "forward", lambda **inputs: Output())
    inputs = {"input_ids": torch.ones((2, 3), dtype=torch.long)}
    with pytest.raises(
        SpecError, match=r"expected logits of shape \(2, classes\) for 2 rows, found \(2, 3, 4\)"
    ):
        classify(teacher.model, inputs, teacher.padding)


def test_token_types_that_a_model_lacks_are_refused_with_advice_that_works(
    kind_folder: Folder, mixed: Source, tmp_path: Path
) -> None:
    import shutil

    if mixed.split("train").text_pair is None:
        return
    path = Path(
        shutil.copytree(kind_folder(Kind("roberta", "closed", pad="<unk>")), tmp_path / "teacher")
    )
    settings = json.loads((path / "tokenizer_config.json").read_text())
    names = ["input_ids", "token_type_ids", "attention_mask"]
    (path / "tokenizer_config.json").write_text(
        json.dumps({**settings, "model_input_names": names})
    )
    template = json.loads((path / "tokenizer.json").read_text())
    for part in template["post_processor"]["pair"][2:]:
        next(iter(part.values()))["type_id"] = 1
    (path / "tokenizer.json").write_text(json.dumps(template))
    with pytest.raises(SpecError, match="Take token_type_ids out of model_input_names in its"):
        dump_split(load_teacher(str(path), device="cpu"), mixed, "train", tmp_path / "c", SETTINGS)
    names.remove("token_type_ids")
    (path / "tokenizer_config.json").write_text(
        json.dumps({**settings, "model_input_names": names})
    )
    dump_split(load_teacher(str(path), device="cpu"), mixed, "train", tmp_path / "c", SETTINGS)


def test_a_teacher_left_in_train_mode_answers_without_dropout(
    teacher: TeacherModel, mixed: Source
) -> None:
    rows = prepare(teacher.tokenizer, mixed.split("train"), LIMIT)
    expected = teacher.answers(rows, np.arange(5))
    teacher.model.train()
    assert torch.equal(teacher.answers(rows, np.arange(5)), expected)
