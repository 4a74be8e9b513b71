"""Labels in all their spellings, rows that are held out elsewhere, and columns that might have been
meant.
"""

from __future__ import annotations

import re
import shlex
import time
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from logitcache.config.labels import parse_names
from logitcache.data.label_values import MISSING_TEXTS
from logitcache.data.labels import labels
from logitcache.data.source import Source
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError
from logitcache.reporter import SILENT
from tests.data.sources_by_file import Load, labelled


def test_unlabelled_train_rows_held_out_elsewhere_are_left_out(read: Load) -> None:
    train = [*labelled(0, 1), {"text": "held", "label": None}, {"text": "free", "label": ""}]
    notes: list[str] = []
    source = read({"train.jsonl": train, "test.jsonl": [{"text": "held", "label": 1}]}, notes=notes)
    rows = source.split("train")
    assert rows.texts()[0] == ["text 0", "text 1", "free"]
    assert rows.row_id.tolist() == [0, 1, 3]
    assert source.table("train").row_id.tolist() == [0, 1, 2, 3]
    assert notes == [
        "data: 1 rows without a label are not trained on, for their texts stand in test (first: row 2)"
    ]


def test_nothing_is_said_of_rows_left_out_where_none_has_a_label(read: Load) -> None:
    notes: list[str] = []
    rows = [{"text": "held"}, {"text": "free"}]
    read({"train.jsonl": rows, "test.jsonl": rows[:1]}, notes=notes)
    assert not any("without a label" in note for note in notes)


@pytest.mark.parametrize("none", ["", None, " ", float("nan")])
def test_a_missing_label_is_written_in_many_ways(read: Load, none: object) -> None:
    names = read({"train.jsonl": labelled("b", "a", none)})
    assert (names.label_names, names.split("train").label.tolist()) == (("a", "b"), [1, 0, -1])
    numbers = read({"train.jsonl": labelled(1, 0, none)})
    assert (numbers.num_labels, numbers.split("train").label.tolist()) == (2, [1, 0, -1])


def test_whole_numbers_beside_a_gap_are_whole_numbers(read: Load) -> None:
    """As pandas writes them: 1.0, and nothing or NaN where there is none."""
    typed = read({"train.jsonl": labelled(1.0, 0.0, None)})
    text = read({"train.csv": "text,label\na,1.0\nb,0.0\nc,\n"}, at="train.csv")
    for source in (typed, text):
        assert (source.num_labels, source.split("train").label.tolist()) == (2, [1, 0, -1])


def test_zeros_in_front_make_a_name(read: Load) -> None:
    source = read({"train.csv": "text,label\na,03\nb,3\n"}, at="train.csv")
    assert source.num_labels == 2


def test_columns_that_might_have_been_meant_are_said(read: Load) -> None:
    notes: list[str] = []
    row = {"text": "t", "question": "q", "context": "c", "label": 0}
    read({"train.jsonl": [row]}, notes=notes)
    assert "columns: question and context are read, text" in notes[0]
    for asked in ({"text": "text"}, {"text": "question", "text_pair": "context"}):
        notes.clear()
        read({"train.jsonl": [row]}, notes=notes, **asked)
        assert notes == []


def notes_of(read: Load, files: dict[str, Any], **columns: Any) -> tuple[Source, list[str]]:
    """The source, and what was said of its label column."""
    notes: list[str] = []
    source = read(files, notes=notes, **columns)
    return source, [note for note in notes if note.startswith("column 'label'")]


def refusal(read: Load, files: dict[str, Any], **columns: Any) -> str:
    with pytest.raises(SpecError) as caught:
        read(files, **columns)
    return str(caught.value)


def followed(message: str) -> dict[str, tuple[str, ...]]:
    """The last ``--labels`` of a message as an argument of ``read``, as a shell would read it."""
    words = shlex.split(message[message.rindex("--labels") :])
    return {"label_names": tuple(parse_names(words[1]))}


def written(*values: str) -> str:
    return "text,label\n" + "".join(f"text {i},{value}\n" for i, value in enumerate(values))


@pytest.mark.parametrize(
    ("values", "names", "numbers"),
    [
        ((-1, 0, 1, -1), ("-1", "0", "1"), [0, 1, 2, 0]),
        ((1, 5, 3), ("1", "3", "5"), [0, 2, 1]),
        ((2, 4, 10), ("2", "4", "10"), [0, 1, 2]),
        ((-2, 0, None), ("-2", "0"), [0, 1, -1]),
        ((True, False, None), ("false", "true"), [1, 0, -1]),
        ((True, True), ("false", "true"), [1, 1]),
        (("1", "0", "2"), None, [1, 0, 2]),
        ((1.0, "0"), None, [1, 0]),
        (([1], [0], []), None, [1, 0, -1]),
        ((["pos"], "neg"), ("neg", "pos"), [1, 0]),
        (("pos ", " pos", "neg"), ("neg", "pos"), [1, 1, 0]),
        (("TRUE", "false"), ("false", "true"), [1, 0]),
        (("true", "maybe"), ("maybe", "true"), [1, 0]),
        ((0, 2), None, [0, 2]),
    ],
)
def test_what_a_column_holds(
    read: Load, values: tuple[Any, ...], names: tuple[str, ...] | None, numbers: list[int]
) -> None:
    source = read({"train.jsonl": labelled(*values)})
    assert (source.label_names, source.split("train").label.tolist()) == (names, numbers)
    if not any(isinstance(value, list | float) or value is None for value in values):
        source = read({"data.csv": written(*map(str, values))}, at="data.csv")
        assert source.label_names == names


def test_numbers_that_do_not_begin_at_0_are_said_with_what_changes_them(read: Load) -> None:
    _, notes = notes_of(read, {"train.jsonl": labelled(-1, 0, 1)})
    assert len(notes) == 1
    assert "Where -1 means no label, leave the field empty" in notes[0]
    source = read({}, **followed(notes[0]))
    assert (source.label_names, source.split("train").label.tolist()) == (
        ("-1", "0", "1"),
        [0, 1, 2],
    )


@pytest.mark.parametrize("withheld", [-1, -100])
def test_a_split_of_nothing_but_minus_one_has_no_labels(read: Load, withheld: int) -> None:
    files = {"train.jsonl": labelled(0, 1, 2), "test.jsonl": labelled(withheld, withheld)}
    source, notes = notes_of(read, files)
    assert (source.num_labels, source.split("test").label.tolist()) == (3, [-1, -1])
    assert len(notes) == 1
    assert f"test.jsonl is {withheld}" in notes[0]
    named = {"train.csv": written("a", "b"), "test.csv": written(str(withheld))}
    assert read(named, at="train.csv").label_names == ("a", "b")


def test_minus_one_in_some_rows_of_a_split_is_a_class(read: Load) -> None:
    source, notes = notes_of(read, {"train.jsonl": labelled(0, 1), "dev.jsonl": labelled(-1, 0)})
    assert source.label_names == ("-1", "0", "1")
    assert source.split("dev").label.tolist() == [0, 1]
    assert "-1 means no label" in notes[0]


def test_minus_one_hundred_beside_labels_is_refused_by_its_row(read: Load) -> None:
    message = refusal(read, {"train.jsonl": labelled(0, -100, 1)})
    assert "train.jsonl line 2: column 'label': expected a label, found -100" in message
    read({"train.jsonl": labelled(0, None, 1)})
    source = read({"train.jsonl": labelled(0, -100, 1)}, **followed(message))
    assert source.split("train").label.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"train.csv": written("0", "0.13", "1")}, 3),
        ({"train.csv": written("0,5", "1").replace("0,5", '"0,5"')}, 2),
        ({"train.jsonl": [{"text": "a", "label": 1}, {"text": "b", "label": 0.5}]}, 2),
    ],
)
def test_scores_are_refused_unless_every_one_is_named(
    read: Load, files: dict[str, Any], line: int
) -> None:
    message = refusal(read, files)
    assert f"line {line}: column 'label'" in message
    assert "scores (regression)" in message
    assert read({}, **followed(message)).num_labels == len(followed(message)["label_names"])


def test_many_scores_are_not_listed(read: Load) -> None:
    message = refusal(read, {"train.csv": written(*(f"0.{i}1" for i in range(30)))})
    assert message.endswith("Give the column of the classes with --label")


@pytest.mark.parametrize(
    "missing", ["NaN", "nan", "null", "NULL", "N/A", "NA", "None", "<NA>", "#N/A", "n/a"]
)
def test_what_pandas_takes_for_missing_is_no_label_and_is_said(read: Load, missing: str) -> None:
    assert pd.read_csv(StringIO(f"label\n{missing}\nx\n"))["label"].isna().tolist() == [True, False]
    source, notes = notes_of(read, {"train.csv": written("pos", missing, "neg", missing)})
    assert (source.label_names, source.split("train").label.tolist()) == (
        ("neg", "pos"),
        [1, -1, 0, -1],
    )
    assert len(notes) == 1
    assert f"{missing!r} (2 rows, the first" in notes[0]
    assert "train.csv line 3)" in notes[0]
    kept = read({}, **followed(notes[0]))
    assert (kept.num_labels, (kept.split("train").label >= 0).all()) == (3, True)


def test_the_texts_that_mean_missing_are_those_of_pandas() -> None:
    from pandas._libs.parsers import STR_NA_VALUES

    assert set(STR_NA_VALUES) - {""} == MISSING_TEXTS


def test_what_looks_missing_and_is_text_is_a_class_that_is_said(read: Load) -> None:
    source, notes = notes_of(
        read, {"train.jsonl": labelled("pos", "nan"), "dev.csv": written("pos", "none")}
    )
    assert source.label_names == ("nan", "none", "pos")
    assert [note.split(" ")[2] for note in notes] == ["'none'", "'nan'"] or len(notes) == 2
    assert all("taken for a class" in note for note in notes)


def test_numbers_that_are_missing_are_said(read: Load) -> None:
    source, notes = notes_of(read, {"train.jsonl": labelled(0, float("nan"), 1)})
    assert source.split("train").label.tolist() == [0, -1, 1]
    assert "NaN (1 rows, the first" in notes[0]


@pytest.mark.parametrize("value", [["a", "b"], [0, 1, 0], [["a"]]])
def test_several_labels_a_row_are_refused(read: Load, value: list[Any]) -> None:
    message = refusal(read, {"typed.jsonl": labelled(["x"], value)}, at="typed.jsonl")
    assert "several labels a row (multi-label)" in message
    assert "typed.jsonl line 2" in message
    message = refusal(read, {"data.csv": written("['x']", f'"{value}"')}, at="data.csv")
    assert "several labels a row (multi-label)" in message
    assert "data.csv line 3" in message


def test_space_around_a_label_is_said(read: Load) -> None:
    _, notes = notes_of(read, {"train.jsonl": labelled("pos", "pos ", " neg")})
    assert len(notes) == 1
    assert "2 rows, the first" in notes[0]


def test_two_spellings_of_one_class_are_refused_with_both_ways_out(read: Load) -> None:
    message = refusal(read, {"train.jsonl": labelled("Pos", "pos", "neg")})
    assert "train.jsonl line 2" in message
    apart = read({}, **followed(message))
    assert apart.split("train").label.tolist() == [0, 2, 1]
    first = message.index("--labels")
    one, notes = notes_of(read, {}, label_names=tuple(shlex.split(message[first:])[1].split(",")))
    assert (one.num_labels, one.split("train").label.tolist()) == (2, [0, 0, 1])
    assert "'pos' is taken for the class 'Pos'" in notes[0]


@pytest.mark.parametrize(
    ("values", "names", "numbers"),
    [
        ((0, 1), ("no", "yes"), [0, 1]),
        ((2, 0, 1), ("2", "0", "1"), [0, 1, 2]),
        (("NO", "Yes"), ("yes", "no"), [1, 0]),
        ((True, False), ("no", "yes"), [1, 0]),
        ((True, False), ("True", "False"), [0, 1]),
    ],
)
def test_names_that_are_given(
    read: Load, values: Any, names: tuple[str, ...], numbers: list[int]
) -> None:
    source = read({"train.jsonl": labelled(*values)}, label_names=names)
    assert (source.label_names, source.split("train").label.tolist()) == (names, numbers)


@pytest.mark.parametrize(
    "content",
    [
        '["neg", "pos"]',
        '{"labels": ["neg", "pos"]}',
        '{"0": "neg", "1": "pos"}',
        '{"pos": 1, "neg": 0}',
        '{"labels": {"1": "pos", "0": "neg"}}',
    ],
)
def test_a_file_of_names(read: Load, content: str) -> None:
    for values in ((1, 0), ("pos", "neg"), ("POS", "Neg"), ("1", "0")):
        source = read({"train.jsonl": labelled(*values), "labels.json": content})
        assert (source.label_names, source.split("train").label.tolist()) == (
            ("neg", "pos"),
            [1, 0],
        )


@pytest.mark.parametrize(
    "content", ['{"0": "neg", "00": "x"}', '{"a": "b"}', '{"a": 0, "b": 0}', "{}", "3"]
)
def test_a_file_of_names_that_says_nothing_is_refused(read: Load, content: str) -> None:
    assert "/labels.json: expected" in refusal(
        read, {"train.jsonl": labelled(1, 0), "labels.json": content}
    )


def test_numbers_that_begin_at_1_need_to_be_said(read: Load) -> None:
    message = refusal(
        read, {"train.jsonl": labelled(1, 2), "labels.json": '["bad", "fair", "good"]'}
    )
    assert "the numbers begin at 1" in message
    example = re.search(r"\{.*, \.\.\.\}", message)
    assert example is not None
    source = read({"labels.json": example[0].replace(", ...", ', "3": "good"')})
    assert (source.label_names, source.split("train").label.tolist()) == (
        ("bad", "fair", "good"),
        [0, 1],
    )


def test_rows_of_a_large_column_are_mapped_at_once() -> None:
    rows = 100_000
    column = pa.array(np.array(["neg", "pos", "NaN", " neg"])[np.arange(rows) % 4])
    table = Table("rows", {"label": column}, range(rows), typed=False)
    started = time.process_time()
    numbers, names, _ = labels({"train": table}, "label", None, SILENT)
    assert time.process_time() - started < 0.5
    assert names == ("neg", "pos")
    np.testing.assert_array_equal(numbers["train"][:5], [0, 1, -1, 0, 0])


def test_class_numbers_without_a_row_are_said_with_what_removes_them(read: Load) -> None:
    source, notes = notes_of(read, {"train.jsonl": labelled(0, 3, 3)})
    assert source.num_labels == 4
    assert "there are 4 classes, of which no row has 1, 2. If" in notes[0]
    few, notes = notes_of(read, {}, **followed(notes[0]))
    assert (few.label_names, few.split("train").label.tolist()) == (("0", "3"), [0, 1, 1])
    assert notes == []
    _, notes = notes_of(read, {"train.jsonl": labelled(0, 2), "test.jsonl": labelled(1)})
    assert notes == []  # another split has the rows


def test_codes_are_names_as_the_0_and_4_of_sentiment140(read: Load) -> None:
    source, notes = notes_of(read, {"train.jsonl": labelled(0, 4, 4)})
    assert (source.label_names, source.split("train").label.tolist()) == (("0", "4"), [0, 1, 1])
    assert "the numbers 0, 4 are not consecutive: each is taken as a class name" in notes[0]
    every, notes = notes_of(read, {}, label_names=tuple("01234"))
    assert (every.num_labels, every.split("train").label.tolist()) == (5, [0, 4, 4])
    regular, _ = notes_of(read, {"train.jsonl": labelled(0, 2, 4)})
    assert regular.num_labels == 5


@pytest.mark.parametrize("dash", ["?", "-"])
def test_a_mark_for_no_label_can_be_said_without_an_edit(read: Load, dash: str) -> None:
    other = () if dash == "?" else ("+",)  # a minus beside a plus is a class
    source, notes = notes_of(read, {"train.csv": written("yes", dash, "no", *other)})
    assert source.num_labels == 3 + len(other)
    source, notes = notes_of(read, {}, **followed(notes[0]))
    assert source.split("train").label.tolist()[1] == -1
    assert f"{dash!r} (1 rows, the first" in notes[0]


def test_a_dash_among_classes_is_no_label(read: Load) -> None:
    source, notes = notes_of(read, {"train.csv": written("yes", "-", "no")})
    assert (source.label_names, source.split("train").label.tolist()) == (("no", "yes"), [1, -1, 0])
    kept, _ = notes_of(read, {}, **followed(notes[0]))
    assert kept.split("train").label.tolist() == [2, 0, 1]


def test_a_dash_in_the_column_of_nli_sets_is_no_label(read: Load) -> None:
    notes: list[str] = []
    rows = written("yes", "-", "no").replace("label", "gold_label")
    source = read({"train.csv": rows}, label="gold_label", notes=notes)
    assert source.split("train").label.tolist() == [1, -1, 0]
    assert "'-' (1 rows, the first" in notes[-1]
    kept = read({}, label="gold_label", **followed(notes[-1]))
    assert kept.split("train").label.tolist() == [2, 0, 1]
