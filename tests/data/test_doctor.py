"""The data doctor: what it counts is what is there, and clean data have no findings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.config.data import Columns
from logitcache.data.doctor import examine, remark
from logitcache.data.findings import MEANINGS, OF_CLASSES, SERIOUS, Fault, Finding
from logitcache.data.source import load
from logitcache.reporter import SILENT
from tests.shortly import examples

Texts = list[tuple[str, str | None]]

WORDS = (
    "sun",
    "moon",
    "sea",
    "tree",
    "bird",
    "stone",
    "river",
    "cloud",
    "road",
    "hill",
    "lamp",
    "door",
)


def source_of(**splits: Texts) -> Any:
    tables = {
        split: [{"text": text, "label": label} for text, label in rows]
        for split, rows in splits.items()
    }
    return load(tables, Columns(), Path("unused"), SILENT)


def findings(**splits: Texts) -> dict[tuple[Fault, str], Finding]:
    return {
        (finding.fault, finding.split): finding for finding in examine(source_of(**splits)).findings
    }


def plenty(n: int = 12) -> Texts:
    """Rows of two classes that nothing is to be said of."""
    return [
        (f"{WORDS[i % 12]} {WORDS[(i * 5 + 1) % 12]} {WORDS[i // 12]} {'ab'[i % 2]}", f"c{i % 2}")
        for i in range(2 * n)
    ]


def test_nothing_is_found_in_clean_rows() -> None:
    assert findings(train=plenty()) == {}
    assert remark(source_of(train=plenty())) == ""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", Fault.EMPTY),
        (" \u00a0\t\u200b", Fault.EMPTY),
        ("caf\u00c3\u00a9 au lait", Fault.MOJIBAKE),
        ("it\u00e2\u20ac\u2122s late", Fault.MOJIBAKE),
        ("\u00d0\u00bf\u00d1\u20ac\u00d0\u00b8\u00d0\u00b2", Fault.MOJIBAKE),
        ("lost \ufffd letter", Fault.REPLACEMENT),
        ("a\x00b", Fault.NUL),
        ("a\x1bb", Fault.CONTROL),
        ("zero\u200bwidth", Fault.INVISIBLE),
        ("good<br />film", Fault.HTML),
        ("rock &amp; roll", Fault.HTML),
        ("end.\\n\\nNext", Fault.ESCAPE),
        ("b'raw'", Fault.BYTES),
        ("[deleted]", Fault.MISSING),
        ("NaN", Fault.MISSING),
        ("?!", Fault.NO_WORD),
    ],
)
def test_a_fault_of_a_text_is_counted_with_its_place(text: str, fault: Fault) -> None:
    rows = plenty()
    rows[5] = (text, rows[5][1])
    found = findings(train=rows)
    finding = found.pop((fault, "train"))
    assert (finding.count, finding.of, finding.place) == (
        1,
        len(rows),
        "data in memory, split train, row 5",
    )
    # a zero width space in a text of nothing else
    assert {other for other, _ in found} <= {Fault.INVISIBLE}


def test_texts_that_are_mostly_objects_of_json_are_serious_and_said_by_dumps() -> None:
    rows = [(f'{{"71": {{"text": "some words of {i}"}}}}', "xy"[i % 2]) for i in range(20)]
    assert (Fault.OBJECT, "train") in findings(train=[*rows, *rows[:5]])
    assert "20 of 20 train rows: texts that are objects of JSON" in remark(source_of(train=rows))
    few = [*plenty(), *rows[:3]]
    assert (Fault.OBJECT, "train") not in findings(train=few)


def test_a_pair_of_which_one_text_is_there_is_not_without_texts() -> None:
    row = {"text": "sun", "text_pair": "moon", "label": "a"}
    blank = {"text": " ", "text_pair": ""}
    rows = [row, {**row, "text": ""}, {**row, "text_pair": ""}, {**row, **blank}]
    source = load({"train": rows}, Columns(), Path("unused"), SILENT)
    empty = [finding for finding in examine(source).findings if finding.fault is Fault.EMPTY]
    assert [(finding.count, finding.place) for finding in empty] == [
        (1, "data in memory, split train, row 3")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "S\u00c3O PAULO \u00c9 GRANDE",
        "\u00c2ge and \u00c2me",
        "3 < 4 and a > b",
        "C:\\new\\table",
        "$\\nabla \\rho$",
        "\U0001f600",
        "\u5b57",
        "naive \u2014 or not",
        "AT&T",
    ],
)
def test_what_only_looks_like_a_fault_is_none(text: str) -> None:
    assert findings(train=[*plenty(), (text, "c0")]) == {}


PLAIN = st.sampled_from(
    ["sun", "Sun", " sun", "sun!", "moon", "the moon", "The  moon", "sea 1", "sea 2", ""]
)
ROWS = st.lists(st.tuples(PLAIN, st.sampled_from(["a", "b", None])), min_size=1, max_size=12)


@given(train=ROWS, test=ROWS)
@settings(max_examples=examples(20, 60))
def test_repeated_texts_are_those_that_a_plain_search_finds(train: Texts, test: Texts) -> None:
    train = [*train, ("one", "a"), ("two", "b")]
    found = findings(train=train, test=test)
    # rows without a label whose text is held out, or empty, are not trained on
    train = [
        row
        for row in train
        if row[1] is not None or (row[0] and row[0] not in {text for text, _ in test})
    ]

    def count(fault: Fault, split: str) -> int:
        return found[fault, split].count if (fault, split) in found else 0

    def folded(text: str) -> str:
        return " ".join(text.lower().split())

    def labels(text: str, rows: Texts, key: Callable[[str], str]) -> set[str]:
        return {label for other, label in rows if label is not None and key(other) == key(text)}

    for split, rows in {"train": train, "test": test}.items():
        against = [
            r for r in rows if r[0] and r[1] is not None and len(labels(r[0], rows, str)) > 1
        ]
        assert count(Fault.CONTRADICTION, split) == len(against)
        nearly = [
            r for r in rows if r[0] and r[1] is not None and len(labels(r[0], rows, folded)) > 1
        ]
        assert count(Fault.NEAR_CONTRADICTION, split) == len(nearly) - len(against)
        repeated = [row for i, row in enumerate(rows) if row[0] and row in rows[:i]]
        assert count(Fault.DUPLICATE, split) == len(repeated)
    learnt = [text for text, _ in train]
    shared = [text for text, _ in test if text and text in learnt]
    assert count(Fault.LEAK, "test") == len(shared)
    nearly_shared = [text for text, _ in test if text and folded(text) in set(map(folded, learnt))]
    assert count(Fault.NEAR_LEAK, "test") == len(nearly_shared) - len(shared)


def test_the_row_that_another_is_like_is_named() -> None:
    rows = [*plenty(), ("a warm film", "c0"), ("a warm film", "c1")]
    finding = findings(train=rows)[Fault.CONTRADICTION, "train"]
    assert finding.place == "data in memory, split train, row 24"
    assert finding.detail == "also data in memory, split train, row 25, labelled c0 and c1"
    line = "memory: 2 of 26 train rows: equal texts with different labels (first: data in memory, split train, row 24)"
    assert remark(source_of(train=rows)) == f"{line}. `logitcache check` says more"


def test_a_repeated_row_is_named_beside_the_row_of_its_own_label() -> None:
    texts = [("a warm film", "c0"), ("a warm film", "c1"), ("a warm film", "c1")]
    finding = findings(train=[*plenty(), *texts])[Fault.DUPLICATE, "train"]
    assert (finding.place, finding.detail) == (
        "data in memory, split train, row 26",
        "also data in memory, split train, row 25",
    )


def test_letters_alone_tell_texts_that_differ_in_digits() -> None:
    found = findings(
        train=[*plenty(), ("order 12 shipped", "c0")],
        test=[("order 13 shipped!", "c0"), ("new one", "c1")],
    )
    assert found[Fault.SIMILAR_LEAK, "test"].count == 1
    # mostly digits: not compared
    assert findings(train=[*plenty(), ("12345 a", "c0"), ("67890 a", "c0")]) == {}


def test_labels_that_are_no_classes() -> None:
    def labelled(values: list[str]) -> Texts:
        return [(text, value) for (text, _), value in zip(plenty(60), values, strict=False)]

    identifiers = findings(train=labelled([f"id{i}" for i in range(60)]))
    assert identifiers[Fault.IDENTIFIERS, "train"].count == 60
    scores = findings(train=labelled([str(3 * (i % 15)) for i in range(120)]))
    assert (scores[Fault.SCORES, "train"].count, scores[Fault.SCORES, "train"].unit) == (
        15,
        "classes",
    )
    assert not {Fault.SCORES, Fault.IDENTIFIERS} & {
        f for f, _ in findings(train=labelled([str(i % 12) for i in range(120)]))
    }


def test_classes_that_splits_do_not_share() -> None:
    found = findings(train=plenty(), test=[("one more", "c0"), ("something", "new")])
    assert found[Fault.ONLY_IN_HELD_OUT, "test"].detail == "new"
    assert found[Fault.ONLY_IN_HELD_OUT, "test"].place == "data in memory, split test, row 1"
    assert found[Fault.NOT_IN_HELD_OUT, "test"].detail == "c1"


def test_a_label_that_stands_in_its_text() -> None:
    rows = [(f"__label__{label} {text}", label) for text, label in plenty()]
    rows = [(text, {"c0": "sport", "c1": "politics"}[label or ""]) for text, label in rows]
    rows = [(text.replace("c0", "sport").replace("c1", "politics"), label) for text, label in rows]
    assert findings(train=rows)[Fault.LABEL_IN_TEXT, "train"].count == len(rows)


def test_rows_of_words_are_looked_at_too() -> None:
    words = [{"tokens": ["a", "b"], "tags": ["O", tag]} for tag in ("X", "Y", "X")]
    source = load({"train": words}, Columns(), Path("unused"), SILENT)
    found = {finding.fault: finding.count for finding in examine(source).findings}
    assert found[Fault.CONTRADICTION] == 3
    assert found[Fault.DUPLICATE] == 1


def test_every_fault_has_words() -> None:
    assert set(MEANINGS) == set(Fault)
    assert set(Fault) >= SERIOUS | OF_CLASSES


def test_line_feeds_of_messages_are_no_escapes() -> None:
    messages = [{"role": "user", "content": "a\nb"}, {"role": "assistant", "content": "c\nd"}]
    source = load({"messages": [messages] * 4}, Columns(task="causal-lm"), Path(), SILENT)
    assert not [f for f in examine(source).findings if f.fault is Fault.ESCAPE]


def test_rows_that_nobody_answers_are_found(tmp_path: Path) -> None:
    asked = {"role": "user", "content": 'say "role": "assistant"'}
    answered = [asked, {"role": "assistant", "content": "w"}]
    for rows in (
        [{"messages": chat} for chat in (answered, [asked], answered)],
        [{"prompt": "a", "completion": text} for text in ("b", "", "c")],
    ):
        (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        source = load(str(tmp_path / "r.jsonl"), Columns(task="causal-lm"), tmp_path, SILENT)
        found = [f for f in examine(source).findings if f.fault is Fault.NO_ANSWER]
        assert [(finding.count, finding.is_serious) for finding in found] == [(1, True)]
        assert str(found[0].place).endswith("r.jsonl line 2")
