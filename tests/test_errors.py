"""What an error says: one line, with nothing in it that a terminal obeys."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.errors import (
    SHORT,
    CorruptShard,
    FormatError,
    LogitCacheError,
    SpecError,
    counted,
    short,
    visible,
)


@pytest.mark.parametrize(
    "text", ["plain", "ünïcödé", "日本\u3000語", "a\xa0b", "👩\u200d🔬", "می\u200cخواهم", ""]
)
def test_text_of_any_language_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"), ("a\nb", r"a\nb"), ("\x9b1m", r"\x9b1m"), ("\u202eabc", r"\u202eabc"),
        ("\ud800", r"\ud800"), ("\u2028", r"\u2028"), ("\x7f\x00", r"\x7f\x00"), ("\U000e0001", r"\U000e0001"),
    ],
)  # fmt: skip
def test_what_a_terminal_obeys_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_things_are_counted_in_words() -> None:
    counts = {
        1: "1 step",
        2: "2 steps",
        2000: "2,000 steps",
        0.5: "0.5 steps",
        0: "0 steps",
    }
    assert {count: counted(count, "step") for count in counts} == counts


@given(st.text())
def test_what_is_visible_stays_so_and_can_be_printed(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert shown.encode().decode() == shown
    assert len(short(text)) <= SHORT
    line = str(SpecError(text, where=text))
    assert len(line.splitlines()) <= 1
    assert visible(line) == line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (SpecError("no such file"), "no such file"),
        (SpecError("no such file", advice="Name one."), "no such file. Name one."),
        (
            SpecError(expected="a path", found="a URL", where="--out"),
            "--out: expected a path, found a URL.",
        ),
        (
            SpecError("not here", expected="a path", found=3, advice="Go."),
            "expected a path, found 3: not here. Go.",
        ),
        (SpecError("did it end?", advice="Look."), "did it end? Look."),
    ],
)
def test_the_line_is_made_of_the_fields(error: LogitCacheError, line: str) -> None:
    assert str(error) == line
    error.advice = "Other advice."
    assert str(error).endswith(" Other advice.")


def test_an_error_reaches_another_process_with_its_fields() -> None:
    error = CorruptShard("why", expected="x", found="y", advice="Do z.").at("a/b")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is CorruptShard
    assert vars(copy) == vars(error)
    assert str(copy) == str(error) == "a/b: expected x, found y: why. Do z."
    assert copy.kind == "CorruptShard"
    assert isinstance(copy, FormatError)


def test_a_wider_place_stands_before_the_one_that_was_named() -> None:
    assert str(SpecError("wrong").inside("spec")) == "spec: wrong"
    assert str(SpecError("wrong", where="tasks").inside("spec")) == "spec: tasks: wrong"


@pytest.mark.parametrize(
    ("advice", "end"),
    [
        ("Write: grep -v '^#' FILE > OUT.txt.", "> OUT.txt"),
        ('Convert it: python -c "import pandas; t = 1".', 't = 1"'),
        ("Convert it: logitcache reshape trees r.txt --out 'my r.jsonl'.", "--out 'my r.jsonl'"),
        ("Name it r.jsonl.", "r.jsonl."),
        ("Give one > 0.", "> 0."),
    ],
)
def test_a_command_has_no_full_stop_that_would_be_typed_with_it(advice: str, end: str) -> None:
    assert str(SpecError(expected="a", found="b", advice=advice)).endswith(end)
