"""A column that names the split of each row: noted where it is not read, and read by
``--split-column``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.config.data import Columns
from logitcache.data.doctor import examine
from logitcache.data.source import Source, load
from logitcache.data.sources.split_columns import splits_by_value
from logitcache.errors import SpecError
from logitcache.reporter import SILENT, Notes

SPELLINGS = {
    "train": ("train", "TRAIN", "training", "Train"),
    "dev": ("dev", "valid", "VALIDATION", "val"),
    "test": ("test", "TEST", "PublicTest"),
    "trial": ("trial", "TRIAL", " Trial"),
    None: ("extra", "unassigned", None, ""),
}
USAGE = "ml_use/of.google"
NAMES = {
    "split": lambda value: value,
    "usage": lambda value: value,
    f"resource.{USAGE}": lambda value: {USAGE: value},
}


def loaded(data: Any, columns: Columns, notes: list[str] | None = None) -> Source:
    reporter = SILENT if notes is None else Notes(notes.append)
    return load(data, columns, Path("unused"), reporter)


def rows(values: list[Any], column: str) -> list[dict[str, Any]]:
    key = column.partition(".")[0]
    written = []
    for i, value in enumerate(values):
        written.append({"text": f"text {i}", "label": "ab"[i % 2], key: NAMES[column](value)})
    return written


@given(st.data(), st.sampled_from(sorted(NAMES)))
def test_rows_go_to_the_split_that_their_column_names(data: st.DataObject, column: str) -> None:
    names = st.sampled_from(["train", "dev", "trial", "test", None])
    splits = ["train", "test", *data.draw(st.lists(names, max_size=20))]
    values = [data.draw(st.sampled_from(SPELLINGS[split])) for split in splits]
    trial = None if "dev" in splits else "dev"  # what SemEval calls its dev split
    splits = [trial if split == "trial" else split for split in splits]
    table = rows(values, column)
    source = loaded(table, Columns(split_column=column))
    assert len(source.dumped["train"]) == len(splits)
    for split in ("train", "dev", "test"):
        expected = [row for row, name in enumerate(splits) if name == split]
        found = source.splits[split].row_id.tolist() if split in source.splits else []
        assert found == expected


@pytest.mark.parametrize("column", NAMES)
def test_a_column_of_splits_is_said_with_the_option_that_reads_it(column: str) -> None:
    table = rows(["training", "validation", "test", "training"] * 2, column)
    notes: list[str] = []
    loaded(table, Columns(), notes)
    (note,) = [note for note in notes if "names splits" in note]
    assert note.endswith(f"To keep them apart: --split-column {column}")
    source = loaded(table, Columns(split_column=column), notes)
    assert {name: len(part) for name, part in source.splits.items()} == {
        "train": 4,
        "dev": 2,
        "test": 2,
    }


@pytest.mark.parametrize(
    ("name", "is_noted"), [("training", True), ("is_test", True), ("valid", False)]
)
def test_booleans_are_said_where_the_column_can_be_no_other(name: str, is_noted: bool) -> None:
    table = {"text": ["a", "b"], "label": [0, 1], name: [True, False]}
    notes: list[str] = []
    loaded(table, Columns(), notes)
    assert any(f"--split-column {name}" in note for note in notes) == is_noted
    assert len(loaded(table, Columns(split_column=name)).splits["train"]) == 1


def test_yes_and_no_in_a_column_that_is_called_by_a_split(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    lines = [f"{'ab'[i % 2]},text {i},{i % 4 == 0}\n" for i in range(8)]
    path.write_text("label,text,is_valid\n" + "".join(lines))
    notes: list[str] = []
    loaded(str(path), Columns(), notes)
    assert any("--split-column is_valid" in note for note in notes)
    source = loaded(str(path), Columns(split_column="is_valid"))
    assert source.splits["dev"].row_id.tolist() == [0, 4]
    assert splits_by_value("is_train", [1, 0, None]) == {1: "train", 0: "test", None: None}


@pytest.mark.parametrize("values", [["bus", "train"] * 3, ["yes", "no"] * 3, ["train"] * 6])
def test_other_columns_are_no_splits(values: list[str]) -> None:
    notes: list[str] = []
    loaded(rows(values, "split"), Columns(), notes)
    assert not any("names splits" in note for note in notes)
    with pytest.raises(SpecError, match="expected names of splits"):
        loaded(rows(values, "split"), Columns(split_column="split"))


def test_splits_that_are_files_are_not_divided_again(tmp_path: Path) -> None:
    for split in ("train", "test"):
        lines = [json.dumps(row) + "\n" for row in rows([split] * 3, "split")]
        (tmp_path / f"{split}.jsonl").write_text("".join(lines))
    notes: list[str] = []
    assert set(loaded(str(tmp_path), Columns(), notes).splits) == {"train", "test"}
    assert not any("names splits" in note for note in notes)
    with pytest.raises(SpecError, match="Leave --split-column out"):
        loaded(str(tmp_path), Columns(split_column="split"))


def test_rows_that_a_column_gives_are_not_called_held_out() -> None:
    source = loaded(rows(["train", "test"] * 3, "split"), Columns(split_column="split"))
    assert source.division is not None
    assert source.division.to_dict() is None
    assert [shape.is_held_out for shape in examine(source).splits] == [False, False]
