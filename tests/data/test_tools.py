"""Files as tools write them: each arrives, or is told in one line how to arrive. What is told is
followed to the letter: commands are run, options given, files renamed.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import sqlite3
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas
import pytest

from logitcache.config.data import Columns
from logitcache.data.source import Source, load
from logitcache.errors import SpecError
from logitcache.reporter import Notes
from tests.advice import reshaped

TEXTS = [f"a warm film of {i}" for i in range(6)]
LABELS = ["pos", "neg"] * 3
ROWS = list(zip(TEXTS, LABELS, strict=True))
SENTENCE = (["a", "warm", "film"], ["O", "B-ADJ", "I-ADJ"])
FRAME = pandas.DataFrame({"text": TEXTS, "label": LABELS})
ROUNDS = 4  # pieces of advice that are followed
PYTHON = re.compile(r'python -c "(.*)"(?: > (\S+)\.)?')
SHELL = re.compile(r"((?:awk|sed|grep) .* FILE > (OUT\.\w+))")
OPTION = re.compile(r"--(text-pair|text|label|header|delimiter|split-column) ('[^']*'|[^\s,]\S*)")
RENAMED = re.compile(r"[Nn]ame (?:it|the files?) (\S+\.\w+|\.\w+)")


def jsonl(row: Callable[[str, str], Any]) -> str:
    return "".join(json.dumps(row(text, label)) + "\n" for text, label in ROWS)


def array(row: Callable[[str, str], Any]) -> str:
    return json.dumps([row(text, label) for text, label in ROWS])


def lines(row: Callable[[str, str], str], head: str = "") -> str:
    return head + "".join(row(text, label) + "\n" for text, label in ROWS)


def chat(question: str, answer: str, role: str, said: str, names: tuple[str, str]) -> list[Any]:
    texts = zip(names, (question, answer), strict=True)
    return [{role: name, said: text} for name, text in texts]


def choices(text: str, label: str) -> dict[str, Any]:
    result = {"from_name": "mood", "type": "choices", "value": {"choices": [label]}}
    return {"data": {"text": text}, "annotations": [{"result": [result]}], "predictions": []}


def truth(text: str, label: str) -> dict[str, Any]:
    meta = {"class-name": label, "type": "groundtruth/text-classification", "confidence": 0.9}
    return {"source": text, "job": LABELS.index(label), "job-metadata": meta}


def tokens(mark: str) -> str:
    words = [mark.join((word, "X", tag)) for word, tag in zip(*SENTENCE, strict=True)]
    return (" ".join(words) + "\n") * 3


def webanno() -> str:
    head = "#FORMAT=WebAnno TSV 3.3\n#T_SP=custom.Entity|identifier|value\n\n\n"
    sentence = "#Text=a warm film\n{0}-1\t0-1\ta\t_\t_\t\n{0}-2\t2-6\twarm\t*[{0}]\tADJ[{0}]\t\n"
    sentence += "{0}-3\t7-11\tfilm\t*[{0}]\tADJ[{0}]\t\n\n"
    return head + "".join(map(sentence.format, range(1, 4)))


QUESTIONS = '"What do you think?\nYour score?",Mood'
IMPORTED = '"{""ImportId"":""QID1""}"'
PROMPT = "Is it pos or is it neg?"


def viewer_page(rows: Sequence[Any]) -> str:
    """A page of the hub's viewer, of twice as many rows in all."""
    kinds = [("text", {"dtype": "string"}), ("label", {"names": ["neg", "pos"]})]
    entries = [
        {"row_idx": i, "row": {"text": text, "label": ("neg", "pos").index(label)}}
        for i, (text, label) in enumerate(rows)
    ]
    features = [{"name": name, "type": kind} for name, kind in kinds]
    return json.dumps({"features": features, "rows": entries, "num_rows_total": 2 * len(rows)})


# {tool: (name of the file, its content)}
ONE_LABEL: dict[str, tuple[str, str]] = {
    "Label Studio": ("r.json", array(choices)),
    "Label Studio, small": ("r.json", array(lambda t, y: {"text": t, "mood": y, "annotator": 1})),
    "Label Studio, csv": ("r.csv", lines(lambda t, y: f"1,{y},{t}", "annotator,mood,text\n")),
    "doccano": ("r.jsonl", jsonl(lambda t, y: {"id": 1, "text": t, "label": [y]})),
    "doccano, data": ("r.jsonl", jsonl(lambda t, y: {"id": 1, "data": t, "label": [y]})),
    "Prodigy": ("r.jsonl", jsonl(lambda t, y: {"text": t, "label": y, "answer": "accept"})),
    "Prodigy, choice": (
        "r.jsonl",
        jsonl(lambda t, y: {"text": t, "options": [{"id": y}], "accept": [y], "answer": "accept"}),
    ),
    "Argilla": (
        "r.jsonl",
        jsonl(lambda t, y: {"fields": {"text": t}, "responses": {"mood": [{"value": y}]}}),
    ),
    "Argilla 1": ("r.jsonl", jsonl(lambda t, y: {"text": t, "annotation": y, "status": "x"})),
    "Ground Truth": ("output.manifest", jsonl(truth)),
    "UBIAI": ("r.json", array(lambda t, y: {"document": t, "classification": y})),
    "Vertex AI": (
        "r.jsonl",
        jsonl(lambda t, y: {"textContent": t, "classificationAnnotation": {"displayName": y}}),
    ),
    "Comprehend": ("r.csv", lines(lambda t, y: f"{y},{t}")),
    "Mechanical Turk": ("r.csv", lines(lambda t, y: f"1,{t},{y}", "HITId,Input.t,Answer.label\n")),
    "spaCy": ("r.json", array(lambda t, y: [t, {"cats": {y: 1.0, "other": 0.0}}])),
    **{
        f"pandas, {orient}": ("r.json", FRAME.to_json(orient=orient))
        for orient in ("records", "split", "index", "columns", "values", "table")
    },
    "the hub's viewer": ("r.json", viewer_page(ROWS)),
    "pandas, lines": ("r.jsonl", FRAME.to_json(orient="records", lines=True)),
    "pandas, a series": ("r.json", FRAME.set_index("text")["label"].to_json()),
    "pandas, texts as index": ("r.json", FRAME.set_index("text").to_json(orient="index")),
    "pandas, written twice": ("r.json", json.dumps(FRAME.to_json(orient="records"))),
    "pandas, csv": ("r.csv", FRAME.to_csv()),
    "classes as keys": ("r.json", json.dumps({"pos": TEXTS[::2], "neg": [*TEXTS[1::2], "z"]})),
    "Elasticsearch": (
        "r.json",
        json.dumps({"took": 1, "hits": {"hits": [{"_source": {"text": t, "label": y}} for t, y in ROWS]}}),
    ),
    "ShareGPT": (
        "r.jsonl",
        jsonl(lambda t, y: {"conversations": chat(t, y, "from", "value", ("human", "gpt"))}),
    ),
    "OpenAI": (
        "r.jsonl",
        jsonl(lambda t, y: {"messages": chat(t, y, "role", "content", ("user", "assistant"))}),
    ),
    "OpenAI, before": ("r.jsonl", jsonl(lambda t, y: {"prompt": f"{t} ->", "completion": f" {y}"})),
    "Cohere": (
        "r.jsonl",
        jsonl(lambda t, y: {"messages": chat(t, y, "role", "content", ("User", "Chatbot"))}),
    ),
    "Gemini": (
        "r.jsonl",
        jsonl(
            lambda t, y: {
                "contents": [
                    {"role": "user", "parts": [{"text": t}]},
                    {"role": "model", "parts": [{"text": y}]},
                ]
            }
        ),
    ),
    "Alpaca": ("r.json", array(lambda t, y: {"instruction": PROMPT, "input": t, "output": y})),
    "Qualtrics": (
        "r.csv",
        lines(lambda t, y: f'"{t}","{y}"', f"text,label\n{QUESTIONS}\n{IMPORTED},{IMPORTED}\n"),
    ),
    "columns beside what they are": (
        "r.json",
        json.dumps({"info": {"authors": [{"name": "A B"}] * 2}, "text": TEXTS, "label": LABELS}),
    ),
    "fastText": ("r.txt", lines(lambda t, y: f"__label__{y} {t}")),
    "fastText, label last": ("r.txt", lines(lambda t, y: f"{t} __label__{y}")),
}  # fmt: skip
WORDS: dict[str, tuple[str, str]] = {
    "JointBERT": ("r.tsv", "text\tlabel\n" + "a warm film \tO B-ADJ I-ADJ\n" * 3),
    "WebAnno": ("r.tsv", webanno()),
    "WebAnno as CoNLL": ("r.conll", webanno()),
    "CoNLL 2003": ("r.txt", "a X O O\nwarm X O B-ADJ\nfilm X O I-ADJ\n\n" * 3),
    "Few-NERD": ("r.txt", "a\tO\nwarm\tB-ADJ\nfilm\tI-ADJ\n\n" * 3),
    "WikiNER": ("aij-wikiner-en-wp2.txt", tokens("|")),
    "joined by slashes": ("r.conll", tokens("/")),
    "datasets": (
        "r.jsonl",
        (json.dumps(dict(zip(("tokens", "ner_tags"), SENTENCE, strict=True))) + "\n") * 3,
    ),
}
SPAN = {"start": 2, "end": 6, "label": "ADJ", "labels": ["ADJ"]}
SPANS: dict[str, tuple[str, str]] = {  # labels of parts of a text: words have to be made of them
    "doccano": ("r.jsonl", jsonl(lambda t, y: {"text": t, "label": [[2, 6, "ADJ"]]})),
    "doccano 1.6": ("r.jsonl", jsonl(lambda t, y: {"text": t, "entities": [{"start_offset": 2}]})),
    "Label Studio": ("r.json", array(lambda t, y: {"text": t, "label": [SPAN]})),
    "Prodigy": ("r.jsonl", jsonl(lambda t, y: {"text": t, "spans": [SPAN], "answer": "accept"})),
    "spaCy": ("r.json", array(lambda t, y: [t, {"entities": [[2, 6, "ADJ"]]}])),
    "LightTag": (
        "r.json",
        json.dumps({"examples": [{"content": t, "annotations": [SPAN]} for t in TEXTS]}),
    ),
    "Ground Truth": (
        "r.jsonl",
        jsonl(lambda t, y: {"text": t, "job": {"entities": [{"startOffset": 2, "label": "X"}]}}),
    ),
    "SciERC": ("r.json", jsonl(lambda t, y: {"sentences": [["a"], ["b"]], "ner": [[], []]})),
    "GLiNER": ("r.json", array(lambda t, y: {"tokenized_text": ["a", "b"], "ner": [[0, 1, "X"]]})),
}  # fmt: skip
READ = ("doccano", "Label Studio", "Prodigy", "LightTag")  # of these, what is read as it is


def step(told: str, path: Path, options: dict[str, Any]) -> Path:
    """What somebody does who follows a message: the file that they have then; ``options`` grow."""
    if "logitcache reshape" in told:
        return reshaped(told, path.parent)
    python, shell, renamed = PYTHON.search(told), SHELL.search(told), RENAMED.search(told)
    if python is not None:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(python[1], {})
        if python[2] is not None:
            Path(python[2]).write_text(printed.getvalue())
        out = python[2] or re.findall(r"to_(?:json|csv)\('([^']*)'", told)[-1]
        return path.parent / out
    if shell is not None:
        subprocess.run(shell[1].replace("FILE", path.name), shell=True, check=True)
        return path.parent / shell[2]
    if renamed is not None:
        name = renamed[1] if not renamed[1].startswith(".") else path.stem + renamed[1]
        return path.rename(path.parent / name)
    found = {key: shlex.split(value.rstrip(".;,"))[0] for key, value in OPTION.findall(told)}
    is_headless = "text" not in found or any(text in found["text"] for text in TEXTS)
    names = set(found) - {"text", "text-pair"} if "header" in found and is_headless else set(found)
    if not is_headless:
        names -= {"header"}
    elif "header" in found and "of.cats" not in told:
        names = {"header"}
    assert names, told
    for name in names:
        value = found[name]
        options[name.replace("-", "_")] = tuple(value.split(",")) if name == "header" else value
    return path


def arrived(path: Path) -> Source:
    """The rows of a file, after every piece of advice was followed."""
    options: dict[str, Any] = {}
    for _ in range(ROUNDS):
        notes: list[str] = []
        try:
            source = load(str(path), Columns(**options), path.parent, Notes(notes.append))
        except SpecError as error:
            path = step(str(error), path, options)
            continue
        if source.num_labels:
            return source
        path = step(next(note for note in notes if note.startswith("labels:")), path, options)
    raise AssertionError(f"{path} has not arrived: {options}")


def put(tool: tuple[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    path = folder / tool[0]
    path.write_text(tool[1])
    return path


@pytest.mark.parametrize("tool", ONE_LABEL)
def test_texts_of_tools_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    source = arrived(put(ONE_LABEL[tool], tmp_path, monkeypatch))
    rows = source.dumped["train"]
    assert source.label_names is not None
    names = [source.label_names[label] for label in rows.label]
    texts = [text.removesuffix(" ->") for text in rows.texts()[0]]
    own = [(text, name) for text, name in zip(texts, names, strict=True) if text != "z"]
    assert sorted(own) == sorted(ROWS)


@pytest.mark.parametrize("tool", WORDS)
def test_words_of_tools_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    source = arrived(put(WORDS[tool], tmp_path, monkeypatch))
    assert source.task == "token-classification"
    assert source.dumped["train"].texts()[0] == ["\n".join(SENTENCE[0])] * 3
    assert source.label_names is not None
    tags = [source.label_names[label] for label in source.dumped["train"].labels]
    assert tags == SENTENCE[1] * 3


@pytest.mark.parametrize("tool", READ)
def test_spans_of_tools_are_read_as_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    source = arrived(put(SPANS[tool], tmp_path, monkeypatch))
    rows = source.dumped["train"]
    assert (source.task, source.label_names) == ("token-classification", ("B-ADJ", "O"))
    assert rows.texts()[0] == [text.replace(" ", "\n") for text in TEXTS]
    assert list(rows.labels) == [1, 0, 1, 1, 1] * len(TEXTS)  # the second word, "warm"


@pytest.mark.parametrize("tool", sorted(set(SPANS) - set(READ)))
def test_spans_of_tools_are_led_to_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    path = put(SPANS[tool], tmp_path, monkeypatch)
    options: dict[str, Any] = {}
    told: list[str] = []
    for _ in range(2):
        try:
            load(str(path), Columns(**options), tmp_path, Notes(told.append))
        except SpecError as error:
            told.append(str(error))
        if any("tags" in message for message in told):
            return
        step(told[-1], path, options)
    raise AssertionError(told)


def test_a_page_of_the_viewer_says_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "page.json"
    path.write_text(viewer_page(ROWS))
    told: list[str] = []
    load(str(path), Columns(), tmp_path, Notes(told.append))
    assert any("one page of the hub's viewer, of 12 rows in all" in note for note in told)
    path.write_text(
        path.read_text().replace('"row_idx": 3,', '"row_idx": 3, "truncated_cells": ["text"],')
    )
    with pytest.raises(SpecError, match=r"row_idx 3: .*cut \(text\)\. Give the name"):
        load(str(path), Columns(), tmp_path, Notes(told.append))


@pytest.mark.parametrize("name", ["r.sqlite", "r.db", "r.pkl", "list.pickle"])
def test_rows_of_programs_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = put((name, ""), tmp_path, monkeypatch)
    if name.endswith((".sqlite", ".db")):
        with contextlib.closing(sqlite3.connect(path)) as database:
            FRAME.to_sql("reviews", database, index=False)
    else:
        pandas.to_pickle(FRAME if name == "r.pkl" else ROWS, path)
    source = arrived(path)
    assert source.label_names == ("neg", "pos")
    assert source.dumped["train"].texts()[0] == TEXTS
