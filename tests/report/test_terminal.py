"""The same figures on a terminal as on a page: every table is there, and as wide as it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from logitcache.report.blocks import Section
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


def markdown(section: Section) -> str:
    """A renderer as somebody may write one outside of the package: blocks are all that it needs."""
    lines = [f"## {section.title}", section.headline]
    for block in section.blocks:
        lines += [f"### {block.title}", block.caption]
        if block.table is not None:
            rows = [block.table.header, ["---"] * len(block.table.header), *block.table.rows]
            lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n\n".join(lines)


@pytest.mark.parametrize("name", list(fakes.ALL))
def test_another_renderer_is_one_function_over_the_blocks(name: str, tmp_path: Path) -> None:
    section = section_of(Bench(Part(fakes.ALL[name](), tmp_path)))
    text = markdown(section)
    assert section.headline in text
    assert all(f"### {block.title}" in text for block in section.blocks)
