"""What the quotes in a tsv mean is decided by the whole file, and said."""

from __future__ import annotations

from pathlib import Path

import pytest

from logitcache.config.data import Columns
from logitcache.data.source import load
from logitcache.data.sources.content import Reading
from logitcache.data.sources.reading import read_table, read_tables
from logitcache.data.sources.tables import remark_lines
from logitcache.data.sources.texts import texts
from logitcache.errors import SpecError
from logitcache.reporter import Notes

QUOTED = "The quotes around a field are not part of it, as pandas and Excel write them"
PLAIN = "Quotes are ordinary characters here, for not every field that has them is quoted"


def tsv(path: Path, *rows: str) -> Path:
    path.write_text("text\tlabel\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("rows", "found", "consequence", "count", "line"),
    [
        (["a\tx", 'he said "so"\ty'], ["a", 'he said "so"'], "", 0, 0),
        (["a\tx", '"he said ""so"""\ty', '"b"\tx'], ["a", 'he said "so"', "b"], QUOTED, 2, 3),
        (['"a\nb"\tx', "c\ty"], ["a\nb", "c"], QUOTED, 1, 2),
        (['"a\tb"\tx', "c\ty"], ["a\tb", "c"], QUOTED, 1, 2),
        (["a\tx", '"never closed\ty', '"both"\tx'], ["a", '"never closed', '"both"'], PLAIN, 2, 3),
        (["a\tx", '"both" and more\ty', "b\tx"], ["a", '"both" and more', "b"], PLAIN, 1, 3),
        (
            ['"both"\tx', 'he said "so"\ty'],
            ['"both"', 'he said "so"'],
            PLAIN,
            1,
            2,
        ),  # no writer that quotes leaves it
    ],
)
def test_quotes_mean_what_the_whole_file_says(
    tmp_path: Path, rows: list[str], found: list[str], consequence: str, count: int, line: int
) -> None:
    table = read_table(tsv(tmp_path / "train.tsv", *rows))
    assert texts(table, "text").to_pylist() == found
    assert [(r.consequence, r.count, r.first) for r in table.remarks] == [
        (consequence, count, f"line {line}")
    ] * bool(count)


@pytest.mark.parametrize(
    ("rows", "line", "said"),
    [
        (
            ['"a ""q"""\tx', '"b\ty'],
            3,
            "doubled on line 2, found one that does not. Correct the line",
        ),
        (
            ['"a ""q"""\tx', 'b "c"\ty'],
            3,
            "quotes around a field that holds a quote, as on line 2, found none",
        ),
        (["a\tx", '"a \\"q\\""\tx'], 3, "found one with a backslash before it. Double it"),
        (
            ["a\tx", '"b\tx', 'c"\ty'],
            3,
            "found a quoted field over several lines, each of which may be a row",
        ),
    ],
)
def test_quotes_that_may_mean_either_are_refused_and_the_advice_helps(
    tmp_path: Path, rows: list[str], line: int, said: str
) -> None:
    path = tsv(tmp_path / "train.tsv", *rows)
    with pytest.raises(SpecError) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"{path} line {line}: expected")
    assert said in str(caught.value)
    corrected = [row if number != line else "corrected\tx" for number, row in enumerate(rows, 2)]
    corrected = [row for row in corrected if row != 'c"\ty']
    assert len(read_table(tsv(path, *corrected))) == len(corrected)


def test_parts_of_one_split_have_one_writer(tmp_path: Path) -> None:
    parts = [tmp_path / f"train-{i}-of-2.tsv" for i in range(2)]
    tsv(parts[0], '"both"\tx')
    tsv(parts[1], '"never closed\ty', '"both"\tx')
    table = read_tables(parts)
    assert texts(table, "text").to_pylist() == ['"both"', '"never closed', '"both"']
    assert remark_lines([table]) == [
        f"{tmp_path}/train-*-of-2.tsv: rows with a field that begins with a quote: 3 (first: {parts[0].name} line 2). "
        f"{PLAIN}."
    ]
    tsv(parts[0], '"both ""q"""\tx')
    with pytest.raises(SpecError, match=r"train-1-of-2\.tsv line 2: expected"):
        read_tables(parts)


def test_the_quotes_of_a_preset_are_plain(tmp_path: Path) -> None:
    path = tsv(tmp_path / "train.tsv", '"both"\tx')
    table = read_tables([path], Reading(plain_quotes=True))
    assert texts(table, "text").to_pylist() == ['"both"']


def test_what_is_peculiar_in_several_splits_is_said_once(tmp_path: Path) -> None:
    for split, rows in (("train", 2), ("dev", 1), ("test", 1)):
        lines = [f"{mark}so it is {i}\t{i % 2}\n" for i, mark in enumerate(["", '"'] * rows)]
        (tmp_path / f"{split}.tsv").write_text("text\tlabel\n" + "".join(lines))
    notes: list[str] = []
    load(str(tmp_path), Columns(), tmp_path, Notes(notes.append))
    (note,) = (note for note in notes if "begins with a quote" in note)
    assert "dev.tsv, test.tsv, train.tsv: rows with a field that begins with a quote: 4 " in note
    assert "(first: dev.tsv line 3)" in note
