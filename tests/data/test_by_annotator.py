"""Answers by annotator are no classes, and become labels and votes by the command that is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
    assert "0 and 1 by annotator" in message
    run(message, tmp_path)
    source, _ = read(tmp_path / "OUT.jsonl", tmp_path)
    assert labels_of(source) == ["", "0", "1"]  # a tie is no label
    dump, _ = answered(tmp_path / "OUT.jsonl", "votes", tmp_path)
    shares = np.exp(dump.logits) / np.exp(dump.logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, [[1 / 2, 1 / 2], [2 / 3, 1 / 3], [0, 1]], atol=1e-6)
