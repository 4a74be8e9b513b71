"""The section of `bench read`."""

from __future__ import annotations

from collections.abc import Sequence

from logitcache.report.blocks import Block, Section, Table, section, spreads, table, times
from logitcache.report.charts import DotLine, Dots
from logitcache.report.documents import Part, case_label, failures, numbers_of
from logitcache.report.words import (
    NONE,
    case,
    factor,
    listed,
    median_of,
    plain,
    ratio_text,
    seconds,
    sizes,
    time_text,
    whole,
)  # fmt: skip

_ORDERS = ("random", "sequential")
_WIDTH = 64  # of the rows that the headline is about


def read_section(document: Part) -> Section:
    """What was measured of the reader."""
    cases = document.rows("cases")
    blocks = [_warm(cases), _cold(document), _open(document)]
    return section("What reading costs", _headline(cases), blocks, failures(cases))


def _headline(cases: Sequence[Part]) -> str:
    own = _headline_case(cases)
    time = own.spread("seconds") if own is not None else None
    if own is None or time is None:
        return ""
    order = _order(own)
    clauses = [
        f"32 {order} rows of width {whole(own.number('width'))} take {time_text(time.median)} from logitcache"
    ]
    for part in cases:
        alike = _order(part) == order and _key(part) == _key(own)
        ratio = part.ratio("ratio_to_logitcache")
        if part is not own and alike and ratio is not None and not part.text("error"):
            clauses.append(f"{factor(ratio.median)} times that from {plain(part.text('name'), 60)}")
    return f"{listed(clauses)}."


def _headline_case(cases: Sequence[Part]) -> Part | None:
    """Our own reader, if possible with random rows of the usual width and without a DataLoader."""
    own = [part for part in cases if part.text("name") == "logitcache" and part.spread("seconds")]

    def rank(part: Part) -> tuple[bool, bool]:
        is_plain_call = _order(part) == "random" and part.number("workers") is None
        return is_plain_call, is_plain_call and part.number("width") == _WIDTH

    return max(own, key=rank, default=None)


def _warm(cases: Sequence[Part]) -> Block | None:
    if not cases:
        return None
    panels = _panels(cases)
    picture = Dots(panels, "n ×: random rows beside logitcache") if panels else None
    caption = _headline(cases) or "No reader was compared with ours."
    return Block("Reading beside other stores", caption, picture, _warm_table(cases))


def _warm_table(cases: Sequence[Part]) -> Table | None:
    """A line for each reader, width and number of workers; both orders side by side."""
    spreads = [part.spread("seconds") for part in cases]
    unit = seconds(min((spread.median for spread in spreads if spread), default=None))
    lines: dict[tuple[str, str, str], dict[str, Part]] = {}
    for part in cases:
        lines.setdefault((case_label(part), *_key(part)), {})[_order(part)] = part
    columns: dict[str, list[str]] = {"32 rows from": [], "width": [], "workers": []}
    for line in lines:
        for cell, column in zip(line, columns.values(), strict=True):
            column.append(cell)
    for order in _ORDERS:
        times_of_order = columns[f"{order}, {unit.name}"] = []
        ratios = columns[f"{order} ÷ logitcache"] = []
        for readers in lines.values():
            reading = readers.get(order)
            time = None if reading is None else reading.spread("seconds")
            times_of_order.append(NONE if time is None else unit.show(time.median))
            ratios.append(_ratio_cell(reading))
    return table(columns)


def _ratio_cell(part: Part | None) -> str:
    if part is None or part.text("error"):
        return NONE
    ratio = part.ratio("ratio_to_logitcache")
    if ratio is not None and part.text("name") == "logitcache":
        return "1"
    return ratio_text(ratio)


def _key(part: Part) -> tuple[str, str]:
    return whole(part.number("width")), whole(part.number("workers"))


def _order(part: Part) -> str:
    return "sequential" if part.text("order") == "sequential" else "random"


def _panels(cases: Sequence[Part]) -> tuple[tuple[str, tuple[DotLine, ...]], ...]:
    """A panel for each width and number of workers, with times by reader and order."""
    panels: dict[tuple[float, float], dict[str, list[Part]]] = {}
    for part in cases:
        if part.spread("seconds") is None or part.text("error"):
            continue
        workers = part.number("workers")
        key = (-1.0 if workers is None else workers, part.number("width") or 0.0)
        readers = panels.setdefault(key, {})
        readers.setdefault(case(part.text("name")), []).append(part)
    titled = []
    for (workers, width), readers in sorted(panels.items()):
        title = f"width {width:,.0f}"
        if workers >= 0:
            title += f", DataLoader, {workers:.0f} workers"
        lines = [_dots(name, parts) for name, parts in readers.items()]
        titled.append((title, tuple(lines)))
    return tuple(titled)


def _dots(name: str, parts: Sequence[Part]) -> DotLine:
    """One reader's times by order; beside them the ratio of random rows, as the table has it."""
    medians = {}
    text = ""
    for part in parts:
        time = part.spread("seconds")
        if time is not None:
            medians[_order(part)] = time.median
        ratio = part.ratio("ratio_to_logitcache")
        if _order(part) == "random" and ratio is not None and name != "logitcache":
            text = f"{median_of(ratio)} ×"
    return DotLine(name, medians, text)


def _cold(document: Part) -> Block | None:
    parts = document.rows("cold")
    fastest = max(parts, key=lambda part: part.number("bytes_per_second") or 0.0, default=None)
    if fastest is None or not fastest.number("bytes_per_second"):
        return None
    rates = numbers_of(parts, "bytes_per_second")
    rate = sizes(rates)
    name = plain(fastest.text("name"), 60)
    speed = rate.text(fastest.number("bytes_per_second"))
    columns = {
        "reader": [case(part.text("name")) for part in parts],
        "width": map(whole, numbers_of(parts, "width")),
        **times("one pass", numbers_of(parts, "seconds")),
        f"{rate.name}/s": map(rate.show, rates),
    }
    caption = f"With nothing in the system's cache, {name} reads fastest, {speed}/s."
    return Block("From a cold disk", caption, None, table(columns))


def _open(document: Part) -> Block | None:
    part = document.part("open")
    rows = part.number("rows")
    time = part.spread("seconds")
    if rows is None or time is None:
        return None
    caption = f"A cache of {rows:,.0f} rows is open after {time_text(time.median)}."
    return Block(
        "Opening", caption, None, table({"rows": [whole(rows)], **spreads("time", [time])})
    )
