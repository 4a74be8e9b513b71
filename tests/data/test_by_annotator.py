"""Answers by annotator are no classes, and become labels and votes by the command that is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from logitcache.data.by_annotator import answers_of_annotators
from logitcache.data.soft_labels import Float64
from logitcache.errors import SpecError
from tests.data.advice_cases import changed
from tests.data.test_looked_up import answered, labels_of
from tests.data.test_strangers import jsonl, read, refusal, run


def test_answers_by_annotator_are_no_classes(tmp_path: Path) -> None:
    answers = [
        {"Ann1": 1, "Ann2": 0},
        {"Ann3": 1, "Ann4": 0, "Ann5": 0},
        {"Ann6": 1, "Ann7": 1},
    ]
    rows = [{"text": f"text {i}", "annotations": answer} for i, answer in enumerate(answers)]
    changed(tmp_path, {"r.jsonl": jsonl(rows)})
    message = refusal(tmp_path / "r.jsonl", tmp_path, label="annotations")
    assert "answers by annotator" in message
    run(message, tmp_path)
    source, _ = read(tmp_path / "OUT.jsonl", tmp_path)
    assert labels_of(source) == ["", "0", "1"]  # a tie is no label
    out = tmp_path / "OUT.jsonl"
    expected = [[1 / 2, 1 / 2], [2 / 3, 1 / 3], [0, 1]]
    for column in ("votes", "annotations"):
        np.testing.assert_allclose(shares(out, column, tmp_path), expected, atol=1e-6)


def shares(data: Path, column: str, folder: Path) -> Float64:
    """The probabilities of a column's answers."""
    dump, _ = answered(data, column, folder)
    return np.exp(dump.logits) / np.exp(dump.logits).sum(axis=1, keepdims=True)


def test_names_of_classes_by_annotator_are_votes(tmp_path: Path) -> None:
    answers = [{"a": "no", "b": "yes"}, {"c": "no", "d": "no"}, {"e": "yes", "f": None}, {}]
    rows = [
        {"text": f"text {i}", "by": answer, "label": ("no", "yes")[i % 2]}
        for i, answer in enumerate(answers)
    ]
    changed(tmp_path, {"r.jsonl": jsonl(rows)})
    with pytest.raises(SpecError, match=r"no answer|none for"):
        answered(tmp_path / "r.jsonl", "by", tmp_path)
    changed(tmp_path, {"r.jsonl": jsonl(rows[:3])})
    expected = [[1 / 2, 1 / 2], [1, 0], [0, 1]]
    found = shares(tmp_path / "r.jsonl", "by", tmp_path)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_export_of_zooniverse_becomes_a_row_for_each_subject(tmp_path: Path) -> None:
    """One of classifications: a row for each volunteer, texts and answers as JSON."""
    answered_by = [(7, "Yes"), (7, "No"), (7, "Yes"), (8, ["No"]), (8, None), (9, "Yes"), (9, "No")]
    lines = ["user_name,workflow_id,annotations,subject_data"]
    for number, (subject, value) in enumerate(answered_by):
        answers = [
            {"task": "T0", "task_label": "Is it?", "value": value},
            {"task": "T1", "value": 3},
        ]
        subject_data = {str(subject): {"retired": None, "Text": f"some words, of {subject}"}}
        cells = (json.dumps(cell).replace('"', '""') for cell in (answers, subject_data))
        lines.append(f"u{number},12," + ",".join(f'"{cell}"' for cell in cells))
    changed(tmp_path, {"r.csv": "\n".join(lines) + "\n"})
    message = refusal(tmp_path / "r.csv", tmp_path)
    assert "answers to the task T0" in message
    assert message.endswith("Its other tasks: T1.")
    out = run(message, tmp_path)
    source, _ = read(out, tmp_path, text="Text")
    assert source.table("train").texts()[0] == [f"some words, of {i}" for i in (7, 8, 9)]
    assert labels_of(source) == ["Yes", "No", ""]
    dump, _ = answered(out, "votes", tmp_path, text="Text")
    assert np.exp(dump.logits[0]) / np.exp(dump.logits[0]).sum() == pytest.approx([1 / 3, 2 / 3])


def test_labels_that_are_the_majority_of_the_answers_are_no_gold(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": ["a", "b", "ab"[i % 2]]} for i in range(4)]
    changed(tmp_path, {"r.jsonl": jsonl(rows)})
    _, notes = answered(tmp_path / "r.jsonl", "label", tmp_path)
    assert "the labels are what most of these answers say" in notes


def test_objects_by_class_are_no_annotators() -> None:
    by_class = [{"pos": "0.5", "neg": "0.5"}, {"pos": "1", "neg": "0"}]
    for cells in (
        by_class,
        [{"x": "a"}, {"y": "b"}],
        [{"a": 3}, {"b": 5}],
        [None],
        ["a", {"b": 0}],
    ):
        assert answers_of_annotators(cells) == []
