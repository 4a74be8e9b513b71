"""Which columns are suggested as texts and labels, where none has a usual name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from logitcache.config.data import Columns
from logitcache.data.source import load
from logitcache.errors import SpecError
from logitcache.reporter import SILENT

ROWS = 12
Table = dict[str, list[Any]]


def cells(form: str, every: int = ROWS) -> list[str]:
    """A value a row, by its number; of ``every`` values behind each other."""
    return [form.format(row % every) for row in range(ROWS)]


SENTENCES = cells("a film of {} old days")
KINDS = cells("k{}", 2)
ADDRESSES = [
    "https://x.org/{}",
    "s3://bucket/{}.txt",
    "www.x.org/a_{}",
    "ada{}@example.org",
    "Ada <ada{}@example.org>",
    "../texts/{}",
    "/data/texts of old days here/{}.html",
    "C:\\My old texts here\\{}",
    "a{}.png",
]
# Tables, and the options that must be suggested for them.
SUGGESTED: list[tuple[Table, str]] = [
    *(
        ({"source": cells(form, 2), "says": SENTENCES, "tone": KINDS}, "--text says --label tone")
        for form in ADDRESSES
    ),
    (
        {"_golden": cells("{}", 2), "keyword": cells("w{}", 3), "ask": KINDS,
         "ask:confidence": cells("0.{}1"), "says": SENTENCES},
        "--text says --label ask",
    ),
    (
        {"source": SENTENCES, "topic-metadata": [
            {"class-name": kind, "human-annotated": ("yes", "no")[i // 6], "type": "groundtruth/x"}
            for i, kind in enumerate(KINDS)
        ]},
        "--text source --label topic-metadata.class-name",
    ),
    (
        {"when": cells("Mon Apr 06 22:19:{:02d} PDT 2009"), "says": SENTENCES, "tone": KINDS},
        "--text says --label tone",
    ),
    (
        {"source": cells("film {}. Is what this text says of the film pos or neg? Answer:"),
         "says": SENTENCES, "tone": KINDS},
        "--text says --label tone",
    ),
    (
        {
            "INPUT:says": SENTENCES,
            "INPUT:topic": KINDS,
            "HINT:class": KINDS,
            "ASSIGNMENT:status": cells("S{}", 2),
            "OUTPUT:note": ["", "why", "what"] * (ROWS // 3),
            "GOLDEN:result": ["OK", "BAD", *[""] * (ROWS - 2)],
            "OUTPUT:result": KINDS,
        },
        "--text INPUT:says --label OUTPUT:result",
    ),
    ({"INPUT:says": SENTENCES, "INPUT:topic": KINDS}, "--text INPUT:says --label INPUT:topic"),
    (
        {
            "Gender": KINDS,
            "Ticket Type": cells("t{}", 2),
            "Description": [f"A sentence that all of these tickets begin with. {s}" for s in KINDS],
            "Resolution": ["a long resolution of this ticket, long " * 4, *[None] * (ROWS - 1)],
            "Rating": [3, 4, 3, *[None] * (ROWS - 3)],
        },
        "--text Description --label 'Ticket Type'",
    ),
    (  # half of the labels are still to come
        {"says": SENTENCES, "channel": KINDS, "verdict": ["x", "y", "x", *[None] * (ROWS - 3)]},
        "--text says --label verdict",
    ),
    (
        {
            "says": SENTENCES,
            "tone_label": KINDS,
            "tone_error": cells("an error of kind {}", 2),
            "tone_prompt": cells("You are an expert at classifying what people say. Input: {}"),
            "tone_successfully_labeled": ["True", "False"] * (ROWS // 2),
            "tone_annotation": cells("successfully_labeled=True raw_response={} of all"),
        },
        "--text says --label tone_label",
    ),
    (
        {"asks": cells("{} days"), "prompt": cells(f"{'so '* 20}{{}}"), "says": SENTENCES},
        "--text says.",
    ),
    ({"prompt": cells(f"{'so ' * 20}{{}}"), "tone": KINDS}, "--text prompt --label tone"),
    *(
        ({asked: SENTENCES, given: cells("a long answer to all of these, {}")}, f"--text {asked}.")
        for asked in ("message", "question", "instruction", "user_message")
        for given in ("response", "llm_response", "completion", "output", "llm_answer")
    ),
    ({"response": SENTENCES, "tone": KINDS}, "--text response --label tone"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "options"), SUGGESTED)
def test_the_likeliest_columns_are_suggested(tmp_path: Path, table: Table, options: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(table, Columns(), tmp_path, SILENT)
    assert f"for example {options}" in str(caught.value)
