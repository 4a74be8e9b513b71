"""Files of shapes that were looked up in public data sets, and were read wrongly or led nowhere."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logitcache.config.answers import answer_source
from logitcache.config.teacher import DumpSettings
from logitcache.data.source import Source
from logitcache.errors import SpecError
from logitcache.reporter import Notes
from logitcache.teacher.column import Recorded, recorded
from tests.advice import reshaped
from tests.data.advice_cases import changed
from tests.data.test_strangers import Rows, jsonl, read, refusal, run


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


def of_words(names: str, *columns: str) -> str:
    """Two sentences of two words as a csv."""
    fields = {"s": "1122", "w": ["Ada", "met", "Alan", "slept"], "t": ["B-PER", "O", "B-PER", "O"]}
    rows = [[fields[column][row] for column in columns] for row in range(4)]
    return "\n".join([names, *map(",".join, rows)]) + "\n"


@pytest.mark.parametrize(
    "names", ["sentence_id,text,label", "Sent_ID,Text,Tag", "sent_id,token,pos"]
)
def test_words_with_a_number_of_their_sentence_are_words(tmp_path: Path, names: str) -> None:
    (tmp_path / "r.csv").write_text(of_words(names, "s", "w", "t"))
    source, notes = read(tmp_path / "r.csv", tmp_path)
    assert source.task == "token-classification"
    assert source.table("train").texts()[0] == ["Ada\nmet", "Alan\nslept"]
    assert "a word a row: read as 2 sentences of 4 words" in notes


@pytest.mark.parametrize("names", ["doc,token,ner", "doc,text,label"])
def test_words_whose_sentences_nothing_tells_are_led_to_them(tmp_path: Path, names: str) -> None:
    (tmp_path / "r.csv").write_text(of_words(names, "s", "w", "t"))
    message = refusal(tmp_path / "r.csv", tmp_path)
    assert "If doc numbers them: python -c" in message
    run(message, tmp_path)
    source, _ = read(tmp_path / "OUT.jsonl", tmp_path)
    assert source.table("train").texts()[0] == ["Ada\nmet", "Alan\nslept"]
    words, tags = names.split(",")[1:]
    source, _ = read(tmp_path / "r.csv", tmp_path, text=words, label=tags, task="classification")
    assert len(source.table("train")) == 4


def test_texts_without_spaces_are_no_words(tmp_path: Path) -> None:
    """Sentences of Chinese, of which each stands in several rows, one for each of its aspects."""
    rows = "".join(f"{i // 2},房间很大{i // 2},{'好坏'[i % 2]}\n" for i in range(12))
    for names in ("sentence_id,text,label", "id,sentence,label"):
        (tmp_path / "r.csv").write_text(f"{names}\n{rows}", "utf-8")
        source, _ = read(tmp_path / "r.csv", tmp_path)
        assert (source.task, len(source.table("train"))) == ("classification", 12)


def test_columns_of_parquet_that_repeat_are_numbered(tmp_path: Path) -> None:
    names = ["text", "label", "text", "id", "id"]
    columns = [["a", "b"], [0, 1], ["c", "d"], [1, 2], [3, 4]]
    pq.write_table(pa.table(columns, names=names), tmp_path / "r.parquet")
    source, notes = read(tmp_path / "r.parquet", tmp_path, text="text.1")
    assert source.table("train").texts()[0] == ["c", "d"]
    assert "a name that repeats: 2 (first: column 2). They are called text.1, id.1" in notes
    message = refusal(tmp_path / "r.parquet", tmp_path)
    assert "for --text, found several called 'text'. Name another column with --text" in message


@pytest.mark.parametrize("column", ["filename", "document", "id"])
@pytest.mark.parametrize("folder", ["texts", "."])
def test_texts_in_files_that_a_column_names_are_written_into_it(
    tmp_path: Path, column: str, folder: str
) -> None:
    texts = {"0a.txt": "a film of old days\nand more\n", "0b.txt": "a dull book"}
    changed(tmp_path / "data", {f"{folder}/{name}": text for name, text in texts.items()})
    names = [name.removesuffix(".txt") if column == "id" else name for name in texts]
    table = f"{column},label\n{names[0]},x\n{names[1]},y\n"
    changed(tmp_path / "data", {"train.csv": table})
    for asked in ({}, {"text": column}):
        message = refusal(tmp_path / "data" / "train.csv", tmp_path, **asked)
    assert f"in the column {column!r} names of files" in message
    source, _ = read(run(message, tmp_path), tmp_path, text="text")
    assert source.table("train").texts()[0] == list(texts.values())
    assert source.label_names == ("x", "y")


def test_lines_keep_their_quotes_beside_their_labels(tmp_path: Path) -> None:
    texts = ['"A fine film"', 'a "dull" one', '"unclosed, and a comma']
    for split, mark in (("train", ""), ("val", "!")):
        lines = "".join(f"{text}{mark}\n" for text in texts)
        changed(tmp_path, {f"{split}_text.txt": lines, f"{split}_labels.txt": "0\n1\n0\n"})
    changed(tmp_path, {"mapping.txt": "0\tpos\n1\tneg\n"})
    message = refusal(tmp_path, tmp_path)
    assert message.endswith("; then --data OUT --labels pos,neg")
    source, _ = read(reshaped(message, tmp_path), tmp_path, label_names=("pos", "neg"))
    assert source.table("train").texts()[0] == texts
    assert source.table("dev").texts()[0] == [f"{text}!" for text in texts]
    assert source.label_names == ("pos", "neg")


@pytest.mark.parametrize(
    ("labels", "texts"), [("Y.txt", ["X.txt"]), ("relations.lst", ["a.toks", "b.toks"])]
)
def test_a_label_a_line_is_put_to_its_text(tmp_path: Path, labels: str, texts: list[str]) -> None:
    files = {name: "".join(f"{name} a film {i}\n" for i in range(4)) for name in texts}
    changed(tmp_path / "data", {**files, labels: "1\n0\n0\n1\n"})
    source, _ = read(run(refusal(tmp_path / "data", tmp_path), tmp_path), tmp_path)
    assert len(source.table("train").texts()) == 2
    assert labels_of(source) == ["1", "0", "0", "1"]


def test_files_of_a_class_each_are_no_labels(tmp_path: Path) -> None:
    changed(tmp_path, {"rt.pos": "a film\na book\n", "rt.neg": "a song\na play\n"})
    assert "If each holds the texts of a class" in refusal(tmp_path, tmp_path)


def test_answers_by_an_identifier_are_led_to_a_table_of_both(tmp_path: Path) -> None:
    changed(tmp_path, {
        "train.csv": "id,text,label\n07,a film,neg\n8,a book,pos\n",
        "preds.csv": "id,p_pos,p_neg\n8,0.9,0.1\n07,0.2,0.8\n",
    })  # fmt: skip
    name = f"p_*@{tmp_path}/preds.csv"
    with pytest.raises(SpecError) as caught:
        answered(tmp_path / "train.csv", name, tmp_path)
    message = str(caught.value)
    assert message.endswith("then --data OUT.jsonl --teacher 'column:p_*'.")
    run(message, tmp_path)
    dump, _ = answered(tmp_path / "OUT.jsonl", "p_*", tmp_path)
    assert np.exp(dump.logits).argmax(1).tolist() == [0, 1]


def test_votes_that_a_comma_joins_are_split(tmp_path: Path) -> None:
    joined = [("1,1,0", "1"), ("0,0,0", "0"), ("0,1,1", "1"), ("1,1,1", "1")]
    rows: Rows = [{"text": f"a film {i}", "annotations": votes, "hard_label": label}
                  for i, (votes, label) in enumerate(joined * 2)]  # fmt: skip
    changed(tmp_path, {"r.jsonl": jsonl(rows)})
    source, _ = read(tmp_path / "r.jsonl", tmp_path)
    assert source.label_advice.endswith("for example --label hard_label")
    message = refusal(tmp_path / "r.jsonl", tmp_path, label="annotations")
    with pytest.raises(SpecError, match="votes that ',' joins"):
        answered(tmp_path / "r.jsonl", "annotations", tmp_path, label="hard_label")
    run(message, tmp_path)
    dump, _ = answered(tmp_path / "OUT.jsonl", "annotations", tmp_path, label="hard_label")
    assert np.exp(dump.logits[0]) / np.exp(dump.logits[0]).sum() == pytest.approx([1 / 3, 2 / 3])


@pytest.mark.parametrize("name", ["r.json", "r.jsonl", "r.json.gz"])
def test_rows_whose_text_is_null_are_left_out(tmp_path: Path, name: str) -> None:
    rows: Rows = [{"text": "a film", "label": 1.0}, {"text": None, "label": 2.0}, {"label": 5.0}]
    content = jsonl([*rows, {"text": "a book", "label": 5.0}]).encode()
    content = gzip.compress(content) if name.endswith(".gz") else content
    changed(tmp_path, {name: content})
    message = refusal(tmp_path / name, tmp_path)
    assert "found null (2 such rows). To leave these rows out: " in message
    run(message, tmp_path)
    source, _ = read(tmp_path / "OUT.jsonl", tmp_path)
    assert source.table("train").texts()[0] == ["a film", "a book"]
    assert labels_of(source) == ["1", "5"]


def test_fields_in_single_quotes_are_led_to_a_table(tmp_path: Path) -> None:
    rows = ["Web;'er sagt; ja'", "Sport;'das; \"war\" ''s'", "Kultur;ein Film von heute"]
    changed(tmp_path, {"train.csv": "".join(f"{row}\n" for row in rows)})
    message = refusal(tmp_path / "train.csv", tmp_path)
    assert "Give --delimiter ';' if it separates fields. If the first line is a row" in message
    asked: Any = {"delimiter": ";", "header": ("label", "text")}
    out = run(refusal(tmp_path / "train.csv", tmp_path, **asked), tmp_path)
    source, _ = read(out, tmp_path)
    texts = ["er sagt; ja", 'das; "war" \'s', "ein Film von heute"]
    assert source.table("train").texts()[0] == texts


def test_delimiters_at_the_end_of_lines_are_fields(tmp_path: Path) -> None:
    rows = "".join(f"{i}\t{'ab'[i % 2]}\ta film of some days {i}\t\n" for i in range(6))
    changed(tmp_path, {"train.txt": rows})
    message = refusal(tmp_path / "train.txt", tmp_path)
    assert "for example --header c1,label,text,c4;" in message
    asked: Any = {"delimiter": "\t", "header": ("c1", "label", "text", "c4")}
    assert len(read(tmp_path / "train.txt", tmp_path, **asked)[0].table("train")) == 6


@pytest.mark.parametrize("name", ["r.json", "r.jsonl"])
def test_turns_whose_keys_are_roles_are_led_to_messages(tmp_path: Path, name: str) -> None:
    turns = [{"Human": "who", "Assistant": "me"}, {"Human": "and", "Assistant": "you"}]
    rows: Rows = [{"id": 1, "conversation": turns}, {"id": 2, "conversation": turns[:1]}]
    changed(tmp_path, {name: json.dumps(rows) if name == "r.json" else jsonl(rows)})
    for asked in ({}, {"task": "causal-lm"}):
        message = refusal(tmp_path / name, tmp_path, **asked)
    run(message, tmp_path)
    source, _ = read(tmp_path / "OUT.jsonl", tmp_path, task="causal-lm")
    first = json.loads(source.table("train").texts()[0][0])
    assert [turn["role"] for turn in first] == ["user", "assistant"] * 2
    assert [turn["content"] for turn in first] == ["who", "me", "and", "you"]


def test_dates_are_not_advised_as_labels(tmp_path: Path) -> None:
    rows: Rows = [
        {"received": f"2019-09-0{i % 3 + 1}", "kind": "xy"[i % 2], "body": f"a film of {i} days"}
        for i in range(9)
    ]
    assert "--text body --label kind" in refusal(rows, tmp_path)


OF_MODELS: Rows = [
    {"text": "a film", "votes": {"gpt": "neg", "claude": "neg", "llama": "pos"}},
    {"text": "a book", "votes": {"gpt": "pos", "claude": "neg", "llama": "pos"}},
]
OF_PEOPLE: Rows = [
    {**row, "votes": [{"by": who, "label": vote} for who, vote in row["votes"].items()]}
    for row in OF_MODELS
]


@pytest.mark.parametrize("rows", [OF_MODELS, OF_PEOPLE])
def test_votes_by_name_are_led_to_their_paths(tmp_path: Path, rows: Rows) -> None:
    changed(tmp_path, {"r.jsonl": jsonl(rows)})
    message = refusal(tmp_path / "r.jsonl", tmp_path, label="votes")
    assert "Name a value in it, for example --label votes." in message
    labelled = [{**row, "label": label} for row, label in zip(rows, ("neg", "pos"), strict=True)]
    with pytest.raises(SpecError) as caught:
        answered(labelled, "votes", tmp_path)
    column = str(caught.value).partition("--teacher column:")[2].rstrip(".")
    dump, _ = answered(labelled, column, tmp_path)
    p = np.exp(dump.logits)
    assert (p / p.sum(1, keepdims=True)).ravel() == pytest.approx(
        [2 / 3, 1 / 3, 1 / 3, 2 / 3], abs=1e-3
    )
    source, _ = read(tmp_path / "r.jsonl", tmp_path, label=column)
    assert labels_of(source) == ["neg", "pos"]


def test_texts_that_a_language_model_passes_over_are_said(tmp_path: Path) -> None:
    rows: Rows = [{"title": f"a film {i} of it", "body": f"some {i} long text"} for i in range(4)]
    notes = read(rows, tmp_path, task="causal-lm")[1]
    assert "columns: title is read, body not. Another: --text body" in notes
    assert "--text-pair" not in notes
    chats: Rows = [{"text": "", "messages": [{"role": "assistant", "content": "a film"}]}]
    assert "not. Another" not in read(chats, tmp_path, task="causal-lm")[1]


def test_words_that_paddle_joins_have_a_tag_each(tmp_path: Path) -> None:
    rows = ["text_a\tlabel", "Ada\x02met\x02Alan\tB-PER\x02O\x02B-PER", "it\x02is\tO\x02O"]
    changed(tmp_path, {"train.tsv": "\n".join(rows) + "\n"})
    source, _ = read(tmp_path / "train.tsv", tmp_path)
    assert source.table("train").texts()[0] == ["Ada\nmet\nAlan", "it\nis"]
    assert (source.task, source.label_names) == ("token-classification", ("B-PER", "O"))


def test_files_of_pubtator_are_led_to_texts_with_parts(tmp_path: Path) -> None:
    first = "1|t|Aspirin helps\n1|a|It is | fine.\n1\t0\t7\tAspirin\tChemical\tD1\n1\tCID\tD1\tD2\n"
    changed(tmp_path, {"train.txt": f"{first}\n2|t|None\n2|a|here\n\n"})
    out = run(refusal(tmp_path / "train.txt", tmp_path), tmp_path)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows == [
        {"text": "Aspirin helps It is | fine.", "entities": [[0, 7, "Chemical"]]},
        {"text": "None here", "entities": []},
    ]
    assert read(out, tmp_path)[0].label_names == ("B-Chemical", "O")


def test_numbered_columns_of_0_and_1_may_be_votes(tmp_path: Path) -> None:
    votes = ["1,,0", "1,1,1", "0,0,0", "1,1,0"]
    rows = "".join(f"a film {i},{row}\n" for i, row in enumerate(votes))
    changed(tmp_path, {"r.csv": f"text,worker_1,worker_2,worker_3\n{rows}"})
    advice = read(tmp_path / "r.csv", tmp_path)[0].label_advice
    assert advice.endswith("in place of 0 and 1, and give --label worker_1,worker_2,worker_3")
    named = rows.replace(",1", ",yes").replace(",0", ",no")
    changed(tmp_path, {"r.csv": f"text,worker_1,worker_2,worker_3\n{named}"})
    label = advice.rpartition(" ")[2]
    assert labels_of(read(tmp_path / "r.csv", tmp_path, label=label)[0]) == ["", "yes", "no", "yes"]


def test_scores_of_a_label_are_no_other_labels(tmp_path: Path) -> None:
    rows: Rows = [{"text": f"a {i}", "label": i % 2, "label_quality": 0.5} for i in range(4)]
    assert "label_quality" not in read(rows, tmp_path)[1]


@pytest.mark.parametrize("folders", [("",), ("train/", "dev/", "test/")])
def test_parallel_lines_of_words_slots_and_classes_are_written_as_rows(
    tmp_path: Path, folders: tuple[str, ...]
) -> None:
    for folder in folders:
        files = {"seq.in": "a 'b'\nc\n", "seq.out": "O B-x\nO\n", "label": "x\ny\n"}
        changed(tmp_path / "data", {folder + name: lines for name, lines in files.items()})
    splits = [folder.strip("/") or "train" for folder in folders]
    message = refusal(tmp_path / "data", tmp_path)
    assert message.endswith("; then --data OUT.")
    classes, _, slots = message.partition("; for the slots: ")
    out = run(classes, tmp_path)
    source, _ = read(out, tmp_path)
    assert sorted(source.splits) == sorted(splits)
    for split in splits:
        assert source.table(split).texts()[0] == ["a 'b'", "c"]
    assert source.label_names == ("x", "y")
    shutil.rmtree(tmp_path / "OUT")
    source, _ = read(run(slots, tmp_path), tmp_path)
    assert sorted(source.splits) == sorted(splits)
    assert source.label_names == ("B-x", "O")


def test_labels_in_a_file_of_their_own_are_joined_to_their_texts(tmp_path: Path) -> None:
    rows = "id\ttweet\tsubtask_a\n1\ta b\tOFF\n2\tc d\tNOT\n3\te f\tNOT\n"
    labels = "id,label\n7,OFF\n8,NOT\n9,NOT\n"
    tests = "id\ttweet\n7\tg h\n9\ti j\n8\tk l\n"
    names = {"olid-training.tsv": rows, "testset-levela.tsv": tests, "labels-levela.csv": labels}
    changed(tmp_path, {f"data/{name}": content for name, content in names.items()})
    _, notes = read(tmp_path / "data", tmp_path, text="tweet", label="subtask_a")
    source, _ = read(run(notes, tmp_path), tmp_path, text="tweet", label="label")
    assert source.table("train").texts()[0] == ["g h", "i j", "k l"]
    assert labels_of(source) == ["OFF", "NOT", "NOT"]
