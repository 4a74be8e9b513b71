"""What names stand for, and rows without labels, which come from a name of their own or stand among
the others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from logitcache.config.data import Columns
from logitcache.data.source import load
from logitcache.data.sources import docstrings
from logitcache.errors import SpecError
from logitcache.identity import row_hashes
from logitcache.reporter import SILENT, Notes

Record = dict[str, Any]


def lines(rows: list[Record]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def more(tmp_path: Path, *texts: str, name: str = "more.jsonl") -> Path:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(lines([{"text": text, "label": "odd"} for text in texts]))
    return path


def test_a_folder_goes_before_the_preset_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more(tmp_path, "a", "b", name="sst2/train.jsonl")
    monkeypatch.chdir(tmp_path)
    notes: list[str] = []
    assert load("sst2", Columns(), tmp_path, Notes(notes.append)).label_names == ("odd",)
    assert notes == ["data: the folder sst2, not the preset glue/sst2: 2 train rows"]


def three(tmp_path: Path) -> Path:
    for split in docstrings.SPLITS:
        more(tmp_path, f"{split} 0", f"{split} 1", name=f"data/{split}.jsonl")
    return tmp_path / "data"


def test_unlabelled_rows_are_a_split_of_their_own(tmp_path: Path) -> None:
    data, notes = three(tmp_path), []
    path = more(tmp_path, "new", "dev 1", "train 0", "new", "test 0")
    plain = load(str(data), Columns(), tmp_path, SILENT)
    source = load(str(data), Columns(), tmp_path, Notes(notes.append), unlabelled=str(path))
    rows = source.split("unlabelled")
    assert list(source.splits) == ["train", "dev", "test", "unlabelled"]
    assert rows.texts() == (["new", "train 0", "new"], None)
    assert (rows.label.tolist(), rows.row_id.tolist()) == ([-1, -1, -1], [0, 2, 3])
    assert rows.row_hash.tolist() == row_hashes(["new", "train 0", "new"]).tolist()
    assert source.table("unlabelled").texts()[0] == ["new", "dev 1", "train 0", "new", "test 0"]
    assert source.digest() == plain.digest()
    assert (source.label_names, source.num_labels) == (plain.label_names, plain.num_labels)
    assert notes == [
        f"unlabelled: {path}: 5 rows",
        f"unlabelled: {path}: not read, for these rows count as unlabelled: label",
        "unlabelled: 2 rows without a label are not trained on, for their texts stand in dev or test (first: row 1)",
    ]


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        (("test.jsonl",), "test.jsonl"),
        (("train.jsonl", "test.jsonl"), "train.jsonl"),
        (("train.jsonl", "unlabelled.jsonl"), "unlabelled.jsonl"),
        (("test.jsonl", "imdb-unsupervised.jsonl"), "imdb-unsupervised.jsonl"),
    ],
)
def test_which_rows_of_an_unlabelled_source_are_taken(
    tmp_path: Path, files: tuple[str, ...], taken: str
) -> None:
    for name in files:
        path = more(tmp_path, f"of {name}", name=f"more/{name}")
    asked = path if len(files) == 1 else path.parent
    source = load(str(three(tmp_path)), Columns(), tmp_path, SILENT, unlabelled=str(asked))
    assert source.split("unlabelled").texts()[0] == [f"of {taken}"]


def test_unlabelled_rows_that_cannot_be_taken_are_refused(tmp_path: Path) -> None:
    data = str(three(tmp_path))
    more(tmp_path, "a", name="held/dev.jsonl")
    more(tmp_path, "a", name="held/test.jsonl")
    (tmp_path / "other.jsonl").write_text('{"body": "a"}\n')
    for name, said in (
        (
            "held",
            "held: expected a split unlabelled or train, found dev, test. Give one file or table.",
        ),
        (
            "other.jsonl",
            "other.jsonl: no column 'text', found body. Rename it, or name the column with --text",
        ),
        ("nowhere.jsonl", "nowhere.jsonl: no such file or folder."),
    ):
        with pytest.raises(SpecError) as caught:
            load(data, Columns(), tmp_path, SILENT, unlabelled=str(tmp_path / name))
        assert said in str(caught.value)


def test_a_name_that_is_empty_is_not_the_folder_one_stands_in(tmp_path: Path) -> None:
    for asked, beside in (("", None), (str(three(tmp_path)), "")):
        with pytest.raises(
            SpecError, match="expected a name or a path for the data, found an empty one"
        ):
            load(asked, Columns(), tmp_path, SILENT, unlabelled=beside)
