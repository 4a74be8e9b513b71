"""Exports of WebAnno: which columns may hold the labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from logitcache.data.sources.webanno import conll_advice, label_columns

ENTITY = "#T_SP=de.ner.type.NamedEntity|identifier|value"
RELATION = "#T_RL=custom.Lives|role|BT_de.ner.type.NamedEntity"
CHAIN = "#T_CH=de.coref.type.CoreferenceLink|referenceRelation|referenceType"
BARE = "#T_SP=custom.Marked|"
SLOTS = "#T_SP=custom.Frame|ROLE_custom.Frame:roles_custom.Link|custom.Lu|name"


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
    advice = conll_advice(header, Path("r.tsv"))
    assert ("--columns COLUMN" in advice) == (len(columns) > 1)
    assert all(f"{column} (" in advice for column in columns[:-1])
