"""A batch of rows with any number of positions: which vector, label and answer belong to which
token.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.data.collate import Collator
from logitcache.models.call import at_positions
from logitcache.records import (
    LOGITS,
    Answers,
    Dense,
    Examples,
    Int64,
    Padding,
    Positions,
    Ragged,
    Side,
)

ROWS, WIDTH = 9, 2
LENGTHS = np.array([3, 1, 5, 2, 4, 1, 6, 2, 3])


class EveryToken:
    """A task that asks about each token; its label is its id modulo 3, less 1."""

    @staticmethod
    def positions(rows: Examples, places: Int64) -> Positions:
        ids = rows.inputs["input_ids"].select(places)
        token = np.arange(len(ids.values)) - np.repeat(ids.indptr[:-1], ids.lengths())
        weight = np.ones(len(token), np.float32)
        return Positions(ids.indptr, token, token, ids.values % 3 - 1, weight)


@dataclass(frozen=True)
class Partly:
    """A teacher that answers with (row, number) at the positions whose number this divides."""

    divisor: int

    def take(self, row_id: Int64, row_hash: Int64, view: Int64) -> Answers:
        numbers = [np.arange(0, LENGTHS[row], self.divisor) for row in row_id]
        counts = np.array([len(each) for each in numbers], np.int64)
        index = np.concatenate([np.empty(0, np.int64), *numbers])
        logits = np.stack([np.repeat(row_id, counts), index], axis=1).astype(np.float32)
        return Answers(
            row_id, np.concatenate([[0], np.cumsum(counts)]), index, {LOGITS: Dense(logits)}
        )


def examples(side: Side) -> Examples:
    """Token t of row r is 10 r + t + 1."""
    indptr = np.concatenate([[0], np.cumsum(LENGTHS)])
    token = np.arange(indptr[-1]) - np.repeat(indptr[:-1], LENGTHS)
    ids = Ragged(10 * np.repeat(np.arange(ROWS), LENGTHS) + token + 1, indptr)
    n = np.arange(ROWS)
    return Examples(n, n * 0, n, n, {"input_ids": ids}, n < 0, Padding(side, 0, 0))


@settings(deadline=None)
@given(
    st.lists(st.integers(-1, ROWS - 1), min_size=1, max_size=8),
    st.sampled_from(["right", "left"]),
    st.lists(st.integers(1, 3), max_size=2, unique=True),
)
def test_every_position_has_its_own_vector_label_and_answer(
    places: list[int], side: str, divisors: list[int]
) -> None:
    task: Any = EveryToken()
    teachers = {str(divisor): Partly(divisor) for divisor in divisors}
    batch = Collator(examples(Side(side)), task, teachers)(np.array(places))
    rows = batch.row_id[batch.where[:, 0]]
    answered = [
        t for row in batch.row_id for t in range(LENGTHS[row]) if all(t % d == 0 for d in divisors)
    ]
    token = batch.inputs["input_ids"][batch.where[:, 0], batch.where[:, 1]]
    assert token.tolist() == (10 * rows + np.array(answered, np.int64) + 1).tolist()
    assert batch.label.tolist() == (token % 3 - 1).tolist()
    assert batch.weight.tolist() == [float(places[row] >= 0) for row in batch.where[:, 0]]
    for target in batch.targets.values():
        assert (
            target.logits.tolist() == np.stack([rows, answered], axis=1).astype(np.float32).tolist()
        )


def test_a_student_gathers_before_its_loss() -> None:
    logits = torch.arange(24.0).reshape(2, 4, 3)
    where = torch.tensor([[0, 1], [1, 0], [1, 3]])
    assert at_positions(logits, where).tolist() == [
        logits[0, 1].tolist(),
        logits[1, 0].tolist(),
        logits[1, 3].tolist(),
    ]
    assert at_positions(logits[:, 0], where).tolist() == logits[[0, 1, 1], 0].tolist()


def test_views_reach_the_teacher() -> None:
    seen: list[Any] = []

    class Spy(Partly):
        def take(self, row_id: Int64, row_hash: Int64, view: Int64) -> Answers:
            seen.append((row_id.tolist(), view.tolist()))
            return super().take(row_id, row_hash, view)

    rows = replace(examples(Side.RIGHT), view=np.arange(ROWS) % 4)
    batch = Collator(rows, EveryToken(), {"spy": Spy(1)})(np.array([7, 2, 7]))  # type: ignore[arg-type]
    assert seen == [([7, 2, 7], [3, 2, 3])]
    assert batch.view.tolist() == [3, 2, 3]
