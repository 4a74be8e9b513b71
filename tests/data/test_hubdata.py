from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.data.selection import held_out
from logitcache.data.sources.datasets import is_saved
from logitcache.reporter import SILENT
from tests.data.sources_by_name import Row, few, read, refused, write

NAMES = ("bad", "fair", "good")
ROWS = st.lists(
    st.tuples(st.text(st.characters(codec="utf-8"), max_size=6), st.none() | st.integers(0, 2)),
    min_size=1,
)


def features(*names: str) -> datasets.Features:
    return datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(names))}
    )


def made(rows: list[Row], *names: str) -> datasets.Dataset:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return datasets.Dataset.from_dict(columns, features(*names) if names else None)


@settings(max_examples=30)
@given(ROWS)
def test_one_content_as_jsonl_parquet_and_saved_is_one_source(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int | None]]
) -> None:
    folder = tmp_path_factory.mktemp("forms")
    named = [
        {"text": text, "label": None if label is None else NAMES[label]} for text, label in rows
    ]
    write(folder / "text" / "train.jsonl", named)
    (folder / "text" / "labels.json").write_text(json.dumps(NAMES))
    numbered = made([{"text": text, "label": label} for text, label in rows], *NAMES)
    missing = made(
        [{"text": text, "label": -1 if label is None else label} for text, label in rows], *NAMES
    )
    (folder / "parquet").mkdir()
    numbered.to_parquet(folder / "parquet" / "train.parquet")
    datasets.DatasetDict({"train": missing}).save_to_disk(folder / "dict")
    sources = [read(folder / name) for name in ("text", "parquet", "dict")]
    assert [source.name for source in sources] == ["text", "parquet", "dict"]
    assert len({source.digest() for source in sources}) == 1
    assert {source.label_names for source in sources} == {NAMES}
    for source in sources:
        part, expected = source.dumped["train"], sources[0].dumped["train"]
        assert part.texts() == expected.texts()
        assert (
            part.label.tolist()
            == expected.label.tolist()
            == [-1 if n is None else n for _, n in rows]
        )
        assert part.row_hash.tolist() == expected.row_hash.tolist()


def test_a_saved_folder_says_what_it_is_and_what_was_left_out(tmp_path: Path) -> None:
    splits = {
        "train": made(few("a")),
        "validation": made(few("b")),
        "test": made(few("c")),
        "extra": made(few("d")),
    }
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "set")
    notes: list[str] = []
    source = read(tmp_path / "set", notes)
    assert {split: rows.texts()[0][0] for split, rows in source.splits.items()} == {
        "train": "a 0",
        "dev": "b 0",
        "test": "c 0",
    }
    assert notes == [
        f"{tmp_path}/set: not read, for their names tell no split: extra",
        f"data: {tmp_path}/set, saved by datasets: 3 train, 3 dev, 3 test rows",
    ]


def test_one_saved_data_set_is_one_table_of_which_some_rows_are_held_out(tmp_path: Path) -> None:
    rows = few(n=60)
    made(rows).save_to_disk(tmp_path / "bare")
    datasets.Dataset.from_list(rows, split="train[:50%]").save_to_disk(tmp_path / "named")
    assert list(read(tmp_path / "bare").splits) == ["train", "dev", "test"]
    named = held_out(read(tmp_path / "named"), SILENT)
    assert {split: len(part) for split, part in named.splits.items()} == {
        "train": 48,
        "dev": 6,
        "test": 6,
    }
    assert list(named.dumped) == ["train"]
    assert len(named.table("train")) == 60


def test_what_was_selected_and_shuffled_before_saving_stays_so(tmp_path: Path) -> None:
    made(few(n=9)).select([7, 3, 3]).save_to_disk(tmp_path / "set")
    assert sorted(
        t for part in read(tmp_path / "set").splits.values() for t in part.texts()[0]
    ) == [
        "row 3",
        "row 3",
        "row 7",
    ]


def test_class_names_of_splits_are_one_list(tmp_path: Path) -> None:
    train, dev = made(few(), "a", "b"), made(few(), "b", "a")
    datasets.DatasetDict({"train": train, "validation": dev}).save_to_disk(tmp_path / "set")
    source = read(tmp_path / "set")
    assert source.label_names == ("a", "b")
    assert source.splits["train"].label.tolist() == [0, 1, 0]
    assert source.splits["dev"].label.tolist() == [1, 0, 1]


def test_given_names_sort_class_names_or_rename_them(tmp_path: Path) -> None:
    made(few(), "a", "b").to_parquet(tmp_path / "train.parquet")
    sorted_anew, renamed = (
        read(tmp_path, label_names=names) for names in (("b", "a"), ("no", "yes"))
    )
    assert (sorted_anew.label_names, sorted_anew.split("train").label.tolist()) == (
        ("b", "a"),
        [1, 0, 1],
    )
    assert (renamed.label_names, renamed.split("train").label.tolist()) == (
        ("no", "yes"),
        [0, 1, 0],
    )
    assert "expected a label from 0 to 0, the number of one of no, found 1" in refused(
        tmp_path, label_names=("no",)
    )
    partly = refused(tmp_path, label_names=("b", "yes"))
    assert "in which 'b' is another class's" in partly
    assert partly.endswith("--labels a,b")


def test_class_names_that_are_their_numbers_are_none(tmp_path: Path) -> None:
    made(few(), "0", "1").to_parquet(tmp_path / "train.parquet")
    assert (read(tmp_path).label_names, read(tmp_path).num_labels) == (None, 2)
    rows = [{"text": "a", "label": -1}, {"text": "b", "label": 2}, {"text": "c", "label": 1}]
    made(rows, "0", "1", "2").to_parquet(tmp_path / "train.parquet")
    source = read(tmp_path)
    assert (source.label_names, source.num_labels, source.split("train").label.tolist()) == (
        None,
        3,
        [-1, 2, 1],
    )


def test_class_names_without_a_labelled_row_are_known(tmp_path: Path) -> None:
    made([{"text": "a", "label": None}, {"text": "b", "label": -1}], *NAMES).to_parquet(
        tmp_path / "train.parquet"
    )
    source = read(tmp_path)
    assert (source.label_names, source.num_labels, source.split("train").label.tolist()) == (
        NAMES,
        3,
        [-1, -1],
    )


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        (("one", "two"), "expected splits called train, validation or test, found one, two."),
        (("train", "dev", "validation"), "two splits for dev: dev and validation."),
    ],
)
def test_saved_splits_that_cannot_be_told_are_refused(
    tmp_path: Path, splits: tuple[str, ...], said: str
) -> None:
    datasets.DatasetDict({split: made(few()) for split in splits}).save_to_disk(tmp_path)
    assert said in refused(tmp_path)


def test_a_saved_folder_that_is_broken_is_refused(tmp_path: Path) -> None:
    made(few()).save_to_disk(tmp_path / "set")
    assert is_saved(tmp_path / "set")
    (arrow,) = (tmp_path / "set").glob("*.arrow")
    for content in (None, b"", arrow.read_bytes()[:-200]):
        arrow.unlink() if content is None else arrow.write_bytes(content)
        assert refused(tmp_path / "set").startswith(
            f"{tmp_path}/set: expected a data set that was saved whole, found: "
        )
    (tmp_path / "set" / "state.json").write_text("{")
    assert "saved whole" in refused(tmp_path / "set")
