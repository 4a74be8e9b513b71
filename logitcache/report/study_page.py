"""A study's report as one HTML page: nothing in it is fetched and nothing runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from logitcache.report.blocks import Section
from logitcache.report.html import add, block_figure, new_page, page_text


def study_page(name: str, sections: Sequence[Section]) -> str:
    """The page as text."""
    root, main = new_page(f"{name}: logitcache study")
    add(main, "h1", name)
    headline = next((section.headline for section in sections if section.headline), "")
    if headline:
        add(main, "p", headline, class_="headline")
    links = add(add(main, "nav", aria_label="Sections"), "ul")
    pictures = count()
    for number, section in enumerate(sections):
        add(add(links, "li"), "a", section.title, href=f"#section-{number}")
        element = add(main, "section", id=f"section-{number}")
        add(element, "h2", section.title)
        for note in section.notes:
            add(element, "p", note, class_="note")
        for block in section.blocks:
            block_figure(element, block, pictures)
    return page_text(root)
