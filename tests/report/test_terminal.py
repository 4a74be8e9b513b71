"""The same figures on a terminal as on a page: every table is there, and as wide as it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from logitcache.report.documents import Bench, Part
from logitcache.report.sections import section_of
from logitcache.report.terminal import bench_text
from tests.report import fake_benches as fakes


@pytest.mark.parametrize("name", list(fakes.ALL))
def test_every_block_is_there_with_its_table(name: str, tmp_path: Path) -> None:
    document = fakes.ALL[name]()
    text = bench_text(document)
    for block in section_of(Bench(Part(document, tmp_path))).blocks:
        assert block.title in text
        assert block.caption.replace("\N{NO-BREAK SPACE}", " ") in text
        for row in block.table.rows if block.table else ():
            cells = [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in row]
            assert any(all(cell in line for cell in cells) for line in text.splitlines()), cells
    assert "Interrupted" not in text


@pytest.mark.parametrize("name", list(fakes.ALL))
def test_a_document_of_nothing_is_shown_too(name: str) -> None:
    text = bench_text(fakes.document(name, {}, {}) | {"complete": False})
    assert text.endswith("Interrupted: this is what was measured until then.")
