"""Files of made-up documents, and pages without their pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from logitcache.report import html

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(told: object, name: str = "bench") -> Path:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(told))
        return path

    return write


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take most of a page's time: tests of words leave them out."""
    monkeypatch.setattr(html, "drawing", lambda *_: html.ET.Element("svg"))
