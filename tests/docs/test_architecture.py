"""The page about the architecture names files, names and modules that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASES = (ROOT / "logitcache", ROOT)
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def test_files_that_the_architecture_names_are_there() -> None:
    named = [path for path in re.findall(r"`([\w./-]+\.py)`", PAGE) if "NAME" not in path]
    assert named
    missing = [path for path in named if not any((base / path).is_file() for base in BASES)]
    assert not missing


def test_names_that_the_architecture_places_are_there() -> None:
    """`NAME` of `FILE.py`, and `NAME` and `OTHER` of it: each stands in that file."""
    placed = re.findall(r"((?:`\w+` and )?`\w+`) (?:of|in) `([\w/]+\.py)`", " ".join(PAGE.split()))
    assert len(placed) > 30
    for names, path in placed:
        (file,) = (base / path for base in BASES if (base / path).is_file())
        code = file.read_text("utf-8")
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"\b{name}\b", code), f"{path} has no {name}"


def test_the_architecture_lists_every_module_of_the_larger_rooms() -> None:
    listed = re.findall(r"^- `([\w/]+)/`:(.*?)(?=^\S|^$)", PAGE, re.DOTALL | re.MULTILINE)
    assert {"targets", "data/sources", "report"} <= {room for room, _ in listed}
    missing, gone = [], []
    for room, modules in listed:
        files = {path.stem for path in (ROOT / "logitcache" / room).glob("*.py")} - {"__init__"}
        names = set(re.findall(r"`(\w+)`", modules))
        missing += [f"{room}/{name}" for name in files - names]
        gone += [f"{room}/{name}" for name in names - files - {"row_id", "row_hash"}]
    assert not missing
    assert not gone
