"""Rows that tools write in parts: the command that is advised writes rows that are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from logitcache.config.data import Columns
from logitcache.data.rows import Source
from logitcache.data.source import load
from logitcache.errors import SpecError
from logitcache.reporter import SILENT
from tests.advice import reshaped

PARTS = [{"data": [{"text": f"play {i} "}, {"text": "jazz", "entity": "genre"}]} for i in range(3)]
TEXTS = [f"play {i} jazz" for i in range(3)]


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def followed(data: Path, folder: Path, **columns: Any) -> Source:
    """The rows that the advised command writes."""
    with pytest.raises(SpecError) as caught:
        load(data, Columns(**columns), folder, SILENT)
    return load(reshaped(str(caught.value), folder), Columns(**columns), folder, SILENT)


def labelled(source: Source) -> list[tuple[str, str]]:
    table = source.table("train")
    assert source.label_names is not None
    return [
        (text, source.label_names[label])
        for text, label in zip(table.texts()[0], table.label.tolist(), strict=True)
    ]


def test_intents_of_snips_are_put_together(tmp_path: Path) -> None:
    for name in ("AddToPlaylist", "PlayMusic"):
        write(tmp_path / f"train_{name}_full.json", {name: PARTS})
    source = followed(tmp_path / "train_PlayMusic_full.json", tmp_path)
    expected = [(text, name) for name in ("AddToPlaylist", "PlayMusic") for text in TEXTS]
    assert labelled(source) == expected


@pytest.mark.parametrize("below", ["", "intents"])
def test_an_export_of_dialogflow(tmp_path: Path, below: str) -> None:
    for name in ("Book a room", "PlayMusic"):
        write(tmp_path / "agent/intents" / f"{name}.json", {"name": name, "responses": []})
        write(tmp_path / "agent/intents" / f"{name}_usersays_en.json", PARTS)
    write(tmp_path / "agent/agent.json", {"language": "en"})
    source = followed(tmp_path / "agent" / below, tmp_path)
    assert labelled(source) == [(t, name) for name in ("Book a room", "PlayMusic") for t in TEXTS]


@pytest.mark.parametrize("task", [None, "token-classification"])
def test_entities_by_numbers_of_words(tmp_path: Path, task: str | None) -> None:
    entity = {"type": "Loc", "start": 1, "end": 3}
    rows = [{"tokens": ["in", "New", "York"], "entities": [entity], "relations": []}] * 2
    write(tmp_path / "train.json", rows)
    if task is None:
        source = followed(tmp_path / "train.json", tmp_path)
    else:
        advice = load(tmp_path / "train.json", Columns(task=task), tmp_path, SILENT).label_advice
        assert advice.startswith("Write a label for each word: logitcache reshape")
        source = load(reshaped(advice, tmp_path), Columns(task=task), tmp_path, SILENT)
    assert source.task == "token-classification"
    assert source.label_names is not None
    tags = source.table("train").labels.tolist()
    assert [source.label_names[tag] for tag in tags] == ["O", "B-Loc", "I-Loc"] * 2


def gemini(text: str, answer: str) -> dict[str, Any]:
    candidates = [{"content": {"parts": [{"text": answer}], "role": "model"}}]
    request = {"contents": [{"parts": [{"text": text}], "role": "user"}]}
    return {"key": text, "request": request, "response": {"candidates": candidates}}


def anthropic(text: str, answer: str) -> dict[str, Any]:
    asked = {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]}
    return {
        "recordId": text,
        "modelInput": asked,
        "modelOutput": {"content": [{"type": "text", "text": answer}], "role": "assistant"},
    }


def nova(text: str, answer: str) -> dict[str, Any]:
    asked = {"messages": [{"role": "user", "content": [{"text": text}]}]}
    message = {"content": [{"text": answer}], "role": "assistant"}
    return {"modelInput": asked, "modelOutput": {"output": {"message": message}}}


def titan(text: str, answer: str) -> dict[str, Any]:
    results = [{"tokenCount": 2, "outputText": answer, "completionReason": "FINISH"}]
    return {"modelInput": {"inputText": text}, "modelOutput": {"results": results}}


def llama(text: str, answer: str) -> dict[str, Any]:
    return {"modelInput": {"prompt": text}, "modelOutput": {"generation": answer}}


def mistral(text: str, answer: str) -> dict[str, Any]:
    return {"modelInput": {"prompt": text}, "modelOutput": {"outputs": [{"text": answer}]}}


@pytest.mark.parametrize("row", [titan, llama, mistral, gemini, anthropic, nova])
def test_the_output_of_a_batch_becomes_conversations(tmp_path: Path, row: Any) -> None:
    pairs = [("a warm film", "pos"), ("a dull film", "neg")]
    failed = {**row("no", "no"), "response": None, "modelOutput": None}
    rows = [row(text, label) for text, label in pairs]
    write_lines(tmp_path / "batch.jsonl", [*rows, failed])
    assert spoken(tmp_path / "batch.jsonl", tmp_path) == pairs


def test_both_files_of_a_batch_become_conversations(tmp_path: Path) -> None:
    pairs = [("a warm film", "pos"), ("a dull film", "neg")]
    requests = [{"messages": [{"role": "user", "content": text}]} for text, _ in pairs]
    bodies = [{"choices": [{"message": {"role": "assistant", "content": y}}]} for _, y in pairs]
    asked = [{"custom_id": str(i), "body": body} for i, body in enumerate(requests)]
    answered = [
        {"custom_id": str(i), "response": {"status_code": 200, "body": body}}
        for i, body in enumerate(bodies)
    ]
    write_lines(tmp_path / "in.jsonl", asked)
    write_lines(tmp_path / "out.jsonl", answered)
    assert spoken(tmp_path / "out.jsonl", tmp_path) == pairs


def spoken(path: Path, folder: Path) -> list[tuple[str, str]]:
    """The question and the answer of each row, once the advice about a file is followed."""
    columns = Columns(task="causal-lm")
    with pytest.raises(SpecError, match="expected a conversation in each row") as caught:
        load(path, columns, folder, SILENT)
    source = load(reshaped(str(caught.value), folder), columns, folder, SILENT)
    texts, completions = source.table("train").texts()
    if completions is not None:
        return list(zip(texts, completions, strict=True))
    chats = list(map(json.loads, texts))
    assert [[m["role"] for m in chat] for chat in chats] == [["user", "assistant"]] * len(chats)
    return [(chat[0]["content"], chat[1]["content"]) for chat in chats]


@pytest.mark.parametrize("row", [titan, llama, mistral, gemini, anthropic, nova])
def test_the_output_of_a_batch_that_holds_its_requests(tmp_path: Path, row: Any) -> None:
    pairs = [("a warm film", "pos"), ("a dull film", "neg")]
    failed = {**row("no", "no"), "response": None, "modelOutput": None}
    rows = [row(text, f" {label}\n") for text, label in pairs]
    write_lines(tmp_path / "batch.jsonl", [*rows, failed])
    assert labelled(followed(tmp_path / "batch.jsonl", tmp_path)) == pairs


def test_parts_that_are_given_by_their_text_are_placed(tmp_path: Path) -> None:
    named = [{"entity": "Ada Lovelace", "type": "PER"}, {"entity": "Oslo", "type": "LOC"}]
    rows = [{"text": "Ada Lovelace met Alan in Rome", "named_entities": named}] * 2
    write_lines(tmp_path / "r.jsonl", [*rows, {"text": "nobody", "named_entities": None}])
    source = load(tmp_path / "r.jsonl", Columns(), tmp_path, SILENT)
    source = load(reshaped(source.label_advice, tmp_path), Columns(), tmp_path, SILENT)
    assert source.label_names == ("B-PER", "I-PER", "O")
    assert source.table("train").texts()[0][0] == "Ada\nLovelace\nmet\nAlan\nin\nRome"
    placed = [{"text": "Ada met", "marks": [{"text": "Ada", "start": 0, "type": "PER"}]}]
    write_lines(tmp_path / "r.jsonl", placed * 2)
    assert (
        "the first place"
        not in load(tmp_path / "r.jsonl", Columns(), tmp_path, SILENT).label_advice
    )


def test_parts_between_marks_are_words_and_tags(tmp_path: Path) -> None:
    lines = (
        "<PER>Ada Lovelace</PER> met <PER>Alan</PER> in <LOC>Rome</LOC>\n\nbut <LOC>Oslo</LOC>\n"
    )
    (tmp_path / "r.txt").write_text(lines)
    with pytest.raises(SpecError) as caught:
        load(tmp_path / "r.txt", Columns(), tmp_path, SILENT)
    source = load(reshaped(str(caught.value), tmp_path), Columns(), tmp_path, SILENT)
    rows = source.table("train")
    assert rows.texts()[0] == ["Ada\nLovelace\nmet\nAlan\nin\nRome", "but\nOslo"]
    assert source.label_names is not None
    tags = [source.label_names[label] for label in rows.labels]
    assert tags == ["B-PER", "I-PER", "O", "B-PER", "O", "B-LOC", "O", "B-LOC"]
