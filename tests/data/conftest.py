"""Files of a test, read as a source; sources of made-up packages."""

from pathlib import Path
from typing import Any

import pytest

from logitcache.config.data import Columns
from logitcache.data.source import Source, load
from logitcache.reporter import Notes
from tests.data.docstring_packages import module, sentences, tree
from tests.data.sources_by_file import Load, lines


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """``read({name: content}, **columns)``: files written to a folder, and the source loaded from
    it.
    """

    def load_files(
        files: dict[str, Any], *, at: str = "", notes: list[str] | None = None, **columns: Any
    ) -> Source:
        for name, content in files.items():
            (tmp_path / "data").mkdir(exist_ok=True)
            (tmp_path / "data" / name).write_text(
                content if isinstance(content, str) else lines(content), "utf-8"
            )
        told: list[str] = [] if notes is None else notes
        return load(
            str(tmp_path / "data" / at), Columns(**columns), tmp_path / "cache", Notes(told.append)
        )

    return load_files


@pytest.fixture
def packages(tmp_path: Path) -> dict[str, Path]:
    places = {"riverlib": "shore", "forestlib": "clearing", "fieldlib": "hedge"}
    return {
        name: tree(tmp_path / "src" / name, {"a.py": module(*sentences(place))})
        for name, place in places.items()
    }
