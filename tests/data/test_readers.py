"""What is written as jsonl, csv, tsv and Parquet is read back, and what is broken is named."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.config.dump import DumpConfig
from logitcache.config.option import options_of
from logitcache.data.sources.content import Reading
from logitcache.data.sources.reading import READERS, read_table
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError

# What a field of each kind can hold: csv anything but a lone carriage return (a line end to its
# readers), tsv no tab, no line end, and no quote (test_quoting.py has those).
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00\ufeff"), max_size=12)
TSV_TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters='\r\n\t\x00\ufeff"'), max_size=12
)
ROWS = st.lists(st.tuples(TEXT, TEXT), max_size=5)
TSV_ROWS = st.lists(st.tuples(TSV_TEXT, TSV_TEXT), max_size=5)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def columns(table: Table) -> dict[str, list[Any]]:
    """What the columns hold, however they are kept."""
    return {name: c if isinstance(c, list) else c.to_pylist() for name, c in table.columns.items()}


def refused(path: Path) -> str:
    with pytest.raises(SpecError) as caught:
        read_table(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


JSON_ROWS = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.none() | st.integers() | TEXT, min_size=1)
)


@settings(deadline=None)
@given(
    JSON_ROWS,
    st.booleans(),
    st.sampled_from(["\n", "\r\n", "\n\n", "\n  \n"]),
    st.booleans(),
    st.booleans(),
)
def test_jsonl_gives_what_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, object]],
    bom: bool,
    end: str,
    last: bool,
    raw: bool,
) -> None:
    content = end.join(json.dumps(row, ensure_ascii=not raw) for row in rows) + (
        end if last else ""
    )
    path = write(tmp_path_factory.mktemp("t") / "x.jsonl", "\ufeff" * bom + content)
    table = read_table(path)
    assert set(table.columns) == {name for row in rows for name in row}
    assert all(values == [row.get(name) for row in rows] for name, values in columns(table).items())
    assert list(table.lines) == [1 + i * end.count("\n") for i in range(len(rows))]
    assert table.typed


@settings(deadline=None)
@given(
    ROWS,
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
)
def test_csv_gives_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], bom: bool, end: str
) -> None:
    path = tmp_path_factory.mktemp("t") / "x.csv"
    with path.open("w", encoding="utf-8-sig" if bom else "utf-8", newline="") as file:
        csv.writer(file, lineterminator=end).writerows([("text", "label"), *rows])
    table = read_table(path)
    assert columns(table) == {"text": [a for a, _ in rows], "label": [b for _, b in rows]}
    assert not table.typed


@settings(deadline=None)
@given(
    TSV_ROWS,
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
)
def test_tsv_gives_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], bom: bool, end: str
) -> None:
    lines = end.join(f"{a}\t{b}" for a, b in [("text", "label"), *rows])
    table = read_table(write(tmp_path_factory.mktemp("t") / "x.tsv", "\ufeff" * bom + lines + end))
    assert columns(table) == {"text": [a for a, _ in rows], "label": [b for _, b in rows]}
    assert list(table.lines) == list(range(2, len(rows) + 2))


def test_csv_rows_begin_on_the_line_they_say(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.csv", 'text,label\n"two\nlines",a\n\n"a ""quoted"" word",b\nplain,c\n'
    )
    table = read_table(path)
    assert columns(table)["text"] == ["two\nlines", 'a "quoted" word', "plain"]
    assert list(table.lines) == [2, 5, 6]
    assert table.place(1) == f"{path} line 5"


def test_a_quote_means_nothing_in_tsv(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", 'text\tlabel\n"never closed\ta\nhe said "so\tb\n"both"\tc\n')
    assert columns(read_table(path)) == {
        "text": ['"never closed', 'he said "so', '"both"'],
        "label": ["a", "b", "c"],
    }


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv"])
@pytest.mark.parametrize("content", ["", "\n", "\n\r\n \n".replace(" ", ""), "\ufeff"])
def test_an_empty_file_is_an_empty_table(tmp_path: Path, suffix: str, content: str) -> None:
    table = read_table(write(tmp_path / f"x{suffix}", content))
    assert (columns(table), list(table.lines)) == ({}, [])


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_header_alone_is_columns_without_rows(tmp_path: Path, suffix: str) -> None:
    content = "text,label\n".replace(",", "\t" if suffix == ".tsv" else ",")
    assert columns(read_table(write(tmp_path / f"x{suffix}", content))) == {"text": [], "label": []}


def test_a_very_long_field_is_read(tmp_path: Path) -> None:
    long = "word " * 100_000
    assert columns(read_table(write(tmp_path / "x.csv", f'text\n"{long}"\n'))) == {"text": [long]}


@pytest.mark.parametrize(
    ("name", "content", "line", "said"),
    [
        ("x.jsonl", '{"a": 1}\n\n{"a": \n', 3, "Expecting value at column"),
        ("x.jsonl", '{"a": 1}\n[1]\n', 2, "found a list"),
        ("x.jsonl", '{"a": 1}\n"text"\n', 2, "found a str"),
        ("x.jsonl", "text,label\n", 1, "found 'text,label"),
        ("x.jsonl", '{"a": 1}\n{"a": 1} {"a": 2}\n', 2, "Extra data"),
        ("x.json", '[{"a": 1},\n{"a": 2} x]\n', 2, "Expecting value at column 10"),
        ("x.json", '[{"a": 1},\n2]\n', 2, "found a int"),
        ("x.json", '[{"a": 1}]\n[]\n', 2, "found more behind it"),
        ("x.json", '[{"a": 1, "a": 2}]\n', 1, "the key 'a' twice"),
        ("x.jsonl", '{"a": ' + "9" * 5000 + "}\n", 1, "digits"),
        ("x.jsonl", "[" * 100_000 + "\n", 1, "recursion"),
        (
            "x.csv",
            'text,label\na,b\n"never closed,b\nc,d\n',
            3,
            "unexpected end of data. Close the quotes",
        ),
        ("x.csv", 'text,label\n"a"b,c\n', 2, "expected after"),
        (
            "x.csv",
            "text,label\na,b\na,b,c\n",
            3,
            "2 fields as in the header (text, label), found 3",
        ),
        ("x.csv", 'text,label\n"a\nb",c\nd\n', 4, "found 1"),
        ("x.csv", "text,label,text\na,b,c\n", 1, "found 'text' twice. Rename one"),
        (
            "x.tsv",
            "text\tlabel\na\tb\n\nc d\n",
            4,
            "2 fields as in the header (text, label), found 1",
        ),
        ("x.tsv", "a\ta\n", 1, "found 'a' twice"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: str, line: int, said: str
) -> None:
    path = write(tmp_path / name, content)
    message = refused(path)
    assert message.startswith(f"{path} line {line}: expected")
    assert said in message


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.tsv"])
def test_bytes_that_are_not_utf8_are_refused_with_their_line(tmp_path: Path, name: str) -> None:
    rows = {"x.jsonl": '{"text": "café"}\n', "x.csv": "café,b\n", "x.tsv": "café\tb\n"}[name]
    header, plain = rows.replace("café", "text").encode(), rows.replace("é", "e").encode()
    path = write(tmp_path / name, header + plain * 1999 + rows.encode("latin-1") + plain)
    assert refused(path) == (
        f"{path} line 2001: expected UTF-8, found bytes that are not. Save it as UTF-8, or name its encoding with "
        f"--encoding: with --encoding cp1252 the line reads: {' '.join(rows.split())}"
    )
    assert len(read_table(path, Reading(encoding="cp1252"))) > 1999
    write(path, header + rows.encode() * 1999 + rows.encode("latin-1") + rows.encode())
    assert refused(path).endswith("line 2001: expected UTF-8, found bytes that are not. Correct or remove the line: "
                                  "lines before it are UTF-8.")  # fmt: skip
    assert read_table(path, Reading(encoding="cp1252")).remarks[0].count == 2000


def test_unnamed_columns_may_repeat(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "x.csv", "text,label,,\na,b,,\n"))
    assert columns(table)["text"] == ["a"]


CLASSES = {
    "info": {
        "features": {
            "label": {"names": ["no", "yes"], "_type": "ClassLabel"},
            "text": {"dtype": "string"},
        }
    }
}


@given(
    st.lists(st.tuples(st.none() | TEXT, st.none() | st.integers(-(2**63), 2**63 - 1))),
    st.integers(1, 5),
)
def test_parquet_gives_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str | None, int | None]], group: int
) -> None:
    path = tmp_path_factory.mktemp("x=1") / "x.parquet"  # a folder's name makes no column
    kept = {
        "text": pa.array([t for t, _ in rows], pa.string()),
        "label": pa.array([n for _, n in rows], pa.int64()),
    }
    pq.write_table(pa.table(kept), path, row_group_size=group)
    table = read_table(path)
    assert {name: column.to_pylist() for name, column in table.columns.items()} == {
        "text": [text for text, _ in rows],
        "label": [label for _, label in rows],
    }
    assert (len(table), table.typed, dict(table.classes)) == (len(rows), True, {})
    assert [table.place(row) for row in range(len(table))] == [
        f"{path} row {row}" for row in range(len(rows))
    ]


@pytest.mark.parametrize(
    ("metadata", "classes"),
    [
        (CLASSES, {"label": ("no", "yes")}),
        (
            {"info": {"features": {"label": {"names": ["0", "1"], "_type": "ClassLabel"}}}},
            {"label": ("0", "1")},
        ),
        ({"info": {"features": {"other": {"names": ["a"], "_type": "ClassLabel"}}}}, {}),
        ({"info": {"features": {"text": {"names": ["a"], "_type": "ClassLabel"}}}}, {}),
        ({"info": None}, {}),
        ([], {}),
    ],
)
def test_class_names_beside_a_parquet_schema(
    tmp_path: Path, metadata: object, classes: dict[str, tuple[str]]
) -> None:
    table = pa.table({"text": ["a"], "label": [1]}).replace_schema_metadata(
        {"huggingface": json.dumps(metadata)}
    )
    pq.write_table(table, tmp_path / "x.parquet")
    assert read_table(tmp_path / "x.parquet").classes == classes


def test_a_parquet_file_that_is_none_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"text,label\n"):
        message = refused(write(tmp_path / "x.parquet", content))
        assert message.startswith(f"{tmp_path}/x.parquet: expected a parquet file, found: ")


def test_the_help_of_data_names_every_kind_of_file() -> None:
    (data,) = (declared for declared in options_of(DumpConfig) if declared.name == "data")
    words = set(re.findall(r"\w+", data.option.help))
    assert {ending.removeprefix(".") for ending in READERS} <= words
