"""Every piece of advice about data is followed to the letter, and leads to rows that are read.

A case is what somebody has, the advice that must be given, and what they have when they have
followed it. A last test looks whether every refusal in these rooms is among the cases.
"""

from __future__ import annotations

import ast
import gzip
import io
import json
import os
import pickle
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import logitcache.data
from logitcache.config.data import Columns
from logitcache.data.source import load
from logitcache.errors import SpecError
from logitcache.reporter import SILENT

GOOD = "text,label\na,x\nb,y\n"
TABS = GOOD.replace(",", "\t")
JSONL = '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n'
ROWS = json.loads(f"[{JSONL.strip().replace(chr(10), ',')}]")
CONLL = "a x\nb y\n\nc x\n"
Files = Mapping[str, str | bytes | None]


def parquet(names: list[str] | None = None, columns: Mapping[str, Any] | None = None) -> bytes:
    table = pa.table(columns or {"text": ["a", "b"], "label": [0, 1] if names else ["x", "y"]})
    if names:
        info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def not_utf8() -> bytes:
    """Parquet whose second text is Latin-1: arrow does not look at what its writer calls a string."""
    texts = pa.StringArray.from_buffers(
        2, pa.array([0, 1, 5], pa.int32()).buffers()[1], pa.py_buffer(b"acaf\xe9")
    )
    return parquet(columns={"text": texts, "label": pa.array(["x", "y"])})


def zipped(*names: str, locked: bool = False) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name in names:
            packed.writestr(name, GOOD)
    content = bytearray(file.getvalue())
    if locked:  # as an archive with a password says it
        content[content.index(b"PK\1\2") + 8] |= 1
    return bytes(content)


@dataclass(frozen=True)
class Case:
    """Files (and options) before and after the advice was followed; a file that is None is taken
    away.
    """

    advice: str
    before: Files
    then: Files = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)  # options that are given then
    name: str = ""  # which of them is named; the folder without it
    then_name: str | None = None
    rows: int = 2


def csv(advice: str, before: str | bytes, then: str | bytes = GOOD, **more: Any) -> Case:
    """A case of one csv."""
    return Case(advice, {"r.csv": before}, {"r.csv": then}, name="r.csv", **more)


def labels(advice: str, before: list[Any], then: list[Any] | None = None, **more: Any) -> Case:
    """A case of one jsonl with such labels."""
    files = ["".join(json.dumps({"text": f"text {i}", "label": label}) + "\n" for i, label in enumerate(column))
             for column in (before, then or before)]  # fmt: skip
    return Case(
        advice, {"r.jsonl": files[0]}, {"r.jsonl": files[1]}, rows=len(then or before), **more
    )


NO_HEADER = "name the columns with --header, for example --header text,label"
ESCAPED = 'text,label\n"a \\"b\\", c",x\nd,y\n'
CHATS = "".join(
    json.dumps({"messages": [{"role": r, "content": f"{r} {i}"} for r in ("user", "assistant")]})
    + "\n"
    for i in range(2)
)
NESTED = "".join(
    json.dumps({"doc": {"body": f"some words {i}"}, "mood": {"name": i}}) + "\n" for i in "ab"
)
SPANS = json.dumps(
    [{"data": {"text": "a b"}, "annotations": [{"result": [{"value": {"labels": ["X"]}}]}]}]
)
JSONL_OF_WORDS = '{"words": ["a"], "tags": ["X"]}\n'
NAMES = '{"1": "one", "2": "two"}'
FILES = [
    csv(
        "Name it with --text",
        "tweet,label\na,x\nb,y\n",
        "tweet,label\na,x\nb,y\n",
        more={"text": "tweet"},
    ),
    csv(
        "say with --delimiter",
        "text^label\na^x\nb^y\n",
        "text^label\na^x\nb^y\n",
        more={"delimiter": "^"},
    ),
    csv(NO_HEADER, "x,a\ny,b\n", "x,a\ny,b\n", more={"header": ("label", "text")}),
    csv(
        "--header label,c2,text",
        "0,0,a\n1,0,b\n",
        "0,0,a\n1,0,b\n",
        more={"header": ("label", "c2", "text")},
    ),
    csv("--header label,text", "0,a\n1,0,b\n", "0,a\n1,b\n", more={"header": ("label", "text")}),
    csv(
        "Name all 3 columns with --header.",
        "0,a,1\n1,b,2\n",
        "0,a,1\n1,b,2\n",
        options={"header": ("label", "text")},
        more={"header": ("label", "text", "id")},
    ),
    csv(
        "for example --text tweet --label mood.",
        "id,tweet,mood\n1,a b c,x\n2,b c d,y\n",
        "id,tweet,mood\n1,a b c,x\n2,b c d,y\n",
        more={"text": "tweet", "label": "mood"},
    ),
    csv(
        "Did you mean --text tweet_text?",
        "tweet_text,label\na,x\nb,y\n",
        "tweet_text,label\na,x\nb,y\n",
        options={"text": "TweetText"},
        more={"text": "tweet_text"},
    ),
    csv(
        r"read_csv(FILE, escapechar='\\').to_csv(OUT, index=False)",
        ESCAPED,
        pandas.read_csv(io.StringIO(ESCAPED), escapechar="\\").to_csv(index=False),
    ),
    Case("--task causal-lm", {"r.jsonl": CHATS}, more={"task": "causal-lm"}),
    Case("save a text and a label for each", {"r.jsonl": CHATS}, {"r.jsonl": JSONL}),
    Case(
        "for example --text doc.body --label mood.name.",
        {"r.jsonl": NESTED},
        more={"text": "doc.body", "label": "mood.name"},
    ),
    Case(
        "Export the project as CONLL2003, and name the file .conll.",
        {"r.json": SPANS},
        {"r.json": None, "r.conll": CONLL},
    ),
    csv("Leave --header out.", GOOD, options={"header": ("Text", "label")}, more={"header": None}),
    Case(
        "Name the columns in order with --header",
        {"r.json": '[["a", "x"], ["b", "y"]]'},
        more={"header": ("text", "label")},
    ),
    csv("Fetch or save it again.", ""),
    csv("Give one of these.", GOOD, options={"text": "body"}, more={"text": "text"}),
    csv("Rename one.", "text,label,text\na,x,b\nb,y,c\n", "text,label,other\na,x,b\nb,y,c\n"),
    csv("Mend the line.", "text,label,id\na,x,1\nb\n", "text,label,id\na,x,1\nb,y,2\n"),
    csv(
        "Give --delimiter ';'",
        "text;label,fold\na;x\nb;y\n",
        "text;label,fold\na;x\nb;y\n",
        more={"delimiter": ";"},
    ),
    csv("Remove what stands above the header", f"# exported\n{GOOD}"),
    csv("Remove the delimiter at the end of the lines.", "text,label\na,x,\nb,y,\n"),
    csv(
        "put a name for it into the header",
        "text,label\n1,a,x\n2,b,y\n",
        "id,text,label\n1,a,x\n2,b,y\n",
    ),
    csv("Remove the line.", f"{GOOD}text,label\n"),
    csv(
        "Remove the spaces behind the delimiters",
        'text,label\n"a", "x"\nb,y\n',
        'text,label\n"a","x"\nb,y\n',
    ),
    csv(
        "Close the quotes and double those inside",
        'text,label\n"a "c"",x\nb,y\n',
        'text,label\n"a ""c""",x\nb,y\n',
    ),
    csv("Put quotes around the field", "text,label\na\rc,x\nb,y\n", 'text,label\n"a\rc",x\nb,y\n'),
    csv("or remove the byte", "text,label\na\0,x\nb,y\n"),
    csv(
        "give --encoding utf-16-le",
        f"text,label\n{'映' * 99},x\nb,y\n".encode("utf-16-le"),
        f"text,label\n{'映' * 99},x\nb,y\n".encode("utf-16-le"),
        more={"encoding": "utf-16-le"},
    ),
    csv(
        "with --encoding cp1252 the line reads: é,x",
        "text,label\né,x\nb,y\n".encode("cp1252"),
        "text,label\né,x\nb,y\n".encode("cp1252"),
        more={"encoding": "cp1252"},
    ),
    csv(
        "--encoding (gb18030, shift_jis",
        "text,label\n、,x\nb,y\n".encode("shift_jis"),
        "text,label\n、,x\nb,y\n".encode("shift_jis"),
        more={"encoding": "shift_jis"},
    ),
    csv(
        "Correct or remove the line",
        "text,label\né,x\n".encode() + b"\xe9,y\nb,y\n",
        "text,label\né,x\nb,y\n",
    ),
    csv(
        "Give another --encoding",
        b"text,label\n\xe9,x\nb,y\n",
        b"text,label\n\xe9,x\nb,y\n",
        options={"encoding": "ascii"},
        more={"encoding": "cp1252"},
    ),
    csv("Save it as UTF-8.", GOOD.encode("utf-16")[:-1]),
    csv(
        "Save the file again, as UTF-8.", GOOD.encode("utf-16")[:20] + GOOD.encode("utf-16")[21:-1]
    ),
    csv("Fetch or pack it again.", gzip.compress(GOOD.encode())[:-9], gzip.compress(GOOD.encode())),
    csv("Save it as CSV (UTF-8) in the spreadsheet program", zipped("[Content_Types].xml", "xl/x")),
    csv("Save it as CSV (UTF-8) in the spreadsheet program", b"\xd0\xcf\x11\xe0"),
    csv("Unpack it, and name the file", zipped("a.csv", "b.csv")),
    csv("Unpack it.", zipped("r.csv", locked=True)),
    csv("Download the file itself (on GitHub: Raw).", "<!DOCTYPE html>"),
    csv("Save its rows as csv or jsonl.", "%PDF-1.4"),
    Case("Name it .parquet.", {"r.csv": parquet()}, {"r.csv": None, "r.parquet": parquet()}),
    Case("Name it .jsonl.", {"r.csv": JSONL}, {"r.csv": None, "r.jsonl": JSONL}),
    Case("Write or fetch it again.", {"r.parquet": b"PAR1"}, {"r.parquet": parquet()}),
    Case(
        "Write or fetch it again.",
        {"r.arrow": b"ARROW1"},
        {"r.arrow": None, "r.parquet": parquet()},
    ),
    Case("name the file .csv or .tsv", {"r.jsonl": GOOD}, {"r.jsonl": None, "r.csv": GOOD}),
    Case("Mend or remove it.", {"r.jsonl": JSONL + "{\n"}, {"r.jsonl": JSONL}),
    Case("Mend it.", {"r.json": f"{json.dumps(ROWS)[:-1]}, {{]"}, {"r.json": json.dumps(ROWS)}),
    Case(
        "Mend or remove it.",
        {"r.json": '[{"text": "a", "text": "b"}]'},
        {"r.json": json.dumps(ROWS)},
    ),
    Case("Remove it.", {"r.json": json.dumps(ROWS) + "[]"}, {"r.json": json.dumps(ROWS)}),
    Case(
        "Write it as an object with column names",
        {"r.json": '["a", "x"]'},
        {"r.json": json.dumps(ROWS)},
    ),
    Case(
        "Save each list as a file of its own",
        {"r.json": json.dumps({"train": ROWS, "test": ROWS})},
        {"r.json": None, "train.json": json.dumps(ROWS), "test.json": json.dumps(ROWS)},
    ),
    Case(
        "as jsonl, each split in its own file",
        {"r.json": '{"train": [["a", "x"]], "test": []}'},
        {"r.json": None, "train.jsonl": JSONL, "test.jsonl": JSONL},
    ),
    Case(
        "Save one object for each row, as jsonl.",
        {"r.json": '{"data": [{"paragraphs": [{"context": "a"}]}]}'},
        {"r.json": None, "r.jsonl": JSONL},
    ),
    Case(
        "Save one object for each row, as jsonl.",
        {"r.json": '{"a": {"b": {"text": "a"}}}'},
        {"r.json": None, "r.jsonl": JSONL},
    ),
    Case("Give --delimiter", {"train.txt": GOOD}, more={"delimiter": ","}),
    Case(
        "Keep one label a row.",
        {"train.txt": "__label__x __label__y a\n"},
        {"train.txt": "__label__x a\n__label__y b\n"},
    ),
    Case("Put the words first", {"r.conll": "1 a x\n2 b y\n"}, {"r.conll": CONLL}),
    Case("Correct or remove the line.", {"r.conll": "a x\nb\n\nc x"}, {"r.conll": CONLL}),
    Case(
        "Correct the line",
        {"r.tsv": f'{TABS}"c ""d"""\tx\n"e\ty\n'},
        {"r.tsv": f'{TABS}"c ""d"""\tx\ne\ty\n'},
        rows=4,
    ),
    Case(
        "Correct the line",
        {"r.tsv": f'{TABS}"c ""d"""\tx\ne "f"\ty\n'},
        {"r.tsv": f'{TABS}"c ""d"""\tx\n"e ""f"""\ty\n'},
        rows=4,
    ),
    Case(
        "Correct the line",
        {"r.tsv": f'{TABS}"c\tx\nd"\ty\n'},
        {"r.tsv": f"{TABS}c\tx\nd\ty\n"},
        rows=4,
    ),
    Case(
        "Double it",
        {"r.tsv": f'{TABS}"c \\"d\\""\tx\n'},
        {"r.tsv": f'{TABS}"c ""d"""\tx\n'},
        rows=3,
    ),
    # where files lie
    Case(
        "Give it the ending of what it is",
        {"r": TABS},
        {"r": None, "r.tsv": TABS},
        name="r",
        then_name="r.tsv",
    ),
    Case(
        "Save it as CSV (UTF-8)",
        {"r.xlsx": b"PK"},
        {"r.csv": GOOD},
        name="r.xlsx",
        then_name="r.csv",
    ),
    Case(
        "Unpack it, and give the file or the folder.",
        {"r.zip": zipped("train.csv", "test.csv")},
        {"train.csv": GOOD, "test.csv": GOOD},
        name="r.zip",
        then_name="",
    ),
    Case("Give --data a jsonl", {"x.csv": GOOD}, name="nothing/r.csv", then_name="x.csv"),
    Case("Give --data a jsonl", {"x.csv": GOOD}, name=os.devnull, then_name="x.csv"),
    Case("Rename them, or give one file", {"a.csv": GOOD, "b.csv": GOOD}, then_name="a.csv"),
    Case(
        "parts of one table belong into a folder train",
        {"a.csv": GOOD, "b.csv": GOOD},
        {"a.csv": None, "b.csv": None, "train/a.csv": GOOD, "train/b.csv": GOOD},
        rows=4,
    ),
    Case("Save it as CSV (UTF-8)", {"train.xlsx": b"PK"}, {"train.xlsx": None, "train.csv": GOOD}),
    Case(
        "Unpack or convert what ends in .pkl.",
        {"train.pkl": b"x"},
        {"train.pkl": None, "train.csv": GOOD},
    ),
    Case(
        "Name a folder below: en, fr.", {"en/train.csv": GOOD, "fr/train.csv": GOOD}, then_name="en"
    ),
    Case(
        "Give a folder that holds such files.",
        {"x/README.md": "x", "y/train.csv": GOOD},
        name="x",
        then_name="y",
    ),
    Case(
        "Give each class a folder of its texts, and nothing else in it (train/pos/1.txt)",
        {"train/1_pos.txt": "a", "train/2_neg.txt": "b"},
        {
            "train/1_pos.txt": None,
            "train/2_neg.txt": None,
            "train/pos/1.txt": "a",
            "train/neg/2.txt": "b",
        },
    ),
    Case(
        "Remove the file.",
        {"a/1.txt": "a", "b/1.txt": "some text\0", "b/2.txt": "b"},
        {"b/1.txt": None},
    ),
    Case(
        "Keep one.",
        {f"{split}/{kind}/1.txt": kind for split in ("train", "training") for kind in "ab"},
        {"training/a/1.txt": None, "training/b/1.txt": None},
    ),
    Case(
        "Convert it, with pandas: read_pickle(FILE).to_parquet(OUT).",
        {"r.pkl": pickle.dumps(pandas.DataFrame(ROWS))},
        {"r.parquet": parquet()},
        name="r.pkl",
        then_name="r.parquet",
    ),
    Case(
        "If they are classes, save an object for each row, with its key as the label",
        {"r.json": json.dumps({"x": [{"text": "a"}], "y": [{"text": "b"}]})},
        {"r.json": None, "r.jsonl": JSONL},
    ),
    Case(
        "give --task causal-lm", {"train.txt": "a warm film\n"}, more={"task": "causal-lm"}, rows=1
    ),
    Case("Did you mean", {"reviews.csv": GOOD}, name="review.csv", then_name="reviews.csv"),
    Case("Keep one kind.", {"train/a.csv": GOOD, "train/b.jsonl": JSONL}, {"train/b.jsonl": None}),
    Case(
        "Keep one.",
        {"dev/a.csv": GOOD, "validation/a.csv": GOOD, "train/a.csv": GOOD},
        {"dev/a.csv": None},
    ),
    Case(
        "Keep one.",
        {f"train-0-of-1-{digit * 16}.csv": GOOD for digit in "ab"},
        {f"train-0-of-1-{'a' * 16}.csv": None},
    ),
    Case("Keep one.", {"train.csv": GOOD, "train/part-0.csv": GOOD}, {"train/part-0.csv": None}),
    Case("Fetch it too.", {"train-0-of-2.csv": GOOD}, {"train-1-of-2.csv": GOOD}, rows=4),
    Case("Keep one; or", {"train.csv": GOOD, "train.jsonl": JSONL}, {"train.jsonl": None}),
    Case(
        "put them into a folder 'train' of their own",
        {"train_0.csv": GOOD, "train_1.csv": GOOD},
        {
            "train_0.csv": None,
            "train_1.csv": None,
            "train/train_0.csv": GOOD,
            "train/train_1.csv": GOOD,
        },
        rows=4,
    ),
    Case(
        "Use parts of one data set.",
        {"train-0-of-2.parquet": parquet(["x", "y"]), "train-1-of-2.parquet": parquet(["y", "x"])},
        {"train-1-of-2.parquet": parquet(["x", "y"])},
        rows=4,
    ),
    # texts and labels
    Case(
        "Rename it, or name the column",
        {"train.csv": GOOD, "dev.csv": "body,label\nc,x\n"},
        {"dev.csv": "text,label\nc,x\n"},
    ),
    Case(
        "Make it a string or leave the row out",
        {"r.jsonl": JSONL + '{"text": 5, "label": "x"}'},
        {"r.jsonl": JSONL},
    ),
    Case(
        "Correct the row or leave it out",
        {"r.jsonl": JSONL + '{"text": "\\ud800", "label": "x"}'},
        {"r.jsonl": JSONL},
    ),
    Case("Correct the row or leave it out", {"r.parquet": not_utf8()}, {"r.parquet": parquet()}),
    Case("Mend the file.", {"train.csv": GOOD, "labels.json": "["}, {"labels.json": '["x", "y"]'}),
    Case("Mend the file.", {"train.csv": GOOD, "labels.json": "5"}, {"labels.json": '["x", "y"]'}),
    csv(
        "Correct them.", GOOD, options={"label_names": ("x", "x")}, more={"label_names": ("x", "y")}
    ),
    csv(
        "Correct the row, or the names in --labels",
        GOOD,
        options={"label_names": ("x", "z")},
        more={"label_names": ("x", "y")},
    ),
    labels("Keep one label a row", [["a", "b"], ["a"]], [["a"], ["b"]]),
    labels("Keep one label a row", ["2", "2,3", "3"], ["2", "2", "3"]),
    labels("save it as a column of 0 and 1", [["a", "b"], ["a"]], [1, 0]),
    labels(
        "Train one class at a time: --label label.a",
        [{"a": 1, "b": 1}, {"a": 0, "b": 1}],
        more={"label": "label.a"},
    ),
    labels(
        "Name a value in it, for example --label label.n", [{"n": "x"}], more={"label": "label.n"}
    ),
    labels(
        "Name another column with --label",
        [{"a": 3, "b": 1}, {"a": 0, "b": 1}],
        more={"label": "label.a"},
    ),
    Case(
        "save each row's words and their labels, as columns words and tags of lists",
        {"r.jsonl": '{"text": "a b", "label": [[0, 1, "X"]]}'},
        {"r.jsonl": '{"words": ["a", "b"], "tags": ["X", "O"]}'},
        rows=1,
    ),
    *(
        Case(
            "Correct the row or leave it out.",
            {"r.jsonl": JSONL_OF_WORDS + row},
            {"r.jsonl": JSONL_OF_WORDS},
            rows=1,
        )
        for row in (
            '{"words": "a", "tags": ["X"]}',
            '{"words": ["a\\n"], "tags": ["X"]}',
            '{"words": ["a"], "tags": []}',
        )
    ),
    Case(
        "Give it the same name.",
        {"train.jsonl": JSONL_OF_WORDS, "dev.jsonl": JSONL},
        {"dev.jsonl": JSONL_OF_WORDS},
        options={"task": "token-classification"},
        rows=1,
    ),
    Case(
        "Name them with --text and --label.",
        {"r.jsonl": '{"w": ["a"], "t": ["X"]}'},
        options={"task": "token-classification"},
        more={"text": "w", "label": "t"},
        rows=1,
    ),
    labels("Leave the field empty where there is no label", [-100, 0, 1], [None, 0, 1]),
    labels(
        "name all classes, such as --labels -100,0,1",
        [-100, 0, 1],
        more={"label_names": ("-100", "0", "1")},
    ),
    labels("Make them one kind", ["a", 1], ["a", "b"]),
    labels(
        "take each number for the name of a class: --labels 0.5,1.5",
        [0.5, 1.5],
        more={"label_names": ("0.5", "1.5")},
    ),
    labels(
        "If such names are one class, give --labels No", ["No", "no"], more={"label_names": ("No",)}
    ),
    labels("give --labels A,B (or", ["A", "a", "b", "B"], more={"label_names": ("A", "B")}),
    labels(
        "if they are classes apart, give --labels No,no",
        ["No", "no"],
        more={"label_names": ("No", "no")},
    ),
    labels("Name the column of the label", [0, 2**24], [0, 1]),
    labels(
        "name all classes in label order with --labels",
        [0, 2],
        options={"label_names": ("a", "b")},
        more={"label_names": ("a", "b", "c")},
    ),
    labels(
        "Give two names, false and then true, such as --labels false,true",
        [True, False],
        options={"label_names": ("a", "b", "c")},
        more={"label_names": ("false", "true")},
    ),
    Case(
        "Say it in a labels.json beside the data",
        {"r.jsonl": '{"text": "a", "label": 1}\n'},
        {"labels.json": NAMES},
        options={"label_names": ("one", "two")},
        more={"label_names": None},
        rows=1,
    ),
    Case(
        "or give the number a name",
        {"r.jsonl": '{"text": "a", "label": 3}\n', "labels.json": NAMES},
        {"labels.json": '{"1": "one", "3": "three"}'},
        rows=1,
    ),
    Case(
        "Leave the names out, or give --labels x,y",
        {"r.parquet": parquet(["x", "y"])},
        options={"label_names": ("y", "z")},
        more={"label_names": None},
    ),
]
MEMORY: list[tuple[str, Any, Any]] = [
    ("Make it one of these.", [1, 2], ROWS),
    (
        "Give each row every column.",
        {"text": ["a", "b"], "label": ["x"]},
        {"text": ["a", "b"], "label": ["x", "y"]},
    ),
    (
        "Make it a list.",
        {"text": "a", "label": ["x", "y"]},
        {"text": ["a", "b"], "label": ["x", "y"]},
    ),
    (
        "Rename the one that is meant.",
        {"a": {"text": ["a"]}, "test": {"text": ["b"]}},
        {"train": {"text": ["a", "b"]}},
    ),
    ("Rename them.", {"a": {"text": ["a"]}, "b": {"text": ["b"]}}, {"train": {"text": ["a", "b"]}}),
    ("Give docstrings", "", ROWS),
]


def changed(folder: Path, files: Files) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


def refusal(data: Any, columns: Columns, folder: Path) -> str:
    with pytest.raises(SpecError) as caught:
        load(data, columns, folder, SILENT)
    return str(caught.value)


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.advice[:40])
def test_advice_about_files_is_followed(tmp_path: Path, case: Case) -> None:
    data = tmp_path / "data"
    changed(data, case.before)
    assert case.advice in refusal(data / case.name, Columns(**case.options), tmp_path)
    changed(data, case.then)
    name = case.name if case.then_name is None else case.then_name
    source = load(data / name, Columns(**{**case.options, **case.more}), tmp_path, SILENT)
    assert len(source.table("train")) == case.rows


@pytest.mark.parametrize(("advice", "before", "then"), MEMORY)
def test_advice_about_tables_in_memory_is_followed(
    tmp_path: Path, advice: str, before: Any, then: Any
) -> None:
    assert advice in refusal(before, Columns(), tmp_path)
    assert len(load(then, Columns(), tmp_path, SILENT).table("train")) == 2


# Files whose advice is followed by other tests, which make what it is about: models, other classes,
# the hub, options.
ELSEWHERE_FILES = {
    **dict.fromkeys(("sources/datasets.py", "sources/presets.py"), "data/test_hubdata.py"),
    "sources/docstrings.py": "data/test_embedded.py",
    "class_weights.py": "data/test_class_weights.py",
    "match.py": "data/test_match.py",
    "soft_labels.py": "data/test_soft_labels.py",
    "rows.py": "data/test_source.py",
    "source.py": "data/test_memory.py",
    "tasks/classification.py": "data/test_task.py",
    "tasks/language.py": "data/test_prepare.py",
    "tasks/masked_lm.py": "data/test_prepare.py",
    **dict.fromkeys(("preprocess/tokens.py", "preprocess/packing.py"), "data/test_prepare.py"),
    **dict.fromkeys(("preprocess/chat.py", "preprocess/masking.py"), "data/test_prepare.py"),
}
ROOT = Path(logitcache.data.__path__[0])
ROOMS = [
    path
    for path in sorted(ROOT.rglob("*.py"))
    if path.relative_to(ROOT).as_posix() not in ELSEWHERE_FILES
]
# Functions whose advice is followed elsewhere: presets and the hub (test_presets, test_hubdata),
# unlabelled rows (test_lookup).
ELSEWHERE = {"_preset", "_preset_in", "_hub", "_by_split", "single", "find"}
# Errors over a tokenizer, and over the task of a bench (tests/data/test_words.py, tests/bench).
ELSEWHERE |= {"prepare", "_encoded", "refuse_others"}


def sites() -> Iterator[tuple[str, int]]:
    """Where errors are made in these rooms: file and line."""
    for room in ROOMS:
        for function in ast.walk(ast.parse(room.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef) or function.name in ELSEWHERE:
                continue
            for node in ast.walk(function):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id == "SpecError"
                ):
                    yield str(room), node.lineno


def test_no_advice_in_these_rooms_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: set[tuple[str, int]] = set()
    make = SpecError.__init__

    def recorded(error: SpecError, *arguments: Any, **fields: Any) -> None:
        frame = sys._getframe(1)
        made.add((frame.f_code.co_filename, frame.f_lineno))
        make(error, *arguments, **fields)

    monkeypatch.setattr(SpecError, "__init__", recorded)
    for number, case in enumerate(FILES):
        folder = tmp_path / str(number)
        changed(folder, case.before)
        refusal(folder / case.name, Columns(**case.options), tmp_path)
    for _, before, _ in MEMORY:
        refusal(before, Columns(), tmp_path)
    assert sorted(set(sites()) - made) == []
