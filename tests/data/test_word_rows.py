"""Words and their labels in tables of a word a row, and in lists that are written as texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logitcache.config.data import Columns
from logitcache.data.source import Source, load
from logitcache.errors import SpecError
from logitcache.reporter import Notes
from tests.data.advice_cases import changed

SENTENCES = [(["Ada", "met", "Alan"], ["B-PER", "O", "B-PER"]), (["In", "Paris"], ["O", "B-LOC"])]
ROWS = [(i, word, tag) for i, pair in enumerate(SENTENCES) for word, tag in zip(*pair, strict=True)]
FIRST = [i == 0 or ROWS[i - 1][0] != number for i, (number, _, _) in enumerate(ROWS)]
CONLLU = "".join(
    "# text\n" + "".join(f"{n}\t{word}\t_\t{tag}\t_\t_\t_\t_\t_\t_\n"
                         for n, (word, tag) in enumerate(zip(*pair, strict=True), 1)) + "\n"
    for pair in SENTENCES
)  # fmt: skip
TABLES: dict[str, tuple[str, str]] = {
    "named at the first word": ("r.csv", "Sentence #,Word,POS,Tag\n" + "".join(
        f"{f'Sentence: {i}' if first else ''},{word},NN,{tag}\n"
        for (i, word, tag), first in zip(ROWS, FIRST, strict=True))),
    "numbered": ("r.csv", "sentence_id,words,labels\n" + "".join(f"{i},{w},{t}\n" for i, w, t in ROWS)),
    "numbered in jsonl": ("r.jsonl", "".join(
        f'{{"sent_id": {i}, "token": "{w}", "ner": "{t}"}}\n' for i, w, t in ROWS)),
    "blank lines": ("r.csv", "word,tag\n" + "".join(
        f"{chr(10) if first else ''}{w},{t}\n" for (_, w, t), first in zip(ROWS, FIRST, strict=True))),
    "lists of Python": ("r.csv", "tokens,ner_tags\n" + "".join(f'"{w}","{t}"\n' for w, t in SENTENCES)),
    "lists of numpy": ("r.csv", "tokens,ner_tags\n" + "".join(
        f'"{np.array(w)}","{np.array(t)}"\n' for w, t in SENTENCES)),
    "tags in a text": ("r.csv", "text,tags\n" + "".join(f"{' '.join(w)},{' '.join(t)}\n" for w, t in SENTENCES)),
    "a text and a list of tags": ("r.jsonl", "".join(
        json.dumps({"text": " ".join(w), "labels": t}) + "\n" for w, t in SENTENCES)),
    "words and tags in a text": ("r.jsonl", "".join(
        json.dumps({"tokens": w, "tags": " ".join(t)}) + "\n" for w, t in SENTENCES)),
    "CoNLL-U": ("r.conllu", CONLLU.replace("2\tmet", "1-2\tAda met" + "\t_" * 8 + "\n2\tmet")),
}  # fmt: skip


def read(folder: Path, name: str, content: str, **columns: Any) -> tuple[Source, list[str]]:
    notes: list[str] = []
    changed(folder, {name: content})
    return load(str(folder / name), Columns(**columns), folder, Notes(notes.append)), notes


def sentences(source: Source) -> list[tuple[list[str], list[str]]]:
    rows = source.table("train")
    assert source.label_names is not None
    assert rows.tags is not None
    names = [[source.label_names[tag] for tag in rows.tags.select(np.array([i])).values]
             for i in range(len(rows))]  # fmt: skip
    return [(text.split("\n"), tags) for text, tags in zip(rows.texts()[0], names, strict=True)]


@pytest.mark.parametrize("shape", TABLES)
def test_words_are_put_together_to_sentences(tmp_path: Path, shape: str) -> None:
    source, _ = read(tmp_path, *TABLES[shape])
    assert source.task == "token-classification"
    assert sentences(source) == SENTENCES


def test_columns_of_words_are_named(tmp_path: Path) -> None:
    name, content = TABLES["named at the first word"]
    source, notes = read(
        tmp_path, name, content, text="Word", label="POS", task="token-classification"
    )
    assert [tags for _, tags in sentences(source)] == [["NN"] * 3, ["NN"] * 2]
    assert "a word a row: read as 2 sentences of 5 words" in notes[0]
    assert source.place("train", 1).endswith("r.csv line 5")


@pytest.mark.parametrize("shape", TABLES)
def test_tags_of_words_are_no_classes_of_texts(tmp_path: Path, shape: str) -> None:
    with pytest.raises(SpecError, match=r"found a label for each word .* Give --task token-class"):
        read(tmp_path, *TABLES[shape], task="classification")


def test_a_tag_for_each_word_may_be_any_name(tmp_path: Path) -> None:
    rows = [{"text": "a b", "labels": ["x", "x"]}, {"text": "c", "labels": ["y"]}]
    source, _ = read(tmp_path, "r.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert sentences(source) == [(["a", "b"], ["x", "x"]), (["c"], ["y"])]


def test_votes_that_are_as_many_in_each_row_are_no_tags(tmp_path: Path) -> None:
    rows = [{"text": "a b", "labels": ["x", "x"]}, {"text": "c d", "labels": ["y", "y"]}]
    source, _ = read(tmp_path, "r.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert (source.task, source.label_names) == ("classification", ("x", "y"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.jsonl", "".join(
            json.dumps({"words": w, "tags": t, "split": split}) + "\n"
            for (w, t), split in zip(SENTENCES, ("train", "test"), strict=True))),
        ("r.csv", "text,tags,split\n" + "".join(
            f"{' '.join(w)},{' '.join(t)},{split}\n"
            for (w, t), split in zip(SENTENCES, ("train", "test"), strict=True))),
        ("r.csv", "split,sentence,word,tag\n" + "".join(
            f"{('train', 'test')[i]},{i},{w},{t}\n" for i, w, t in ROWS)),
    ],
)  # fmt: skip
def test_rows_of_words_keep_their_split(tmp_path: Path, name: str, content: str) -> None:
    source, _ = read(tmp_path, name, content, split_column="split")
    assert {split: len(rows) for split, rows in source.splits.items()} == {"train": 1, "test": 1}
    _, notes = read(tmp_path, name, content)
    assert any("--split-column split" in note for note in notes)


@pytest.mark.parametrize(
    "table",
    [
        "sentence_id,text,word,label\n1,a b,a,x\n1,b c,b,y\n",
        "sentence,label\n1,x\n2,y\n",
        "text,tokens,tags\na,1,x\n\nb,2,y\n",
    ],
)
def test_other_tables_keep_their_rows(tmp_path: Path, table: str) -> None:
    source, _ = read(tmp_path, "r.csv", table)
    assert (source.task, len(source.table("train"))) == ("classification", 2)


def test_classes_of_one_letter_are_no_tags(tmp_path: Path) -> None:
    source, _ = read(tmp_path, "r.csv", "word,label\nshirt,S\n\ncoat,L\n", text="word")
    assert (source.task, len(source.table("train"))) == ("classification", 2)
