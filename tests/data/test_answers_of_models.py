"""Answers of models as their services and tools write them: texts around them, names beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logitcache.config.answers import AnswerSource
from logitcache.config.check import CheckConfig
from logitcache.config.teacher import DumpSettings
from logitcache.errors import LogitCacheError, SpecError
from logitcache.reporter import SILENT
from logitcache.stages.check import check
from logitcache.teacher.column import recorded
from tests.advice import followed
from tests.data.advice_cases import changed
from tests.data.test_looked_up import answered, labels_of
from tests.data.test_strangers import Rows, jsonl, read, refusal


def test_answers_of_language_models_are_read_with_words_around_them(tmp_path: Path) -> None:
    answers = [
        '{"category": "Billing", "confidence": 0.9, "reasoning": "An invoice is named."}',
        '```json\n{"category": "Account", "confidence": 0.8}\n```',
        'Sure! Here is the JSON:\n```json\n{"category": "Billing"}\n```\nAnything else?',
        "I cannot say.",
    ]
    rows = [{"text": f"case {i}", "answer": answer} for i, answer in enumerate(answers)]
    (tmp_path / "r.jsonl").write_text(jsonl(rows))
    with pytest.raises(SpecError) as caught:
        answered(tmp_path / "r.jsonl", "answer", tmp_path)
    path = caught.value.advice.rpartition("column:")[2]
    with pytest.raises(SpecError, match="found none for 1 of 4 rows"):
        answered(tmp_path / "r.jsonl", path, tmp_path)
    (tmp_path / "r.jsonl").write_text(jsonl(rows[:3]))
    dump, _ = answered(tmp_path / "r.jsonl", path, tmp_path)
    assert dump.plan.teacher["label_names"] == ["Billing", "Account"]
    source, _ = read(tmp_path / "r.jsonl", tmp_path, label=path)
    assert labels_of(source) == ["Billing", "Account", "Billing"]


def test_a_name_for_no_answer_is_led_to_an_empty_cell(tmp_path: Path) -> None:
    rows = [
        {"text": f"case {i}", "label": label, "llm": answer}
        for i, (label, answer) in enumerate([("a", "a"), ("b", "b"), ("a", "NO_LABEL")])
    ]
    (tmp_path / "r.jsonl").write_text(jsonl(rows))
    with pytest.raises(LogitCacheError, match=r"no answer, empty its cells"):
        answered(tmp_path / "r.jsonl", "llm", tmp_path)
    (tmp_path / "r.jsonl").write_text(jsonl([*rows[:2], {**rows[2], "llm": None}]))
    with pytest.raises(SpecError, match="--on-nonfinite skip"):
        answered(tmp_path / "r.jsonl", "llm", tmp_path)


SORTED: Rows = [
    {"text": "a film", "classes": [{"Name": "b", "Score": 0.7}, {"Name": "a", "Score": 0.3}]},
    {"text": "a book", "classes": [{"Name": "a", "Score": 0.9}, {"Name": "b", "Score": 0.1}]},
]


@pytest.mark.parametrize("path", ["classes", "classes.Score", "classes.Name"])
def test_numbers_are_put_to_the_names_beside_them(tmp_path: Path, path: str) -> None:
    """Amazon Comprehend sorts the classes of a text by their scores."""
    rows = [{**row, "label": "ab"[i]} for i, row in enumerate(SORTED)]
    (tmp_path / "r.jsonl").write_text(jsonl(rows))
    dump, _ = answered(tmp_path / "r.jsonl", path, tmp_path)
    probabilities = np.exp(dump.logits)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    names = dump.plan.teacher["label_names"]
    assert probabilities[:, names.index("a")] == pytest.approx([0.3, 0.9])


@pytest.mark.parametrize(
    "scores",
    [
        [{"label": "b", "score": 0.7}, {"label": "a", "score": 0.3}],
        [0.75, 0.23, 0.02],
    ],
)
def test_scores_of_a_model_are_led_to_a_teacher(tmp_path: Path, scores: Any) -> None:
    rows: Rows = [{"text": f"film {i}", "pred": scores} for i in range(2)]
    (tmp_path / "r.jsonl").write_text(jsonl(rows))
    assert "dump --teacher column:pred" in refusal(tmp_path / "r.jsonl", tmp_path, label="pred")


def test_a_file_of_several_rows_is_no_text(tmp_path: Path) -> None:
    rows: Rows = [{"File": "in.txt", "Line": i, "label": "ab"[i % 2]} for i in range(4)]
    changed(tmp_path, {"in.txt": "a film\n" * 4, "r.jsonl": jsonl(rows)})
    assert "names of files" not in refusal(tmp_path / "r.jsonl", tmp_path)


BESIDE: dict[str, Rows] = {
    "a list": [{"scores": [0.9, 0.1]}, {"scores": [0.2, 0.8]}],
    "logits": [{"out": [1.5, -2.0]}, {"out": [-0.5, 0.7]}],
    "a column of each class": [{"p_neg": 0.9, "p_pos": 0.1}, {"p_neg": 0.2, "p_pos": 0.8}],
    "a pipeline's output": [
        {"answer": [{"label": "neg", "score": 0.9}, {"label": "pos", "score": 0.1}]},
        {"answer": [{"label": "pos", "score": 0.8}, {"label": "neg", "score": 0.2}]},
    ],
}


@pytest.mark.parametrize("name", BESIDE)
def test_columns_that_may_be_answers_are_named_as_a_teacher(tmp_path: Path, name: str) -> None:
    """What is said is followed: the teacher's name is taken from the line."""
    rows = []
    for label, answers in zip(("neg", "pos"), BESIDE[name], strict=True):
        rows.append({"text": f"a film of {label}", "label": label, **answers})
    source, _ = read(rows, tmp_path)
    teacher = source.answers_advice.rpartition("--teacher ")[2]
    prefix, _, columns = teacher.partition(":")
    answers = AnswerSource(prefix == "logits", tuple(columns.split(",")))
    dump = recorded(answers, source, "train", DumpSettings(), None, tmp_path, SILENT)
    assert dump.logits.argmax(1).tolist() == [0, 1]
    report = check(CheckConfig(), source=source)
    assert any(source.answers_advice in note for note in report.notes)


@pytest.mark.parametrize(
    "more", [{"vector": [0.1, 0.2, 0.3]}, {"year": 1999}, {"neg_words": 3}, {"tags": ["x", "y"]}]
)
def test_other_columns_are_no_answers(tmp_path: Path, more: dict[str, Any]) -> None:
    rows = [{"text": f"a film {label}", "label": label, **more} for label in ("neg", "pos")]
    assert read(rows, tmp_path)[0].answers_advice == ""


def test_labels_and_scores_of_a_zero_shot_pipeline_arrive(tmp_path: Path) -> None:
    """Its labels stand in the order of their scores, another one in each row."""
    rows = [
        {"text": "a film", "labels": ["pos", "neg"], "scores": [0.7, 0.3]},
        {"text": "a book", "labels": ["neg", "pos"], "scores": [0.9, 0.1]},
    ]
    source, _ = read(rows, tmp_path)
    assert source.label_advice.endswith("--label scores")
    source, _ = read(rows, tmp_path, label="scores")
    assert labels_of(source) == ["pos", "neg"]
    dump, _ = answered(rows, "scores", tmp_path, label="scores")
    names = dump.plan.teacher["label_names"]
    assert np.allclose(np.exp(dump.logits)[:, names.index("pos")], [1, 1 / 9])


def test_a_vote_called_as_a_missing_value_is_no_answer(tmp_path: Path) -> None:
    votes = [["neg", "N/A", "neg"], ["pos", "neg", "pos"], ["N/A", "N/A", "N/A"]]
    rows = [
        {"text": f"a film of {label}", "label": label, "votes": cell}
        for label, cell in zip(("neg", "pos", "pos"), votes, strict=True)
    ]
    dump, notes = answered(rows[:2], "votes", tmp_path)
    assert "N/A, which the data does not have as a class, means no answer: 1 rows have it" in notes
    assert np.exp(dump.logits).argmax(1).tolist() == [0, 1]
    with pytest.raises(SpecError, match="none for 1 of 3 rows"):
        answered(rows, "votes", tmp_path)


@pytest.mark.parametrize(
    "said",
    ["Label: {}\nConfidence: 0.{}", "Film {1} is seen.\nSo the answer is **{0}**.", "{}. ({})"],
)
def test_sentences_that_name_a_class_are_led_to_its_name(tmp_path: Path, said: str) -> None:
    labels = ["not good", "Bad", "not good", "Bad"]
    rows = [
        {"text": f"film {i}", "label": label, "llm": said.format(label.upper(), i)}
        for i, label in enumerate(labels)
    ]
    rows.append({"text": "film 9", "label": "Bad", "llm": "Neither Bad nor not good."})
    path = tmp_path / "r.jsonl"
    path.write_text(jsonl(rows))
    with pytest.raises(SpecError, match="texts that name them") as caught:
        answered(path, "llm", tmp_path)
    followed(caught.value.advice.partition("names several: ")[2], tmp_path)
    with pytest.raises(SpecError, match="none for 1 of 5 rows"):
        answered(tmp_path / "OUT.jsonl", "llm", tmp_path)
    written = [json.loads(line) for line in (tmp_path / "OUT.jsonl").read_text().splitlines()]
    path.write_text(jsonl(written[:4]))
    dump, _ = answered(path, "llm", tmp_path)
    assert dump.logits.argmax(1).tolist() == [1, 0, 1, 0]


def test_numbers_of_annotators_are_no_scores(tmp_path: Path) -> None:
    names = [["hate", "normal", "hate"], ["normal", "normal", "hate"]]
    rows = [
        {"text": f"a post {i}", "by": [{"label": y, "annotator_id": n} for n, y in enumerate(cell)]}
        for i, cell in enumerate(names)
    ]
    dump, notes = answered(rows, "by.label", tmp_path, label="by.label")
    assert "votes" in notes
    assert np.allclose(np.exp(dump.logits), [[1, 0.5], [0.5, 1]])
