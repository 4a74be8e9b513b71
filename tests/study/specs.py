"""A small study's spec, for tests that plan or run one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

METHODS = ["base", "self-kd", "kd"]


def spec_of(data: Path, teacher: Path, **changes: Any) -> dict[str, Any]:
    document = {
        "tasks": {"singles": str(data)},
        "students": {"tiny": "1x32"},
        "methods": METHODS,
        "seeds": [0, 1],
        "teacher": str(teacher),
        "settings": {"epochs": 1, "vocabulary": 150, "batch_size": 30, "max_length": 32},
    }
    return {**document, **changes}
