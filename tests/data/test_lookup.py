"""What names stand for, and rows without labels, which come from a name of their own or stand among the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.config.data import Columns
from logitcache.data import embedded
from logitcache.data.source import load
from logitcache.errors import SpecError
from logitcache.identity import row_hashes

Record = dict[str, Any]


def lines(rows: list[Record]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def more(tmp_path: Path, *texts: str, name: str = "more.jsonl") -> Path:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(lines([{"text": text, "label": "odd"} for text in texts]))
    return path


def test_a_folder_goes_before_the_preset_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more(tmp_path, "a", "b", name="sst2/train.jsonl")
    monkeypatch.chdir(tmp_path)
    notes: list[str] = []
    assert load("sst2", Columns(), tmp_path, notes.append).label_names == ("odd",)
    assert notes == ["data: the folder sst2, not the preset glue/sst2: 2 train rows"]


MIXED = st.lists(st.tuples(st.integers(0, 30), st.sampled_from([None, 0, 1])), min_size=1, max_size=60).filter(
    lambda rows: any(label is not None for _, label in rows)
)


@given(MIXED)
def test_unlabelled_rows_of_one_file_are_no_held_out_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int | None]]
) -> None:
    path = tmp_path_factory.mktemp("mixed") / "reviews.jsonl"
    path.write_text(lines([{"text": f"text {t}", "label": n} for t, n in rows]))
    notes: list[str] = []
    splits = load(str(path), Columns(), path.parent, notes.append).splits
    kept = {split: list(zip(part.texts()[0], part.label.tolist(), strict=True)) for split, part in splits.items()}
    held = {text for split in ("dev", "test") for text, _ in kept[split]}
    assert all(label >= 0 for split in ("dev", "test") for _, label in kept[split])
    assert not held & {text for text, _ in kept["train"]}
    left_out = [t for t, n in rows if n is None and f"text {t}" in held]
    assert sum(map(len, kept.values())) == len(rows) - len(left_out)
    assert len(notes) == 1 + bool(left_out)
    if left_out:
        assert (
            notes[1] == f"reviews.jsonl: {len(left_out)} unlabelled rows left out, for their texts stand in dev or test"
        )
    path.write_text(lines([{"text": f"text {t}", "label": n} for t, n in rows if n is not None]))
    alone = load(str(path), Columns(), path.parent, print).splits
    for split in ("dev", "test"):
        assert alone[split].texts() == splits[split].texts()


def three(tmp_path: Path) -> Path:
    for split in embedded.SPLITS:
        more(tmp_path, f"{split} 0", f"{split} 1", name=f"data/{split}.jsonl")
    return tmp_path / "data"


def test_unlabelled_rows_are_a_split_of_their_own(tmp_path: Path) -> None:
    data, notes = three(tmp_path), []
    path = more(tmp_path, "new", "dev 1", "train 0", "new", "test 0")
    plain = load(str(data), Columns(), tmp_path, print)
    source = load(str(data), Columns(), tmp_path, notes.append, unlabelled=str(path))
    rows = source.split("unlabelled")
    assert list(source.splits) == ["train", "dev", "test", "unlabelled"]
    assert rows.texts() == (["new", "train 0", "new"], None)
    assert (rows.label.tolist(), rows.row_id.tolist()) == ([-1, -1, -1], [0, 1, 2])
    assert rows.row_hash.tolist() == row_hashes(["new", "train 0", "new"]).tolist()
    assert source.digest() == plain.digest()
    assert (source.label_names, source.num_labels) == (plain.label_names, plain.num_labels)
    assert notes == [
        f"unlabelled: {path}: 3 rows",
        f"unlabelled: {path}: not read, for these rows count as unlabelled: label",
        "unlabelled: 2 rows left out, for their texts stand in dev or test",
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
def test_which_rows_of_an_unlabelled_source_are_taken(tmp_path: Path, files: tuple[str, ...], taken: str) -> None:
    for name in files:
        path = more(tmp_path, f"of {name}", name=f"more/{name}")
    asked = path if len(files) == 1 else path.parent
    source = load(str(three(tmp_path)), Columns(), tmp_path, print, unlabelled=str(asked))
    assert source.split("unlabelled").texts()[0] == [f"of {taken}"]


def test_unlabelled_rows_that_cannot_be_taken_are_refused(tmp_path: Path) -> None:
    data = str(three(tmp_path))
    more(tmp_path, "a", name="held/dev.jsonl")
    more(tmp_path, "a", name="held/test.jsonl")
    (tmp_path / "other.jsonl").write_text('{"body": "a"}\n')
    for name, said in (
        ("held", "held: expected a split unlabelled or train, found dev, test. Give one file or table."),
        ("other.jsonl", "other.jsonl: no column 'text', found body. Rename it, or name the column with --text"),
        ("nowhere.jsonl", "nowhere.jsonl: no such file or folder."),
    ):
        with pytest.raises(SpecError) as caught:
            load(data, Columns(), tmp_path, print, unlabelled=str(tmp_path / name))
        assert said in str(caught.value)


def test_a_name_that_is_empty_is_not_the_folder_one_stands_in(tmp_path: Path) -> None:
    for asked, beside in (("", None), (str(three(tmp_path)), "")):
        with pytest.raises(SpecError, match="expected a name or a path for the data, found an empty one"):
            load(asked, Columns(), tmp_path, print, unlabelled=beside)
