"""Texts in one file and labels in another, with a key in both: said, and joined by the command that
is named.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from logitcache.config.data import Columns
from logitcache.data.similarity import with_pairs
from logitcache.data.source import Source, load
from logitcache.data.sources import joins
from logitcache.data.sources.content import Reading
from logitcache.errors import SpecError
from logitcache.reporter import Notes
from tests.advice import reshaped
from tests.data.advice_cases import changed

STANCES = "Headline,Body ID,Stance\nsome thing has happened,7,agree\nit has not,9,disagree\nso it goes,7,agree\n"
BODIES = "Body ID,articleBody\n9,a long text of nothing\n7,a long text of things\n3,another one\n"
NAMED = Columns(text="Headline", label="Stance")


def read(data: Path, columns: Columns = NAMED) -> tuple[Source, list[str]]:
    notes: list[str] = []
    return load(str(data), columns, data.parent, Notes(notes.append)), notes


def check_joined(message: str, folder: Path) -> None:
    """The command of a message writes the rows with their texts."""
    out = reshaped(message, folder)
    columns = Columns(text="Headline", text_pair="articleBody", label="Stance")
    source, notes = read(out, columns)
    texts = ["a long text of things", "a long text of nothing", "a long text of things"]
    assert source.table("train").texts()[1] == texts
    assert not [note for note in notes if "Join" in note]


@pytest.mark.parametrize("names", [("train_bodies.csv", "train_stances.csv"), ("b.csv", "s.csv")])
def test_a_folder_of_both_is_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    folder = tmp_path / "data"
    changed(folder, dict(zip(names, (BODIES, STANCES), strict=True)))
    with pytest.raises(SpecError) as caught:
        read(folder)
    check_joined(str(caught.value), tmp_path)


def test_a_file_beside_the_other_is_read_with_a_note(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    changed(folder, {"bodies.csv": BODIES, "stances.csv": STANCES})
    _, notes = read(folder / "stances.csv")
    note = next(note for note in notes if "not read: Body ID" in note)
    check_joined(note, tmp_path)


def test_texts_whose_labels_are_beside_them_have_none(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    changed(folder, {"bodies.csv": BODIES, "stances.csv": STANCES})
    source, notes = read(folder / "bodies.csv", Columns(text="articleBody"))
    assert "bodies.csv belongs to each of stances.csv" in source.label_advice
    check_joined("".join(notes), tmp_path)


def test_a_key_of_a_table_that_is_not_there_is_noted(tmp_path: Path) -> None:
    changed(tmp_path / "data", {"stances.csv": STANCES})
    _, notes = read(tmp_path / "data" / "stances.csv")
    assert "not read: Body ID, whose numbers stand in several rows. To read" in "".join(notes)


def test_numbers_of_users_and_of_rows_of_two_texts_are_no_keys(tmp_path: Path) -> None:
    """As GLUE's MRPC has ids of both sentences, and beside it a file of ids alone."""
    for name in ("user_id", "workflow_id"):
        changed(tmp_path, {"s.csv": STANCES.replace("Body ID", name)})
        assert "not read" not in "".join(read(tmp_path / "s.csv")[1])
    rows = "".join(f"{i % 2}\t{70 + i}\t{90 + i % 3}\tone {i}\ttwo {i}\n" for i in range(6))
    ids = "".join(f"{70 + i}\t{90 + i}\n" for i in range(6))
    header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    changed(tmp_path, {"dev.tsv": header + rows, "dev_ids.tsv": ids})
    columns = Columns(text="#1 String", text_pair="#2 String", label="Quality")
    assert "not read" not in "".join(read(tmp_path / "dev.tsv", columns)[1])


@pytest.mark.parametrize(
    "beside",
    [
        BODIES.replace("9,", "7,"),  # no key
        BODIES.replace("Body ID", "number"),
        STANCES,
        "Body ID,Stance\n7,agree\n9,agree\n",  # labels in both
        "Body ID,articleBody\n1,a\n2,b\n",  # of other rows
        "{",
    ],
)
def test_other_files_beside_it_are_none_of_its_tables(tmp_path: Path, beside: str) -> None:
    folder = tmp_path / "data"
    changed(folder, {"bodies.csv": beside, "stances.csv": STANCES})
    _, notes = read(folder / "stances.csv")
    assert "Join" not in "".join(notes)


def of_batch(folder: Path) -> None:
    asked, answered, failed = [], [], []
    for i, label in enumerate(("x", "y", "x")):
        messages = [
            {"role": "system", "content": "Say x or y."},
            {"role": "user", "content": f"text {i}"},
        ]
        asked.append({"custom_id": f"r{i}", "method": "POST", "body": {"messages": messages}})
        body = {"choices": [{"message": {"content": f"{label}\n"}}], "usage": {"total_tokens": 5}}
        answered.append(
            {"custom_id": f"r{i}", "response": {"status_code": 200, "body": body}, "error": None}
        )
    failed.append({"custom_id": "r3", "response": None, "error": {"code": "expired"}})
    for name, rows in (("in", asked), ("out", answered[::-1]), ("errors", failed)):
        changed(folder, {f"{name}.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("", Columns()),
        ("in.jsonl", Columns()),
        ("out.jsonl", Columns()),
        ("out.jsonl", Columns(text="response.body.choices.message.content")),
    ],
)
def test_both_files_of_a_batch_are_joined(tmp_path: Path, name: str, columns: Columns) -> None:
    of_batch(tmp_path / "data")
    with pytest.raises(SpecError) as caught:
        read(tmp_path / "data" / name, columns)
    assert "Join both files of the batch: logitcache reshape batch " in str(caught.value)
    out = reshaped(str(caught.value), tmp_path)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert {row["text"]: row["label"] for row in rows} == {
        "text 0": "x",
        "text 1": "y",
        "text 2": "x",
    }


def test_a_broken_archive_beside_the_data_is_no_fault_of_it(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("r.json", '[{"id": 1, "tone": "x"}]')
    content = bytearray(packed.getvalue())
    content[content.index(b"PK\1\2") + 42] = 9  # where the member begins: not there
    (tmp_path / "r.json").write_bytes(bytes(content))
    (tmp_path / "d.csv").write_text("id,text\n1,a film\n2,it is\n")
    source, _ = read(tmp_path / "d.csv", Columns())
    assert len(source.table("train")) == 2


@pytest.mark.parametrize(
    "beside",
    ["id,text,tone\n1,another film,x\n2,as it is,y\n", "id,user_id\n1,u1\n2,u2\n"],
    ids=["rows that are whole", "nothing but identifiers"],
)
def test_what_adds_nothing_is_not_joined(tmp_path: Path, beside: str) -> None:
    folder = tmp_path / "data"
    changed(folder, {"a.csv": "id,text,note\n1,a film of war,p\n2,it is so,q\n", "b.csv": beside})
    source, _ = read(folder / "a.csv", Columns())
    assert "Join" not in source.label_advice


def test_numbers_of_rows_are_no_key(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    changed(folder, {"a.csv": "index,text\n0,a\n1,b\n", "b.csv": "index,price\n0,5\n1,6\n"})
    source, _ = read(folder / "a.csv", Columns())
    assert "Join" not in source.label_advice


def test_files_beside_the_data_are_not_read_without_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data without labels is refused at once, whatever lies beside it."""
    changed(tmp_path, {"s.csv": "text,uid\nsome words,7\nother words,9\n", "b.csv": BODIES})
    monkeypatch.setattr(joins, "read_table", None)  # called, it fails
    _, notes = read(tmp_path / "s.csv", Columns())
    assert not [note for note in notes if "Join" in note]
    changed(tmp_path, {"s.csv": STANCES.replace("Stance", "x")})
    monkeypatch.setattr(joins, "LARGEST", 8)
    read(tmp_path / "s.csv", Columns(text="Headline"))


def test_numbers_of_rows_are_no_key_of_a_whole_table(tmp_path: Path) -> None:
    rows = "".join(f"{i},the film {i} was long,{'ab'[i % 2]}\n" for i in range(8))
    others = "".join(f"{i},some other words of {i}\n" for i in range(8))
    changed(tmp_path, {"r.csv": f"id,text,polarity\n{rows}", "o.csv": f"id,prompt\n{others}"})
    source, _ = read(tmp_path / "r.csv", Columns())
    assert source.label_advice.endswith("--label polarity")


def test_labels_without_a_header_are_joined_by_their_key(tmp_path: Path) -> None:
    """As OLID has the labels of its test rows, in another order here."""
    rows = "".join(f"{70 + i}\tthe film {i} was long\n" for i in range(6))
    labels = "".join(f"{70 + i},{('NOT', 'OFF')[i % 2]}\n" for i in (3, 1, 0, 2, 5, 4))
    changed(tmp_path, {"testset.tsv": f"id\ttweet\n{rows}", "labels.csv": labels})
    source, _ = read(tmp_path / "testset.tsv", Columns(text="tweet"))
    out = reshaped(source.label_advice, tmp_path)
    joined, _ = read(out, Columns(text="tweet"))
    assert joined.label_names == ("NOT", "OFF")
    assert joined.table("train").label.tolist() == [0, 1] * 3


def test_many_columns_that_a_number_tells_apart_are_named_once() -> None:
    rows = {"text": ["a film", "a play"], **{f"Ann{i}": [f"u{i}", ""] for i in range(60)}}
    notes: list[str] = []
    load({**rows, "tone": ["", "x"]}, Columns(), Path("unused"), Notes(notes.append))
    (note,) = (note for note in notes if "not read: " in note)
    assert "not read: Ann* (60 columns), tone. " in note


def test_the_file_of_scored_pairs_is_named_to_train_on(tmp_path: Path) -> None:
    rows = "sentence1\tsentence2\tscore\na film\ta play\t2.5\na day\ta night\t0.5\n"
    (tmp_path / "train.tsv").write_text(rows)
    notes: list[str] = []
    source = load(str(tmp_path), Columns(), tmp_path, Notes(notes.append))
    advised = f"train --task embedding --similarity {tmp_path / 'train.tsv'}"
    assert advised in source.label_advice.replace("'", "")
    reporter = Notes(notes.append)
    paired = with_pairs(source, str(tmp_path / "train.tsv"), tmp_path, reporter, Reading())
    assert len(paired.split("dev")) == 4  # two texts a pair
