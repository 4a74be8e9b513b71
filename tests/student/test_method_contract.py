"""What every method keeps to, one registered from outside included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from logitcache.config.methods import METHODS, Method, Mixture
from logitcache.student.methods import objective

HALF_AND_HALF = """
from logitcache.config.methods import METHODS, Method, Mixture

def half_and_half(alpha, a, width):
    return Mixture(label=1 - alpha, uniform=alpha / 2, teacher=alpha / 2)

METHODS["half"] = Method("Half", half_and_half, alpha=0.4, needs_teacher=True)
"""
NAMES = [*METHODS, "half"]


@pytest.fixture(autouse=True, scope="module")
def half() -> Iterator[None]:
    """A sixth method, as a user would add it."""
    exec(HALF_AND_HALF, {})
    yield
    del METHODS["half"]


def method(name: str) -> Method:
    return METHODS[name]


@pytest.mark.parametrize("name", NAMES)
@given(alpha=st.floats(0, 1), a=st.floats(0.01, 0.99), width=st.integers(2, 50_000))
def test_the_parts_of_a_target_sum_to_one(name: str, alpha: float, a: float, width: int) -> None:
    mixture = method(name).mixture(alpha, a, width)
    assert mixture.label + mixture.uniform + mixture.teacher == pytest.approx(1)
    assert mixture.uniform >= 0
    assert mixture.teacher >= 0


@pytest.mark.parametrize("name", NAMES)
def test_without_a_soft_part_the_label_is_the_target(name: str) -> None:
    assert method(name).mixture(0.0, 0.95, 5) == Mixture(label=1.0)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_learns_from_a_teacher_if_and_only_if_it_says_so(name: str) -> None:
    assert (method(name).mixture(1.0, 0.95, 5).teacher > 0) == method(name).needs_teacher
    assert method(name).needs_teacher or not method(name).self_taught


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 999), width=st.integers(2, 9), temperature=st.sampled_from([1.0, 3.0]))
def test_the_loss_is_the_cross_entropy_against_the_mixture(
    name: str, seed: int, width: int, temperature: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    z, teacher = (torch.randn(5, width, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(width, (5,), generator=generator)
    goal = objective(name, temperature=temperature if method(name).needs_teacher else None)
    loss = goal.loss(z, labels, teacher if method(name).needs_teacher else None)
    parts = method(name).mixture(goal.alpha, goal.a or 0.0, width)
    label_part = parts.label * torch.nn.functional.one_hot(labels, width) + parts.uniform / width
    expected = -(label_part * z.log_softmax(1)).sum(1)
    softened = (teacher / temperature).softmax(1)
    expected -= (
        goal.soft_factor * parts.teacher * (softened * (z / temperature).log_softmax(1)).sum(1)
    )
    np.testing.assert_allclose(loss, expected, rtol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_no_positions_give_no_loss(name: str) -> None:
    z = torch.zeros(0, 4, requires_grad=True)
    loss = objective(name).loss(z, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4))
    loss.sum().backward()
    assert loss.shape == (0,)
    assert z.grad is not None


@pytest.mark.slow
@pytest.mark.timeout(600)  # four commands, each of which loads torch
def test_a_method_of_ones_own_trains_from_the_command_line(tmp_path: Path) -> None:
    """One entry in a table is all: options, training, the result's record and the comparison know
    it.
    """
    rows = [
        {"text": f"{'good' if i % 2 else 'bad'} film {i}", "label": f"{i % 2}"} for i in range(80)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    body = "import sys\nfrom logitcache_cli.main import cli\ncli(sys.argv[1:])"
    lines = (
        "train --method base --data rows.jsonl --student 1x16 --epochs 1 --out base",
        "dump --data rows.jsonl --teacher base --finetune never --out cache",
        "train --method half --alpha 0.5 --data rows.jsonl --student 1x16 --epochs 1 --cache cache --out half",
        "compare base half --json",
    )
    for line in lines:
        command = [sys.executable, "-c", HALF_AND_HALF + body, *line.split()]
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
    assert {row["method"] for row in json.loads(done.stdout)["rows"]} == {"base", "half"}
    assert json.loads((tmp_path / "half" / "run.json").read_text())["alpha"] == 0.5
