"""A user's folder, good before a test spoils it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.desk import Desk, Rows


@pytest.fixture
def desk(
    tmp_path: Path,
    singles_data: Path,
    checkpoint: Callable[..., Path],
    headless: Path,
    finished: dict[str, Path],
    write: Callable[[Path, Rows], Path],
) -> Desk:
    shutil.copytree(singles_data, tmp_path / "singles")
    shutil.copytree(headless, tmp_path / "headless")
    shutil.copytree(checkpoint(), tmp_path / "teacher")
    shutil.copytree(finished["cache"], tmp_path / "cache")
    return Desk(tmp_path, write)
