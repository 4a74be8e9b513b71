"""Data files as people have them: each shape is read with all its rows and classes, or refused in
one line that says what can be done. What must be read is the same six rows in every shape.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from logitcache.config.data import Columns
from logitcache.data.source import load
from logitcache.data.sources.find import lying_here
from logitcache.errors import SpecError
from logitcache.reporter import Notes

ROWS = [
    ("a warm film", "pos"), ("cold, and dull", "neg"), ('he said "so"', "pos"), ("naïve café", "neg"), ("5", "pos"),
    ("x; y", "neg"),
]  # fmt: skip
FRAME = pd.DataFrame(ROWS, columns=["text", "label"])
RECORDS = [{"text": text, "label": kind} for text, kind in ROWS]
CSV = FRAME.to_csv(index=False)
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in RECORDS)
UUID = "0b6a6f5c-1c1b-4b2a-9d3a-0d9a1f3c5e77"
DIGESTS = ("9df58a8a8a8c0f5b", "1b2c3d4e5f607182")
UTF16 = CSV.encode("utf-16")
Files = dict[str, str | bytes]


def parquet(start: int = 0, stop: int = 6) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(RECORDS[start:stop]), file)
    return file.getvalue()


def feather() -> bytes:
    file = io.BytesIO()
    pyarrow.feather.write_feather(FRAME, file)
    return file.getvalue()


def zstd(content: bytes) -> bytes:
    file = pa.BufferOutputStream()
    with pa.CompressedOutputStream(file, "zstd") as packed:
        packed.write(content)
    return file.getvalue().to_pybytes()


def archive(members: dict[str, str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return file.getvalue()


def folders(name: str, ending: str, *parts: bytes) -> Files:
    """A folder of parts, with what Spark leaves beside them."""
    files: Files = {
        f"{name}/part-0000{i}-{UUID}-c000{ending}": part for i, part in enumerate(parts)
    }
    return {
        **files,
        f"{name}/_SUCCESS": "",
        f"{name}/._SUCCESS.crc": "x",
        f"{name}/.part-00000.crc": "x",
    }


def pandas_json(orient: Any) -> str:
    return str(FRAME.to_json(orient=orient))


# name of the shape -> its files; with "at", what of them is named, and "columns", the options
READ: dict[str, tuple[Files, str, dict[str, Any]]] = {
    "json array": ({"r.json": json.dumps(RECORDS, indent=2)}, "", {}),
    "json array on one line": ({"r.json": json.dumps(RECORDS)}, "", {}),
    "json array called jsonl": ({"r.jsonl": json.dumps(RECORDS)}, "", {}),
    "jsonl called json": ({"r.json": LINES}, "", {}),
    "ndjson": ({"r.ndjson": LINES}, "", {}),
    "objects over several lines": ({"r.jsonl": "\n".join(json.dumps(row, indent=2) for row in RECORDS)}, "", {}),
    "jsonl with commas": ({"r.jsonl": "".join(json.dumps(row) + ",\n" for row in RECORDS)}, "", {}),
    "array with a comma too many": ({"r.json": json.dumps(RECORDS)[:-1] + ",]"}, "", {}),
    "rows under a key": ({"r.json": json.dumps({"version": "1", "data": RECORDS}, indent=1)}, "", {}),
    "columns": ({"r.json": json.dumps(FRAME.to_dict(orient="list"))}, "", {}),
    **{f"pandas {orient}": ({"r.json": pandas_json(orient)}, "", {}) for orient in
       ("records", "columns", "index", "split", "table")},
    "gz": ({"train.jsonl.gz": gzip.compress(LINES.encode())}, "", {}),
    "gz in capitals": ({"TRAIN.CSV.GZ": gzip.compress(CSV.encode())}, "", {}),
    "gz unpacked by a browser": ({"r.csv.gz": CSV}, "", {}),
    "gz without its ending": ({"r.csv": gzip.compress(CSV.encode())}, "", {}),
    "zst": ({"r.csv.zst": zstd(CSV.encode())}, "r.csv.zst", {}),
    "zip": ({"archive.zip": archive({"train.csv": CSV, "__MACOSX/._train.csv": "x"})}, "archive.zip", {}),
    "zip in a folder": ({"train.csv.zip": archive({"train.csv": CSV})}, "", {}),
    **{f"csv in {encoding}": ({"r.csv": CSV.encode(encoding)}, "", {}) for encoding in
       ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")},
    "jsonl in utf-16": ({"r.jsonl": LINES.encode("utf-16")}, "", {}),
    "cp1252, named": ({"r.csv": CSV.encode("cp1252")}, "", {"encoding": "cp1252"}),
    "utf-16 of few zeros, named": ({"r.csv": CSV.encode("utf-16-le")}, "", {"encoding": "utf-16-le"}),
    "a delimiter of one's own, named": ({"r.csv": FRAME.to_csv(index=False, sep="^")}, "", {"delimiter": "^"}),
    "semicolons in a tsv, named": ({"r.tsv": FRAME.to_csv(index=False, sep=";")}, "", {"delimiter": ";"}),
    "fields in a txt": ({"train.txt": FRAME.to_csv(index=False, sep=";")}, "", {"delimiter": ";"}),
    "sep= of Excel": ({"r.csv": "sep=;\r\n" + FRAME.to_csv(index=False, sep=";")}, "", {}),
    "semicolons, a mark, everything quoted": (
        {"r.csv": FRAME.to_csv(index=False, sep=";", quoting=1).encode("utf-8-sig")}, "", {}),
    "carriage returns": ({"r.csv": CSV.replace("\n", "\r").encode()}, "", {}),
    "an index column": ({"r.csv": FRAME.to_csv()}, "", {}),
    "names in capitals": ({"r.csv": CSV.replace("text,label", "Text,LABEL")}, "", {}),
    "spaces around names": ({"r.csv": CSV.replace("text,label", " text , label")}, "", {}),
    "spark": (folders("out", ".snappy.parquet", parquet(0, 3), parquet(3, 6)), "out", {}),
    "spark, a folder called by its format": (folders("train.parquet", ".parquet", parquet(0, 2), parquet(2)), "", {}),
    "spark, csv packed": (folders("train", ".csv.gz", gzip.compress(CSV.encode())), "", {}),
    "hive": (folders("split=train", ".parquet", parquet(0, 1), parquet(1)), "", {}),
    "the hub's conversion": ({"default/train/0000.parquet": parquet(0, 4), "default/train/0001.parquet": parquet(4)},
                             "", {}),
    "the hub's older parts": ({f"data/train-0000{i}-of-00002-{DIGESTS[i]}.parquet": parquet(3 * i, 3 * i + 3)
                               for i in range(2)} | {"README.md": "x", "dataset_infos.json": "{}"}, "", {}),
    "spark, json": (folders("out.json", ".json", LINES.encode()), "out.json", {}),
    "a file for each row": ({f"rows/{i}.json": json.dumps(row) for i, row in enumerate(RECORDS)}, "rows", {}),
    "a folder beside a file": ({"train.csv": CSV, "test/part-0.csv": CSV}, "", {}),
    "a file beside a folder": ({"test.csv": CSV, "train/part-0.csv": CSV}, "", {}),
    "feather": ({"r.feather": feather()}, "", {}),
    "no header": ({"r.tsv": FRAME.to_csv(index=False, header=False, sep="\t")}, "", {"header": ("text", "label")}),
    "no header, carriage returns": ({"r.csv": FRAME.to_csv(index=False, header=False).replace("\n", "\r")}, "",
                                    {"header": ("text", "label")}),
    "pairs in an array": ({"r.json": json.dumps(ROWS)}, "", {"header": ("text", "label")}),
    "pairs in lines": ({"r.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS)}, "", {"header": ("text", "label")}),
    "fastText": ({"train.txt": "".join(f"__label__{kind} {text}\n" for text, kind in ROWS)}, "", {}),
    "descriptions beside json": (
        {"train.json": LINES, "labels.json": '["neg", "pos"]', "config.json": "{}", "README.txt": "x"}, "", {}),
    "a json split beside csv": ({"train.csv": CSV, "test.json": LINES, "train_args.json": "{}"}, "", {}),
    "macOS": ({"train.csv": CSV, "._train.csv": b"\0\5\26\7", ".DS_Store": b"\0"}, "", {}),
}  # fmt: skip


def written(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / "data"


def refused(path: Path, **columns: Any) -> str:
    with pytest.raises(SpecError) as caught:
        load(str(path), Columns(**columns), path.parent, Notes(lambda note: None))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("shape", READ)
def test_a_shape_is_read_with_all_its_rows_and_classes(tmp_path: Path, shape: str) -> None:
    files, name, columns = READ[shape]
    source = load(
        str(written(tmp_path, files) / name), Columns(**columns), tmp_path, Notes(lambda note: None)
    )
    rows = source.table("train")
    assert source.label_names == ("neg", "pos")
    assert (
        list(zip(rows.texts()[0], [source.label_names[label] for label in rows.label], strict=True))
        == ROWS
    )


# name of the shape -> its files, and what the refusal says
REFUSED: dict[str, tuple[Files, str]] = {
    "an Excel file": ({"r.xlsx": b"PK\3\4"}, "Save it as CSV (UTF-8)"),
    "an Excel file called csv": ({"r.csv": archive({"[Content_Types].xml": "x", "xl": "x"})}, "found an Excel file"),
    "a web page": ({"r.csv": "\n<!DOCTYPE html>\n<html>"}, "found a web page. Download the file itself"),
    "parquet called csv": ({"r.csv": parquet()}, "found a parquet file. Name it .parquet."),
    "jsonl called csv": ({"r.csv": LINES}, "found JSON. Name it .jsonl."),
    "csv called jsonl": ({"r.jsonl": CSV}, "name the file .csv or .tsv"),
    "an archive of several": ({"r.zip": archive({"a.csv": CSV, "b.csv": CSV})}, "Unpack it, and give the file"),
    "an archive that is cut": ({"r.csv.gz": gzip.compress(CSV.encode())[:-9]}, "found Compressed file ended before"),
    "SQuAD": ({"r.json": '{"version": "1", "data": [{"title": "x", "paragraphs": [{"context": "c"}]}]}'},
              "lists of objects under 'paragraphs'"),
    "splits in one document": ({"r.json": json.dumps({"train": RECORDS, "test": RECORDS})},
                               "Save the rows of each list in a file of their own"),
    "lists of pairs": ({"r.json": json.dumps({"train": ROWS, "test": ROWS[:2]})}, "and give --split-column split."),
    "rows that are lists": ({"r.json": json.dumps(ROWS)}, "Name the columns in order with --header"),
    "no header": ({"r.csv": "0,a warm film\n1,cold\n"}, "name the columns with --header"),
    "no header, and equal fields": ({"r.csv": "0,0,a warm film\n"}, "name the columns with --header"),
    "row names of R": ({"r.csv": 'text,label\n"1",a,x\n'}, "put a name for it into the header"),
    "a delimiter at the end of lines": ({"r.csv": "text,label\na,x,\n"}, "Remove the delimiter at the end"),
    "a comment on top": ({"r.csv": "# exported\ntext,label\na,x\n"}, "Remove the comments: the lines that begin with"),
    "quotes behind spaces": ({"r.csv": 'text,label\n"a, b", "x"\n'}, "Remove the spaces behind the delimiters"),
    "cp1252": ({"r.csv": CSV.encode("cp1252")}, "with --encoding cp1252 the line reads: naïve café,neg"),
    "shift_jis": ({"r.csv": "text,label\n映画,良い\n".encode("shift_jis")}, "name its encoding with --encoding"),
    "several labels in fastText": ({"train.txt": "__label__a __label__b x\n"}, "Keep one label a row"),
    "lines of a txt": ({"train.txt": "a warm film;pos\n"}, "Give --delimiter"),
    "texts in one folder": ({f"train/texts/{i}.txt": "x" for i in range(2)}, "Give each class a folder"),
    "several files of a split": ({"train_0.csv": CSV, "train_1.csv": CSV}, "put them into a folder 'train'"),
    "an empty file": ({"r.csv": ""}, "found an empty file. Fetch or save it again"),
    "utf-16 with a byte lost": ({"r.csv": UTF16[:40] + UTF16[41:-1]}, "one byte too many"),
}  # fmt: skip


@pytest.mark.parametrize("shape", REFUSED)
def test_a_shape_is_refused_with_what_can_be_done(tmp_path: Path, shape: str) -> None:
    files, advice = REFUSED[shape]
    data = written(tmp_path, files)
    assert advice in refused(data / next(iter(files)) if len(files) == 1 else data)


def test_a_guess_of_the_encoding_is_said_and_one_that_was_asked_for_is_doubted(
    tmp_path: Path,
) -> None:
    data = written(tmp_path, {"r.csv": CSV.encode("utf-16-le"), "x/r.csv": CSV})
    notes: list[str] = []
    load(str(data / "r.csv"), Columns(), tmp_path, Notes(notes.append))
    assert (
        "r.csv: rows in UTF-16, which no byte order mark names: 6 (first: line 1). They are read as such"
        in notes[0]
    )
    load(str(data / "x" / "r.csv"), Columns(encoding="cp1252"), tmp_path, Notes(notes.append))
    assert any(
        "lines that are UTF-8 as well: 1 (first: line 5). They are read as cp1252" in note
        for note in notes
    )


@pytest.mark.parametrize("written_names", [
    {"labels.json": ["no", "yes"]}, {"labels.json": {"0": "no", "1": "yes"}}, {"labels.json": {"no": 0, "yes": 1}},
    {"labels.json": {"no": "0", "yes": "1"}}, {"id2label.json": {"0": "no", "1": "yes"}},
    {"label2id.json": {"no": 0, "yes": 1}}, {"label.json": {"no": 0, "yes": 1}},
    {"dataset_infos.json": {"default": {"features": {"label": {"names": ["no", "yes"], "_type": "ClassLabel"}}}}},
    {"dataset_info.json": {"features": {"label": {"names": ["no", "yes"], "_type": "ClassLabel"}}}},
])  # fmt: skip
def test_class_names_beside_the_data(tmp_path: Path, written_names: dict[str, Any]) -> None:
    rows = "".join(json.dumps({"text": f"text {i}", "label": i % 2}) + "\n" for i in range(4))
    names = {name: json.dumps(value) for name, value in written_names.items()}
    data = written(tmp_path, {"data/train.jsonl": rows, **names})
    source = load(str(data), Columns(), tmp_path, Notes(lambda note: None))
    assert source.label_names == ("no", "yes")
    assert source.table("train").label.tolist() == [0, 1, 0, 1]


def test_names_in_the_data_go_before_those_that_a_library_wrote_beside_it(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"], "label": [0, 1]})
    told = {"info": {"features": {"label": {"names": ["no", "yes"], "_type": "ClassLabel"}}}}
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(told)}), file)
    beside = {"features": {"label": {"names": ["yes", "no"], "_type": "ClassLabel"}}}
    data = written(
        tmp_path, {"train.parquet": file.getvalue(), "dataset_info.json": json.dumps(beside)}
    )
    source = load(str(data), Columns(), tmp_path, Notes(lambda note: None))
    assert (source.label_names, source.table("train").label.tolist()) == (("no", "yes"), [0, 1])


def test_packed_rows_that_a_cache_names_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(
        tmp_path, {"reviews.jsonl.gz": b"", "reviews.CSV": b"", "reviews.xlsx": b"", "x.csv": b""}
    )
    monkeypatch.chdir(tmp_path / "data")
    assert sorted(map(str, lying_here("reviews"))) == ["reviews.CSV", "reviews.jsonl.gz"]
    assert lying_here("../data/reviews") == []


@pytest.mark.parametrize("text", ["-", "NaT", "undefined"])
def test_a_label_that_says_there_is_none_is_said(tmp_path: Path, text: str) -> None:
    data = written(tmp_path, {"r.csv": f"text,label\na,x\nb,{text}\n"})
    notes: list[str] = []
    load(str(data), Columns(), tmp_path, Notes(notes.append))
    assert any(f"'{text}' (1 rows" in note and "is taken for a class" in note for note in notes)
