"""Columns that arrow holds: their texts, and their labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logitcache.config.data import Columns
from logitcache.data.source import load
from logitcache.errors import SpecError
from logitcache.identity import row_hashes
from logitcache.reporter import SILENT, Notes


def parquet(path: Path, **columns: pa.Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
)
@pytest.mark.parametrize("labels", [["b", None, "a"], [1, None, 0]])
def test_arrow_columns_of_every_kind_are_one_source(
    tmp_path: Path, kind: pa.DataType, labels: list[Any]
) -> None:
    texts = ["one", "zwölf", ""]
    kinds = (
        [kind]
        if isinstance(labels[0], str)
        else [pa.int64(), pa.int8(), pa.dictionary(pa.int8(), pa.int64())]
    )
    for number, label in enumerate(kinds):
        parquet(
            tmp_path / f"{number}" / "train.parquet",
            text=pa.array(texts).cast(kind),
            label=pa.array(labels, label),
        )
        notes: list[str] = []
        source = load(str(tmp_path / f"{number}"), Columns(), tmp_path, Notes(notes.append))
        rows = source.split("train")
        assert rows.texts()[0] == texts
        assert rows.row_hash.tolist() == row_hashes(texts).tolist()
        assert rows.label.tolist() == [1, -1, 0]
        assert source.label_names == (("a", "b") if isinstance(labels[0], str) else None)
        assert notes == [f"data: {tmp_path}/{number}: 3 train rows"]


@pytest.mark.parametrize(
    ("text", "label", "row", "said"),
    [
        (["a", None], [0, 1], 1, "column 'text': expected a string, found null"),
        ([0, 1], [0, 1], 0, "column 'text': expected a string, found 0 (int)"),
        ([["a"], ["b"]], [0, 1], 0, "column 'text': expected a string, found ['a'] (list)"),
        (["a", "b"], [0.5, 1.5], 0, "found 0.5: numbers that are not whole are scores"),
        (["a", "b"], [None, [1, 2]], 1, "found [1, 2]: several labels a row"),
        (
            ["a", "b", "c"],
            [0, 1, 2**24],
            2,
            "expected class numbers below 16777216, found 16777216",
        ),
        (["a", "b"], [b"x", b"y"], 0, "found b'x' (bytes)"),
    ],
)
def test_arrow_columns_that_are_none_are_refused_by_row(
    tmp_path: Path, text: Any, label: Any, row: int, said: str
) -> None:
    path = parquet(tmp_path / "train.parquet", text=pa.array(text), label=pa.array(label))
    with pytest.raises(SpecError) as caught:
        load(str(path), Columns(), tmp_path, SILENT)
    assert str(caught.value).startswith(f"{path} row {row}: ")
    assert said in str(caught.value)


def test_bytes_that_are_no_text_are_refused_by_row(tmp_path: Path) -> None:
    broken = pa.array([b"fine", b"caf\xe9"]).view(pa.string())
    path = parquet(tmp_path / "train.parquet", text=broken)
    with pytest.raises(SpecError, match="row 1: column 'text': expected UTF-8"):
        load(str(path), Columns(), tmp_path, SILENT)
