"""Cases of advice about where files lie, and about texts and labels."""

from __future__ import annotations

import os

from tests.data.advice_cases import (
    CONLL,
    GOOD,
    JSONL,
    TABS,
    Case,
    csv,
    labels,
    not_utf8,
    parquet,
    zipped,
)

NAMES = '{"1": "one", "2": "two"}'
PLACES = [
    Case(
        "If tabs separate its fields, name it r.tsv.",
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
        "name it eng.train.conll.",
        {"eng.train": CONLL},
        {"eng.train": None, "eng.train.conll": CONLL},
        name="eng.train",
        then_name="eng.train.conll",
    ),
    Case(
        "name them train.conll, dev.conll and test.conll.",
        {"eng.train": CONLL, "eng.testa": CONLL},
        {"eng.train": None, "eng.testa": None, "train.conll": CONLL, "dev.conll": CONLL},
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
        "Give a folder that holds such files",
        {"x/README.md": "x", "y/train.csv": GOOD},
        name="x",
        then_name="y",
    ),
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
]
LABELS = [
    labels(
        "Name a value in it, for example --label 'label.$numberInt'",
        [{"$numberInt": "0"}, {"$numberInt": "1"}],
        more={"label": "label.$numberInt"},
    ),
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
    labels("Name the column of the label", [0, 1, 2**24], [0, 1, 1]),
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
