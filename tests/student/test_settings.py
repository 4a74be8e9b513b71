"""Every setting of the optimiser reaches ``TrainingArguments``, or is named here with who reads it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from logitcache.student.settings import FitSettings, arguments
from tests.student.test_trainer import SETTINGS

# read by the order of rows, by a callback, by the loss
ELSEWHERE = {"group_by_length", "checkpoint_steps", "loss_execution"}
OTHERS: dict[str, Any] = {
    "select": "best",
    "metric": "nll",
    "precision": "bf16",
    "report_to": "all",
    "accumulate": 2,
}


def changed(name: str) -> FitSettings:
    """The settings with another value of one field."""
    settings = replace(SETTINGS, select="best") if name == "metric" else SETTINGS
    value = getattr(settings, name)
    return replace(settings, **{name: OTHERS[name] if name in OTHERS else value * 2 + 1})


@pytest.mark.parametrize("name", [f.name for f in fields(FitSettings) if f.name not in ELSEWHERE])
def test_a_setting_reaches_the_trainer(name: str, tmp_path: Path) -> None:
    settings = replace(SETTINGS, select="best") if name == "metric" else SETTINGS
    own, other = (
        arguments(some, tmp_path, evaluate=True).to_dict() for some in (settings, changed(name))
    )
    assert own != other
