"""Labels of a source: names, numbers, and those that are refused by line."""

from typing import Any

import pytest

from logitcache.errors import SpecError
from tests.data.sources_by_file import Load, labelled, refused


def test_names_are_sorted_over_all_splits_or_stand_as_given(read: Load) -> None:
    files: dict[str, Any] = {"dev.jsonl": labelled("a"), "train.jsonl": labelled("c", "b")}
    source = read(files)
    assert (source.label_names, source.num_labels) == (("a", "b", "c"), 3)
    assert source.splits["train"].label.tolist() == [2, 1]
    given = read(files, label_names=("c", "a", "b", "d"))
    assert (given.label_names, given.num_labels) == (("c", "a", "b", "d"), 4)
    assert given.splits["train"].label.tolist() == [0, 2]
    filed = read({**files, "labels.json": '{"labels": ["b", "c", "a"]}'})
    assert filed.splits["train"].label.tolist() == [1, 0]
    assert read({"labels.json": '["b", "c", "a"]'}, at="train.jsonl").split(
        "train"
    ).label.tolist() == [1, 0]
    assert read({}, label_names=("a", "b", "c")).splits["train"].label.tolist() == [2, 1]


def test_numbers_without_names_and_with(read: Load) -> None:
    source = read({"train.jsonl": labelled(0, 2, None, "", 1)})
    assert (source.label_names, source.num_labels) == (None, 3)
    assert source.split("train").label.tolist() == [0, 2, -1, -1, 1]
    named = read({}, label_names=("x", "y", "z", "w"))
    assert (named.label_names, named.num_labels) == (("x", "y", "z", "w"), 4)
    assert named.split("train").label.tolist() == [0, 2, -1, -1, 1]


def test_no_labels_at_all(read: Load) -> None:
    source = read({"train.jsonl": [{"text": "a"}, {"text": "b"}]})
    assert (source.label_names, source.num_labels) == (None, 0)
    assert source.split("train").label.tolist() == [-1, -1]
    assert read({"train.jsonl": labelled(-1, None)}).num_labels == 0


def csv(*labels: str) -> str:
    return "text,label\n" + "".join(f"text {i},{label}\n" for i, label in enumerate(labels))


@pytest.mark.parametrize(
    ("labels", "names", "numbers"),
    [
        (("0", "2", "", " "), None, [0, 2, -1, -1]),
        (("a", "", "b", "-1"), ("-1", "a", "b"), [1, -1, 2, 0]),
        (("0", "", "1", "-1"), ("-1", "0", "1"), [1, -1, 2, 0]),
        (("5", "1", "3"), ("1", "3", "5"), [2, 0, 1]),
        (("0", "x"), ("0", "x"), [0, 1]),
        (("--5", "1"), ("--5", "1"), [0, 1]),
        (("1.0", "0.0"), None, [1, 0]),
        (("TRUE", "False"), ("false", "true"), [1, 0]),
        (("['b']", "['a']"), ("a", "b"), [1, 0]),
        (("9" * 30, "1"), ("1", "9" * 30), [1, 0]),
    ],
)
def test_labels_of_a_csv(
    read: Load, labels: tuple[str, ...], names: tuple[str, ...] | None, numbers: list[int]
) -> None:
    source = read({"train.csv": csv(*labels)})
    assert source.label_names == names
    assert source.split("train").label.tolist() == numbers


def test_given_names_that_are_numbers_are_names(read: Load) -> None:
    stars = read({"train.csv": csv("1", "3", "2")}, label_names=("1", "2", "3"))
    assert stars.split("train").label.tolist() == [0, 2, 1]
    with pytest.raises(
        SpecError, match="the numbers begin at 1, so it is not clear which one 'bad' is"
    ):
        read({}, label_names=("bad", "fair", "good", "best"))
    numbered = read({"labels.json": '{"1": "bad", "2": "fair", "3": "good"}'})
    assert (numbered.label_names, numbered.split("train").label.tolist()) == (
        ("bad", "fair", "good"),
        [0, 2, 1],
    )


def test_whether_a_csv_holds_numbers_is_decided_over_all_files(read: Load) -> None:
    source = read({"train.csv": csv("1", "x"), "dev.csv": csv("1")})
    assert source.label_names == ("1", "x")
    assert source.splits["dev"].label.tolist() == [0]


@pytest.mark.parametrize(
    ("values", "line", "said"),
    [
        (("a", 1), 2, "found 1 (int after str)"),
        ((1, "a"), 2, "found 'a' (str after int)"),
        ((0, True), 2, "found True (bool after int)"),
    ],
)
def test_labels_of_another_kind_are_refused_by_line(
    read: Load, values: Any, line: int, said: str
) -> None:
    message = refused(read, {"train.jsonl": labelled(*values)})
    assert message.startswith(
        f"/train.jsonl line {line}: column 'label': expected labels all strings, all integers"
    )
    assert said in message


@pytest.mark.parametrize(
    ("values", "names", "line", "said"),
    [
        ((0, 3), ("a", "b"), 2, "from 0 to 1, the number of one of a, b, found 3. Correct the row"),
        (
            (0, -1),
            ("a", "b"),
            2,
            "found -1. Correct the row, leave the field empty where there is no label",
        ),
        (("a", "z"), ("a", "b"), 2, "among a, b, found 'z'. Correct"),
    ],
)
def test_labels_out_of_range_are_refused_by_line(
    read: Load, values: Any, names: tuple[str, ...] | None, line: int, said: str
) -> None:
    message = refused(read, {"train.jsonl": labelled(*values)}, label_names=names)
    assert message.startswith(f"/train.jsonl line {line}: expected a label")
    assert said in message


@pytest.mark.parametrize(
    "content", ['["a", "a"]', '["a", ""]', "[]", "{}", '"a"', "[1]", "nonsense", '{"labels": "a"}']
)
def test_label_names_are_checked(read: Load, content: str) -> None:
    message = refused(read, {"train.jsonl": labelled("a"), "labels.json": content})
    assert message.startswith("/labels.json: expected")


@pytest.mark.parametrize("names", [("a", "b", "a"), ("a", ""), ()])
def test_given_label_names_are_checked(read: Load, names: tuple[str, ...]) -> None:
    message = refused(read, {"train.jsonl": labelled("a")}, label_names=names)
    assert message.startswith("--labels: expected label names, each once and none empty")
