from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from logitcache.records import Batch, Dense, Ragged


def ragged(rows: list[list[int]]) -> Ragged:
    lengths = np.array([len(row) for row in rows], np.int64)
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return Ragged(np.array([v for row in rows for v in row], np.int32), indptr)


def as_lists(value: Ragged) -> list[list[int]]:
    return [
        value.values[a:b].tolist() for a, b in zip(value.indptr[:-1], value.indptr[1:], strict=True)
    ]


@given(st.lists(st.lists(st.integers(0, 99), max_size=4), max_size=6), st.data())
def test_select_gives_these_rows_in_this_order(rows: list[list[int]], data: st.DataObject) -> None:
    value = ragged(rows)
    assert len(value) == len(rows)
    assert value.lengths().tolist() == [len(row) for row in rows]
    places = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)) if rows else []
    selected = value.select(np.array(places, np.int64))
    assert as_lists(selected) == [rows[i] for i in places]
    assert selected.values.dtype == np.int32
    assert selected.indptr.dtype == np.int64


def test_select_of_a_selection() -> None:
    value = ragged([[1], [], [2, 3], [4, 5, 6]])
    once = value.select(np.array([3, 1, 2]))
    assert as_lists(once.select(np.array([2, 2, 0]))) == [[2, 3], [2, 3], [4, 5, 6]]


def batch() -> Batch[Any]:
    places = np.arange(2)
    where = np.stack([places, np.zeros_like(places)], axis=1)
    target: Dense[Any] = Dense(np.array([[0.0, -1.0], [-2.0, 0.0]], np.float32))
    return Batch(
        row_id=places + 10,
        view=np.zeros_like(places),
        inputs={
            "input_ids": np.ones((2, 3), np.int64),
            "attention_mask": np.ones((2, 3), np.int64),
        },
        where=where,
        label=places,
        weight=np.ones(2, np.float32),
        targets={"logits": target},
    )


def arrays(value: Any) -> list[Any]:
    if dataclasses.is_dataclass(value):
        return [a for f in dataclasses.fields(value) for a in arrays(getattr(value, f.name))]
    if isinstance(value, dict):
        return [a for inner in value.values() for a in arrays(inner)]
    return [value]


def test_map_reaches_every_array_once_and_changes_none() -> None:
    before = batch()
    seen: list[int] = []

    def f(array: Any) -> Any:
        seen.append(id(array))
        return torch.from_numpy(array)

    after = before.map(f)
    assert sorted(seen) == sorted(map(id, arrays(before)))
    assert all(isinstance(a, torch.Tensor) for a in arrays(after))
    for one, two in zip(arrays(before), arrays(after), strict=True):
        np.testing.assert_array_equal(one, two.numpy())


def test_to_moves_every_tensor() -> None:
    moved = batch().map(torch.from_numpy).to("meta", non_blocking=True)
    assert {str(tensor.device) for tensor in arrays(moved)} == {"meta"}


def test_records_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        batch().label = np.zeros(2)  # type: ignore[misc]
