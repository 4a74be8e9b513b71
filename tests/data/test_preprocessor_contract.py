"""What every preprocessor must do: rows to tokens, each row for itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.data.collate import pad
from logitcache.data.preprocess.tokens import prepare
from logitcache.models.load import KNOWN_INPUTS
from logitcache.records import Examples
from tests.data.tasks_by_name import CASES, Case

LENGTH = 16


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]()


def row_of(examples: Examples, place: int) -> dict[str, list[int]]:
    columns = {**examples.inputs, **examples.units}
    return {
        name: column.select(np.array([place])).values.tolist() for name, column in columns.items()
    }


def test_rows_keep_who_they_are(case: Case) -> None:
    examples = prepare(case.tokenizer, case.rows, LENGTH)
    assert examples.row_id.tolist() == case.rows.row_id.tolist()
    assert examples.row_hash.tolist() == case.rows.row_hash.tolist()
    assert examples.label.tolist() == case.rows.label.tolist()
    assert (examples.lengths() >= 1).all()
    assert (examples.lengths() <= LENGTH).all()
    assert set(examples.inputs) <= {*KNOWN_INPUTS, "position_ids"}
    assert {column.indptr.tobytes() for column in examples.inputs.values()} == {
        examples.inputs["input_ids"].indptr.tobytes()
    }


def test_a_row_is_the_same_alone_and_among_others(case: Case) -> None:
    whole = prepare(case.tokenizer, case.rows, LENGTH)

    @given(st.integers(0, len(case.rows)), st.integers(0, len(case.rows)))
    def check(one: int, other: int) -> None:
        start, stop = sorted((one, other))
        part = prepare(case.tokenizer, case.rows, LENGTH, start, stop)
        assert len(part) == stop - start
        for place in range(start, stop, 5):
            assert row_of(part, place - start) == row_of(whole, place)

    check()


def test_a_selection_has_the_tokens_of_its_rows(case: Case) -> None:
    places = np.arange(len(case.rows))[::-2]
    whole = prepare(case.tokenizer, case.rows, LENGTH)
    chosen = prepare(case.tokenizer, case.rows.select(places), LENGTH)
    for number, place in enumerate(places):
        assert row_of(chosen, number) == row_of(whole, int(place))
    assert chosen.row_id.tolist() == places.tolist()


def test_a_batch_is_filled_up_and_nothing_else(case: Case) -> None:
    examples = prepare(case.tokenizer, case.rows, LENGTH)
    inputs = pad(examples, np.arange(len(examples)))
    real = inputs["attention_mask"] == 1
    assert real.sum(axis=1).tolist() == examples.lengths().tolist()
    for name, column in examples.inputs.items():
        assert inputs[name][real].tolist() == column.values.tolist()
    if str(examples.padding.side) == "left":
        assert real[:, -1].all()
