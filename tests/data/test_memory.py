"""Rows in memory: whatever holds them, they are the rows that a file of them would be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.config.data import Columns
from logitcache.data.source import Source, load
from logitcache.errors import SpecError
from logitcache.reporter import Notes
from tests.commands import run_fresh
from tests.shortly import examples

Record = dict[str, Any]
RECORDS = st.lists(
    st.fixed_dictionaries(
        {"text": st.text("abc ä\n", max_size=3), "label": st.sampled_from(["x", "y", None])}
    ),
    min_size=2,
    max_size=30,
).filter(lambda rows: any(row["label"] for row in rows))


def columns(rows: list[Record]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


HOLDERS: dict[str, Callable[[list[Record]], Any]] = {
    "rows": lambda rows: rows,
    "lists": columns,
    "tuples": lambda rows: {name: tuple(values) for name, values in columns(rows).items()},
    "numpy": lambda rows: {
        name: np.array(values, dtype=object) for name, values in columns(rows).items()
    },
    "pandas": pd.DataFrame,
    "pandas, any index": lambda rows: pd.DataFrame(
        rows, index=[i // 2 for i in range(len(rows), 0, -1)]
    ),
    "series, other indices": lambda rows: {
        name: pd.Series(values, index=range(i, i - len(values), -1))
        for i, (name, values) in enumerate(columns(rows).items())
    },
    "pandas, missing values": lambda rows: pd.DataFrame(
        {
            "text": columns(rows)["text"],
            "label": [pd.NA if v is None else v for v in columns(rows)["label"]],
        }
    ),
    "lists, missing values": lambda rows: {
        "text": [np.str_(text) for text in columns(rows)["text"]],
        "label": [
            (pd.NA, pd.NaT, float("nan"), np.nan)[i % 4] if v is None else v
            for i, v in enumerate(columns(rows)["label"])
        ],
    },
    "series": lambda rows: {name: pd.Series(values) for name, values in columns(rows).items()},
    "categorical": lambda rows: pd.DataFrame(rows).astype({"label": "category"}),
    "arrow": lambda rows: pa.table(columns(rows)),
    "arrays of arrow": lambda rows: {
        name: pa.array(values) for name, values in columns(rows).items()
    },
    "chunks of arrow": lambda rows: {
        name: pa.chunked_array([values]) for name, values in columns(rows).items()
    },
    "datasets": datasets.Dataset.from_list,
    "reversed twice": lambda rows: datasets.Dataset.from_list(rows[::-1]).select(
        range(len(rows) - 1, -1, -1)
    ),
}


def loaded(data: Any, folder: Path, **more: Any) -> tuple[Source, list[str]]:
    notes: list[str] = []
    return load(data, Columns(), folder, Notes(notes.append), **more), notes


@pytest.mark.parametrize("holder", HOLDERS)
@settings(max_examples=examples(6))
@given(rows=RECORDS)
def test_rows_in_memory_are_the_rows_of_a_file(
    tmp_path_factory: pytest.TempPathFactory, holder: str, rows: list[Record]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    held = HOLDERS[holder](rows)
    for data, file in ((held, folder / "mine.jsonl"), ({"train": held}, folder / "train.jsonl")):
        mine, theirs = loaded(data, folder)[0], loaded(str(file), folder)[0]
        assert mine.digest() == theirs.digest()
        assert (mine.label_names, list(mine.splits)) == (theirs.label_names, list(theirs.splits))
        assert [part.texts() for part in mine.splits.values()] == [
            part.texts() for part in theirs.splits.values()
        ]


def test_a_data_set_dict_brings_its_splits_and_class_names(tmp_path: Path) -> None:
    kinds = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["pos", "neg"])}
    )
    part = datasets.Dataset.from_dict(
        {"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=kinds
    )
    source, notes = loaded(
        datasets.DatasetDict({"train": part, "validation": part.select([0])}), tmp_path
    )
    assert (source.name, source.label_names) == ("memory", ("pos", "neg"))
    assert {split: rows.label.tolist() for split, rows in source.splits.items()} == {
        "train": [1, 0, -1],
        "dev": [1],
    }
    assert notes == ["data: rows in memory: 3 train, 1 dev rows"]


def test_one_data_set_that_names_its_split_is_that_split(tmp_path: Path) -> None:
    part = datasets.Dataset.from_dict({"text": ["a", "b"], "label": ["x", "y"]}, split="train")
    assert list(loaded(part, tmp_path)[0].splits) == ["train"]


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, 1, np.nan]),
        [np.int64(0), np.int64(1), None],
        pd.Series([0, 1, None]),
        pa.array([0, 1, None]),
    ],
)
def test_numbers_of_libraries_are_numbers(tmp_path: Path, labels: Any) -> None:
    source, _ = loaded({"train": {"text": ["a", "b", "c"], "label": labels}}, tmp_path)
    assert source.split("train").label.tolist() == [0, 1, -1]


def test_a_table_without_splits_is_divided_and_can_have_a_name(tmp_path: Path) -> None:
    rows = {"text": [f"row {i}" for i in range(60)], "label": ["x", "y"] * 30}
    source, notes = loaded(rows, tmp_path, name="mine")
    assert (source.name, list(source.splits)) == ("mine", ["train", "dev", "test"])
    assert len(notes) == 1
    assert notes[0].startswith(
        "data in memory: no labelled rows are given to score on, so 6 dev rows and 6 test rows are held out of its 60"
    )


@pytest.mark.parametrize("beside", [True, False])
def test_unlabelled_rows_in_memory(tmp_path: Path, beside: bool) -> None:
    data: Any = {
        "train": {"text": ["a", "b"], "label": ["x", "y"]},
        "dev": {"text": ["c"], "label": ["x"]},
    }
    bare = {"text": ["new", "c"], "label": ["odd", "odd"]}
    if not beside:
        data["unlabelled"] = bare
    source, notes = loaded(data, tmp_path, unlabelled=bare if beside else None)
    rows = source.split("unlabelled")
    assert (rows.texts()[0], rows.label.tolist(), source.label_names) == (["new"], [-1], ("x", "y"))
    assert (
        source.digest()
        == loaded({k: v for k, v in data.items() if k != "unlabelled"}, tmp_path)[0].digest()
    )
    assert (
        notes[-1]
        == "unlabelled: 1 rows without a label are not trained on, for their texts stand in dev (first: row 1)"
    )
    assert any("not read, for these rows count as unlabelled: label" in note for note in notes)


def test_unlabelled_rows_are_named_once(tmp_path: Path) -> None:
    data = {"train": {"text": ["a"], "label": ["x"]}, "unlabelled": {"text": ["b"]}}
    with pytest.raises(SpecError, match="found both"):
        loaded(data, tmp_path, unlabelled={"text": ["b"]})


def test_a_split_that_nobody_knows_is_left_out_and_said(tmp_path: Path) -> None:
    rows = {"text": ["a", "b"], "label": ["x", "y"]}
    assert list(loaded({"dev": rows}, tmp_path)[0].splits) == ["dev"]
    with pytest.raises(
        SpecError,
        match=r"expected a split train, found dev, extra\. Name the training table 'train'",
    ):
        loaded({"dev": rows, "extra": rows}, tmp_path)
    source, notes = loaded({"train": rows, "extra": rows}, tmp_path)
    assert list(source.splits) == ["train"]
    assert notes[0] == "data in memory: not read, for their names tell no split: extra"


TWICE = pd.DataFrame([["a", "b", 0]], columns=["text", "text", "label"])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            {"train": {"text": ["a", "b", "c", 3], "label": [0, 1, 0, 1]}},
            "data in memory, split train, row 3: column 'tex",
        ),
        (
            {"text": ["a", None], "label": [0, 1]},
            "data in memory, row 1: column 'text': expected a string, found null",
        ),
        (
            pd.DataFrame({"text": ["a", np.nan]}),
            "data in memory, row 1: column 'text': expected a string, found null",
        ),
        (
            {"train": {"text": ["a", "b"], "label": [0, "x"]}},
            "data in memory, split train, row 1: column 'label': expec",
        ),
        (
            {"text": ["a", "b"], "label": [0, 1.5]},
            "data in memory, row 1: column 'label': expected classes, found 1.5",
        ),
        (
            {"text": ["a", "b"], "label": [0]},
            "data in memory: expected columns of one length, found text 2, label 1.",
        ),
        (
            {"text": "a", "label": [0]},
            "column 'text': expected a list or an array of one value a row, found str.",
        ),
        ({"text": np.array("a")}, "expected a list or an array of one value a row, found str."),
        (TWICE, "data in memory: expected each column once, found 'text' twice."),
        ({"train": {"words": ["a"]}}, "data in memory: expected a text column"),
        (
            {"more": {"text": ["a"]}},
            "data in memory: expected splits called train, validation or test, found more.",
        ),
        ({"train": {"text": ["a"]}, "dev": [1]}, "data in memory, split dev: expected columns ({"),
        ({}, "data in memory: expected a text column"),
        (
            [],
            "data in memory: expected columns ({'text': [...], 'label': [...]}), a list of rows ([{'text': ..., ",
        ),
        ([{"text": "a"}, "b"], "found list. Make it one of these."),
        (None, "found NoneType"),
    ],
)
def test_what_is_no_rows_is_refused_by_its_place(tmp_path: Path, data: Any, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        loaded(data, tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_load_no_library_that_made_none(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from logitcache.data.source import Columns, load;"
        "from logitcache.reporter import SILENT;"
        "load({'train': {'text': ['a'], 'label': [0]}}, Columns(), Path('.'), SILENT);"
        "sys.exit(str({'datasets', 'torch', 'transformers'} & set(sys.modules) or '') or 0)"
    )
    done = run_fresh(code, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
