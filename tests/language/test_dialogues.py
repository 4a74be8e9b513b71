"""Conversations that are not written as messages: what is learnt of them is what it would be of
messages.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from logitcache.config.data import Columns
from logitcache.data.source import load
from logitcache.errors import SpecError
from logitcache.reporter import Notes

Rows = list[dict[str, Any]]
EARLIER = [["w1", "w2"], ["w3", "w4"]]
TOLD = [{"role": "USER", "message": "w1"}, {"role": "CHATBOT", "message": "w2"}]


def chat(*contents: str, system: str = "") -> list[dict[str, str]]:
    roles = ("user", "assistant")
    turns = [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
    return [{"role": "system", "content": system}, *turns] if system else turns


FORMS: dict[str, tuple[dict[str, Any], list[dict[str, str]]]] = {
    "LLaMA-Factory": (
        {"instruction": "w5", "input": "w6", "output": "w7", "system": "w8", "history": EARLIER},
        chat("w1", "w2", "w3", "w4", "w5\n\nw6", "w7", system="w8"),
    ),
    "without earlier turns": (
        {"instruction": "w5", "input": "", "output": "w7", "system": "w8", "history": []},
        chat("w5", "w7", system="w8"),
    ),
    "a prompt with a system's message": (
        {"system": "w8", "prompt": "w5", "completion": "w7"},
        chat("w5", "w7", system="w8"),
    ),
    "Cohere": (
        {"message": "w5", "chat_history": TOLD, "response": "w7"},
        chat("w1", "w2", "w5", "w7"),
    ),
    "HH": (
        {
            "chosen": "\n\nHuman: w1\n\nAssistant: w2: w3\n\nHuman: w4\n\nAssistant: w5",
            "rejected": "\n\nHuman: w1\n\nAssistant: w2: w3\n\nHuman: w4\n\nAssistant: w9",
        },
        chat("w1", "w2: w3", "w4", "w5"),
    ),
    "UltraChat": ({"id": "7", "data": ["w1", "w2", "w3", "w4"]}, chat("w1", "w2", "w3", "w4")),
}


def read(folder: Path, rows: Rows, **columns: Any) -> tuple[list[str], list[str]]:
    """The texts of the rows as they are learnt, and the notes."""
    path = folder / "r.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    notes: list[str] = []
    source = load(str(path), Columns(task="causal-lm", **columns), folder, Notes(notes.append))
    return source.table("train").texts()[0], notes


@pytest.mark.parametrize("name", FORMS)
def test_they_are_read_as_messages(tmp_path: Path, name: str) -> None:
    row, expected = FORMS[name]
    texts, notes = read(tmp_path, [row])
    assert [json.loads(text) for text in texts] == [expected]
    assert any("read as messages" in note for note in notes)
    as_messages, _ = read(tmp_path, [{"messages": expected}])
    assert texts == as_messages


def test_columns_that_are_named_are_read_as_texts(tmp_path: Path) -> None:
    row, _ = FORMS["HH"]
    assert read(tmp_path, [row], text="chosen")[0] == [row["chosen"]]


def test_a_column_of_texts_goes_before_them(tmp_path: Path) -> None:
    assert read(tmp_path, [{"text": "w1 w2", "data": ["w1", "w2"]}])[0] == ["w1 w2"]


def test_a_question_without_its_answer_is_refused_by_its_row(tmp_path: Path) -> None:
    row, _ = FORMS["LLaMA-Factory"]
    with pytest.raises(SpecError, match=r"r\.jsonl line 2: .*'content': None"):
        read(tmp_path, [row, {**row, "output": None}])


def test_questions_alone_are_no_conversations(tmp_path: Path) -> None:
    """An empty column of systems says nothing."""
    row = {"instruction": "w5", "output": "w7", "system": ""}
    with pytest.raises(SpecError, match="Prompts and completions: python -c"):
        read(tmp_path, [row])
