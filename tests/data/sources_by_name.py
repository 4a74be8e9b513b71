"""Sources read by what --data names: files, folders, data sets of the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from logitcache.config.data import Columns
from logitcache.data.source import Source, load
from logitcache.errors import SpecError
from logitcache.reporter import Notes

Row = dict[str, Any]


def few(start: str = "row", n: int = 3) -> list[Row]:
    return [{"text": f"{start} {i}", "label": i % 2} for i in range(n)]


def write(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read(path: Path | str, notes: list[str] | None = None, **columns: Any) -> Source:
    return load(
        str(path),
        Columns(**columns),
        Path("unused"),
        Notes(([] if notes is None else notes).append),
    )


def refused(path: Path | str, **columns: Any) -> str:
    with pytest.raises(SpecError) as caught:
        read(path, **columns)
    assert "\n" not in str(caught.value)
    return str(caught.value)
