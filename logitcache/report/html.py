"""One HTML page of what benches measured: nothing in it is fetched and nothing runs. It is built as
a tree, so that what stands in a document stays text.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import logitcache
from logitcache.errors import SpecError
from logitcache.report.blocks import Block, Section, Table
from logitcache.report.documents import Bench, differences, load
from logitcache.report.drawing import NARROW, WIDE, Look, Picture, render
from logitcache.report.sections import SECTIONS, section_of
from logitcache.report.style import CSS, SHADES
from logitcache.report.words import held, plain
from logitcache.reporter import SILENT, Reporter
from logitcache.store.files import write_atomic

_NOTHING_RUNS = "default-src 'none'; style-src 'unsafe-inline'"
_FONT = re.compile("font-family:[^;]*;?")
_REFERENCE = re.compile(r"^#|(?<=url\()#")


def report(
    files: Sequence[Path], out: Path, *, mixed: bool = False, reporter: Reporter = SILENT
) -> None:
    """Write a page of these benches' documents; it and ``reporter`` say where they are of different
    models or data. Raises SpecError for files that no bench wrote or that do not belong together
    (``mixed`` allows several machines), and for a page that is no .html in a folder.
    """
    if out.suffix != ".html":
        raise SpecError(
            expected="a page ending in .html",
            found=repr(out.suffix),
            advice="Name it so.",
            where=f"--out {out}",
        )
    if not out.parent.is_dir():
        raise SpecError(
            expected="a folder to write the page in",
            found="none",
            advice="Make it first.",
            where=f"--out {out}",
        )
    benches = load(files, mixed=mixed)
    different = differences(benches)
    if different:
        reporter.note(different)
    write_atomic(out, page(benches).encode())


@dataclass(frozen=True)
class _Entry:
    """A bench on the page."""

    bench: Bench
    section: Section
    title: str
    id: str


def page(benches: Sequence[Bench]) -> str:
    """The page as text. Benches come in the order of a study: training step, dump, reading, plan."""
    ordered = sorted(benches, key=lambda bench: list(SECTIONS).index(bench.kind))
    entries = []
    for number, bench in enumerate(ordered):
        section = section_of(bench)
        entries.append(_Entry(bench, section, _title(bench, section, ordered), f"bench-{number}"))
    root, main = new_page("What distillation costs: logitcache bench")
    alike = len({(bench.machine, bench.versions) for bench in ordered}) == 1
    _top(main, entries, alike)
    pictures = count()
    for entry in entries:
        _section(main, entry, pictures, alike)
    return page_text(root)


def _title(bench: Bench, section: Section, benches: Sequence[Bench]) -> str:
    """The section's title; with what sets this bench apart, where there are several of its kind."""
    peers = [peer for peer in benches if peer.kind == bench.kind and peer is not bench]
    marks = []
    if not all(map(bench.same_machine, peers)):
        marks.append(bench.short_machine)
    for key, value in bench.setting.items():
        if any(peer.setting.get(key) != value for peer in peers):
            marks.append(f"{key} {value}")
    title = section.title
    if marks:
        title += f": {', '.join(marks)}"
    return plain(title, 200)


def add(parent: ET.Element, tag: str, text: str | None = None, **attributes: str) -> ET.Element:
    """A new element in another. ``class_`` stands for class, ``aria_label`` for aria-label."""
    html_attributes = {
        name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()
    }
    child = ET.SubElement(parent, tag, html_attributes)
    child.text = text
    return child


def new_page(title: str) -> tuple[ET.Element, ET.Element]:
    """An empty page: its root, and the element that holds what it shows."""
    root = ET.Element("html", lang="en")
    head = ET.Element("head")
    add(head, "meta", charset="utf-8")
    add(head, "meta", http_equiv="Content-Security-Policy", content=_NOTHING_RUNS)
    add(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    add(head, "meta", name="color-scheme", content="light dark")
    add(head, "title", title)
    add(head, "style", CSS)
    root.append(head)
    main = add(add(root, "body"), "main")
    return root, main


def page_text(root: ET.Element) -> str:
    """The page as text, with its footer."""
    add(root[1], "footer", f"Written by logitcache {logitcache.__version__}.")
    return "<!DOCTYPE html>\n" + ET.tostring(root, "unicode", method="html") + "\n"


def _top(main: ET.Element, entries: Sequence[_Entry], alike: bool) -> None:
    benches = [entry.bench for entry in entries]
    add(main, "h1", "What distillation costs")
    first = next((entry for entry in entries if entry.section.headline), None)
    if first is None:
        add(main, "p", "Nothing was measured to its end.", class_="headline")
    else:
        headline = first.section.headline
        if len({bench.machine for bench in benches}) > 1:
            headline = f"{headline.removesuffix('.')}, on {first.bench.short_machine}."
        add(main, "p", headline, class_="headline")
        _intervals(main, first.bench)
    if alike:
        _measured_on(main, benches[0])
    else:
        note = "These benches were not measured alike: each section names its machine and versions."
        add(main, "p", note, class_="note")
    different = differences(benches)
    if different:
        add(main, "p", different, class_="note")
    if len(entries) > 1:
        links = add(add(main, "nav", aria_label="Sections"), "ul")
        for entry in entries:
            add(add(links, "li"), "a", entry.title, href=f"#{entry.id}")


def _intervals(parent: ET.Element, bench: Bench) -> None:
    intervals = held(bench.document.ratios())
    if intervals:
        add(parent, "p", f"Intervals {intervals}.", class_="facts")


def _measured_on(parent: ET.Element, bench: Bench) -> None:
    add(parent, "p", f"Measured on {bench.machine}; {bench.versions}.", class_="facts")


def _section(main: ET.Element, entry: _Entry, pictures: count[int], alike: bool) -> None:
    bench = entry.bench
    element = add(main, "section", id=entry.id)
    add(element, "h2", entry.title)
    if not bench.complete:
        note = "This bench was interrupted: what follows was measured until then."
        add(element, "p", note, class_="note")
    if not alike:
        _measured_on(element, bench)
    command = add(element, "p", class_="facts")
    add(command, "code", plain(bench.document.text("command"), 1000))
    _intervals(element, bench)
    for note in entry.section.notes:
        add(element, "p", note, class_="note")
    if not entry.section.blocks:
        add(element, "p", "Nothing was measured.", class_="note")
    for block in entry.section.blocks:
        block_figure(element, block, pictures)
    details = add(element, "details")
    add(details, "summary", "Setting")
    terms = add(details, "dl")
    settings = {**bench.setting, "seed": bench.document.text("seed")}
    for key, value in settings.items():
        add(terms, "dt", key)
        add(terms, "dd", value)


def block_figure(section: ET.Element, block: Block, pictures: count[int]) -> None:
    """Add a block: title, caption, picture (wide and narrow) and table."""
    figure = add(section, "figure")
    add(figure, "h3", block.title)
    add(figure, "figcaption", block.caption)
    if block.picture is not None:
        wide = drawing(block.picture, WIDE, f"p{next(pictures)}-", block.caption)
        narrow = drawing(block.picture, NARROW, f"p{next(pictures)}-", block.caption)
        add(figure, "div", class_="wide").append(wide)
        add(figure, "div", class_="narrow").append(narrow)
    if block.table is not None:
        _table(figure, block.table)


def _table(figure: ET.Element, table: Table) -> None:
    element = add(add(figure, "div", class_="scroll", tabindex="0"), "table")
    head = add(add(element, "thead"), "tr")
    for cell in table.header:
        add(head, "th", cell, scope="col")
    body = add(element, "tbody")
    for first, *figures in table.rows:
        row = add(body, "tr")
        add(row, "th", first, scope="row")
        for cell in figures:
            add(row, "td", cell)


def drawing(picture: Picture, look: Look, prefix: str, label: str) -> ET.Element:
    """A picture as an element of a page; its ids begin with ``prefix``, colours are the page's."""
    svg = ET.fromstring(render(picture, look, "svg", inline=True))
    for parent in list(svg.iter()):
        for child in list(parent):
            # a style's rules would hold for the whole page
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in svg.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {}
        for key, value in element.attrib.items():
            value = _REFERENCE.sub(f"#{prefix}", value)
            for colour, (variable, _) in SHADES.items():
                value = value.replace(colour, f"var({variable})")
            attributes[key.rpartition("}")[2]] = _FONT.sub("", value)
        if "id" in attributes:
            attributes["id"] = prefix + attributes["id"]
        element.attrib = attributes
    del svg.attrib["width"], svg.attrib["height"]
    svg.attrib |= {"role": "img", "aria-label": label}
    return svg
