"""Exports of WebAnno: the command of the advice writes BIO tags of the right column, or nothing."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from logitcache.data.sources.webanno import conll_advice, label_columns

ENTITY = "#T_SP=de.ner.type.NamedEntity|identifier|value"
RELATION = "#T_RL=custom.Lives|role|BT_de.ner.type.NamedEntity"
CHAIN = "#T_CH=de.coref.type.CoreferenceLink|referenceRelation|referenceType"
BARE = "#T_SP=custom.Marked|"
SLOTS = "#T_SP=custom.Frame|ROLE_custom.Frame:roles_custom.Link|custom.Lu|name"
WORDS = (
    ("1-1", "Ann", "PER"),
    ("1-2", "New", r"GEO\_X[1]"),
    ("1-3", "York", r"GEO\_X[1]"),
    ("1-4", "Oslo", "*[2]"),
    ("1-5", "lies", "_"),
    ("1-6", "Bonn", "LOC[3]"),
    ("1-7", "Rome", "LOC[4]"),
)
TAGS = ["B-PER", "B-GEO_X", "I-GEO_X", "O", "O", "B-LOC", "B-LOC"]


def written(folder: Path, words: tuple[tuple[str, str, str], ...]) -> list[str] | None:
    """The labels that the command writes for words with a relation behind them; None for none."""
    head = ("#FORMAT=WebAnno TSV 3.3", ENTITY, RELATION)
    lines = [f"{number}\t0-1\t{word}\t*\t{value}\t*\t1-1\t" for number, word, value in words]
    (folder / "FILE").write_text("\n".join((*head, "\n", "#Text=x", *lines, "")))
    command = re.search(r"awk .* rm OUT\.conll", conll_advice(head))
    assert command is not None
    subprocess.run(command[0], shell=True, cwd=folder, check=True, stderr=subprocess.PIPE)
    out = folder / "OUT.conll"
    if not out.exists():
        return None
    return [line.split("\t")[1] for line in out.read_text().splitlines() if line]


def test_the_command_writes_the_labels_of_the_spans(tmp_path: Path) -> None:
    assert written(tmp_path, WORDS) == TAGS
    assert written(tmp_path, (*WORDS, ("1-7.1", "Ro", "_"))) == TAGS


@pytest.mark.parametrize("more", [("1-8", "Y", "PER[5]|LOC[6]"), ("1-7.1", "Ro", "LOC[5]")])
def test_the_command_refuses_what_is_no_bio(tmp_path: Path, more: tuple[str, str, str]) -> None:
    assert written(tmp_path, (*WORDS, more)) is None


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ([ENTITY], [5]),
        ([ENTITY, RELATION], [5]),
        ([CHAIN, ENTITY], [7]),
        ([BARE, ENTITY, CHAIN], [6]),
        ([SLOTS, ENTITY], [8]),
        ([SLOTS], [6]),
        (["#T_SP=custom.Referent|entity|infstat", RELATION], [4, 5]),
        (["#T_SP=de.Lemma|value", ENTITY], [4, 6]),
        ([RELATION], []),
    ],
)
def test_the_columns_of_labels_are_those_of_the_header(
    header: list[str], columns: list[int]
) -> None:
    assert list(label_columns(header)) == columns
    advice = conll_advice(header)
    assert ("-v c=COLUMN" in advice) == (len(columns) > 1)
    assert all(f"{column} (" in advice for column in columns[:-1])
