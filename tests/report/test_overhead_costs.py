"""The page's part on costs in all: as far as they were measured, and the paper's own protocol."""

from __future__ import annotations

from pathlib import Path

import pytest

from logitcache.report import overhead
from logitcache.report.blocks import Block
from logitcache.report.charts import Curves
from logitcache.report.documents import Part
from tests.report import fake_benches as fakes
from tests.report.fake_benches import Told

COSTS, PAPER = "What it costs in all", "What the paper's protocol costs"


def blocks(costs: Told | None) -> dict[str, Block]:
    """The section's blocks by their titles."""
    told = fakes.overhead() | {"costs": costs}
    return {
        block.title: block for block in overhead.overhead_section(Part(told, Path("a.json"))).blocks
    }


def partly(*lacking: str) -> Told:
    """Costs as a bench tells them that lacks these lines."""
    told = fakes.costs() | dict.fromkeys(("protocol", "paper_protocol", "kwh", "money"))
    told["hours"] |= dict.fromkeys(lacking)
    return told if not {"online", "cached"} & set(lacking) else told | {"break_even_epochs": None}


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_without_all_five_methods_the_break_even_and_its_curves_are_there() -> None:
    block = blocks(partly("base"))[COSTS]
    assert block.caption == "The cache has paid for itself after 1.53 epochs × students."
    assert isinstance(block.picture, Curves)
    assert [line.key for line in block.picture.lines] == ["ls", "online", "cached"]
    assert block.picture.mark is not None
    assert block.table is None


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        (("online",), "not told: Online KD was not measured."),
        (("base", "online", "cached"), "not told: Cached KD and Online KD were not measured."),
    ],
)
def test_a_break_even_that_was_not_measured_is_no_never(
    lacking: tuple[str, ...], said: str
) -> None:
    block = blocks(partly(*lacking))[COSTS]
    assert plain(block.caption).startswith("150 epochs × students take ")
    assert "2,731 s (LS)" in plain(block.caption)
    assert block.caption.endswith(said)
    assert isinstance(block.picture, Curves)
    assert block.picture.mark is None


def test_the_papers_protocol_stands_by_itself_where_another_was_asked() -> None:
    asked = fakes.costs(epochs=3, seeds=2)
    paper = {**fakes.costs()["protocol"], "cached_hours": 10.0, "online_hours": 20.0}
    block = blocks(asked | {"paper_protocol": paper})[PAPER]
    assert plain(block.caption) == (
        "At these speeds the paper's 30 epochs of 5 seeds of 5 methods take 10.0 h from a cache "
        "and 20.0 h with the teacher in the loop."
    )
    assert block.table is not None
    assert block.table.rows[0] == ("from a cache, its dumps too", "10.0")
    assert len(block.table.rows) == 4


def test_the_papers_protocol_is_not_told_twice_nor_looked_for_in_older_documents() -> None:
    older = fakes.costs(epochs=3, seeds=2)
    same = fakes.costs() | {"paper_protocol": fakes.costs()["protocol"]}
    for costs in (older, same, older | {"paper_protocol": None}):
        found = blocks(costs)
        assert PAPER not in found
        assert "from a cache and" in found[COSTS].caption


def test_expectations_of_epochs_that_are_not_told_name_no_number() -> None:
    block = blocks(None)["Measured beside expected"]
    assert block.table is not None
    assert [row[0] for row in block.table.rows[-2:]] == [
        "all epochs from a cache, its dump too",
        "all runs from one cache",
    ]
