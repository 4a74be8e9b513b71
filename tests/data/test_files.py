from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logitcache.data.sources.files import find_files, inner, split_named, split_of
from logitcache.data.sources.reading import read_tables
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def columns(table: Table) -> dict[str, list[Any]]:
    """What the columns hold, however they are kept."""
    return {name: c if isinstance(c, list) else c.to_pylist() for name, c in table.columns.items()}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.jsonl", "train"),
        ("training.csv", "train"),
        ("sst2-validation.jsonl", "dev"),
        ("VAL.tsv", "dev"),
        ("valid_1.csv", "dev"),
        ("my.dev.tsv", "dev"),
        ("dev_validation.tsv", "dev"),
        ("test2.jsonl", "test"),
        ("latest.jsonl", None),
        ("contest.csv", None),
        ("train_and_test.csv", None),
        ("reviews.csv", None),
    ],
)
def test_split_of_a_name(name: str, split: str | None) -> None:
    assert split_of(Path(name)) == split


def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "")
    (tmp_path / "dev.csv").symlink_to(tmp_path / "blobs" / "dev")
    with pytest.raises(SpecError, match=r"dev.csv: expected a file, found a link to .*cp -rL"):
        find_files(tmp_path)
    (tmp_path / "blobs").mkdir()
    write(tmp_path / "blobs" / "dev", "")
    assert sorted(map(str, find_files(tmp_path))) == ["dev", "train"]


def test_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("train.jsonl", "dev.csv", "sst-test.tsv", "labels.json", "README.md", "extra.csv"):
        write(tmp_path / name, "")
    (tmp_path / "train.csv.d").mkdir()
    found = find_files(tmp_path)
    assert {split: [path.name for path in paths] for split, paths in found.items()} == {
        "train": ["train.jsonl"],
        "dev": ["dev.csv"],
        "test": ["sst-test.tsv"],
    }


@pytest.mark.parametrize("ending", ["txt", "csv"])
@pytest.mark.parametrize("has_dev", [False, True])
def test_a_file_called_trial_is_dev_where_no_other_is(
    tmp_path: Path, ending: str, has_dev: bool
) -> None:
    words = ["train", "trial", "test_annotated", *(["dev"] if has_dev else [])]
    for word in words:
        write(tmp_path / f"SICK_{word}.{ending}", "")
    write(tmp_path / f"clinical_trial.{ending}", "")
    dev = "dev" if has_dev else "trial"
    assert find_files(tmp_path)["dev"] == [tmp_path / f"SICK_{dev}.{ending}"]


def test_one_file_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "reviews.csv", "")
    assert find_files(path) == find_files(tmp_path) == {None: [path]}
    path = path.rename(tmp_path / "train.csv")
    assert find_files(path) == find_files(tmp_path) == {"train": [path]}


PARTS = [f"train-0000{i}-of-00003.jsonl" for i in range(3)]


def test_parts_of_one_split_are_read_as_one_in_order(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        rows = [{"text": f"{number} {i}", **({"more": 1} if number else {})} for i in range(2)]
        write(tmp_path / PARTS[number], "\n" + "".join(json.dumps(row) + "\n" for row in rows))
    found = find_files(tmp_path)
    assert found == {"train": [tmp_path / name for name in PARTS]}
    table = read_tables(found["train"])
    assert columns(table) == {
        "text": [f"{n} {i}" for n in range(3) for i in range(2)],
        "more": [None, None, 1, 1, 1, 1],
    }
    assert (len(table), table.path) == (6, tmp_path / "train-*-of-00003.jsonl")
    assert [table.place(row) for row in (0, 3, 5)] == [
        f"{tmp_path / PARTS[n]} line {m}" for n, m in ((0, 2), (1, 3), (2, 3))
    ]


def test_parts_in_arrow_stay_in_arrow_where_they_are_of_one_kind(tmp_path: Path) -> None:
    names = [f"train-0000{i}-of-00002.parquet" for i in range(2)]
    for i, name in enumerate(names):
        parts = {
            "text": pa.array([f"text {i}"]),
            "label": pa.array([i], pa.int64() if i else pa.int32()),
        }
        pq.write_table(pa.table(parts), tmp_path / name)
    table = read_tables(find_files(tmp_path)["train"])
    assert isinstance(table.columns["text"], pa.ChunkedArray)
    assert table.columns["text"].to_pylist() == ["text 0", "text 1"]
    assert columns(table)["label"] == [0, 1]
    assert table.place(1) == f"{tmp_path / names[1]} row 0"


def test_parts_that_name_their_classes_otherwise_are_refused(tmp_path: Path) -> None:
    for i, names in enumerate((["no", "yes"], ["yes", "no"])):
        told = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        made = pa.table({"label": [1]}).replace_schema_metadata({"huggingface": json.dumps(told)})
        pq.write_table(made, tmp_path / f"train-{i}-of-2.parquet")
    with pytest.raises(
        SpecError, match=r"train-1-of-2\.parquet: expected the class names of train-0-of-2\.parquet"
    ):
        read_tables(find_files(tmp_path)["train"])


def test_a_part_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in (PARTS[0], PARTS[2]):
        write(tmp_path / name, "")
    with pytest.raises(SpecError) as caught:
        find_files(tmp_path)
    said = f"expected all 3 parts of train, found 2: {PARTS[1]} is not there. Fetch it too."
    assert str(caught.value) == f"{tmp_path}: {said}"
    (tmp_path / PARTS[2]).unlink()
    with pytest.raises(SpecError, match=r"found 1: train-00001-of-00003\.jsonl is not there"):
        find_files(tmp_path)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("validation_matched-00000-of-00001.parquet", "dev"),
        ("dev_mismatched.tsv", "dev_mismatched"),
        ("test_matched.jsonl", "test"),
        ("test_mismatched.jsonl", "test_mismatched"),
    ],
)
def test_what_is_mismatched_is_a_split_of_its_own(name: str, split: str) -> None:
    assert split_of(Path(name)) == split
    assert split_named(re.split(r"[-.]", name)[0]) == split


def test_a_copy_of_a_repository_is_entered(tmp_path: Path) -> None:
    for name in ("README.md", "data/train.csv", ".cache/train.csv", "images/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, "")
    assert inner(tmp_path) == tmp_path / "data" == inner(tmp_path / "data")
    write(tmp_path / "images" / "dev.csv", "")
    assert inner(tmp_path) == tmp_path
    with pytest.raises(SpecError, match=r"Name a folder below: data, images\."):
        find_files(tmp_path)


@pytest.mark.parametrize(
    ("names", "asked", "said"),
    [
        ((), "nothing", ("no such file or folder", "--data")),
        (("data.doc",), "data.doc", ("ending in .jsonl, .csv, .tsv", "'.doc'")),
        (("data",), "data", ("ending in .jsonl, .csv, .tsv", "''")),
        ((), ".", ("train, dev or test in their names", "found none")),
        (("a.csv", "b.csv"), ".", ("found a.csv, b.csv", "Rename them")),
        (
            ("val.csv", "dev.csv"),
            ".",
            ("two files for the split 'dev'", "dev.csv and val.csv", "Keep one"),
        ),
        (("train.csv", "train.jsonl"), ".", ("two files for the split 'train'",)),
        (
            ("train.csv", "test-a.csv", "test-b.csv", "test-c.csv"),
            ".",
            ("several files for the split 'test'", "test-a.csv, test-b.csv and test-c.csv"),
        ),
        (("train-0-of-1.csv", "train.csv"), ".", ("two files for the split 'train'", "Keep one")),
        (
            ("dev.csv", "oos_dev.csv", "oos_test.csv", "test.csv"),
            ".",
            (
                "dev.csv and oos_dev.csv; for the split 'test':",
                "folder 'dev' or 'test' of their own",
            ),
        ),
        (("data/train.csv",), ".", ("found none. Name a folder below: data.",)),
    ],
)
def test_what_cannot_be_found_is_refused(
    tmp_path: Path, names: tuple[str, ...], asked: str, said: list[str]
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, "")
    with pytest.raises(SpecError) as caught:
        find_files(tmp_path / asked)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / asked))
    assert all(part in message for part in said), message
    assert caught.value.exit_code == 2
