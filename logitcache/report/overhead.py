"""What a training step costs with each method: the section of `bench overhead`, and its picture for a README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.bench.turns import Ratio
from logitcache.errors import SpecError
from logitcache.report.blocks import Block, Section, table
from logitcache.report.charts import Bar, Curves, Line, RatioBars, Stacks, save
from logitcache.report.given import Part
from logitcache.report.words import (
    NONE,
    counts,
    digits,
    interval_of,
    is_one,
    listed,
    method,
    middle_of,
    percent,
    plain,
    ratio_text,
    seconds,
    size_text,
    sizes,
    time_text,
)  # fmt: skip

_WHAT = {
    "cached": "from a cache, its dumps too",
    "online": "teacher in the loop",
    "ls": "if all cost LS",
    "base": "if all cost base",
}
_LINES = {"base": "Base", "ls": "LS", "online": "KD, teacher in the loop", "cached": "KD from a cache"}
_PHASES = ("data", "target", "transfer", "forward", "loss", "backward", "optimiser", "rest")
_RATIO_AXIS = "time of a training step ÷ label smoothing's"


def section(told: Part) -> Section:
    """What was measured of the training step."""
    steps = told.parts("methods")
    found = [_ratios(told, steps), _phases(steps), _added(told), _needs(steps), _costs(told), _paper(told)]
    found.append(_expected(told, steps))
    failed = [f"{method(name)} was not measured: {step.text('error')}" for name, step in steps.items() if _failed(step)]
    blocks = tuple(block for block in found if block is not None)
    return Section("What a training step costs", _headline(steps), blocks, tuple(failed))


def ratio_picture(told: Mapping[str, Any], path: Path) -> None:
    """Write the ratio bars of an overhead document alone, on white: a PNG 1,600 wide, or an SVG. Raises SpecError for a
    document without ratios, or a path that cannot be drawn to.
    """
    part = Part(told, path)
    picture = _bars(part, part.parts("methods"))
    if picture is None:
        raise SpecError("expected a document of `bench overhead` with ratios, found none. Run it again.", where=path)
    save(picture, path)


def _failed(step: Part) -> bool:
    return bool(step.text("error"))


def _ratio(steps: Mapping[str, Part], name: str) -> Ratio | None:
    step = steps.get(name)
    return None if step is None or _failed(step) else step.ratio("ratio_to_ls")


def _costs_of_kd(steps: Mapping[str, Part]) -> list[str]:
    """What the two ways to distil cost, as the beginnings of a sentence."""
    cached, online = _ratio(steps, "kd"), _ratio(steps, "kd-online")
    said = [] if cached is None else [f"cached KD costs {ratio_text(cached)} of a label-smoothing step"]
    unit = "" if said else " of a label-smoothing step"
    return said + ([] if online is None else [f"KD with the teacher in the loop {ratio_text(online)}{unit}"])


def _headline(steps: Mapping[str, Part]) -> str:
    said = _costs_of_kd(steps)
    if not said:
        others = {name: ratio for name in steps if (ratio := _ratio(steps, name)) is not None and not is_one(ratio)}
        said = [f"{method(name)} costs {ratio_text(r)} of a label-smoothing step" for name, r in others.items()]
    return _sentence(listed(said))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _bars(told: Part, steps: Mapping[str, Part]) -> RatioBars | None:
    expected = told.part("expected").number("online_ratio_to_ls")
    bars = tuple(
        Bar(name, method(name), ratio, expected if name == "kd-online" else None)
        for name in steps
        if (ratio := _ratio(steps, name)) is not None
    )
    band = _ratio(steps, "ls-control")
    label = "label smoothing against itself: within it, no difference"
    return RatioBars(bars, _RATIO_AXIS, band, label, "expected from FLOPs") if bars else None


def _ratios(told: Part, steps: Mapping[str, Part]) -> Block | None:
    picture = _bars(told, steps)
    if picture is None and not steps:
        return None
    caption = _headline(steps).removesuffix(".")
    band = _ratio(steps, "ls-control")
    if band is not None:
        caption += f"; label smoothing against itself measures {ratio_text(band)}, {_meaning(band)}"
    times = {name: step.spread("step_seconds") for name, step in steps.items()}
    unit = seconds(time.median if time else None for time in times.values())
    header = ("method", f"step, {unit.name}", "quartiles", "÷ LS", "interval", "confidence", "rows/s", "tokens/s")
    rows = []
    for name, step in steps.items():
        time, ratio = times[name], _ratio(steps, name)
        rows.append((
            method(name) + (" (failed)" if _failed(step) else ""),
            unit.show(time.median if time else None),
            f"{unit.show(time.q1)}–{unit.show(time.q3)}" if time else NONE,
            NONE if ratio is None else "1" if is_one(ratio) else middle_of(ratio),
            NONE if ratio is None or is_one(ratio) else interval_of(ratio),
            NONE if ratio is None or is_one(ratio) else f"{percent(ratio.confidence)}, {ratio.rounds} rounds",
            _count(step.number("rows_per_second")),
            _count(step.number("tokens_per_second")),
        ))  # fmt: skip
    return Block("Step time beside label smoothing", f"{caption}.", picture, table(header, rows))


def _meaning(band: Ratio) -> str:
    """What the control says of the machine."""
    if band.low <= 1 <= band.high:
        return "the shaded band within which this machine shows no difference"
    return "and not 1: the machine was too unsteady for these figures"


def _count(value: float | None) -> str:
    return NONE if value is None else digits(value)


def _phases(steps: Mapping[str, Part]) -> Block | None:
    found = {name: parts for name, step in steps.items() if not _failed(step) and (parts := step.numbers("phases"))}
    if not found:
        return None
    named = {name: {plain(phase, 26): value for phase, value in phases.items()} for name, phases in found.items()}
    order = dict.fromkeys([*_PHASES, *(phase for phases in named.values() for phase in phases)])
    shown = tuple(phase for phase in order if any(phase in phases for phases in named.values()))
    unit = seconds(sum(phases.values()) for phases in named.values())
    rows = [
        (method(n), *(unit.show(p.get(phase)) for phase in shown), unit.show(sum(p.values()))) for n, p in named.items()
    ]
    picture = Stacks(tuple((method(n), p) for n, p in named.items()), shown, "mean time of a step")
    header = (f"{unit.name} of a step", *shown, "sum")
    return Block("Where a step's time goes", _split(named), picture, table(header, rows))


def _split(found: Mapping[str, Mapping[str, float]]) -> str:
    name = "kd" if "kd" in found else next(iter(found))
    phases = found[name]
    total = sum(phases.values()) or 1.0
    first, *more = sorted(phases, key=phases.__getitem__, reverse=True)[:2]
    said = f"{plain(first, 26)} takes {percent(phases[first] / total)}"
    said += "".join(f" and {plain(other, 26)} {percent(phases[other] / total)}" for other in more)
    if name == "kd" and "target" in phases:
        said += f", while gathering and decoding the stored answers takes {percent(phases['target'] / total)}"
    return f"Of a {method(name)} step of {time_text(total)}, {said}."


def _added(told: Part) -> Block | None:
    part = told.part("added_work")
    total, share = part.number("seconds"), part.number("share_of_ls_step")
    if total is None:
        return None
    unit, pieces = seconds(total), part.numbers("pieces")
    caption = f"Profiled by itself, all that cached KD does for its target and loss takes {unit.told(total)}"
    caption += "." if share is None else f", {percent(share)} of a label-smoothing step."
    own = part.number("label_smoothing_seconds")
    caption += "" if own is None else f" Label smoothing spends {unit.told(own)} on its own."
    rows = [
        (plain(name, 60), unit.show(value), percent(value / total if total else None)) for name, value in pieces.items()
    ]
    return Block(
        "What cached KD does for its target", caption, None, table(("work", f"time, {unit.name}", "share"), rows)
    )


def _needs(steps: Mapping[str, Part]) -> Block | None:
    kept = {name: step for name, step in steps.items() if not _failed(step)}
    memory = sizes(step.number("peak_memory_bytes") for step in kept.values())
    flops = counts(step.part("flops_per_step").number("counted") for step in kept.values())
    header = (
        "method", f"peak memory, {memory.name}", f"reserved, {memory.name}", "memory ÷ LS",
        f"FLOPs counted, {flops.name}".rstrip(", "), f"FLOPs of the shape, {flops.name}".rstrip(", "), "joules a step",
    )  # fmt: skip
    rows = [(method(name), *_need(step, memory.show, flops.show)) for name, step in kept.items()]
    found = table(header, rows)
    ratio = kept["kd"].number("memory_ratio_to_ls") if "kd" in kept else None
    if found is None or len(found.header) == 1:
        return None
    said = "No ratio of cached KD's peak memory to label smoothing's was measured."
    if ratio is not None:
        peak = kept["kd"].number("peak_memory_bytes")
        said = f"Cached KD's peak memory is {ratio:.3f} of label smoothing's"
        said += "." if peak is None else f" ({size_text(peak)})."
    return Block("What a step needs", said, None, found)


def _need(step: Part, size: Any, flops: Any) -> list[str]:
    ratio, joules = step.number("memory_ratio_to_ls"), step.number("joules_per_step")
    work = step.part("flops_per_step")
    return [
        size(step.number("peak_memory_bytes")),
        size(step.number("reserved_memory_bytes")),
        NONE if ratio is None else f"{ratio:.3f}",
        flops(work.number("counted")),
        flops(work.number("analytic")),
        _count(joules),
    ]


def _costs(told: Part) -> Block | None:
    costs = told.part("costs")
    lines, even = _cost_lines(costs), costs.number("break_even_epochs")
    if not lines:
        return None
    mark = None if even is None else (even, f"paid for itself after {digits(even)}")
    factor, unit = (1.0, "hours") if max(line.ys[-1] for line in lines) >= 0.5 else (60.0, "minutes")
    drawn = tuple(Line(line.key, line.label, line.xs, tuple(factor * y for y in line.ys)) for line in lines)
    picture = Curves(drawn, "epochs × students", unit, mark, "cached")
    return Block("What it costs in all", _paid(costs, lines), picture, table(*_protocol(costs)))


def _cost_lines(costs: Part) -> list[Line]:
    hours = costs.part("hours")
    xs = hours.series("epochs")
    lines = {name: hours.series(name) for name in _LINES}
    return [
        Line(name, _LINES[name], tuple(xs), tuple(ys))
        for name, ys in lines.items()
        if len(ys) == len(xs) and len(xs) > 1
    ]


def _paid(costs: Part, lines: Sequence[Line]) -> str:
    study = _study(costs.part("protocol"))
    return _sentence("; ".join(filter(None, [_even(costs, lines), study])))


def _even(costs: Part, lines: Sequence[Line]) -> str:
    """When a cache has paid for itself; where that was not measured, what there is."""
    even, drawn = costs.number("break_even_epochs"), {line.key for line in lines}
    if even is not None:
        return f"the cache has paid for itself after {digits(even)} epochs × students"
    lacking = [method(case) for line, case in (("cached", "kd"), ("online", "kd-online")) if line not in drawn]
    if not lacking:
        return (
            "a cache never pays for itself here: an epoch from it takes no less than one with the teacher in the loop"
        )
    ends = listed([f"{time_text(3600 * line.ys[-1])} ({line.label})" for line in lines])
    verb = "were" if len(lacking) > 1 else "was"
    said = f"{lines[0].xs[-1]:g} epochs × students take {ends}"
    return f"{said}; when a cache has paid for itself is not told: {listed(lacking)} {verb} not measured"


def _study(part: Part) -> str:
    """What a protocol takes; empty where it was not measured."""
    epochs, seeds, methods = (part.number(name) for name in ("epochs", "seeds", "methods"))
    online, cached = part.number("online_hours"), part.number("cached_hours")
    if None in (epochs, seeds, methods) or online is None or cached is None:
        return ""
    said = f"{epochs:g} epochs of {seeds:g} seeds of {methods:g} methods take "
    return f"{said}{time_text(3600 * cached)} from a cache and {time_text(3600 * online)} with the teacher in the loop"


def _protocol(costs: Part) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    hours, kwh, money = costs.part("protocol"), costs.numbers("kwh"), costs.numbers("money")
    price = costs.number("price_per_hour")
    header = ("all methods, epochs and seeds", "hours", "kWh", f"money at {_count(price)} an hour")
    rows = [
        (said, _count(hours.number(f"{name}_hours")), _count(kwh.get(name)), _count(money.get(name)))
        for name, said in _WHAT.items()
    ]
    return header, [row for row in rows if set(row[1:]) != {NONE}]


def _paper(told: Part) -> Block | None:
    """The paper's own protocol, where another was asked for."""
    paper, asked = (told.part("costs").part(name) for name in ("paper_protocol", "protocol"))
    study = _study(paper)
    if not study or all(paper.number(name) == asked.number(name) for name in ("epochs", "seeds", "methods")):
        return None
    rows = [(said, _count(paper.number(f"{name}_hours"))) for name, said in _WHAT.items()]
    caption = f"At these speeds the paper's {study}."
    return Block(
        "What the paper's protocol costs", caption, None, table(("all methods, epochs and seeds", "hours"), rows)
    )


def _expected(told: Part, steps: Mapping[str, Part]) -> Block | None:
    part, hours = told.part("expected"), {line.key: line for line in _cost_lines(told.part("costs"))}
    online = _ratio(steps, "kd-online")

    def measured(epochs: float) -> str:
        if not {"cached", "ls"} <= set(hours) or hours["ls"].xs[-1] < epochs:
            return NONE
        cached, ls = (float(np.interp(epochs, hours[name].xs, hours[name].ys)) for name in ("cached", "ls"))
        return f"{cached / ls:.3f}" if ls else NONE

    costs, found = told.part("costs"), ratio_text(online) if online else NONE
    epochs, seeds = costs.number("epochs") or 0.0, costs.number("seeds") or 0.0
    one, every = (
        (f"{epochs:g} epochs", f"{epochs:g} epochs of {seeds:g} seeds") if epochs else ("all epochs", "all runs")
    )
    lines = (
        ("a step with the teacher in the loop", "online_ratio_to_ls", found),
        ("the same, embeddings, head and optimiser counted", "online_ratio_to_ls_counted", found),
        (f"{one} from a cache, its dump too", "cached_ratio_to_ls_one_student", measured(epochs)),
        (f"{every} from one cache", "cached_ratio_to_ls_all_students", measured(epochs * seeds)),
    )
    rows = [(said, f"{value:.3f}", found) for said, key, found in lines if (value := part.number(key)) is not None]
    if not rows:
        return None
    value = part.number("online_ratio_to_ls")
    caption = "FLOPs alone let us expect what stands in the first column."
    if value is not None and online is not None:
        caption = f"By FLOPs the teacher in the loop should cost {value:.2f} of label smoothing; it took "
        caption += f"{ratio_text(online)}."
    note = part.text("note")
    caption = f"{caption[:-1]} ({note.rstrip('.')})." if note else caption
    return Block("Measured beside expected", caption, None, table(("÷ LS", "expected", "measured"), rows))
