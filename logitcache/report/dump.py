"""The section of `bench dump`."""

from __future__ import annotations

from collections.abc import Sequence

from logitcache.bench.turns import Ratio
from logitcache.report.blocks import (
    Block,
    Section,
    figures,
    section,
    shares,
    sizes_of,
    spreads,
    table,
)
from logitcache.report.charts import Bar, Curves, Line, RatioBars, Stacks
from logitcache.report.documents import Part, case_label, failures, numbers_of
from logitcache.report.words import (
    case,
    counts,
    digits,
    interval_of,
    inverted,
    is_one,
    listed,
    median_of,
    percent,
    plain,
    ratio_text,
    seconds,
    sentence,
    size_text,
    sizes,
    time_text,
    whole,
)  # fmt: skip


def dump_section(document: Part) -> Section:
    """What was measured of the inference stage."""
    cases = document.rows("cases")
    blocks = [
        _cases(document, cases),
        _peak(document),
        _phases(document),
        _batches(document),
        _memory(document),
    ]
    return section("What a dump costs", _headline(document, cases), blocks, failures(cases))


def _ratios(cases: Sequence[Part]) -> dict[str, Ratio]:
    """Of the cases that did not fail, by name."""
    ratios = {}
    for part in cases:
        ratio = part.ratio("ratio_to_dump")
        if ratio is not None and not part.text("error"):
            ratios[part.text("name")] = ratio
    return ratios


def _headline(document: Part, cases: Sequence[Part]) -> str:
    ratios = _ratios(cases)
    bare = ratios.get("bare forward")
    over_bare = document.ratio("dump_to_bare_forward")
    if over_bare is None and bare is not None:
        over_bare = inverted(bare)
    clauses = []
    if over_bare is not None:
        clauses.append(
            f"a dump takes {ratio_text(over_bare)} of the bare forward's time on the same batches"
        )
    comparisons: list[str] = []
    for name, ratio in ratios.items():
        if name not in ("dump", "bare forward") and not is_one(ratio):
            name = plain(name, 60)
            clause = f"{name} takes {ratio_text(ratio)} of a dump's time"
            if comparisons:
                clause = f"{name} {ratio_text(ratio)}"
            comparisons.append(clause)
    if comparisons:
        clauses.append(listed(comparisons))
    return sentence("; ".join(clauses))


def _cases(document: Part, cases: Sequence[Part]) -> Block | None:
    if not cases:
        return None
    ratios = _ratios(cases)
    compared = [ratios.get(part.text("name")) for part in cases]
    columns = {
        "way": map(case_label, cases),
        **spreads("time", [part.spread("seconds") for part in cases]),
        "rows/s": figures(cases, "rows_per_second"),
        "tokens/s": figures(cases, "tokens_per_second"),
        "÷ dump": map(median_of, compared),
        "interval": map(interval_of, compared),
    }
    bars = tuple(Bar(name, case(name), ratio) for name, ratio in ratios.items())
    picture = RatioBars(bars, "time for the same rows ÷ the dump's") if bars else None
    caption = _headline(document, cases) or "No way of asking the teacher was compared with a dump."
    return Block("A dump beside other ways to ask a teacher", caption, picture, table(columns))


def _peak(document: Part) -> Block | None:
    peak = document.part("peak")
    rate = peak.number("flops_per_second")
    shares = peak.numbers("share")
    if rate is None or not shares:
        return None
    name = "dump" if "dump" in shares else next(iter(shares))
    product = f"{peak.text('dtype')} matrix product".lstrip()
    caption = (
        f"The {case(name)} reaches {percent(shares[name])} of the {counts(rate).text(rate)}FLOP/s that a large "
        f"{product} reaches on this machine."
    )
    columns = {
        "way": map(case, shares),
        "share of the peak": map(percent, shares.values()),
    }
    return Block("Share of what the machine can do", caption, None, table(columns))


def _phases(document: Part) -> Block | None:
    phases = {case(name): value for name, value in document.numbers("where").items()}
    total = sum(phases.values())
    if total <= 0:
        return None
    unit = seconds(total)
    longest = max(phases, key=phases.__getitem__)
    caption = (
        f"Of a dump's {unit.text(total)}, {longest} takes {percent(phases[longest] / total)}; all else together takes "
        f"{unit.text(total - phases[longest])}."
    )
    behind = document.number("written_behind")
    if behind:
        caption += f" {time_text(behind)} of writing went on meanwhile."
    picture = Stacks((("dump", phases),), tuple(phases), "time of one dump")
    return Block("Where a dump's time goes", caption, picture, shares("part", phases, total))


def _batches(document: Part) -> Block | None:
    batches = document.rows("batches")
    points = _points(batches, "batch_tokens", "rows_per_second")
    if not points:
        return None
    tokens, rate = max(points, key=lambda point: point[1])
    caption = f"Of the sizes tried, batches of {tokens:,.0f} tokens are fastest, with {digits(rate)} rows/s."
    columns = {
        "tokens of a batch": map(whole, numbers_of(batches, "batch_tokens")),
        "time, s": figures(batches, "seconds"),
        "rows/s": figures(batches, "rows_per_second"),
    }
    picture = None
    if len(points) > 1:
        xs, ys = zip(*points, strict=True)
        line = Line("dump", "dump", xs, ys)
        picture = Curves((line,), "tokens of a batch", "rows/s", doubling=True)
    return Block("Throughput against batch size", caption, picture, table(columns))


def _memory(document: Part) -> Block | None:
    points = _points(document.rows("memory"), "rows", "peak_bytes")
    if not points:
        return None
    least_rows, least_bytes = points[0]
    most_rows, most_bytes = points[-1]
    peaks = [peak for _, peak in points]
    caption = f"A dump of {most_rows:,.0f} rows holds {sizes(peaks).text(most_bytes)} at most"
    if len(points) > 1:
        change = "more" if most_bytes >= least_bytes else "less"
        caption += (
            f", {size_text(abs(most_bytes - least_bytes))} {change} than one of {least_rows:,.0f}"
        )
    columns = {"rows": [whole(rows) for rows, _ in points], **sizes_of("peak memory", peaks)}
    return Block("Memory as rows grow", f"{caption}.", None, table(columns))


def _points(parts: Sequence[Part], x: str, y: str) -> list[tuple[float, float]]:
    """What was measured as points of a curve, from left to right."""
    points = zip(numbers_of(parts, x), numbers_of(parts, y), strict=True)
    return sorted((left, height) for left, height in points if left and height)
