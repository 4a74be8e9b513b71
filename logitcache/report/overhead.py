"""What a training step costs with each method: the section of `bench overhead`, its picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logitcache.bench.turns import Ratio
from logitcache.errors import SpecError
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
from logitcache.report.charts import Bar, RatioBars, Stacks
from logitcache.report.costs import (
    costs_block,
    expected_block,
    has_failed,
    paper_block,
    ratio_to_ls,
)
from logitcache.report.documents import Part, numbers_of
from logitcache.report.drawing import save
from logitcache.report.words import (
    NONE,
    counts,
    interval_of,
    is_one,
    listed,
    median_of,
    method,
    percent,
    plain,
    ratio_text,
    seconds,
    sentence,
    size_text,
    time_text,
)  # fmt: skip

_PHASES = ("data", "target", "transfer", "forward", "loss", "backward", "optimiser", "rest")
_RATIO_AXIS = "time of a training step ÷ label smoothing's"


def overhead_section(document: Part) -> Section:
    """What was measured of the training step."""
    steps = document.parts("methods")
    blocks = [
        _ratios(document, steps),
        _phases(steps),
        _added(document),
        _needs(steps),
        costs_block(document, steps),
        paper_block(document),
        expected_block(document, steps),
    ]
    failed = []
    for name, step in steps.items():
        if has_failed(step):
            failed.append(f"{method(name)} was not measured: {step.text('error')}")
    return section("What a training step costs", _headline(steps), blocks, failed)


def ratio_picture(values: Mapping[str, Any], path: Path) -> None:
    """Write the ratio bars of an overhead document alone, on white: a PNG 1,600 wide, or an SVG.
    Raises SpecError for a document without ratios, or a path that cannot be drawn to.
    """
    document = Part(values, path)
    picture = _bars(document, document.parts("methods"))
    if picture is None:
        raise SpecError(
            expected="a document of `bench overhead` with ratios",
            found="none",
            advice="Run it again.",
            where=path,
        )
    save(picture, path)


def _headline(steps: Mapping[str, Part]) -> str:
    """What the two ways to distil cost; the other methods' costs where neither was measured."""
    cached = ratio_to_ls(steps, "kd")
    online = ratio_to_ls(steps, "kd-online")
    clauses = []
    if cached is not None:
        clauses.append(f"cached KD costs {ratio_text(cached)} of a label-smoothing step")
    if online is not None:
        unit = "" if clauses else " of a label-smoothing step"
        clauses.append(f"KD with the teacher in the loop {ratio_text(online)}{unit}")
    if not clauses:
        for name in steps:
            ratio = ratio_to_ls(steps, name)
            if ratio is not None and not is_one(ratio):
                clauses.append(
                    f"{method(name)} costs {ratio_text(ratio)} of a label-smoothing step"
                )
    return sentence(listed(clauses))


def _bars(document: Part, steps: Mapping[str, Part]) -> RatioBars | None:
    expected = document.part("expected").number("online_ratio_to_ls")
    bars = []
    for name in steps:
        ratio = ratio_to_ls(steps, name)
        if ratio is not None:
            bars.append(Bar(name, method(name), ratio, expected if name == "kd-online" else None))
    if not bars:
        return None
    band_label = "label smoothing against itself: within it, no difference"
    return RatioBars(
        tuple(bars),
        _RATIO_AXIS,
        ratio_to_ls(steps, "ls-control"),
        band_label,
        "expected from FLOPs",
    )


def _ratios(document: Part, steps: Mapping[str, Part]) -> Block | None:
    if not steps:
        return None
    caption = _headline(steps).removesuffix(".")
    control = ratio_to_ls(steps, "ls-control")
    if control is not None:
        caption += f"; label smoothing against itself measures {ratio_text(control)}, {_steadiness(control)}"
    ratios = [ratio_to_ls(steps, name) for name in steps]
    names = []
    for name, step in steps.items():
        names.append(f"{method(name)} (failed)" if has_failed(step) else method(name))
    columns = {
        "method": names,
        **spreads("step", [step.spread("step_seconds") for step in steps.values()]),
        "÷ LS": map(median_of, ratios),
        "interval": map(interval_of, ratios),
        "confidence": map(_confidence, ratios),
        "rows/s": figures(steps.values(), "rows_per_second"),
        "tokens/s": figures(steps.values(), "tokens_per_second"),
    }
    picture = _bars(document, steps)
    return Block("Step time beside label smoothing", f"{caption}.", picture, table(columns))


def _confidence(ratio: Ratio | None) -> str:
    if ratio is None or is_one(ratio):
        return NONE
    return f"{percent(ratio.confidence)}, {ratio.rounds} rounds"


def _steadiness(control: Ratio) -> str:
    """What the control shows of the machine."""
    if control.low <= 1 <= control.high:
        return "the shaded band within which this machine shows no difference"
    return "and not 1: the machine was too unsteady for these figures"


def _phases(steps: Mapping[str, Part]) -> Block | None:
    phases: dict[str, dict[str, float]] = {}
    for name, step in steps.items():
        numbers = step.numbers("phases")
        if numbers and not has_failed(step):
            phases[name] = {plain(phase, 26): value for phase, value in numbers.items()}
    if not phases:
        return None
    measured = dict.fromkeys(phase for values in phases.values() for phase in values)
    order = tuple(phase for phase in dict.fromkeys([*_PHASES, *measured]) if phase in measured)
    unit = seconds(sum(values.values()) for values in phases.values())
    columns = {f"{unit.name} of a step": list(map(method, phases))}
    for phase in order:
        columns[phase] = [unit.show(step.get(phase)) for step in phases.values()]
    columns["sum"] = [unit.show(sum(step.values())) for step in phases.values()]
    picture = Stacks(
        tuple((method(name), step) for name, step in phases.items()), order, "mean time of a step"
    )
    return Block("Where a step's time goes", _phase_caption(phases), picture, table(columns))


def _phase_caption(steps: Mapping[str, Mapping[str, float]]) -> str:
    """The two longest phases of cached KD, or of the first method, and what the target takes."""
    name = "kd" if "kd" in steps else next(iter(steps))
    phases = steps[name]
    total = sum(phases.values()) or 1.0
    longest = sorted(phases, key=phases.__getitem__, reverse=True)[:2]
    shares = [percent(phases[phase] / total) for phase in longest]
    caption = f"Of a {method(name)} step of {time_text(total)}, {longest[0]} takes {shares[0]}"
    if len(longest) > 1:
        caption += f" and {longest[1]} {shares[1]}"
    if name == "kd" and "target" in phases:
        caption += f", while gathering and decoding the stored answers takes {percent(phases['target'] / total)}"
    return f"{caption}."


def _added(document: Part) -> Block | None:
    work = document.part("added_work")
    total = work.number("seconds")
    if total is None:
        return None
    unit = seconds(total)
    caption = f"Profiled by itself, all that cached KD does for its target and loss takes {unit.text(total)}"
    share = work.number("share_of_ls_step")
    if share is not None:
        caption += f", {percent(share)} of a label-smoothing step"
    own = work.number("label_smoothing_seconds")
    if own is not None:
        caption += f". Label smoothing spends {unit.text(own)} on its own"
    pieces = {plain(name, 60): value for name, value in work.numbers("pieces").items()}
    lines = shares("work", pieces, total)
    return Block("What cached KD does for its target", f"{caption}.", None, lines)


def _needs(steps: Mapping[str, Part]) -> Block | None:
    measured = {name: step for name, step in steps.items() if not has_failed(step)}
    parts = list(measured.values())
    work = [step.part("flops_per_step") for step in parts]
    flops = counts(numbers_of(work, "counted"))
    unit = f", {flops.name}" if flops.name else ""
    ratios = numbers_of(parts, "memory_ratio_to_ls")
    columns = {
        "method": map(method, measured),
        **sizes_of("peak memory", numbers_of(parts, "peak_memory_bytes")),
        **sizes_of("reserved", numbers_of(parts, "reserved_memory_bytes")),
        "memory ÷ LS": [NONE if ratio is None else f"{ratio:.3f}" for ratio in ratios],
        f"FLOPs counted{unit}": map(flops.show, numbers_of(work, "counted")),
        f"FLOPs of the shape{unit}": map(flops.show, numbers_of(work, "analytic")),
        "joules a step": figures(parts, "joules_per_step"),
    }
    needs = table(columns)
    if needs is None or len(needs.header) == 1:
        return None
    return Block("What a step needs", _memory_caption(measured), None, needs)


def _memory_caption(steps: Mapping[str, Part]) -> str:
    if "kd" not in steps or steps["kd"].number("memory_ratio_to_ls") is None:
        return "No ratio of cached KD's peak memory to label smoothing's was measured."
    ratio = steps["kd"].number("memory_ratio_to_ls", 1.0)
    peak = steps["kd"].number("peak_memory_bytes")
    caption = f"Cached KD's peak memory is {ratio:.3f} of label smoothing's"
    if peak is not None:
        caption += f" ({size_text(peak)})"
    return f"{caption}."
