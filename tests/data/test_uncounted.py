"""Rows whose own columns say that their answer does not count: said, and left out as advised."""

from __future__ import annotations

import re
from pathlib import Path

import pandas
import pytest

from logitcache.config.data import Columns
from logitcache.data.source import Source, load
from logitcache.reporter import Notes
from tests.advice import followed

ROWS = pandas.DataFrame(
    {
        "text": ['a film, "warm"', '"so" it is', "old days", "new days"],
        "label": ["x", "y", "x", "y"],
    }
)
AUTOLABEL = {
    "tone_error": ["", "out of time", "", ""],
    "tone_successfully_labeled": ["True", "False", "True", "True"],
}
FILES = {
    "r.csv": lambda table, path: table.to_csv(path, index=False),
    "r.tsv": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    "r.jsonl": lambda table, path: table.to_json(path, orient="records", lines=True),
    "r.parquet": lambda table, path: table.to_parquet(path, index=False),
}


def read(path: Path, **columns: object) -> tuple[Source, list[str]]:
    notes: list[str] = []
    source = load(str(path), Columns(**columns), path.parent, Notes(notes.append))  # type: ignore[arg-type]
    return source, [note for note in notes if "rows whose" in note]


def texts(source: Source) -> list[str]:
    return list(map(str, source.table("train").text.to_pylist()))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"ASSIGNMENT:status": ["APPROVED", "REJECTED"] * 2}, "ASSIGNMENT:status is rejected: 2"),
        (AUTOLABEL, "tone_successfully_labeled is False: 1"),
        ({"tone_successfully_labeled": [True, False, True, True]}, "labeled is False: 1"),
        ({"error": [None, "out of time", None, None]}, "error is filled: 1"),
    ],
)
def test_rows_that_do_not_count_are_left_out_as_advised(
    tmp_path: Path, name: str, columns: dict[str, list[object]], said: str
) -> None:
    FILES[name](ROWS.assign(**columns), tmp_path / name)
    before, (note,) = read(tmp_path / name)
    assert said in note
    command, options = re.findall(r'(python -c ".*"), then --data (\S+)$', note)[0]
    followed(command, tmp_path)
    after, notes = read(tmp_path / options)
    assert not notes
    bad = {row for values in columns.values() for row, value in enumerate(values)
           if value in ("REJECTED", "False", False, "out of time")}  # fmt: skip
    assert texts(after) == [t for row, t in enumerate(texts(before)) if row not in bad]


def test_where_pandas_would_read_the_file_otherwise_no_command_is_advised(tmp_path: Path) -> None:
    table = ROWS.assign(status=["rejected", *["approved"] * 3])
    table.to_csv(tmp_path / "r.csv", index=False, sep=";")
    _, (note,) = read(tmp_path / "r.csv")
    assert note.endswith("leave them out if they do not count")


def test_columns_that_are_read_and_numbers_of_errors_mark_no_rows(tmp_path: Path) -> None:
    for columns in ({"error": ["", "0", "1", ""]}, {"error": ["bad", "worse", "bad", "new"]}):
        ROWS.assign(**columns).to_csv(tmp_path / "r.csv", index=False)
        assert not read(tmp_path / "r.csv")[1]
    ROWS.assign(error=["", "a", "b", "a"]).to_csv(tmp_path / "r.csv", index=False)
    assert not read(tmp_path / "r.csv", label="error")[1]
