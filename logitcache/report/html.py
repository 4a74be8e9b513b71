"""One HTML page of what benches measured: nothing in it is fetched and nothing runs. It is built as a tree, so that
what stands in a document stays text.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import logitcache
from logitcache.errors import SpecError
from logitcache.report import overhead, stages
from logitcache.report.blocks import Block, Section, Table
from logitcache.report.charts import NARROW, WIDE, Look, Picture, render
from logitcache.report.given import Bench, apart, load
from logitcache.report.style import CSS, SHADES
from logitcache.report.words import held, plain
from logitcache.reporter import SILENT, Reporter
from logitcache.store.files import write_atomic

_SECTIONS = {
    "overhead": overhead.section, "dump": stages.dumped, "read": stages.read, "plan": stages.planned,
}  # fmt: skip
_NOTHING_RUNS = "default-src 'none'; style-src 'unsafe-inline'"
_HASH = re.compile("#[0-9a-f]{6}")
_FONT = re.compile("font-family:[^;]*;?")


def report(files: Sequence[Path], out: Path, *, mixed: bool = False, reporter: Reporter = SILENT) -> None:
    """Write a page of these benches' documents; it and ``reporter`` say where they are of different models or data.
    Raises SpecError for files that no bench wrote or that do not belong together (``mixed`` allows several machines),
    and for a page that does not end in .html in a folder that exists.
    """
    if out.suffix != ".html":
        raise SpecError(f"--out: expected a page ending in .html, found {out.suffix!r}. Name it so.", where=out)
    if not out.parent.is_dir():
        raise SpecError("--out: expected a folder to write the page in, found none. Make it first.", where=out.parent)
    benches = load(files, mixed=mixed)
    if said := apart(benches):
        reporter.note(said)
    write_atomic(out, page(benches).encode())


def page(benches: Sequence[Bench]) -> str:
    """The page as text. Benches come in the order of a study: training step, dump, reading, plan."""
    ordered = sorted(benches, key=lambda bench: list(_SECTIONS).index(bench.kind))
    sections = [_SECTIONS[bench.kind](bench.told) for bench in ordered]
    titles = [_title(bench, section, ordered) for bench, section in zip(ordered, sections, strict=True)]
    root = ET.Element("html", lang="en")
    root.append(_head())
    body = _in(root, "body")
    main = _in(body, "main")
    _top(main, ordered, sections, titles)
    ids = count()
    for place, (bench, section, title) in enumerate(zip(ordered, sections, titles, strict=True)):
        _section(main, bench, section, title, f"bench-{place}", ids, alone=_alike(ordered))
    _in(body, "footer", f"Written by logitcache {logitcache.__version__}.")
    return "<!DOCTYPE html>\n" + ET.tostring(root, "unicode", method="html") + "\n"


def _title(bench: Bench, section: Section, benches: Sequence[Bench]) -> str:
    """The section's title; with what sets this bench apart, where there are several of its kind."""
    others = [other for other in benches if other.kind == bench.kind and other is not bench]
    own = bench.setting
    apart = [f"{key} {value}" for key, value in own.items() if any(o.setting.get(key) != value for o in others)]
    if any(not bench.beside(other) for other in others):
        apart.insert(0, bench.name)
    return plain(f"{section.title}: {', '.join(apart)}" if apart else section.title, 200)


def _alike(benches: Sequence[Bench]) -> bool:
    """Whether all were measured with one machine and the same versions."""
    return len({(bench.machine, bench.versions) for bench in benches}) == 1


def _in(parent: ET.Element, tag: str, text: str | None = None, **attributes: str) -> ET.Element:
    child = ET.SubElement(
        parent, tag, {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    )
    child.text = text
    return child


def _head() -> ET.Element:
    head = ET.Element("head")
    _in(head, "meta", charset="utf-8")
    _in(head, "meta", http_equiv="Content-Security-Policy", content=_NOTHING_RUNS)
    _in(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    _in(head, "meta", name="color-scheme", content="light dark")
    _in(head, "title", "What distillation costs: logitcache bench")
    _in(head, "style", CSS)
    return head


def _top(main: ET.Element, benches: Sequence[Bench], sections: Sequence[Section], titles: Sequence[str]) -> None:
    _in(main, "h1", "What distillation costs")
    said = [(section.headline, bench) for bench, section in zip(benches, sections, strict=True) if section.headline]
    headline, first = said[0] if said else ("Nothing was measured to its end.", benches[0])
    alone = len({bench.machine for bench in benches}) == 1
    _in(main, "p", headline if alone else f"{headline.removesuffix('.')}, on {first.name}.", class_="headline")
    if said:
        _intervals(main, first)
    if _alike(benches):
        _in(main, "p", f"Measured on {benches[0].machine}; {benches[0].versions}.", class_="facts")
    else:
        _in(
            main,
            "p",
            "These benches were not measured alike: each section names its machine and versions.",
            class_="note",
        )
    if different := apart(benches):
        _in(main, "p", different, class_="note")
    if len(benches) > 1:
        links = _in(_in(main, "nav", aria_label="Sections"), "ul")
        for place, title in enumerate(titles):
            _in(_in(links, "li"), "a", title, href=f"#bench-{place}")


def _intervals(parent: ET.Element, bench: Bench) -> None:
    if does := held(bench.told.ratios()):
        _in(parent, "p", f"Intervals {does}.", class_="facts")


def _section(
    main: ET.Element, bench: Bench, section: Section, title: str, name: str, ids: count[int], *, alone: bool
) -> None:
    part = _in(main, "section", id=name)
    _in(part, "h2", title)
    if not bench.complete:
        _in(part, "p", "This bench was interrupted: what follows was measured until then.", class_="note")
    if not alone:
        _in(part, "p", f"Measured on {bench.machine}; {bench.versions}.", class_="facts")
    command = _in(part, "p", class_="facts")
    _in(command, "code", plain(bench.told.text("command"), 1000))
    _intervals(part, bench)
    for note in section.notes:
        _in(part, "p", note, class_="note")
    if not section.blocks:
        _in(part, "p", "Nothing was measured.", class_="note")
    for block in section.blocks:
        _block(part, block, ids)
    _settings(part, bench)


def _settings(part: ET.Element, bench: Bench) -> None:
    setting = {**bench.setting, "seed": bench.told.text("seed")}
    folded = _in(part, "details")
    _in(folded, "summary", "Setting")
    listed = _in(folded, "dl")
    for key, value in setting.items():
        _in(listed, "dt", key)
        _in(listed, "dd", value)


def _block(part: ET.Element, block: Block, ids: count[int]) -> None:
    figure = _in(part, "figure")
    _in(figure, "h3", block.title)
    _in(figure, "figcaption", block.caption)
    if block.picture is not None:
        for look, name in ((WIDE, "wide"), (NARROW, "narrow")):
            _in(figure, "div", class_=name).append(drawing(block.picture, look, f"p{next(ids)}-", block.caption))
    if block.table is not None:
        _table(figure, block.table)


def _table(figure: ET.Element, table: Table) -> None:
    found = _in(_in(figure, "div", class_="scroll", tabindex="0"), "table")
    head = _in(_in(found, "thead"), "tr")
    for cell in table.header:
        _in(head, "th", cell, scope="col")
    body = _in(found, "tbody")
    for first, *rest in table.rows:
        row = _in(body, "tr")
        _in(row, "th", first, scope="row")
        for cell in rest:
            _in(row, "td", cell)


def drawing(picture: Picture, look: Look, prefix: str, said: str) -> ET.Element:
    """A picture as an element of a page: its ids begin with ``prefix``, its colours follow the page's."""
    svg = ET.fromstring(render(picture, look, "svg", inline=True))
    for parent in list(svg.iter()):
        for child in [c for c in parent if c.tag.endswith(("}metadata", "}style"))]:  # a rule would hold for the page
            parent.remove(child)
    for element in svg.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: _mended(value, prefix) for key, value in element.attrib.items()}
        if "id" in element.attrib:
            element.set("id", prefix + element.attrib["id"])
    for size in ("width", "height"):
        del svg.attrib[size]
    svg.attrib |= {"role": "img", "aria-label": said}
    return svg


def _mended(value: str, prefix: str) -> str:
    value = re.sub(r"^#|(?<=url\()#", f"#{prefix}", value)
    return _FONT.sub(
        "", _HASH.sub(lambda found: f"var({SHADES[found[0]][0]})" if found[0] in SHADES else found[0], value)
    )
