"""Rows of csv and tsv are numbered as pandas numbers them, and what is no row is refused or said."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pandas
import pytest

from logitcache.config.data import Columns
from logitcache.data.source import load
from logitcache.data.sources.files import find_files
from logitcache.data.sources.reading import read_table, read_tables
from logitcache.data.sources.tables import remark_lines
from logitcache.data.sources.texts import texts
from logitcache.errors import SpecError
from logitcache.reporter import Notes


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def notes_of(path: Path, columns: Columns | None = None) -> list[str]:
    notes: list[str] = []
    load(str(path), columns or Columns(), path.parent, Notes(notes.append))
    return [note.replace(f"{path.parent}/", "") for note in notes]


@pytest.mark.parametrize("end", [".csv", ".tsv"])
def test_empty_rows_are_rows_and_blank_lines_are_not(tmp_path: Path, end: str) -> None:
    content = "text,label\na,x\n\n   \nb,y\n,\nc,x\n".replace(",", "\t" if end == ".tsv" else ",")
    table = read_table(write(tmp_path / f"train{end}", content))
    assert texts(table, "text").to_pylist() == ["a", "b", "", "c"]
    assert list(table.lines) == [2, 5, 6, 7]
    assert remark_lines([table]) == [
        f"{tmp_path}/train{end}: rows empty in every field: 1 (first: line 6). They keep their numbers, and are "
        "trained on only with a label.",
        f"{tmp_path}/train{end}: lines of nothing but spaces: 1 (first: line 4). They are no rows, as for pandas.",
    ]


def test_an_empty_text_of_a_lone_column_stands_in_quotes(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "x.csv", 'text\na\n\n""\n"  "\nb\n'))
    assert texts(table, "text").to_pylist() == ["a", "", "  ", "b"]


@pytest.mark.parametrize(("content", "line", "said"), [
    ("text,label\na,x\ntext,label\nb,y\n", 3, "found the header again"),
    ("text,label\na,x,\nb,y,\n", 2, "found 3"),
    ("text,label\na\0,x\n", 2, "found a NUL byte"),
    ("text,label\na,x\nb\rc,y\n", 3, "found a carriage return without a line feed"),
    ("text;label\na, b;x\nb;y;z\n", 2, "Give --delimiter ';' if that separates"),
    ('text,label\na, "x, y"\n', 2, "found 3"),
    ('text,label\na, "x"\n', 2, "found a space before it"),
])  # fmt: skip
def test_what_pandas_would_repair_or_misread_is_refused(
    tmp_path: Path, content: str | bytes, line: int, said: str
) -> None:
    path = write(tmp_path / "train.csv", content)
    with pytest.raises(SpecError) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"{path} line {line}: expected")
    assert said in str(caught.value)


def test_carriage_returns_alone_end_lines_where_there_are_no_line_feeds(tmp_path: Path) -> None:
    for end, comma in ((".csv", ","), (".tsv", "\t")):
        table = read_table(write(tmp_path / f"x{end}", f"text{comma}label\ra{comma}x\rb{comma}y\r"))
        assert texts(table, "text").to_pylist() == ["a", "b"]


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_another_delimiter_is_taken_where_it_splits_every_line_alike(
    tmp_path: Path, mark: str, name: str
) -> None:
    path = write(
        tmp_path / "train.csv",
        f"text{mark}weight{mark}label\na, b{mark}0,5{mark}x\nb{mark}0,6{mark}y\n",
    )
    assert texts(read_table(path), "text").to_pylist() == ["a, b", "b"]
    assert notes_of(path)[0].startswith(
        f"train.csv: rows with {name} between their fields: 2 (first: line 1)."
    )


def test_quotes_in_a_csv_that_may_hold_rows_are_said(tmp_path: Path) -> None:
    path = write(tmp_path / "train.csv", 'text,label\n"a,x\nb",y\nc,x\n')
    assert notes_of(path)[0].startswith(
        "train.csv: quoted fields over lines that look like rows themselves: 1 (first: line 2)."
    )


def test_texts_that_pandas_reads_as_missing_stay_texts_and_are_said(tmp_path: Path) -> None:
    path = write(tmp_path / "train.csv", "text,label\na,x\nNA,y\nnull,x\n,y\n,\n")
    assert texts(read_table(path), "text").to_pylist() == ["a", "NA", "null", "", ""]
    assert notes_of(path)[1:3] == [
        "train.csv: column 'text': texts such as 'NA', which pandas reads as missing, stay texts: 2 "
        "(first: train.csv line 3)",
        "train.csv: column 'text': empty texts: 2 (first: train.csv line 5)",
    ]


@pytest.mark.parametrize(("header", "said"), [
    ("id,text,category_name", "not read: category_name. Name the column of the labels, for example --label "
                              "category_name"),
    ("when,text,Labels_", "not read: when, Labels_. Name the column of the labels, for example --label Labels_"),
    ("text,category,label", "labels: the column label is read, category not. Another: --label category"),
])  # fmt: skip
def test_a_column_of_labels_that_may_be_meant_is_said_and_the_advice_helps(
    tmp_path: Path, header: str, said: str
) -> None:
    path = write(tmp_path / "train.csv", f"{header}\n1,2,x\n3,4,y\n")
    note = next(note for note in notes_of(path) if note.startswith("labels: "))
    assert note.endswith(said)
    column = note.rpartition("--label ")[2]
    assert not any(other.startswith("labels: ") for other in notes_of(path, Columns(label=column)))


@pytest.mark.parametrize(("header", "asked", "said"), [
    ("Summary,Labels,Issue Type", {"text": "Summary"},
     "columns: the text is Summary; the label is Labels, found by its usual name. Another: --label 'Issue Type'"),
    ("Summary,category,Type", {"text": "Summary"},
     "columns: the text is Summary; the label is category, found by its usual name. Another: --label Type"),
    ("text,Labels,kind", {},
     "columns: the text is text; the label is Labels, found by its usual name. Another: --label kind"),
    ("text,intent,kind", {}, None),
    ("Summary,label,kind", {"text": "Summary"},
     "columns: the text is Summary; the label is label, found by its usual name. Another: --label kind"),
    ("text,label,kind", {"says_columns": True}, "columns: the text is text; the label is label"),
    ("Summary,Labels,kind", {"text": "Summary", "label": "kind", "says_columns": True},
     "columns: the text is Summary; the label is kind"),
])  # fmt: skip
def test_a_label_that_is_found_by_its_name_is_said_and_the_advice_helps(
    tmp_path: Path, header: str, asked: dict[str, Any], said: str | None
) -> None:
    lines = [f"text number {i},{'ab'[i % 2]},{'cd'[i // 4]}" for i in range(8)]
    path = write(tmp_path / "train.csv", "\n".join([header, *lines]))
    notes = [note for note in notes_of(path, Columns(**asked)) if note.startswith("columns: ")]
    assert notes == ([said] if said else [])
    if said and "--label " in said:
        (column,) = shlex.split(said.rpartition("--label ")[2])
        assert not notes_of(path, Columns(**asked, label=column))


def test_a_column_without_repeated_values_is_no_example_of_labels(tmp_path: Path) -> None:
    lines = [f"t{i},2024-01-{i + 10},{'yes' if i % 2 else 'no'}" for i in range(8)]
    path = write(tmp_path / "train.csv", "\n".join(["text,when,useful", *lines]))
    assert next(note for note in notes_of(path) if note.startswith("labels: ")).endswith(
        "--label useful"
    )
    path = write(
        tmp_path / "train.csv",
        "\n".join(["text,when", *(line.rpartition(",")[0] for line in lines)]),
    )
    note = next(note for note in notes_of(path) if note.startswith("labels: "))
    assert note.endswith("not read: when. Name the column of the labels with --label")


def test_labels_of_another_name_in_a_split_are_said(tmp_path: Path) -> None:
    write(tmp_path / "d" / "train.csv", "text,kind\na,x\nb,y\n")
    test = write(tmp_path / "d" / "test.csv", "text,gold_label\nc,x\n")
    notes = notes_of(tmp_path / "d", Columns(text="text", label="kind"))
    assert any(
        note
        == "d/test.csv: no column kind, so its rows have no label; not read: gold_label. If these are their "
        "labels, rename the column to kind"
        for note in notes
    )
    write(test, "text,kind\nc,x\n")
    assert not any("no column" in note for note in notes_of(tmp_path / "d", Columns(label="kind")))


JIRA = "Summary,Type,Labels,Labels,Labels,Custom field (Date of First Response)\n" + "".join(
    f"text number {i},{'ab'[i % 2]},{'cd'[i // 4]},e,,\n" for i in range(8)
)


def test_columns_whose_names_repeat_are_numbered_unless_they_are_read(tmp_path: Path) -> None:
    """As pandas numbers them; a row that is taken for a header is refused as before."""
    path = write(tmp_path / "train.csv", JIRA)
    asked = Columns(text="Summary", label="Type", says_columns=True)
    assert notes_of(path, asked) == [
        "train.csv: further columns of a name that repeats: 2 (first: line 1). They are called Labels.1, Labels.2, "
        "as by pandas.",
        "columns: the text is Summary; the label is Type",
    ]
    frame = pandas.read_csv(path, keep_default_na=False)
    table = read_table(path)
    assert {name: texts(table, name).to_pylist() for name in table.columns} == {
        name: frame[name].tolist() for name in frame.columns
    }
    for columns in (Columns(text="Summary"), Columns(text="Summary", label="Labels")):
        with pytest.raises(
            SpecError, match=r"for --label, found several called 'Labels'\. Name an"
        ):
            notes_of(path, columns)
    assert notes_of(path, Columns(text="Summary", label="Labels.1"))
    assert notes_of(path, Columns(text="Summary", task="causal-lm"))


@pytest.mark.parametrize("header", ["a,b,b,b.1,b", "a,b.1,b,b", "a,b.1,b.1,b,b"])
def test_numbered_names_are_those_of_pandas(tmp_path: Path, header: str) -> None:
    path = write(tmp_path / "x.csv", f"{header}\n{header.replace('b', 'c')}\n")
    assert list(read_table(path).columns) == list(pandas.read_csv(path).columns)


@pytest.mark.parametrize(
    "content",
    [
        "a text of five words,pos,pos\nanother text of five words,neg,pos\n",
        "a text of five words,a text of five words,x\nb,c,y\n",
        "text,text,label\na,b,x\n",
        "1,pos,pos\n2,neg,pos\n",
    ],
)
def test_a_row_with_equal_fields_is_no_header(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "train.csv", content)
    with pytest.raises(SpecError, match="expected each column once") as caught:
        read_table(path)
    assert ("--header" in str(caught.value)) == ("label" not in content)


def test_a_folder_for_each_split(tmp_path: Path) -> None:
    for name in (
        "train/part-2.csv",
        "train/part-10.csv",
        "train/.part-2.csv.crc",
        "train/_SUCCESS",
        "test/part-0.csv",
    ):
        write(tmp_path / "data" / name, f"text,label\n{name},x\n")
    files = find_files(tmp_path / "data")
    assert {split: [p.name for p in parts] for split, parts in files.items()} == {
        "test": ["part-0.csv"],
        "train": ["part-2.csv", "part-10.csv"],
    }
    assert list(find_files(tmp_path / "data" / "train")) == ["train"]
    table = read_tables(find_files(tmp_path / "data")["train"])
    assert texts(table, "text").to_pylist() == ["train/part-2.csv", "train/part-10.csv"]
    assert table.place(1) == f"{tmp_path}/data/train/part-10.csv line 2"
    write(tmp_path / "data" / "train" / "part-3.jsonl", "")
    with pytest.raises(SpecError, match=r"expected files of one kind.* found \.csv, \.jsonl"):
        find_files(tmp_path / "data")


def test_names_as_the_hub_has_them(tmp_path: Path) -> None:
    digests = ("9df58a8a8a8c0f5b", "1b2c3d4e5f607182")
    names = [f"train-0000{i}-of-00002-{digest}.parquet" for i, digest in enumerate(digests)]
    for name in (*names, "._train-00000-of-00002-9df58a8a8a8c0f5b.parquet"):
        write(tmp_path / name, "")
    assert [path.name for path in find_files(tmp_path)["train"]] == names
    write(tmp_path / "train-00001-of-00002-0000000000000000.parquet", "")
    with pytest.raises(SpecError, match="expected part 00001 of train once, found"):
        find_files(tmp_path)


def test_endings_in_capitals_are_endings_and_others_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a" / "train.CSV", "text,label\na,x\n")
    assert find_files(path.parent) == {"train": [path]}
    assert len(read_table(path)) == 1
    for name in ("train_arguments.json", "test.xlsx", "README.txt"):
        write(tmp_path / "a" / name, "{}")
    assert any(
        note.endswith("other files: test.xlsx, train_arguments.json")
        for note in notes_of(path.parent)
    )
    write(tmp_path / "b" / "train.doc.gz", b"")
    with pytest.raises(
        SpecError, match=r"found train\.doc\.gz\. Unpack or convert what ends in \.doc\.gz\."
    ):
        find_files(tmp_path / "b")


@pytest.mark.parametrize("end", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_pointer_of_git_lfs_is_refused(tmp_path: Path, end: str) -> None:
    path = write(
        tmp_path / f"train{end}",
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    )
    with pytest.raises(SpecError, match=r"found a Git LFS pointer.*Run `git lfs pull`"):
        read_table(path)
