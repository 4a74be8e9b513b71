"""Entities of a text, marked for a classifier of relations."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.data.sources.presets import mark, marked
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError


def spans(length: int) -> st.SearchStrategy[list[int]]:
    bounds = st.tuples(st.integers(0, length - 1), st.integers(0, length - 1)).map(sorted)
    return bounds.map(lambda b: list(range(b[0], b[1] + 1)))


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), spans(n), spans(n))))
def test_marks_stand_around_their_entities_whatever_these_share(
    case: tuple[int, list[int], list[int]],
) -> None:
    length, head, tail = case
    tokens = [f"w{i}" for i in range(length)]
    found = mark(tokens, head, tail).split(" ")
    marks = {"[E1]", "[/E1]", "[E2]", "[/E2]"}
    assert [word for word in found if word not in marks] == tokens
    assert len(found) == length + 4
    for name, places in (("E1", head), ("E2", tail)):
        inside = found[found.index(f"[{name}]") : found.index(f"[/{name}]")]
        assert [word for word in inside if word not in marks] == [tokens[i] for i in places]
    inner, outer = ("E1", "E2") if set(head) <= set(tail) else ("E2", "E1")
    if set(head) <= set(tail) or set(tail) < set(head):
        order = [found.index(m) for m in (f"[{outer}]", f"[{inner}]", f"[/{inner}]", f"[/{outer}]")]
        assert order == sorted(order)


@pytest.mark.parametrize(
    ("head", "tail", "expected"),
    [
        ([0], [2, 3], "[E1] Oslo [/E1] in [E2] the north [/E2] ."),
        ([2, 3], [0], "[E2] Oslo [/E2] in [E1] the north [/E1] ."),
        ([0, 1], [2], "[E1] Oslo in [/E1] [E2] the [/E2] north ."),
        ([2], [0, 1], "[E2] Oslo in [/E2] [E1] the [/E1] north ."),
        ([1, 2], [2, 3], "Oslo [E1] in [E2] the [/E1] north [/E2] ."),
        ([0, 3], [2], "[E1] Oslo in [E2] the [/E2] north [/E1] ."),
    ],
)
def test_the_form_of_marks(head: list[int], tail: list[int], expected: str) -> None:
    assert mark(["Oslo", "in", "the", "north", "."], head, tail) == expected


def entities(**change: Any) -> Table:
    row = {"tokens": ["a", "b"], "head": {"indices": [[0]]}, "tail": {"indices": [[1]]}} | change
    return Table("set", {name: [value] for name, value in row.items()}, range(1), True, "row")


COLUMNS = ("tokens", "head", "tail")


def test_the_first_mention_is_marked() -> None:
    table = marked(entities(head={"indices": [[1], [0]]}), COLUMNS, "text")
    assert table.columns["text"] == ["a [E2] [E1] b [/E1] [/E2]"]


@pytest.mark.parametrize(
    "head", [{"indices": []}, {"indices": [[]]}, {"indices": [[2]]}, {"indices": [[-1]]}, {}, None]
)
def test_an_entity_without_a_place_is_refused_by_row(head: Any) -> None:
    with pytest.raises(
        SpecError, match="set, row 0: expected tokens, and in head and tail places of them, found"
    ):
        marked(entities(head=head), COLUMNS, "text")


def test_a_table_without_entities_is_refused() -> None:
    table = entities()
    with pytest.raises(SpecError, match="set: no column 'tail', found tokens, head"):
        marked(
            replace(table, columns={n: c for n, c in table.columns.items() if n != "tail"}),
            COLUMNS,
            "text",
        )
