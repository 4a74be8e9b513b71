"""Labels in all their spellings, rows that are held out elsewhere, and columns that might have been meant."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logitcache.config.data import Columns
from logitcache.data.source import Source, load

Load = Callable[..., Source]


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """``read({name: content}, **columns)``: files written to a folder, and the source loaded from it."""

    def load_files(files: dict[str, Any], *, at: str = "", notes: list[str] | None = None, **columns: Any) -> Source:
        for name, content in files.items():
            rows = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
            (tmp_path / "data").mkdir(exist_ok=True)
            (tmp_path / "data" / name).write_text(rows, "utf-8")
        told: list[str] = [] if notes is None else notes
        return load(str(tmp_path / "data" / at), Columns(**columns), tmp_path / "cache", told.append)

    return load_files


def labelled(*labels: object) -> list[dict[str, Any]]:
    return [{"text": f"text {i}", "label": label} for i, label in enumerate(labels)]


def test_unlabelled_train_rows_held_out_elsewhere_are_left_out(read: Load) -> None:
    train = [*labelled(0, 1), {"text": "held", "label": None}, {"text": "free", "label": -1}]
    notes: list[str] = []
    source = read({"train.jsonl": train, "test.jsonl": [{"text": "held", "label": 1}]}, notes=notes)
    rows = source.split("train")
    assert rows.texts()[0] == ["text 0", "text 1", "free"]
    assert rows.row_id.tolist() == [0, 1, 2]
    assert any("1 unlabelled rows left out, for their texts stand in test" in note for note in notes)


@pytest.mark.parametrize("none", ["", "-1", None, -1, -1.0])
def test_a_missing_label_is_written_in_many_ways(read: Load, none: object) -> None:
    names = read({"train.jsonl": labelled("b", "a", none) if type(none) is not float else labelled("b", "a", "")})
    assert (names.label_names, names.split("train").label.tolist()) == (("a", "b"), [1, 0, -1])
    numbers = read({"train.jsonl": labelled(1, 0, none)})
    assert (numbers.num_labels, numbers.split("train").label.tolist()) == (2, [1, 0, -1])


def test_whole_numbers_beside_a_gap_are_whole_numbers(read: Load) -> None:
    """As pandas writes them: 1.0, and nothing or NaN where there is none."""
    typed = read({"train.jsonl": labelled(1.0, 0.0, None)})
    text = read({"train.csv": "text,label\na,1.0\nb,0.0\nc,\n"}, at="train.csv")
    for source in (typed, text):
        assert (source.num_labels, source.split("train").label.tolist()) == (2, [1, 0, -1])


def test_zeros_in_front_make_a_name(read: Load) -> None:
    source = read({"train.csv": "text,label\na,03\nb,3\n"}, at="train.csv")
    assert source.num_labels == 2


def test_columns_that_might_have_been_meant_are_said(read: Load) -> None:
    notes: list[str] = []
    row = {"text": "t", "question": "q", "context": "c", "label": 0}
    read({"train.jsonl": [row]}, notes=notes)
    assert "columns: question and context are read, text" in notes[0]
    for asked in ({"text": "text"}, {"text": "question", "text_pair": "context"}):
        notes.clear()
        read({"train.jsonl": [row]}, notes=notes, **asked)
        assert notes == []
