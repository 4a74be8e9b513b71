"""Labels that are places among a row's own choices are told apart from classes."""

from __future__ import annotations

from typing import Any

import pytest

from logitcache.data.source import Source
from logitcache.errors import SpecError
from tests.data.test_posted import loaded

TEXTS = [["good", "bad"], ["long", "short"]]
ROWS = {"text": ["a film", "a book"], "label": [0, 1]}


def source_of(**columns: Any) -> Source:
    source, _ = loaded({**ROWS, **columns})
    return source


def test_choices_of_each_row_are_refused() -> None:
    for columns in (
        {"choices": [["good", "bad"], ["long", "short"]]},
        {"ending0": ["good", "long"], "ending1": ["bad", "short"]},
        {"options": [["good", "bad"], ["long", "short"]], "label": ["B", "A"]},
        {"endings": [["good", "bad"], ["long", "short"]], "label": ["0", ""]},
        {"endings": [["good", "bad"], ["long", "short"]], "label": [1.0, None]},
        {"sol1": ["good", "long"], "sol2": ["bad", "short"], "label": ["1", "2"]},
        {"choices": [{"label": ["A", "B"], "text": texts} for texts in TEXTS], "label": ["B", "A"]},
        {"A": ["good", "long"], "B": ["bad", "short"], "label": ["A", "B"]},
        {"opa": ["good", "long"], "opb": ["bad", "short"]},
        {"options": [list("abcdefghij"), list("bcdefghijk")], "label": ["J", "A"]},
    ):
        with pytest.raises(SpecError, match="places among the row's own choices"):
            source_of(**columns)


@pytest.mark.parametrize(
    "columns",
    [
        {"options": [["neg", "pos"]] * 2},  # the classes themselves
        {"choices": [["good", "bad"], ["long", "short"]], "label": ["pos", "neg"]},
        {"choices": [["good"], []], "label": [7, 8]},
        {"answer1": ["good", "long"]},  # one
    ],
)
def test_other_columns_are_not_taken_for_choices(columns: dict[str, Any]) -> None:
    assert source_of(**columns).num_labels == 2


@pytest.mark.parametrize("label", ["answerKey", "question.answerKey"])
def test_choices_below_objects_are_refused(label: str) -> None:
    choices = [[{"label": "AB"[i], "text": texts[i]} for i in (0, 1)] for texts in TEXTS]
    stems = [{"stem": f"what is {own}", "choices": own, "answerKey": "B"} for own in choices]
    rows = {"question": stems, "answerKey": ["A", "B"]}
    with pytest.raises(SpecError, match=r"among the row's own choices \(question.choices.text\)"):
        loaded(rows, text="question.stem", label=label)
