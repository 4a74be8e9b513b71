"""A method of one's own: the same loss as ours where it says the same, and its faults in one line."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import logitcache
from logitcache.config.own import named
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.reporter import SILENT
from logitcache.student.methods import objective
from logitcache.study.plan import load_spec
from tests.runs import result


class Kd(logitcache.Term):
    """Our own KD, written out (Kobyzev et al. 2023, eq. 1)."""

    def __init__(self, alpha: float = 0.5) -> None:
        self.alpha = alpha

    def __call__(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        assert teacher is not None
        hard = F.cross_entropy(logits, labels, reduction="none")
        soft = -(teacher.softmax(1) * logits.log_softmax(1)).sum(1)
        return (1 - self.alpha) * hard + self.alpha * soft


class Hinge(logitcache.Term):
    """A loss without a teacher."""

    needs_teacher = False

    def __call__(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        assert teacher is None
        return F.multi_margin_loss(logits, labels, reduction="none")


@given(st.integers(0, 99), st.floats(0, 1))
def test_a_term_is_the_loss_that_it_says(seed: int, alpha: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits, teacher = torch.randn(2, 5, 3, generator=generator, dtype=torch.float32)
    labels = torch.randint(3, (5,), generator=generator)
    own = objective(named(Kd(alpha))).loss(logits, labels, teacher)
    ours = objective("kd", alpha).loss(logits, labels, teacher)
    torch.testing.assert_close(own, ours)


def test_a_run_with_a_term_is_that_of_the_method_it_is(
    finished: dict[str, Path], singles_data: Path, quick: Callable[[Path], Any], tmp_path: Path
) -> None:
    settings = quick(tmp_path)
    names = ("student", "vocabulary", "epochs", "learning_rate", "batch_size", "max_length")
    options: dict[str, Any] = {name: getattr(settings, name) for name in names}
    options |= {"cache": finished["cache"], "workspace": tmp_path, "reporter": SILENT}
    own = logitcache.train(Kd(0.5), singles_data, **options)
    logits = [
        np.stack(pq.read_table(folder / "predictions.parquet")["logits"].to_numpy())
        for folder in (own, finished["kd"])
    ]
    np.testing.assert_allclose(*logits, atol=5e-3)  # both sum in another order
    recorded = result(own)
    assert recorded["method"] == f"{__name__}:Kd(alpha=0.5)"
    assert recorded["config"]["term"]["parameters"] == {"alpha": "0.5"}
    assert own == logitcache.train(Kd(0.5), singles_data, **options)
    assert own != logitcache.train(Kd(0.4), singles_data, **options)
    assert logitcache.compare(own, finished["base"], finished["kd"]).verdict


OWN = """
from logitcache import Term

class Right(Term):
    needs_teacher = False
    def __call__(self, logits, labels, teacher):
        return logits.logsumexp(1) - logits.gather(1, labels[:, None])[:, 0]

class Shape(Right):
    def __call__(self, logits, labels, teacher):
        return logits.mean()

class Raises(Right):
    def __call__(self, logits, labels, teacher):
        return logits @ labels
"""


def test_a_named_term_is_found_and_its_faults_are_one_line(
    singles_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my_terms.py"
    path.write_text(OWN)
    options: dict[str, Any] = {"student": "1x32", "vocabulary": 150, "epochs": 1, "max_length": 32}
    options |= {"reporter": SILENT, "out": tmp_path / "run"}
    folder = logitcache.train("my_terms:Right", singles_data, **options)
    assert result(folder)["method"] == "my_terms:Right"
    options["out"] = tmp_path / "other"
    faults = {
        "my_terms:Shape": rf"{path}:10: expected a loss of each position, of shape \[32\], found \[\]",
        "my_terms:Raises": rf"my_terms:Raises: it failed: RuntimeError: .*\({path}:15\)",
        "my_terms:None": "my_terms:None: it cannot be imported: AttributeError",
        "no_terms:None": "no_terms:None: expected a module no_terms, here or installed",
        "kdd": r"expected one of base, ls, tf-reg, self-kd, kd, .*or module:Class.*mean kd\?",
        "MiniLMM": r"Did you mean minilm or minilm-v1\?",
    }
    for name, words in faults.items():
        with pytest.raises(SpecError, match=words):
            logitcache.train(name, singles_data, **options)
    assert not (tmp_path / "other").exists()
    with pytest.raises(SpecError, match="Give it to that class as a parameter"):
        logitcache.train("my_terms:Right", singles_data, alpha=0.5, **options)
    with pytest.raises(SpecError, match="Give an object"):
        logitcache.train(Hinge, singles_data, **options)


def test_another_class_in_its_place_is_another_run(
    singles_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"student": "1x32", "vocabulary": 150, "epochs": 1, "max_length": 32}
    options |= {"reporter": SILENT, "workspace": tmp_path}
    logitcache.train(Hinge(), singles_data, **options)
    monkeypatch.setattr("logitcache.config.own.inspect.getsource", lambda kind: "edited")
    with pytest.raises(FingerprintMismatch, match="term"):
        logitcache.train(Hinge(), singles_data, **options)


def test_the_worked_example_is_short_and_is_the_loss_that_it_says() -> None:
    """DIST of a student that answers as its teacher does is the loss of the labels alone."""
    folder = Path(__file__).parents[2] / "docs" / "studies" / "dist"
    text = (folder / "mymethods.py").read_text()
    assert len(text.splitlines()) <= 40
    term = runpy.run_path(str(folder / "mymethods.py"))["Dist"]()
    teacher = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 0, -1])
    hard = F.cross_entropy(teacher, labels, reduction="none", ignore_index=-1)
    torch.testing.assert_close(term(teacher, labels, teacher), hard)
    opposite = F.cross_entropy(-teacher, labels, reduction="none", ignore_index=-1)
    assert (term(-teacher, labels, teacher) > opposite).all()
    assert load_spec(folder / "dist.yaml").seeds == tuple(range(1, 9))
