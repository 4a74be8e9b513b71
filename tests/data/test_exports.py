"""What annotation tools export is read as the plain rows are; what cannot be is said on one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logitcache.config.answers import answer_source
from logitcache.config.data import Columns
from logitcache.data.answer_columns import read_columns
from logitcache.data.source import Source, load
from logitcache.errors import SpecError
from logitcache.reporter import SILENT, Notes
from tests.data.advice_cases import changed

Rows = Sequence[tuple[str, str | None]]
ROWS = [("a warm film", "pos"), ("a cold film", "neg"), ("a film", None), ("cold", "neg")]


def jsonl(rows: Sequence[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def label_studio(rows: Rows, key: str = "annotations", **more: Any) -> str:
    def annotation(label: str | None) -> dict[str, Any]:
        result = {"from_name": "mood", "type": "choices", "value": {"choices": [label]}}
        return {"result": [result] if label else [], "was_cancelled": False, **more}

    tasks = [{"id": i, "data": {"text": text}, key: [annotation(label)], "predictions": []}
             for i, (text, label) in enumerate(rows)]  # fmt: skip
    return json.dumps(tasks, indent=1)


def argilla(rows: Rows) -> str:
    return json.dumps([{
        "id": str(i), "fields": {"text": text}, "vectors": {},
        "responses": {"mood": [{"value": label, "user_id": "u"}] if label else []},
    } for i, (text, label) in enumerate(rows)])  # fmt: skip


def argilla_table(rows: Rows) -> str:
    return jsonl([{
        "text": text, "mood.responses": [label] if label else None,
        "mood.responses.users": ["u"] if label else None,
        "mood.responses.status": ["submitted"] if label else None, "mood.suggestion": "other",
    } for text, label in rows])  # fmt: skip


def prodigy_choice(rows: Rows) -> str:
    options = [{"id": 1, "text": "pos"}, {"id": "neg", "text": "Negative"}]
    number = {"pos": 1, "neg": "neg", None: "neg"}
    return jsonl([{
        "text": text, "options": options, "accept": [number[label]],
        "answer": "accept" if label else "ignore",
    } for text, label in rows])  # fmt: skip


def prodigy_binary(rows: Rows) -> str:
    return jsonl([{"text": text, "label": label or "pos", "answer": "accept" if label else "reject"}
                  for text, label in rows])  # fmt: skip


def cats(rows: Rows) -> str:
    return jsonl([{"text": text, "cats": {name: float(name == label) for name in ("pos", "neg")}}
                  for text, label in rows])  # fmt: skip


def one_hot(rows: Rows) -> str:
    lines = [f"{text},{int(label == 'pos')},{int(label == 'neg')}\n" for text, label in rows]
    return "".join(["text,pos,neg\n", *lines])


def nested(rows: Rows) -> str:
    return jsonl([{"doc": {"body": text}, "marks": [{"name": label}] if label else []}
                  for text, label in rows])  # fmt: skip


def choices_in_csv(rows: Rows) -> str:
    cells = [
        json.dumps({"choices": [label] if label else []}).replace('"', '""') for _, label in rows
    ]
    lines = [f'{text},"{cell}"\n' for (text, _), cell in zip(rows, cells, strict=True)]
    return "".join(["text,mood\n", *lines])


SHAPES: dict[str, tuple[str, Callable[[Rows], str], dict[str, str]]] = {
    "Label Studio": ("r.json", label_studio, {}),
    "Label Studio before 1.0": ("r.json", lambda rows: label_studio(rows, "completions"), {}),
    "Label Studio's csv": ("r.csv", choices_in_csv, {"label": "mood"}),
    "Argilla": ("r.json", argilla, {}),
    "Argilla's table": ("r.jsonl", argilla_table, {}),
    "Prodigy's choice": ("r.jsonl", prodigy_choice, {}),
    "Prodigy's labels": ("r.jsonl", prodigy_binary, {}),
    "spaCy": ("r.jsonl", cats, {}),
    "one column a class": ("r.csv", one_hot, {"label": "pos,neg"}),
    "objects in rows": ("r.jsonl", nested, {"text": "doc.body", "label": "marks.name"}),
}


def read(folder: Path, name: str, content: str, **columns: Any) -> tuple[Source, list[str]]:
    """The rows of a file, and what was noted."""
    notes: list[str] = []
    changed(folder, {name: content})
    return load(str(folder / name), Columns(**columns), folder, Notes(notes.append)), notes


def labelled(source: Source) -> list[tuple[str, str | None]]:
    """Text and class of every row, in the file's order."""
    rows = source.table("train")
    assert source.label_names is not None
    names = [source.label_names[i] if i >= 0 else None for i in rows.label]
    return list(zip(rows.text.to_pylist(), names, strict=True))


def refusal(folder: Path, name: str, content: str, **columns: Any) -> str:
    with pytest.raises(SpecError) as caught:
        read(folder, name, content, **columns)
    return str(caught.value)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_export_is_read_as_its_plain_rows(tmp_path: Path, shape: str) -> None:
    name, written, columns = SHAPES[shape]
    source, _ = read(tmp_path, name, written(ROWS), **columns)
    assert labelled(source) == ROWS
    plain, _ = read(tmp_path, "plain.jsonl", jsonl([{"text": t, "label": m} for t, m in ROWS]))
    assert source.table("train").digest() == plain.table("train").digest()


def test_chats_of_one_question_and_one_answer_are_classified(tmp_path: Path) -> None:
    chats = jsonl([{"messages": [
        {"role": "system", "content": "Classify."}, {"role": "user", "content": f"text {i}"},
        {"role": "assistant", "content": ("pos", "neg")[i % 2]},
    ]} for i in range(6)])  # fmt: skip
    source, notes = read(tmp_path, "chats.jsonl", chats)
    assert labelled(source)[:2] == [("text 0", "pos"), ("text 1", "neg")]
    assert "To learn the chats: --task causal-lm" in notes[0]
    assert (
        load(
            str(tmp_path / "chats.jsonl"), Columns(task="causal-lm"), tmp_path, Notes(notes.append)
        ).form
        == "messages"
    )


def chat(question: str, answer: str, keys: tuple[str, str] = ("role", "content")) -> Any:
    roles = ("user", "assistant") if keys[0] == "role" else ("human", "gpt")
    return [
        {keys[0]: role, keys[1]: said} for role, said in zip(roles, (question, answer), strict=True)
    ]


def parts(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text[:3]}, {"type": "text", "text": text[3:]}]


CHATS: dict[str, Callable[[int], dict[str, Any]]] = {
    "ShareGPT": lambda i: {"conversations": chat(f"text {i}", "pos" if i % 2 else "neg", ("from", "value"))},
    "conversations": lambda i: {"conversations": chat(f"text {i}", "pos" if i % 2 else "neg")},
    "parts": lambda i: {"messages": [
        {"role": "user", "content": parts(f"text {i}")},
        {"role": "assistant", "content": parts("pos" if i % 2 else "neg")},
    ]},
    "system apart": lambda i: {"system": "Classify.", "messages": chat(f"text {i}", "pos" if i % 2 else "neg")},
}  # fmt: skip


@pytest.mark.parametrize("shape", CHATS)
def test_chats_are_read_as_messages_however_they_are_written(tmp_path: Path, shape: str) -> None:
    rows = [CHATS[shape](i) for i in range(6)]
    source, notes = read(tmp_path, "r.jsonl", jsonl(rows))
    assert labelled(source)[:2] == [("text 0", "neg"), ("text 1", "pos")]
    assert any("is read as messages of a role and a content" in note for note in notes)
    source, _ = read(tmp_path, "r.jsonl", jsonl(rows), task="causal-lm")
    messages = json.loads(source.table("train").texts(1, 2)[0][0])
    expected = [{"role": "system", "content": "Classify."}] if "system" in shape else []
    assert messages == [*expected, *chat("text 1", "pos")]


def test_a_chat_that_is_none_is_refused_by_its_row(tmp_path: Path) -> None:
    rows = [
        {"conversations": chat("a", "b", ("from", "value"))},
        {"conversations": [{"from": "human"}]},
    ]
    message = refusal(tmp_path, "r.jsonl", jsonl(rows), task="causal-lm")
    assert "r.jsonl line 2: expected a list of messages" in message


def test_a_text_among_chats_behind_a_system_is_refused_by_its_row(tmp_path: Path) -> None:
    """Behind the rows that say what a column holds."""
    rows = [{"system": "Be brief.", "messages": chat("a", "b")}] * 30
    rows.append({"system": "Be brief.", "messages": ["hello"]})
    assert "line 31" in refusal(tmp_path, "r.jsonl", jsonl(rows), task="causal-lm")


def test_rejected_labels_of_one_kind_are_a_class(tmp_path: Path) -> None:
    answers = ("accept", "reject", "ignore", None)
    rows = [
        {"text": f"t{i}", "label": "SPAM", "answer": answer} for i, answer in enumerate(answers)
    ]
    source, notes = read(tmp_path, "r.jsonl", jsonl(rows))
    assert [name for _, name in labelled(source)] == ["SPAM", "not SPAM", None, "SPAM"]
    assert (
        "1 of 4 rows, not accepted, have no label, 1 rejected ones are of the class 'not SPAM'"
        in notes[0]
    )
    source, _ = read(tmp_path, "r.jsonl", jsonl(rows), label="answer")
    assert source.label_names == ("accept", "ignore", "reject")


def test_rows_that_annotators_differ_on_have_votes(tmp_path: Path) -> None:
    tasks = json.loads(label_studio(ROWS))
    other = json.loads(label_studio([("", "pos")]))[0]["annotations"]
    for task in tasks[:2]:
        task["annotations"] += other
    tasks[3]["annotations"] += [{**other[0], "was_cancelled": True}]
    source, notes = read(tmp_path, "r.json", json.dumps(tasks))
    assert [name for _, name in labelled(source)] == ["pos", None, None, "neg"]
    assert "1 rows whose annotators differ have no label (first: " in notes[0]
    answers = answer_source(notes[0].split("--teacher ")[1])
    assert answers is not None
    votes = read_columns(source.read["train"](), answers.columns)
    assert votes.names == ("pos", "neg")
    np.testing.assert_array_equal(votes.values[[0, 1, 3]], [[2, 0], [1, 1], [0, 1]])


def test_soft_cats_are_labels_and_answers(tmp_path: Path) -> None:
    cells = [{"pos": 0.75, "neg": 0.25}, {"pos": 0.5, "neg": 0.5}, {"pos": 0.0, "neg": 1.0}]
    rows = [{"text": f"t{i}", "cats": cell} for i, cell in enumerate(cells)]
    source, notes = read(tmp_path, "r.jsonl", jsonl(rows))
    assert [name for _, name in labelled(source)] == ["pos", None, "neg"]
    note = next(note for note in notes if "its likeliest class" in note)
    assert note.endswith("dump --teacher column:cats")
    soft = read_columns(source.read["train"](), ["cats"])
    np.testing.assert_array_equal(soft.values, [[0.75, 0.25], [0.5, 0.5], [0, 1]])


def test_spans_of_prodigy_are_tags_of_words(tmp_path: Path) -> None:
    tokens = [{"text": word, "id": i} for i, word in enumerate(["Ada", "met", "Alan", "Turing"])]
    spans = [{"token_start": 0, "token_end": 0, "label": "PER"},
             {"token_start": 2, "token_end": 3, "label": "PER"}]  # fmt: skip
    row = {"text": "Ada met Alan Turing", "tokens": tokens, "spans": spans, "answer": "accept"}
    source, _ = read(tmp_path, "r.jsonl", jsonl([row]))
    assert source.task == "token-classification"
    assert source.label_names is not None
    tags = source.table("train").labels
    assert [source.label_names[tag] for tag in tags] == ["B-PER", "O", "B-PER", "I-PER"]


SEVERAL = {
    "lists": [["a"], ["a", "b"]],
    "choices": [{"choices": ["a"]}, {"choices": ["a", "b"]}],
    "choices in a csv": ['{"choices":["a"]}', '{"choices":["a","b"]}'],
    "numbers": [{"a": 1, "b": 0}, {"a": 1, "b": 1}],
}


@pytest.mark.parametrize("kind", SEVERAL)
def test_several_labels_are_refused_by_row(tmp_path: Path, kind: str) -> None:
    rows = jsonl([{"text": "t", "label": label} for label in SEVERAL[kind]])
    message = refusal(tmp_path, "r.jsonl", rows)
    assert "r.jsonl line 2: " in message
    assert "several labels a row (multi-label), which are not trained" in message


def test_columns_of_0_and_1_are_several_labels_or_a_class_each(tmp_path: Path) -> None:
    _, notes = read(tmp_path, "r.csv", "text,toxic,threat\na,1,1\nb,0,0\n")
    assert "several labels a row (multi-label), which are not trained" in notes[0]
    assert notes[0].endswith("for example --label toxic")
    _, notes = read(tmp_path, "r.csv", one_hot(ROWS[:2]))
    assert "name them all: --label pos,neg (" in notes[0]
    message = refusal(tmp_path, "r.csv", "text,toxic,threat\na,1,1\nb,0,0\n", label="toxic,threat")
    assert "r.csv line 2: " in message


def test_votes_are_labels_by_majority(tmp_path: Path) -> None:
    votes = [["pos", "pos", "neg"], ["neg", "neg"], ["neg", "pos"], []]
    rows = jsonl([{"text": f"t{i}", "votes": several} for i, several in enumerate(votes)])
    _, notes = read(tmp_path, "r.jsonl", rows)
    assert notes[0].endswith("--label votes, dump --teacher column:votes")
    source, notes = read(tmp_path, "r.jsonl", rows, label="votes")
    assert [name for _, name in labelled(source)] == ["pos", "neg", None, None]
    assert any("its likeliest class (first: " in note for note in notes)


def test_arrays_of_one_label_are_that_label(tmp_path: Path) -> None:
    rows = [{"text": f"t{i}", "label": np.array(names)} for i, names in enumerate((["a"], ["b"]))]
    assert load(rows, Columns(), tmp_path, SILENT).label_names == ("a", "b")
    rows[1]["label"] = np.array(["a", "b"])
    with pytest.raises(SpecError, match=r"row 1: .*several labels a row"):
        load(rows, Columns(), tmp_path, SILENT)


def test_a_column_of_probabilities_for_each_class_is_named_with_the_others(tmp_path: Path) -> None:
    rows = "text,p_neg,p_pos,stars\na,0.25,0.75,1\nb,0.5,0.5,2\nc,1.0,0.0,1\n"
    _, notes = read(tmp_path, "r.csv", rows)
    assert (
        "name them all: --label p_neg,p_pos (probabilities as a teacher: the same --label, and dump "
        "--teacher column:p_neg,p_pos)" in notes[0]
    )
    source, _ = read(tmp_path, "r.csv", rows, label="p_neg,p_pos")
    assert [name for _, name in labelled(source)] == ["pos", None, "neg"]
    _, notes = read(tmp_path, "r.csv", "text,score,stars\na,0.5,1\nb,0.5,2\nc,0.7,1\n")
    assert notes[0].endswith("for example --label stars")


def test_names_of_several_classes_are_said(tmp_path: Path) -> None:
    _, notes = read(tmp_path, "r.tsv", "text\tlabel\na\tjoy\nb\tjoy,fear\nc\tfear\n")
    assert any("'joy,fear' may be several labels, as joy, fear are classes too" in n for n in notes)
    message = refusal(tmp_path, "r.tsv", "text\tlabel\na\t2\nb\t2,3\nc\t3\n")
    assert "r.tsv line 3: " in message
    assert "several labels a row (multi-label)" in message


def test_a_folder_for_each_class_is_read(tmp_path: Path) -> None:
    texts = {f"{split}/{kind}/{i}.txt": f"{split} {kind} {i}\n"
             for split in ("train", "test") for kind in ("pos", "neg") for i in range(2)}  # fmt: skip
    changed(
        tmp_path / "imdb",
        {**texts, "train/unsup/1.txt": "bare", "train/urls.txt": "x", "README": "x"},
    )
    notes: list[str] = []
    source = load(str(tmp_path / "imdb"), Columns(), tmp_path, Notes(notes.append))
    assert labelled(source) == [
        *(("train neg 0", "neg"), ("train neg 1", "neg"), ("train pos 0", "pos")),
        *(("train pos 1", "pos"), ("bare", None)),
    ]
    assert source.place("test", 2) == f"{tmp_path}/imdb/test file pos/0.txt"
    assert any(
        "rows in folders for texts without a class: 1 (first: unsup/1.txt)" in n for n in notes
    )
    changed(tmp_path / "news", {"alt.atheism/51": "caf\xe9".encode("latin-1"), "sci.space/60": "b"})
    with pytest.raises(SpecError, match=r"atheism/51 line 1: .* --encoding cp1252"):
        load(str(tmp_path / "news"), Columns(), tmp_path, Notes(notes.append))
    source = load(str(tmp_path / "news"), Columns(encoding="cp1252"), tmp_path, Notes(notes.append))
    assert labelled(source) == [("café", "alt.atheism"), ("b", "sci.space")]


def test_text_in_a_column_without_a_name_is_said(tmp_path: Path) -> None:
    kaggle = "v1,v2,,,\nham,a text,,,\nspam,one, two, three,\n"
    source, notes = read(tmp_path, "spam.csv", kaggle, text="v2", label="v1")
    assert labelled(source) == [("a text", "ham"), ("one", "spam")]
    assert "rows with a field in a column without a name: 1 (first: line 3)" in notes[0]
    source, _ = read(tmp_path, "spam.csv", kaggle, text="v2", text_pair="column 3", label="v1")
    assert source.table("train").texts()[1] == ["", " two"]
    _, notes = read(tmp_path, "empty.csv", "text,label,,\na,x,,\n")
    assert not any("without a name" in note for note in notes)


def test_the_other_text_column_is_named(tmp_path: Path) -> None:
    rows = "Class Index,Title,Description\n1,A title of five words,A long text of news\n"
    _, notes = read(tmp_path, "r.csv", rows)
    assert (
        "columns: Title is read, Description not. Another: --text Description; both: " in notes[0]
    )
    source, _ = read(
        tmp_path,
        "r.csv",
        "Title,Description,label\nShort,A long text,x\n",
        text="Title",
        text_pair="Description",
    )
    assert source.table("train").texts() == (["Short"], ["A long text"])


def test_a_column_whose_name_has_a_line_end_is_found(tmp_path: Path) -> None:
    source, _ = read(tmp_path, "r.csv", 'text,"the\nlabel"\na,x\nb,y\n', label="the label")
    assert source.label_names == ("x", "y")


def test_labelling_functions_are_votes_and_no_labels(tmp_path: Path) -> None:
    """As Snorkel writes them: a column for each function, with -1 where it abstains."""
    table = "text,lf_keyword,lf_length\na b c,1,-1\nb c d,0,0\nc d e,-1,0\nd e f,1,1\n"
    _, notes = read(tmp_path, "r.csv", table)
    assert "They are votes of labelling functions" in notes[0]
    assert "--label lf_" not in notes[0]
    votes = [["pos"], ["neg", "neg"], ["neg"], ["pos", "pos"]]
    rows = jsonl([{"text": f"t{i}", "votes": several} for i, several in enumerate(votes)])
    source, _ = read(tmp_path, "r.jsonl", rows, label="votes")
    assert source.label_names == ("neg", "pos")


def test_the_column_of_names_is_proposed_before_that_of_their_numbers(tmp_path: Path) -> None:
    """As in a manifest of SageMaker Ground Truth."""
    lines = [
        {
            "source": f"wake me at {n}",
            "intent-job": n % 2,
            "intent-job-metadata": {"class-name": ("alarm", "music")[n % 2], "confidence": 0.5},
        }
        for n in range(20)
    ]
    _, notes = read(tmp_path, "r.jsonl", jsonl(lines), text="source")
    assert notes[0].endswith("for example --label intent-job-metadata.class-name")
