"""A student of one's own: an ``nn.Module`` trained, saved, loaded and compared like any other."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

import logitcache
from logitcache.config.own import keep
from logitcache.config.study import StudyConfig
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.models.own import OwnConfig, OwnStudent
from logitcache.models.signals import signal_of
from logitcache.reporter import SILENT
from logitcache.study.dry import dry_run
from logitcache.study.run import planned
from tests.runs import result
from tests.shortly import slow

MODULE = """
import torch
from torch import nn


class Bag(nn.Module):
    def __init__(self, vocab_size, num_labels, width=16):
        super().__init__()
        self.table = nn.Embedding(vocab_size, width)
        self.out = nn.Linear(width, num_labels)
        self.register_buffer("ones", torch.ones(width), persistent=False)

    def forward(self, input_ids, attention_mask):
        words = (self.table(input_ids) * attention_mask[..., None]).sum(1)
        return self.out(words * self.ones)


class Tokens(Bag):
    def forward(self, input_ids):
        return self.out(self.table(input_ids))


class Raises(Bag):
    def forward(self, input_ids):
        return self.table(input_ids) @ input_ids


class Signature(nn.Module):
    def __init__(self, size):
        super().__init__()


def words(vocab_size, num_labels):
    return "words"
"""


class Mean(nn.Module):
    """The mean of a row's embeddings, padding among them: right in rows of equal length alone."""

    def __init__(self, vocab_size: int, num_labels: int, width: int = 8) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, width)
        self.out = nn.Linear(width, num_labels)

    def forward(self, input_ids: Tensor) -> Tensor:
        logits: Tensor = self.out(self.table(input_ids).mean(1))
        return logits


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_students.py").write_text(MODULE)
    monkeypatch.delitem(sys.modules, "my_students", raising=False)
    settings: dict[str, Any] = {"vocabulary": 150, "epochs": 1, "max_length": 32}
    return {**settings, "workspace": tmp_path / "w", "reporter": SILENT}


def test_a_named_module_is_a_student_and_a_teacher_like_any_other(
    singles_data: Path, options: dict[str, Any], finished: dict[str, Path]
) -> None:
    taught = {**options, "student": "my_students:Bag", "cache": finished["cache"]}
    folder = logitcache.train("kd", singles_data, **taught)
    recorded = result(folder)["config"]
    assert (recorded["student"], recorded["init"]) == ("my_students:Bag", "random")
    assert len(recorded["student_source"]) == 12
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    classify = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer)
    assert classify("a warm film")[0]["label"] in ("neg", "pos")
    assert (model.module.ones == 1).all()
    logitcache.train("self-kd", singles_data, **options, student="my_students:Bag")
    report = logitcache.dump(folder, singles_data, workspace=options["workspace"], reporter=SILENT)
    assert report.rows == 60


@pytest.mark.parametrize("student", [slow(Mean), partial(Mean, width=4)])
def test_a_class_in_memory_is_a_student(
    singles_data: Path, options: dict[str, Any], student: Any
) -> None:
    study = logitcache.run_study(
        {
            "tasks": {"singles": str(singles_data)},
            "students": {"mean": student},
            "methods": ["base", "ls"],
            "seeds": [0, 1],
            "settings": {"epochs": 1, "vocabulary": 150, "max_length": 32},
        },
        out=options["workspace"],
        reporter=SILENT,
    )
    assert {trial.state for trial in study.trials} == {"done"}
    with pytest.raises(SpecError, match=r"Mean.*which each worker imports, found an object"):
        logitcache.run_study(study.folder, seeds=[0, 1, 2], workers=2, reporter=SILENT)


@pytest.mark.parametrize("name", ["hidden:-1", "attention-input:-1", "pooled:mean"])
def test_a_module_of_ones_own_has_no_signals(name: str) -> None:
    student = OwnStudent(OwnConfig(own=keep("test-module", nn.Linear(1, 1))))
    with pytest.raises(SpecError, match=r"^test-module: expected a model of transformers.*kd"):
        signal_of(name).resolved(student).width(student)


def test_a_module_in_memory_begins_with_its_weights(
    singles_data: Path, options: dict[str, Any], finished: dict[str, Path]
) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(finished["base"])
    torch.manual_seed(0)
    module = Mean(len(tokenizer), 2)
    before = module.out.weight.clone()
    given: dict[str, Any] = {**options, "student": module, "learning_rate": 1e-9}
    folder = logitcache.train("base", singles_data, **given, tokenizer=tokenizer)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    torch.testing.assert_close(model.module.out.weight, before)
    assert torch.equal(module.out.weight, before)
    assert folder == logitcache.train("base", singles_data, **given, tokenizer=tokenizer)
    other = {**given, "student": Mean(len(tokenizer), 2)}
    assert folder != logitcache.train("base", singles_data, **other, tokenizer=tokenizer)
    with pytest.raises(SpecError, match="the tokenizer of a model in memory, found none"):
        logitcache.train("base", singles_data, **given)


def test_another_text_of_the_class_is_another_run(
    singles_data: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    logitcache.train("base", singles_data, **options, student=Mean, out="run")
    monkeypatch.setattr("logitcache.config.own.inspect.getsource", lambda kind: "edited")
    with pytest.raises(FingerprintMismatch, match="student_source"):
        logitcache.train("base", singles_data, **options, student=Mean, out="run")


def test_faults_of_a_students_code_are_one_line(
    singles_data: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "my_students.py"
    faults = {
        "my_students:Tokens": rf"{path}:19: expected logits of each row, of shape \[1, 2\], "
        r"found \[1, \d+, 2\]",
        "my_students:Raises": rf"my_students:Raises: it failed: RuntimeError: .*\({path}:25\)",
        "my_students:Signature": "it cannot be made with vocab_size and num_labels: TypeError",
        "my_students:words": r"my_students:words: expected an nn.Module, found <class 'str'>",
        "my_students:None": "my_students:None: it cannot be imported: AttributeError",
        "no_students:None": "no_students:None: expected a module no_students, here or installed",
    }
    for name, words in faults.items():
        with pytest.raises(SpecError, match=words):
            logitcache.train("base", singles_data, **options, student=name, out="run")
    assert not (tmp_path / "run").exists()
    bag: dict[str, Any] = {**options, "student": "my_students:Bag"}
    with pytest.raises(SpecError, match="--init: expected random weights"):
        logitcache.train("base", singles_data, **bag, init="pretrained")
    with pytest.raises(SpecError, match=r"expected a path, a name, an nn\.Module"):
        logitcache.train("base", singles_data, **options, student=5)


def test_a_dry_run_says_that_it_does_not_forecast_it(
    singles_data: Path, options: dict[str, Any]
) -> None:
    spec = {
        "tasks": {"singles": str(singles_data)},
        "students": ["my_students:Bag"],
        "methods": ["base"],
        "seeds": [0],
        "settings": {"epochs": 1, "vocabulary": 150, "max_length": 32},
    }
    (group,) = dry_run(planned(spec, StudyConfig())).groups
    assert (group.student, group.reason) == ("Bag", "it is a student of your own")
