"""What pandas and the csv module write and read back is what is read here, row for row, or
something is said.

The oracle is pandas alone: it reads the same file as texts, with quotes as marks and with quotes as
characters.
"""

from __future__ import annotations

import csv
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logitcache.data.sources.reading import READERS, read_table
from logitcache.data.sources.tables import Peculiar, Table
from logitcache.data.sources.texts import texts
from logitcache.errors import SpecError
from tests.shortly import examples

Rows = list[tuple[str, str]]
PIECES = [
    '"',
    '""',
    '\\"',
    "\t",
    "\n",
    "\r\n",
    ",",
    ";",
    "|",
    " ",
    "'",
    "a",
    "word",
    "ä",
    "🙂",
    "\u2028",
    "0",
    "1.5",
    "NA",
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(
    st.characters(codec="utf-8", exclude_characters="\r\x00\ufeff"), max_size=8
)
LABEL = st.sampled_from(["pos", "neg", "", "1", "NA", "very good", '"so"', "a,b"])
ROWS = st.lists(st.tuples(TEXT, LABEL), min_size=1, max_size=8)
QUOTING = {"minimal": csv.QUOTE_MINIMAL, "all": csv.QUOTE_ALL, "nonnumeric": csv.QUOTE_NONNUMERIC}
EXAMPLES = examples(32, 60)
MANY = 1_000


def pandas_writer(end: str, **options: Any) -> tuple[str, Callable[[Path, Rows], None]]:
    def write(path: Path, rows: Rows) -> None:
        pd.DataFrame(rows, columns=["text", "label"]).to_csv(
            path, sep="\t" if end == ".tsv" else ",", **options
        )

    return end, write


def csv_writer(end: str, dialect: str) -> tuple[str, Callable[[Path, Rows], None]]:
    def write(path: Path, rows: Rows) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, dialect=dialect).writerows([("text", "label"), *rows])

    return end, write


def datasets_writer(path: Path, rows: Rows) -> None:
    table = datasets.Dataset.from_dict(
        {"text": [t for t, _ in rows], "label": [label for _, label in rows]}
    )
    {".csv": table.to_csv, ".jsonl": table.to_json, ".parquet": table.to_parquet}[path.suffix](
        str(path)
    )


def json_writer(path: Path, rows: Rows, lines: bool) -> None:
    pd.DataFrame(rows, columns=["text", "label"]).to_json(path, orient="records", lines=lines)


def arrow_writer(path: Path, rows: Rows) -> None:
    table = pa.table([list(column) for column in zip(*rows, strict=True)], ["text", "label"])
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


# no tables with a header: tests/data/test_readers.py and test_word_rows.py have these
ELSEWHERE = {".txt", ".conll", ".iob2", ".iob", ".bio", ".conllu"}
WRITERS = {
    **{
        f"pandas{end} {name}{' index' * index}": pandas_writer(end, quoting=quoting, index=index)
        for end in (".csv", ".tsv")
        for name, quoting in QUOTING.items()
        for index in (False, True)
    },
    "pandas.csv crlf": pandas_writer(".csv", index=False, lineterminator="\r\n"),
    "pandas.tsv crlf": pandas_writer(".tsv", index=False, lineterminator="\r\n"),
    "pandas.csv with a mark": pandas_writer(".csv", index=False, encoding="utf-8-sig"),
    "csv.writer excel": csv_writer(".csv", "excel"),
    "csv.writer excel-tab": csv_writer(".tsv", "excel-tab"),
    "csv.writer unix": csv_writer(".csv", "unix"),
    "pandas.jsonl": (
        ".jsonl",
        lambda path, rows: pd.DataFrame(rows, columns=["text", "label"]).to_json(
            path, orient="records", lines=True
        ),
    ),
    **{
        f"pandas{end}": (end, partial(json_writer, lines=end == ".ndjson"))
        for end in (".json", ".ndjson")
    },
    "pandas.feather": (
        ".feather",
        lambda path, rows: pd.DataFrame(rows, columns=["text", "label"]).to_feather(path),
    ),
    "pyarrow.arrow": (".arrow", arrow_writer),
    "pandas.parquet": (
        ".parquet",
        lambda path, rows: pd.DataFrame(rows, columns=["text", "label"]).to_parquet(path),
    ),
    "datasets.csv": (".csv", datasets_writer),
    "datasets.jsonl": (".jsonl", datasets_writer),
    "datasets.parquet": (".parquet", datasets_writer),
}


def read(path: Path) -> tuple[Table, Rows]:
    table = read_table(path)
    label = table.columns["label"]
    labels = label if isinstance(label, list) else label.to_pylist()
    return table, list(zip(texts(table, "text").to_pylist(), labels, strict=True))


def attempt(path: Path) -> tuple[Table, Rows] | Exception:
    """What is read, or why it is refused (a KeyError: the column of labels is called otherwise)."""
    try:
        return read(path)
    except (SpecError, KeyError) as error:
        return error


def by_pandas(path: Path, quoting: int = csv.QUOTE_MINIMAL) -> Rows:
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
    elif path.suffix in (".arrow", ".feather"):
        frame = pd.read_feather(path)
    elif path.suffix == ".json":
        frame = pd.DataFrame(json.loads(path.read_text("utf-8")))
    elif path.suffix in (".jsonl", ".ndjson"):
        # pandas' own reader makes numbers and dates of texts
        with path.open(encoding="utf-8") as file:
            frame = pd.DataFrame([json.loads(line) for line in file.read().split("\n") if line])
    else:
        sep = "\t" if path.suffix == ".tsv" else ","
        frame = pd.read_csv(
            path, sep=sep, dtype=str, keep_default_na=False, quoting=quoting, encoding="utf-8-sig"
        )
    return list(zip(frame["text"], frame["label"], strict=True))


def check_writer(folder: Path, name: str, rows: Rows) -> str:
    end, write = WRITERS[name]
    path = folder / f"train{end}"
    write(path, rows)
    expected = by_pandas(path)
    assert expected == rows
    result = attempt(path)
    # a tsv whose quoted field may be several rows, or a row that is the header again
    if isinstance(result, Exception):
        assert re.search(
            r"line \d+: expected (one row a line|a row, found the header)", str(result)
        ), result
        assert ("text", "label") in rows or (
            end == ".tsv" and any("\n" in text for text, _ in rows)
        )
        return f"refused {end}"
    table, found = result
    assert found == expected
    assert len(table) == len(rows)
    empty = sum(row == ("", "") for row in rows)
    if end in (".csv", ".tsv") and not name.endswith("index"):
        counts = [remark.count for remark in table.remarks if remark.kind is Peculiar.EMPTY]
        assert counts == [empty] * bool(empty)
    said = any(remark.kind is Peculiar.QUOTED for remark in table.remarks)
    assert not said or end == ".tsv"
    return f"read {end}"


def check_raw(folder: Path, rows: Rows) -> str:
    """A tsv without quoting gives what was written, or says that its quotes were taken for marks."""
    path = folder / "train.tsv"
    path.write_text(
        "".join(f"{a}\t{b}\n" for a, b in [("text", "label"), *rows]), encoding="utf-8", newline=""
    )
    result = attempt(path)
    if isinstance(result, Exception):
        assert re.search(r"line \d+: expected ", str(result)), result
        return "refused"
    table, found = result
    remark = next((remark for remark in table.remarks if remark.kind is Peculiar.QUOTED), None)
    if found != rows:
        assert remark is not None
        assert "The quotes around a field" in remark.consequence
        assert found == by_pandas(path)
    assert (remark is not None) == any(field.startswith('"') for row in rows for field in row)
    return "as written" if found == rows else "quotes taken for marks, and said"


def test_every_ending_is_written_and_read_back() -> None:
    assert {end for end, _ in WRITERS.values()} == set(READERS) - ELSEWHERE


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=EXAMPLES // 4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=ROWS)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, name: str, rows: Rows
) -> None:
    check_writer(tmp_path_factory.mktemp("w"), name, rows)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_is_written_is_read_often(tmp_path_factory: pytest.TempPathFactory) -> None:
    results: Counter[str] = Counter()

    @settings(max_examples=MANY, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.sampled_from(sorted(WRITERS)), ROWS)
    def check(name: str, rows: Rows) -> None:
        results[check_writer(tmp_path_factory.mktemp("w"), name, rows)] += 1

    check()
    print("written and read back", dict(results))


RAW_TEXT = TEXT.map(lambda text: re.sub(r"[\t\n\r]", "", text))
RAW_ROWS = st.lists(
    st.tuples(RAW_TEXT, st.sampled_from(["pos", "neg", '"so"'])).filter(
        lambda row: row != ("text", "label")
    ),
    max_size=8,
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(RAW_ROWS)
def test_a_raw_tsv_gives_its_lines_or_says_so(
    tmp_path_factory: pytest.TempPathFactory, rows: Rows
) -> None:
    check_raw(tmp_path_factory.mktemp("r"), rows)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_raw_tsv_gives_its_lines_or_says_so_often(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    results: Counter[str] = Counter()

    @settings(max_examples=MANY, deadline=None)
    @given(RAW_ROWS)
    def check(rows: Rows) -> None:
        results[check_raw(tmp_path_factory.mktemp("r"), rows)] += 1

    check()
    print("raw tsv", dict(results))


def mutated(content: bytes, draw: random.Random) -> bytes:
    """The content with one to three bytes changed, put in or taken out."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(len(changed))
        byte = (
            draw.choice(b'"\t\n\r,; \\\x00\xff{}[]:a0')
            if draw.random() < 0.8
            else draw.randrange(256)
        )
        kind = draw.choice(("change", "insert", "remove"))
        if kind == "change":
            changed[place] = byte
        elif kind == "insert":
            changed.insert(place, byte)
        else:
            del changed[place]
    return bytes(changed)


def check_mutated(folder: Path, end: str, seed: int) -> str:
    draw = random.Random(seed)
    rows = [
        (f"{draw.choice(['a', 'b', 'he said', 'x, y', 'two words'])} {i}", draw.choice("pn"))
        for i in range(6)
    ]
    if draw.random() < 0.5:
        rows[2] = ('she "said" so', "p")
    writers = [write for ending, write in WRITERS.values() if ending == end]
    path = folder / f"train{end}"
    draw.choice(writers)(path, rows)
    path.write_bytes(mutated(path.read_bytes(), draw))
    result = attempt(path)
    if isinstance(result, KeyError):
        return "another header"
    if isinstance(result, SpecError):
        assert result.exit_code == 2
        assert len(str(result).splitlines()) == 1
        return "refused"
    assert not isinstance(result, Exception)
    table, found = result
    try:
        expected = by_pandas(path)
    except (ValueError, KeyError, OSError, UnicodeError):
        return "not read by pandas"
    if end in (".csv", ".tsv") and len(found) != len(expected):
        assert table.remarks, (path.read_bytes(), found, expected)
    return "read"


@pytest.mark.parametrize("end", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_changed_files_are_read_or_refused(tmp_path: Path, end: str) -> None:
    for seed in range(EXAMPLES):
        check_mutated(tmp_path, end, seed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("end", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_changed_files_are_read_or_refused_often(tmp_path: Path, end: str) -> None:
    results = [check_mutated(tmp_path, end, seed) for seed in range(MANY)]
    print(end, {result: results.count(result) for result in sorted(set(results))})
