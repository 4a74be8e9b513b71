"""Training steps that are timed are the ones users run: the same batches for all, the same losses
as by other ways.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from logitcache.bench.added import added
from logitcache.bench.answering import answered
from logitcache.bench.phases import PHASES, phases
from logitcache.bench.steps import Cases, student_of
from logitcache.bench.workload import load
from logitcache.config.bench import CASES


@pytest.fixture(scope="module")
def cases(real: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    work = load(real)
    made = Cases(work, answered(work, tmp_path_factory.mktemp("cache") / "cache", "float32").cache)
    yield made
    made.close()


def seen(cases: Cases, name: str, steps: int) -> tuple[list[np.ndarray[Any, Any]], list[float]]:
    """What the student of a case reads, and its losses, while its weights stay as they are."""
    case, inputs, losses = cases.case(name), [], []
    case.trainer.args.learning_rate = 0.0
    hook = student_of(case.trainer).register_forward_pre_hook(
        lambda module, args, kwargs: inputs.append(kwargs["input_ids"].numpy().copy()),
        with_kwargs=True,
    )
    whole = case.trainer.compute_loss

    def kept(*args: Any, **kwargs: Any) -> Any:
        loss = whole(*args, **kwargs)
        losses.append(float(loss.detach()))
        return loss

    case.trainer.compute_loss = kept
    case.block(0, steps)
    hook.remove()
    return inputs, losses


def test_all_cases_read_the_same_batches(cases: Cases) -> None:
    expected, _ = seen(cases, "ls", 5)
    assert len(expected) == 5
    for name in CASES:
        found, _ = seen(cases, name, 5)
        assert all(
            np.array_equal(one, other) for one, other in zip(expected, found, strict=True)
        ), name


def test_the_stock_trainer_has_the_loss_that_ours_has(cases: Cases) -> None:
    assert seen(cases, "trainer-ls", 5)[1] == pytest.approx(seen(cases, "ls", 5)[1], rel=1e-5)


def test_a_teacher_in_the_loop_says_what_the_cache_says(cases: Cases) -> None:
    assert seen(cases, "kd-online", 5)[1] == pytest.approx(seen(cases, "kd", 5)[1], rel=1e-4)
    assert seen(cases, "kd", 5)[1] != pytest.approx(seen(cases, "ls", 5)[1], rel=1e-3)


def test_a_block_counts_its_steps_and_no_others(cases: Cases) -> None:
    case = cases.case("base")
    assert len(case.block(2, 3)) == 3
    assert case.trainer.state.global_step == 5
    assert len(case.block(1, 4)) == 4
    case.clock.singly = False  # as on a device that is not waited for: one mean
    assert len(case.block(1, 4)) == 1


def test_the_phases_of_a_step_add_up(cases: Cases) -> None:
    for name in ("ls", "kd", "kd-online", "trainer-ls"):
        case = cases.case(name)
        found = phases(case, 1, 3)
        assert tuple(found) == PHASES
        assert min(found.values()) >= 0
        assert all(
            found[phase] > 0
            for phase in ("data", "forward", "loss", "backward", "optimiser", "rest")
        )
        assert (found["target"] > 0) == (name in ("kd", "kd-online")), name
        before = case.trainer.compute_loss
        assert before.__name__ == "compute_loss"  # the stopwatches are gone


def test_the_added_work_is_told_piece_by_piece(cases: Cases) -> None:
    found = added(cases.work, cases.cache, lambda: None, repeats=20)  # type: ignore[arg-type]
    assert len(found.pieces) == 3
    assert found.seconds == pytest.approx(sum(found.pieces.values()))
    assert found.label_smoothing > 0


def test_a_teacher_with_another_tokenizer_reads_its_own(
    tiny: Any, real: Any, tmp_path: Path
) -> None:
    work = load(replace(real, student="1x32", rows=20))
    assert not work.same_inputs
    made = Cases(work, answered(work, tmp_path / "cache", "float32").cache)
    online, cached = (seen(made, name, 3)[1] for name in ("kd-online", "kd"))
    made.close()
    assert online == pytest.approx(cached, rel=1e-4)


def test_an_optimisers_moments_are_let_go_after_its_block(cases: Cases) -> None:
    for name in ("ls", "kd", "trainer-ls"):
        cases.case(name).block(1, 1)
    optimisers = [
        held for held in gc.get_objects() if issubclass(type(held), torch.optim.Optimizer)
    ]
    assert not [optimiser for optimiser in optimisers if optimiser.state]
