"""How a model is asked is told by evidence: small faults are seen, and nothing is changed by
looking.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from logitcache.config.teacher import DumpSettings
from logitcache.data.source import Source
from logitcache.errors import SpecError
from logitcache.models.load import load_tokenizer
from logitcache.models.probe import Probe, find_padding, padding_remark, probe_rows, tolerance
from logitcache.records import Array, Examples, Padding, Ragged, Side
from logitcache.teacher.model import TeacherModel, load_teacher
from logitcache.teacher.plan import planned
from tests.models.tiny import KINDS, LIMIT, ROWS, Kind, make
from tests.shortly import fast

pytestmark = pytest.mark.usefixtures("whole_probes")

Folder = Callable[[Kind], Path]
RIGHT, LEFT, NONE = (Padding(side, 0, 0) for side in (Side.RIGHT, Side.LEFT, Side.NONE))
LENGTHS = np.array([2, 2, 3, 5, 9, 14, 20, 20])


def rows_of(lengths: Any = LENGTHS) -> Examples:
    """Row i is i + 1, over and over."""
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    numbers = np.arange(len(lengths))
    ids = Ragged(np.repeat(numbers + 1, lengths).astype(np.int32), indptr)
    return Examples(numbers, numbers * 0, numbers, numbers, {"input_ids": ids}, numbers < 0, RIGHT)


def model(
    faults: dict[Side, float], row: int
) -> Callable[[dict[str, Array], Padding], torch.Tensor]:
    """Logits that follow from a row alone, but for one row, which moves where that side is filled."""

    def logits(inputs: dict[str, Array], padding: Padding) -> torch.Tensor:
        mask, rows = inputs["attention_mask"], inputs["input_ids"].max(axis=1)
        moved = (rows == row + 1) & (mask == 0).any(axis=1)
        fault = faults.get(padding.side, 0.0) * moved
        return torch.from_numpy(
            np.stack([np.sin(rows), np.cos(rows) + fault], axis=1).astype(np.float32)
        )

    return logits


@given(st.integers(0, 5), st.floats(1e-3, 10), st.booleans())
def test_a_row_that_moves_is_seen_whichever_it_is(row: int, fault: float, both: bool) -> None:
    faults = {Side.RIGHT: fault} | ({Side.LEFT: -fault} if both else {})
    probe = Probe(model(faults, row), rows_of(), torch.float32)
    assert probe.choose((RIGHT, LEFT), NONE) == (NONE if both else LEFT)
    assert probe.choose((LEFT, RIGHT), NONE) == (NONE if both else LEFT)
    assert Probe(model({}, row), rows_of(), torch.float32).choose((RIGHT, LEFT), NONE) == RIGHT


@given(st.floats(1e-9, 3e-6))
def test_a_rounding_is_no_fault(fault: float) -> None:
    probe = Probe(model({Side.RIGHT: fault}, 3), rows_of(), torch.float32)
    assert probe.choose((RIGHT, LEFT), NONE) == RIGHT


def test_rows_of_one_length_tell_nothing() -> None:
    probe = Probe(
        model({Side.RIGHT: 1.0, Side.LEFT: 1.0}, 0), rows_of(np.full(4, 7)), torch.float32
    )
    assert probe.choose((RIGHT, LEFT), NONE) == RIGHT


def test_an_answer_that_is_not_finite_is_compared_where_its_row_alone_is_finite() -> None:
    whole = model({}, 0)

    def broken(inputs: dict[str, Array], padding: Padding) -> torch.Tensor:
        logits = whole(inputs, padding)
        logits[torch.from_numpy(inputs["input_ids"].max(axis=1) == 3)] = torch.nan
        if padding.side is Side.RIGHT:
            logits[torch.from_numpy((inputs["attention_mask"] == 0).any(axis=1))] = torch.nan
        return logits

    assert Probe(broken, rows_of(), torch.float32).choose((RIGHT, LEFT), NONE) == LEFT


def test_a_model_that_differs_from_itself_is_refused() -> None:
    def unsteady(inputs: dict[str, Array], padding: Padding) -> torch.Tensor:
        return torch.full((len(inputs["input_ids"]), 2), 0.01) * len(inputs["input_ids"])

    with pytest.raises(SpecError, match="what it answers depends on the batch"):
        Probe(unsteady, rows_of(), torch.float32).choose((RIGHT, LEFT), NONE)


def test_a_side_that_gives_the_reference_needs_no_control() -> None:
    sizes = []

    def counting(inputs: dict[str, Array], padding: Padding) -> torch.Tensor:
        sizes.append(len(inputs["input_ids"]))
        return model({}, 0)(inputs, padding)

    assert Probe(counting, rows_of(), torch.float32).choose((RIGHT, LEFT), NONE) == RIGHT
    assert sizes == [1] * len(LENGTHS) + [len(LENGTHS), len(LENGTHS) // 2]


def test_the_tolerance_is_the_models_own_difference_from_itself() -> None:
    reference = np.array([[3.0, -4.0], [np.nan, 1.0]])
    assert tolerance(torch.float32, reference, 0.0) == pytest.approx(6e-5)
    assert tolerance(torch.float32, reference, 0.01) == pytest.approx(0.1)
    assert tolerance(torch.bfloat16, reference, 0.0) > tolerance(torch.float16, reference, 0.0)


def test_rows_are_of_several_lengths_for_certain(kind_folder: Folder, mixed: Source) -> None:
    tokenizer = load_tokenizer(str(kind_folder(KINDS[0])))
    same = mixed.split("train").select(np.zeros(5, np.int64))
    for rows in (mixed.split("train"), same):
        lengths = probe_rows(tokenizer, rows, LIMIT).lengths()
        assert lengths.min() <= 6
        assert lengths.max() == LIMIT
        assert len(np.unique(lengths)) >= 6


@pytest.mark.parametrize("seed", fast(range(12), 0, 1))
def test_an_xlnet_is_padded_on_the_left_whatever_its_weights(
    mixed: Source, tmp_path: Path, seed: int
) -> None:
    teacher = load_teacher(str(make(Kind("xlnet", "xlnet", "right"), tmp_path, seed)), device="cpu")
    asked = planned(teacher, mixed, "train", DumpSettings(LIMIT))
    assert asked.panel.first.padding.side is Side.LEFT
    assert asked.plan.preparation["padding"] == {"side": "left", "token": 1, "mask": True}
    assert (
        "rows are padded on the left: with padding on the right, as its tokenizer says"
        in asked.note
    )


def test_remarks_are_of_what_is_not_the_tokenizers_own() -> None:
    assert padding_remark(RIGHT, RIGHT) == ""
    assert "equal length" in padding_remark(NONE, RIGHT)


def test_looking_changes_nothing(kind_folder: Folder, mixed: Source) -> None:
    teacher = load_teacher(str(kind_folder(KINDS[0])), device="cpu")
    teacher.model.train()
    before = (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]
    found = find_padding(
        teacher.model,
        teacher.tokenizer,
        teacher.padding,
        mixed.split("train"),
        LIMIT,
        torch.float32,
    )
    assert found == teacher.padding
    assert teacher.model.training
    assert before == (
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),
    )  # type: ignore[index]


def test_memory_for_the_longest_rows_is_not_needed(
    kind_folder: Folder, mixed: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows to be asked about may all be short."""
    teacher = load_teacher(str(kind_folder(Kind("xlnet", "xlnet", "right"))), device="cpu")
    whole = teacher.model.forward

    def small(input_ids: torch.Tensor, **inputs: Any) -> Any:
        if input_ids.shape[1] > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(input_ids=input_ids, **inputs)

    monkeypatch.setattr(teacher.model, "forward", small)
    assert (
        planned(teacher, mixed, "train", DumpSettings(LIMIT)).panel.first.padding.side is Side.LEFT
    )
    monkeypatch.setattr("logitcache.models.probe.LEAST", LIMIT + 1)
    with pytest.raises(SpecError, match="out of memory"):
        planned(teacher, mixed, "train", DumpSettings(LIMIT))


def test_a_teachers_folds_are_asked_alike(kind_folder: Folder, mixed: Source) -> None:
    from logitcache.teacher.panel import FoldTeachers

    path = str(kind_folder(Kind("xlnet", "xlnet", "right")))
    folds = FoldTeachers([lambda: load_teacher(path, device="cpu")] * 2)
    asked = planned(folds, mixed, "train", DumpSettings(LIMIT))
    used: list[TeacherModel] = [
        teacher for teacher, _ in asked.panel.assign(asked.prepare(0, ROWS))
    ]
    assert {teacher.padding for teacher in used} == {replace(folds.first.padding, side=Side.LEFT)}
