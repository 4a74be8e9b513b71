"""Files of shapes that were looked up in public data sets, and were read wrongly or led nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logitcache.config.answers import answer_source
from logitcache.config.teacher import DumpSettings
from logitcache.data.source import Source
from logitcache.reporter import Notes
from logitcache.teacher.column import Recorded, recorded
from tests.data.test_strangers import Rows, jsonl, read, refusal


def answered(data: Any, column: str, folder: Path, **columns: Any) -> tuple[Recorded, str]:
    """The recorded answers of a column of the data, and what was noted of them."""
    source, _ = read(data, folder, **columns)
    notes: list[str] = []
    answers = answer_source(f"column:{column}")
    assert answers is not None
    reporter = Notes(notes.append)
    dump = recorded(answers, source, "train", DumpSettings(), None, folder, reporter)
    return dump, "\n".join(notes)


def labels_of(source: Source) -> list[str]:
    """The names of the labels of all rows of a lone table, in their order."""
    rows = source.table("train")
    names = source.label_names or tuple(map(str, range(source.num_labels)))
    return [names[label] if label >= 0 else "" for label in rows.label]


VOTES: Rows = [
    {"text": "a film", "votes": ["neg", "neg", ""]},
    {"text": "a book", "votes": ["pos", None, "pos"]},
    {"text": "a song", "votes": [None, None, "pos"]},
]


@pytest.mark.parametrize("path", ["memory", "r.jsonl"])
def test_blanks_among_votes_are_counted(tmp_path: Path, path: str) -> None:
    data: Any = VOTES
    if path != "memory":
        data = tmp_path / path
        data.write_text(jsonl(VOTES))
    source, notes = read(data, tmp_path)
    assert "--label votes" in source.label_advice
    source, notes = read(data, tmp_path, label="votes")
    assert labels_of(source) == ["neg", "pos", "pos"]
    assert "blanks in lists of votes are no votes: 4 (first: " in notes
    dump, notes = answered(data, "votes", tmp_path, label="votes")
    assert "blanks among votes are no votes: 4" in notes
    assert (dump.logits.argmax(1) == [0, 1, 1]).all()


def test_answers_by_name_have_no_order_that_is_permuted(tmp_path: Path) -> None:
    cells = [{"pos": 0.9, "neg": 0.1}, {"neg": 0.8, "pos": 0.2}]
    rows = [
        {"text": f"a {label}", "label": label, "p": p}
        for label, p in zip(("pos", "neg"), cells, strict=True)
    ]
    dump, notes = answered(rows, "p", tmp_path)
    assert "permuted" not in notes
    assert np.exp(dump.logits).argmax(1).tolist() == [1, 0]


def test_counts_by_class_are_not_advised_as_labels(tmp_path: Path) -> None:
    rows = [
        {
            "example": {"premise": f"a film of {i}", "hypothesis": f"it is {i} b"},
            "counter": {"e": 9, "n": 1 + i % 2},
            "majority_label": "en"[i % 2],
        }
        for i in range(8)
    ]
    message = refusal(rows, tmp_path)
    assert "--text example.premise --text-pair example.hypothesis --label majority_label" in message
