"""Rows that are single messages of conversations: refused, with a command that writes the
conversations.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from logitcache.config.data import Columns
from logitcache.data.source import Source, load
from logitcache.errors import SpecError
from logitcache.reporter import SILENT
from tests.advice import reshaped

# a question with two answers, one of which is answered; and one that nobody has answered
TREE: list[dict[str, Any]] = [
    {"message_id": "a", "parent_id": None, "text": "hello", "role": "prompter"},
    {"message_id": "b", "parent_id": "a", "text": "good day", "role": "assistant"},
    {"message_id": "c", "parent_id": "a", "text": "hi", "role": "assistant"},
    {"message_id": "d", "parent_id": "c", "text": "bye", "role": "prompter"},
    {"message_id": "e", "parent_id": None, "text": "nobody?", "role": "prompter"},
]
CHATS = [["hello", "good day"], ["hello", "hi", "bye"]]
GROUPED = [
    {"conversation_id": number, "from": ("human", "gpt")[turn % 2], "value": text}
    for number, chat in enumerate(CHATS)
    for turn, text in enumerate(chat)
]


def read(data: Any, **columns: Any) -> Source:
    return load(data, Columns(**columns), Path("unused"), SILENT)


def refusal(data: Any, **columns: Any) -> str:
    with pytest.raises(SpecError, match="expected a conversation in each row") as caught:
        read(data, **columns)
    return str(caught.value)


@pytest.mark.parametrize("task", [None, "causal-lm"])
@pytest.mark.parametrize("rows", [TREE, GROUPED], ids=["tree", "grouped"])
@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_the_command_writes_the_conversations(
    tmp_path: Path, rows: list[dict[str, Any]], task: str | None, ending: str
) -> None:
    path = tmp_path / f"r.{ending}"
    lines = [json.dumps(row) for row in rows]
    if ending == "csv":
        lines = [",".join(rows[0]), *(",".join(str(v or "") for v in row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = reshaped(refusal(str(path), task=task), tmp_path)
    source = read(str(out), task="causal-lm")
    chats = [json.loads(text) for text in source.table("train").texts()[0]]
    assert [[message["content"] for message in chat] for chat in chats] == CHATS
    assert [message["role"] for message in chats[1]] == ["user", "assistant", "user"]


def test_without_a_column_that_says_what_belongs_together_there_is_no_command() -> None:
    rows = [{"role": row["role"], "text": row["text"]} for row in TREE]
    assert "Write a row of messages for each conversation; and give --task" in refusal(rows)


@pytest.mark.parametrize(
    "columns",
    [{"task": "causal-lm", "text": "text"}, {"task": "masked-lm"}, {"label": "role"}],
)
def test_messages_by_themselves_are_named(columns: dict[str, str]) -> None:
    assert len(read(TREE, **columns).table("train")) == len(TREE)


def test_messages_with_a_class_are_classified() -> None:
    rows = [{**row, "label": "xy"[number % 2]} for number, row in enumerate(TREE)]
    assert read(rows).label_names == ("x", "y")


def test_texts_of_people_and_models_are_no_conversations() -> None:
    rows = [{"text": f"text {i}", "label": ("human", "ai")[i % 2]} for i in range(4)]
    assert read(rows).label_names == ("ai", "human")
