"""The gradient of a language model under its vocabulary's loss is that of autograd in double
precision: tied or not, with a bias or not, in halves, accumulated, on ranks, recomputed.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from logitcache.student.losses import vocabulary
from tests.shortly import fast
from tests.student.head_cases import (
    RANK_COUNT,
    Case,
    V,
    all_executions,
    batch,
    compare,
    expected,
    rank_gradients,
    trained,
)
from tests.student.processes import run_ranks

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@pytest.mark.parametrize(
    ("tied", "bias"), fast(itertools.product((False, True), repeat=2), (True, False), (False, True))
)
def test_gradients_of_a_model(tied: bool, bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vocabulary.CHUNK_VALUES, "cpu", 4 * V)  # several chunks
    parts = [batch([0, 1]), batch([2]), batch([3, 4, 5]), batch([6], some_kept=False)]
    whole = batch([0, 1, 2, 3, 4, 5])
    total = float(whole.weight.sum())
    reference = expected(Case(tied, bias), [whole])
    choices = itertools.product(DTYPES, (1, 4), (False, True), all_executions())
    for dtype, accumulate, checkpointing, execution in choices:
        case = Case(tied, bias, dtype, accumulate, checkpointing, execution)
        own = [whole] if accumulate == 1 else parts
        compare(trained(case, own, total), reference, case)


@pytest.mark.slow
def test_ranks_with_different_numbers_of_positions(tmp_path: Path) -> None:
    choices = itertools.product((False, True), (False, True), DTYPES, (False, True))
    cases = [
        Case(tied, bias, dtype, 2, checkpointing) for tied, bias, dtype, checkpointing in choices
    ]
    run_ranks(tmp_path, RANK_COUNT, rank_gradients, cases, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("rank-*")) == ["rank-0", "rank-1"]
