"""Files as strangers brought them, that were read wrongly or led into a dead end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from logitcache.config.data import Columns
from logitcache.data.doctor import examine
from logitcache.data.source import Source, load
from logitcache.errors import SpecError
from logitcache.reporter import Notes
from tests.advice import followed, reshaped
from tests.data.advice_cases import changed

Rows = list[dict[str, Any]]


def read(data: Any, folder: Path, **columns: Any) -> tuple[Source, str]:
    notes: list[str] = []
    data = str(data) if isinstance(data, Path) else data
    return load(data, Columns(**columns), folder, Notes(notes.append)), "\n".join(notes)


def refusal(data: Any, folder: Path, **columns: Any) -> str:
    with pytest.raises(SpecError) as caught:
        read(data, folder, **columns)
    return str(caught.value)


def jsonl(rows: Rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def of_relations(split: str) -> Rows:
    """Rows as TACRED has them: several of a document, each about two parts of its text."""
    return [
        {
            "docid": f"{split}{number // 4}",
            "relation": ("per:title", "none")[number % 2],
            "sentence": f"Ada {number} is head of Acme",
            "subj_start": 0,
            "subj_end": 1,
        }
        for number in range(8)
    ]


def test_identifiers_are_never_advised_as_labels(tmp_path: Path) -> None:
    files = {f"{split}.jsonl": jsonl(of_relations(split)) for split in ("train", "dev")}
    changed(tmp_path / "data", files)
    source, notes = read(tmp_path / "data", tmp_path)
    assert source.label_advice.endswith("for example --label relation")
    assert "not read: subj_start, subj_end. If labels are of these parts of a text" in notes


def test_values_that_no_other_split_has_are_no_advised_classes(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        rows = [{"source": row["docid"], "kind": row["relation"], "text": row["sentence"]}
                for row in of_relations(split)]  # fmt: skip
        changed(tmp_path / "data", {f"{split}.jsonl": jsonl(rows)})
    source, _ = read(tmp_path / "data", tmp_path)
    assert source.label_advice.endswith("for example --label kind")
    source, _ = read(tmp_path / "data", tmp_path, label="source")
    details = [finding.detail for finding in examine(source).findings if finding.split == "dev"]
    assert any("is this the column of the labels?" in detail for detail in details)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_punctuation_is_spelling(tmp_path: Path, ending: str) -> None:
    labels = [
        "negative.",
        "Negative",
        "negative",
        "'Positive'",
        '"positive"',
        "`neutral`!",
        "neutral",
    ]
    rows = [{"text": f"text {number}", "label": label} for number, label in enumerate(labels)]
    content = jsonl(rows)
    if ending == "csv":
        fields = [f"{row['text']},{json.dumps(row['label'])}" for row in rows]
        content = "text,label\n" + "\n".join(fields).replace('\\"', '""') + "\n"
    changed(tmp_path, {f"r.{ending}": content})
    message = refusal(tmp_path / f"r.{ending}", tmp_path)
    assert "--labels" not in message
    command = re.search(r'python -c "(.*)"\.$', message)
    assert command is not None, message
    followed(f'python -c "{command[1]}"', tmp_path)
    source, _ = read(tmp_path / "OUT.jsonl", tmp_path)
    assert source.label_names == ("negative", "neutral", "positive")


def test_marks_that_make_another_name_are_no_punctuation(tmp_path: Path) -> None:
    rows = [{"text": name, "label": name} for name in ("C", "C#", "C++", ":)", ":(")]
    assert read(rows, tmp_path)[0].num_labels == 5


@pytest.mark.parametrize("label", ["PER", 5])
@pytest.mark.parametrize("path", ["entities", "entities.label"])
def test_labels_of_parts_of_texts_are_none_of_texts(tmp_path: Path, label: Any, path: str) -> None:
    span = {"label": label, "start_offset": 0, "end_offset": 3}
    rows = [{"text": f"Ada {number}", "entities": [span]} for number in range(4)]
    if path == "entities":
        message = refusal(rows, tmp_path, label=path, task="classification")
        assert "labels of parts of a text" in message
    source, _ = read(rows, tmp_path, label=path)
    assert source.label_names == (f"B-{label}", "O")


def run(message: str, folder: Path) -> Path:
    """Follow the command of a message in a folder; the file that it writes."""
    if "logitcache reshape" in message:
        return reshaped(message, folder)
    command = re.search(r'(python -c "[^"]*")(?: > (\w+\.jsonl))?', message)
    assert command is not None, message
    lines = followed(command[1], folder)
    if command[2]:
        (folder / command[2]).write_text(lines)
    return folder / (command[2] or "OUT.jsonl")


POSTS = {"a_x": {"tokens": ["some", "words"], "kind": [{"label": "x"}]},
         "b_y": {"tokens": ["other", "words"], "kind": [{"label": "y"}]}}  # fmt: skip


@pytest.mark.parametrize("beside", [{}, {"divisions.json": '{"train": ["a_x"], "test": ["b_y"]}'}])
def test_objects_under_keys_are_written_as_rows(tmp_path: Path, beside: dict[str, str]) -> None:
    folder = tmp_path / "data"
    changed(folder, {"dataset.json": json.dumps(POSTS), **beside})
    message = refusal(folder, tmp_path)
    assert ".json.jsonl" not in message
    run(message, folder)
    (folder / "dataset.json").unlink()
    message = refusal(folder, tmp_path, label="kind.label")
    run(message, tmp_path)  # joins the words
    source, _ = read(tmp_path / "OUT.jsonl", tmp_path, label="kind.label")
    assert source.table("train").texts()[0] == ["some words", "other words"]


def test_json_beside_tables_is_named(tmp_path: Path) -> None:
    changed(
        tmp_path,
        {"r.csv": "text,label\na,x\nb,y\n", "divisions.json": "{}", "labels.json": '["x", "y"]'},
    )
    assert read(tmp_path, tmp_path)[1].endswith("beside other files: divisions.json")


def test_nested_elements_are_written_as_rows(tmp_path: Path) -> None:
    sentence = (
        "<sentence><text>{0}</text><terms><term label='x'/><term label='y'/></terms></sentence>"
    )
    content = "".join(map(sentence.format, ("a film", "a book")))
    changed(
        tmp_path, {"r.xml": f"<all>{content}</all>", "flat.xml": "<all><r><text>a</text></r></all>"}
    )
    run(refusal(tmp_path / "r.xml", tmp_path), tmp_path)
    source, _ = read(tmp_path / "r.jsonl", tmp_path)
    assert source.table("train").texts()[0] == ["a film", "a film", "a book", "a book"]
    assert "pandas.read_xml" in refusal(tmp_path / "flat.xml", tmp_path)


def test_rows_of_one_line_are_counted(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    changed(tmp_path, {"r.json": json.dumps(rows)})
    assert read(tmp_path / "r.json", tmp_path)[0].place("train", 1).endswith("r.json row 1")


def test_votes_for_a_text_are_no_labels_of_its_words(tmp_path: Path) -> None:
    rows = [{"tokens": ["some", "words"], "votes": ["x", "x", "y"]}] * 2
    message = refusal(rows, tmp_path, text="tokens", label="votes")
    assert "If 'tokens' holds the words of a text, join them" in message


def test_fields_cut_from_a_header_that_is_a_row_are_no_texts(tmp_path: Path) -> None:
    changed(tmp_path, {"r.tsv": "1\t\ta text of some words\n2\tx\tan other text of words\n"})
    _, notes = read(tmp_path / "r.tsv", tmp_path, text="a text of some words")
    assert "in a column without a name" in notes
    assert "Put quotes" not in notes


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.json", "3"),
        ("r.json", '[["a"], "x"]'),
        ("r.json", '{"a": [1], "b": [2, 3]}'),
        ("r.json", '{"train": [{"text": "a"}], "other": [{"text": "b"}]}'),
        ("r.jsonl", '{"number": 1, "price": 2.5}'),
        ("r.csv", "number,price\n1,2.5\n2,3.5\n"),
        ("r.csv", 'text,label\n"a,x\n'),
        ("r.txt", "words"),
        ("r.txt", "some words of a text"),
        ("r.pdf", "%PDF-1.4"),
        ("r.csv", "%PDF-1.4"),
        ("r.unknown", "words"),
    ],
)
def test_what_is_not_recognised_ends_in_what_a_row_looks_like(
    tmp_path: Path, name: str, content: str
) -> None:
    changed(tmp_path, {name: content + "\n"})
    message = refusal(tmp_path / name, tmp_path)
    assert '{"text": ..., "label": ...} a line (other names: --text, --label)' in message
    assert "\n" not in message


def test_titles_of_a_word_are_no_texts_beside_sentences(tmp_path: Path) -> None:
    rows = [
        {"title": "Good", "body": f"a long text of some {i}", "rating": i % 2} for i in range(6)
    ]
    assert "--text body --label rating" in refusal(rows, tmp_path)
    rows = [{"title": row["body"], "rating": row["rating"]} for row in rows]
    assert read(rows, tmp_path, label="rating")[0].table("train").texts()[0] == [
        row["title"] for row in rows
    ]


def test_objects_under_keys_are_written_as_rows_for_all_splits(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    more = {"info": {"group": 1}}
    rows = {"1": {"text": "a b", "label": "x", **more}, "2": {"text": "c d", "label": "y", **more}}
    files = {f"HS_{split}.json": json.dumps(rows) for split in ("train", "dev", "test")}
    changed(folder, {**files, "HS_annotators.json": '{"Ann1": {"age": 3}}'})
    source, _ = read(run(refusal(folder, tmp_path), tmp_path), tmp_path)
    assert sorted(source.splits) == ["dev", "test", "train"]
    assert source.table("dev").texts()[0] == ["a b", "c d"]


def test_a_header_names_pairs_of_texts(tmp_path: Path) -> None:
    pairs = [
        ("A plane takes off now.", "An air plane takes off."),
        ("A man plays a flute.", "A man plays."),
    ]
    lines = [
        f"{one} {label},{two} {label},{label}" for one, two in pairs for label in ("same", "other")
    ]
    changed(tmp_path, {"r.csv": "".join(f"{line}\n" for line in lines)})
    assert "--header text,text_pair,label" in refusal(tmp_path / "r.csv", tmp_path)
    source, _ = read(tmp_path / "r.csv", tmp_path, header=("text", "text_pair", "label"))
    assert source.texts == ("text", "text_pair")
    assert source.label_names == ("other", "same")
    classes = ["news of the world", "games and sports"] * 3
    rows = [f"1,a text of number {i},{name}\n" for i, name in enumerate(classes)]
    changed(tmp_path, {"r.csv": "".join(rows)})
    assert "--header c1,text,label" in refusal(tmp_path / "r.csv", tmp_path)


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"instruction": "Add.", "input": "1 and 2", "output": "3"}, "Add.\n\n1 and 2\n"),
        ({"instruction": "Say 3.", "context": "", "response": "3", "category": "x"}, "Say 3.\n"),
        ({"question": "1 and 2?", "answer": "3"}, "1 and 2?\n"),
        ({"prompt": "1 and 2?", "chosen": "3", "rejected": "4"}, "1 and 2?\n"),
    ],
)
def test_questions_and_answers_are_written_as_prompts_and_completions(
    tmp_path: Path, row: dict[str, str], prompt: str
) -> None:
    changed(tmp_path, {"r.jsonl": jsonl([row, row])})
    run(refusal(tmp_path / "r.jsonl", tmp_path, task="causal-lm"), tmp_path)
    source, _ = read(tmp_path / "OUT.jsonl", tmp_path, task="causal-lm")
    texts, completions = source.table("train").texts()
    assert list(texts) == [prompt] * 2
    assert completions is not None
    assert list(completions) == ["3"] * 2


def test_aspects_of_a_text_are_said(tmp_path: Path) -> None:
    sentence = "the food was good and the staff was rude"
    rows = [
        {"Sentence": f"{sentence} {i // 2}", "what": ("food", "staff")[i % 2], "label": "xy"[i % 2]}
        for i in range(8)
    ]
    _, notes = read(rows, tmp_path)
    assert notes.endswith("If the labels are about them: --text-pair what")
    _, notes = read(rows, tmp_path, text="Sentence", text_pair="what")
    assert "--text-pair" not in notes
    one_word = [{**row, "what": "food", "Sentence": f"the food {i}"} for i, row in enumerate(rows)]
    assert "--text-pair" not in read(one_word, tmp_path)[1]


def test_a_prompt_beside_two_answers_is_put_before_the_first(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"what is {i} and {i}?", "response_a": f"it is not {i}",
         "response_b": f"that is {2 * i}", "winner": "ab"[i % 2]}
        for i in range(6)
    ]  # fmt: skip
    changed(tmp_path, {"r.jsonl": jsonl(rows)})
    message = refusal(tmp_path / "r.jsonl", tmp_path)
    assert "prompt is left out then" in message
    run(message, tmp_path)
    named = {"text": "response_a", "text_pair": "response_b", "label": "winner"}
    source, _ = read(tmp_path / "OUT.jsonl", tmp_path, **named)
    assert source.table("train").texts()[0][1] == "what is 1 and 1?\nit is not 1"


def test_scores_of_pairs_are_led_to_sentence_encoders(tmp_path: Path) -> None:
    rows = [
        {"sentence1": f"the film {i}", "sentence2": f"a film {i}", "score": i / 4} for i in range(6)
    ]
    assert "--task embedding --similarity" in read(rows, tmp_path)[0].label_advice


def test_texts_below_an_object_are_named(tmp_path: Path) -> None:
    rows = [{"text": {"post": f"a {i}", "reply": f"b {i}"}, "label": "xy"[i % 2]} for i in range(4)]
    message = refusal(rows, tmp_path)
    assert message.endswith("for example --text text.post (and --text-pair text.reply).")
    source, _ = read(rows, tmp_path, text="text.post", text_pair="text.reply")
    assert source.table("train").texts() == (
        [f"a {i}" for i in range(4)],
        [f"b {i}" for i in range(4)],
    )
