"""A precision that the processor emulates is named before hours are spent on it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from logitcache.config.train import TrainConfig
from logitcache.models import emulation
from logitcache.models.emulation import slowdown
from logitcache.reporter import Notes
from logitcache.stages.job import resolve

CPU = torch.device("cpu")


@pytest.mark.parametrize(("factor", "is_noted"), [(25.0, True), (0.9, False)])
def test_an_emulated_precision_is_noted(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, factor: float, is_noted: bool
) -> None:
    seconds = {torch.float32: 1.0, torch.bfloat16: factor}
    monkeypatch.setattr(emulation, "_seconds", seconds.__getitem__)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: None)
    notes: list[str] = []
    resolve(replace(config, precision="bf16"), None, Notes(notes.append))
    noted = [note for note in notes if note.startswith("--precision bf16")]
    assert bool(noted) is is_noted
    assert all("takes 25 times as long as in float32" in note for note in noted)


def test_single_precision_and_gpus_are_not_timed() -> None:
    assert slowdown(torch.float32, CPU) == 1.0
    assert slowdown(torch.bfloat16, torch.device("cuda")) == 1.0


def test_timing_leaves_the_number_of_threads() -> None:
    threads = torch.get_num_threads()
    assert slowdown(torch.bfloat16, CPU) > 0
    assert torch.get_num_threads() == threads
