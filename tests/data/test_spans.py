"""Labels of parts of texts, by their characters, are read as words with IOB2 tags."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.config.data import Columns
from logitcache.data.source import Source, load
from logitcache.data.sources.spans import Span, _tagged
from logitcache.errors import SpecError
from logitcache.reporter import SILENT, Notes

TEXT = "Ada Lovelace met Alan-Turing (in Rome)."
ADA, ALAN, ROME = (0, 12, "PER"), (17, 28, "PER"), (33, 37, "LOC")
WORDS = ["Ada", "Lovelace", "met", "Alan", "-", "Turing", "(", "in", "Rome", ")", "."]
TAGS = ["B-PER", "I-PER", "O", "B-PER", "I-PER", "I-PER", "O", "O", "B-LOC", "O", "O"]


def rows_of(spans: Sequence[Any], column: str = "label", **more: Any) -> list[Any]:
    return [{"text": TEXT, column: list(spans), **more}, {"text": "Nothing here.", column: []}]


def objects(start: str, end: str, label: str) -> list[Any]:
    return [dict(zip((start, end, label), span, strict=True)) for span in (ADA, ALAN, ROME)]


def read(folder: Path, rows: list[Any], **columns: Any) -> tuple[Source, list[str]]:
    path = folder / "r.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    notes: list[str] = []
    return load(str(path), Columns(**columns), folder, Notes(notes.append)), notes


def first_row(source: Source) -> tuple[list[str], list[str]]:
    """The words and tags of the first row."""
    rows = source.table("train")
    words = rows.texts()[0][0].split("\n")
    assert source.label_names is not None
    return words, [source.label_names[label] for label in rows.labels[: len(words)]]


def of_dataturks(start: int, end: int, label: str) -> dict[str, Any]:
    return {"label": [label], "points": [{"start": start, "end": end - 1, "text": TEXT[start:end]}]}


def of_cluener(spans: Sequence[Any]) -> dict[str, Any]:
    by_label: dict[str, Any] = {}
    for start, end, label in spans:
        by_label.setdefault(label, {})[TEXT[start:end]] = [[start, end - 1]]
    return by_label


FILES: dict[str, list[Any]] = {
    "doccano": rows_of([ADA, ALAN, ROME]),
    "in another order": rows_of([ROME, ADA, ALAN]),
    "doccano with relations": rows_of(objects("start_offset", "end_offset", "label"), "entities"),
    "Rasa": rows_of(objects("start", "end", "entity"), "entities"),
    "Presidio": rows_of(objects("start", "end", "entity_type"), "spans"),
    "Ground Truth": rows_of(objects("startOffset", "endOffset", "label"), "entities"),
    "labels in lists": rows_of(
        [{"start": s, "end": e, "text": TEXT[s:e], "labels": [y]} for s, e, y in (ADA, ALAN, ROME)]
    ),
    "Dataturks": [
        {"content": TEXT, "annotation": [of_dataturks(*span) for span in (ADA, ALAN, ROME)]},
        {"content": "Nothing here.", "annotation": None},
    ],
    "CLUENER": [
        {"text": TEXT, "label": of_cluener((ADA, ALAN, ROME))},
        {"text": "Nothing here.", "label": {}},
    ],
    "a row before them without parts": [{"text": TEXT, "label": []}, *rows_of([ADA, ALAN, ROME])],
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_parts_are_tags_of_words(tmp_path: Path, name: str) -> None:
    rows = FILES[name]
    source, notes = read(tmp_path, rows[1:] if name.startswith("a row") else rows)
    assert source.task == "token-classification"
    assert first_row(source) == (WORDS, TAGS)
    assert any("labels of 3 parts of texts, are read as 14 words" in note for note in notes)
    assert len(read(tmp_path, rows)[0].table("train")) == len(rows)


def test_ends_are_of_the_last_character_where_every_text_of_a_part_says_so(tmp_path: Path) -> None:
    parts = [{"start": s, "end": e - 1, "label": y, "text": TEXT[s:e]} for s, e, y in (ADA, ALAN)]
    source, notes = read(tmp_path, rows_of(parts))
    assert first_row(source)[1][:3] == ["B-PER", "I-PER", "O"]
    assert any(note.endswith("their ends are of the last character") for note in notes)
    parts[1] |= {"text": "Alan"}
    with pytest.raises(SpecError, match="in place of"):
        read(tmp_path, rows_of(parts))


def test_the_columns_may_be_named(tmp_path: Path) -> None:
    rows = [{"passage": TEXT, "marks": objects("start", "end", "type"), "label": "x"}] * 2
    for label in ("marks", "marks.type"):
        source, _ = read(tmp_path, rows, text="passage", label=label)
        assert first_row(source) == (WORDS, TAGS)


def test_a_label_of_the_whole_text_goes_before_its_parts(tmp_path: Path) -> None:
    rows = [
        {"text": TEXT, "intent": intent, "entities": objects("start", "end", "entity")}
        for intent in ("a", "b")
    ]
    source, _ = read(tmp_path, rows)
    assert (source.task, source.label_names) == ("classification", ("a", "b"))
    source, _ = read(tmp_path, rows, task="token-classification")
    assert first_row(source) == (WORDS, TAGS)


def test_chinese_is_read_by_characters(tmp_path: Path) -> None:
    source, _ = read(
        tmp_path, [{"text": "小明在北京", "label": [[0, 2, "PER"], [3, 5, "LOC"]]}] * 2
    )
    assert first_row(source) == (list("小明在北京"), ["B-PER", "I-PER", "O", "B-LOC", "I-LOC"])


def test_a_row_without_a_list_has_no_labels(tmp_path: Path) -> None:
    source, _ = read(tmp_path, [*rows_of([ADA]), {"text": "Unknown words.", "label": None}])
    assert list(source.table("train").labels[-3:]) == [-1, -1, -1]


@pytest.mark.parametrize(
    "more", [{}, {"label": []}, {"label": None}], ids=["no column", "empty lists", "nothing"]
)
def test_a_split_without_parts_is_read_as_words_too(tmp_path: Path, more: dict[str, Any]) -> None:
    """Test splits of shared tasks have no labels, some of them an empty list in each row."""
    (tmp_path / "train.jsonl").write_text(json.dumps({"text": TEXT, "label": [ADA]}) + "\n")
    (tmp_path / "test.jsonl").write_text(json.dumps({"text": TEXT, **more}) + "\n")
    source = load(str(tmp_path), Columns(), tmp_path, SILENT)
    test = source.dumped["test"]
    assert test.texts()[0] == ["\n".join(WORDS)]
    assert set(test.labels) == {-1}


def test_unlabelled_texts_beside_parts_are_read_as_words(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": TEXT, "label": [ADA]}) + "\n")
    (tmp_path / "more.jsonl").write_text(json.dumps({"text": "New words."}) + "\n")
    data, more = str(tmp_path / "a.jsonl"), str(tmp_path / "more.jsonl")
    source = load(data, Columns(), tmp_path, SILENT, unlabelled=more)
    assert source.splits["unlabelled"].texts()[0] == ["New\nwords\n."]


def test_parts_within_others_and_within_words_are_counted(tmp_path: Path) -> None:
    _, notes = read(tmp_path, rows_of([ADA, (4, 12, "LAST"), ALAN, ROME, (1, 3, "X")]))
    assert any("parts that overlap another are left out: 2 (first: " in note for note in notes)
    source, notes = read(tmp_path, rows_of([(0, 2, "X"), ALAN, ROME]))
    assert any(
        "words are cut where a part begins or ends within them: 1 (first: " in note
        for note in notes
    )
    assert first_row(source)[0][:2] == ["Ad", "a"]


@pytest.mark.parametrize(
    ("spans", "found"),
    [
        ([(0, 11, "PER"), (17, 27, "PER")], "2 of 2 that begin or end within a word"),
        ([(0, 40, "PER")], "0 to 40 of 39 characters"),
        ([(-3, 4, "PER")], "-3 to 4 of 39 characters"),
        ([(4, 4, "PER")], "4 to 4 of 39 characters"),
        ([{"start": 1, "end": 4, "label": "PER", "text": "Ada"}], "'da ' in place of 'Ada'"),
    ],
)
def test_parts_that_are_not_in_their_text_are_refused(
    tmp_path: Path, spans: list[Any], found: str
) -> None:
    with pytest.raises(SpecError, match=rf"r\.jsonl line 1: .*found {found}\. Add 1"):
        read(tmp_path, rows_of(spans))


@given(
    st.text(alphabet="ab1 .-\n東ü_", max_size=30),
    st.lists(st.integers(0, 30), max_size=6, unique=True),
)
def test_every_character_of_a_part_and_no_other_has_its_tag(text: str, bounds: list[int]) -> None:
    """Words in order hold all that is not space; a B- begins each part that has a word."""
    edges = [edge for edge in sorted(bounds) if edge <= len(text)]
    parts = [
        Span(start, end, "X", None)
        for start, end in zip(edges[::2], edges[1::2], strict=False)
    ]  # fmt: skip
    words, tags = _tagged(text, parts)
    assert "".join(words) == "".join(text.split())
    inside = "".join(word for word, tag in zip(words, tags, strict=True) if tag != "O")
    assert inside == "".join("".join(text[part.start : part.end].split()) for part in parts)
    filled = [part for part in parts if text[part.start : part.end].strip()]
    assert tags.count("B-X") == len(filled)


def test_marks_of_words_by_annotator_are_no_spans(tmp_path: Path) -> None:
    """HateXplain's rationales: a 0 or 1 for each word, from each annotator."""
    marks = [[0, 1, 1, 0, 0], [0, 1, 1]]
    source, _ = read(tmp_path, [{"text": TEXT, "rationales": marks, "label": "x"}] * 2)
    assert source.task == "classification"
    source, _ = read(tmp_path, [{"text": TEXT, "rationales": marks}] * 2)
    assert source.task == "classification"
