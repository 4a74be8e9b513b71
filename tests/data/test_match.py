"""Which column answers for which class: by name, by spelling, by number, by a map; or a refusal
whose advice works.
"""

from __future__ import annotations

import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.config.labels import parse_map, parse_names
from logitcache.data.match import Kind, Match, match_labels, shown
from logitcache.data.names import class_number, folded, integer, map_option
from logitcache.data.tasks.classification import Classification
from logitcache.errors import FingerprintMismatch, SpecError

NAMES = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=8, unique=True)


def matched(
    own: tuple[str, ...], data: tuple[str, ...] | int, label_map: dict[str, str] | None = None
) -> Match:
    task = Classification(data, None) if isinstance(data, int) else Classification(len(data), data)
    return match_labels(own, task, "a teacher", label_map)


def refused(own: tuple[str, ...], data: tuple[str, ...] | int) -> str:
    with pytest.raises(FingerprintMismatch) as caught:
        matched(own, data)
    message = str(caught.value)
    assert message.startswith("a teacher: ")
    return message


@given(NAMES, st.randoms(use_true_random=False))
def test_columns_are_permuted_by_name(names: list[str], draw: object) -> None:
    theirs = list(names)
    draw.shuffle(theirs)  # type: ignore[attr-defined]
    match = matched(tuple(theirs), tuple(names))
    assert match.names == tuple(names)
    assert match.kind is (Kind.SAME if theirs == names else Kind.PERMUTED)


@pytest.mark.parametrize(
    ("own", "data", "kind", "order"),
    [
        (("POSITIVE", "NEGATIVE"), ("negative", "positive"), Kind.SPELLED, [1, 0]),
        (("Very-Good", "not_so good"), ("not so good", "very good"), Kind.SPELLED, [1, 0]),
        (("True", "False"), ("false", "true"), Kind.SPELLED, [1, 0]),
        (("NEG", "POS"), 2, Kind.NUMBERED, [0, 1]),
        (("2", "0", "1"), 3, Kind.NUMBERED, [1, 2, 0]),
        (("LABEL_1", "label 0"), 2, Kind.NUMBERED, [1, 0]),
        (("True", "False"), 2, Kind.NUMBERED, [1, 0]),
        (("LABEL_1", "LABEL_0"), ("false", "true"), Kind.NUMBERED, [1, 0]),
        (("LABEL_2", "LABEL_1"), ("1", "2"), Kind.NUMBERED, [1, 0]),
        (("LABEL_0", "LABEL_1"), ("a", "b"), Kind.NUMBERED, [0, 1]),
        (("LABEL_1", "LABEL_0"), ("a", "b"), Kind.NUMBERED, [1, 0]),
        (("good", "bad"), ("0", "1"), Kind.NUMBERED, [0, 1]),
        (("Pos", "pos"), ("pos", "Pos"), Kind.PERMUTED, [1, 0]),
    ],
)
def test_what_is_matched(
    own: tuple[str, ...], data: tuple[str, ...] | int, kind: Kind, order: list[int]
) -> None:
    match = matched(own, data)
    assert (match.kind, match.order.tolist()) == (kind, order)


@pytest.mark.parametrize(
    ("own", "data"),
    [
        (("a", "b"), ("a", "c")),
        (("a", "a"), ("a", "b")),
        (("a", "a"), 2),
        (("Pos", "pos"), ("POS", "neg")),
        (("1", "2"), 2),
        (("1 star", "2 stars"), ("1", "2")),
        (("NEG", "POS"), ("false", "true")),
        (("NEG", "POS"), ("2", "4")),
        (("LABEL_0", "LABEL_1", "LABEL_2"), ("-1", "0", "1")),
        (("x", "0"), 2),
        (("LABEL_0", "LABEL_1"), ("1", "a")),
        (("A", "A-"), ("a+", "a")),
        (("a, b", "c=d"), ("x=y", "z")),
        (("tab\there", "it's"), ("{a", " b")),
        (tuple(f"t{i}" for i in range(12)), tuple(f"d{i}" for i in range(12))),
    ],
)
def test_other_labels_are_refused_with_a_map_that_works(
    own: tuple[str, ...], data: tuple[str, ...] | int
) -> None:
    message = refused(own, data)
    option, value = shlex.split(message[message.index("--label-map") :])
    assert option == "--label-map"
    match = matched(own, data, parse_map(value))
    assert match.kind is Kind.MAPPED
    assert sorted(match.order) == list(range(len(own)))


def test_advice_pairs_what_can_be_paired() -> None:
    stars = ("3 stars", "1 star", "2 stars")
    assert matched(
        stars, ("1", "2", "3"), advised(refused(stars, ("1", "2", "3")))
    ).order.tolist() == [1, 2, 0]
    other = ("x", "NEG")
    assert matched(
        other, ("neg", "pos"), advised(refused(other, ("neg", "pos")))
    ).order.tolist() == [1, 0]
    signed = ("LABEL_0", "LABEL_1", "LABEL_2")
    assert matched(
        signed, ("-1", "0", "1"), advised(refused(signed, ("-1", "0", "1")))
    ).order.tolist() == [0, 1, 2]


def advised(message: str) -> dict[str, str]:
    return parse_map(shlex.split(message[message.index("--label-map") :])[1])


@pytest.mark.parametrize(
    ("own", "data", "labels"),
    [
        (("neg", "neu", "pos"), ("Neg", "pos"), ["neg", "neu", "pos"]),
        (("LABEL_0", "LABEL_1", "LABEL_2"), 2, ["0", "1", "2"]),
        (("a", "b", "c"), 2, ["0", "1", "2"]),
        (("1 star", "2 stars", "3 stars"), ("1", "3"), ["1", "2", "3"]),
        (("bad", "fair", "good"), ("1", "2"), ["0", "1", "2"]),
    ],
)
def test_a_class_without_rows_is_mended_by_naming_all(
    own: tuple[str, ...], data: tuple[str, ...] | int, labels: list[str]
) -> None:
    message = refused(own, data)
    words = shlex.split(message[message.index("--labels") :])
    assert parse_names(words[1]) == labels
    match = matched(own, tuple(labels), parse_map(words[3]) if len(words) > 2 else None)
    assert match.order.tolist() == [0, 1, 2]


def test_another_number_of_classes_is_told_with_what_helps() -> None:
    assert "Where -1 means no label, leave the field empty" in refused(("a", "b"), ("-1", "0", "1"))
    with pytest.raises(FingerprintMismatch) as caught:
        match_labels(("neg", "pos"), Classification(5, None), "t", occurring=[0, 4])
    assert str(caught.value).endswith("--labels 0,4 --label-map 0=neg,4=pos")
    assert matched(("neg", "pos"), ("0", "4"), {"0": "neg", "4": "pos"}).order.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("label_map", "said"),
    [
        ({"c": "x"}, "expected a class of the data (a, b), found 'c'"),
        ({"a": "z"}, "expected a class of a teacher (x, y), found 'z'"),
        ({"a": "LABEL_2"}, "found 'LABEL_2'"),
        ({"a": "x", "b": "x"}, "'x' twice"),
        ({"a": "x", "A": "y"}, "'A' twice"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(label_map: dict[str, str], said: str) -> None:
    with pytest.raises(SpecError, match="--label-map: ") as caught:
        matched(("x", "y"), ("a", "b"), label_map)
    assert said in str(caught.value)


def test_a_map_of_some_classes_leaves_the_others_to_their_names() -> None:
    match = matched(("B", "x", "c"), ("a", "b", "c"), {"a": "x"})
    assert (match.kind, match.order.tolist()) == (Kind.MAPPED, [1, 0, 2])
    with pytest.raises(FingerprintMismatch):
        matched(("B", "x", "y"), ("a", "b", "c"), {"a": "x"})
    assert matched(("x", "x"), ("a", "b"), {"a": "LABEL_1", "b": "LABEL_0"}).order.tolist() == [
        1,
        0,
    ]


def test_a_match_is_shown_in_one_line() -> None:
    match = matched(("POSITIVE", "NEGATIVE"), ("negative", "positive"))
    assert shown(match).startswith(
        "labels: negative <- NEGATIVE (column 1), positive <- POSITIVE (column 0); "
    )
    many = tuple(f"class {i}" for i in range(50))
    assert len(shown(matched(many, many))) < 400


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Very Good", "very_good", True),
        ("very-good", " VERY  GOOD ", True),
        ("É", "E\u0301".lower(), True),
        ("A-", "A", False),
        ("level -1", "level 1", False),
        ("level-1", "level 1", False),
        ("-1", "1", False),
    ],
)
def test_spellings(one: str, other: str, same: bool) -> None:
    assert (folded(one) == folded(other)) is same


def test_numbers_of_names() -> None:
    texts = ("1", "1.0", "+1", "-1", "03", "1.5", "x", "")
    assert [integer(text) for text in texts] == [1, 1, 1, -1, None, None, None, None]
    assert [class_number(text) for text in ("LABEL_3", "label-3", "3", "True", "a3")] == [
        3,
        3,
        3,
        1,
        None,
    ]


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=6), st.text(min_size=1, max_size=6), min_size=1, max_size=5
    )
)
def test_an_option_that_is_printed_is_read_as_it_was_meant(pairs: dict[str, str]) -> None:
    printed = map_option(pairs)
    assert re.fullmatch(r"[^\n\r\t]+", printed)
    option, value = shlex.split(printed)
    assert (option, parse_map(value)) == ("--label-map", pairs)


@pytest.mark.parametrize(
    "text", ["", "a", "a=", "=b", "a=b,", "a=b,a=c", '{"a": 1}', '{"a"', '{"a": "b", "a": "c"}']
)
def test_what_is_no_map_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="--label-map: expected"):
        parse_map(text)


def test_spellings_of_a_class_are_not_named_as_classes() -> None:
    message = refused(("neg", "Neg", "neg.", "pos", "Pos"), ("neg", "pos"))
    assert message.endswith("write each class in one way in the answers.")
    matched(("neg", "pos"), ("neg", "pos"))
    assert "--labels a,b,c" in refused(("a", "b", "c"), ("a", "b"))


def test_a_suggested_map_pairs_names_that_begin_alike() -> None:
    message = refused(("positive", "negative"), ("neg", "pos"))
    assert message.endswith("--label-map neg=negative,pos=positive")
    message = refused(("good", "bad"), ("neg", "pos"))
    assert message.endswith("--label-map neg=bad,pos=good")
    message = refused(("dull", "lively"), ("neg", "pos"))
    assert message.endswith("--label-map neg=dull,pos=lively")  # nothing tells
    message = refused(("__label__pos", "__label__neg"), ("neg", "pos"))
    assert message.endswith("--label-map neg=__label__neg,pos=__label__pos")
    message = refused(("positive review", "negative review"), ("class neg", "class pos"))
    assert message.endswith("--label-map 'class neg=negative review,class pos=positive review'")


@pytest.mark.parametrize(
    ("own", "data", "pairs"),
    [
        (("yes", "no"), ("false", "true"), "false=no,true=yes"),
        (("POSITIVE", "NEGATIVE"), ("f", "t"), "f=NEGATIVE,t=POSITIVE"),
        (("positive", "neutral", "negative"), ("-1", "0", "1"), "-1=negative,0=neutral,1=positive"),
        (("toxic", "non_toxic"), ("no", "yes"), "no=non_toxic,yes=toxic"),
        (("three", "one", "two"), ("1", "2", "3"), "1=one,2=two,3=three"),
        (("1 star", "2 stars"), ("two", "one"), "'two=2 stars,one=1 star'"),
    ],
)
def test_a_suggested_map_goes_from_the_least_to_the_greatest(
    own: tuple[str, ...], data: tuple[str, ...], pairs: str
) -> None:
    assert refused(own, data).endswith(f"--label-map {pairs}")
