"""Conversations that are not written as messages: what is learnt of them is what it would be of
messages.
"""

from __future__ import annotations

import json
import re
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
    "Cohere's answers": (
        {"message": "w5", "chat_history": TOLD, "text": "w7"},
        chat("w1", "w2", "w5", "w7"),
    ),
    "HH": (
        {
            "chosen": "\n\nHuman: w1\n\nAssistant: w2: w3\n\nHuman: w4\n\nAssistant: w5",
            "rejected": "\n\nHuman: w1\n\nAssistant: w2: w3\n\nHuman: w4\n\nAssistant: w9",
        },
        chat("w1", "w2: w3", "w4", "w5"),
    ),
    "HH, its last answer beside it": (
        {"prompt": "\n\nHuman: w1\n\nAssistant: w2\n\nHuman: w3\n\nAssistant:", "response": " w4"},
        chat("w1", "w2", "w3", "w4"),
    ),
    "preferences": (
        {"chosen": chat("w1", "w2"), "rejected": chat("w1", "w9")},
        chat("w1", "w2"),
    ),
    "preferences behind a prompt": (
        {"prompt": chat("w1"), "chosen": chat("w1", "w2")[1:], "rejected": chat("w1", "w9")[1:]},
        [{**chat("w1")[0], "train": False}, chat("w1", "w2")[1]],
    ),
    "Orca": (
        {"id": "7", "system_prompt": "w8", "question": "w5", "response": "w7"},
        chat("w5", "w7", system="w8"),
    ),
    "Gemini": (
        {
            "systemInstruction": {"role": "system", "parts": [{"text": "w8"}]},
            "contents": [
                {"role": "user", "parts": [{"text": "w5"}]},
                {"role": "model", "parts": [{"text": "w7"}]},
            ],
        },
        chat("w5", "w7", system="w8"),
    ),
    "ShareGPT with a system's prompt": (
        {
            "system_prompt": "w8",
            "conversations": [{"from": "human", "value": "w5"}, {"from": "gpt", "value": "w7"}],
        },
        chat("w5", "w7", system="w8"),
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


OPEN = "\n\nHuman: w1\n\nAssistant: w2\n\nHuman: w3\n\nAssistant:"


def test_prompts_of_speakers_keep_their_completions(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"prompt": OPEN, "completion": " w4"}) + "\n")
    source = load(str(path), Columns(task="causal-lm"), tmp_path, Notes(str))
    assert source.form == "prompt"
    assert source.table("train").texts() == ([OPEN], [" w4"])


def test_an_answer_that_nobody_gives_is_not_learnt(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected a column of texts"):
        read(tmp_path, [{"prompt": OPEN, "answers": [{"answer": "w4", "rank": 1.0}]}])


def test_completions_that_are_bad_are_left_out_by_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": "w1", "completion": f"w{i}", "label": i != 2} for i in range(2, 5)]
    with pytest.raises(SpecError, match=r"line 1: .*1 of 3 whose label is false") as caught:
        read(tmp_path, rows)
    command = re.search('python -c "(.*)"', str(caught.value))
    assert command is not None
    exec(command[1], {})
    source = load("OUT.jsonl", Columns(task="causal-lm"), tmp_path, Notes(str))
    assert source.table("train").texts()[1] == ["w3", "w4"]
